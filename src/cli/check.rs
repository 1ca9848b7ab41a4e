//! `check`: checks everything that delivery needs, and changes nothing.

mod walk;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::{CliError, json, print, table::plain};
use crate::{config::Config, environment::Environment, terminal::Progress};

/// How serious a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    /// Delivery works, but not as well as it could, or not as safely.
    Warning,
    /// Delivery does not work, or not for somebody.
    Problem,
}

#[derive(Debug, Serialize)]
struct Finding {
    subject: String,
    verdict: Verdict,
    text: String,
    /// What to do about it.
    fix: Option<String>,
}

#[derive(Debug, Serialize)]
struct Report {
    /// There is no problem; warnings do not count.
    ok: bool,
    findings: Vec<Finding>,
}

/// What was found, in the order of the checks.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, subject: impl Into<String>, text: impl Into<String>) {
        self.0.push(Finding { subject: subject.into(), verdict: Verdict::Ok, text: text.into(), fix: None });
    }

    fn warning(&mut self, subject: impl Into<String>, text: impl Into<String>, fix: impl Into<String>) {
        self.bad(Verdict::Warning, subject, text, fix);
    }

    fn problem(&mut self, subject: impl Into<String>, text: impl Into<String>, fix: impl Into<String>) {
        self.bad(Verdict::Problem, subject, text, fix);
    }

    fn bad(&mut self, verdict: Verdict, subject: impl Into<String>, text: impl Into<String>, fix: impl Into<String>) {
        self.0.push(Finding { subject: subject.into(), verdict, text: text.into(), fix: Some(fix.into()) });
    }
}

pub(super) async fn check(environment: &Environment, as_json: bool) -> Result<(), CliError> {
    let mut findings = Findings::default();
    let stopped = match Config::load(environment) {
        Ok(config) => walk::everything(environment, &config, &Progress::new(!as_json), &mut findings).await.err(),
        Err(error) => {
            findings.problem("configuration", error.to_string(), "see `man odoo-matrix-worker` for all variables");
            Some(error.into())
        }
    };
    let problems = findings.0.iter().filter(|finding| finding.verdict == Verdict::Problem).count();
    let report = Report { ok: problems == 0, findings: findings.0 };
    print(&if as_json { json(&report)? } else { text(&report) });
    match stopped {
        Some(error) => Err(error),
        None if problems == 0 => Ok(()),
        None if problems == 1 => Err(CliError::Failed("one problem found".to_owned())),
        None => Err(CliError::Failed(format!("{problems} problems found"))),
    }
}

fn text(report: &Report) -> String {
    report.findings.iter().map(lines).collect()
}

/// One line, and another one for what to do.
fn lines(finding: &Finding) -> String {
    let (word, color) = match finding.verdict {
        Verdict::Ok => ("ok     ", AnsiColor::Green),
        Verdict::Warning => ("warning", AnsiColor::Yellow),
        Verdict::Problem => ("PROBLEM", AnsiColor::Red),
    };
    let style = Style::new().fg_color(Some(color.into()));
    let fix = finding.fix.as_ref().map_or_else(String::new, |fix| format!("         fix: {}\n", plain(fix)));
    format!("{style}{word}{style:#}  {}: {}\n{fix}", plain(&finding.subject), plain(&finding.text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_red_line_has_its_fix_below_it_and_a_green_one_has_none() {
        let mut findings = Findings::default();
        findings.ok("clock", "right");
        findings.problem("database", "away\u{1b}[2J", "start it");

        let shown = anstream::adapter::strip_str(&text(&Report { ok: false, findings: findings.0 })).to_string();

        assert_eq!(shown, "ok       clock: right\nPROBLEM  database: away [2J\n         fix: start it\n");
    }
}
