//! `Last-Modified` has whole seconds: states that were published in the same second are told apart all the same. Pure.

use std::collections::BTreeMap;

use super::Catalog;
use crate::model::ids::TxId;
use crate::model::time::Timestamp;

/// Seconds of transactions that came too soon after another for their own, by their instants.
pub(super) fn seconds(transactions: &[(TxId, Timestamp)]) -> BTreeMap<Timestamp, i64> {
    let mut instants: Vec<Timestamp> = transactions.iter().map(|(_, at)| *at).collect();
    // Those of a back-fill have late numbers.
    instants.sort();
    let mut last = i64::MIN;
    let mut moved = BTreeMap::new();
    for at in instants {
        let second = at.seconds().max(last.saturating_add(1));
        if second != at.seconds() {
            moved.insert(at, second);
        }
        last = second;
    }
    moved
}

impl Catalog {
    /// What `Last-Modified` says of a state that was published at an instant, in seconds since the epoch: at least one
    /// more than of every state before, so that `If-Modified-Since` by itself never takes one for the other. Of many
    /// states in one second the last is some seconds ahead of the clock.
    #[must_use]
    pub fn modified(&self, at: Timestamp) -> i64 {
        self.seconds.get(&at).copied().unwrap_or_else(|| at.seconds())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::SECOND;

    #[test]
    fn every_state_has_a_second_of_its_own() {
        let at = |tenths: i64| Timestamp(tenths * SECOND / 10);
        let transactions: Vec<(TxId, Timestamp)> = [10, 12, 15, 19, 21, 70, 79, 3]
            .iter()
            .zip(1..)
            .map(|(tenths, id)| (TxId(id), at(*tenths)))
            .collect();
        let catalog = Catalog { seconds: seconds(&transactions), ..Catalog::default() };
        let told = [3, 10, 12, 15, 19, 21, 70, 79].map(|tenths| catalog.modified(at(tenths)));
        assert_eq!(told, [0, 1, 2, 3, 4, 5, 7, 8]);
        assert_eq!(catalog.modified(at(45)), 4, "what is no transaction of ours");
        assert_eq!(catalog.seconds.len(), 5);
    }
}
