//! A terminal for a command, as a person has it: what it shows, and keys.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    process::Command,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};
use tokio::process::Child;

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Pty {
    pub(crate) child: Child,
    keys: File,
    terminal: File,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Pty {
    /// Starts `command` on a terminal of this size.
    pub(crate) fn start(command: &Command, columns: u16, rows: u16) -> Self {
        let keys: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keys).unwrap();
        unlockpt(&keys).unwrap();
        let path = ptsname(&keys, Vec::new()).unwrap().into_string().unwrap();
        tcsetwinsize(&keys, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let terminal = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        // Ctrl-C reaches those whose controlling terminal it is.
        let mut on_it = Command::new("setsid");
        on_it.arg("--ctty").arg("--wait").arg(command.get_program()).args(command.get_args());
        on_it.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        on_it
            .stdin(terminal.try_clone().unwrap())
            .stdout(terminal.try_clone().unwrap())
            .stderr(terminal.try_clone().unwrap());
        let child = tokio::process::Command::from(on_it).kill_on_drop(true).spawn().unwrap();
        let keys = File::from(keys);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut output, into) = (keys.try_clone().unwrap(), shown.clone());
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                into.lock().unwrap().extend_from_slice(&bytes[..count]);
            }
        });
        Self { child, keys, terminal, shown }
    }

    pub(crate) fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    pub(crate) async fn until(&self, text: &str) {
        self.until_seen(text, |shown| shown.contains(text)).await;
    }

    pub(crate) async fn until_seen(&self, what: &str, seen: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !seen(&self.shown()) {
            assert!(Instant::now() < deadline, "not seen: {what}\n{}", self.shown());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn press(&mut self, key: u8) {
        self.keys.write_all(&[key]).unwrap();
    }

    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        tcsetwinsize(&self.keys, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    }

    /// Whether keys are shown and come line by line, as a shell expects it.
    pub(crate) fn is_as_before(&self) -> bool {
        tcgetattr(self.terminal.as_fd()).unwrap().local_modes.contains(LocalModes::ICANON | LocalModes::ECHO)
    }
}
