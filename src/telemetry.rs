//! Log lines on standard error: for people, for machines, or for systemd's journal.

use std::{fmt, os::linux::fs::MetadataExt as _};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, Writer},
    },
    registry::LookupSpan,
};

use crate::{
    environment::{ConfigError, Environment, bad},
    terminal::LogLines,
};

/// Reads `LOG_FORMAT` and `RUST_LOG`.
///
/// # Errors
/// Names the variable that cannot be used.
pub fn start(environment: &Environment) -> Result<(), ConfigError> {
    let filter = environment.get("RUST_LOG").unwrap_or("info");
    let directives = EnvFilter::try_new(filter)
        .map_err(|error| bad("RUST_LOG", filter, format!("{error}; write for example info")))?;
    let lines = tracing_subscriber::fmt().with_env_filter(directives).with_writer(|| LogLines);
    let format = Format::default().with_target(false);
    let in_journal = is_journal(environment);
    match (environment.get("LOG_FORMAT").unwrap_or("text"), in_journal) {
        ("text", true) => lines.with_ansi(false).event_format(WithPriority(format.without_time())).init(),
        ("text", false) => {
            lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).event_format(format).init();
        }
        ("json", true) => lines.json().event_format(WithPriority(format.json())).init(),
        ("json", false) => lines.json().event_format(format.json()).init(),
        (other, _) => return Err(bad("LOG_FORMAT", other, "must be text or json")),
    }
    Ok(())
}

/// Whether standard error is a stream of systemd's journal, which has the time of each line and reads its priority.
pub fn is_journal(environment: &Environment) -> bool {
    let Some((device, inode)) = environment.get("JOURNAL_STREAM").and_then(|stream| stream.split_once(':')) else {
        return false;
    };
    let ours = std::fs::metadata("/proc/self/fd/2").map(|file| (file.st_dev(), file.st_ino()));
    ours.is_ok_and(|ours| (device.parse(), inode.parse()) == (Ok(ours.0), Ok(ours.1)))
}

/// Begins a line with its priority as systemd reads it: `<4>` is a warning.
struct WithPriority<F>(F);

impl<S, N, F> FormatEvent<S, N> for WithPriority<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        write!(writer, "<{priority}>")?;
        self.0.format_event(context, writer, event)
    }
}
