//! What the encryption of a device needs: keys of devices, messages from device to device, and who is in a room.

use bytes::Bytes;
use reqwest::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{ANSWER_LIMIT, Homeserver, SendError, rooms::none_if_not_found};
use crate::message::{EventId, RoomId, TxnId, UserId};

/// Keys of hundreds of devices, members of large rooms.
const LARGE_ANSWER: usize = 64 << 20;

/// JSON writes a character as `\u0000` at the longest.
const LONGEST_ESCAPE: usize = 6;

/// The names of the fields, and a user ID.
const REST_OF_AUTH: usize = 2048;

const PASSWORD: &str = "the homeserver asks for the account's password before it accepts signing keys: set up encryption with the password";

const SERVICE: &str = "the homeserver asks for the account's password before it accepts new signing keys, also from the application service, which has \
    none: click «New Device» in Odoo and enter the password there; then messages are sent with an access token";

const WRONG_PASSWORD: &str = "the homeserver did not accept the password for new signing keys: enter it again";

const ELSEWHERE: &str = "the homeserver wants a person to approve new signing keys on its own web page: create or reset them in another client \
    of the account (Element), then set up encryption with its recovery key";

/// Whether the homeserver has accepted an account's signing keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SigningKeys {
    Taken,
    /// Why not, and what a person can do.
    Refused(String),
}

#[derive(Serialize)]
struct KeysUpload<'a> {
    #[serde(flatten)]
    keys: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth: Option<Auth<'a>>,
}

/// How somebody proves that the account is theirs.
#[derive(Serialize)]
struct Auth<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    identifier: Value,
    password: &'a str,
    #[serde(skip_serializing_if = "Value::is_null")]
    session: Value,
}

enum Upload {
    Taken,
    /// The homeserver asks for a password, or for something else, in this session.
    Asks {
        session: Value,
        by_password: bool,
    },
}

impl Homeserver {
    /// `POST /keys/upload`: our device's own keys. It replaces those that the device had.
    pub async fn upload_keys(&self, keys: &Value) -> Result<Value, SendError> {
        self.post_keys(&["keys", "upload"], &[], keys).await
    }

    /// `POST /keys/query`: the devices of these users, and their keys.
    pub async fn query_keys(&self, users: impl IntoIterator<Item = &str>) -> Result<Value, SendError> {
        let users: serde_json::Map<_, _> = users.into_iter().map(|user| (user.to_owned(), json!([]))).collect();
        self.ask_others(&["keys", "query"], json!({ "device_keys": users })).await
    }

    /// `POST /keys/claim`: a key of each of these devices to begin a session with, which nobody else gets.
    pub async fn claim_keys(&self, devices: &Value) -> Result<Value, SendError> {
        self.ask_others(&["keys", "claim"], json!({ "one_time_keys": devices })).await
    }

    /// `POST /keys/signatures/upload`.
    pub async fn upload_signatures(&self, signed: &Value) -> Result<Value, SendError> {
        self.post_keys(&["keys", "signatures", "upload"], &[], signed).await
    }

    /// `POST /keys/device_signing/upload`: the keys by which an account vouches for its devices. The homeserver asks for a password, or
    /// for a person's approval elsewhere, where it has others already. `password`: of which user, and what it is.
    pub async fn upload_signing_keys(
        &self,
        keys: &Value,
        password: Option<(&str, &SecretString)>,
    ) -> Result<SigningKeys, SendError> {
        let session = match self.signing_keys(keys, None).await? {
            Upload::Taken => return Ok(SigningKeys::Taken),
            Upload::Asks { by_password: false, .. } => return Ok(SigningKeys::Refused(ELSEWHERE.to_owned())),
            Upload::Asks { session, .. } => session,
        };
        let Some((user, password)) = password else {
            let reason = if self.acting.is_some() { SERVICE } else { PASSWORD };
            return Ok(SigningKeys::Refused(reason.to_owned()));
        };
        let identifier = json!({ "type": "m.id.user", "user": user });
        let auth = Auth { kind: "m.login.password", identifier, password: password.expose_secret(), session };
        Ok(match self.signing_keys(keys, Some(auth)).await? {
            Upload::Taken => SigningKeys::Taken,
            Upload::Asks { .. } => SigningKeys::Refused(WRONG_PASSWORD.to_owned()),
        })
    }

