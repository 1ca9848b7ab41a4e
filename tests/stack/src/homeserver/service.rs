//! Who calls: the account itself, or an application service that may act as it.

use std::time::Instant;

use super::{
    Answer, BOT, Request, SERVICE_TOKEN, TOKEN, World,
    http::{Call, decode},
};

impl Call {
    fn shows(&self, token: &str) -> bool {
        self.authorization.as_deref() == Some(&format!("Bearer {token}"))
    }

    fn is_of_service(&self) -> bool {
        self.shows(SERVICE_TOKEN)
    }

    fn parameter(&self, name: &str) -> Option<String> {
        self.query.split('&').find_map(|pair| Some(decode(pair.strip_prefix(name)?.strip_prefix('=')?)))
    }
}

/// The answer to a call without a token that the homeserver knows, or of the application service as its own account, which is in no room.
pub(super) fn refuse(call: &Call) -> Option<Answer> {
    if call.is_of_service() {
        let is_account = call.parameter("user_id").as_deref() == Some(BOT);
        return (!is_account).then(|| Answer::refused(403, "M_FORBIDDEN", "not in room"));
    }
    (!call.shows(TOKEN)).then(|| Answer::refused(401, "M_UNKNOWN_TOKEN", "Invalid access token passed."))
}

/// What tests see of a call.
pub(super) fn request(call: &Call) -> Request {
    let (method, path) = (call.method.clone(), call.path.clone());
    Request { method, path, is_of_service: call.is_of_service(), at: Instant::now() }
}

/// The device that a call is made by.
pub(super) fn device(call: &Call, world: &World) -> Option<String> {
    if call.is_of_service() { call.parameter("device_id") } else { world.device.clone() }
}
