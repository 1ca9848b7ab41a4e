//! The rows of the table of reliability: one file for each, overwritten by each run.

use std::collections::{BTreeMap, HashMap};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

/// Before the numbers of a row that the long form of its test has written.
const LONG: &str = "long form: ";

/// `short` in an ordinary test run, `long` with `SOAK=1`: the same code with greater numbers.
pub fn scale<T>(short: T, long: T) -> T {
    if env::var_os("SOAK").is_some_and(|value| value == "1") { long } else { short }
}

/// As [`record`], for a test that has a long form.
///
/// # Panics
/// When the row cannot be written.
pub fn record_form(fault: &str, numbers: &str, figure: &str) {
    record(fault, &format!("{}{numbers}", scale("", LONG)), figure);
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

/// All rows as a table in Markdown, in the order of their names. A long form runs rarely, so its rows in the table `before` are replaced only by
/// rows of a long form.
pub fn table(before: &str) -> Result<String> {
    let mut rows = Vec::new();
    for entry in fs::read_dir(folder()).context("no row was recorded yet: run the tests first")? {
        let path = entry?.path();
        let row: Value = serde_json::from_str(&fs::read_to_string(&path)?)
            .with_context(|| format!("{} is not a row of results", path.display()))?;
        let cell = |name: &str| row[name].as_str().unwrap_or_default().replace('|', "\\|");
        rows.push(format!("| {} | {} | {} |", cell("fault"), cell("numbers"), cell("figure")));
    }
    ensure!(!rows.is_empty(), "no row was recorded yet: run the tests first");
    Ok(format!("{HEAD}{}", merged(before, &rows)))
}

fn merged(before: &str, now: &[String]) -> String {
    let mut rows: BTreeMap<_, _> = now.iter().map(|row| (row.to_lowercase(), row.as_str())).collect();
    let cells = |row: &'_ str| row.splitn(3, " | ").map(str::to_owned).collect::<Vec<_>>();
    let is_long = |row: &str| cells(row).get(1).is_some_and(|numbers| numbers.starts_with(LONG));
    let by_fault: HashMap<_, _> = now.iter().map(|row| (cells(row)[0].clone(), row)).collect();
    for row in before.lines().filter(|row| row.starts_with("| ") && is_long(row)) {
        match by_fault.get(&cells(row)[0]) {
            Some(row) if is_long(row) => continue,
            Some(short) => rows.remove(&short.to_lowercase()),
            None => None,
        };
        rows.insert(row.to_lowercase(), row);
    }
    rows.into_values().map(|row| format!("{row}\n")).collect()
}

const HEAD: &str = "# Reliability

For each fault: what it was tried with and the line that it had to pass, and what the tests of this tree measured.
`make reliability` runs them and writes this table, `make soak` does the same with greater numbers: the long form, whose rows
stay until it runs again. After each test the following must be true: what was committed is delivered, once, in the order of
its commits within a room; each outbox row has one final log row; the outbox is empty; no dead worker holds a lane.

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
    fn a_row_of_a_long_form_is_replaced_by_one_of_a_long_form_only() {
        let before = "# Head\n| fault | numbers |\n|---|---|\n| a | long form: 25 | old |\n| b | long form: 25 | old |\n\
            | c | long form: 25 | old |\n| d | 2 | old |\n| e | 2 | old |\n";
        let now = ["| a | 2 | new |", "| b | long form: 30 | new |", "| d | 2 | new |"];

        let rows = merged(before, &now.map(str::to_owned));

        assert_eq!(
            rows,
            "| a | long form: 25 | old |\n| b | long form: 30 | new |\n| c | long form: 25 | old |\n| d | 2 | new |\n"
        );
    }

    #[test]
    fn a_row_is_a_file_with_a_plain_name() {
        assert_eq!(slug("kill -9 at each of 8 points"), "kill-9-at-each-of-8-points");
    }
}
