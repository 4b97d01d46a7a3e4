//! The tools of the interop run and the benchmark: prepared once under `target/interop`, from ordinary registries.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::process::Command;

use crate::apache_kafka::ApacheKafka;
use crate::{process, workspace};

/// Something that a check needs and that is not part of the repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tool {
    /// A Python environment with the clients of `interop/requirements.txt`.
    Python,
    /// Java and Apache Kafka's jars.
    ApacheKafka,
    /// Debian's `kcat`.
    Kcat,
    /// Node with the packages of `interop/kafkajs`.
    Kafkajs,
    /// The programs of `interop/go`, built.
    Go,
    /// The programs of `examples` and `interop/rust`, built.
    RustPrograms,
    /// File systems in images: root, loop devices, `mkfs.xfs` and `mkfs.ext4`.
    LoopDisks,
    Strace,
    Valgrind,
}

impl Tool {
    fn name(self) -> &'static str {
        match self {
            Tool::Python => "python clients",
            Tool::ApacheKafka => "Apache Kafka",
            Tool::Kcat => "kcat",
            Tool::Kafkajs => "kafkajs",
            Tool::Go => "Go's clients",
            Tool::RustPrograms => "Rust programs",
            Tool::LoopDisks => "file systems on loop devices",
            Tool::Strace => "strace",
            Tool::Valgrind => "valgrind",
        }
    }
}

const VENV_LIMIT: Duration = Duration::from_secs(60);
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(300);
const APT_LIMIT: Duration = Duration::from_secs(180);

/// What could be prepared: where each tool is, or why it is missing.
pub(crate) struct Tools {
    prepared: BTreeMap<Tool, Result<PathBuf, String>>,
}

impl Tools {
    /// Prepares the tools in turn; one that cannot be had is remembered with its reason.
    pub(crate) async fn prepare(needed: impl IntoIterator<Item = Tool>) -> anyhow::Result<Self> {
        let target = workspace::interop_target();
        fs::create_dir_all(&target)?;
        let log = target.join("tools.log");
        let mut prepared = BTreeMap::new();
        for tool in needed {
            if prepared.contains_key(&tool) {
                continue;
            }
            eprintln!("preparing {}", tool.name());
            let outcome = match tool {
                Tool::Python => python(&target, &log).await,
                Tool::ApacheKafka => apache_kafka(&target, &log).await,
                Tool::Kcat => kcat(&log).await,
                Tool::Kafkajs => kafkajs(&target, &log).await,
                Tool::Go => go(&target, &log).await,
                Tool::RustPrograms => rust_programs(&target, &log).await,
                Tool::LoopDisks => loop_disks(&log).await,
                Tool::Strace => installed("strace", "strace", &log).await,
                Tool::Valgrind => installed("valgrind", "valgrind", &log).await,
            };
            prepared.insert(tool, outcome.map_err(|error| format!("{}: {error:#}", tool.name())));
        }
        Ok(Self { prepared })
    }

    /// Why a tool is missing, if it is.
    pub(crate) fn missing(&self, tool: Tool) -> Option<&str> {
        self.prepared.get(&tool)?.as_ref().err().map(String::as_str)
    }

    fn path(&self, tool: Tool) -> anyhow::Result<&Path> {
        match self.prepared.get(&tool) {
            Some(Ok(path)) => Ok(path),
            Some(Err(reason)) => bail!("missing {reason}"),
            None => bail!("the check does not declare that it needs {}", tool.name()),
        }
    }

    /// Python with its clients, about to run a program of `interop/`.
    pub(crate) fn python(&self, program: &str) -> anyhow::Result<Command> {
        let mut command = Command::new(self.path(Tool::Python)?);
        command.arg(workspace::programs().join(program));
        // No byte code beside the sources, and lines as they are printed.
        command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONUNBUFFERED", "1");
        Ok(command)
    }

    /// The interpreter with its clients, if it was prepared.
    pub(crate) fn python_interpreter(&self) -> Option<PathBuf> {
        self.path(Tool::Python).ok().map(Path::to_path_buf)
    }

    pub(crate) fn apache_kafka(&self) -> anyhow::Result<ApacheKafka> {
        let logging = workspace::programs().join("kafka").join("log4j2.properties");
        Ok(ApacheKafka::new(self.path(Tool::ApacheKafka)?.to_path_buf(), logging))
    }

    pub(crate) fn kcat(&self) -> anyhow::Result<Command> {
        Ok(Command::new(self.path(Tool::Kcat)?))
    }

