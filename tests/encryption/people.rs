//! The people in the rooms, each with their own client, and the bot whose messages they read.

mod bot;

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use matrix_sdk_crypto::{
    DecryptionSettings, EncryptionSettings, EncryptionSyncChanges, OlmMachine, TrustRequirement,
    store::types::CrossSigningKeyExport,
    types::requests::{AnyIncomingResponse, AnyOutgoingRequest, ToDeviceRequest},
};
use odoo_matrix_worker::{
    matrix::{Homeserver, SigningKeys},
    message::{RoomId, TxnId, UserId},
};
use ruma::{
    OwnedDeviceId, OwnedUserId,
    api::{
        IncomingResponse,
        client::{keys, to_device::send_event_to_device::v3::Response as SentToDevice},
    },
    serde::Raw,
};
use serde_json::{Value, json};
use stack::synapse::{Event, Synapse, User};

pub(crate) use self::bot::Bot;

/// Patient, because tests keep the homeserver busy.
const TIMEOUT: Duration = Duration::from_secs(120);

/// How clients have behaved for years: they show everything.
pub(crate) const LENIENT: TrustRequirement = TrustRequirement::Untrusted;

/// How newer clients behave: they show no messages of a device that its account has not signed.
pub(crate) const STRICT: TrustRequirement = TrustRequirement::CrossSigned;

pub(crate) fn homeserver(synapse: &Synapse, user: &User) -> Homeserver {
    homeserver_at(synapse.url(), user)
}

pub(crate) fn homeserver_at(url: &str, user: &User) -> Homeserver {
    Homeserver::new(url, user.token().into(), true, TIMEOUT).unwrap()
}

pub(crate) async fn send_encrypted(to: &Homeserver, room: &str, content: String) {
    let txn_id = TxnId::new(format!("{:016x}", fastrand::u64(..)));
    to.send_encrypted(&RoomId::parse(room).unwrap(), &txn_id, content).await.unwrap();
}

/// A client's position in the homeserver's stream.
struct Place {
    homeserver: Homeserver,
    me: UserId,
    filter: String,
    since: String,
}

impl Place {
    async fn new(homeserver: Homeserver, user: &User) -> Self {
        let me = UserId::parse(user.id()).unwrap();
        let filter = homeserver.upload_filter(&me).await.unwrap();
        let since = homeserver.stream_now().await.unwrap().next_batch;
        Self { homeserver, me, filter, since }
    }

    async fn next(&mut self) -> odoo_matrix_worker::matrix::Synced {
        let synced = self.homeserver.sync(&self.me, &self.filter, &self.since, Duration::ZERO).await.unwrap();
        self.since.clone_from(&synced.next_batch);
        synced
    }
}

/// A person's client, which is independent of the worker.
pub(crate) struct Reader {
    pub(crate) user: User,
    machine: OlmMachine,
    place: Place,
}

impl Reader {
    pub(crate) async fn new(synapse: &Synapse, user: &User) -> Self {
        let (id, device) = (OwnedUserId::try_from(user.id()).unwrap(), OwnedDeviceId::from(user.device_id()));
        let place = Place::new(homeserver(synapse, user), user).await;
        let reader = Self { user: user.clone(), machine: OlmMachine::new(&id, &device).await, place };
        reader.answer().await;
        reader
    }

    /// Creates signing keys for the account, as a person does in a client, which then signs itself.
    pub(crate) async fn make_signing_keys(&self) {
        self.sign_with_new_keys(None).await;
    }

    /// Replaces the signing keys of the account, for which its password is needed.
    pub(crate) async fn replace_signing_keys(&self, password: &str) {
        self.sign_with_new_keys(Some(password)).await;
    }

    async fn sign_with_new_keys(&self, password: Option<&str>) {
        let requests = self.machine.bootstrap_cross_signing(password.is_some()).await.unwrap();
        let keys = requests.upload_signing_keys_req;
        let body = json!({
            "master_key": keys.master_key, "self_signing_key": keys.self_signing_key, "user_signing_key": keys.user_signing_key,
        });
        let password = password.map(Into::into);
        let user = password.as_ref().map(|password| (self.user.id(), password));
        let answer = self.place.homeserver.upload_signing_keys(&body, user).await.unwrap();
        assert!(matches!(answer, SigningKeys::Taken), "{answer:?}");
        let signatures = serde_json::to_value(&requests.upload_signatures_req.signed_keys).unwrap();
        self.place.homeserver.upload_signatures(&signatures).await.unwrap();
    }

    /// Hears what came for the device, and answers, until there is no more.
    pub(crate) async fn keep_up(&mut self) {
        let settings = DecryptionSettings { sender_device_trust_requirement: LENIENT };
        self.machine.update_tracked_users([self.machine.user_id()]).await.unwrap();
        while self.hear(&settings).await | self.answer().await {}
    }

    pub(crate) async fn signing_keys(&self) -> CrossSigningKeyExport {
        self.machine.export_cross_signing_keys().await.unwrap().unwrap()
    }

