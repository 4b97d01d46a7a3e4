//! The audit log in a file of its own, which a thread writes: a slow or full disk holds no request up, it loses lines, which
//! are counted.

use crate::failure::Failure;
use keyway_broker::AuditSink;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::Duration,
};

/// Bytes of lines that wait for the disk.
const QUEUED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes that are written in one call, and a line more.
const BATCH_BYTES: usize = 64 * 1024;

/// How long the end of the process waits for the last lines.
const FINISH_TIME_MAX: Duration = Duration::from_secs(3);

/// How large a file gets, and how many older ones are kept beside it: half a gigabyte together.
pub(crate) const ROTATION: Rotation = Rotation { bytes_max: 64 * 1024 * 1024, kept: 8 };

/// When a file is put aside, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rotation {
    bytes_max: u64,
    kept: usize,
}

/// The way to the file.
#[derive(Debug)]
pub(crate) struct AuditFile {
    messages: Sender<Message>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    queued_bytes: AtomicUsize,
    dropped_lines: AtomicU64,
}

#[derive(Debug)]
enum Message {
    Line(String),
    /// Everything before this is written.
    Reached(Sender<()>),
}

impl AuditFile {
    /// Opens the file, to go on at its end, or makes it for its owner alone.
    pub(crate) fn open(path: &Path, rotation: Rotation) -> Result<Arc<Self>, Failure> {
        let file = open(path).map_err(|error| {
            Failure::Usage(format!("--audit-log {}: cannot be opened: {error}", path.display()))
        })?;
        let (messages, received) = mpsc::channel();
        let counts = Arc::new(Counts::default());
        let counted = counts.clone();
        let mut writer = Writer { path: path.to_owned(), file: Some(file), rotation, is_failing: false };
        thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer.run(&received, &counted))
            .map_err(|error| Failure::Failed(format!("cannot start a thread: {error}")))?;
        Ok(Arc::new(Self { messages, counts }))
    }

    /// Waits until what was noted so far is in the file, for a few seconds at most.
    pub(crate) fn finish(&self) {
        let (reached, waited) = mpsc::channel();
        if self.messages.send(Message::Reached(reached)).is_ok() {
            // Without an answer the disk is stuck, and the lines are lost as the process ends.
            let _ = waited.recv_timeout(FINISH_TIME_MAX);
        }
    }
}

impl AuditSink for AuditFile {
    fn write(&self, line: String) {
        let bytes = line.len() + 1;
        let queued = self.counts.queued_bytes.fetch_add(bytes, Relaxed);
        if queued + bytes > QUEUED_BYTES_MAX || self.messages.send(Message::Line(line)).is_err() {
            self.counts.queued_bytes.fetch_sub(bytes, Relaxed);
            self.counts.dropped_lines.fetch_add(1, Relaxed);
        }
    }

    fn dropped(&self) -> u64 {
        self.counts.dropped_lines.load(Relaxed)
    }
}

struct Writer {
    path: PathBuf,
    file: Option<File>,
    rotation: Rotation,
    is_failing: bool,
}

