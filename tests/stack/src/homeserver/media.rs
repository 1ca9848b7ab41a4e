//! Files: an address first, then the file, which is taken once.

use std::collections::{HashMap, VecDeque};

use serde_json::json;

use super::{Answer, Fault, Homeserver, World, http::Call};

/// How many addresses without a file Synapse gives an account.
const MOST_UNUSED: usize = 5;

#[derive(Default)]
pub(super) struct Media {
    /// The file at each address; none where the address was only given so far.
    files: HashMap<String, Option<Vec<u8>>>,
    given: usize,
    largest: Option<u64>,
    /// It gives no address before the file.
    is_old: bool,
    /// Files are stored slowly: those that it has read and does not have yet.
    storing: Option<HashMap<String, Vec<u8>>>,
    faults: VecDeque<Fault>,
}

impl Homeserver {
    /// The homeserver takes no larger file.
    pub fn take_files_up_to(&self, bytes: u64) {
        self.shared.world().media.largest = Some(bytes);
    }

    /// It knows only uploads that make their own address.
    pub fn give_no_addresses(&self) {
        self.shared.world().media.is_old = true;
    }

    /// A proxy answers uploads that it takes too long, while the homeserver stores the file, until [`Self::have_stored`].
    pub fn store_slowly(&self) {
        self.shared.world().media.storing = Some(HashMap::new());
    }

    /// What was being stored is there.
    pub fn have_stored(&self) {
        let media = &mut self.shared.world().media;
        let stored = media.storing.take().unwrap_or_default();
        media.files.extend(stored.into_iter().map(|(address, bytes)| (address, Some(bytes))));
    }

    /// The addresses at which nothing was uploaded end.
    pub fn end_addresses(&self) {
        self.shared.world().media.files.retain(|_, file| file.is_some());
    }

    /// The next `times` uploads meet `fault`.
    pub fn fail_uploads(&self, times: usize, fault: Fault) {
        self.shared.world().media.faults.extend(std::iter::repeat_n(fault, times));
    }

    /// All files that were uploaded.
    pub fn files(&self) -> Vec<Vec<u8>> {
        self.shared.world().media.files.values().flatten().cloned().collect()
    }

    /// How many addresses have no file.
    pub fn unused_addresses(&self) -> usize {
        self.shared.world().media.files.values().filter(|file| file.is_none()).count()
    }

    /// The file at an address.
    pub fn file(&self, address: &str) -> Option<Vec<u8>> {
        self.shared.world().media.files.get(address).cloned().flatten()
    }
}

impl World {
    pub(super) fn take_upload_fault(&mut self, path: &[&str]) -> Option<Fault> {
        path.starts_with(&["", "_matrix", "media", "v3", "upload"]).then(|| self.media.faults.pop_front()).flatten()
    }
}

pub(super) fn handle(world: &mut World, call: &Call, path: &[&str]) -> Option<Answer> {
    let media = &mut world.media;
    let new_address = |media: &mut Media| {
        media.given += 1;
        format!("mxc://double.test/file{}", media.given)
    };
    let answer = match (call.method.as_str(), path) {
        ("GET", ["v1", "media", "config"]) => match media.largest {
            Some(largest) => Answer::ok(json!({ "m.upload.size": largest })),
            None => Answer::ok(json!({})),
        },
        ("POST", ["", "_matrix", "media", "v1", "create"]) if media.is_old => {
            Answer::refused(404, "M_UNRECOGNIZED", "Unrecognized request")
        }
        ("POST", ["", "_matrix", "media", "v1", "create"])
            if media.files.values().filter(|file| file.is_none()).count() >= MOST_UNUSED =>
        {
            // Until the first of them ends.
            Answer::limited(86_400_000)
        }
        ("POST", ["", "_matrix", "media", "v1", "create"]) => {
            let address = new_address(media);
            media.files.insert(address.clone(), None);
            Answer::ok(json!({ "content_uri": address }))
        }
        ("POST", ["", "_matrix", "media", "v3", "upload"]) => {
            let address = new_address(media);
            media.files.insert(address.clone(), Some(call.bytes.clone()));
            Answer::ok(json!({ "content_uri": address }))
        }
        ("PUT", ["", "_matrix", "media", "v3", "upload", server, id]) => {
            let address = format!("mxc://{server}/{id}");
            match media.files.get_mut(&address) {
                Some(None) if media.storing.as_ref().is_some_and(|storing| storing.contains_key(&address)) => {
                    Answer::refused(409, "M_CANNOT_OVERWRITE_MEDIA", "Media ID cannot be overwritten")
                }
                Some(None) if media.storing.is_some() => {
                    media.storing.as_mut().map(|storing| storing.insert(address, call.bytes.clone()));
                    Answer::refused(504, "M_UNKNOWN", "made to fail")
                }
                None => Answer::refused(404, "M_NOT_FOUND", "Media ID has expired"),
                Some(Some(_)) => Answer::refused(409, "M_CANNOT_OVERWRITE_MEDIA", "Media ID already has content"),
                Some(place) => {
                    *place = Some(call.bytes.clone());
                    Answer::ok(json!({}))
                }
            }
        }
        ("GET", ["v1", "media", "download", server, id]) => {
            match media.files.get(&format!("mxc://{server}/{id}")) {
                None => Answer::refused(404, "M_NOT_FOUND", "Not found"),
                Some(None) => Answer::refused(504, "M_NOT_YET_UPLOADED", "Media has not been uploaded yet"),
                // Clients look no further than at the status.
                Some(Some(_)) => Answer::ok(json!({})),
            }
        }
        _ => return None,
    };
    Some(answer)
}
