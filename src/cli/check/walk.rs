//! From the configuration to the homeserver: everything that delivery needs is checked once.

use super::Findings;
use crate::{
    backend::Backend,
    cli::{CliError, open, warnings},
    config::Config,
    environment::Environment,
    message::{Failure, code},
    store::{FollowerReport, KeysReport, Store, StoreError},
    terminal::Progress,
};

/// Leases are judged by the database's clock, tokens and certificates by ours.
const CLOCK_TOLERANCE: f64 = 5.0;

/// The outbox is vacuumed once it has 20,000 dead rows, so it never has many times as many.
const DEAD_ROWS: i64 = 200_000;

/// Checks everything; ends early if the rest cannot be checked.
pub(super) async fn everything(
    environment: &Environment,
    config: &Config,
    progress: &Progress,
    findings: &mut Findings,
) -> Result<(), CliError> {
    variables(environment, findings);
    let store = match open(config).map_err(CliError::from) {
        Ok(store) => store,
        Err(error) => {
            findings.problem("configuration", error.to_string(), "correct DATABASE_URL");
            return Err(error);
        }
    };
    if let Err(error) = database(&store, config, progress, findings).await {
        findings.problem("database", error.to_string(), error.fix());
        return Err(error.into());
    }
    Ok(())
}

fn variables(environment: &Environment, findings: &mut Findings) {
    let unknown = environment.unknown_names();
    if unknown.is_empty() {
        findings.ok("configuration", "every value can be used");
    } else {
        findings.warning(
            "configuration",
            format!("{} is not a variable of this program and is ignored", unknown.join(", ")),
            "correct its name (`man odoo-matrix-worker` lists all), or remove it",
        );
    }
    for (path, mode) in environment.exposed_files() {
        let path = path.display();
        findings.warning(
            "configuration",
            format!("{path} holds a secret, and its mode {mode:o} lets every user of this host read it"),
            format!("chmod 600 {path}"),
        );
    }
}

async fn database(
    store: &Store,
    config: &Config,
    progress: &Progress,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    progress.show("looking at the database");
    let server = store.server_facts().await?;
    findings
        .ok("database", format!("{} on PostgreSQL {}, reached as {}", server.database, server.version, server.role));
    store.check_contract().await?;
    findings.ok("tables", "those of mail_matrix, in a version that this worker knows");
    rights(store, &server.role, server.is_superuser, findings).await?;
    if store.hears_notifications().await? {
        findings.ok("notifications", "arrive");
    } else {
        findings.problem(
            "notifications",
            "do not arrive: messages are up to 15 s late",
            "connect to PostgreSQL directly, not through a pooler in transaction mode",
        );
    }
    if !server.wakes_workers {
        findings.warning(
            "notifications",
            "the trigger matrix_outbox_notify is missing or disabled: messages are up to 15 s late",
            "upgrade mail_matrix in Odoo (-u mail_matrix), which creates it again",
        );
    }
    if server.clock_ahead.abs() > CLOCK_TOLERANCE {
        findings.warning(
            "clock",
            format!("the database server's differs from ours by {:.0} s", server.clock_ahead.abs()),
            "synchronize the clocks of both hosts by NTP: `timedatectl set-ntp true`",
        );
    } else {
        findings.ok("clock", "agrees with the database server's");
    }
    load(store, findings).await?;
    backends(store, config, progress, findings).await
}

async fn rights(store: &Store, role: &str, is_superuser: bool, findings: &mut Findings) -> Result<(), StoreError> {
    let rights = store.role_rights().await?;
    let subject = format!("role {role}");
    if !rights.missing.is_empty() {
        findings.problem(
            &subject,
            format!("lacks {}", rights.missing.join(", ")),
            format!("odoo-matrix-worker grants --role {role} | psql DATABASE, as the owner of Odoo's database"),
        );
    } else if is_superuser {
        findings.warning(
            &subject,
            "is a superuser: whoever takes over the worker controls the whole server",
            "give the worker a role of its own: odoo-matrix-worker grants --create-role --role odoo-matrix",
        );
    } else if !rights.beyond.is_empty() {
        findings.warning(
            &subject,
            format!("has rights that it does not need: {}, …", rights.beyond.join(", ")),
            "REVOKE them, or give the worker a role of its own: odoo-matrix-worker grants --create-role --role odoo-matrix",
        );
    } else {
        findings.ok(&subject, "has the rights that the worker needs and no others");
    }
    Ok(())
}

/// What slows delivery down, and whether workers are running.
async fn load(store: &Store, findings: &mut Findings) -> Result<(), StoreError> {
    let before = findings.0.len();
    let (backends, workers) = (store.report_backends().await?, store.report_workers().await?);
    for warning in warnings::all(&backends, &workers, &store.report_server().await?) {
        findings.warning(warning.subject, warning.text, warning.fix);
    }
    if let Some(rows) = store.dead_rows().await?.filter(|rows| rows.dead > DEAD_ROWS && rows.dead > rows.live) {
        let vacuumed = rows.vacuumed.map_or_else(|| "never".to_owned(), |at| format!("last at {at}"));
        findings.warning(
            "vacuum",
            format!("{} deleted messages are not cleaned up (vacuumed {vacuumed}), which slows claiming down", rows.dead),
            "VACUUM matrix_outbox as its owner; check whether autovacuum is on and whether a session holds an old snapshot",
        );
    }
    if findings.0.len() == before {
        findings.ok("load", "workers are running, and nothing slows the database down");
    }
    Ok(())
}

