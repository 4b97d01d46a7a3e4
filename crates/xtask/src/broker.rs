//! A broker process: started on free ports and a folder of its own, ready when it answers, gone when dropped.

use std::fs::{self, File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
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
    /// This project's binary, with options of `keyway serve`.
    Keyway { binary: PathBuf, options: Vec<String> },
    /// Apache Kafka, as the referee of the checks and the other side of the benchmark.
    ApacheKafka(ApacheKafka),
    /// Danube's own broker, as the other side of the benchmark; `{grpc}`, `{admin}` and `{data}` in its arguments stand
    /// for its addresses and folder.
    Danube { binary: PathBuf, args: String },
}

/// The option with which an acknowledgement does not wait for the disk.
pub(crate) const DURABILITY_OS: &str = "--durability=os";

impl Launch {
    /// This project's binary as it is.
    pub(crate) fn keyway(binary: PathBuf) -> Self {
        Launch::Keyway { binary, options: Vec::new() }
    }

    /// The same with further listeners, as `SASL_SSL://ADDRESS`, and lines of settings, which lie in `folder`.
    pub(crate) fn with(&self, folder: &Path, listeners: &[String], settings: &str) -> anyhow::Result<Self> {
        match self {
            Launch::Keyway { binary, options } => {
                let file = folder.join("server.properties");
                // The address of the first comes from the command line.
                let all = [&["PLAINTEXT://127.0.0.1:9092".to_owned()], listeners].concat().join(",");
                fs::write(&file, format!("listeners={all}\n{settings}"))?;
                let more = ["--config".to_owned(), file.display().to_string()];
                Ok(Launch::Keyway { binary: binary.clone(), options: [&options[..], &more].concat() })
            }
            Launch::ApacheKafka(kafka) => {
                Ok(Launch::ApacheKafka(kafka.clone().with(listeners.to_vec(), settings)))
            }
            Launch::Danube { .. } => bail!("Danube's broker does not know Kafka's settings"),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Launch::Keyway { options, .. } if options.is_empty() => "keyway",
            Launch::Keyway { options, .. } if options.iter().any(|option| option == DURABILITY_OS) => {
                "keyway-os"
            }
            Launch::Keyway { .. } => "keyway-options",
            Launch::ApacheKafka(kafka) if kafka.flushes_every_batch() => "kafka-fsync",
            Launch::ApacheKafka(_) => "kafka",
            Launch::Danube { .. } => "danube",
        }
    }

    /// Whether it serves the Danube protocol as well.
    pub(crate) fn speaks_danube(&self) -> bool {
        !matches!(self, Launch::ApacheKafka(_))
    }

    /// Whether it serves the Kafka protocol as well.
    fn speaks_kafka(&self) -> bool {
        !matches!(self, Launch::Danube { .. })
    }

    fn start_limit(&self) -> Duration {
        match self {
            // Under valgrind too.
            Launch::Keyway { .. } => Duration::from_secs(30),
            Launch::ApacheKafka(_) | Launch::Danube { .. } => Duration::from_secs(60),
        }
    }
}

/// A running broker. Dropping it kills the process.
pub(crate) struct Broker {
    launch: Launch,
    child: Child,
    ports: Ports,
    data: PathBuf,
    log: PathBuf,
    start_to_answer: Duration,
}

/// Where a broker listens, the same after every start.
#[derive(Clone, Copy)]
struct Ports {
    kafka: SocketAddr,
    grpc: SocketAddr,
    /// Danube's administration.
    admin: SocketAddr,
    http: SocketAddr,
}

impl Ports {
    fn free() -> anyhow::Result<Self> {
        Ok(Self {
            kafka: free_address()?,
            grpc: free_address()?,
            admin: free_address()?,
            http: free_address()?,
        })
    }
}

impl Broker {
    /// Starts a broker on free ports and waits until both of them answer.
    pub(crate) async fn start(launch: &Launch, data: &Path, log: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(data)?;
        let ports = Ports::free()?;
        if let Launch::ApacheKafka(apache) = launch {
            apache.format(data, ports.kafka, ports.grpc, log).await?;
        }
        Self::start_at(launch, ports, data, log).await
    }