impl Writer {
    fn run(&mut self, messages: &Receiver<Message>, counts: &Counts) {
        while let Ok(first) = messages.recv() {
            let (mut batch, mut lines, mut reached) = (String::new(), 0, None);
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Line(line) => {
                        batch.push_str(&line);
                        batch.push('\n');
                        lines += 1;
                    }
                    Message::Reached(waiting) => reached = Some(waiting),
                }
                let is_full = batch.len() >= BATCH_BYTES || reached.is_some();
                next = if is_full { None } else { messages.try_recv().ok() };
            }
            let written = if batch.is_empty() { Ok(()) } else { self.append(batch.as_bytes()) };
            counts.queued_bytes.fetch_sub(batch.len(), Relaxed);
            if written.is_err() {
                counts.dropped_lines.fetch_add(lines, Relaxed);
            }
            self.report(&written);
            if let Some(waiting) = reached {
                // Who waited may have given up.
                let _ = waiting.send(());
            }
        }
    }

    fn append(&mut self, batch: &[u8]) -> io::Result<()> {
        let mut bytes = self.current()?.metadata()?.len();
        if bytes > 0 && bytes + batch.len() as u64 > self.rotation.bytes_max {
            self.rotate()?;
            bytes = 0;
        }
        let file = self.current()?;
        file.write_all(batch).inspect_err(|_| {
            // Half a line would spoil the one after it. A file that cannot be cut is one that was not written either.
            let _ = file.set_len(bytes);
        })
    }

    /// The file at the path: a new one if somebody moved the old one away.
    fn current(&mut self) -> io::Result<&mut File> {
        let same = |file: &File| {
            let (at_path, open) = (fs::metadata(&self.path).ok()?, file.metadata().ok()?);
            (at_path.dev() == open.dev() && at_path.ino() == open.ino()).then_some(())
        };
        if self.file.as_ref().and_then(same).is_none() {
            self.file = None;
        }
        match &mut self.file {
            Some(file) => Ok(file),
            none => Ok(none.insert(open(&self.path)?)),
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file = None;
        for number in (1..self.rotation.kept).rev() {
            match fs::rename(self.aside(number), self.aside(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, self.aside(1))
    }

    /// Where an older file is; the higher the number, the older.
    fn aside(&self, number: usize) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }

    /// Says once that lines are lost, and once that they no longer are.
    fn report(&mut self, written: &io::Result<()>) {
        let path = self.path.display();
        match written {
            Err(error) if !self.is_failing => {
                tracing::error!(%path, %error, "lines of the audit log are lost")
            }
            Ok(()) if self.is_failing => tracing::warn!(%path, "the audit log is written again"),
            _ => {}
        }
        self.is_failing = written.is_err();
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const SMALL: Rotation = Rotation { bytes_max: 100, kept: 2 };

    fn lines(path: &Path) -> Vec<String> {
        fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
    }

    fn write(file: &AuditFile, line: &str) {
        file.write(line.to_owned());
        file.finish();
    }

    #[test]
    fn lines_are_added_to_a_file_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        for line in ["one", "two"] {
            write(&AuditFile::open(&path, ROTATION).unwrap(), line);
        }
        assert_eq!(lines(&path), ["one", "two"]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(AuditFile::open(&path.join("below"), ROTATION).is_err());
    }

    #[test]
    fn a_full_file_is_put_aside_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let file = AuditFile::open(&path, SMALL).unwrap();
        for number in 0..5 {
            write(&file, &format!("{number}{}", "-".repeat(60)));
        }
        let first = |name: &str| lines(&folder.path().join(name))[0][..1].to_owned();
        assert_eq!(["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2"].map(first), ["4", "3", "2"]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
        assert_eq!(file.dropped(), 0);
    }

    #[test]
    fn a_file_that_was_moved_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("audit.jsonl"), folder.path().join("moved"));
        let file = AuditFile::open(&path, ROTATION).unwrap();
        write(&file, "one");
        fs::rename(&path, &moved).unwrap();
        write(&file, "two");
        assert_eq!((lines(&moved), lines(&path)), (vec!["one".to_owned()], vec!["two".to_owned()]));
    }

    #[test]
    fn a_full_disk_loses_lines_and_counts_them() {
        let file = AuditFile::open(Path::new("/dev/full"), ROTATION).unwrap();
        write(&file, "one");
        write(&file, "two");
        assert_eq!(file.dropped(), 2);
    }

    #[test]
    fn what_a_slow_disk_leaves_waiting_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let file = AuditFile::open(&path, ROTATION).unwrap();
        file.write("-".repeat(QUEUED_BYTES_MAX));
        assert_eq!(file.dropped(), 1, "no room for it");
        write(&file, "one");
        assert_eq!((file.dropped(), lines(&path)), (1, vec!["one".to_owned()]));
    }
}
