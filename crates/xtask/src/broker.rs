//! A broker process: started on free ports and a folder of its own, ready when it answers, gone when dropped.

use std::fs::{self, File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::apache_kafka::ApacheKafka;
use crate::kafka_probe;

/// Which broker to start.
#[derive(Clone)]
pub(crate) enum Launch {
    /// This project's binary.
    Keyway(PathBuf),
    /// Apache Kafka, as the referee of the checks and the other side of the benchmark.
    ApacheKafka(ApacheKafka),
}

impl Launch {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Launch::Keyway(_) => "keyway",
            Launch::ApacheKafka(_) => "kafka",
        }
    }

    /// Whether it serves the Danube protocol as well.
    pub(crate) fn speaks_danube(&self) -> bool {
        matches!(self, Launch::Keyway(_))
    }

    fn start_limit(&self) -> Duration {
        match self {
            Launch::Keyway(_) => Duration::from_secs(10),
            Launch::ApacheKafka(_) => Duration::from_secs(60),
        }
    }
}

/// A running broker. Dropping it kills the process.
pub(crate) struct Broker {
    launch: Launch,
    child: Child,
    kafka: SocketAddr,
    grpc: SocketAddr,
    data: PathBuf,
    log: PathBuf,
    start_to_answer: Duration,
}

impl Broker {
    /// Starts a broker on free ports and waits until both of them answer.
    pub(crate) async fn start(launch: &Launch, data: &Path, log: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(data)?;
        let (kafka, grpc) = (free_address()?, free_address()?);
        if let Launch::ApacheKafka(apache) = launch {
            apache.format(data, kafka, grpc, log).await?;
        }
        let (child, start_to_answer) = spawn(launch, kafka, grpc, data, log).await?;
        Ok(Self {
            launch: launch.clone(),
            child,
            kafka,
            grpc,
            data: data.to_path_buf(),
            log: log.to_path_buf(),
            start_to_answer,
        })
    }

    /// Starts it again on the same ports and folder, after [`Broker::kill`] or [`Broker::terminate`].
    pub(crate) async fn start_again(&mut self) -> anyhow::Result<()> {
        assert!(self.child.id().is_none(), "the former process has to be gone");
        (self.child, self.start_to_answer) =
            spawn(&self.launch, self.kafka, self.grpc, &self.data, &self.log).await?;
        Ok(())
    }

    pub(crate) fn kafka(&self) -> SocketAddr {
        self.kafka
    }

    pub(crate) fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    pub(crate) fn speaks_danube(&self) -> bool {
        self.launch.speaks_danube()
    }

    /// The address as Danube clients want it.
    pub(crate) fn danube_url(&self) -> String {
        format!("http://{}", self.grpc)
    }

    /// From the start of the process to its first answer.
    pub(crate) fn start_to_answer(&self) -> Duration {
        self.start_to_answer
    }

    /// `kill -9`, and wait until the process is gone.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("kill -9")
    }

    /// SIGTERM, and how long the process took to leave, with its exit status.
    pub(crate) async fn terminate(&mut self, limit: Duration) -> anyhow::Result<(Duration, ExitStatus)> {
        let before = Instant::now();
        kill_process(self.pid()?, Signal::TERM)?;
        match timeout(limit, self.child.wait()).await {
            Ok(status) => Ok((before.elapsed(), status?)),
            Err(_) => bail!("still running {} s after SIGTERM", limit.as_secs()),
        }
    }

    /// An error if the process has left by itself.
    pub(crate) fn check_alive(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("the broker has left: {status} (log: {})", self.log.display()),
            None => Ok(()),
        }
    }

    /// Resident memory in bytes, from `/proc`.
    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()?.as_raw_nonzero()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS line")?;
        let kib: u64 = line.split_whitespace().nth(1).context("no VmRSS number")?.parse()?;
        Ok(kib * 1024)
    }

    /// Processor time used so far, user and system, from `/proc`.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        /// `USER_HZ`: the unit of `/proc/PID/stat`, 100 on every Linux this runs on.
        const TICKS_PER_SECOND: u64 = 100;
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid()?.as_raw_nonzero()))?;
        let after_name = stat.rsplit_once(')').context("no process name")?.1;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
    }

    fn pid(&self) -> anyhow::Result<Pid> {
        let id = self.child.id().context("the broker is not running")?;
        Pid::from_raw(id as i32).context("a process id is not zero")
    }
}

async fn spawn(
    launch: &Launch,
    kafka: SocketAddr,
    grpc: SocketAddr,
    data: &Path,
    log: &Path,
) -> anyhow::Result<(Child, Duration)> {
    let log_file = OpenOptions::new().create(true).append(true).open(log)?;
    let mut command = match launch {
        Launch::Keyway(binary) => {
            let mut command = Command::new(binary);
            command.arg("serve").args(["--kafka", &kafka.to_string(), "--grpc", &grpc.to_string()]);
            command.args(["--danube-admin", "127.0.0.1:0"]);
            command.arg("--data").arg(data);
            command
        }
        Launch::ApacheKafka(apache) => apache.command(data),
    };
    let started = Instant::now();
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::from(log_file.try_clone()?))
        .stderr(Stdio::from(log_file))
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("{} does not start", launch.name()))?;
    ready(launch, child, kafka, grpc, log, started).await
}

async fn ready(
    launch: &Launch,
    mut child: Child,
    kafka: SocketAddr,
    grpc: SocketAddr,
    log: &Path,
    started: Instant,
) -> anyhow::Result<(Child, Duration)> {
    /// Between two attempts to connect: short enough to measure a start of a few milliseconds.
    const ATTEMPT_EVERY: Duration = Duration::from_millis(2);
    let mut answered = None;
    loop {
        if let Some(status) = child.try_wait()? {
            bail!("the broker left at once: {status}: {}", last_line(log));
        }
        if answered.is_none() && kafka_probe::answers(kafka).await.is_ok() {
            answered = Some(started.elapsed());
        }
        if let Some(start_to_answer) = answered
            && (!launch.speaks_danube() || TcpStream::connect(grpc).await.is_ok())
        {
            return Ok((child, start_to_answer));
        }
        if started.elapsed() > launch.start_limit() {
            bail!("no answer {} s after the start: {}", launch.start_limit().as_secs(), last_line(log));
        }
        sleep(ATTEMPT_EVERY).await;
    }
}

fn last_line(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("nothing in its log").to_string()
}

/// An address that nobody listens on: bound once and let go.
fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Empties a log file, so that one run's log holds one run.
pub(crate) fn fresh_log(path: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(path.parent().expect("a log lies in a folder"))?;
    File::create(path)?;
    Ok(())
}
