//! The part of the homeserver's client-server API that the worker uses: one method per endpoint.

mod answer;
mod direct;
mod error;
#[cfg(feature = "encryption")]
mod keys;
mod media;
mod presence;
mod refusal;
mod replaced;
mod rooms;
mod sync;

use std::{sync::Arc, time::Duration};

use hmac::{Hmac, Mac as _};
use reqwest::{
    Method,
    header::{self, HeaderMap, HeaderValue},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, de::DeserializeOwned};
use sha2::Sha256;
use thiserror::Error;

use self::refusal::read_answer;
pub use self::{
    direct::{DirectList, Profile},
    error::{LONGEST_PAUSE, SendError},
    media::{ContentUri, File, longest_transfer},
    rooms::{Creation, Membership, Tombstone},
    sync::{Heard, Names, Page, RoomEvent, Synced, before},
};
#[cfg(feature = "encryption")]
pub use self::{
    keys::SigningKeys,
    sync::{DeviceNews, ENCRYPTED},
};
use crate::{
    failpoint::{self, Point},
    http,
    message::{EventId, Message, RoomId, UserId},
};

/// Answers are read up to here; what the worker asks for is far smaller.
const ANSWER_LIMIT: usize = 4 << 20;

/// One account on one homeserver. Cheap to clone; all clones share one connection pool.
#[derive(Clone)]
pub struct Homeserver {
    http: reqwest::Client,
    base: reqwest::Url,
    /// The account's own.
    token: SecretString,
    acting: Option<Arc<Acting>>,
    timeout: Duration,
}

/// An application service, and the account and device as which it acts.
pub struct Acting {
    pub token: SecretString,
    pub user: String,
    pub device: String,
}

/// Why a backend's configuration leads to no homeserver.
#[derive(Debug, Error)]
pub enum SetupError {
    #[error("homeserver URL «{shown}» cannot be read; write it as https://matrix.example.org")]
    Url { shown: String, source: <reqwest::Url as std::str::FromStr>::Err },
    #[error("homeserver URL «{0}» must begin with https:// or http://")]
    Scheme(String),
    #[error("the access token is empty or has spaces or line breaks in it; set it again")]
    Token,
    #[error(transparent)]
    Client(#[from] http::ClientError),
}

/// `GET /account/whoami`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whoami {
    pub user_id: UserId,
    /// Without a device the homeserver forgets transaction ids when it restarts.
    pub device_id: Option<String>,
}

