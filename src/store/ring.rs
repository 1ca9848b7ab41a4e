//! The walk over the lanes of each backend, and what each backend may do.

use std::{collections::HashMap, time::Duration};

use super::{Store, StoreError, int, value};
use crate::message::{BackendId, Lane};

/// The most lanes that one walk reads: busy ones take time, too.
const LONGEST_WALK: i32 = 2000;

/// What a backend may do at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Open,
    /// Stopped, but its configuration has changed since.
    Changed,
    /// Limited; one slot is free.
    Paced,
    /// Stopped; it is time to ask whether the homeserver is back.
    Probe,
    /// Nothing for `wait`, or until somebody resumes it.
    Closed {
        wait: Option<Duration>,
    },
}

/// Where the walk over a backend's lanes goes on.
#[derive(Clone, Debug, Default)]
pub struct Resume {
    /// The last lane of the walk before; `None`: begin at the first lane.
    pub after: Option<Lane>,
    /// How many more free lanes to find than for other backends.
    pub more: usize,
}

#[derive(Debug, Default)]
pub struct Ring {
    pub backends: Vec<Walk>,
    /// The lanes that were free.
    pub lanes: Vec<(BackendId, Lane)>,
}

/// The walk over one active backend's lanes.
#[derive(Debug)]
pub struct Walk {
    pub backend: BackendId,
    pub config_version: i32,
    pub standing: Standing,
    /// The last lane that was read; `None`: there was none.
    pub passed_until: Option<Lane>,
    /// It was the last lane of the backend.
    pub is_end: bool,
    /// Lanes on the way that others hold or that are resting.
    pub busy_elsewhere: usize,
}

impl Store {
    /// At most `most` free lanes of each backend that may send, or more as `resume` says, which also says where to begin.
    pub async fn ring(&self, resume: &HashMap<BackendId, Resume>, most: usize) -> Result<Ring, StoreError> {
        let ids: Vec<_> = resume.keys().copied().collect();
        let lanes: Vec<_> = resume.values().map(|from| from.after.as_ref().map(Lane::as_str)).collect();
        let more: Vec<_> = resume.values().map(|from| int(from.more)).collect();
        let sql = include_str!("../../sql/ring.sql");
        let rows = self.query(sql, &[&ids, &lanes, &int(most), &LONGEST_WALK, &self.name.owner, &more]).await?;
        let mut ring = Ring::default();
        for row in &rows {
            let backend: BackendId = value(row, "backend_id")?;
            if let Some(lane) = value::<Option<&str>>(row, "lane")? {
                ring.lanes.push((backend, Lane::new(lane)));
                continue;
            }
            let wait = value::<Option<i64>>(row, "wait_ms")?.map(|ms| Duration::from_millis(ms.max(0).unsigned_abs()));
            let standing = match value::<&str>(row, "standing")? {
                "open" => Standing::Open,
                "changed" => Standing::Changed,
                "paced" => Standing::Paced,
                "probe" => Standing::Probe,
                "closed" => Standing::Closed { wait },
                word => return Err(StoreError::Other(format!("ring.sql has no standing «{word}»"))),
            };
            ring.backends.push(Walk {
                backend,
                config_version: value::<Option<i32>>(row, "config_version")?.unwrap_or_default(),
                standing,
                passed_until: value::<Option<&str>>(row, "passed_until")?.map(Lane::new),
                is_end: value(row, "is_end")?,
                busy_elsewhere: usize::try_from(value::<i64>(row, "busy_elsewhere")?).unwrap_or_default(),
            });
        }
        Ok(ring)
    }
}
