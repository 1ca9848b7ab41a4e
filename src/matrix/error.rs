//! What can go wrong with a call to the homeserver, and the one place that decides what that means for a message.

use std::time::Duration;

use thiserror::Error;

use crate::{
    causes::causes,
    message::{Failure, Outcome, Reply, code},
};

/// The pause if the homeserver gives no number, and the longest that we obey before we ask again.
const DEFAULT_PAUSE: Duration = Duration::from_secs(5);
pub const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);

/// Refusals of the account or of every message, whatever the status: those of the specification (client-server API, "Common error
/// codes" and "Other error codes") and those that Synapse adds.
const ACCOUNT_REFUSED: [&str; 12] = [
    "M_UNKNOWN_TOKEN",
    // An application service acts on a device that the account does not have.
    "M_UNKNOWN_DEVICE",
    "M_UNAUTHORIZED",
    "M_USER_LOCKED",
    "ORG_MATRIX_MSC3939_USER_LOCKED",
    "M_USER_SUSPENDED",
    "ORG.MATRIX.MSC3823.USER_ACCOUNT_SUSPENDED",
    "M_USER_DEACTIVATED",
    "ORG_MATRIX_EXPIRED_ACCOUNT",
    "ORG.MATRIX.MSC3866_USER_AWAITING_APPROVAL",
    "M_CONSENT_NOT_GIVEN",
    // The homeserver has reached a limit of its own.
    "M_RESOURCE_LIMIT_EXCEEDED",
];

/// The account has used up a quota: that of messages, if the refused call was to send one.
const QUOTA: [&str; 2] = ["M_USER_LIMIT_EXCEEDED", "ORG.MATRIX.MSC4335.USER_LIMIT_EXCEEDED"];

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SendError {
    #[error("the homeserver did not answer within the time limit")]
    Timeout,
    #[error("no connection to the homeserver: {0}")]
    Unreachable(String),
    #[error("the answer was not JSON as Matrix defines it (HTTP {status})")]
    NotMatrix { status: u16, retry_after: Option<Duration> },
    #[error("{message} (HTTP {status} {errcode})")]
    Refused { status: u16, errcode: String, message: String, retry_after: Option<Duration> },
    /// The account may not even ask who it is: so everything else is forbidden.
    #[error("{0}")]
    AccountForbidden(Box<Self>),
}

impl SendError {
    /// A transport error in words for a person, without the URL, which may contain a password.
    pub(super) fn from_transport(error: reqwest::Error) -> Self {
        let error = error.without_url();
        if error.is_timeout() {
            return Self::Timeout;
        }
        let mut text = causes(&error).last().map_or_else(|| error.to_string(), |cause| cause.to_string());
        // The library's words for a proxy that does not connect us: without the cause, which may repeat its address and password.
        if causes(&error).any(|cause| cause.to_string().starts_with("tunnel error")) {
            text = "the proxy of HTTPS_PROXY did not connect to it; list the homeserver in NO_PROXY if it is to \
                be reached directly"
                .to_owned();
        }
        Self::Unreachable(in_plain_words(text))
    }

    /// The same for the call that asks who the account is. An application service that may not act as the account, or no longer, gets the
    /// same errcode as an account that is not in a room.
    pub(super) fn of_account(self) -> Self {
        if self.is_forbidden() { Self::AccountForbidden(Box::new(self)) } else { self }
    }

