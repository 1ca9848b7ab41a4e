//! Sends the crypto machine's requests and gives it the answers.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use matrix_sdk_crypto::{
    CollectStrategy, OlmError,
    types::requests::{AnyIncomingResponse, AnyOutgoingRequest, ToDeviceRequest},
};
use ruma::{
    OneTimeKeyAlgorithm, OwnedDeviceId, OwnedUserId, TransactionId,
    api::{
        IncomingResponse,
        client::{
            keys::{
                claim_keys::v3::Response as Claimed, get_keys::v3::Response as Queried,
                upload_keys::v3::Response as Uploaded, upload_signatures::v3::Response as Signed,
            },
            to_device::send_event_to_device::v3::Response as SentToDevice,
        },
    },
};
use serde::Serialize;
use serde_json::{Value, json};

use super::{CryptoError, Device};

/// A normal exchange takes far fewer rounds; this bounds what a homeserver can cause with its answers.
const MOST_ROUNDS: usize = 20;

/// A device may have no keys left to begin a session with, or be gone. Such devices are asked for again with the next message, otherwise
/// not for so long.
const ASKED_AGAIN: Duration = Duration::from_secs(600);

type DeviceKeys = BTreeMap<OwnedUserId, BTreeMap<OwnedDeviceId, OneTimeKeyAlgorithm>>;

/// The devices with which new sessions were to be begun last, because the former ones were damaged. The machine asks for them until there
/// are any.
pub(super) struct LastClaim {
    devices: DeviceKeys,
    at: Instant,
}

/// Whether another call may be made.
pub(super) type MayCall<'a> = &'a (dyn Fn() -> bool + Sync);

impl Device {
    /// Sends requests until there are no more: keys that are running out, queries for the devices of others, answers to them.
    pub(super) async fn exchange(&self, may_call: MayCall<'_>) -> Result<(), CryptoError> {
        self.exchange_in(&mut *self.exchange.lock().await, may_call).await
    }

    /// The caller has the turn.
    pub(super) async fn exchange_in(
        &self,
        claimed: &mut Option<LastClaim>,
        may_call: MayCall<'_>,
    ) -> Result<(), CryptoError> {
        for _ in 0..MOST_ROUNDS {
            let mut requests = self.machine.outgoing_requests().await?;
            requests.retain(|request| match request.request() {
                AnyOutgoingRequest::KeysClaim(claim) => !was_claimed(claimed.as_ref(), &claim.one_time_keys),
                _ => true,
            });
            if requests.is_empty() {
                return Ok(());
            }
            for request in requests {
                self.send(request.request_id(), request.request(), may_call).await?;
                if let AnyOutgoingRequest::KeysClaim(claim) = request.request() {
                    *claimed = Some(LastClaim { devices: claim.one_time_keys.clone(), at: Instant::now() });
                    self.greet(&claim.one_time_keys, may_call).await?;
                }
            }
        }
        Err(CryptoError::Unusable("the homeserver's answers about keys lead to ever more questions".to_owned()))
    }

