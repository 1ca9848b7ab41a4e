//! What Odoo's log says about its tests.

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
        let mut words = line.splitn(7, ' ');
        let level = words.nth(3).unwrap_or_default();
        let (logger, text) = (words.nth(1).unwrap_or_default(), words.next().unwrap_or_default());
        if line.starts_with("20") {
            in_error = matches!(level, "ERROR" | "CRITICAL");
        }
        if in_error {
            report.errors.extend([line, "\n"]);
        }
        if let (Some(module), true) = (logger.strip_prefix("odoo.addons."), text.starts_with("Starting ")) {
            // 2026-01-31 12:00:00,000 4711 INFO database odoo.addons.legal_case.tests.test_case: Starting TestCase.test_name ...
            let addon = module.split('.').next().unwrap_or_default();
            *report.by_addon.entry(addon.to_owned()).or_default() += 1;
        } else if let (true, Some((failed, rest))) =
            (logger.starts_with("odoo.tests.result"), text.split_once(" failed, "))
        {
            // … ERROR database odoo.tests.result: 1 failed, 0 error(s) of 12 tests when loading database 'x'
            if let Some((errors, ran)) = rest.split_once(" error(s) of ") {
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

#[cfg(test)]
mod parsing {
    use super::*;

    #[test]
    fn a_log_is_counted() {
        let log = "\
2026-01-31 12:00:00,000 7 INFO db odoo.addons.legal_case.tests.test_case: Starting TestCase.test_one ... 
2026-01-31 12:00:00,100 7 INFO db odoo.addons.legal_case.tests.test_case: Starting TestCase.test_two ... 
2026-01-31 12:00:00,200 7 ERROR db odoo.addons.legal_case.tests.test_case: FAIL: TestCase.test_two
Traceback (most recent call last):
AssertionError: no
2026-01-31 12:00:00,300 7 INFO db odoo.addons.mail_matrix.tests.test_tour: Starting TestTour.test_it ... 
2026-01-31 12:00:00,300 7 INFO db odoo.addons.mail_matrix.tests.test_tour: skipped Chrome executable not found : TestTour
2026-01-31 12:00:00,400 7 ERROR db odoo.tests.result: 1 failed, 0 error(s) of 3 tests when loading database 'db' 
";

        let report = parse(log);

        assert_eq!((report.ran, report.failed, report.skipped), (3, 1, 1));
        assert_eq!(Vec::from_iter(report.by_addon), [("legal_case".to_owned(), 2), ("mail_matrix".to_owned(), 1)]);
        assert!(report.errors.contains("AssertionError: no") && !report.errors.contains("Starting"));
    }
}
