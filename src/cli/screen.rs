//! Takes over the terminal for one command, and restores it afterwards.

use std::{
    io::{Read as _, Write as _, stdin, stdout},
    sync::Arc,
    thread,
};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use tokio::sync::Notify;

use crate::terminal::{cut, size};

/// The alternate screen, without a cursor and without wrapping of long lines.
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l\u{1b}[?7l";
const LEAVE: &str = "\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l";

const HOME: &str = "\u{1b}[H";
const CLEAR_TO_END_OF_LINE: &str = "\u{1b}[K";
const CLEAR_TO_END: &str = "\u{1b}[J";

/// The terminal is restored when this is dropped.
pub(super) struct Screen {
    /// How the terminal read keys before; `None` if standard input is not a terminal.
    before: Option<Termios>,
    quit: Arc<Notify>,
}

impl Screen {
    pub(super) fn enter() -> Self {
        let screen = Self { before: one_key_at_a_time(), quit: Arc::default() };
        if screen.before.is_some() {
            let quit = screen.quit.clone();
            // It ends with the process: a read of the terminal cannot be cancelled.
            thread::spawn(move || {
                for key in stdin().lock().bytes().map_while(Result::ok) {
                    if matches!(key, b'q' | b'Q') {
                        quit.notify_one();
                    }
                }
            });
        }
        put(ENTER);
        screen
    }

    /// Ends when `q` was pressed.
    pub(super) async fn quit(&self) {
        self.quit.notified().await;
    }

    pub(super) fn show(&self, text: &str) {
        let (columns, rows) = size(stdout());
        put(&frame(text, columns, rows));
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        put(LEAVE);
        if let Some(before) = &self.before {
            let _ = tcsetattr(stdin(), OptionalActions::Flush, before);
        }
    }
}

/// Keys come at once and are not shown. Ctrl-C keeps its meaning; Ctrl-Z is disabled, because it would leave the
/// terminal in this state.
fn one_key_at_a_time() -> Option<Termios> {
    let before = tcgetattr(stdin()).ok()?;
    let mut modes = before.clone();
    modes.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
    modes.special_codes[SpecialCodeIndex::VSUSP] = 0;
    tcsetattr(stdin(), OptionalActions::Flush, &modes).ok()?;
    Some(before)
}

/// `text` over what was shown before, without flicker. Lines that do not fit are counted in the last one.
fn frame(text: &str, columns: usize, rows: usize) -> String {
    let lines: Vec<_> = text.trim_end().lines().collect();
    let mut shown: Vec<_> = lines.iter().take(rows).map(|line| cut(line, columns)).collect();
    if lines.len() > rows {
        let hidden = lines.len() - rows + 1;
        shown.truncate(rows - 1);
        shown.push(cut(&format!("… {hidden} more lines: make the window taller"), columns));
    }
    let end_of_line = format!("{CLEAR_TO_END_OF_LINE}\r\n");
    format!("{HOME}{}{CLEAR_TO_END_OF_LINE}{CLEAR_TO_END}", shown.join(&end_of_line))
}

/// A terminal that is gone sends SIGHUP, which ends the watch.
fn put(text: &str) {
    let mut stdout = stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_fits_into_the_terminal_and_says_what_it_hides() {
        assert_eq!(frame("one\n\ntwo\n", 20, 5), "\u{1b}[Hone\u{1b}[K\r\n\u{1b}[K\r\ntwo\u{1b}[K\u{1b}[J");
        let cut = frame("1\n2\n3\n4", 8, 3);
        assert_eq!(cut, "\u{1b}[H1\u{1b}[K\r\n2\u{1b}[K\r\n… 2 mor…\u{1b}[K\u{1b}[J");
    }
}
