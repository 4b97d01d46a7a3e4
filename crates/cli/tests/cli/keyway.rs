//! Running the binary: to its end, or as a server that is stopped when it is dropped.

use rustix::process::{Pid, Signal, kill_process};
use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Longer than anything here should take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How a run ended, and what it printed.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    pub(crate) fn lines(&self) -> Vec<&str> {
        self.text().lines().collect()
    }

    pub(crate) fn json(&self) -> Vec<serde_json::Value> {
        self.lines().into_iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The run must have done its job without a word on stderr.
    #[track_caller]
    pub(crate) fn good(self) -> Self {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{self:?}");
        self
    }

    /// The run must have failed with this exit code and one line on stderr that holds all of `words`.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "{word} is missing: {self:?}");
        }
    }
}

/// The binary with `args`, and none of the caller's settings.
pub(crate) fn command<'a>(args: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyway"));
    command
        .args(args)
        .env_remove("RUST_LOG")
        .env_remove("KEYWAY_BROKERS")
        .env_remove("KEYWAY_HTTP")
        .stdin(Stdio::null());
    command
}

/// Runs to the end without input.
pub(crate) fn run<'a>(args: impl IntoIterator<Item = &'a str>) -> Run {
    finish(command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

/// Reads what a child prints, waits for its end, and panics if it takes too long.
pub(crate) fn finish(mut child: Child) -> Run {
    let mut stdout = child.stdout.take().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let stdout = thread::spawn(move || {
        let mut bytes = Vec::new();
        stdout.read_to_end(&mut bytes).map(|_| bytes).unwrap()
    });
    let stderr = thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).map(|_| text).unwrap()
    });
    let code = wait(&mut child).code();
    Run { code, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

/// Waits for a child's end, and kills it and panics if it takes too long.
pub(crate) fn wait(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("the process did not end within {PATIENCE:?}");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Sends a signal to a child that was not waited for yet.
pub(crate) fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// A broker of its own, on free ports.
pub(crate) struct Server {
    child: Child,
    pub(crate) kafka: String,
    pub(crate) grpc: String,
    pub(crate) http: String,
    stderr: BufReader<std::process::ChildStderr>,
}

impl Server {
    /// Starts one on `data` and waits for its ready line.
    #[track_caller]
    pub(crate) fn start(data: &Path) -> Self {
        Self::start_with(data, &crate::serve::FREE)
    }

    /// The same with other options.
    #[track_caller]
    pub(crate) fn start_with(data: &Path, options: &[&str]) -> Self {
        let args = ["serve", "--data", data.to_str().unwrap()].into_iter().chain(options.iter().copied());
        Self::start_as(command(args))
    }

    /// The same by a command of the caller's.
    #[track_caller]
    pub(crate) fn start_as(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        // What becomes of Kafka's settings is told before.
        while !line.contains(" ready in ") {
            line.clear();
            assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "it ended before it was ready");
        }
        let address = |name: &str| {
            let (_, rest) = line.split_once(name).unwrap_or_else(|| panic!("no {name} in: {line}"));
            rest.split([',', ' ', '\n']).next().unwrap().to_owned()
        };
        assert!(address("gRPC ").contains(':'), "{line}");
        Self { kafka: address("Kafka "), grpc: address("gRPC "), http: address("HTTP "), child, stderr }
    }

    /// The binary with `args`, connected to this broker.
    pub(crate) fn command<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = command(args);
        command.env("KEYWAY_BROKERS", &self.kafka).env("KEYWAY_HTTP", &self.http);
        command
    }

    /// Runs a client command to its end.
    pub(crate) fn run<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Run {
        self.run_with_input(args, b"")
    }

    /// Runs a client command with these bytes on stdin.
    pub(crate) fn run_with_input<'a>(&self, args: impl IntoIterator<Item = &'a str>, input: &[u8]) -> Run {
        let mut child = self.spawn(args);
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = thread::spawn(move || drop(stdin.write_all(&input)));
        let run = finish(child);
        writer.join().unwrap();
        run
    }

    /// Starts a client command with all three streams piped.
    pub(crate) fn spawn<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Child {
        self.command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Sends a signal and waits for the end; gives what was printed after the ready line as well.
    pub(crate) fn stop(self, by: Signal) -> (ExitStatus, String) {
        signal(&self.child, by);
        self.wait()
    }

    /// The server's process.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Waits until it ends by itself; gives what was printed after the ready line as well.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let status = wait(&mut self.child);
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).unwrap();
        (status, rest)
    }

    /// kill -9.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines `0`, `1`, … up to `count`.
pub(crate) fn numbered_lines(count: usize) -> String {
    (0..count).fold(String::new(), |mut text, index| {
        writeln!(text, "{index}").unwrap();
        text
    })
}