    pub(crate) fn strace(&self) -> anyhow::Result<Command> {
        Ok(Command::new(self.path(Tool::Strace)?))
    }

    pub(crate) fn valgrind(&self) -> anyhow::Result<&Path> {
        self.path(Tool::Valgrind)
    }

    /// Node with its packages, about to run a program of `interop/kafkajs`.
    pub(crate) fn kafkajs(&self, program: &str) -> anyhow::Result<Command> {
        let mut command = Command::new("node");
        command.arg(workspace::programs().join("kafkajs").join(program));
        // The packages are not beside the sources, where Node would look first.
        command.env("NODE_PATH", self.path(Tool::Kafkajs)?);
        Ok(command)
    }

    /// A program of `interop/go`.
    pub(crate) fn go(&self, program: &str) -> anyhow::Result<Command> {
        Ok(Command::new(self.path(Tool::Go)?.join(program)))
    }

    /// A program of `examples` or `interop/rust`, if it could be built.
    pub(crate) fn rust_program(&self, name: &str) -> anyhow::Result<Command> {
        let program = self.path(Tool::RustPrograms)?.join(name);
        ensure!(program.is_file(), "{name} was not built: see what cargo printed above");
        Ok(Command::new(program))
    }
}

/// A folder is as prepared as the list it was made from: the list's copy in it is the stamp.
fn is_fresh(stamp: &Path, list: &str) -> bool {
    fs::read_to_string(stamp).is_ok_and(|found| found == list)
}

async fn python(target: &Path, log: &Path) -> anyhow::Result<PathBuf> {
    let requirements = workspace::programs().join("requirements.txt");
    let list = fs::read_to_string(&requirements)?;
    let venv = target.join("venv");
    let (python, stamp) = (venv.join("bin").join("python"), venv.join("requirements.txt"));
    if !is_fresh(&stamp, &list) {
        let mut create = Command::new("python3");
        create.args(["-m", "venv", "--clear"]).arg(&venv);
        process::succeed(&mut create, log, VENV_LIMIT).await.context("python3 -m venv")?;
        let mut install = Command::new(&python);
        install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]);
        process::succeed(install.arg(&requirements), log, DOWNLOAD_LIMIT).await.context("pip install")?;
        fs::write(&stamp, &list)?;
    }
    Ok(python)
}

async fn apache_kafka(target: &Path, log: &Path) -> anyhow::Result<PathBuf> {
    let java = process::finish(Command::new("java").arg("-version"), log, VENV_LIMIT).await;
    ensure!(java.is_ok_and(|finished| finished.status.success()), "no java");
    let pom = workspace::programs().join("kafka").join("pom.xml");
    let list = fs::read_to_string(&pom)?;
    let jars = target.join("kafka").join("libs");
    let stamp = target.join("kafka").join("pom.xml");
    if !is_fresh(&stamp, &list) {
        let mut copy = Command::new("mvn");
        copy.args(["--batch-mode", "--quiet", "--file"]).arg(&pom);
        copy.arg("org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies");
        copy.arg(format!("-DoutputDirectory={}", jars.display()));
        process::succeed(&mut copy, log, DOWNLOAD_LIMIT).await.context("mvn")?;
        fs::write(&stamp, &list)?;
    }
    Ok(jars)
}

async fn kcat(log: &Path) -> anyhow::Result<PathBuf> {
    installed("kcat", "kcat", log).await
}

async fn loop_disks(log: &Path) -> anyhow::Result<PathBuf> {
    ensure!(rustix::process::geteuid().is_root(), "only root may mount images");
    ensure!(Path::new("/dev/loop-control").exists(), "no loop devices");
    for program in ["mount", "umount", "mkfs.ext4"] {
        ensure!(on_path(program).is_some(), "no {program}");
    }
    installed("mkfs.xfs", "xfsprogs", log).await
}

