//! What can go wrong with a call to the homeserver, and the one judgement of what that means.

use std::{error::Error as _, time::Duration};

use thiserror::Error;

use crate::message::{Failure, Outcome, code};

/// A pause without a number from the homeserver, and the longest that we obey before we ask again.
const DEFAULT_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);

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
}

impl SendError {
    /// A transport error in words for a person. The URL is left out: it may carry more than a host.
    pub(super) fn from_transport(error: reqwest::Error) -> Self {
        let error = error.without_url();
        if error.is_timeout() {
            return Self::Timeout;
        }
        let mut text = error.to_string();
        let mut cause = error.source();
        let mut is_proxied = false;
        while let Some(deeper) = cause {
            is_proxied |= deeper.to_string().starts_with("tunnel error");
            text = deeper.to_string();
            cause = deeper.source();
        }
        // The library's words for a proxy that does not connect us: without the cause, which may repeat its address and password.
        if is_proxied {
            text = "the proxy of HTTPS_PROXY was asked for the way there and did not give it; list the homeserver in NO_PROXY if it is to \
                be reached directly"
                .to_owned();
        }
        Self::Unreachable(in_plain_words(text))
    }

    /// A 200 without what the endpoint is to answer.
    pub(super) fn not_matrix() -> Self {
        Self::NotMatrix { status: 200, retry_after: None }
    }

    /// What the answer means for the message. No other code looks at a status or an errcode.
    pub fn outcome(&self) -> Outcome {
        let failure = self.failure();
        let Self::Refused { status, errcode, retry_after, .. } = self else {
            return match self {
                // A proxy's own words for "not now", or a limit without Matrix' JSON around it.
                Self::NotMatrix { status: 429, retry_after } => limited(*retry_after),
                Self::NotMatrix { status: 401, .. } => Outcome::Unauthorized(failure),
                // Too large for what stands before the homeserver, too.
                Self::NotMatrix { status: 413, .. } => Outcome::Rejected(failure),
                Self::NotMatrix { status: 408, .. } => Outcome::Transient(failure),
                // A redirect or a page of a proxy, a firewall or some other server: the homeserver, whose own refusals are JSON,
                // was not reached, and no message could pass.
                Self::NotMatrix { status: 300..=499, .. } => Outcome::Misconfigured(failure),
                _ => Outcome::Transient(failure),
            };
        };
        match (*status, errcode.as_str()) {
            (429, _) | (_, "M_LIMIT_EXCEEDED") => limited(*retry_after),
            // The URL or the token is missing a part; no message could pass.
            (_, "M_UNRECOGNIZED" | "M_MISSING_TOKEN") | (300..=399 | 405, _) => Outcome::Misconfigured(failure),
            // Suspended accounts get a 403, locked ones a 401: both are the account's matter, not the room's.
            (401, _) | (_, "M_USER_LOCKED" | "M_USER_SUSPENDED") => Outcome::Unauthorized(failure),
            (403, "M_FORBIDDEN") => Outcome::Forbidden(failure),
            (408 | 500.., _) => Outcome::Transient(failure),
            (400..=499, _) => Outcome::Rejected(failure),
            _ => Outcome::Transient(failure),
        }
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
        };
        Failure { code, text: self.to_string() }
    }
}

/// What TLS says in the library's words, with where the worker looks for authorities: Odoo may run elsewhere.
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

    #[test]
    fn each_answer_means_what_the_table_says() {
        use Outcome::{Forbidden, Misconfigured, Rejected, Transient, Unauthorized};
        for (status, errcode, wanted) in [
            (400, "M_BAD_JSON", "rejected"),
            (404, "M_NOT_FOUND", "rejected"),
            (413, "M_TOO_LARGE", "rejected"),
            (403, "M_BAD_STATE", "rejected"),
            (403, "M_FORBIDDEN", "forbidden"),
            (403, "M_USER_SUSPENDED", "unauthorized"),
            (401, "M_USER_LOCKED", "unauthorized"),
            (401, "M_UNKNOWN_TOKEN", "unauthorized"),
            (401, "M_MISSING_TOKEN", "misconfigured"),
            (404, "M_UNRECOGNIZED", "misconfigured"),
            (405, "M_UNRECOGNIZED", "misconfigured"),
            (408, "M_UNKNOWN", "transient"),
            (500, "M_UNKNOWN", "transient"),
            (502, "", "transient"),
        ] {
            let got = match refused(status, errcode) {
                Rejected(_) => "rejected",
                Forbidden(_) => "forbidden",
                Unauthorized(_) => "unauthorized",
                Misconfigured(_) => "misconfigured",
                Transient(_) => "transient",
                other => panic!("{status} {errcode}: {other:?}"),
            };
            assert_eq!(got, wanted, "{status} {errcode}");
        }
    }

    #[test]
    fn an_answer_that_is_not_matrix_is_judged_by_its_status() {
        let judged = |status| SendError::NotMatrix { status, retry_after: None }.outcome();

        assert!(matches!(judged(200), Outcome::Transient(_)));
        assert!(matches!(judged(502), Outcome::Transient(_)));
        assert!(matches!(judged(408), Outcome::Transient(_)));
        assert!(matches!(judged(301), Outcome::Misconfigured(_)));
        assert!(matches!(judged(405), Outcome::Misconfigured(_)));
        for page_of_a_proxy in [400, 403, 404, 407, 451] {
            assert!(matches!(judged(page_of_a_proxy), Outcome::Misconfigured(_)), "{page_of_a_proxy}");
        }
        assert!(matches!(judged(413), Outcome::Rejected(_)));
        assert!(matches!(judged(401), Outcome::Unauthorized(_)));
        assert!(matches!(judged(429), Outcome::Limited { .. }));
    }
}
