//! What the homeserver has answered: what was asked for, or why not, in words that may go into logs.

use std::time::Duration;

use serde::{Deserialize, de::DeserializeOwned};

use super::{SendError, answer::lenient};

/// The homeserver's own words are cut to this length, so that a log row has space for ours.
const MESSAGE_LIMIT: usize = 500;

/// A longer link would be cut and useless.
const LINK_LIMIT: usize = 200;

/// Any answer but 200.
#[derive(Deserialize)]
struct Refusal {
    errcode: String,
    #[serde(default, deserialize_with = "lenient")]
    error: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    retry_after_ms: Option<u64>,
    // Where a person can act: the terms to agree to, the limit that was reached, whom to ask.
    #[serde(default, deserialize_with = "lenient")]
    consent_uri: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    info_uri: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    admin_contact: Option<String>,
}

pub(super) fn read_answer<T: DeserializeOwned>(
    status: u16,
    retry_after: Option<Duration>,
    body: &[u8],
    token: &str,
) -> Result<T, SendError> {
    let not_matrix = |_| SendError::NotMatrix { status, retry_after };
    // Every answer is an object; an array could be read as one, by the order of the fields.
    let body: &[u8] = if body.trim_ascii_start().starts_with(b"{") { body } else { b"" };
    if status == 200 {
        return serde_json::from_slice(body).map_err(not_matrix);
    }
    let refusal: Refusal = serde_json::from_slice(body).map_err(not_matrix)?;
    // A proxy may repeat the request in its refusal, and the text goes into logs.
    let shown = |text: &str, limit| -> String { text.replace(token, "(the token)").chars().take(limit).collect() };
    let mut message: String = shown(refusal.error.as_deref().unwrap_or("no reason given"), MESSAGE_LIMIT);
    let links = [("see", &refusal.consent_uri), ("see", &refusal.info_uri), ("ask", &refusal.admin_contact)];
    for (verb, link) in links.into_iter().filter_map(|(verb, link)| Some((verb, link.as_deref()?))) {
        if !message.contains(link) {
            message = format!("{message}; {verb} {}", shown(link, LINK_LIMIT));
        }
    }
    Err(SendError::Refused {
        status,
        errcode: shown(&refusal.errcode, 100),
        message,
        // The body is finer than the header, which counts in whole seconds.
        retry_after: refusal.retry_after_ms.map(Duration::from_millis).or(retry_after),
    })
}

#[cfg(test)]
mod tests {
    use serde::de::IgnoredAny;

    use super::*;

    #[test]
    fn only_an_object_is_an_answer_of_a_homeserver() {
        for body in [&b"[]"[..], b"[\"!a:x\"]", b"null", b"", b"{", b"<html>"] {
            let answer = read_answer::<IgnoredAny>(200, None, body, "token").unwrap_err();
            assert_eq!(answer, SendError::not_matrix(), "{body:?}");
        }
        assert!(read_answer::<IgnoredAny>(200, None, b" {}", "token").is_ok());
    }

    #[test]
    fn the_pause_in_the_body_is_finer_than_the_one_in_the_header() {
        let header = Some(Duration::from_secs(5));
        let read = |body: &[u8]| match read_answer::<IgnoredAny>(429, header, body, "token") {
            Err(SendError::Refused { retry_after, .. } | SendError::NotMatrix { retry_after, .. }) => retry_after,
            other => panic!("{other:?}"),
        };

        assert_eq!(read(br#"{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":4017}"#), Some(Duration::from_millis(4017)));
        assert_eq!(read(br#"{"errcode":"M_LIMIT_EXCEEDED"}"#), header);
        assert_eq!(read(b"<html>slow down</html>"), header);
    }

    #[test]
    fn a_refusal_of_the_account_says_where_a_person_can_do_something_about_it() {
        let text = |body: &[u8]| read_answer::<IgnoredAny>(403, None, body, "token").unwrap_err().failure().text;

        let consent =
            text(br#"{"errcode":"M_CONSENT_NOT_GIVEN","error":"Agree first","consent_uri":"https://m.org/terms"}"#);
        assert_eq!(consent, "Agree first; see https://m.org/terms (HTTP 403 M_CONSENT_NOT_GIVEN)");
        let limit = text(br#"{"errcode":"M_RESOURCE_LIMIT_EXCEEDED","error":"Full","admin_contact":"mailto:a@m.org"}"#);
        assert_eq!(limit, "Full; ask mailto:a@m.org (HTTP 403 M_RESOURCE_LIMIT_EXCEEDED)");
        let once = text(
            br#"{"errcode":"M_CONSENT_NOT_GIVEN","error":"Agree at https://m.org/t","consent_uri":"https://m.org/t"}"#,
        );
        assert_eq!(once, "Agree at https://m.org/t (HTTP 403 M_CONSENT_NOT_GIVEN)");
    }

    #[test]
    fn a_refusal_that_shows_the_token_is_reported_without_it() {
        let long = format!("{{\"errcode\":\"M_syt_1\",\"error\":\"{}Bearer syt_1\"}}", "x".repeat(MESSAGE_LIMIT - 10));

        let error = read_answer::<IgnoredAny>(400, None, long.as_bytes(), "syt_1").unwrap_err().failure().to_string();

        assert!(error.contains("Bearer (") && !error.contains("syt"), "{error}");
    }
}