/// A program, from Debian's package if it is not there.
async fn installed(program: &str, package: &str, log: &Path) -> anyhow::Result<PathBuf> {
    if let Some(found) = on_path(program) {
        return Ok(found);
    }
    ensure!(on_path("apt-get").is_some(), "not installed, and no apt-get to install it");
    ensure!(rustix::process::geteuid().is_root(), "not installed, and only root may install it");
    let install = || {
        let mut command = Command::new("apt-get");
        command.args(["install", "--yes", "--no-install-recommends", package]);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    if process::succeed(&mut install(), log, APT_LIMIT).await.is_err() {
        process::succeed(Command::new("apt-get").arg("update"), log, APT_LIMIT).await?;
        process::succeed(&mut install(), log, APT_LIMIT).await.context("apt-get install")?;
    }
    on_path(program).with_context(|| format!("apt-get installed no {program}"))
}

/// Builds all of them at once, so that they share what they depend on. What cannot be downloaded is missing; what does not
/// compile is a fault, and shows in each check that wants a program which is then not there.
async fn rust_programs(target: &Path, log: &Path) -> anyhow::Result<PathBuf> {
    for program in ["cc", "c++", "make", "pkg-config"] {
        ensure!(
            on_path(program).is_some(),
            "no {program}, which librdkafka is built with: install Debian's g++, make and pkg-config"
        );
    }
    let mut openssl = Command::new("pkg-config");
    let found = process::succeed(openssl.args(["--exists", "openssl"]), log, VENV_LIMIT).await;
    found.ok().context("no OpenSSL, which librdkafka is built with: install Debian's libssl-dev")?;
    let (workspace, target) = (workspace::root().join("examples"), target.join("rust"));
    let mut fetch = Command::new("cargo");
    fetch.args(["fetch", "--locked"]).current_dir(&workspace);
    // An outdated lock file, of which cargo says that --locked forbids to mend it, is a fault: the build will say so.
    let fetched = process::succeed(&mut fetch, log, DOWNLOAD_LIMIT).await;
    if let Err(error) = fetched
        && !error.to_string().contains("--locked")
    {
        return Err(error.context("cargo fetch"));
    }
    let mut build = Command::new("cargo");
    build.args(["build", "--workspace", "--keep-going"]).current_dir(&workspace);
    let programs = target.join("programs");
    if programs.exists() {
        fs::remove_dir_all(&programs)?;
    }
    fs::create_dir_all(&programs)?;
    for built in workspace::cargo_build_all(build.env("CARGO_TARGET_DIR", &target)).await? {
        let name = built.file_name().context("an executable without a name")?;
        std::os::unix::fs::symlink(&built, programs.join(name))?;
    }
    Ok(programs)
}

async fn kafkajs(target: &Path, log: &Path) -> anyhow::Result<PathBuf> {
    for program in ["node", "npm"] {
        ensure!(on_path(program).is_some(), "no {program}: install Debian's nodejs and npm, or Node's own");
    }
    let programs = workspace::programs().join("kafkajs");
    let list = fs::read_to_string(programs.join("package-lock.json"))?;
    let folder = target.join("kafkajs");
    let stamp = folder.join("prepared-package-lock.json");
    if !is_fresh(&stamp, &list) {
        fs::create_dir_all(&folder)?;
        for file in ["package.json", "package-lock.json"] {
            fs::copy(programs.join(file), folder.join(file))?;
        }
        let mut install = Command::new("npm");
        install.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&folder);
        process::succeed(&mut install, log, DOWNLOAD_LIMIT).await.context("npm ci")?;
        fs::write(&stamp, &list)?;
    }
    Ok(folder.join("node_modules"))
}

/// Builds `interop/go`; a Go that is too old for it fetches one that is not.
async fn go(target: &Path, log: &Path) -> anyhow::Result<PathBuf> {
    const FETCHES_TOOLCHAINS: u32 = 21;
    ensure!(on_path("go").is_some(), "no go: install Debian's golang, or Go's own");
    let said = process::succeed(Command::new("go").arg("version"), log, VENV_LIMIT).await?.summary();
    let minor = said.split("go1.").nth(1).and_then(|rest| rest.split(['.', ' ']).next()?.parse::<u32>().ok());
    let minor = minor.with_context(|| format!("no version in {said:?}"))?;
    ensure!(
        minor >= FETCHES_TOOLCHAINS,
        "Go 1.{minor} is too old for its clients; from 1.{FETCHES_TOOLCHAINS} on it fetches what it lacks"
    );
    let folder = target.join("go");
    let mut build = Command::new("go");
    build.current_dir(workspace::programs().join("go")).arg("build").arg("-o");
    // The slash makes it a folder, with a file for every program.
    build.arg(folder.join("")).arg("./...").env("GOTOOLCHAIN", "auto").env("GOFLAGS", "-buildvcs=false");
    fs::create_dir_all(&folder)?;
    process::succeed(&mut build, log, DOWNLOAD_LIMIT).await.context("go build")?;
    Ok(folder)
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}