impl Homeserver {
    /// `base` as `https://matrix.example.org`; `timeout` bounds every call from connecting to the last byte.
    ///
    /// # Errors
    /// When the URL, the token or the set-up for TLS cannot be used.
    pub fn new(base: &str, token: SecretString, verify_ssl: bool, timeout: Duration) -> Result<Self, SetupError> {
        let shown = without_login(base);
        let mut base = match reqwest::Url::parse(base) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && !url.cannot_be_a_base() => url,
            Ok(_) => return Err(SetupError::Scheme(shown)),
            Err(source) => return Err(SetupError::Url { shown, source }),
        };
        base.path_segments_mut().expect("an http URL has a path").pop_if_empty();
        check_token(&token)?;
        let http = http::client(&base, verify_ssl, timeout)?;
        Ok(Self { http, base, token, acting: None, timeout })
    }

    /// Every call is made by the application service, as its account and device. Without a device the homeserver would forget transaction
    /// ids when it restarts.
    ///
    /// # Errors
    /// When its token cannot be used.
    pub fn acting(self, acting: Acting) -> Result<Self, SetupError> {
        check_token(&acting.token)?;
        Ok(Self { acting: Some(Arc::new(acting)), ..self })
    }

    /// The account and the device as which an application service acts.
    #[cfg(feature = "encryption")]
    pub(crate) fn acts_as(&self) -> Option<(&str, &str)> {
        self.acting.as_deref().map(|acting| (&*acting.user, &*acting.device))
    }

    /// The token of every call.
    fn bearer(&self) -> &str {
        self.acting.as_deref().map_or(&self.token, |acting| &acting.token).expose_secret()
    }

    /// `PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}` with the row's own transaction id.
    pub async fn send(&self, room: &RoomId, message: &Message) -> Result<EventId, SendError> {
        let path = ["rooms", room.as_str(), "send", &message.matrix_type, message.txn_id.as_str()];
        self.put_event(&path, message.content.clone()).await
    }

    /// `PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}`: removes the text of an event.
    pub async fn redact(&self, room: &RoomId, event_id: &EventId, message: &Message) -> Result<EventId, SendError> {
        let path = ["rooms", room.as_str(), "redact", event_id.as_str(), message.txn_id.as_str()];
        self.put_event(&path, message.content.clone()).await
    }

    async fn put_event(&self, path: &[&str], content: String) -> Result<EventId, SendError> {
        #[derive(Deserialize)]
        struct Sent {
            event_id: String,
        }
        let sent: Sent = self.call(Method::PUT, path, &[], Some(content)).await?;
        Ok(EventId::new(sent.event_id))
    }

    /// Signs `text` with the account's own token, which Odoo has too. The signature reveals nothing about the token.
    pub fn sign(&self, text: &str) -> String {
        let key = self.token.expose_secret().as_bytes();
        let mut code = Hmac::<Sha256>::new_from_slice(key).expect("HMAC accepts keys of any length");
        code.update(text.as_bytes());
        code.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub async fn whoami(&self) -> Result<Whoami, SendError> {
        #[derive(Deserialize)]
        struct Account {
            user_id: String,
            device_id: Option<String>,
        }
        let account = self.call(Method::GET, &["account", "whoami"], &[], None).await;
        let account: Account = account.map_err(SendError::of_account)?;
        Ok(Whoami { user_id: UserId::parse(&account.user_id)?, device_id: account.device_id })
    }

    /// One call below `/_matrix/client/v3`. Path parts are percent-encoded here.
    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<String>,
    ) -> Result<T, SendError> {
        self.call_patiently(method, path, query, body, (self.timeout, ANSWER_LIMIT)).await
    }

    /// A call that may take longer, or whose answer may be larger, than others.
    async fn call_patiently<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<String>,
        (timeout, limit): (Duration, usize),
    ) -> Result<T, SendError> {
        let body = body.map(|text| ("application/json", text.into()));
        self.ask(method, (&["client", "v3"], path), query, body, (timeout, limit)).await
    }

    /// One call of the API `api` below `/_matrix`, such as `client/v3`; the body comes with its content type.
    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        to: (&[&str], &[&str]),
        query: &[(&str, &str)],
        body: Option<(&str, reqwest::Body)>,
        bounds: (Duration, usize),
    ) -> Result<T, SendError> {
        let raw = self.ask_raw(method, to, query, body, bounds).await?;
        self.read(raw)
    }

    fn read<T: DeserializeOwned>(&self, Raw { status, retry_after, body }: Raw) -> Result<T, SendError> {
        read_answer(status, retry_after, &body, self.bearer())
    }

    /// The same, for the few that need more of a refusal than its code.
    async fn ask_raw(
        &self,
        method: Method,
        to: (&[&str], &[&str]),
        query: &[(&str, &str)],
        body: Option<(&str, reqwest::Body)>,
        (timeout, limit): (Duration, usize),
    ) -> Result<Raw, SendError> {
        let answer = self.begin(method, to, query, body, timeout).await?;
        finish(answer, limit).await
    }

    /// One call up to the head of its answer.
    async fn begin(
        &self,
        method: Method,
        (api, path): (&[&str], &[&str]),
        query: &[(&str, &str)],
        body: Option<(&str, reqwest::Body)>,
        timeout: Duration,
    ) -> Result<reqwest::Response, SendError> {
        let mut url = self.base.clone();
        let mut parts = url.path_segments_mut().expect("checked when the client was built");
        parts.push("_matrix").extend(api).extend(path);
        drop(parts);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        if let Some(acting) = &self.acting {
            url.query_pairs_mut().append_pair("user_id", &acting.user).append_pair("device_id", &acting.device);
        }
        let mut request = self.http.request(method, url).timeout(timeout).bearer_auth(self.bearer());
        if let Some((kind, body)) = body {
            request = request.header(header::CONTENT_TYPE, kind).body(body);
        }
        let answer = request.send().await.map_err(SendError::from_transport)?;
        failpoint::reach(Point::PutSent).await;
        Ok(answer)
    }
}

