//! What the encryption of a device needs: keys of devices, messages from device to device, and who is in a room.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Homeserver, SendError, rooms::none_if_not_found};
use crate::message::{EventId, RoomId, TxnId, UserId};

/// Keys of hundreds of devices, members of large rooms.
const LARGE_ANSWER: usize = 64 << 20;

impl Homeserver {
    /// `POST /keys/upload`: our device's own keys. It replaces those that the device had.
    pub async fn upload_keys(&self, keys: &Value) -> Result<Value, SendError> {
        self.post_keys(&["keys", "upload"], keys).await
    }

    /// `POST /keys/query`: the devices of these users, and their keys.
    pub async fn query_keys(&self, users: impl IntoIterator<Item = &str>) -> Result<Value, SendError> {
        let users: serde_json::Map<_, _> = users.into_iter().map(|user| (user.to_owned(), json!([]))).collect();
        self.post_keys(&["keys", "query"], &json!({ "device_keys": users, "timeout": self.of_others() })).await
    }

    /// `POST /keys/claim`: a key of each of these devices to begin a session with, which nobody else gets.
    pub async fn claim_keys(&self, devices: &Value) -> Result<Value, SendError> {
        self.post_keys(&["keys", "claim"], &json!({ "one_time_keys": devices, "timeout": self.of_others() })).await
    }

    /// `POST /keys/signatures/upload`.
    pub async fn upload_signatures(&self, signed: &Value) -> Result<Value, SendError> {
        self.post_keys(&["keys", "signatures", "upload"], signed).await
    }

    /// `POST /keys/device_signing/upload`: the keys by which an account vouches for its devices. The homeserver asks for a password, or
    /// for a person's approval elsewhere, where it has others already.
    pub async fn upload_signing_keys(&self, keys: &Value) -> Result<Value, SendError> {
        self.post_keys(&["keys", "device_signing", "upload"], keys).await
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

    /// For how many milliseconds our homeserver may ask others. What it does not learn by then it leaves out.
    fn of_others(&self) -> u64 {
        u64::try_from((self.timeout / 2).as_millis()).unwrap_or(u64::MAX)
    }

    async fn post_keys(&self, path: &[&str], body: &Value) -> Result<Value, SendError> {
        self.call_patiently(Method::POST, path, &[], Some(body.to_string()), (self.timeout, LARGE_ANSWER)).await
    }
}
