//! The device with the account's keys: opened when the account is followed, and given all that the homeserver says about devices.

use std::{convert::Infallible, pin::pin, sync::atomic::Ordering};

use tokio::{sync::Notify, time::sleep};
use tracing::{debug, error, info, warn};

use super::{
    account::{ACCEPTED_WITHIN, Account, Place},
    trouble::{Halt, is_forgotten},
};
use crate::{
    backoff::Streak,
    crypto::{CryptoError, Device, Holding, KeysError, Opened},
    matrix::{Homeserver, Synced},
    message::UserId,
};

/// How long the device waits after a call that failed, or brought nothing new.
const PAUSE: std::time::Duration = std::time::Duration::from_secs(1);

const NOTHING_SENT: &str = "Nothing is sent to encrypted rooms until this is fixed";

impl Account {
    /// The account's device, if its backend encrypts. If its keys must not be used, the account is followed without. If Odoo does not want
    /// to have what is written, `place` is where the device was.
    pub(super) async fn device(&self, homeserver: &Homeserver, place: &mut Place) -> Result<Option<Opened>, Halt> {
        let backend = self.asking.backend;
        if !self.asking.encrypts {
            return Ok(None);
        }
        let devices = &self.context.devices;
        if let Some(Holding::Open(opened)) = devices.of(backend) {
            // The homeserver no longer knows the position: what was said about devices since then is not heard any more.
            if place.is_none() {
                opened.device.has_missed().await.map_err(|error| halted(&error))?;
            }
            return Ok(Some(opened));
        }
        if self.is_removed.load(Ordering::Relaxed) {
            homeserver.whoami().await?;
            self.is_removed.store(false, Ordering::Relaxed);
        }
        let (store, only_verified) = (&self.context.store, self.asking.only_verified);
        let reason = match Device::open(store, &self.keys, &self.following, homeserver.clone(), only_verified).await {
            Ok(device) => {
                let was_at = device.place().await.map_err(|error| halted(&error))?;
                if !self.asking.wants_events && place.is_none() {
                    *place = was_at;
                }
                // A message may be sent before the device has heard what is new, or the account was followed without the device meanwhile.
                device.has_missed().await.map_err(|error| halted(&error))?;
                info!(fingerprint = device.fingerprint(), "The account's device can encrypt");
                let opened = Opened::new(device, self.deadline.clone(), self.asking.config_version);
                devices.set(backend, Holding::Open(opened.clone()));
                return Ok(Some(opened));
            }
            Err(CryptoError::Homeserver(error)) => return Err(error.into()),
            Err(error @ (CryptoError::Keys(KeysError::Fenced | KeysError::Store(_)) | CryptoError::Stopped)) => {
                return Err(halted(&error));
            }
            Err(CryptoError::Removed { error, reason }) => {
                self.is_removed.store(true, Ordering::Relaxed);
                error!(reason, "{NOTHING_SENT}");
                return Err(error.into());
            }
            Err(error) => error.to_string(),
        };
        error!(reason, "{NOTHING_SENT}");
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
            // First, because what the calls have done without the device is not to be used.
            biased;
            () = opened.given_up() => {
                let reason = "the keys of the account's device are read again".to_owned();
                Err(Halt::Keys { reason, pause: Some(PAUSE) })
            }
            done = calls => Ok(done),
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
        let over = Notify::new();
        let forward = async {
            let mut hearing = pin!(self.keep_hearing(device, homeserver, me, since.to_owned(), &over));
            tokio::select! {
                done = forward => {
                    over.notify_one();
                    hearing.await.map_or(done, Err)
                }
                Some(halt) = &mut hearing => Err(halt),
            }
        };
        self.unless_given_up(device, forward).await?
    }

    /// Nothing can be passed on to Odoo: the device still hears about the devices of others, and the position stays.
    pub(super) async fn hear_only(
        &self,
        device: Option<&Opened>,
        homeserver: &Homeserver,
        place: &mut Place,
        streak: &mut Streak,
        halt: Halt,
    ) -> Result<Infallible, Halt> {
        let me = homeserver.whoami().await?.user_id;
        // While the homeserver is away, that is what is reported.
        if let Halt::Trouble { trouble, reason } = &halt {
            self.report(*trouble, reason).await;
        }
        let filter = homeserver.upload_device_filter(&me).await?;
        let mut since = match place {
            Some((account, since)) if *account == me => since.clone(),
            _ => {
                let now = homeserver.stream_now().await?;
                self.hear(device, &now).await?;
                now.next_batch
            }
        };
        let wait = self.longest_wait();
        let hearing = async {
            loop {
                let heard = match homeserver.sync(&me, &filter, &since, wait).await {
                    Ok(heard) => heard,
                    Err(error) => {
                        if is_forgotten(&error) {
                            *place = None;
                        }
                        return error.into();
                    }
                };
                streak.reset();
                self.note_changes(&heard);
                if let Err(halt) = self.hear(device, &heard).await {
                    return halt;
                }
                since = heard.next_batch;
                sleep(PAUSE).await;
            }
        };
        Err(self.unless_given_up(device, hearing).await?)
    }

    /// Ends when it is `over`, but never between two steps of the device: what it has heard in part it would not hear again.
    async fn keep_hearing(
        &self,
        device: Option<&Opened>,
        homeserver: &Homeserver,
        me: &UserId,
        mut since: String,
        over: &Notify,
    ) -> Option<Halt> {
        if device.is_none() {
            over.notified().await;
            return None;
        }
        let (mut filter, mut pause) = (None, ACCEPTED_WITHIN);
        loop {
            let heard = async {
                sleep(pause).await;
                let filter = match &mut filter {
                    Some(filter) => filter,
                    none => none.insert(homeserver.upload_device_filter(me).await?),
                };
                let wait = self.longest_wait();
                let heard = homeserver.sync(me, filter, &since, wait).await?;
                self.note_changes(&heard);
                Ok::<_, Halt>(heard)
            };
            let heard = tokio::select! {
                () = over.notified() => return None,
                heard = heard => heard,
            };
            match heard {
                Ok(heard) => {
                    if let Err(halt) = self.hear(device, &heard).await {
                        return Some(halt);
                    }
                    since = heard.next_batch;
                }
                Err(Halt::Homeserver(failure)) => {
                    debug!(%failure, "The device did not hear about the devices of others; trying again");
                }
                Err(halt) => return Some(halt),
            }
            pause = PAUSE;
        }
    }
}

fn halted(error: &CryptoError) -> Halt {
    Halt::Keys { reason: error.to_string(), pause: None }
}
