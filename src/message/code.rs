//! Our own error codes, where Matrix has none.

/// `expires_at` had passed before the message could be sent.
pub const EXPIRED: &str = "org.odoo.expired";
/// No connection to the homeserver: refused, reset, TLS, DNS.
pub const UNREACHABLE: &str = "org.odoo.unreachable";
/// The homeserver did not answer in time.
pub const TIMEOUT: &str = "org.odoo.timeout";
/// Something answered, but not in Matrix.
pub const NOT_MATRIX: &str = "org.odoo.not_matrix";
/// The address answers with a redirect, which is never followed.
pub const REDIRECT: &str = "org.odoo.redirect";
/// `token_sealed` cannot be opened with the key that the worker has, or there is no token.
pub const TOKEN: &str = "org.odoo.token";
/// The backend's URL cannot be used.
pub const URL: &str = "org.odoo.url";
/// The backend was set up in another database, of which this one is a copy.
pub const OTHER_DATABASE: &str = "org.odoo.other_database";
/// The homeserver answered, but the database refuses to log it.
pub const NOT_LOGGED: &str = "org.odoo.not_logged";
/// The message is for a room that cannot exist. Odoo writes it too.
pub const ROOM: &str = "org.odoo.room";
/// The room was replaced by another one that a person has to confirm.
pub const ROOM_REPLACED: &str = "org.odoo.room_replaced";
/// The room has taken a later message although this one failed again and again.
pub const OVERTAKEN: &str = "org.odoo.overtaken";
/// Nobody has the Matrix ID of a direct message: it cannot exist, or it is not known to our homeserver, where it should be.
pub const NO_SUCH_USER: &str = "org.odoo.no_such_user";
/// An edit or a redaction of a message that was never sent.
pub const NOTHING_TO_CHANGE: &str = "org.odoo.nothing_to_change";
/// Odoo does not give the file that a message is about.
pub const FILE: &str = "org.odoo.file";
/// The room is encrypted, and nobody has agreed to messages that are not.
pub const ENCRYPTED: &str = "org.odoo.encrypted";
/// The account's keys may not be used, or the room's encryption cannot be.
pub const ENCRYPTION: &str = "org.odoo.encryption";
/// Devices of people in the room could not get the key of a message.
pub const NO_KEY: &str = "org.odoo.no_key";
/// A message was delivered, also to devices that are not verified, or to people whose signing keys have changed.
pub const UNVERIFIED: &str = "org.odoo.unverified";
