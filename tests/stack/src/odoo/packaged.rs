//! Debian's packaged Odoo, unpacked into the cache, on a Python environment of its own.

use anyhow::Result;
use tokio::try_join;

use super::Odoo;
use crate::debian::Suite;
use crate::venv::Venv;
use crate::{cache, progress, scratch};

const SERIES: &str = "19.0";
/// The package and what its files link to.
const PACKAGES: [&str; 9] = [
    "odoo-19",
    "libjs-jquery",
    "libjs-underscore",
    "libjs-jquery-form",
    "fonts-font-awesome",
    "fonts-roboto-unhinted",
    "fonts-inconsolata",
    "fonts-montserrat",
    "fonts-ocr-b",
];

pub(super) async fn install() -> Result<Odoo> {
    let venv = Venv::get("odoo-19.0", include_str!("../../../python/odoo-19.0.txt"));
    let unpacked = cache::folder("odoo-19.0-debian-sid", async |place| {
        progress::say("Odoo 19.0: fetching Debian's package (120 MB)");
        let lists = scratch("apt")?;
        Suite::open("sid", lists.path()).await?.unpack(&PACKAGES, place).await
    });
    let (venv, unpacked) = try_join!(venv, unpacked)?;
    let command = vec![venv.program("python").into(), unpacked.join("usr/bin/odoo").into()];
    let modules = unpacked.join("usr/lib/python3/dist-packages");
    Ok(Odoo::new(command, Some(modules), SERIES.to_owned(), "Debian's packaged Odoo 19.0".to_owned()))
}
