//! How many messages one claim asks for.

use std::time::Duration;

use tracing::warn;

use crate::store::Claim;

/// Messages that one claim of a lane sends before others have their turn.
const MESSAGES_PER_CLAIM: usize = 32;

/// Bytes of content that all claims of a worker together should hold. Each lane may exceed its part by one message.
const CLAIMED_BYTES: usize = 8 << 20;

/// The most bytes of content in one claim, even with few places.
const BYTES_PER_CLAIM: usize = 128 << 10;

/// A claim that was not answered in time, or took a third of its own lease, is followed by one of half the size, down to a 64th.
const MOST_HALVINGS: u32 = 6;

/// How much one claim asks for: less after the database was too slow for more, and only as many messages as are likely to fit into
/// its bytes, since the database has to unpack each message to measure it.
#[derive(Debug)]
pub(super) struct Size {
    halvings: u32,
    /// Of the messages that were claimed lately.
    average_bytes: usize,
}

impl Size {
    pub(super) fn lanes(&self, places: usize) -> usize {
        (places >> self.halvings).max(1)
    }

    pub(super) fn bytes(&self, all_places: usize) -> usize {
        (CLAIMED_BYTES / all_places.max(1)).min(BYTES_PER_CLAIM) >> self.halvings
    }

    pub(super) fn messages(&self, bytes: usize) -> usize {
        (bytes / self.average_bytes.max(1) + 1).min((MESSAGES_PER_CLAIM >> self.halvings).max(1))
    }

    pub(super) fn answered(&mut self, claims: &[Claim], after: Duration, lease: Duration) {
        let sizes = || claims.iter().flat_map(|claim| claim.messages.iter().map(|message| message.content.len()));
        if let count @ 1.. = sizes().count() {
            // One large message among small ones makes the next claims a little smaller, not tiny.
            self.average_bytes = (self.average_bytes * 3 + sizes().sum::<usize>() / count) / 4;
        }
        if after > lease / 3 {
            self.too_slow();
        } else if after < lease / 10 {
            self.halvings = self.halvings.saturating_sub(1);
        }
    }

    pub(super) fn too_slow(&mut self) {
        self.halvings = (self.halvings + 1).min(MOST_HALVINGS);
        warn!(size = %format_args!("1/{}", 1 << self.halvings), "Messages could not be read in time; asking for fewer at once");
    }
}

impl Default for Size {
    fn default() -> Self {
        Self { halvings: 0, average_bytes: 1024 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_messages_are_claimed_in_smaller_numbers_and_small_ones_as_before() {
        let mut size = Size::default();
        let bytes = size.bytes(64);
        assert_eq!((bytes, size.messages(bytes)), (BYTES_PER_CLAIM, MESSAGES_PER_CLAIM));

        size.average_bytes = 58_000;
        assert_eq!(size.messages(bytes), 3);
        assert!(size.bytes(10_000) * 10_000 <= CLAIMED_BYTES);
    }

    #[test]
    fn a_claim_that_was_not_answered_is_followed_by_smaller_ones_until_they_are_quick() {
        let mut size = Size::default();
        for _ in 0..20 {
            size.too_slow();
        }
        assert_eq!((size.lanes(64), size.messages(size.bytes(64))), (1, 1));

        let lease = Duration::from_secs(30);
        size.answered(&[], lease / 6, lease);
        assert_eq!(size.lanes(64), 1);
        for _ in 0..MOST_HALVINGS {
            size.answered(&[], Duration::ZERO, lease);
        }
        assert_eq!((size.lanes(64), size.bytes(64)), (64, BYTES_PER_CLAIM));

        size.answered(&[], lease / 2, lease);
        assert_eq!(size.lanes(64), 32);
    }
}
