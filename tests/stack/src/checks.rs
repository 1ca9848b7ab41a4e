//! `test`: every check, one after the other, and one line that sums up.

mod step;

use std::env;
use std::num::NonZero;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::thread::available_parallelism;

use anyhow::{Result, ensure};
use serde_json::Value;
use stack::odoo::{self, Odoo, Report, Site};
use stack::postgres::{Options, Postgres};
use stack::{machine, package, progress};

use crate::setup;
use step::{Begun, Tally};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Runs everything, also after a failure, so that one run shows all problems.
pub(crate) async fn run() -> Result<ExitCode> {
    setup::everything().await?;
    let mut tally = Tally::default();
    lint(&mut tally).await?;
    let mut doc = cargo(&["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"]);
    doc.env("RUSTDOCFLAGS", "-D warnings");
    tally.step("Rust documentation", doc)?;
    tally.step("Rust examples in the documentation", cargo(&["test", "--workspace", "--locked", "--doc"]))?;
    let (on_odoo, others): (Vec<_>, Vec<_>) =
        test_targets()?.into_iter().partition(|name| ON_ODOO.contains(&name.as_str()));
    tally.rust_tests("Rust tests", rust_tests(&["--lib", "--bins"], &others))?;
    without_encryption(&mut tally)?;
    // What nobody waits for meanwhile: the package, which the last of these tests installs.
    let package = machine::why_not().is_none().then(|| package::build_in_idle_time().spawn()).transpose()?;
    let addons = tokio::spawn(addon_tests(Vec::new()));
    tally.rust_tests("Rust tests on Odoo", rust_tests(&[], &on_odoo))?;
    match addons.await? {
        Ok(report) => tally.addon_tests(&report),
        Err(error) => tally.broken("addon tests", &error),
    }
    if let Some(mut package) = package {
        package.wait()?;
    }
    Ok(tally.sum_up())
}

/// What the tests of Rust that need Odoo or the package are in. They measure no time and leave cores idle: the addons' tests, which take
/// one, run beside them.
const ON_ODOO: [&str; 5] = ["browser", "end_to_end", "files", "life_cycle", "systemd"];

/// The names of all files and folders with integration tests.
fn test_targets() -> Result<Vec<String>> {
    let output = cargo(&["metadata", "--no-deps", "--format-version", "1", "--locked"]).output()?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let targets = packages.flat_map(|package| package["targets"].as_array().into_iter().flatten());
    let tests = targets.filter(|target| target["kind"][0] == "test");
    Ok(tests.filter_map(|target| target["name"].as_str().map(str::to_owned)).collect())
}

fn rust_tests(more: &[&str], targets: &[String]) -> Command {
    let mut tests = side_by_side(&["test", "--workspace", "--locked", "--no-fail-fast"]);
    if cfg!(feature = "containers") {
        tests.args(["--features", "odoo-matrix-stack/containers"]);
    }
    tests.args(more).args(targets.iter().flat_map(|name| ["--test", name]));
    tests
}

/// Runs what a change is most likely to break, in the time that somebody waits for it.
pub(crate) async fn fast() -> Result<ExitCode> {
    setup::fast().await?;
    let mut tally = Tally::default();
    lint(&mut tally).await?;
    tally.rust_tests("Rust unit tests", cargo(&["test", "--locked", "--lib"]))?;
    tally.rust_tests(
        "Rules of the sources",
        cargo(&["test", "--locked", "-p", "odoo-matrix-stack", "--test", "sources"]),
    )?;
    let mut delivery = cargo(&["test", "--locked", "--test", "worker", "--"]);
    delivery.args(["delivery::", "refusals::", "rooms::", "contract::", "migrations::", "metrics::"]);
    tally.rust_tests("Delivery", delivery)?;
    Ok(tally.sum_up())
}

/// Most of the worker is the same without encryption: here is what is not, and that it starts and delivers.
fn without_encryption(tally: &mut Tally) -> Result<()> {
    let lint = ["clippy", "--locked", "--no-default-features", "--bins", "--test", "worker", "--", "-D", "warnings"];
    tally.step("Rust lint without encryption", cargo(&lint))?;
    let mut tests = side_by_side(&["test", "--locked", "--no-default-features", "--test", "worker", "--"]);
    tests.args([
        "without_encryption::",
        "encrypted_before::",
        "follower_missing::",
        "no_longer_to_be_followed",
        "room_checks::",
        "keys::",
        "delivery::",
    ]);
    tally.rust_tests("Without encryption", tests)
}

async fn lint(tally: &mut Tally) -> Result<()> {
    // Most of the time, a compiler uses one core.
    let python = python_lint().await?.into_iter().map(|(name, command)| Begun::new(name, command));
    let python = python.collect::<Result<Vec<_>>>()?;
    tally.step("Rust format", cargo(&["fmt", "--all", "--check"]))?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--all-features", "--locked", "--", "-D", "warnings"];
    tally.step("Rust lint", cargo(&clippy))?;
    python.into_iter().try_for_each(|begun| tally.end(begun))
}

/// Runs the addons' tests alone.
pub(crate) async fn addons(names: Vec<String>) -> Result<ExitCode> {
    let mut tally = Tally::default();
    tally.addon_tests(&addon_tests(names).await?);
    Ok(tally.sum_up())
}

async fn addon_tests(mut names: Vec<String>) -> Result<Report> {
    if names.is_empty() {
        names = odoo::addon_names()?;
    }
    let postgres = Postgres::start(Options::default()).await?;
    let odoo = Arc::new(Odoo::install().await?);
    progress::say(format!("Odoo: {}", odoo.source()));
    // With demo data, which would otherwise be loaded by nobody before a user does.
    let site = Site::make(&odoo, &postgres, true).await?;
    let report = site.test(&names).await?;
    ensure!(report.ran > 0, "Odoo ran no test of {}", names.join(", "));
    Ok(report)
}

async fn python_lint() -> Result<[(&'static str, Command); 3]> {
    let linters = setup::linters().await?;
    let config = Path::new(ROOT).join("tests/python/ruff.toml");
    let at_root = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(linters.program(program));
        command.args(arguments).current_dir(ROOT);
        command
    };
    let config = config.to_string_lossy();
    let addons = odoo::addons_folder();
    let mut pylint = at_root("pylint", &["--rcfile", "tests/python/pylintrc"]);
    pylint.args(odoo::addon_names()?.iter().map(|name| addons.join(name)));
    Ok([
        ("Python lint", at_root("ruff", &["check", "--config", &config, "--no-cache", "odoo_addon"])),
        ("Python format", at_root("ruff", &["format", "--check", "--config", &config, "--no-cache", "odoo_addon"])),
        ("Odoo lint", pylint),
    ])
}

/// Twice as many tests at a time as there are cores: most of the time, a test waits for a lease or for another process to end.
fn side_by_side(arguments: &[&str]) -> Command {
    let mut command = cargo(arguments);
    if env::var_os("RUST_TEST_THREADS").is_none() {
        let cores = available_parallelism().map_or(1, NonZero::get);
        command.env("RUST_TEST_THREADS", (2 * cores).to_string());
    }
    command
}

fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(ROOT);
    command
}
