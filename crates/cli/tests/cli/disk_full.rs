//! The binary on a disk that fills up: a small tmpfs with something else that takes the rest of it.

use crate::keyway::Server;
use bytes::Bytes;
use keyway_record::{Record, Timestamp, batch::BatchBuilder};
use rustix::{fs::statvfs, process::geteuid};
use std::{
    fs::{self, File},
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

const TOPIC: &str = "kept";
const GROUP: &str = "readers";
/// Kafka's error code for a broker that cannot store just now; clients try again.
const KAFKA_STORAGE_ERROR: i16 = 56;
/// What others leave: more than the broker keeps for itself of a disk of this size, less than it would fill.
const LEFT_BYTES: u64 = 80 << 20;
/// Small: the write-ahead log alone could fill it.
const DISK_MEBIBYTES: usize = 128;
const VALUE_BYTES: usize = 400_000;
const RESUME_LIMIT: Duration = Duration::from_secs(5);

/// A tmpfs, unmounted when dropped.
struct SmallDisk {
    at: PathBuf,
    _folder: tempfile::TempDir,
}

impl SmallDisk {
    /// `None`, and a line that says so, where nothing may be mounted.
    fn mount(mebibytes: usize) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().to_path_buf();
        if !geteuid().is_root() {
            eprintln!("skipped: only root may mount a small disk");
            return None;
        }
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "keyway-test"])
            .arg(&at)
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self { at, _folder: folder }),
            other => {
                eprintln!("skipped: a tmpfs cannot be mounted: {other:?}");
                None
            }
        }
    }

    /// Takes all space but this.
    fn fill_up_to(&self, left_bytes: u64) -> PathBuf {
        let path = self.at.join("something-else");
        let space = statvfs(&self.at).unwrap();
        let free = space.f_bavail * space.f_frsize;
        let chunk = vec![7; 64 << 10];
        let mut file = File::create(&path).unwrap();
        for _ in 0..free.saturating_sub(left_bytes) / chunk.len() as u64 {
            // Meanwhile the broker may take some itself.
            if file.write_all(&chunk).is_err() {
                break;
            }
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.at).status();
    }
}

/// A Kafka connection for the two requests that are made here.
struct Client(TcpStream);

impl Client {
    fn connect(server: &Server) -> Self {
        let stream = TcpStream::connect(&server.kafka).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self(stream)
    }

    /// Sends a request and returns what follows the correlation id of its answer.
    fn call(&mut self, api_key: i16, version: i16, body: &[u8]) -> Vec<u8> {
        let mut request = [api_key.to_be_bytes(), version.to_be_bytes()].concat();
        request.extend_from_slice(&[0; 4]);
        // No client id.
        request.extend_from_slice(&[0xff, 0xff]);
        request.extend_from_slice(body);
        self.0.write_all(&(request.len() as i32).to_be_bytes()).unwrap();
        self.0.write_all(&request).unwrap();
        let mut length = [0; 4];
        self.0.read_exact(&mut length).unwrap();
        let mut answer = vec![0; i32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut answer).unwrap();
        answer.split_off(4)
    }

    /// Produces one record to partition 0 with acks=all; the error code.
    fn produce(&mut self) -> i16 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
        let mut batch = BatchBuilder::new(Timestamp(now));
        let value = Some(Bytes::from(vec![b'v'; VALUE_BYTES]));
        batch.push(Timestamp(now), Record { value, ..Record::default() });
        let batch = batch.build();
        let mut body = vec![0xff, 0xff, 0xff, 0xff];
        body.extend_from_slice(&30_000_i32.to_be_bytes());
        one_partition(&mut body);
        body.extend_from_slice(&(batch.bytes().len() as i32).to_be_bytes());
        body.extend_from_slice(batch.bytes());
        // One topic with its name, one partition with its number.
        let answer = self.call(0, 3, &body);
        i16_at(&answer, 4 + 2 + TOPIC.len() + 4 + 4)
    }

    /// Commits an offset of a group without members; the error code.
    fn commit(&mut self, offset: i64) -> i16 {
        let mut body = text(GROUP);
        body.extend_from_slice(&(-1_i32).to_be_bytes());
        body.extend_from_slice(&text(""));
        body.extend_from_slice(&(-1_i64).to_be_bytes());
        one_partition(&mut body);
        body.extend_from_slice(&offset.to_be_bytes());
        body.extend_from_slice(&[0xff, 0xff]);
        let answer = self.call(8, 2, &body);
        i16_at(&answer, 4 + 2 + TOPIC.len() + 4 + 4)
    }
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as i16).to_be_bytes(), text.as_bytes()].concat()
}

/// A list of one topic, a list of one partition: 0.
fn one_partition(body: &mut Vec<u8>) {
    body.extend_from_slice(&1_i32.to_be_bytes());
    body.extend_from_slice(&text(TOPIC));
    body.extend_from_slice(&1_i32.to_be_bytes());
    body.extend_from_slice(&0_i32.to_be_bytes());
}

fn i16_at(bytes: &[u8], at: usize) -> i16 {
    i16::from_be_bytes(bytes[at..at + 2].try_into().unwrap())
}

/// Produces until a record is refused; how many were acknowledged.
fn produce_until_refused(client: &mut Client) -> (usize, i16) {
    /// More than the disk holds.
    const RECORDS_MAX: usize = 2_000;
    for number in 0..RECORDS_MAX {
        match client.produce() {
            0 => {}
            code => return (number, code),
        }
    }
    panic!("a full disk takes everything");
}

#[test]
fn a_full_disk_refuses_records_for_a_while_and_nothing_else() {
    let Some(disk) = SmallDisk::mount(DISK_MEBIBYTES) else { return };
    let data: &Path = &disk.at.join("data");
    let server = Server::start(data);
    server.run(["produce", TOPIC, "-v", "before"]).good();
    let pid = server.pid();
    let mut client = Client::connect(&server);
    let held_bytes = || fs::metadata(data.join("reserve")).unwrap().len();
    assert!(held_bytes() > 0);
    let mut acknowledged = 1;
    // Of others who take everything, the broker keeps what it holds for itself.
    for (round, left_bytes) in [0, LEFT_BYTES].into_iter().enumerate() {
        let rest = disk.fill_up_to(left_bytes);
        let (more, code) = produce_until_refused(&mut client);
        acknowledged += more;
        assert_eq!(code, KAFKA_STORAGE_ERROR, "round {round}");
        // Everything else goes on, again and again.
        for offset in 1..50 {
            assert_eq!(client.commit(offset), 0, "round {round}, commit {offset}");
        }
        assert_eq!(server.run(["consume", TOPIC, "-e"]).good().lines().len(), acknowledged);
        if left_bytes == 0 {
            assert_eq!(held_bytes(), 0, "what was held is what it goes on with");
        }

        fs::remove_file(rest).unwrap();
        let freed = Instant::now();
        while client.produce() != 0 {
            assert!(
                freed.elapsed() < RESUME_LIMIT,
                "round {round}: {:?} after there is space",
                freed.elapsed()
            );
            thread::sleep(Duration::from_millis(50));
        }
        acknowledged += 1;
    }
    assert_eq!(server.pid(), pid);
    server.kill();
    let server = Server::start(data);
    assert_eq!(server.run(["consume", TOPIC, "-e"]).good().lines().len(), acknowledged);
}
