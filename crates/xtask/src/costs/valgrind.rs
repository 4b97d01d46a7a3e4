//! Instructions and allocations, as valgrind's heap profiler counts both: the difference between a long run and a short
//! one, so that start and end cancel out.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Deserialize;
use tempfile::TempDir;

use super::{Asker, Cost, Counted, Request};
use crate::tools::{Tool, Tools};

const SHORT: u64 = 100;
const LONG: u64 = 600;
/// Valgrind writes its profile at the end.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// The profile, as far as it is used here.
#[derive(Deserialize)]
struct Profile {
    /// Instructions at the end.
    te: u64,
    pps: Vec<ProgramPoint>,
}

#[derive(Deserialize)]
struct ProgramPoint {
    /// Blocks allocated in all.
    tbk: u64,
}

struct Totals {
    instructions: u64,
    allocations: u64,
}

pub(super) async fn count(
    binary: &Path,
    request: Request,
    tools: &Tools,
    log: &Path,
) -> anyhow::Result<Vec<Counted>> {
    let counted = |cost, per_request| Counted { request, cost, per_request };
    if let Some(reason) = tools.missing(Tool::Valgrind) {
        let skipped = || Err(reason.to_string());
        return Ok(vec![counted(Cost::Instructions, skipped()), counted(Cost::Allocations, skipped())]);
    }
    let short = totals(binary, request, SHORT, tools, log).await?;
    let long = totals(binary, request, LONG, tools, log).await?;
    let per_request = |short: u64, long: u64| Ok(long.saturating_sub(short) as f64 / (LONG - SHORT) as f64);
    Ok(vec![
        counted(Cost::Instructions, per_request(short.instructions, long.instructions)),
        counted(Cost::Allocations, per_request(short.allocations, long.allocations)),
    ])
}

async fn totals(
    binary: &Path,
    request: Request,
    requests: u64,
    tools: &Tools,
    log: &Path,
) -> anyhow::Result<Totals> {
    let folder = TempDir::with_prefix("keyway-valgrind-")?;
    let (script, profile) = (folder.path().join("keyway"), folder.path().join("profile.json"));
    let valgrind = tools.valgrind()?;
    let text = format!(
        "#!/bin/sh\nexec '{}' --tool=dhat --dhat-out-file='{}' '{}' \"$@\"\n",
        valgrind.display(),
        profile.display(),
        binary.display()
    );
    fs::write(&script, text)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    let mut asker = Asker::start(&script, log).await?;
    asker.ask(request, requests).await?;
    let (_, status) = asker.broker.terminate(STOP_LIMIT).await?;
    ensure!(status.success(), "left with {status} after SIGTERM");
    let profile: Profile =
        serde_json::from_str(&fs::read_to_string(&profile)?).context("valgrind's profile")?;
    let allocations = profile.pps.iter().map(|point| point.tbk).sum();
    Ok(Totals { instructions: profile.te, allocations })
}