    /// What this client can read in a room: the text of each message event, or why it cannot be read.
    pub(crate) async fn read(&mut self, room: &str, trust: TrustRequirement) -> Vec<Result<String, String>> {
        self.read_after(room, 0, trust).await
    }

    /// The same without the first message events, which were read before.
    pub(crate) async fn read_after(
        &mut self,
        room: &str,
        known: usize,
        trust: TrustRequirement,
    ) -> Vec<Result<String, String>> {
        let text = |content: Value| content["body"].as_str().unwrap().to_owned();
        self.contents_after(room, known, trust).await.into_iter().map(|content| content.map(text)).collect()
    }

    /// The content of each message event, or why it cannot be read.
    pub(crate) async fn contents(&mut self, room: &str, trust: TrustRequirement) -> Vec<Result<Value, String>> {
        self.contents_after(room, 0, trust).await
    }

    async fn contents_after(
        &mut self,
        room: &str,
        known: usize,
        trust: TrustRequirement,
    ) -> Vec<Result<Value, String>> {
        let settings = DecryptionSettings { sender_device_trust_requirement: trust };
        // The homeserver returns a hundred messages for the device at a time.
        while self.hear(&settings).await {}
        let members = self.place.homeserver.members(&RoomId::parse(room).unwrap()).await.unwrap_or_default();
        let members: Vec<_> = members.iter().filter_map(|id| OwnedUserId::try_from(id.as_str()).ok()).collect();
        self.machine.update_tracked_users(members.iter().map(AsRef::as_ref)).await.unwrap();
        self.answer().await;
        let mut texts = Vec::new();
        let is_message = |event: &Event| ["m.room.message", "m.room.encrypted"].contains(&event.kind.as_str());
        for event in self.user.timeline(room).await.unwrap().into_iter().filter(is_message).skip(known) {
            match event.kind.as_str() {
                "m.room.message" => texts.push(Err(format!("in clear: {}", event.body()))),
                "m.room.encrypted" => {
                    let raw = json!({
                        "type": event.kind, "event_id": event.event_id, "sender": event.sender, "origin_server_ts": 1,
                        "content": event.content,
                    });
                    let raw = Raw::new(&raw).unwrap().cast_unchecked();
                    let room = ruma::OwnedRoomId::try_from(room).unwrap();
                    let read = self.machine.decrypt_room_event(&raw, &room, &settings).await;
                    texts.push(read.map_err(|error| error.to_string()).map(|read| {
                        let event: Value = serde_json::from_str(read.event.json().get()).unwrap();
                        event["content"].clone()
                    }));
                }
                _ => {}
            }
        }
        texts
    }

    /// Processes what the homeserver has for this device; false if there was nothing.
    async fn hear(&mut self, settings: &DecryptionSettings) -> bool {
        let synced = self.place.next().await;
        let news = synced.device;
        let lists = serde_json::from_value(or_empty(news.device_lists)).unwrap();
        let counts: BTreeMap<_, _> = serde_json::from_value(or_empty(news.one_time_keys)).unwrap();
        let changes = EncryptionSyncChanges {
            to_device_events: serde_json::from_value::<Option<_>>(news.events.clone()).unwrap().unwrap_or_default(),
            changed_devices: &lists,
            one_time_keys_counts: &counts,
            unused_fallback_keys: None,
            next_batch_token: Some(synced.next_batch),
        };
        self.machine.receive_sync_changes(changes, settings).await.unwrap();
        news.events.as_array().is_some_and(|events| !events.is_empty())
    }

    /// Sends an encrypted event before its key. Returns what gives the key to everybody in the room.
    pub(crate) async fn say(&mut self, room: &str, content: &Value) -> Vec<Arc<ToDeviceRequest>> {
        let (requests, encrypted) = self.encrypt(room, content).await;
        send_encrypted(&self.place.homeserver, room, encrypted).await;
        requests
    }

    /// Encrypts an event. Returns what gives the key to everybody in the room, and the content of the event.
    pub(crate) async fn encrypt(&mut self, room: &str, content: &Value) -> (Vec<Arc<ToDeviceRequest>>, String) {
        let to = self.place.homeserver.clone();
        let members = to.members(&RoomId::parse(room).unwrap()).await.unwrap();
        let members: Vec<_> = members.iter().map(|id| OwnedUserId::try_from(id.as_str()).unwrap()).collect();
        let members = || members.iter().map(AsRef::as_ref);
        self.machine.update_tracked_users(members()).await.unwrap();
        self.answer().await;
        if let Some((id, claim)) = self.machine.get_missing_sessions(members()).await.unwrap() {
            let body = serde_json::to_value(&claim.one_time_keys).unwrap();
            self.heard::<keys::claim_keys::v3::Response>(&id, &to.claim_keys(&body).await.unwrap()).await;
        }
        let id = ruma::OwnedRoomId::try_from(room).unwrap();
        let requests = self.machine.share_room_key(&id, members(), EncryptionSettings::default()).await.unwrap();
        for request in &requests {
            self.machine.mark_request_as_sent(&request.txn_id, &SentToDevice::new()).await.unwrap();
        }
        let raw = Raw::new(content).unwrap().cast_unchecked();
        let encrypted = self.machine.encrypt_room_event_raw(&id, "m.room.message", &raw).await.unwrap();
        (requests, encrypted.content.json().get().to_owned())
    }

