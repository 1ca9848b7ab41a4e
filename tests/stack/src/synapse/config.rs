//! The homeserver's configuration before its first start.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Result;

use super::Options;

const UNLIMITED: &str = "
rc_message: {per_second: 10000, burst_count: 10000}
rc_invites:
  per_room: {per_second: 10000, burst_count: 10000}
  per_user: {per_second: 10000, burst_count: 10000}
  per_issuer: {per_second: 10000, burst_count: 10000}
rc_joins:
  local: {per_second: 10000, burst_count: 10000}
rc_joins_per_room: {per_second: 10000, burst_count: 10000}
rc_room_creation: {per_second: 10000, burst_count: 10000}
rc_login:
  address: {per_second: 10000, burst_count: 10000}
  account: {per_second: 10000, burst_count: 10000}
bcrypt_rounds: 4
";

/// Writes `homeserver.yaml` and the signing key into `folder`; gives back the secret that registers users.
pub(super) fn write(folder: &Path, port: u16, server_name: &str, options: Options) -> Result<String> {
    let (registration, macaroon, form) = (secret(48), secret(48), secret(48));
    let limits = if options.unlimited { UNLIMITED } else { "" };
    let encryption = if options.encrypts_new_rooms { "encryption_enabled_by_default_for_room_type: all\n" } else { "" };
    let mut app_service = "";
    if let Some(registration) = options.app_service {
        write_private(&folder.join("appservice.yaml"), registration)?;
        app_service = "app_service_config_files: [appservice.yaml]\n";
    }
    let neighbours: Vec<_> = options.neighbour.into_iter().collect();
    // Nothing leaves this machine, and no key of another server is ever asked for.
    let text = format!(
        "server_name: {server_name}
public_baseurl: http://127.0.0.1:{port}/
pid_file: homeserver.pid
listeners:
  - port: {port}
    bind_addresses: ['127.0.0.1']
    type: http
    tls: false
    resources: [{{names: [client, media], compress: false}}]
database: {{name: sqlite3, args: {{database: homeserver.db}}}}
log_config: log.yaml
media_store_path: media
signing_key_path: signing.key
registration_shared_secret: {registration}
macaroon_secret_key: {macaroon}
form_secret: {form}
report_stats: false
trusted_key_servers: []
suppress_key_server_warning: true
federation_domain_whitelist: {neighbours:?}
ip_range_blacklist: []
send_federation: false
enable_metrics: false
presence: {{enabled: false}}
{encryption}{app_service}{limits}"
    );
    write_private(&folder.join("homeserver.yaml"), &text)?;
    // Thirty-two bytes in unpadded base64; the last character carries four bits only, so it must be one of sixteen.
    write_private(&folder.join("signing.key"), &format!("ed25519 a_{} {}A\n", secret(4), secret(42)))?;
    let log = "version: 1
formatters: {plain: {format: '%(asctime)s %(levelname)s %(name)s: %(message)s'}}
handlers: {console: {class: logging.StreamHandler, formatter: plain}}
root: {level: WARNING, handlers: [console]}
disable_existing_loggers: false
";
    fs::write(folder.join("log.yaml"), log)?;
    Ok(registration)
}

pub(super) fn write_private(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(())
}

fn secret(length: usize) -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(length).collect()
}