    /// The same on a folder that another broker has left behind.
    pub(crate) async fn start_on(launch: &Launch, data: &Path, log: &Path) -> anyhow::Result<Self> {
        let ports = Ports::free()?;
        if let Launch::ApacheKafka(apache) = launch {
            apache.configure(data, ports.kafka, ports.grpc)?;
        }
        Self::start_at(launch, ports, data, log).await
    }

    async fn start_at(launch: &Launch, ports: Ports, data: &Path, log: &Path) -> anyhow::Result<Self> {
        let started = Instant::now();
        let mut child = spawn(launch, ports, data, log)?;
        let start_to_answer = ready(launch, &mut child, ports, log, started).await?;
        Ok(Self {
            launch: launch.clone(),
            child,
            ports,
            data: data.to_path_buf(),
            log: log.to_path_buf(),
            start_to_answer,
        })
    }

    /// Starts it again on the same ports and folder, after [`Broker::kill`] or [`Broker::terminate`].
    pub(crate) async fn start_again(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        self.begin_again()?;
        let child = &mut self.child;
        self.start_to_answer = ready(&self.launch, child, self.ports, &self.log, started).await?;
        Ok(())
    }

    /// As [`Broker::start_again`], without waiting for an answer: what is killed then is a recovery.
    pub(crate) fn begin_again(&mut self) -> anyhow::Result<()> {
        assert!(self.child.id().is_none(), "the former process has to be gone");
        self.child = spawn(&self.launch, self.ports, &self.data, &self.log)?;
        Ok(())
    }

    pub(crate) fn kafka(&self) -> SocketAddr {
        self.ports.kafka
    }

    pub(crate) fn grpc(&self) -> SocketAddr {
        self.ports.grpc
    }

    pub(crate) fn speaks_danube(&self) -> bool {
        self.launch.speaks_danube()
    }

    pub(crate) fn speaks_kafka(&self) -> bool {
        self.launch.speaks_kafka()
    }

    /// What it was started as.
    pub(crate) fn launch(&self) -> &Launch {
        &self.launch
    }

    /// Whether it is Apache Kafka.
    pub(crate) fn is_kafka(&self) -> bool {
        matches!(self.launch, Launch::ApacheKafka(_))
    }

    /// The address as Danube clients want it.
    pub(crate) fn danube_url(&self) -> String {
        format!("http://{}", self.ports.grpc)
    }

    /// Its binary, if it is this project's, which is a client as well.
    pub(crate) fn keyway(&self) -> Option<&Path> {
        match &self.launch {
            Launch::Keyway { binary, .. } => Some(binary),
            Launch::ApacheKafka(_) | Launch::Danube { .. } => None,
        }
    }

    /// The address of Danube's administration.
    pub(crate) fn admin_url(&self) -> String {
        format!("http://{}", self.ports.admin)
    }

    /// Where health, metrics and administration are served.
    pub(crate) fn http(&self) -> SocketAddr {
        self.ports.http
    }

    /// From the start of the process to its first answer.
    pub(crate) fn start_to_answer(&self) -> Duration {
        self.start_to_answer
    }

