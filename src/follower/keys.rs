//! The device with the account's keys: opened when the account is followed, and given all that the homeserver says about devices.

use tokio::time::sleep;
use tracing::{debug, error, info, warn};

use super::account::{ACCEPTED_WITHIN, Account, Halt};
use crate::{
    crypto::{CryptoError, Device, Holding, KeysError, Opened},
    matrix::{Homeserver, Synced},
    message::UserId,
    store::Trouble,
};

/// How long the device waits after a call that failed, or brought nothing new.
const PAUSE: std::time::Duration = std::time::Duration::from_secs(1);

impl Account {
    /// The account's device, if its backend encrypts. If its keys must not be used, the account is followed without. `since`: where the
    /// account goes on in the homeserver's stream.
    pub(super) async fn device(&self, homeserver: &Homeserver, since: Option<&str>) -> Result<Option<Opened>, Halt> {
        let backend = self.asking.backend;
        if !self.asking.encrypts {
            return Ok(None);
        }
        let devices = &self.context.devices;
        if let Some(Holding::Open(opened)) = devices.of(backend) {
            return Ok(Some(opened));
        }
        let (store, only_verified) = (&self.context.store, self.asking.only_verified);
        let reason = match Device::open(store, &self.keys, &self.following, homeserver.clone(), only_verified).await {
            Ok(device) => {
                // The account may have been followed without the device meanwhile.
                if device.since().await.map_err(|error| halted(&error))?.as_deref() != since {
                    device.has_missed().await.map_err(|error| halted(&error))?;
                }
                info!(fingerprint = device.fingerprint(), "The account's device can encrypt");
                let opened = Opened::new(device, self.deadline.clone());
                devices.set(backend, Holding::Open(opened.clone()));
                return Ok(Some(opened));
            }
            Err(CryptoError::Homeserver(error)) => return Err(error.into()),
            Err(error @ (CryptoError::Keys(KeysError::Fenced | KeysError::Store(_)) | CryptoError::Stopped)) => {
                return Err(halted(&error));
            }
            Err(error) => error.to_string(),
        };
        error!(reason, "Nothing is sent to encrypted rooms until this is fixed");
        devices.set(backend, Holding::Refused(reason));
        Ok(None)
    }

    /// Tells the device what the homeserver has for it.
    pub(super) async fn hear(&self, device: Option<&Opened>, synced: &Synced) -> Result<(), Halt> {
        let Some(opened) = device else { return Ok(()) };
        match opened.device.hear(&synced.device, &synced.next_batch).await {
            Ok(()) => Ok(()),
            Err(error) if error.ends_the_device() => {
                self.context.devices.give_up(self.asking.backend, &opened.device);
                Err(halted(&error))
            }
            // It has the news. What it wanted to ask or to answer is tried again with the next ones, and before the next message.
            Err(error) => {
                warn!(%error, "The device could not ask about the keys of others, or publish its own; trying again");
                Ok(())
            }
        }
    }

    /// Makes `calls` unless a lane gives the device up meanwhile.
    pub(super) async fn unless_given_up<T>(
        &self,
        device: Option<&Opened>,
        calls: impl Future<Output = T>,
    ) -> Result<T, Halt> {
        let Some(opened) = device else { return Ok(calls.await) };
        tokio::select! {
            done = calls => Ok(done),
            () = opened.given_up() => {
                let reason = "the keys of the account's device are read again".to_owned();
                Err(Halt::Trouble { trouble: Trouble::Stopped, reason, pause: Some(PAUSE) })
            }
        }
    }

    /// While Odoo takes its time to accept what was read up to `since`, the device still hears about the devices of others.
    pub(super) async fn hear_meanwhile<T>(
        &self,
        device: Option<&Opened>,
        homeserver: &Homeserver,
        me: &UserId,
        since: &str,
        forward: impl Future<Output = Result<T, Halt>>,
    ) -> Result<T, Halt> {
        let forward = async {
            tokio::select! {
                done = forward => done,
                halt = self.keep_hearing(device, homeserver, me, since.to_owned()) => Err(halt),
            }
        };
        self.unless_given_up(device, forward).await?
    }

    async fn keep_hearing(
        &self,
        device: Option<&Opened>,
        homeserver: &Homeserver,
        me: &UserId,
        mut since: String,
    ) -> Halt {
        if device.is_none() {
            std::future::pending::<()>().await;
        }
        sleep(ACCEPTED_WITHIN).await;
        let mut filter = None;
        loop {
            let heard = async {
                let filter = match &mut filter {
                    Some(filter) => filter,
                    none => none.insert(homeserver.upload_device_filter(me).await?),
                };
                let wait = self.longest_wait();
                let heard = homeserver.sync(me, filter, &since, wait).await?;
                self.note_changes(&heard);
                Ok::<_, Halt>(heard)
            };
            match heard.await {
                Ok(heard) => {
                    if let Err(halt) = self.hear(device, &heard).await {
                        return halt;
                    }
                    since = heard.next_batch;
                }
                Err(Halt::Homeserver(failure)) => {
                    debug!(%failure, "The device did not hear about the devices of others; trying again");
                }
                Err(halt) => return halt,
            }
            sleep(PAUSE).await;
        }
    }
}

fn halted(error: &CryptoError) -> Halt {
    Halt::Trouble { trouble: Trouble::Stopped, reason: error.to_string(), pause: None }
}
