//! `Last-Modified` values: distinct whole seconds for states published within the same second. Pure.

use super::Catalog;
use super::spaced::{self, Overrides};
use base::model::time::Timestamp;

/// Maps the instants of transactions, in ascending order, whose second is already in use to the next free second.
pub(super) fn modified_overrides(instants: &[Timestamp]) -> Overrides {
    spaced::overrides(instants, Timestamp::seconds, 1)
}

impl Catalog {
    /// Returns the `Last-Modified` of a state that was published at an instant, in seconds since the epoch. It is at
    /// least one more than that of every earlier state, so that `If-Modified-Since` alone distinguishes them. With many
    /// states in one second, the last one is several seconds ahead of the clock.
    pub fn modified(&self, at: Timestamp) -> i64 {
        spaced::find(&self.modified_overrides, at).unwrap_or_else(|| at.seconds())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::ids::TxId;
    use base::model::time::SECOND;

    #[test]
    fn every_state_has_a_distinct_second() {
        let instant = |tenths: i64| Timestamp(tenths * SECOND / 10);
        let transactions: Vec<(TxId, Timestamp)> = [10, 12, 15, 19, 21, 70, 79, 3]
            .iter()
            .zip(1..)
            .map(|(tenths, id)| (TxId(id), instant(*tenths)))
            .collect();
        let instants = spaced::instants(&transactions);
        let catalog = Catalog { modified_overrides: modified_overrides(&instants), ..Catalog::default() };
        let seconds = [3, 10, 12, 15, 19, 21, 70, 79].map(|tenths| catalog.modified(instant(tenths)));
        assert_eq!(seconds, [0, 1, 2, 3, 4, 5, 7, 8]);
        assert_eq!(catalog.modified(instant(45)), 4, "not the instant of a transaction");
        assert_eq!(catalog.modified_overrides.len(), 5);
    }
}
