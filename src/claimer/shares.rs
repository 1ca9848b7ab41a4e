//! How many places each backend gets.

use std::collections::HashMap;

use crate::message::BackendId;

/// How the places are divided. A homeserver that answers slowly, or not at all, keeps its lanes for long and would end up with
/// all places, so a few are reserved for each other backend.
pub(super) struct Shares {
    /// Free ones and taken ones.
    pub(super) all: usize,
    pub(super) free: usize,
    kept: usize,
    held: HashMap<BackendId, usize>,
}

impl Shares {
    /// `open`: the backends that may send; `held`: lanes that this worker has of each.
    pub(super) fn new(open: impl Iterator<Item = BackendId>, all: HashMap<BackendId, usize>, free: usize) -> Self {
        let places = free + all.values().sum::<usize>();
        let held: HashMap<_, _> = open.map(|id| (id, all.get(&id).copied().unwrap_or_default())).collect();
        // A quarter of the places is reserved, divided among the backends; at least one each.
        let kept = (places / 4 / held.len().max(1)).max(1);
        Self { all: places, free, kept, held }
    }

    pub(super) fn left_for(&self, id: BackendId) -> usize {
        let others = self.held.iter().filter(|(other, _)| **other != id);
        let kept: usize = others.map(|(_, held)| self.kept.saturating_sub(*held)).sum();
        // Its own reserved places are never refused to it.
        let own = self.kept.saturating_sub(self.held.get(&id).copied().unwrap_or_default());
        self.free.saturating_sub(kept).max(own).min(self.free)
    }

    pub(super) fn take(&mut self, id: BackendId, count: usize) {
        self.free -= count;
        *self.held.entry(id).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_that_keeps_its_places_leaves_some_to_each_other_one() {
        let shares = |held: &[(BackendId, usize)], free| Shares::new(1..=3, held.iter().copied().collect(), free);

        assert_eq!(shares(&[], 24).left_for(1), 20);
        assert_eq!(shares(&[(1, 20)], 4).left_for(1), 0);
        assert_eq!(shares(&[(1, 20)], 4).left_for(2), 2);
        assert_eq!(shares(&[(1, 20), (2, 2)], 2).left_for(2), 0);
        assert_eq!(shares(&[(1, 20), (2, 2)], 2).left_for(3), 2);
        // More backends than places.
        assert_eq!(Shares::new(1..=9, HashMap::new(), 4).left_for(5), 1);
        assert_eq!(Shares::new(1..=1, HashMap::new(), 64).left_for(1), 64);
    }
}
