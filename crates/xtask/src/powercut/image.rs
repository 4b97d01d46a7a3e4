//! A disk whose power can be cut: an ext4 image on a loop device, inside an XFS image that can share blocks. A clone of the
//! inner image is what a disk would hold if the power failed at that moment: everything that was flushed, and of the rest
//! whatever the kernel had written back so far.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use tempfile::TempDir;
use tokio::process::Command;

use crate::process;

const HOST_BYTES: u64 = 6 << 30;
const DISK_BYTES: u64 = 2 << 30;
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// A mounted folder, unmounted when dropped.
struct Mount(PathBuf);

impl Mount {
    async fn new(image: &Path, at: PathBuf) -> anyhow::Result<Self> {
        fs::create_dir_all(&at)?;
        run(Command::new("mount").args(["-o", "loop"]).arg(image).arg(&at)).await?;
        Ok(Self(at))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: a process that was just killed may not be gone. There is nobody to tell if it fails.
        let mut unmount = std::process::Command::new("umount");
        let _ = unmount.arg("--lazy").arg(&self.0).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// The disk in use. Fields are dropped in their order: the inner mount first.
pub(super) struct Disk {
    mount: Mount,
    host: Mount,
    folder: TempDir,
}

/// What is on the disk after a power cut, mounted like a disk that comes back: its journal is replayed.
pub(super) struct Remains {
    mount: Mount,
    image: PathBuf,
}

impl Disk {
    /// Makes and mounts both images; needs root, `mkfs.xfs` and `mkfs.ext4`.
    pub(super) async fn new(parent: &Path) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix_in("keyway-powercut-", parent)?;
        let host_image = folder.path().join("host.xfs");
        fs::File::create(&host_image)?.set_len(HOST_BYTES)?;
        run(Command::new("mkfs.xfs").args(["-q", "-m", "reflink=1"]).arg(&host_image)).await?;
        let host = Mount::new(&host_image, folder.path().join("host")).await?;
        let disk_image = host.0.join("disk.img");
        fs::File::create(&disk_image)?.set_len(DISK_BYTES)?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&disk_image)).await?;
        let mount = Mount::new(&disk_image, folder.path().join("disk")).await?;
        Ok(Self { mount, host, folder })
    }

    /// Where it is mounted.
    pub(super) fn path(&self) -> &Path {
        &self.mount.0
    }

    /// Makes everything durable that was written so far.
    pub(super) async fn sync(&self) -> anyhow::Result<()> {
        run(Command::new("sync").arg("--file-system").arg(self.path())).await
    }

    /// Cuts the power, as seen by whoever looks at the remains; the disk itself goes on.
    pub(super) async fn cut(&self) -> anyhow::Result<Cut> {
        let image = self.host.0.join("cut.img");
        run(Command::new("cp").arg("--reflink=always").arg(self.host.0.join("disk.img")).arg(&image)).await?;
        Ok(Cut { image, at: self.folder.path().join("cut") })
    }
}

/// An image of the moment of a power cut, not mounted yet.
pub(super) struct Cut {
    image: PathBuf,
    at: PathBuf,
}

impl Cut {
    pub(super) async fn mount(self) -> anyhow::Result<Remains> {
        let mount = Mount::new(&self.image, self.at).await.context("the remains cannot be mounted")?;
        Ok(Remains { mount, image: self.image })
    }
}

impl Remains {
    pub(super) fn path(&self) -> &Path {
        &self.mount.0
    }
}

impl Drop for Remains {
    fn drop(&mut self) {
        // Its blocks are free once the mount is gone; the next cut makes it anew.
        let _ = fs::remove_file(&self.image);
    }
}

async fn run(command: &mut Command) -> anyhow::Result<()> {
    process::succeed(command, Path::new("/dev/null"), COMMAND_LIMIT).await.map(|_| ())
}
