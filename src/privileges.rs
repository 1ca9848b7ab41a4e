//! Root alone may read the settings of an instance; everything after that is done as the user of the service. PostgreSQL's peer
//! authentication knows that user, and nothing that comes from a network is read with root's powers.

use std::{
    fs, io,
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    process::Command,
};

use crate::environment::{ConfigError, Environment, OF_INSTANCE, bad};

/// Made by the package.
const USER: &str = "odoo-matrix";

/// Runs this program again with the same arguments as the user of the service. Comes back only where that is not to be done: without
/// root's powers, without such a user, or when it was done already.
///
/// # Errors
/// When a secret cannot be read, or the program cannot be run.
pub(crate) fn leave_root(instance: &str, environment: &Environment) -> Result<(), ConfigError> {
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let Some((user, group)) = ids(&users, USER).filter(|_| is_root) else { return Ok(()) };
    let refused = |error: io::Error| {
        bad("--instance", instance, format!("this program cannot be run as the user {USER}: {error}"))
    };
    let mut again = Command::new(std::env::current_exe().map_err(refused)?);
    again.args(std::env::args_os().skip(1)).uid(user).gid(group);
    again.env_clear().envs(environment.with_secrets()?).env(OF_INSTANCE, instance);
    Err(refused(again.exec()))
}

/// User and group of `name` in the words of /etc/passwd.
fn ids(users: &str, name: &str) -> Option<(u32, u32)> {
    let line = users.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let mut numbers = line.split(':').skip(1).map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let users = "odoo-matrix2:x:1:2::/:/x\nodoo-matrix:x:997:998:Odoo Matrix worker:/:/usr/sbin/nologin\n";

        assert_eq!(ids(users, "odoo-matrix"), Some((997, 998)));
        assert_eq!(ids(users, "odoo"), None);
    }
}
