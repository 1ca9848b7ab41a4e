//! Who can read what is written in a room: which devices have its present key.

use std::collections::{BTreeMap, BTreeSet};

use matrix_sdk_crypto::{UserIdentity, types::requests::ToDeviceRequest};
use ruma::{OwnedDeviceId, OwnedUserId, to_device::DeviceIdOrAllDevices};

use super::{CryptoError, Device, EncryptedRoom};

/// At most this many people are named.
const MOST_NAMED: usize = 5;

type Devices = BTreeSet<(OwnedUserId, OwnedDeviceId)>;

/// How many devices of how many, by user.
type Counts = BTreeMap<String, (usize, usize)>;

/// The devices that have the key of a room, and the others.
#[derive(Debug, Default)]
pub(super) struct Readers {
    /// The key that they have.
    session: String,
    have: Devices,
    /// Those that were given a key since the last message.
    given: Devices,
    /// The state of the room for which `missing` was determined.
    read: Option<u64>,
    missing: Option<NoKey>,
    unverified: Option<Unverified>,
    /// Unverified devices that a delivery has named, and those that the next one has to name.
    named: Devices,
    unnamed: Devices,
}

/// Devices that cannot read a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoKey {
    devices: Counts,
    /// Nobody can read it.
    pub is_nobody: bool,
}

/// Who can read a message and may not be meant to. Whoever controls the homeserver can add a device to an account, or give it other signing
/// keys; somebody who knows the account's password can do the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unverified {
    /// Devices that their owner, who verifies devices, has not verified.
    devices: Counts,
    /// People whose signing keys are not those that the device has seen first.
    changed: Vec<OwnedUserId>,
}

impl std::fmt::Display for NoKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&words(&self.devices))
    }
}

impl std::fmt::Display for Unverified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let changed = self.changed.iter().map(|user| format!("the signing keys of {user} have changed"));
        let devices = (!self.devices.is_empty())
            .then(|| format!("readable on devices that are not verified: {}", words(&self.devices)));
        f.write_str(&devices.into_iter().chain(changed).collect::<Vec<_>>().join("; "))
    }
}

fn words(devices: &Counts) -> String {
    let people = devices.iter().take(MOST_NAMED);
    let words = people.map(|(user, (some, all))| match (some, all) {
        (_, 0) => format!("{user} (no device with keys)"),
        (some, all) => format!("{some} of {all} devices of {user}"),
    });
    let mut words: Vec<_> = words.collect();
    if devices.len() > MOST_NAMED {
        words.push(format!("devices of {} more", devices.len() - MOST_NAMED));
    }
    words.join(", ")
}

impl Readers {
    /// A request was sent, which may have given the key to devices.
    pub(super) fn sent(&mut self, request: &ToDeviceRequest) {
        // Others only tell a device that it does not get the key.
        if request.event_type.to_string() == "m.room.encrypted" {
            for (user, messages) in &request.messages {
                for device in messages.keys() {
                    if let DeviceIdOrAllDevices::DeviceId(device) = device {
                        self.given.insert((user.clone(), device.clone()));
                    }
                }
            }
        }
    }
}

impl Device {
    /// Who of the room cannot read what was just encrypted with the key `session`, and who can without being verified.
    pub(super) async fn readers(
        &self,
        readers: &mut Readers,
        room: &EncryptedRoom,
        session: &str,
    ) -> Result<(Option<NoKey>, Option<Unverified>), CryptoError> {
        let given = std::mem::take(&mut readers.given);
        if readers.session == session && given.is_empty() && readers.read == Some(room.read) {
            return Ok((readers.missing.clone(), readers.unverified.clone()));
        }
        if readers.session != session {
            readers.session = session.to_owned();
            readers.have.clear();
        }
        readers.have.extend(given);
        readers.unnamed.clear();
        let (mut without, mut unverified, mut can_read, mut others) = (Counts::new(), Counts::new(), 0, 0);
        let me = (self.machine.user_id().to_owned(), self.machine.device_id().to_owned());
        let mut changed = Vec::new();
        for user in &room.members {
            let identity = self.machine.get_identity(user, None).await?;
            let verifies = identity.is_some();
            if identity.and_then(UserIdentity::other).is_some_and(|other| other.identity_needs_user_approval()) {
                changed.push(user.clone());
            }
            let (mut count, mut have, mut strange) = (0, 0, 0);
            for device in self.machine.get_user_devices(user, None).await?.devices() {
                let name = (user.clone(), device.device_id().to_owned());
                if name == me {
                    continue;
                }
                count += 1;
                if readers.have.contains(&name) {
                    have += 1;
                    if verifies && !device.is_cross_signed_by_owner() && !readers.named.contains(&name) {
                        strange += 1;
                        readers.unnamed.insert(name);
                    }
                }
            }
            if strange > 0 {
                unverified.insert(user.to_string(), (strange, count));
            }
            if *user == me.0 {
                continue;
            }
            others += 1;
            can_read += have;
            if have < count || count == 0 {
                without.insert(user.to_string(), (count - have, count));
            }
        }
        readers.read = Some(room.read);
        let is_nobody = others > 0 && can_read == 0;
        readers.missing = (!without.is_empty()).then_some(NoKey { devices: without, is_nobody });
        let unverified = Unverified { devices: unverified, changed };
        readers.unverified = (!unverified.devices.is_empty() || !unverified.changed.is_empty()).then_some(unverified);
        Ok((readers.missing.clone(), readers.unverified.clone()))
    }

    /// A message was sent, and its stored delivery says who can read it without being verified: later ones need not.
    pub async fn has_named(&self, room: &EncryptedRoom, unverified: &Unverified) -> Result<(), CryptoError> {
        let lock = self.lock_of(&room.name);
        let mut readers = lock.lock().await;
        let unnamed = std::mem::take(&mut readers.unnamed);
        readers.named.extend(unnamed);
        readers.unverified = None;
        for user in &unverified.changed {
            if let Some(other) = self.machine.get_identity(user, None).await?.and_then(UserIdentity::other) {
                other.pin_current_master_key().await?;
            }
        }
        Ok(())
    }
}