fn check_token(token: &SecretString) -> Result<(), SetupError> {
    let token = token.expose_secret();
    let is_usable = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    if is_usable { Ok(()) } else { Err(SetupError::Token) }
}

/// The rest of an answer, up to `limit`.
async fn finish(mut answer: reqwest::Response, limit: usize) -> Result<Raw, SendError> {
    let status = answer.status().as_u16();
    let retry_after = retry_after(answer.headers());
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(SendError::from_transport)? {
        body.extend_from_slice(&chunk);
        if body.len() > limit {
            return Err(SendError::NotMatrix { status, retry_after });
        }
    }
    Ok(Raw { status, retry_after, body })
}

/// An answer that was not read yet.
struct Raw {
    status: u16,
    retry_after: Option<Duration>,
    body: Vec<u8>,
}

/// How long the header asks to wait: in seconds, or until a date by the clock of the server that answered, because ours
/// may be wrong.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::trim);
    let date = |name| text(name).and_then(|date| httpdate::parse_http_date(date).ok());
    let seconds = text(header::RETRY_AFTER)?.parse().ok().map(Duration::from_secs);
    // A date that has passed: at once.
    let until_date = || Some(date(header::RETRY_AFTER)?.duration_since(date(header::DATE)?).unwrap_or_default());
    seconds.or_else(until_date)
}

/// A URL for an error text, without its login.
fn without_login(url: &str) -> String {
    let Some((login, rest)) = url.rsplit_once('@') else { return url.to_owned() };
    let scheme = login.split_once("://").map_or(String::new(), |(scheme, _)| format!("{scheme}://"));
    format!("{scheme}…@{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::with_causes;

    #[test]
    fn a_pause_until_a_date_is_waited_for_by_the_clock_that_set_it() {
        let asked = |retry_after: &str, date: Option<&str>| {
            let fields = [Some((header::RETRY_AFTER, retry_after)), date.map(|date| (header::DATE, date))];
            let fields =
                fields.into_iter().flatten().map(|(name, value)| (name, HeaderValue::from_str(value).unwrap()));
            super::retry_after(&fields.collect())
        };

        assert_eq!(asked("7", None), Some(Duration::from_secs(7)));
        let answered = Some("Wed, 21 Oct 2015 07:38:00 GMT");
        assert_eq!(asked("Wed, 21 Oct 2015 07:38:30 GMT", answered), Some(Duration::from_secs(30)));
        assert_eq!(asked("Wed, 21 Oct 2015 07:37:00 GMT", answered), Some(Duration::ZERO));
        assert_eq!(asked("Wed, 21 Oct 2015 07:38:30 GMT", None), None);
        assert_eq!(asked("soon", None), None);
    }

    #[test]
    fn an_unusable_url_or_token_is_reported_before_anything_is_sent() {
        let new = |url: &str, token: &str| {
            let error = Homeserver::new(url, token.into(), true, Duration::from_secs(1)).map(drop).unwrap_err();
            with_causes(&error)
        };

        let error = new("matrix.example.org", "t");
        assert!(error.contains("«matrix.example.org»") && error.ends_with(": relative URL without a base"), "{error}");
        assert!(new("ftp://matrix.example.org", "t").contains("https://"));
        for with_login in ["ftp://user:hunter@2@matrix.example.org", "https://user:hunter2@matrix:port"] {
            let error = new(with_login, "t");
            assert!(error.contains("@matrix") && !error.contains("hunter") && !error.contains("user"), "{error}");
        }
        let error = new("https://matrix.example.org", "secret\nline");
        assert!(error.contains("line breaks") && !error.contains("secret"), "{error}");
    }
}
