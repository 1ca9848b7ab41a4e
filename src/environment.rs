//! Where settings come from: the process's environment, systemd's credentials, or the files of an instance of the service.

use std::{
    collections::BTreeMap,
    fmt::Display,
    fs::{self, Metadata},
    io::ErrorKind,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use thiserror::Error;

/// Every variable that the program reads.
pub const VARIABLES: [&str; 14] = [
    "DATABASE_URL",
    "DATABASE_URL_FILE",
    "MATRIX_TOKEN_KEY_FILE",
    "MATRIX_TOKEN_KEY",
    "WORKER_NAME",
    "WORKER_CONCURRENCY",
    "WORKER_LEASE_SECONDS",
    "HTTP_TIMEOUT_SECONDS",
    "RETRY_DELAY_MS",
    "SHUTDOWN_GRACE_SECONDS",
    "METRICS_LISTEN",
    "LOG_FORMAT",
    "RUST_LOG",
    "CREDENTIALS_DIRECTORY",
];

/// Each instance of the service has a folder in here, named as the instance.
pub const INSTANCES: &str = "/etc/odoo-matrix";

/// The file of an instance's folder that sets variables.
pub const VARIABLES_FILE: &str = "worker.env";

/// systemd sets it to the folder with the service's credentials.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Set by ourselves where the settings of an instance are in the environment already.
pub const OF_INSTANCE: &str = "ODOO_MATRIX_INSTANCE";

/// Set with it: which files of the instance other users may read. Whoever is not root cannot find out.
const EXPOSED_FILES: &str = "ODOO_MATRIX_EXPOSED_FILES";

/// The secrets that may lie in a file: the variable that holds the secret, the variable that names the file, and the name of
/// systemd's credential.
const SECRETS: [(&str, &str, &str); 2] =
    [("DATABASE_URL", "DATABASE_URL_FILE", "database-url"), ("MATRIX_TOKEN_KEY", "MATRIX_TOKEN_KEY_FILE", "token-key")];

/// How many letters may differ for a variable to be taken for a misspelt one of ours.
const TYPO_DISTANCE: usize = 2;

/// Prefixes that only this program uses as far as we know; other programs may use them all the same.
const PREFIXES: [&str; 2] = ["WORKER_", "MATRIX_TOKEN_"];

/// Variables by their names. An empty one counts as not set.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

/// A setting that cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("{variable} is not set; {fix}")]
    Missing { variable: &'static str, fix: &'static str },
    #[error("{variable}={value}: {fix}")]
    Bad { variable: &'static str, value: String, fix: String },
    #[error("{variable} is not a variable of this program; did you mean {meant}?")]
    Unknown { variable: String, meant: &'static str },
}

/// Where a secret lies.
#[derive(Debug, PartialEq, Eq)]
pub struct SecretFile {
    /// What the file is for: the variable that could hold the secret instead.
    pub variable: &'static str,
    pub path: PathBuf,
    /// Set by a person, not by systemd.
    pub is_explicit: bool,
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(variables: T) -> Self {
        Self(variables.into_iter().filter(|(_, value)| !value.is_empty()).collect())
    }
}

impl Environment {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The settings that the service `odoo-matrix-worker@<name>` runs with. They come before those of this process.
    ///
    /// # Errors
    /// When there is no such instance, or its files cannot be read.
    pub fn of_instance(mut self, folder: &Path) -> Result<Self, ConfigError> {
        let refused = |path: &Path, error: &std::io::Error| {
            let fix = match error.kind() {
                ErrorKind::NotFound => {
                    "there is no such instance; `odoo-matrix-worker configure NAME` makes one".to_owned()
                }
                ErrorKind::PermissionDenied => "only root may read it; use sudo".to_owned(),
                _ => error.to_string(),
            };
            bad("--instance", path.display(), fix)
        };
        fs::read_dir(folder).map_err(|error| refused(folder, &error))?;
        let path = folder.join(VARIABLES_FILE);
        match fs::read_to_string(&path) {
            Ok(text) => self.0.extend(assignments(&text).filter(|(_, value)| !value.is_empty())),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(refused(&path, &error)),
        }
        self.0.insert(CREDENTIALS.to_owned(), folder.display().to_string());
        Ok(self)
    }

    /// The file that holds the secret `variable`: the one that is named, else systemd's credential. None when the variable itself
    /// is set, which comes after a named file and before a credential.
    pub fn secret_file(&self, variable: &str) -> Option<SecretFile> {
        let (variable, file_variable, credential) = SECRETS.into_iter().find(|(name, ..)| *name == variable)?;
        if let Some(path) = self.get(file_variable) {
            return Some(SecretFile { variable, path: path.into(), is_explicit: true });
        }
        if self.get(variable).is_some() {
            return None;
        }
        let path = Path::new(self.get(CREDENTIALS)?).join(credential);
        path.exists().then_some(SecretFile { variable, path, is_explicit: false })
    }

    /// The secret `variable`, from a file or from the variable itself; its surrounding white space does not belong to it.
    ///
    /// # Errors
    /// Names the file that cannot be read.
    pub fn secret(&self, variable: &'static str) -> Result<Option<String>, ConfigError> {
        let Some(file) = self.secret_file(variable) else {
            return Ok(self.get(variable).map(str::to_owned));
        };
        let text = fs::read_to_string(&file.path).map_err(|error| {
            let names_it =
                SECRETS.into_iter().find(|(name, ..)| *name == variable).map_or(variable, |(_, name, _)| name);
            let fix = format!("the file cannot be read ({error}); name a file that this process may read");
            bad(names_it, file.path.display(), fix)
        })?;
        Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
    }

    /// All variables, the secrets among them as values: for a process that may not read their files.
    ///
    /// # Errors
    /// As [`Self::secret`].
    pub fn with_secrets(&self) -> Result<BTreeMap<String, String>, ConfigError> {
        let mut variables = self.0.clone();
        let exposed: Vec<_> =
            self.exposed_files().iter().map(|(path, mode)| format!("{mode:o} {}", path.display())).collect();
        variables.insert(EXPOSED_FILES.to_owned(), exposed.join("\n"));
        variables.remove(CREDENTIALS);
        for (variable, file_variable, _) in SECRETS {
            let secret = self.secret(variable)?;
            variables.remove(file_variable);
            variables.extend(secret.map(|secret| (variable.to_owned(), secret)));
        }
        Ok(variables)
    }

    /// Files with secrets that other users of this host may read, each with its mode.
    pub fn exposed_files(&self) -> Vec<(PathBuf, u32)> {
        if let Some(found) = self.get(EXPOSED_FILES) {
            let lines = found.lines().filter_map(|line| line.split_once(' '));
            return lines.filter_map(|(mode, path)| Some((path.into(), u32::from_str_radix(mode, 8).ok()?))).collect();
        }
        let files = SECRETS.into_iter().filter_map(|(variable, ..)| self.secret_file(variable)).map(|file| file.path);
        let variables = self.get(CREDENTIALS).map(|folder| Path::new(folder).join(VARIABLES_FILE));
        let has_secret = |path: &PathBuf| {
            path.file_name().is_none_or(|name| name != VARIABLES_FILE)
                || fs::read_to_string(path).is_ok_and(|text| {
                    assignments(&text).any(|(name, _)| SECRETS.iter().any(|(secret, ..)| *secret == name))
                })
        };
        let mode = |file: Metadata| file.permissions().mode() & 0o777;
        files
            .chain(variables)
            .filter(has_secret)
            .filter_map(|path| Some((fs::metadata(&path).ok().map(mode)?, path)))
            .filter(|(mode, _)| mode & 0o007 != 0)
            .map(|(mode, path)| (path, mode))
            .collect()
    }

    /// Refuses a variable that is one of ours but for a letter or two: its value would be ignored silently.
    ///
    /// # Errors
    /// Names the variable and the one that it was taken for.
    pub fn check_names(&self) -> Result<(), ConfigError> {
        for name in self.0.keys().filter(|name| !VARIABLES.contains(&name.as_str())) {
            let meant = VARIABLES.into_iter().filter(|known| known.len() > 8 && self.get(known).is_none());
            let nearest = meant.min_by_key(|known| strsim::damerau_levenshtein(known, name));
            if let Some(meant) = nearest.filter(|known| strsim::damerau_levenshtein(known, name) <= TYPO_DISTANCE) {
                return Err(ConfigError::Unknown { variable: name.clone(), meant });
            }
        }
        Ok(())
    }

    /// Variables that look like ours and that this program does not know.
    pub fn unknown_names(&self) -> Vec<&str> {
        let is_ours = |name: &&str| PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        self.0.keys().map(String::as_str).filter(is_ours).filter(|name| !VARIABLES.contains(name)).collect()
    }
}

pub(crate) fn bad(variable: &'static str, value: impl Display, fix: impl Into<String>) -> ConfigError {
    ConfigError::Bad { variable, value: value.to_string(), fix: fix.into() }
}

/// The assignments of a file as systemd's `EnvironmentFile=` reads it: `NAME=value`, the value perhaps in quotes.
fn assignments(text: &str) -> impl Iterator<Item = (String, String)> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
    lines.filter_map(|line| {
        let (name, value) = line.split_once('=')?;
        let value = value.trim();
        let bare = ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
        Some((name.trim().to_owned(), bare.unwrap_or(value).to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_misspelt_variable_is_refused_with_the_name_that_was_meant() {
        for (wrong, meant) in [
            ("WORKER_CONCURENCY", "WORKER_CONCURRENCY"),
            ("MATRIX_TOKEN_KEYFILE", "MATRIX_TOKEN_KEY_FILE"),
            ("METRICS_LISTENS", "METRICS_LISTEN"),
            ("HTTP_TIMEOUT_SECOND", "HTTP_TIMEOUT_SECONDS"),
        ] {
            let error = environment(&[(wrong, "1")]).check_names().unwrap_err().to_string();

            assert!(error.contains(wrong) && error.contains(&format!("{meant}?")), "{error}");
        }
    }

    #[test]
    fn variables_of_other_programs_are_ignored() {
        let others = environment(&[("PATH", "/bin"), ("DATABASE_URI", "x"), ("DATABASE_URL", "y"), ("RUST_LIB", "z")]);

        others.check_names().unwrap();
        assert!(others.unknown_names().is_empty());
        assert_eq!(environment(&[("WORKER_LEASE", "3")]).unknown_names(), ["WORKER_LEASE"]);
    }

    #[test]
    fn an_instance_brings_its_variables_and_its_secrets() {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join(VARIABLES_FILE), "# comment\nMETRICS_LISTEN=\"127.0.0.1:9184\"\nWORKER_NAME=\n")
            .unwrap();
        fs::write(folder.path().join("database-url"), "postgresql://db/odoo\n").unwrap();

        let own = environment(&[("METRICS_LISTEN", "127.0.0.1:1"), ("WORKER_NAME", "w1")]);
        let found = own.of_instance(folder.path()).unwrap();

        assert_eq!(found.get("METRICS_LISTEN"), Some("127.0.0.1:9184"));
        assert_eq!(found.get("WORKER_NAME"), Some("w1"));
        assert_eq!(found.secret("DATABASE_URL").unwrap().as_deref(), Some("postgresql://db/odoo"));
        assert_eq!(found.secret("MATRIX_TOKEN_KEY").unwrap(), None);
        let missing = Environment::default().of_instance(&folder.path().join("none")).map(drop).unwrap_err();
        assert!(missing.to_string().contains("configure"), "{missing}");
    }

    #[test]
    fn a_secret_that_everybody_may_read_is_found() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("database-url");
        fs::write(&path, "postgresql://db/odoo").unwrap();
        fs::write(folder.path().join(VARIABLES_FILE), "METRICS_LISTEN=127.0.0.1:9184\n").unwrap();
        let found = Environment::default().of_instance(folder.path()).unwrap();

        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(found.exposed_files(), [(path.clone(), 0o644)]);
        // The user of the service is warned too.
        let handed_on: Environment = found.with_secrets().unwrap().into_iter().collect();
        assert_eq!(handed_on.exposed_files(), [(path.clone(), 0o644)]);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(found.exposed_files().is_empty());
    }
}
