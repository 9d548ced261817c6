//! Serials of transactions: numbers for mirrors, with room between two of them for changes of indexes that become visible
//! between these transactions. Pure.

use super::Catalog;
use super::spaced::{self, Overrides};
use base::model::time::Timestamp;

/// Minimum difference between the serials of two transactions. The serials of changes of indexes that become visible after a
/// transaction are less than this number above its serial.
pub const SERIAL_GAP: i64 = 100_000;

/// Maps the instants of transactions, in ascending order, that follow another one in less than [`SERIAL_GAP`] microseconds, or
/// follow such a transaction, to their serials. The serial of any other transaction is its instant. Further transactions, also
/// earlier ones of a back-fill, lower no serial.
pub(super) fn serial_overrides(instants: &[Timestamp]) -> Overrides {
    spaced::overrides(instants, |at| at.0, SERIAL_GAP)
}

impl Catalog {
    /// Returns the serial of a transaction that was published at an instant: microseconds since the epoch, at least
    /// [`SERIAL_GAP`] more than that of every earlier transaction. After many transactions in a short time, or while the
    /// machine's clock is behind, it is ahead of the clock.
    pub fn serial(&self, at: Timestamp) -> i64 {
        spaced::find(&self.serial_overrides, at).unwrap_or(at.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::ids::TxId;

    fn catalog(instants: &[i64]) -> Catalog {
        let transactions: Vec<(TxId, Timestamp)> =
            instants.iter().zip(1..).map(|(at, id)| (TxId(id), Timestamp(*at))).collect();
        let serial_overrides = serial_overrides(&spaced::instants(&transactions));
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
}
