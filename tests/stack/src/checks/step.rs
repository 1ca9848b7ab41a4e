//! Runs a check with its output on the screen, and counts.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};
use stack::odoo::Report;

/// What was counted so far. A check that is not a test counts as one.
#[derive(Debug, Default)]
pub(super) struct Tally {
    passed: usize,
    failed: usize,
    lines: Vec<String>,
}

/// A check that runs beside others. What it says is shown at its end.
#[derive(Debug)]
pub(super) struct Begun {
    name: &'static str,
    child: Child,
    output: File,
    began: Instant,
}

impl Begun {
    pub(super) fn new(name: &'static str, mut command: Command) -> Result<Self> {
        let output = tempfile::tempfile()?;
        command.stdout(output.try_clone()?).stderr(output.try_clone()?);
        let child = command.spawn().with_context(|| format!("{name}: cannot start"))?;
        Ok(Self { name, child, output, began: Instant::now() })
    }
}

impl Tally {
    /// Waits until a check that has begun ends; it passes or fails as a whole.
    pub(super) fn end(&mut self, mut begun: Begun) -> Result<()> {
        let ended_well = begun.child.wait()?.success();
        println!("\n── {}", begun.name);
        begun.output.rewind()?;
        io::copy(&mut begun.output, &mut io::stdout())?;
        self.count(begun.name, usize::from(ended_well), usize::from(!ended_well), begun.began);
        Ok(())
    }

    /// Runs a check that passes or fails as a whole.
    pub(super) fn step(&mut self, name: &str, command: Command) -> Result<()> {
        let began = Instant::now();
        let ended_well = follow(name, command, |_| ())?;
        self.count(name, usize::from(ended_well), usize::from(!ended_well), began);
        Ok(())
    }

    /// Runs `cargo test` and adds up what each test binary says.
    pub(super) fn rust_tests(&mut self, name: &str, command: Command) -> Result<()> {
        let began = Instant::now();
        let (mut passed, mut failed) = (0, 0);
        let ended_well = follow(name, command, |line| {
            // test result: ok. 12 passed; 0 failed; 0 ignored; …
            if line.starts_with("test result: ") {
                passed += number_before(line, " passed");
                failed += number_before(line, " failed");
            }
        })?;
        // A binary that does not build or crashes says no result.
        failed += usize::from(!ended_well && failed == 0);
        failed += usize::from(ended_well && passed == 0);
        self.count(name, passed, failed, began);
        Ok(())
    }

    /// Adds what Odoo said.
    pub(super) fn addon_tests(&mut self, report: &Report) {
        print!("{}", report.errors);
        for (addon, count) in &report.by_addon {
            self.lines.push(format!("{addon}: {count} tests"));
        }
        let skipped = format!("{} skipped", report.skipped);
        self.lines.extend((report.skipped > 0).then_some(skipped));
        self.passed += report.ran - report.failed;
        self.failed += report.failed;
        self.lines.push(format!("addon tests: {} passed, {} failed", report.ran - report.failed, report.failed));
    }

    /// Notes a check that could not be made.
    pub(super) fn broken(&mut self, name: &str, error: &anyhow::Error) {
        eprintln!("{name}: {error:#}");
        self.failed += 1;
        self.lines.push(format!("{name}: could not run"));
    }

    /// Prints the counts, in all on the last line, and turns them into an exit code.
    pub(super) fn sum_up(self) -> ExitCode {
        println!();
        for line in &self.lines {
            println!("{line}");
        }
        println!("{} passed, {} failed", self.passed, self.failed);
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn count(&mut self, name: &str, passed: usize, failed: usize, began: Instant) {
        self.passed += passed;
        self.failed += failed;
        self.lines.push(format!("{name}: {passed} passed, {failed} failed ({} s)", began.elapsed().as_secs()));
    }
}

/// Runs `command`, passes its standard output on and shows each line of it to `look`; whether it ended well.
fn follow(name: &str, mut command: Command, mut look: impl FnMut(&str)) -> Result<bool> {
    println!("\n── {name}");
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("{name}: cannot start"))?;
    let output = child.stdout.take().context("the output was asked for")?;
    for line in BufReader::new(output).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        look(&line);
        println!("{line}");
    }
    Ok(child.wait()?.success())
}

fn number_before(line: &str, word: &str) -> usize {
    let before = line.split(word).next().unwrap_or_default();
    before.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}
