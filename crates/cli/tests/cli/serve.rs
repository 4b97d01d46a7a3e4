//! Starting, refusing to start, and stopping.

use crate::keyway::{Server, numbered_lines, run};
use rustix::process::Signal;
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

fn serve<'a>(data: &'a Path, options: &[&'a str]) -> Vec<&'a str> {
    [&["serve", "--data", data.to_str().unwrap()], options].concat()
}

/// Free ports for everything.
pub(crate) const FREE: [&str; 8] = [
    "--kafka",
    "127.0.0.1:0",
    "--grpc",
    "127.0.0.1:0",
    "--danube-admin",
    "127.0.0.1:0",
    "--http",
    "127.0.0.1:0",
];

#[test]
fn help_explains_every_option_with_its_default() {
    let help = run(["serve", "--help"]).good();
    for words in [
        "--kafka",
        "127.0.0.1:9092",
        "--grpc",
        "127.0.0.1:6650",
        "--http",
        "127.0.0.1:8080",
        "--data",
        "./keyway-data",
        "--insecure",
    ] {
        assert!(help.text().contains(words), "{words}");
    }
    assert!(run(["--help"]).good().text().contains("Exit codes"));
}

#[test]
fn a_bad_option_is_refused_in_one_line() {
    run(["serve", "--nope"]).fails(2, &["--nope", "--help"]);
    run(["serve", "--kafka", "here"]).fails(2, &["--kafka", "here", "IP:PORT"]);
    run(["--log", "loud=shout", "serve"]).fails(2, &["--log", "loud=shout"]);
}

#[test]
fn an_address_that_others_reach_needs_a_word() {
    let data = tempfile::tempdir().unwrap();
    let open = [
        "--kafka",
        "0.0.0.0:0",
        "--grpc",
        "127.0.0.1:0",
        "--danube-admin",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
    ];
    run(serve(data.path(), &open)).fails(2, &["0.0.0.0:0", "--insecure-bind-anyway"]);
    let open = [&open[..], &["--insecure-bind-anyway"]].concat();
    run(serve(data.path(), &open)).fails(2, &["0.0.0.0:0", "--advertise"]);
    let server = Server::start_with(data.path(), &[&open[..], &["--advertise", "localhost"]].concat());
    assert!(server.kafka.starts_with("0.0.0.0:"));
}

#[test]
fn a_busy_port_is_named() {
    let data = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for taken in [1, 3, 5, 7] {
        let mut options = FREE;
        options[taken] = &address;
        run(serve(data.path(), &options)).fails(1, &[&address, options[taken - 1]]);
    }
    // No attempt leaves the folder locked.
    Server::start(data.path());
}

#[test]
fn the_ready_line_names_the_http_port_and_it_is_ready() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    let mut stream = TcpStream::connect(&server.http).unwrap();
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nready\n"), "{answer}");
}

#[test]
fn a_data_folder_has_one_broker() {
    let data = tempfile::tempdir().unwrap();
    let first = Server::start(data.path());
    run(serve(data.path(), &FREE)).fails(1, &[data.path().to_str().unwrap()]);
    // The lock goes with its holder, however that ends.
    first.kill();
    Server::start(data.path());
}

#[test]
fn a_data_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "in the way").unwrap();
    let data = file.join("data");
    run(serve(&data, &FREE)).fails(1, &[data.to_str().unwrap()]);
    run(serve(&file, &FREE)).fails(1, &[file.to_str().unwrap()]);
    if cfg!(target_os = "linux") {
        // Unwritable even for root.
        run(serve(Path::new("/proc/keyway-data"), &FREE)).fails(1, &["/proc/keyway-data"]);
    }
}

