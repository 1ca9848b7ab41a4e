//! The rows of the table of reliability: one file for each, overwritten by each run.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

/// `short` in an ordinary test run, `long` with `SOAK=1`: the same code with greater numbers.
pub fn scale<T>(short: T, long: T) -> T {
    if env::var_os("SOAK").is_some_and(|value| value == "1") { long } else { short }
}

/// Writes one row: the fault, the numbers that it was tried with and the line that it had to pass, and the measured figure.
///
/// # Panics
/// When the row cannot be written.
#[expect(clippy::print_stdout, reason = "the figure is also for people who watch the run")]
pub fn record(fault: &str, numbers: &str, figure: &str) {
    println!("{fault}: {figure} ({numbers})");
    let row = json!({ "fault": fault, "numbers": numbers, "figure": figure });
    let folder = folder();
    let written = fs::create_dir_all(&folder)
        .and_then(|()| fs::write(folder.join(slug(fault)).with_extension("json"), format!("{row}\n")));
    written.unwrap_or_else(|error| panic!("the row cannot be written to {}: {error}", folder.display()));
}

/// Where the rows lie.
pub fn folder() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from);
    target.join("reliability")
}

/// All rows as a table in Markdown, in the order of their names.
pub fn table() -> Result<String> {
    let mut rows = Vec::new();
    for entry in fs::read_dir(folder()).context("no row was recorded yet: run the tests first")? {
        let path = entry?.path();
        let row: Value = serde_json::from_str(&fs::read_to_string(&path)?)
            .with_context(|| format!("{} is not a row of results", path.display()))?;
        let cell = |name: &str| row[name].as_str().unwrap_or_default().replace('|', "\\|");
        rows.push(format!("| {} | {} | {} |\n", cell("fault"), cell("numbers"), cell("figure")));
    }
    ensure!(!rows.is_empty(), "no row was recorded yet: run the tests first");
    rows.sort_unstable_by_key(|row| row.to_lowercase());
    Ok(format!("{HEAD}{}", rows.concat()))
}

const HEAD: &str = "# Reliability

For each fault: what it was tried with and the line that it had to pass, and what the tests of this tree measured.
`make reliability` runs them and writes this table, `make soak` does the same with greater numbers. After each test the
following must be true: what was committed is delivered, once, in the order of its commits within a room; each outbox row
has one final log row; the outbox is empty; no dead worker holds a lane.

| fault | numbers and pass line | measured |
|---|---|---|
";

fn slug(fault: &str) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' };
    fault
        .chars()
        .map(plain)
        .collect::<String>()
        .split('-')
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_a_file_with_a_plain_name() {
        assert_eq!(slug("kill -9 at each of 8 points"), "kill-9-at-each-of-8-points");
    }
}
