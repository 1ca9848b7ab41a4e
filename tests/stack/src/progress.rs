//! One line on the screen for each step that a person would otherwise wait for in silence.

use std::sync::OnceLock;
use std::time::Instant;

/// Prints `text` with the seconds since the first line. In tests the harness shows it when the test fails.
pub fn say(text: impl AsRef<str>) {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    let seconds = BEGAN.get_or_init(Instant::now).elapsed().as_secs();
    eprintln!("[{seconds:>4} s] {}", text.as_ref());
}