#[test]
fn sigterm_and_ctrl_c_stop_cleanly_and_keep_everything() {
    let data = tempfile::tempdir().unwrap();
    for by in [Signal::TERM, Signal::INT] {
        let server = Server::start(data.path());
        server.run(["produce", "kept", "-v", "a record"]).good();
        // A client that stays connected must not hold up the end.
        let mut tail = server.spawn(["consume", "kept", "--from-beginning", "--timeout", "1"]);
        let mut line = String::new();
        BufReader::new(tail.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "a record\n");
        let asked = Instant::now();
        let (status, said) = server.stop(by);
        assert_eq!((status.code(), said.as_str()), (Some(0), ""));
        assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
        tail.kill().unwrap();
        tail.wait().unwrap();
    }
    let server = Server::start(data.path());
    assert_eq!(server.run(["consume", "kept", "-e"]).good().lines(), ["a record"; 2]);
}

/// The server dies in the middle of a stream of records; whatever it acknowledged is there afterwards.
#[test]
fn kill_9_loses_nothing_that_was_acknowledged() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    server.run(["topic", "create", "orders"]).good();
    let mut producer = server.spawn(["produce", "orders", "-o", "json", "--timeout", "2"]);
    let mut stdin = producer.stdin.take().unwrap();
    let feeder = thread::spawn(move || {
        // Ends when the producer has given up and closed its end.
        (0..50_000_000u64).take_while(|index| writeln!(stdin, "{index}").is_ok()).count()
    });
    let mut acknowledged = BufReader::new(producer.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut offsets: Vec<String> = acknowledged.by_ref().take(5_000).collect();
    server.kill();
    offsets.extend(acknowledged);
    assert!(!producer.wait().unwrap().success(), "the producer must notice");
    assert!(feeder.join().unwrap() >= offsets.len());

    let server = Server::start(data.path());
    let kept = server.run(["consume", "orders", "-e"]).good();
    assert!(kept.lines().len() >= offsets.len(), "{} of {}", kept.lines().len(), offsets.len());
    for (index, line) in kept.lines().into_iter().enumerate() {
        assert_eq!(line, index.to_string(), "records are in order, once each");
    }
    for (index, line) in offsets.iter().enumerate() {
        assert_eq!(*line, format!(r#"{{"topic":"orders","partition":0,"offset":{index}}}"#));
    }
}

#[test]
fn many_restarts_by_kill_9_keep_every_record_once() {
    const ROUNDS: usize = 4;
    const RECORDS: usize = 250;
    let data = tempfile::tempdir().unwrap();
    let lines = numbered_lines(ROUNDS * RECORDS);
    let lines: Vec<&str> = lines.lines().collect();
    for round in lines.chunks(RECORDS) {
        let server = Server::start(data.path());
        server.run_with_input(["produce", "orders"], (round.join("\n") + "\n").as_bytes()).good();
        server.kill();
    }
    let server = Server::start(data.path());
    assert_eq!(server.run(["consume", "orders", "-e"]).good().lines(), lines);
}

/// Writes fail from one moment on, as on a broken disk: nothing more is acknowledged, and the process says why it ends.
#[cfg(target_os = "linux")]
#[test]
fn a_failed_disk_ends_the_broker_and_loses_nothing() {
    use rustix::process::{Resource, Rlimit, prlimit};
    let data = tempfile::tempdir().unwrap();
    // A write over the limit must fail; without this it ends the process by a signal.
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_keyway")])
        .args(serve(data.path(), &FREE));
    let server = Server::start_as(command);
    server.run(["produce", "kept", "-v", "before"]).good();
    prlimit(Some(server.pid()), Resource::Fsize, Rlimit { current: Some(1), maximum: None }).unwrap();
    let refused = server.run(["produce", "kept", "-v", "after", "-o", "json", "--timeout", "2"]);
    assert!(refused.code != Some(0) && refused.text().is_empty(), "{refused:?}");
    let (status, said) = server.wait();
    assert_eq!(status.code(), Some(6), "{said}");
    // Log lines of connections that it cut may come before or after.
    let why = said.lines().find(|line| line.starts_with("keyway: ")).unwrap_or_default();
    assert!(why.contains("disk failed") && why.contains("File too large"), "{said}");

    let server = Server::start(data.path());
    assert_eq!(server.run(["consume", "kept", "-e"]).good().lines(), ["before"]);
}
