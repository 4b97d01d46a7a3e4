//! The binary on a disk that misbehaves, by errors and delays that strace puts into its system calls.

use crate::keyway::{PATIENCE, Server};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Every call that makes bytes durable.
const FLUSHES: &str = "fdatasync,fsync,sync_file_range";

/// strace on a running process; dropping it lets the process go on undisturbed.
struct Injection(Child);

impl Injection {
    /// Attaches to a server with a rule such as `error=EIO`; `None`, and a line that says so, where that cannot be done.
    fn start(server: &Server, rule: &str) -> Option<Self> {
        let pid = server.pid().as_raw_nonzero().to_string();
        let mut command = Command::new("strace");
        command.args(["-f", "-p", &pid, "-e", &format!("trace={FLUSHES}")]);
        command.args(["-e", &format!("inject={FLUSHES}:{rule}")]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut strace = match command.spawn() {
            Ok(strace) => strace,
            Err(error) => {
                eprintln!("skipped: strace does not start: {error}");
                return None;
            }
        };
        let mut said = BufReader::new(strace.stderr.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        if !line.contains("attached") {
            eprintln!("skipped: strace may not attach: {line}");
            strace.wait().unwrap();
            return None;
        }
        // strace must be able to write for as long as it lives.
        std::thread::spawn(move || said.lines().map_while(Result::ok).for_each(drop));
        Some(Self(strace))
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        // SIGTERM has strace detach first. It has ended already if its process has.
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}

fn consumed(data: &Path) -> Vec<String> {
    let server = Server::start(data);
    let run = server.run(["consume", "kept", "-e"]).good();
    run.lines().into_iter().map(str::to_owned).collect()
}

/// Whether a failed flush wrote anything cannot be known, so nobody may be told that it did, and it may not be repeated.
#[test]
fn a_failed_flush_ends_the_broker_and_acknowledges_nothing() {
    for errno in ["EIO", "ENOSPC"] {
        let data = tempfile::tempdir().unwrap();
        let server = Server::start(data.path());
        server.run(["produce", "kept", "-v", "before"]).good();
        let Some(injection) = Injection::start(&server, &format!("error={errno}")) else { return };
        let refused = server.run(["produce", "kept", "-v", "after", "-o", "json", "--timeout", "2"]);
        assert!(refused.code != Some(0) && refused.text().is_empty(), "{errno}: {refused:?}");
        let (status, said) = server.wait();
        drop(injection);
        assert_eq!(status.code(), Some(6), "{errno}: {said}");
        let why = said.lines().find(|line| line.starts_with("keyway: ")).unwrap_or_default();
        let words = if errno == "EIO" { "Input/output error" } else { "No space left" };
        assert!(why.contains("disk failed") && why.contains(words), "{errno}: {said}");

        let kept = consumed(data.path());
        // The record that nobody was told of may be there.
        assert!(kept == ["before"] || kept == ["before", "after"], "{errno}: {kept:?}");
    }
}

/// A disk that takes 200 ms for a flush makes acknowledgements as slow as that, and nothing else.
#[test]
fn a_slow_disk_delays_acknowledgements_and_not_reads() {
    const FLUSH: Duration = Duration::from_millis(200);
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    server.run(["produce", "kept", "-v", "before"]).good();
    let Some(injection) = Injection::start(&server, &format!("delay_exit={}", FLUSH.as_micros())) else {
        return;
    };
    let asked = Instant::now();
    server.run(["produce", "kept", "-v", "slow"]).good();
    let took = asked.elapsed();
    assert!((FLUSH..PATIENCE).contains(&took), "{took:?}");
    let mut producer = server.spawn(["produce", "kept", "-v", "slower"]);
    assert_eq!(
        server.run(["consume", "kept", "--from-beginning", "-n", "2"]).good().lines(),
        ["before", "slow"]
    );
    assert!(producer.wait().unwrap().success());
    drop(injection);
    server.kill();
    assert_eq!(consumed(data.path()), ["before", "slow", "slower"]);
}
