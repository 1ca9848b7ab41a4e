//! The Debian package of the worker: the release build, the unit, the manual and the completions of shells.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::{process, scratch};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const NAME: &str = "odoo-matrix-worker";

const RELEASE: [&str; 5] = ["build", "--release", "--locked", "--bin", NAME];

/// A release build from nothing, on two cores that others use too.
const BUILD_WITHIN: Duration = Duration::from_secs(30 * 60);
const STEP_WITHIN: Duration = Duration::from_secs(10 * 60);

/// What a package is made of, built once for packages of several versions.
#[derive(Debug)]
pub struct Package {
    binary: PathBuf,
    manual: tempfile::TempDir,
}

impl Package {
    /// Builds the worker as it is installed, and its manual.
    pub async fn build() -> Result<Self> {
        let manual = scratch("manual")?;
        let log = manual.path().join("build.log");
        process::run("cargo build --release", cargo(&RELEASE), &log, BUILD_WITHIN).await?;
        // With the dependencies' features of the tests, which are built already.
        let example = cargo(&["build", "--workspace", "--locked", "--example", "manual"]);
        process::run("cargo build --example manual", example, &log, STEP_WITHIN).await?;
        let mut generate = Command::new(target().join("debug/examples/manual"));
        generate.arg(manual.path());
        process::run("manual", generate, &log, STEP_WITHIN).await?;
        Ok(Self { binary: target().join("release").join(NAME), manual })
    }

    /// The release build itself.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// The version that the program says.
    pub fn version(&self) -> Result<String> {
        let said = Command::new(&self.binary).arg("--version").output()?;
        let said = String::from_utf8(said.stdout)?;
        Ok(said.split_whitespace().nth(1).context("the program tells no version")?.to_owned())
    }

    /// Writes `<name>_<version>_<architecture>.deb` into the folder `into`.
    pub async fn write(&self, version: &str, into: &Path) -> Result<PathBuf> {
        let staged = scratch("package")?;
        let root = staged.path().join("root");
        self.stage(&root)?;
        let architecture = output("dpkg", &["--print-architecture"])?;
        let control = include_str!("../../../deploy/debian/control")
            .replace("{version}", version)
            .replace("{architecture}", &architecture)
            .replace("{libc}", &needed_libc(&self.binary)?);
        place(&root, "DEBIAN/control", control.as_bytes(), 0o644)?;
        for script in ["postinst", "prerm", "postrm"] {
            let text = fs::read(Path::new(ROOT).join("deploy/debian").join(script))?;
            place(&root, &format!("DEBIAN/{script}"), &text, 0o755)?;
        }
        fs::create_dir_all(into)?;
        let package = into.join(format!("{NAME}_{version}_{architecture}.deb"));
        let mut build = Command::new("dpkg-deb");
        build.args(["--root-owner-group", "--build"]).arg(&root).arg(&package);
        process::run("dpkg-deb", build, &staged.path().join("dpkg-deb.log"), STEP_WITHIN).await?;
        Ok(package)
    }

    fn stage(&self, root: &Path) -> Result<()> {
        place(root, "usr/bin/odoo-matrix-worker", &fs::read(&self.binary)?, 0o755)?;
        let doc = format!("usr/share/doc/{NAME}");
        for (from, to) in [
            (
                "deploy/systemd/odoo-matrix-worker@.service",
                "usr/lib/systemd/system/odoo-matrix-worker@.service".to_owned(),
            ),
            ("deploy/systemd/sysusers.conf", "usr/lib/sysusers.d/odoo-matrix-worker.conf".to_owned()),
            ("deploy/debian/copyright", format!("{doc}/copyright")),
            ("deploy/worker.env.example", format!("{doc}/worker.env.example")),
            ("deploy/alerts.yml", format!("{doc}/alerts.yml")),
            ("docs/operations.md", format!("{doc}/operations.md")),
        ] {
            let text = fs::read(Path::new(ROOT).join(from)).with_context(|| format!("{from} is missing"))?;
            place(root, &to, &text, 0o644)?;
        }
        for page in fs::read_dir(self.manual.path().join("man"))? {
            let page = page?;
            let to = format!("usr/share/man/man1/{}", page.file_name().to_string_lossy());
            place(root, &to, &fs::read(page.path())?, 0o644)?;
            output("gzip", &["-9n", &root.join(&to).to_string_lossy()])?;
        }
        for (from, to) in [
            ("odoo-matrix-worker.bash", "bash-completion/completions/odoo-matrix-worker"),
            ("_odoo-matrix-worker", "zsh/vendor-completions/_odoo-matrix-worker"),
            ("odoo-matrix-worker.fish", "fish/vendor_completions.d/odoo-matrix-worker.fish"),
        ] {
            let text = fs::read(self.manual.path().join("completions").join(from))?;
            place(root, &format!("usr/share/{to}"), &text, 0o644)?;
        }
        Ok(())
    }
}

/// The release build, on cores that nobody else wants.
pub fn build_in_idle_time() -> Command {
    let cargo = cargo(&RELEASE);
    let mut nice = Command::new("nice");
    nice.args(["-n", "19"]).arg(cargo.get_program()).args(cargo.get_args()).args(["--quiet"]).current_dir(ROOT);
    nice
}

/// The folder for packages, in cargo's target folder.
pub fn folder() -> PathBuf {
    target().join("deb")
}

fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| Path::new(ROOT).join("target"), PathBuf::from)
}

fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(ROOT);
    command
}

/// The newest version of glibc whose symbols the program asks for.
fn needed_libc(binary: &Path) -> Result<String> {
    const MARK: &[u8] = b"GLIBC_2.";
    let bytes = fs::read(binary)?;
    let minor = |at: usize| {
        let digits: String =
            bytes[at + MARK.len()..].iter().map(|b| char::from(*b)).take_while(char::is_ascii_digit).collect();
        digits.parse::<u32>().ok()
    };
    let marks = bytes.windows(MARK.len()).enumerate().filter(|(_, window)| *window == MARK);
    let newest = marks.filter_map(|(at, _)| minor(at)).max().context("the program asks for no version of glibc")?;
    Ok(format!("2.{newest}"))
}

fn place(root: &Path, to: &str, bytes: &[u8], mode: u32) -> Result<()> {
    let path = root.join(to);
    let folder = path.parent().context("a path below the root")?;
    fs::create_dir_all(folder)?;
    fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    // Whatever this machine's umask is.
    let above = folder.ancestors().take_while(|above| above.starts_with(root));
    above.into_iter().try_for_each(|above| fs::set_permissions(above, fs::Permissions::from_mode(0o755)))?;
    Ok(())
}

fn output(program: &str, arguments: &[&str]) -> Result<String> {
    let done = Command::new(program).args(arguments).output().with_context(|| format!("cannot start {program}"))?;
    ensure!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(String::from_utf8(done.stdout)?.trim().to_owned())
}
