//! What only people on a terminal see: the progress of a long command, in one line that is redrawn in place.

use std::{
    io::{self, IsTerminal as _, Write, stderr},
    os::fd::AsFd,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustix::termios::tcgetwinsize;

/// To the beginning of the line, which is emptied.
const CLEAR_LINE: &str = "\r\u{1b}[K";

/// The line that is shown below everything else at the moment; empty: none.
static PROGRESS: Mutex<String> = Mutex::new(String::new());

/// Columns and rows. If the terminal does not report it, the smallest usual size.
pub(crate) fn size(terminal: impl AsFd) -> (usize, usize) {
    let size = tcgetwinsize(terminal).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
    size.map_or((80, 24), |size| (size.ws_col.into(), size.ws_row.into()))
}

/// `line` in at most `columns`, without what could move the cursor.
pub(crate) fn cut(line: &str, columns: usize) -> String {
    let plain = line.chars().map(|c| if c.is_control() { ' ' } else { c });
    if line.chars().count() <= columns {
        return plain.collect();
    }
    plain.take(columns.saturating_sub(1)).chain(['…']).collect()
}

/// The one line of progress, on standard error. It goes when this is dropped.
pub(crate) struct Progress {
    is_shown: bool,
}

impl Progress {
    /// Shows nothing unless it `is_wanted` and standard error is a terminal.
    pub(crate) fn new(is_wanted: bool) -> Self {
        Self { is_shown: is_wanted && stderr().is_terminal() }
    }

    pub(crate) fn is_shown(&self) -> bool {
        self.is_shown
    }

    pub(crate) fn show(&self, text: &str) {
        if self.is_shown {
            // One column less: a full line would leave the cursor in the next one.
            draw(cut(text, size(stderr()).0 - 1));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            draw(String::new());
        }
    }
}

fn draw(line: String) {
    let mut progress = progress();
    // A terminal that is gone needs no line.
    let _ = write!(stderr(), "{CLEAR_LINE}{line}");
    *progress = line;
}

fn progress() -> MutexGuard<'static, String> {
    PROGRESS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Standard error for lines of the log: they are shown above the line of progress.
pub(crate) struct LogLines;

impl Write for LogLines {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let progress = progress();
        let mut stderr = stderr().lock();
        if progress.is_empty() {
            return stderr.write(lines);
        }
        stderr.write_all(CLEAR_LINE.as_bytes())?;
        stderr.write_all(lines)?;
        stderr.write_all(progress.as_bytes())?;
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_to_the_width_and_moves_no_cursor() {
        assert_eq!(cut("Ärger", 5), "Ärger");
        assert_eq!(cut("Ärger", 4), "Ärg…");
        assert_eq!(cut("a\u{1b}[2Jb", 80), "a [2Jb");
        assert_eq!(cut("ab", 0), "…");
    }
}
