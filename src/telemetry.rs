//! Log lines on standard error, for people or for machines.

use tracing_subscriber::EnvFilter;

/// `format` as `LOG_FORMAT` has it, `filter` as `RUST_LOG`.
///
/// # Errors
/// Names the variable that cannot be used.
pub fn start(format: Option<&str>, filter: Option<&str>) -> Result<(), String> {
    let filter = filter.filter(|text| !text.is_empty()).unwrap_or("info");
    let directives =
        EnvFilter::try_new(filter).map_err(|error| format!("RUST_LOG={filter}: {error}; write for example info"))?;
    let lines = tracing_subscriber::fmt().with_env_filter(directives).with_writer(std::io::stderr).with_target(false);
    match format.filter(|text| !text.is_empty()).unwrap_or("text") {
        "text" => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        "json" => lines.json().init(),
        other => return Err(format!("LOG_FORMAT={other}: must be text or json")),
    }
    Ok(())
}
