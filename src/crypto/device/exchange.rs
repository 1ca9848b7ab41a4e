//! Sends the crypto machine's requests and gives it the answers.

use matrix_sdk_crypto::types::requests::{AnyIncomingResponse, AnyOutgoingRequest, ToDeviceRequest};
use ruma::{
    TransactionId,
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

/// Whether another call may be made.
pub(super) type MayCall<'a> = &'a (dyn Fn() -> bool + Sync);

impl Device {
    /// Sends requests until there are no more: keys that are running out, queries for the devices of others, answers to them.
    pub(super) async fn exchange(&self, may_call: MayCall<'_>) -> Result<(), CryptoError> {
        let _turn = self.exchange.lock().await;
        for _ in 0..MOST_ROUNDS {
            let requests = self.machine.outgoing_requests().await?;
            if requests.is_empty() {
                return Ok(());
            }
            for request in requests {
                self.send(request.request_id(), request.request(), may_call).await?;
            }
        }
        Err(CryptoError::Unusable("the homeserver's answers about keys lead to ever more questions".to_owned()))
    }

    /// Begins sessions with those devices of `users` that have none with ours yet.
    pub(super) async fn begin_sessions<'a>(
        &self,
        users: impl Iterator<Item = &'a ruma::UserId>,
        may_call: MayCall<'_>,
    ) -> Result<(), CryptoError> {
        let _turn = self.exchange.lock().await;
        match self.machine.get_missing_sessions(users).await? {
            Some((id, request)) => self.send(&id, &request.into(), may_call).await,
            None => Ok(()),
        }
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

pub(super) fn json(value: &impl Serialize) -> Result<Value, CryptoError> {
    serde_json::to_value(value).map_err(|error| CryptoError::unusable("a request about keys", &error))
}