    pub(super) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Refused { status: 403, errcode, .. } if errcode == "M_FORBIDDEN")
    }

    /// A 200 without what the endpoint should return.
    pub(super) fn not_matrix() -> Self {
        Self::NotMatrix { status: 200, retry_after: None }
    }

    /// What the answer means for the message. No other code looks at a status or an errcode.
    pub fn outcome(&self) -> Outcome {
        let failure = self.failure();
        match self {
            Self::Timeout | Self::Unreachable(_) => Outcome::Transient { failure, reply: Reply::Silence },
            Self::AccountForbidden(_) => Outcome::Unauthorized(failure),
            Self::NotMatrix { status, retry_after } => match status {
                // A proxy's own words for "not now", or a limit without Matrix' JSON around it.
                429 => limited(*retry_after),
                401 => Outcome::Unauthorized(failure),
                // Also for a message too large for a proxy in front of the homeserver.
                413 => Outcome::Rejected(failure),
                408 => Outcome::Transient { failure, reply: Reply::Other },
                // A redirect or a page of a proxy, a firewall or some other server: the homeserver, whose own refusals are JSON,
                // was not reached, and no message could pass.
                300..=499 => Outcome::Misconfigured(failure),
                _ => Outcome::Transient { failure, reply: Reply::Other },
            },
            Self::Refused { status, errcode, retry_after, .. } => match (*status, errcode.as_str()) {
                (429, _) | (_, "M_LIMIT_EXCEEDED") => limited(*retry_after),
                // The URL or the token is missing a part; no message could pass.
                (_, "M_UNRECOGNIZED" | "M_MISSING_TOKEN") | (300..=399 | 405, _) => Outcome::Misconfigured(failure),
                // A join that is refused because the room is too big for the homeserver's settings: this room's matter.
                (400, "M_RESOURCE_LIMIT_EXCEEDED") => Outcome::Rejected(failure),
                (401, _) => Outcome::Unauthorized(failure),
                (_, code) if ACCOUNT_REFUSED.contains(&code) || QUOTA.contains(&code) => Outcome::Unauthorized(failure),
                (403, "M_FORBIDDEN") => Outcome::Forbidden(failure),
                (408, _) => Outcome::Transient { failure, reply: Reply::Other },
                (400..=499, _) => Outcome::Rejected(failure),
                (500.., _) => Outcome::Transient { failure, reply: Reply::ServerError },
                _ => Outcome::Transient { failure, reply: Reply::Other },
            },
        }
    }

    /// What an answer to a call other than the sending of a message means: a quota there, of rooms perhaps, stops no message.
    pub fn outcome_elsewhere(&self) -> Outcome {
        match (self, self.outcome()) {
            (Self::Refused { errcode, .. }, Outcome::Unauthorized(failure)) if QUOTA.contains(&errcode.as_str()) => {
                Outcome::Rejected(failure)
            }
            (_, outcome) => outcome,
        }
    }

    /// Whether the homeserver understood and refused: it would refuse the same again.
    pub fn is_refusal(&self) -> bool {
        matches!(self.outcome(), Outcome::Forbidden(_) | Outcome::Rejected(_))
    }

    /// Whether the homeserver itself finds that a value in the request is wrong. A proxy's page, or something that was not found, may be
    /// different the next time.
    pub fn is_bad_request(&self) -> bool {
        matches!((self, self.outcome()), (Self::Refused { status: 400, .. }, Outcome::Rejected(_)))
    }

    /// Whether an application service acts on a device that the account does not have.
    #[cfg(feature = "encryption")]
    pub(crate) fn is_unknown_device(&self) -> bool {
        matches!(self, Self::Refused { errcode, .. } if errcode == "M_UNKNOWN_DEVICE")
    }

    pub fn failure(&self) -> Failure {
        let code = match self {
            Self::Timeout => code::TIMEOUT.to_owned(),
            Self::Unreachable(_) => code::UNREACHABLE.to_owned(),
            Self::NotMatrix { status: 300..=399, .. } => {
                return Failure::new(
                    code::REDIRECT,
                    "the homeserver's address redirects elsewhere; set the address that it redirects to",
                );
            }
            Self::NotMatrix { .. } => code::NOT_MATRIX.to_owned(),
            Self::Refused { errcode, .. } => errcode.clone(),
            Self::AccountForbidden(error) => return error.failure(),
        };
        Failure { code, text: self.to_string() }
    }
}

/// Explains the TLS library's errors, and where the worker looks for authorities: Odoo may run on another machine, with others.
fn in_plain_words(text: String) -> String {
    if text.contains("CaUsedAsEndEntity") {
        return "its certificate is that of an authority (CA:TRUE), which the worker does not accept from a server even where the \
            system trusts it; give the homeserver a certificate of its own, issued by that authority"
            .to_owned();
    }
    if text.contains("UnknownIssuer") {
        return "no authority that this machine trusts has issued its certificate (/etc/ssl/certs, or SSL_CERT_FILE); add yours to the system's \
            store with update-ca-certificates and restart the worker"
            .to_owned();
    }
    text
}

