//! A person (or bot) with an account: what they do and what they see, by the client-server API.

use anyhow::{Context, Result, bail};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

use crate::percent_encode;

/// A logged-in account.
#[derive(Clone)]
pub struct User {
    http: Client,
    url: String,
    id: String,
    device_id: String,
    token: String,
}

/// One event of a room's timeline.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub event_id: String,
    pub sender: String,
    pub kind: String,
    pub content: Value,
    /// When the homeserver got it, by its clock.
    pub sent_at_ms: i64,
}

impl Event {
    /// The text of a message; empty for what is none.
    pub fn body(&self) -> &str {
        self.content["body"].as_str().unwrap_or_default()
    }
}

impl User {
    pub(super) fn from_login(http: Client, url: &str, answer: &Value) -> Result<Self> {
        let text = |name: &str| Ok::<_, anyhow::Error>(answer[name].as_str().context(name.to_owned())?.to_owned());
        Ok(Self {
            http,
            url: url.to_owned(),
            id: text("user_id")?,
            device_id: text("device_id")?,
            token: text("access_token")?,
        })
    }

    /// `@name:server`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The device that the token belongs to. Without one a homeserver forgets transaction ids early.
    pub fn device_id(&self) -> &str {
        &self.device_id
    }

    /// The access token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Makes a private room and gives back its id.
    pub async fn create_room(&self, name: &str, invited: &[&User]) -> Result<String> {
        let invite: Vec<_> = invited.iter().map(|user| user.id()).collect();
        let body = json!({"name": name, "preset": "private_chat", "invite": invite});
        let made = self.post("/_matrix/client/v3/createRoom", &body).await?;
        Ok(made["room_id"].as_str().context("a made room has an id")?.to_owned())
    }

    /// Makes a private room under a transaction id, as Synapse allows, and gives back its id.
    pub async fn create_room_once(&self, txn_id: &str) -> Result<String> {
        let path = format!("/_matrix/client/v3/createRoom/{}", percent_encode(txn_id));
        let made = self.call(Method::PUT, &path, Some(&json!({"preset": "private_chat"}))).await?;
        Ok(made["room_id"].as_str().context("a made room has an id")?.to_owned())
    }

    /// Invites `other` into a room.
    pub async fn invite(&self, room: &str, other: &User) -> Result<()> {
        let path = format!("/_matrix/client/v3/rooms/{}/invite", percent_encode(room));
        self.post(&path, &json!({"user_id": other.id()})).await.map(drop)
    }

    /// Removes `other` from a room.
    pub async fn kick(&self, room: &str, other: &User) -> Result<()> {
        let path = format!("/_matrix/client/v3/rooms/{}/kick", percent_encode(room));
        self.post(&path, &json!({"user_id": other.id()})).await.map(drop)
    }

    /// Accepts an invitation.
    pub async fn join(&self, room: &str) -> Result<()> {
        self.post(&format!("/_matrix/client/v3/join/{}", percent_encode(room)), &json!({})).await.map(drop)
    }

    /// Replaces a room by a new one, which is given back. Nobody else is in that one.
    pub async fn upgrade(&self, room: &str) -> Result<String> {
        let path = format!("/_matrix/client/v3/rooms/{}/upgrade", percent_encode(room));
        let made = self.post(&path, &json!({"new_version": "12"})).await?;
        Ok(made["replacement_room"].as_str().context("an upgraded room has a successor")?.to_owned())
    }

    /// Turns on encryption in a room, for ever.
    pub async fn encrypt(&self, room: &str) -> Result<()> {
        let path = format!("/_matrix/client/v3/rooms/{}/state/m.room.encryption/", percent_encode(room));
        self.call(Method::PUT, &path, Some(&json!({"algorithm": "m.megolm.v1.aes-sha2"}))).await.map(drop)
    }

    /// Goes out of a room, or declines the invitation to it.
    pub async fn leave(&self, room: &str) -> Result<()> {
        self.post(&format!("/_matrix/client/v3/rooms/{}/leave", percent_encode(room)), &json!({})).await.map(drop)
    }