    async fn signing_keys(&self, keys: &Value, auth: Option<Auth<'_>>) -> Result<Upload, SendError> {
        let path = ["keys", "device_signing", "upload"];
        // The memory with the password is cleared afterwards, and is not moved before.
        let longest =
            auth.as_ref().map_or(0, |auth| auth.password.len() * LONGEST_ESCAPE + auth.session.to_string().len());
        let mut body = Zeroizing::new(Vec::with_capacity(keys.to_string().len() + longest + REST_OF_AUTH));
        serde_json::to_writer(&mut *body, &KeysUpload { keys, auth }).expect("it has nothing that is not JSON");
        let json = Some(("application/json", Bytes::from_owner(body).into()));
        let bounds = (self.timeout, ANSWER_LIMIT);
        let raw = self.ask_raw(Method::POST, (&["client", "v3"], &path), &[], json, bounds).await?;
        // What else is needed comes with status 401, after a wrong password with an errcode as well.
        let asked = (raw.status == 401).then(|| serde_json::from_slice::<Value>(&raw.body).ok()).flatten();
        if let Some(flows) = asked.as_ref().and_then(|answer| answer.get("flows")?.as_array()) {
            let is_password = |flow: &Value| flow["stages"] == json!(["m.login.password"]);
            let by_password = flows.iter().any(is_password);
            return Ok(Upload::Asks {
                session: asked.as_ref().map_or(Value::Null, |answer| answer["session"].clone()),
                by_password,
            });
        }
        self.read::<Value>(raw).map(|_| Upload::Taken)
    }

    /// `PUT /sendToDevice/{eventType}/{txnId}`.
    pub async fn send_to_device(&self, kind: &str, txn_id: &str, messages: &Value) -> Result<Value, SendError> {
        let body = json!({ "messages": messages }).to_string();
        self.call(Method::PUT, &["sendToDevice", kind, txn_id], &[], Some(body)).await
    }

    /// `PUT /_matrix/client/v3/rooms/{roomId}/send/m.room.encrypted/{txnId}`. A text that was encrypted anew under its transaction id is the
    /// same event to the homeserver.
    pub async fn send_encrypted(&self, room: &RoomId, txn_id: &TxnId, content: String) -> Result<EventId, SendError> {
        self.put_event(&["rooms", room.as_str(), "send", "m.room.encrypted", txn_id.as_str()], content).await
    }

    /// Who is in a room or invited to it.
    pub async fn members(&self, room: &RoomId) -> Result<Vec<String>, SendError> {
        let path = ["rooms", room.as_str(), "members"];
        let bounds = (self.timeout, LARGE_ANSWER);
        let answer: Value =
            self.call_patiently(Method::GET, &path, &[("not_membership", "leave")], None, bounds).await?;
        let chunk = answer.get("chunk").and_then(Value::as_array).ok_or(SendError::not_matrix())?;
        let member = |event: &Value| {
            let membership = event.pointer("/content/membership")?.as_str()?;
            matches!(membership, "join" | "invite").then(|| event.get("state_key")?.as_str().map(str::to_owned))?
        };
        Ok(chunk.iter().filter_map(member).collect())
    }

    /// What the account keeps on its homeserver under a name of ours.
    pub async fn account_data(&self, me: &UserId, name: &str) -> Result<Option<Value>, SendError> {
        let path = ["user", me.as_str(), "account_data", name];
        none_if_not_found(self.call(Method::GET, &path, &[], None).await)
    }

    pub async fn set_account_data(&self, me: &UserId, name: &str, content: &Value) -> Result<(), SendError> {
        let path = ["user", me.as_str(), "account_data", name];
        self.call::<Value>(Method::PUT, &path, &[], Some(content.to_string())).await.map(drop)
    }

    /// A question that our homeserver may have to pass on to others. What it does not learn in half of our time it leaves out.
    async fn ask_others(&self, path: &[&str], mut question: Value) -> Result<Value, SendError> {
        let timeout = u64::try_from((self.timeout / 2).as_millis()).unwrap_or(u64::MAX);
        question["timeout"] = timeout.into();
        // Synapse looks for it here only.
        self.post_keys(path, &[("timeout", &timeout.to_string())], &question).await
    }

    async fn post_keys(&self, path: &[&str], query: &[(&str, &str)], body: &Value) -> Result<Value, SendError> {
        self.call_patiently(Method::POST, path, query, Some(body.to_string()), (self.timeout, LARGE_ANSWER)).await
    }
}
