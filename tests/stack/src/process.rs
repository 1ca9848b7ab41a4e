//! A program that runs beside us, writes to a log file and never outlives us.
//!
//! Each program leads a process group of its own, so that Ctrl-C on the terminal reaches only us and we end the whole
//! group. The `reaper` ends it as well when we cannot: after a panic, `exit` or SIGKILL.

mod reaper;

use std::fs::{self, File, OpenOptions};
use std::future::Future;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process_group};

pub(crate) use reaper::remove_at_exit;

/// How often a state that nobody announces (a port that opens, a program that ends) is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// How long a program may take to end after its signal before it is killed.
const END_GRACE: Duration = Duration::from_secs(10);
const TAIL_BYTES: u64 = 6_000;

/// A running program. Dropping it ends it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Mutex<Child>,
    group: Pid,
    log: PathBuf,
    ends_on: Signal,
}

impl Process {
    /// Starts `command` with its output appended to the file `log`.
    ///
    /// `name` is how messages call the program. The program is asked to end with SIGTERM; see [`Self::ends_on`].
    pub fn spawn(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        if let Some(folder) = log.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let output = OpenOptions::new().create(true).append(true).open(log);
        let output = output.with_context(|| format!("cannot write {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .with_context(|| format!("{name}: cannot start {}", command.get_program().to_string_lossy()))?;
        let group = Pid::from_child(&child);
        reaper::watch(group, Signal::TERM);
        Ok(Self { name: name.to_owned(), child: Mutex::new(child), group, log: log.to_owned(), ends_on: Signal::TERM })
    }

    /// Names the signal that asks this program to end, where SIGTERM means something else to it.
    #[must_use]
    pub fn ends_on(mut self, signal: Signal) -> Self {
        reaper::watch(self.group, signal);
        self.ends_on = signal;
        self
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child().id()
    }

    /// The file that holds the program's output.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How the program ended, or `None` while it runs.
    pub fn exit_status(&self) -> Result<Option<ExitStatus>> {
        let status = self.child().try_wait().with_context(|| format!("{}: cannot look at it", self.name))?;
        if status.is_some() {
            reaper::forget(self.group);
        }
        Ok(status)
    }

    /// Sends a signal to the program and to everything that it started.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        if self.exit_status()?.is_some() {
            bail!("{} has ended already", self.name);
        }
        kill_process_group(self.group, signal).with_context(|| format!("{}: cannot signal it", self.name))
    }

    /// Waits until the program ends by itself; an error once `limit` has passed.
    pub async fn wait(&self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.exit_status()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("{} did not end within {} s\n{}", self.name, limit.as_secs(), self.tail());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Sends `signal` and waits for the end, which must come within ten seconds.
    pub async fn stop(&self, signal: Signal) -> Result<ExitStatus> {
        self.signal(signal)?;
        self.wait(END_GRACE).await
    }

    /// Waits until `probe` gives something; an error when the program ends first or `limit` has passed.
    pub async fn until<T, F>(&self, what: &str, limit: Duration, mut probe: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Option<T>>,
    {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(found) = probe().await {
                return Ok(found);
            }
            if let Some(status) = self.exit_status()? {
                bail!("{} ended ({status}) before it {what}\n{}", self.name, self.tail());
            }
            if Instant::now() > deadline {
                bail!("{} was not seen that it {what} within {} s\n{}", self.name, limit.as_secs(), self.tail());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The last lines of the log, with the name of the file above them.
    pub fn tail(&self) -> String {
        tail(&self.log)
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        crate::blocking(|| self.end());
    }
}

impl Process {
    fn end(&self) {
        let mut signal = self.ends_on;
        let mut deadline = Instant::now() + END_GRACE;
        while let Ok(None) = self.exit_status() {
            // The group may end between the look and the signal, which is what is wanted.
            let _ = kill_process_group(self.group, signal);
            while let (Ok(None), true) = (self.exit_status(), Instant::now() < deadline) {
                std::thread::sleep(LOOK_EVERY);
            }
            signal = Signal::KILL;
            deadline = Instant::now() + END_GRACE;
        }
    }
}

/// Runs a program to its end; an error that carries the tail of its log when it fails or takes longer than `limit`.
pub async fn run(name: &str, command: Command, log: &Path, limit: Duration) -> Result<()> {
    let process = Process::spawn(name, command, log)?;
    let status = process.wait(limit).await?;
    if !status.success() {
        bail!("{name} failed ({status})\n{}", process.tail());
    }
    Ok(())
}

/// The last lines of a log file, with its name above them.
pub fn tail(log: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_else(|error| format!("(cannot be read: {error})"));
    format!("--- the end of {} ---\n{}", log.display(), text.trim_end())
}
