//! `configure`: the files of one instance of the service.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};
use thiserror::Error;

use super::{CliError, print};
use crate::{environment::VARIABLES_FILE, seal::Keys, store};

const EXAMPLE: &str = include_str!("../../deploy/worker.env.example");

/// A URL or a few keys are far shorter; odoo.conf too.
const READ_AT_MOST: u64 = 1 << 20;

#[derive(Debug, Args)]
pub(super) struct Settings {
    /// The name of the instance, best that of its database.
    name: String,
    /// Read the database's URL from this file; - is standard input.
    #[arg(long, value_name = "FILE")]
    database_url_from: Option<PathBuf>,
    /// Read the token key from this file: odoo.conf, or a file that holds nothing else.
    #[arg(long, value_name = "FILE")]
    token_key_from: Option<PathBuf>,
}

pub(super) fn configure(instances: &Path, settings: &Settings) -> Result<(), CliError> {
    let name = checked_name(&settings.name).map_err(|error| CliError::Usage(error.to_string()))?;
    let folder = instances.join(name);
    let url = settings.database_url_from.as_deref().map(read_url).transpose()?;
    let key = settings.token_key_from.as_deref().map(read_key).transpose()?;
    DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|error| unwritten(&folder, &error))?;

    let local = || SecretString::from(format!("postgresql:///{name}?host=/run/postgresql&user=odoo-matrix"));
    let mut said = vec![
        put(&folder.join("database-url"), url.as_ref(), local)?,
        put(&folder.join("token-key"), key.as_ref(), || SecretString::from(""))?,
    ];
    let variables = folder.join(VARIABLES_FILE);
    said.push(put(&variables, None, || SecretString::from(EXAMPLE))?);
    said.push(format!(
        "Next: systemctl enable --now odoo-matrix-worker@{name}, then odoo-matrix-worker check --instance {name}"
    ));
    said.push(format!("A running service applies changes after: systemctl restart odoo-matrix-worker@{name}"));
    print(&said.join("\n"));
    Ok(())
}

/// A name that an instance cannot have.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("a name has letters, digits, dots, dashes and underscores, at most 63 of them")]
pub(super) struct BadName;

/// A name that is one part of a path and of a unit's name.
pub(super) fn checked_name(name: &str) -> Result<&str, BadName> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.len() > 63 || name.starts_with(['.', '-']) || !name.chars().all(is_plain) {
        return Err(BadName);
    }
    Ok(name)
}

fn read_url(path: &Path) -> Result<SecretString, CliError> {
    let url = read(path)?;
    store::check_url(url.expose_secret().trim())?;
    Ok(SecretString::from(url.expose_secret().trim()))
}

/// The key in odoo.conf, else all that the file holds.
fn read_key(path: &Path) -> Result<SecretString, CliError> {
    let text = read(path)?;
    let setting = text.expose_secret().lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        (name.trim() == "matrix_token_key").then(|| value.trim())
    });
    let is_config = text.expose_secret().lines().any(|line| line.trim() == "[options]");
    let key = match setting {
        Some(key) => key,
        None if is_config => {
            return Err(CliError::File(format!(
                "{} sets no matrix_token_key: Odoo stores its tokens without a key, and the worker needs none",
                path.display()
            )));
        }
        None => text.expose_secret().trim(),
    };
    let unusable =
        |position| CliError::File(format!("{}: key {position} is not a Fernet key (44 characters)", path.display()));
    Keys::parse(key).map_err(unusable)?;
    Ok(SecretString::from(key))
}

fn read(path: &Path) -> Result<SecretString, CliError> {
    let mut text = String::new();
    let result = if path == Path::new("-") {
        io::stdin().take(READ_AT_MOST).read_to_string(&mut text)
    } else {
        fs::File::open(path).and_then(|file| file.take(READ_AT_MOST).read_to_string(&mut text))
    };
    result.map_err(|error| CliError::Usage(format!("{} cannot be read: {error}", path.display())))?;
    Ok(SecretString::from(text))
}

/// Writes `new`, or `default` if there is no file yet, and says which. Nobody else can read the file at any time.
fn put(path: &Path, new: Option<&SecretString>, default: impl Fn() -> SecretString) -> Result<String, CliError> {
    if new.is_none() && path.exists() {
        return Ok(format!("{}: kept", path.display()));
    }
    let fallback = default();
    let text = new.unwrap_or(&fallback).expose_secret();
    let unfinished = path.with_extension("new");
    let write = || {
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all(text.trim_end().as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    };
    write().map_err(|error| unwritten(path, &error))?;
    Ok(format!("{}: {}", path.display(), if new.is_some() { "written" } else { "written with its default" }))
}

fn unwritten(path: &Path, error: &io::Error) -> CliError {
    let advice = if error.kind() == io::ErrorKind::PermissionDenied { "; use sudo" } else { "" };
    CliError::Failed(format!("{} cannot be written: {error}{advice}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tempfile::TempDir;

    use super::*;

    const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    #[test]
    fn what_is_not_given_stays_and_nobody_else_may_read_it() {
        let folder = TempDir::new().unwrap();
        let conf = folder.path().join("odoo.conf");
        fs::write(&conf, format!("[options]\ndb_user = odoo\nmatrix_token_key = {KEY}\n")).unwrap();
        let given = |token_key_from| Settings { name: "odoo".to_owned(), database_url_from: None, token_key_from };

        configure(folder.path(), &given(Some(conf))).unwrap();
        configure(folder.path(), &given(None)).unwrap();

        let read = |name: &str| fs::read_to_string(folder.path().join("odoo").join(name)).unwrap();
        assert_eq!(read("token-key"), format!("{KEY}\n"));
        assert_eq!(read("database-url"), "postgresql:///odoo?host=/run/postgresql&user=odoo-matrix\n");
        for name in ["", "token-key", "database-url"] {
            let mode = fs::metadata(folder.path().join("odoo").join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{name}");
        }
    }

    #[test]
    fn a_url_or_a_key_that_cannot_be_right_changes_nothing() {
        let folder = TempDir::new().unwrap();
        let wrong = folder.path().join("wrong");
        let url = Settings { name: "odoo".to_owned(), database_url_from: Some(wrong.clone()), token_key_from: None };
        let key = Settings { name: "odoo".to_owned(), database_url_from: None, token_key_from: Some(wrong.clone()) };

        for (text, settings, says) in [
            ("hunter2", &url, "DATABASE_URL"),
            ("postgresql://odoo:hunter@2@db1/odoo", &url, "DATABASE_URL: the user name or the password has"),
            ("hunter2", &key, "is not a Fernet key"),
        ] {
            fs::write(&wrong, text).unwrap();
            let error = configure(folder.path(), settings).unwrap_err();
            let shown = error.to_string();
            assert!(error.exit_code() == 78 && shown.contains(says) && !shown.contains("hunter"), "{shown}");
        }
        assert!(!folder.path().join("odoo").exists());
    }

    #[test]
    fn a_name_cannot_lead_out_of_its_folder() {
        for bad in ["", "..", "a/b", "-x", "ä", "a b"] {
            assert!(checked_name(bad).is_err(), "{bad}");
        }
        assert_eq!(checked_name("odoo-18.prod_1"), Ok("odoo-18.prod_1"));
    }
}