    /// Sends the keys of what was said.
    pub(crate) async fn give_keys(&self, requests: &[Arc<ToDeviceRequest>]) {
        self.give_keys_except(requests, "").await;
    }

    /// Leaves out the devices with this ID.
    pub(crate) async fn give_keys_except(&self, requests: &[Arc<ToDeviceRequest>], device: &str) {
        for request in requests {
            let mut messages = serde_json::to_value(&request.messages).unwrap();
            for devices in messages.as_object_mut().unwrap().values_mut() {
                devices.as_object_mut().unwrap().remove(device);
            }
            let to = &self.place.homeserver;
            to.send_to_device(&request.event_type.to_string(), request.txn_id.as_str(), &messages).await.unwrap();
        }
    }

    /// Tells everybody who would get keys that there are none for them.
    pub(crate) async fn withhold(&self, requests: &[Arc<ToDeviceRequest>], code: &str) {
        let to = &self.place.homeserver;
        let rooms = self.user.rooms().await.unwrap();
        let session = self.user.timeline(&rooms[0]).await.unwrap();
        let session = session.iter().rev().find(|event| event.kind == "m.room.encrypted").unwrap();
        let content = json!({
            "algorithm": "m.megolm.v1.aes-sha2", "code": code, "room_id": rooms[0],
            "sender_key": self.machine.identity_keys().curve25519.to_base64(), "session_id": session.content["session_id"],
        });
        for request in requests {
            let users = request.messages.keys().map(|user| (user.to_string(), json!({ "*": content })));
            let messages = Value::Object(users.collect());
            to.send_to_device("m.room_key.withheld", request.txn_id.as_str(), &messages).await.unwrap();
        }
    }

    /// Sends what the machine wants to send; false if there was nothing.
    async fn answer(&self) -> bool {
        let to = &self.place.homeserver;
        let requests = self.machine.outgoing_requests().await.unwrap();
        for request in &requests {
            let id = request.request_id();
            match request.request() {
                AnyOutgoingRequest::KeysUpload(keys) => {
                    let mut body = json!({ "one_time_keys": keys.one_time_keys, "fallback_keys": keys.fallback_keys });
                    if let Some(device) = &keys.device_keys {
                        body["device_keys"] = serde_json::to_value(device).unwrap();
                    }
                    self.heard::<keys::upload_keys::v3::Response>(id, &to.upload_keys(&body).await.unwrap()).await;
                }
                AnyOutgoingRequest::KeysQuery(query) => {
                    let answer = to.query_keys(query.device_keys.keys().map(|user| user.as_str())).await.unwrap();
                    self.heard::<keys::get_keys::v3::Response>(id, &answer).await;
                }
                AnyOutgoingRequest::KeysClaim(claim) => {
                    let body = serde_json::to_value(&claim.one_time_keys).unwrap();
                    self.heard::<keys::claim_keys::v3::Response>(id, &to.claim_keys(&body).await.unwrap()).await;
                }
                AnyOutgoingRequest::ToDeviceRequest(request) => {
                    let (kind, messages) = (request.event_type.to_string(), serde_json::to_value(&request.messages));
                    to.send_to_device(&kind, request.txn_id.as_str(), &messages.unwrap()).await.unwrap();
                    self.machine.mark_request_as_sent(id, &SentToDevice::new()).await.unwrap();
                }
                other => panic!("a reader does not send {other:?}"),
            }
        }
        !requests.is_empty()
    }

    async fn heard<R: IncomingResponse>(&self, id: &ruma::TransactionId, answer: &Value)
    where
        for<'a> &'a R: Into<AnyIncomingResponse<'a>>,
    {
        let answer = http::Response::new(answer.to_string().into_bytes());
        let Ok(answer) = R::try_from_http_response(answer) else { panic!("an answer about keys") };
        self.machine.mark_request_as_sent(id, &answer).await.unwrap();
    }
}

fn or_empty(value: Value) -> Value {
    if value.is_null() { json!({}) } else { value }
}

/// No key stream is used for two texts: each event of a room has its own position in its session. Returns the number of sessions.
pub(crate) async fn assert_no_index_twice(user: &User, room: &str) -> usize {
    let mut seen = HashSet::new();
    let mut sessions = HashSet::new();
    for event in user.timeline(room).await.unwrap().iter().filter(|event| event.kind == "m.room.encrypted") {
        let session = event.content["session_id"].as_str().unwrap().to_owned();
        let ciphertext = event.content["ciphertext"].as_str().unwrap();
        let message = matrix_sdk_crypto::vodozemac::megolm::MegolmMessage::from_base64(ciphertext).unwrap();
        assert!(
            seen.insert((session.clone(), message.message_index())),
            "an index of {session} was used twice: {room}"
        );
        sessions.insert(session);
    }
    sessions.len()
}