    /// The rooms that this user is invited to, each with whether the invitation marks it as direct.
    pub async fn invitations(&self) -> Result<Vec<(String, bool)>> {
        // Synapse answers the same first sync from its cache for two minutes, so no two are the same.
        let filter = json!({"presence": {"not_senders": [format!("@{:016x}:look.invalid", fastrand::u64(..))]}});
        let path = format!("/_matrix/client/v3/sync?filter={}", percent_encode(&filter.to_string()));
        let answer = self.call(Method::GET, &path, None).await?;
        let rooms = answer["rooms"]["invite"].as_object();
        let is_direct = |room: &Value| {
            let mut events = room["invite_state"]["events"].as_array().into_iter().flatten();
            events.any(|event| event["state_key"] == self.id.as_str() && event["content"]["is_direct"] == true)
        };
        Ok(rooms.into_iter().flatten().map(|(id, room)| (id.clone(), is_direct(room))).collect())
    }

    /// The content of `m.direct` in this account's data.
    pub async fn direct(&self) -> Result<Value> {
        self.call(Method::GET, &self.direct_path(), None).await
    }

    /// Replaces `m.direct`, as a client does that marks a room as direct.
    pub async fn set_direct(&self, content: &Value) -> Result<()> {
        self.call(Method::PUT, &self.direct_path(), Some(content)).await.map(drop)
    }

    /// The ids of the rooms that this user is in.
    pub async fn rooms(&self) -> Result<Vec<String>> {
        let answer = self.call(Method::GET, "/_matrix/client/v3/joined_rooms", None).await?;
        Ok(answer["joined_rooms"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect())
    }

    fn direct_path(&self) -> String {
        format!("/_matrix/client/v3/user/{}/account_data/m.direct", percent_encode(&self.id))
    }

    /// Changes how others see the account.
    pub async fn set_display_name(&self, name: &str) -> Result<()> {
        let path = format!("/_matrix/client/v3/profile/{}/displayname", percent_encode(&self.id));
        self.call(Method::PUT, &path, Some(&json!({"displayname": name}))).await.map(drop)
    }

    /// Says something in a room; gives back the id of the event.
    pub async fn say(&self, room: &str, content: &Value) -> Result<String> {
        self.post_event(room, "m.room.message", &new_txn_id(), content).await
    }

    /// Says something in a room, once, however often it is tried with this transaction id; gives back the id of the event.
    pub async fn say_once(&self, room: &str, txn_id: &str, content: &Value) -> Result<String> {
        self.post_event(room, "m.room.message", txn_id, content).await
    }

    /// Reacts to the event of this id, as with 👍.
    pub async fn react(&self, room: &str, event_id: &str, key: &str) -> Result<String> {
        let relation = json!({"rel_type": "m.annotation", "event_id": event_id, "key": key});
        self.post_event(room, "m.reaction", &new_txn_id(), &json!({"m.relates_to": relation})).await
    }

    /// Logs this device out: the homeserver forgets it.
    pub async fn log_out(&self) -> Result<()> {
        self.call(Method::POST, "/_matrix/client/v3/logout", Some(&json!({}))).await.map(drop)
    }

    /// Removes the content of the event of this id; gives back the id of the redaction.
    pub async fn redact(&self, room: &str, event_id: &str) -> Result<String> {
        let (room, event) = (percent_encode(room), percent_encode(event_id));
        let path = format!("/_matrix/client/v3/rooms/{room}/redact/{event}/{}", new_txn_id());
        let redacted = self.call(Method::PUT, &path, Some(&json!({}))).await?;
        Ok(redacted["event_id"].as_str().context("a redaction has an id")?.to_owned())
    }

    async fn post_event(&self, room: &str, kind: &str, txn_id: &str, content: &Value) -> Result<String> {
        let path = format!("/_matrix/client/v3/rooms/{}/send/{kind}/{txn_id}", percent_encode(room));
        let posted = self.call(Method::PUT, &path, Some(content)).await?;
        Ok(posted["event_id"].as_str().context("a posted event has an id")?.to_owned())
    }

    /// Gives the homeserver a file; gives back its address, as `mxc://…`.
    pub async fn upload(&self, name: &str, mimetype: &str, bytes: &[u8]) -> Result<String> {
        let url = format!("{}/_matrix/media/v3/upload?filename={}", self.url, percent_encode(name));
        let request =
            self.http.post(url).bearer_auth(&self.token).header("Content-Type", mimetype).body(bytes.to_owned());
        let answer: Value = request.send().await?.error_for_status()?.json().await?;
        Ok(answer["content_uri"].as_str().context("an uploaded file has an address")?.to_owned())
    }

    /// The file at an address.
    pub async fn download(&self, address: &str) -> Result<Vec<u8>> {
        let place = address.strip_prefix("mxc://").context("an address of a file")?;
        let url = format!("{}/_matrix/client/v1/media/download/{place}", self.url);
        Ok(self.http.get(url).bearer_auth(&self.token).send().await?.error_for_status()?.bytes().await?.to_vec())
    }

    /// All events of a room that this user sees, oldest first.
    pub async fn timeline(&self, room: &str) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        let mut from = String::new();
        loop {
            let path = format!("/_matrix/client/v3/rooms/{}/messages?dir=f&limit=500{from}", percent_encode(room));
            let page = self.call(Method::GET, &path, None).await?;
            events.extend(page["chunk"].as_array().into_iter().flatten().map(event));
            match page["end"].as_str() {
                Some(end) => from = format!("&from={}", percent_encode(end)),
                None => return Ok(events),
            }
        }
    }