fn limited(retry_after: Option<Duration>) -> Outcome {
    Outcome::Limited { pause: retry_after.unwrap_or(DEFAULT_PAUSE).min(LONGEST_PAUSE) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, errcode: &str) -> Outcome {
        SendError::Refused { status, errcode: errcode.into(), message: "x".into(), retry_after: None }.outcome()
    }

    #[test]
    fn a_limit_pauses_for_as_long_as_the_homeserver_says_but_never_beyond_a_quarter_of_an_hour() {
        let limited = |retry_after| {
            SendError::Refused { status: 429, errcode: "M_LIMIT_EXCEEDED".into(), message: String::new(), retry_after }
                .outcome()
        };

        assert_eq!(limited(Some(Duration::from_millis(4017))), Outcome::Limited { pause: Duration::from_millis(4017) });
        assert_eq!(limited(Some(Duration::from_secs(86_400))), Outcome::Limited { pause: LONGEST_PAUSE });
        assert_eq!(limited(None), Outcome::Limited { pause: DEFAULT_PAUSE });
        let page = SendError::NotMatrix { status: 429, retry_after: Some(Duration::from_secs(7)) };
        assert_eq!(page.outcome(), Outcome::Limited { pause: Duration::from_secs(7) });
    }

    /// The outcome's name, and for a passing failure who gave the answer.
    fn named(outcome: &Outcome) -> &'static str {
        match outcome {
            Outcome::Sent(_) => "sent",
            Outcome::Transient { reply: Reply::Silence, .. } => "silence",
            Outcome::Transient { reply: Reply::Other, .. } => "transient",
            Outcome::Transient { reply: Reply::ServerError, .. } => "server error",
            Outcome::Limited { .. } => "limited",
            Outcome::Unauthorized(_) => "unauthorized",
            Outcome::Misconfigured(_) => "misconfigured",
            Outcome::Forbidden(_) => "forbidden",
            Outcome::Rejected(_) => "rejected",
        }
    }

    #[test]
    fn every_status_has_its_outcome_with_and_without_an_errcode() {
        for status in 100..=599 {
            let with = match status {
                300..=399 | 405 => "misconfigured",
                401 => "unauthorized",
                408 => "transient",
                429 => "limited",
                400..=499 => "rejected",
                500.. => "server error",
                _ => "transient",
            };
            assert_eq!(named(&refused(status, "M_UNKNOWN")), with, "{status} M_UNKNOWN");
            let without = match status {
                401 => "unauthorized",
                408 => "transient",
                413 => "rejected",
                429 => "limited",
                300..=499 => "misconfigured",
                _ => "transient",
            };
            assert_eq!(
                named(&SendError::NotMatrix { status, retry_after: None }.outcome()),
                without,
                "a page with {status}"
            );
        }
        assert_eq!(named(&SendError::Timeout.outcome()), "silence");
        assert_eq!(named(&SendError::Unreachable("reset".into()).outcome()), "silence");
    }

    #[test]
    fn a_refusal_of_the_account_is_never_the_fault_of_a_message() {
        for errcode in ACCOUNT_REFUSED.into_iter().chain(QUOTA) {
            for status in [401, 403, 404, 413] {
                assert_eq!(named(&refused(status, errcode)), "unauthorized", "{status} {errcode}");
            }
        }
        let no_more_rooms =
            SendError::Refused { status: 403, errcode: QUOTA[0].into(), message: String::new(), retry_after: None };
        assert_eq!(named(&no_more_rooms.outcome_elsewhere()), "rejected");
        assert_eq!(named(&refused(400, "M_RESOURCE_LIMIT_EXCEEDED")), "rejected", "a room that is too big to join");
    }

    #[test]
    fn an_errcode_says_more_than_its_status() {
        for (status, errcode, wanted) in [
            (400, "M_BAD_JSON", "rejected"),
            (404, "M_NOT_FOUND", "rejected"),
            (413, "M_TOO_LARGE", "rejected"),
            (403, "M_BAD_STATE", "rejected"),
            (403, "M_FORBIDDEN", "forbidden"),
            (401, "M_MISSING_TOKEN", "misconfigured"),
            (404, "M_UNRECOGNIZED", "misconfigured"),
            (400, "M_LIMIT_EXCEEDED", "limited"),
            (500, "M_UNRECOGNIZED", "misconfigured"),
        ] {
            assert_eq!(named(&refused(status, errcode)), wanted, "{status} {errcode}");
        }
    }
}