    /// `kill -9`, and wait until the process is gone.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("kill -9")
    }

    /// SIGSTOP: it stays as it is until it is killed.
    pub(crate) fn suspend(&self) -> anyhow::Result<()> {
        Ok(kill_process(self.pid()?, Signal::STOP)?)
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

    /// Lines of its log that have this word.
    pub(crate) fn logged(&self, word: &str) -> anyhow::Result<Vec<String>> {
        let log = fs::read(&self.log).with_context(|| self.log.display().to_string())?;
        let log = String::from_utf8_lossy(&log);
        Ok(log.lines().filter(|line| line.contains(word)).map(str::to_owned).collect())
    }

    /// Resident memory in bytes, from `/proc`.
    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        self.memory("VmRSS:")
    }

    /// The most that [`Broker::resident_bytes`] has been.
    pub(crate) fn peak_resident_bytes(&self) -> anyhow::Result<u64> {
        self.memory("VmHWM:")
    }

    fn memory(&self, field: &str) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()?.as_raw_nonzero()))?;
        let line = status.lines().find(|line| line.starts_with(field));
        let line = line.with_context(|| format!("no {field} line"))?;
        let kib: u64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
        Ok(kib * 1024)
    }

    /// Context switches of all its threads so far, voluntary or not. Those of threads that have ended are forgotten.
    pub(crate) fn context_switches(&self) -> anyhow::Result<u64> {
        let mut switches = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.process_id()?))? {
            let status = fs::read_to_string(thread?.path().join("status"))?;
            let counts = status.lines().filter(|line| line.contains("ctxt_switches:"));
            for count in counts {
                switches += count.split_whitespace().nth(1).context("no count")?.parse::<u64>()?;
            }
        }
        Ok(switches)
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

    pub(crate) fn process_id(&self) -> anyhow::Result<i32> {
        Ok(self.pid()?.as_raw_nonzero().get())
    }

    fn pid(&self) -> anyhow::Result<Pid> {
        let id = self.child.id().context("the broker is not running")?;
        Pid::from_raw(id as i32).context("a process id is not zero")
    }
}

fn spawn(launch: &Launch, ports: Ports, data: &Path, log: &Path) -> anyhow::Result<Child> {
    let log_file = OpenOptions::new().create(true).append(true).open(log)?;
    let mut command = match launch {
        Launch::Keyway { binary, options } => {
            let mut command = Command::new(binary);
            let Ports { kafka, grpc, admin, http } = ports;
            command.arg("serve").args(["--kafka", &kafka.to_string(), "--grpc", &grpc.to_string()]);
            command.args(["--danube-admin", &admin.to_string(), "--http", &http.to_string()]);
            command.arg("--data").arg(data).args(options);
            command
        }
        Launch::ApacheKafka(apache) => apache.command(data),
        Launch::Danube { binary, args } => {
            let mut command = Command::new(binary);
            let filled = args.replace("{grpc}", &ports.grpc.to_string());
            let filled = filled.replace("{admin}", &ports.admin.to_string());
            let data_path = data.to_str().context("the data folder has no UTF-8 name")?;
            command.args(filled.split_whitespace().map(|arg| arg.replace("{data}", data_path)));
            command
        }
    };
    command
        .stdin(Stdio::null())
        .stdout(Stdio::from(log_file.try_clone()?))
        .stderr(Stdio::from(log_file))
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("{} does not start", launch.name()))
}

/// Waits until every port answers; how long the first one took.
async fn ready(
    launch: &Launch,
    child: &mut Child,
    ports: Ports,
    log: &Path,
    started: Instant,
) -> anyhow::Result<Duration> {
    /// Between two attempts to connect: short enough to measure a start of a few milliseconds.
    const ATTEMPT_EVERY: Duration = Duration::from_millis(2);
    let mut answered = None;
    loop {
        if let Some(status) = child.try_wait()? {
            bail!("the broker left at once: {status}: {}", last_line(log));
        }
        let answers = match launch.speaks_kafka() {
            true => answered.is_none() && kafka_probe::answers(ports.kafka).await.is_ok(),
            false => answered.is_none() && TcpStream::connect(ports.grpc).await.is_ok(),
        };
        if answers {
            answered = Some(started.elapsed());
        }
        if let Some(start_to_answer) = answered
            && (!launch.speaks_danube() || TcpStream::connect(ports.grpc).await.is_ok())
        {
            return Ok(start_to_answer);
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

/// An address that nobody listens on: bound once and let go. It lies below the ports that the system gives to
/// connections, or one of those could have it while the broker restarts.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    const PORTS: std::ops::Range<u16> = 12_000..32_000;
    /// The next one to try; runs that start at the same time begin at different places.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in PORTS {
        let place = std::process::id().wrapping_mul(97) + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + (place % PORTS.len() as u32) as u16;
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return Ok(listener.local_addr()?);
        }
    }
    bail!("no port of {PORTS:?} is free")
}

/// Empties a log file, so that one run's log holds one run.
pub(crate) fn fresh_log(path: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(path.parent().expect("a log lies in a folder"))?;
    File::create(path)?;
    Ok(())
}
