//! Finds what is missing at Odoo although the homeserver itself sends everything there. Synapse (1.163) counts an event as sent before it stores that it has to
//! be sent: what it had in memory when it ended is never sent, and what was on its way much later. So the worker reads along, and when the
//! reading breaks off it passes on everything again that Odoo might not have. Odoo recognises what it has.

use std::time::{Duration, Instant};

use crate::store::KNOWN;

/// For how long what was written may be on its way to Odoo: Synapse gives up a call after a minute, and then stores what it has to send.
const UNDER_WAY: Duration = Duration::from_secs(2 * 60);

/// How far an account was read.
pub(super) struct Trail {
    heard: Instant,
    /// The next position to store, and when it was reached.
    next: Option<(Instant, String)>,
}

impl Trail {
    pub(super) fn new(now: Instant) -> Self {
        Self { heard: now, next: None }
    }

    /// Whether nothing was read for so long that Odoo might not recognise what it was sent since.
    pub(super) fn is_lost(&self, now: Instant) -> bool {
        now.duration_since(self.heard) > KNOWN
    }

    /// Everything up to `position` was read. Returns the position where reading may begin anew, if that has changed: this one if Odoo has
    /// everything before it.
    pub(super) fn reach(&mut self, now: Instant, position: &str, has_all: bool) -> Option<String> {
        self.heard = now;
        if has_all {
            self.next = None;
            return Some(position.to_owned());
        }
        match &mut self.next {
            None => {
                self.next = Some((now, position.to_owned()));
                None
            }
            Some((since, _)) if now.duration_since(*since) < UNDER_WAY => None,
            Some(next) => Some(std::mem::replace(next, (now, position.to_owned())).1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_begins_anew_where_nothing_can_be_on_its_way_any_more() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut trail = Trail::new(begin);

        assert_eq!(trail.reach(at(0), "s0", true).as_deref(), Some("s0"));
        assert_eq!(trail.reach(at(10), "s1", false), None);
        assert_eq!(trail.reach(at(100), "s2", false), None);
        assert_eq!(trail.reach(at(131), "s3", false).as_deref(), Some("s1"));
        assert_eq!(trail.reach(at(200), "s4", false), None);
        assert_eq!(trail.reach(at(252), "s5", false).as_deref(), Some("s3"));
        assert_eq!(trail.reach(at(253), "s6", true).as_deref(), Some("s6"));
        assert_eq!(trail.reach(at(400), "s7", false), None);
    }

    #[test]
    fn a_position_that_is_too_old_is_lost() {
        let begin = Instant::now();
        let mut trail = Trail::new(begin);
        assert!(!trail.is_lost(begin + KNOWN) && trail.is_lost(begin + KNOWN * 2));

        trail.reach(begin + KNOWN, "s1", false);

        assert!(!trail.is_lost(begin + KNOWN * 2));
    }
}
