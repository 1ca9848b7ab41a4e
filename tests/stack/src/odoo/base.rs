//! The databases that sites are copied from: making one takes Odoo most of a minute, copying it a second.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use tempfile::TempDir;
use tokio::sync::Mutex;

use super::{Odoo, Site, site};
use crate::postgres::{self, Database, Postgres};
use crate::process;
use crate::{cache, progress, scratch};

const WITHIN: Duration = Duration::from_secs(15 * 60);
const MODULES: &str = "base,mail";
const DUMP: &str = "database.dump";
const FILESTORE: &str = "filestore";

/// Those of this process' own servers, which end with it.
static BASES: Mutex<Vec<Arc<Base>>> = Mutex::const_new(Vec::new());

/// A database with `base` and `mail` (with their demo data, if `demo`) and perhaps addons of ours, and the files that belong to it.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) database: Database,
    pub(super) filestore: PathBuf,
    demo: bool,
    addons: Vec<String>,
    series: String,
    /// Of the server: no two have the same.
    password: String,
    _folder: TempDir,
}

impl Base {
    /// Made once for each server, by the first test that asks for it.
    pub(super) async fn get(odoo: &Arc<Odoo>, postgres: &Postgres, demo: bool, addons: &[String]) -> Result<Arc<Self>> {
        if !postgres.ends_with_us() {
            // What is kept would stay there.
            let plain = Self::make(odoo, postgres, demo).await?;
            let base = if addons.is_empty() { plain } else { plain.with(odoo, postgres, addons).await? };
            return Ok(Arc::new(base));
        }
        let mut bases = BASES.lock().await;
        let find = |bases: &[Arc<Self>], addons: &[String]| {
            let serves = |base: &&Arc<Self>| {
                (&*base.series, &*base.password) == (odoo.series(), &*postgres.server().password)
                    && (base.demo, &*base.addons) == (demo, addons)
            };
            bases.iter().find(serves).cloned()
        };
        if let Some(base) = find(&bases, addons) {
            return Ok(base);
        }
        let plain = match find(&bases, &[]) {
            Some(plain) => plain,
            None => {
                bases.push(Arc::new(Self::make(odoo, postgres, demo).await?));
                Arc::clone(&bases[bases.len() - 1])
            }
        };
        if addons.is_empty() {
            return Ok(plain);
        }
        let base = Arc::new(plain.with(odoo, postgres, addons).await?);
        bases.push(Arc::clone(&base));
        Ok(base)
    }

    /// A copy on which these addons are installed.
    async fn with(&self, odoo: &Arc<Odoo>, postgres: &Postgres, addons: &[String]) -> Result<Self> {
        let site = Site::copy(odoo, postgres, self).await?;
        site.install(addons).await?;
        let (database, folder) = site.into_parts();
        Ok(Self {
            filestore: folder.path().join("data/filestore").join(database.name()),
            database,
            demo: self.demo,
            addons: addons.to_vec(),
            series: self.series.clone(),
            password: self.password.clone(),
            _folder: folder,
        })
    }

    pub(super) fn demo(&self) -> bool {
        self.demo
    }

    async fn make(odoo: &Odoo, postgres: &Postgres, demo: bool) -> Result<Self> {
        let folder = scratch("base")?;
        let owner = postgres.odoo_role().await?;
        let database = postgres.create_database("odoo_base", None, &owner.role).await?;
        let cached = cache::folder(&entry(odoo, postgres, demo).await?, async |place| {
            progress::say(format!("Odoo {}: making its first database", odoo.series));
            let conf = site::write_config(folder.path(), &owner, database.name())?;
            let mut init = odoo.command();
            init.arg("-c").arg(conf).args(["-i", MODULES, "--stop-after-init", "--no-http"]);
            init.args(odoo.demo_switch(demo));
            process::run("Odoo's first start", init, &folder.path().join("odoo.log"), WITHIN).await?;
            let files = folder.path().join("data/filestore").join(database.name());
            fs::create_dir_all(&files)?;
            copy_files(&files, &place.join(FILESTORE), folder.path()).await?;
            let mut dump = postgres::tool("pg_dump");
            dump.args(["--format=custom", "--compress=1", "--no-owner", "--no-privileges", "--file"])
                .arg(place.join(DUMP));
            dump.args(["--username", &owner.role, "--host", &owner.host, "--port", &owner.port.to_string()]);
            dump.arg(database.name()).env("PGPASSWORD", &owner.password);
            process::run("pg_dump", dump, &folder.path().join("dump.log"), WITHIN).await
        })
        .await?;
        let client = database.connect().await?;
        if client.query_opt("SELECT 1 WHERE to_regclass('res_users') IS NULL", &[]).await?.is_some() {
            let mut restore = postgres::tool("pg_restore");
            restore.args(["--no-owner", "--exit-on-error", "--jobs=2", "--dbname", database.name()]);
            restore.args(["--username", &owner.role, "--host", &owner.host, "--port", &owner.port.to_string()]);
            restore.arg(cached.join(DUMP)).env("PGPASSWORD", &owner.password);
            process::run("pg_restore", restore, &folder.path().join("restore.log"), WITHIN).await?;
            client.batch_execute("ANALYZE").await?;
        }
        let filestore = cached.join(FILESTORE);
        let (series, password) = (odoo.series().to_owned(), postgres.server().password.clone());
        Ok(Self { database, filestore, demo, addons: Vec::new(), series, password, _folder: folder })
    }
}

/// Copies a filestore; both paths are folders, `to` is made.
pub(super) async fn copy_files(from: &Path, to: &Path, logs: &Path) -> Result<()> {
    let mut cp = Command::new("cp");
    cp.arg("-r").arg(from).arg(to);
    process::run("cp", cp, &logs.join("cp.log"), WITHIN).await
}

/// Everything that the dump depends on: Odoo's files, as far as one can see them from outside, and the server's
/// version.
async fn entry(odoo: &Odoo, postgres: &Postgres, demo: bool) -> Result<String> {
    let row = postgres.server().connect("postgres").await?.query_one("SHOW server_version_num", &[]).await?;
    let major: u32 = row.get::<_, String>(0).parse::<u32>().context("a server version is a number")? / 10_000;
    let changed = |word: &Path| -> Option<u64> {
        let time = fs::metadata(word).ok()?.modified().ok()?;
        Some(time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs())
    };
    let program: Vec<_> = odoo.command.iter().map(|word| (word, changed(Path::new(word)))).collect();
    let with = if demo { "-demo" } else { "" };
    let program = cache::digest(&format!("{program:?} {MODULES}"));
    Ok(format!("odoo-{}-base{with}-postgres{major}-{program}", odoo.series))
}
