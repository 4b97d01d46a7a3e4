//! Where things are in the repository, and how its binary is built.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use anyhow::{Context, ensure};
use tokio::process::Command;

/// The root folder of the repository.
pub(crate) fn root() -> PathBuf {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_folder.ancestors().nth(2).expect("the crate lies two folders below the root").to_path_buf()
}

/// The programs of the interop run, in the repository.
pub(crate) fn programs() -> PathBuf {
    root().join("interop")
}

/// Where prepared tools and logs go; never committed.
pub(crate) fn interop_target() -> PathBuf {
    root().join("target").join("interop")
}

/// The `keyway` binary that was given, or the release build of this one.
pub(crate) async fn keyway(given: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let mut build = Command::new("cargo");
    build.current_dir(root()).args(["build", "--release", "--bin", "keyway"]);
    match given {
        Some(binary) => Ok(binary),
        None => cargo_build(&mut build).await,
    }
}

/// Runs a `cargo build` and returns the executable that it names.
pub(crate) async fn cargo_build(command: &mut Command) -> anyhow::Result<PathBuf> {
    let (status, executables) = executables(command).await?;
    ensure!(status.success(), "cargo build failed ({status})");
    executables.into_iter().next().context("cargo build named no executable")
}

/// Runs a `cargo build` and returns what executables it could make, though others may have failed.
pub(crate) async fn cargo_build_all(command: &mut Command) -> anyhow::Result<Vec<PathBuf>> {
    Ok(executables(command).await?.1)
}

async fn executables(command: &mut Command) -> anyhow::Result<(ExitStatus, Vec<PathBuf>)> {
    // Where `cargo run` has set these, build scripts that look at them (ring's) would run again, and all above them.
    let about_us = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(about_us)) {
        command.env_remove(name);
    }
    let output = command
        .args(["--locked", "--message-format", "json-render-diagnostics"])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await
        .context("cargo does not start")?;
    let messages = output.stdout.split(|byte| *byte == b'\n');
    let executables = messages.filter_map(|line| {
        let message = serde_json::from_slice::<serde_json::Value>(line).ok()?;
        Some(PathBuf::from(message.get("executable")?.as_str()?))
    });
    Ok((output.status, executables.collect()))
}
