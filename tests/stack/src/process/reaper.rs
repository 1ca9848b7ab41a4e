//! Ends our programs and removes our folders after our own end, however that came.
//!
//! A small shell holds the other end of a pipe. What must not outlive us is written into it; end of file means that we are
//! gone. A parent-death signal would not do: it fires when the *thread* that started the program ends, and each test is one.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::process::{Pid, Signal};

/// Reads `watch <group> <signal>`, `forget <group>` and `folder <path>` until end of file, then tidies up: asks the groups to
/// end, kills what is left after five seconds, removes the folders.
const SCRIPT: &str = r#"
trap '' INT TERM HUP QUIT
groups= folders=
without() { for entry in $groups; do [ "${entry%:*}" = "$1" ] || printf '%s ' "$entry"; done; }
while read -r word value signal; do
    case $word in
        watch) groups="$(without "$value")$value:$signal" ;;
        forget) groups="$(without "$value")" ;;
        folder) folders="$folders$value
" ;;
    esac
done
alive() { for entry in $groups; do kill -s 0 -- "-${entry%:*}" && return 0; done; return 1; }
for entry in $groups; do kill -s "${entry#*:}" -- "-${entry%:*}"; done
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25; do alive || break; sleep 0.2; done
for entry in $groups; do kill -s KILL -- "-${entry%:*}"; done
printf '%s' "$folders" | while read -r folder; do rm -rf -- "$folder"; done
"#;

/// Has the folder removed when this process is gone. A path with a line break is not taken.
pub(crate) fn remove_at_exit(folder: &Path) {
    if let Some(folder) = folder.to_str().filter(|text| !text.contains('\n')) {
        tell(&format!("folder {folder}\n"));
    }
}

pub(super) fn watch(group: Pid, signal: Signal) {
    tell(&format!("watch {} {}\n", group.as_raw_nonzero(), signal.as_raw()));
}

pub(super) fn forget(group: Pid) {
    tell(&format!("forget {}\n", group.as_raw_nonzero()));
}

fn tell(line: &str) {
    static REAPER: OnceLock<Option<Mutex<ChildStdin>>> = OnceLock::new();
    // Without a shell the programs still end when they are dropped; a test run is not worth failing for the rest.
    if let Some(pipe) = REAPER.get_or_init(start) {
        let _ = pipe.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes());
    }
}

fn start() -> Option<Mutex<ChildStdin>> {
    let mut shell = Command::new("sh");
    shell.args(["-c", SCRIPT]).process_group(0).current_dir("/");
    shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    shell.spawn().ok()?.stdin.map(Mutex::new)
}
