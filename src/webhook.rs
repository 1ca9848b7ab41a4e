//! Odoo's doors for the worker: the webhook for what was written in Matrix, one call and what its answer means; and the files.

mod file;

use std::time::Duration;

use reqwest::{Method, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use thiserror::Error;

pub(crate) use self::file::{Files, NoFile};
use crate::{causes::causes, http, matrix};

/// Odoo answers with next to nothing.
const ANSWER_LIMIT: usize = 64 << 10;

/// Where Odoo takes what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// From the worker.
    Webhook,
    /// From the homeserver, as an application service.
    Transactions,
}

/// The webhook of one backend.
pub(crate) struct Webhook {
    http: reqwest::Client,
    method: Method,
    url: reqwest::Url,
    secret: SecretString,
    /// Selects the database, for an Odoo that serves several.
    database: String,
}

/// Why the webhook of a backend cannot be called.
#[derive(Debug, Error)]
pub(crate) enum WebhookError {
    #[error("the backend has no address of Odoo's webhook; set it in Odoo")]
    NoAddress,
    #[error("the address of Odoo's webhook cannot be used; write it as https://odoo.example.org/…")]
    Address,
    #[error("the secret of Odoo's webhook is empty or has spaces in it; make a new one in Odoo")]
    Secret,
    #[error(transparent)]
    Client(#[from] http::ClientError),
}

/// The result of a call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Odoo has all of it, or has decided to ignore it.
    Accepted,
    /// Odoo does not accept so much at once, or not this event.
    TooMuch { status: u16, reason: String },
    /// Odoo still processes another call: the same again.
    Busy { pause: Option<Duration>, reason: String },
    /// The same again, after the pause if there is one.
    Later { pause: Option<Duration>, reason: String },
}

impl Webhook {
    /// # Errors
    /// When the address or the secret cannot be used.
    pub(crate) fn new(
        door: Door,
        url: Option<&str>,
        secret: SecretString,
        database: &str,
        timeout: Duration,
    ) -> Result<Self, WebhookError> {
        let text = url.filter(|url| !url.is_empty()).ok_or(WebhookError::NoAddress)?;
        let url = reqwest::Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let mut url = url.ok_or(WebhookError::Address)?;
        let method = match door {
            Door::Webhook => Method::POST,
            // Odoo does not look at the number of a transaction.
            Door::Transactions => {
                let path = ["_matrix", "app", "v1", "transactions", "worker"];
                url.path_segments_mut().map_err(|()| WebhookError::Address)?.pop_if_empty().extend(path);
                Method::PUT
            }
        };
        if secret.expose_secret().is_empty() || !secret.expose_secret().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(WebhookError::Secret);
        }
        Ok(Self { http: http::client(&url, true, timeout)?, method, url, secret, database: database.to_owned() })
    }

    pub(crate) async fn post(&self, body: &Value) -> Answer {
        let request = self.http.request(self.method.clone(), self.url.clone()).bearer_auth(self.secret.expose_secret());
        let request =
            naming(request, &self.database).header(header::CONTENT_TYPE, "application/json").body(body.to_string());
        let mut answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return Answer::Later { pause: None, reason: transport(error) },
        };
        let status = answer.status().as_u16();
        let pause = matrix::retry_after(answer.headers()).map(|pause| pause.min(matrix::LONGEST_PAUSE));
        // Read to its end, so that the connection serves the next call.
        let mut size = 0;
        loop {
            match answer.chunk().await {
                Ok(Some(chunk)) if size + chunk.len() <= ANSWER_LIMIT => size += chunk.len(),
                Ok(_) => break,
                // Its status says that it was accepted; an error while reading the rest does not change that.
                Err(_) if status == 200 => break,
                Err(error) => return Answer::Later { pause: None, reason: transport(error) },
            }
        }
        judge(status, pause)
    }
}

/// Selects the database, for an Odoo that serves several.
fn naming(request: reqwest::RequestBuilder, database: &str) -> reqwest::RequestBuilder {
    match header::HeaderValue::from_str(database) {
        Ok(database) => request.header("X-Odoo-Database", database),
        Err(_) => request,
    }
}

fn judge(status: u16, pause: Option<Duration>) -> Answer {
    let reason = match status {
        200 => return Answer::Accepted,
        400 | 413 | 422 => {
            return Answer::TooMuch { status, reason: format!("Odoo does not accept the events (HTTP {status})") };
        }
        401 | 403 => "Odoo refuses the secret of its webhook; make a new one on the backend in Odoo",
        404 => {
            "there is no webhook at its address; correct the address on the backend in Odoo, and if Odoo serves several databases, \
             its --db-filter"
        }
        300..=399 => "the address of Odoo's webhook redirects elsewhere; set the address that it redirects to",
        429 => return Answer::Busy { pause, reason: format!("Odoo asks for a pause (HTTP {status})") },
        500.. => "Odoo failed, or is being restarted; its log says more",
        _ => "what answers at the address of the webhook is not Odoo's",
    };
    Answer::Later { pause, reason: format!("{reason} (HTTP {status})") }
}

/// A transport error in words for a person. The URL is left out: it may carry more than a host.
fn transport(error: reqwest::Error) -> String {
    let error = error.without_url();
    if error.is_timeout() {
        return "Odoo did not answer within the time limit".to_owned();
    }
    let cause = causes(&error).last().map_or_else(|| error.to_string(), |cause| cause.to_string());
    format!("no connection to Odoo: {cause}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_200_means_accepted_and_every_other_answer_is_retried() {
        for status in 100..=599 {
            let answer = judge(status, None);
            match status {
                200 => assert_eq!(answer, Answer::Accepted),
                400 | 413 | 422 => assert!(matches!(answer, Answer::TooMuch { .. }), "{status}"),
                429 => assert!(matches!(answer, Answer::Busy { .. })),
                _ => assert!(matches!(answer, Answer::Later { .. }), "{status}"),
            }
        }
    }

    #[test]
    fn an_address_or_secret_that_cannot_be_used_is_named_without_the_secret() {
        let new = |url, secret: &str| {
            let made = Webhook::new(Door::Webhook, url, secret.into(), "odoo", Duration::from_secs(1));
            made.map(drop).unwrap_err().to_string()
        };

        assert!(new(None, "s").contains("no address"));
        assert!(new(Some("odoo.example.org"), "s").contains("https://"));
        let error = new(Some("https://odoo.example.org/x"), "hunter 2");
        assert!(error.contains("secret") && !error.contains("hunter"), "{error}");
    }
}