    /// The messages of a room that this user sees, oldest first.
    pub async fn messages(&self, room: &str) -> Result<Vec<Event>> {
        let mut events = self.timeline(room).await?;
        events.retain(|event| event.kind == "m.room.message");
        Ok(events)
    }

    /// Writes a text in a room.
    pub async fn send(&self, room: &str, body: &str) -> Result<()> {
        self.say(room, &json!({"msgtype": "m.text", "body": body})).await.map(drop)
    }

    /// What is new in a room after the position `since` (of an earlier call; empty at first), and the next position.
    /// Waits up to ten seconds for something to happen, as a client does.
    pub async fn sync(&self, room: &str, since: &str) -> Result<(Vec<Event>, String)> {
        let from =
            if since.is_empty() { String::new() } else { format!("&since={}&timeout=10000", percent_encode(since)) };
        let answer =
            self.call(Method::GET, &format!("/_matrix/client/v3/sync?set_presence=offline{from}"), None).await?;
        let events = answer["rooms"]["join"][room]["timeline"]["events"].as_array();
        let next = answer["next_batch"].as_str().context("a sync answer names the next position")?;
        Ok((events.into_iter().flatten().map(event).collect(), next.to_owned()))
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.call(Method::POST, path, Some(body)).await
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let request = self.http.request(method.clone(), format!("{}{path}", self.url)).bearer_auth(&self.token);
        let request = body.into_iter().fold(request, |request, body| request.json(body));
        let answer: Response = request.send().await.with_context(|| format!("{method} {path}"))?;
        let status = answer.status();
        let body = answer.text().await?;
        if !status.is_success() {
            bail!("{method} {path} for {}: {status} {body}", self.id);
        }
        serde_json::from_str(&body).with_context(|| format!("{method} {path} gave no JSON"))
    }
}

impl std::fmt::Debug for User {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} on {}", self.id, self.device_id)
    }
}

fn event(value: &Value) -> Event {
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    Event {
        event_id: text("event_id"),
        sender: text("sender"),
        kind: text("type"),
        content: value["content"].clone(),
        sent_at_ms: value["origin_server_ts"].as_i64().unwrap_or_default(),
    }
}

fn new_txn_id() -> String {
    format!("{:016x}", fastrand::u64(..))
}