    /// Begins sessions with those devices of `users` that have none with ours yet. Asks first about everybody who is to be asked about: for
    /// a user without known devices the machine would wait five seconds for the answer, and nobody else can ask meanwhile.
    pub(super) async fn begin_sessions<'a>(
        &self,
        users: impl Iterator<Item = &'a ruma::UserId>,
        may_call: MayCall<'_>,
    ) -> Result<(), CryptoError> {
        let mut claimed = self.exchange.lock().await;
        self.exchange_in(&mut claimed, may_call).await.map_err(CryptoError::of_account)?;
        match self.machine.get_missing_sessions(users).await? {
            Some((id, request)) => self.send(&id, &request.into(), may_call).await,
            None => Ok(()),
        }
    }

    /// Lets devices know that new sessions with them have begun. The crypto library (0.18) makes such messages and never gives them out.
    async fn greet(&self, devices: &DeviceKeys, may_call: MayCall<'_>) -> Result<(), CryptoError> {
        let names: Vec<_> = devices.iter().flat_map(|(user, ids)| ids.keys().map(move |id| (user, id))).collect();
        for (user, id) in names {
            let Some(device) = self.machine.get_device(user, id, None).await? else { continue };
            let content = match device.encrypt_event_raw("m.dummy", &json!({}), CollectStrategy::AllDevices).await {
                Ok(content) => content.cast_unchecked(),
                // There is none.
                Err(OlmError::MissingSession) => continue,
                Err(error) => return Err(error.into()),
            };
            let request = ToDeviceRequest::new(user, id.clone(), "m.room.encrypted", content);
            self.send(&request.txn_id.clone(), &AnyOutgoingRequest::ToDeviceRequest(request), may_call).await?;
        }
        Ok(())
    }

    pub(super) async fn send(
        &self,
        id: &TransactionId,
        request: &AnyOutgoingRequest,
        may_call: MayCall<'_>,
    ) -> Result<(), CryptoError> {
        if !may_call() {
            return Err(CryptoError::Stopped);
        }
        let to = &self.homeserver;
        match request {
            AnyOutgoingRequest::KeysUpload(keys) => {
                let mut body = json!({ "one_time_keys": keys.one_time_keys, "fallback_keys": keys.fallback_keys });
                if let Some(device) = &keys.device_keys {
                    body["device_keys"] = json(device)?;
                }
                self.heard::<Uploaded>(id, &to.upload_keys(&body).await?).await
            }
            AnyOutgoingRequest::KeysQuery(query) => {
                let answer = to.query_keys(query.device_keys.keys().map(|user| user.as_str())).await?;
                self.heard::<Queried>(id, &answer).await
            }
            AnyOutgoingRequest::KeysClaim(claim) => {
                let answer = to.claim_keys(&json(&claim.one_time_keys)?).await?;
                self.heard::<Claimed>(id, &answer).await
            }
            AnyOutgoingRequest::ToDeviceRequest(request) => self.send_to_device(id, request).await,
            AnyOutgoingRequest::SignatureUpload(signatures) => {
                let answer = to.upload_signatures(&json(&signatures.signed_keys)?).await?;
                self.heard::<Signed>(id, &answer).await
            }
            // The worker does not verify anybody.
            AnyOutgoingRequest::RoomMessage(_) => Err(CryptoError::Unusable("a verification was begun".to_owned())),
        }
    }

    /// Sends a message to devices. It may be repeated, because its transaction id is that of the request.
    pub(super) async fn send_to_device(
        &self,
        id: &TransactionId,
        request: &ToDeviceRequest,
    ) -> Result<(), CryptoError> {
        let (kind, messages) = (request.event_type.to_string(), json(&request.messages)?);
        let answer = self.homeserver.send_to_device(&kind, request.txn_id.as_str(), &messages).await?;
        self.heard::<SentToDevice>(id, &answer).await
    }

    /// Passes an answer to the machine.
    async fn heard<R>(&self, id: &TransactionId, answer: &Value) -> Result<(), CryptoError>
    where
        R: IncomingResponse,
        for<'a> &'a R: Into<AnyIncomingResponse<'a>>,
    {
        let answer = ::http::Response::new(answer.to_string().into_bytes());
        let answer = R::try_from_http_response(answer).map_err(|_| {
            CryptoError::Unusable("the homeserver's answer about keys is not as Matrix defines it".to_owned())
        })?;
        Ok(self.machine.mark_request_as_sent(id, &answer).await?)
    }
}

fn was_claimed(last: Option<&LastClaim>, devices: &DeviceKeys) -> bool {
    last.is_some_and(|last| last.devices == *devices && last.at.elapsed() < ASKED_AGAIN)
}

pub(super) fn json(value: &impl Serialize) -> Result<Value, CryptoError> {
    serde_json::to_value(value).map_err(|error| CryptoError::unusable("a request about keys", &error))
}
