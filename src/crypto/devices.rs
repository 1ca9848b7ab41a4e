//! The devices that this process has at present: of the accounts that it follows.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::Device;
use crate::{leases::Deadline, matrix::SendError, message::BackendId};

/// By account. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Devices(Arc<Mutex<HashMap<BackendId, Holding>>>);

/// What this process has of an account that it follows.
#[derive(Clone)]
pub(crate) enum Holding {
    Open(Opened),
    /// The keys must not be used, and what a person has to do about it.
    Refused(String),
    /// The homeserver has not let us open the device yet.
    Away(SendError),
}

/// A device whose keys this process may use until the deadline.
#[derive(Clone)]
pub(crate) struct Opened {
    pub(crate) device: Arc<Device>,
    pub(crate) deadline: Deadline,
    /// Of the configuration with which it was opened: with another one, the token may be of another device.
    pub(crate) config_version: i32,
    given_up: Arc<Notify>,
}

impl Opened {
    pub(crate) fn new(device: Device, deadline: Deadline, config_version: i32) -> Self {
        Self { device: Arc::new(device), deadline, config_version, given_up: Arc::default() }
    }

    /// Waits until somebody gives the device up.
    pub(crate) async fn given_up(&self) {
        self.given_up.notified().await;
    }
}

impl Devices {
    /// `None`: another worker has the account, or it is not opened yet.
    pub(crate) fn of(&self, backend: BackendId) -> Option<Holding> {
        self.lock().get(&backend).cloned()
    }

    pub(crate) fn set(&self, backend: BackendId, holding: Holding) {
        self.lock().insert(backend, holding);
    }

    /// The homeserver does not answer. A device that is open stays open, unless the homeserver does not have it any more.
    pub(crate) fn away(&self, backend: BackendId, error: &SendError) {
        let mut devices = self.lock();
        if error.is_unknown_device() || !matches!(devices.get(&backend), Some(Holding::Open(_))) {
            devices.insert(backend, Holding::Away(error.clone()));
        }
    }

    /// Why there is no device, and what a person has to do about it.
    pub(crate) fn explain(&self, backend: BackendId, reason: String) {
        self.lock().entry(backend).or_insert(Holding::Refused(reason));
    }

    pub(crate) fn remove(&self, backend: BackendId) {
        self.lock().remove(&backend);
    }

    /// The device in memory may differ from what is stored: it is opened anew.
    pub(crate) fn give_up(&self, backend: BackendId, device: &Arc<Device>) {
        let mut devices = self.lock();
        if let Some(Holding::Open(opened)) = devices.get(&backend)
            && Arc::ptr_eq(&opened.device, device)
        {
            opened.given_up.notify_one();
            devices.remove(&backend);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BackendId, Holding>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
