//! What Odoo's log tells about its tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Counts of a test run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Tests that ran, those that failed included.
    pub ran: usize,
    /// Tests that failed or raised.
    pub failed: usize,
    pub skipped: usize,
    /// How many tests each addon has.
    pub by_addon: BTreeMap<String, usize>,
    /// The lines of the log at level ERROR or CRITICAL, with what follows them.
    pub errors: String,
}

pub(super) fn read(log: &Path) -> Result<Report> {
    let log = fs::read(log).with_context(|| format!("cannot read {}", log.display()))?;
    Ok(parse(&String::from_utf8_lossy(&log)))
}

fn parse(log: &str) -> Report {
    let mut report = Report::default();
    let mut in_error = false;
    for line in log.lines() {
        // 2026-01-31 12:00:00,000 4711 INFO database odoo.tests.stats: legal_case: 12 tests 0.50s 340 queries
        let mut words = line.splitn(7, ' ');
        let level = words.nth(3).unwrap_or_default();
        let (logger, text) = (words.nth(1).unwrap_or_default(), words.next().unwrap_or_default());
        if line.starts_with("20") {
            in_error = matches!(level, "ERROR" | "CRITICAL");
        }
        if in_error {
            report.errors.extend([line, "\n"]);
        }
        if logger.starts_with("odoo.tests.stats") {
            if let Some((addon, count)) = text.split_once(": ") {
                *report.by_addon.entry(addon.to_owned()).or_default() += leading_number(count);
            }
        } else if let Some((failed, rest)) = text.split_once(" failed, ") {
            // 1 failed, 0 error(s) of 12 tests when loading database 'x'
            if let (true, Some((errors, ran))) =
                (logger.starts_with("odoo.tests.result"), rest.split_once(" error(s) of "))
            {
                report.failed += leading_number(failed) + leading_number(errors);
                report.ran += leading_number(ran);
            }
        } else if text.starts_with("skipped ") {
            report.skipped += 1;
        }
    }
    report
}

fn leading_number(text: &str) -> usize {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_default()
}
