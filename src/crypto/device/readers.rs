//! Who can read what is written in a room: which devices have its present key.

use std::collections::{BTreeMap, BTreeSet};

use matrix_sdk_crypto::types::requests::ToDeviceRequest;
use ruma::{OwnedDeviceId, OwnedUserId, to_device::DeviceIdOrAllDevices};

use super::{CryptoError, Device, EncryptedRoom};

/// At most this many people are named.
const MOST_NAMED: usize = 5;

type Devices = BTreeSet<(OwnedUserId, OwnedDeviceId)>;

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
}

/// Devices that cannot read a message: how many of how many, by user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoKey {
    devices: BTreeMap<String, (usize, usize)>,
    /// Nobody can read it.
    pub is_nobody: bool,
}

impl std::fmt::Display for NoKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let people = self.devices.iter().take(MOST_NAMED);
        let words = people.map(|(user, (without, all))| match (without, all) {
            (_, 0) => format!("{user} (no device with keys)"),
            (without, all) => format!("{without} of {all} devices of {user}"),
        });
        let mut words: Vec<_> = words.collect();
        if self.devices.len() > MOST_NAMED {
            words.push(format!("devices of {} more", self.devices.len() - MOST_NAMED));
        }
        f.write_str(&words.join(", "))
    }
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
    /// Who of the room cannot read what was just encrypted with the key `session`.
    pub(super) async fn readers(
        &self,
        readers: &mut Readers,
        room: &EncryptedRoom,
        session: &str,
    ) -> Result<Option<NoKey>, CryptoError> {
        let given = std::mem::take(&mut readers.given);
        if readers.session == session && given.is_empty() && readers.read == Some(room.read) {
            return Ok(readers.missing.clone());
        }
        if readers.session != session {
            readers.session = session.to_owned();
            readers.have.clear();
        }
        readers.have.extend(given);
        let (mut devices, mut can_read, mut others) = (BTreeMap::new(), 0, 0);
        for user in &room.members {
            if user == self.machine.user_id() {
                continue;
            }
            others += 1;
            let all = self.machine.get_user_devices(user, None).await?;
            let has = |device: &matrix_sdk_crypto::Device| {
                readers.have.contains(&(user.clone(), device.device_id().to_owned()))
            };
            let (count, have) =
                all.devices().fold((0, 0), |(count, have), device| (count + 1, have + usize::from(has(&device))));
            can_read += have;
            if have < count || count == 0 {
                devices.insert(user.to_string(), (count - have, count));
            }
        }
        readers.read = Some(room.read);
        readers.missing = (!devices.is_empty()).then_some(NoKey { devices, is_nobody: others > 0 && can_read == 0 });
        Ok(readers.missing.clone())
    }
}
