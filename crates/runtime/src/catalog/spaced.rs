//! Numbers of transactions by their instants, with a minimum distance between two of them: serials for mirrors, with room
//! for changes of indexes that become visible between two transactions, and `Last-Modified` values, distinct whole seconds
//! for states published within the same second. Pure.

use super::Catalog;
use base::model::ids::TxId;
use base::model::time::Timestamp;

/// Instants whose numbers are not their own, in ascending order, with these numbers.
pub(super) type Overrides = Vec<(Timestamp, i64)>;

/// Returns the instants of transactions, ascending, no two equal: those of a back-fill have high ids, early instants.
pub(super) fn instants(transactions: &[(TxId, Timestamp)]) -> Vec<Timestamp> {
    let mut instants: Vec<Timestamp> = transactions.iter().map(|(_, at)| *at).collect();
    instants.sort_unstable();
    instants
}

/// Returns the instants that get a higher number than their own, which `number` returns, because it would be less than
/// `gap` above the number of the previous instant. `instants` are in ascending order.
pub(super) fn overrides(instants: &[Timestamp], number: fn(Timestamp) -> i64, gap: i64) -> Overrides {
    let mut next = i64::MIN;
    let mut overrides = Vec::new();
    for at in instants {
        let own = number(*at);
        let spaced = own.max(next);
        if spaced != own {
            overrides.push((*at, spaced));
        }
        next = spaced.saturating_add(gap);
    }
    overrides
}

/// Returns the number that an instant has instead of its own.
pub(super) fn find(overrides: &[(Timestamp, i64)], at: Timestamp) -> Option<i64> {
    let index = overrides.binary_search_by_key(&at, |(instant, _)| *instant).ok()?;
    overrides.get(index).map(|(_, number)| *number)
}

/// Minimum difference between the serials of two transactions. The serials of changes of indexes that become visible after a
/// transaction are less than this number above its serial.
pub const SERIAL_GAP: i64 = 100_000;

/// Maps the instants of transactions, in ascending order, that follow another one in less than [`SERIAL_GAP`] microseconds, or
/// follow such a transaction, to their serials. The serial of any other transaction is its instant. Further transactions, also
/// earlier ones of a back-fill, lower no serial.
pub(super) fn serial_overrides(instants: &[Timestamp]) -> Overrides {
    overrides(instants, |at| at.0, SERIAL_GAP)
}

/// Maps the instants of transactions, in ascending order, whose second is already in use to the next free second.
pub(super) fn modified_overrides(instants: &[Timestamp]) -> Overrides {
    overrides(instants, Timestamp::seconds, 1)
}

impl Catalog {
    /// Returns the serial of a transaction that was published at an instant: microseconds since the epoch, at least
    /// [`SERIAL_GAP`] more than that of every earlier transaction. After many transactions in a short time, or while the
    /// machine's clock is behind, it is ahead of the clock.
    pub fn serial(&self, at: Timestamp) -> i64 {
        find(&self.serial_overrides, at).unwrap_or(at.0)
    }

    /// Returns the `Last-Modified` of a state that was published at an instant, in seconds since the epoch. It is at
    /// least one more than that of every earlier state, so that `If-Modified-Since` alone distinguishes them. With many
    /// states in one second, the last one is several seconds ahead of the clock.
    pub fn modified(&self, at: Timestamp) -> i64 {
        find(&self.modified_overrides, at).unwrap_or_else(|| at.seconds())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::time::SECOND;

    fn catalog(instants: &[i64]) -> Catalog {
        let transactions: Vec<(TxId, Timestamp)> =
            instants.iter().zip(1..).map(|(at, id)| (TxId(id), Timestamp(*at))).collect();
        let serial_overrides = serial_overrides(&super::instants(&transactions));
        Catalog { serial_overrides, ..Catalog::default() }
    }

    #[test]
    fn every_transaction_has_room_after_its_serial() {
        // A burst, transactions one microsecond apart while the clock is behind, and one after a pause.
        let instants = [1_000_000, 1_020_000, 1_040_000, 1_040_001, 1_040_002, 1_390_000, 9_000_000];
        let catalog = catalog(&instants);
        let serials = instants.map(|at| catalog.serial(Timestamp(at)));
        assert_eq!(serials, [1_000_000, 1_100_000, 1_200_000, 1_300_000, 1_400_000, 1_500_000, 9_000_000]);
        assert_eq!(catalog.serial_overrides.len(), 5);
    }

    #[test]
    fn no_serial_decreases_with_further_transactions() {
        let instants = [5_000_000, 5_000_001, 5_150_000, 9_000_000];
        let before = instants.map(|at| catalog(&instants).serial(Timestamp(at)));
        // A later one, and two of a back-fill.
        let more = [5_000_000, 5_000_001, 5_150_000, 9_000_000, 9_000_001, 4_950_000, 4_960_000];
        let after = instants.map(|at| catalog(&more).serial(Timestamp(at)));
        assert!(before.iter().zip(after).all(|(before, after)| *before <= after), "{before:?} {after:?}");
        assert!(after.windows(2).all(|pair| pair[0] + SERIAL_GAP <= pair[1]), "{after:?}");
    }

    #[test]
    fn every_state_has_a_distinct_second() {
        let instant = |tenths: i64| Timestamp(tenths * SECOND / 10);
        let transactions: Vec<(TxId, Timestamp)> = [10, 12, 15, 19, 21, 70, 79, 3]
            .iter()
            .zip(1..)
            .map(|(tenths, id)| (TxId(id), instant(*tenths)))
            .collect();
        let instants = super::instants(&transactions);
        let catalog = Catalog { modified_overrides: modified_overrides(&instants), ..Catalog::default() };
        let seconds = [3, 10, 12, 15, 19, 21, 70, 79].map(|tenths| catalog.modified(instant(tenths)));
        assert_eq!(seconds, [0, 1, 2, 3, 4, 5, 7, 8]);
        assert_eq!(catalog.modified(instant(45)), 4, "not the instant of a transaction");
        assert_eq!(catalog.modified_overrides.len(), 5);
    }
}