async fn backends(
    store: &Store,
    config: &Config,
    progress: &Progress,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let backends = store.backends().await?;
    if backends.is_empty() {
        findings.warning("backends", "none is active: nothing can be sent", "add one in Odoo under Matrix > Backends");
    }
    let states = store.report_backends().await?;
    let followed = store.report_followers().await?;
    let keys = store.report_keys().await?;
    for row in &backends {
        let subject = format!("backend {} «{}»", row.id, row.name);
        if let Some(paused) = states.iter().find(|state| state.id == row.id && state.state == "paused") {
            findings.warning(
                &subject,
                format!("is paused: {}", paused.reason.as_deref().unwrap_or("no reason was given")),
                format!("odoo-matrix-worker resume --backend {}", row.id),
            );
        }
        if let Some(account) = followed.iter().find(|account| account.id == row.id) {
            from_matrix(account, findings);
        }
        if let Some(device) = keys.iter().find(|device| device.id == row.id) {
            encryption(device, findings);
        }
        progress.show(&format!("asking the homeserver of {subject}"));
        match account(&Backend::new(row, &config.token_keys, config.http_timeout)).await {
            Ok((user, Some(device))) => findings.ok(subject, format!("{user}, device {device}")),
            Ok((user, None)) => findings.warning(
                subject,
                format!(
                    "{user}, but the token has no device id: a message that is repeated after a restart of the homeserver may \
                     appear twice"
                ),
                "log the account in with a device (POST /_matrix/client/v3/login) and set that token in Odoo",
            ),
            Err(failure) => findings.problem(subject, failure.to_string(), fix(&failure, row.encrypts)),
        }
    }
    Ok(())
}

/// Whether messages from Matrix reach Odoo.
fn from_matrix(account: &FollowerReport, findings: &mut Findings) {
    let subject = format!("backend {} «{}», from Matrix", account.id, account.name);
    match account.trouble() {
        None => findings.ok(subject, format!("{} events passed on to Odoo", account.forwarded_total)),
        Some(trouble) if account.is_followed && account.is_pushed => findings.warning(
            subject,
            trouble,
            "let the worker reach the homeserver and the address of Odoo on the page From Rooms of the backend",
        ),
        Some(trouble) if account.is_followed => findings.problem(
            subject,
            format!("messages from Matrix do not reach Odoo: {trouble}"),
            "see the page From Rooms of the backend in Odoo; what is written meanwhile is passed on once it works again",
        ),
        Some(trouble) => findings.warning(subject, trouble, "start odoo-matrix-worker"),
    }
}

/// Whether messages can be encrypted, and read by everybody.
fn encryption(device: &KeysReport, findings: &mut Findings) {
    let subject = format!("backend {} «{}», encryption", device.id, device.name);
    let known = device.device.as_deref().map_or_else(String::new, |id| format!("device {id}, "));
    let Some(trouble) = device.state.trouble() else {
        return findings.ok(subject, format!("{known}{}", device.state.as_str()));
    };
    let reason = device.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
    findings.problem(subject, format!("{known}{}: {trouble}{reason}", device.state.as_str()), device.state.fix());
}

async fn account(backend: &Backend) -> Result<(String, Option<String>), Failure> {
    let homeserver = backend.homeserver.as_ref().map_err(Clone::clone)?;
    let whoami = homeserver.whoami().await.map_err(|error| error.failure())?;
    Ok((whoami.user_id.to_string(), whoami.device_id))
}

fn fix(failure: &Failure, encrypts: bool) -> &'static str {
    match failure.code.as_str() {
        "M_UNKNOWN_DEVICE" if encrypts => "press «New Device» on the page Encryption of the backend in Odoo",
        code::TOKEN => {
            "give the worker the matrix_token_key of odoo.conf (the credential token-key), or set the token again in Odoo"
        }
        code::URL | code::REDIRECT | code::NOT_MATRIX => {
            "correct the homeserver's URL in Odoo; Test Connection there finds the right one"
        }
        code::UNREACHABLE | code::TIMEOUT => {
            "start the homeserver, or let this host reach it: name, port, firewall, certificate (`curl URL/_matrix/client/versions`)"
        }
        "M_UNKNOWN_DEVICE" => {
            "click «Send with the Access Token» on the backend in Odoo, then «Send Through It»: that creates the device again"
        }
        "M_UNKNOWN_TOKEN" | "M_MISSING_TOKEN" => {
            "log the account in again and set the new token in Odoo under Matrix > Backends"
        }
        code::OTHER_DATABASE => {
            "leave a copy for tests as it is; in a database that was moved or restored, press «Use It Here» on the backend in Odoo"
        }
        _ => "ask the homeserver's administrator about the account",
    }
}
