//! Numbers of transactions by their instants, with a minimum distance between two of them: serials for mirrors, with room
//! for changes of indexes that become visible between two transactions, and `Last-Modified` values, distinct whole seconds
//! for states published within the same second. Pure.

use super::Catalog;
use base::model::ids::TxId;
use base::model::time::Timestamp;
use store::db::tx::TxInstants;

/// Instants whose numbers are not their own, in ascending order, with these numbers.
pub(super) type Overrides = Vec<(Timestamp, i64)>;

/// Returns the instants of transactions, ascending, no two equal: those of a back-fill or an import have high ids, early
/// instants.
pub(super) fn instants(transactions: &[(TxId, Timestamp)]) -> Vec<Timestamp> {
    let mut instants: Vec<Timestamp> = transactions.iter().map(|(_, at)| *at).collect();
    instants.sort_unstable();
    instants
}

/// Returns the number that an instant has instead of its own.
pub(super) fn find(overrides: &[(Timestamp, i64)], at: Timestamp) -> Option<i64> {
    let index = overrides.binary_search_by_key(&at, |(instant, _)| *instant).ok()?;
    overrides.get(index).map(|(_, number)| *number)
}

/// Minimum difference between the serials of two transactions. The serials of changes of indexes that become visible after a
/// transaction are less than this number above its serial.
pub const SERIAL_GAP: i64 = 100_000;

/// Maps the instants of transactions to their serials where these differ: those of `known`, and of the transactions that follow
/// it. The serial of a transaction is the time at which it was published, or [`SERIAL_GAP`] more than the serial of the previous
/// one if that is later. A change with a time in the past, of an import or a back-fill, has a higher serial than all that mirrors
/// know already, and no serial depends on later transactions.
pub(super) fn serial_overrides(known: &Catalog, transactions: &[TxInstants]) -> Overrides {
    let last = known.transactions.last().map(|(_, at)| known.serial(*at));
    let mut next = last.map_or(i64::MIN, |last| last.saturating_add(SERIAL_GAP));
    let mut overrides = known.serial_overrides.clone();
    for TxInstants { at, started_at, .. } in transactions {
        let serial = next.max(at.0).max(started_at.0);
        if serial != at.0 {
            overrides.push((*at, serial));
        }
        next = serial.saturating_add(SERIAL_GAP);
    }
    overrides.sort_unstable();
    overrides
}

/// Maps the instants of transactions, in ascending order, whose second is already in use to the next free second.
pub(super) fn modified_overrides(instants: &[Timestamp]) -> Overrides {
    let mut next = i64::MIN;
    let mut overrides = Vec::new();
    for at in instants {
        let second = at.seconds().max(next);
        if second != at.seconds() {
            overrides.push((*at, second));
        }
        next = second.saturating_add(1);
    }
    overrides
}

impl Catalog {
    /// Returns the serial of the transaction with an instant: microseconds since the epoch, at least [`SERIAL_GAP`] more than
    /// that of every transaction that was published before it. After many transactions in a short time, or while the machine's
    /// clock is behind, it is ahead of the clock.
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

    /// A catalog of transactions with the instants at which each is served, and was begun.
    fn catalog(known: &Catalog, instants: &[(i64, i64)]) -> Catalog {
        let first = known.transactions.len() as i64 + 1;
        let times = instants.iter().zip(first..).map(|((at, started_at), id)| TxInstants {
            id: TxId(id),
            at: Timestamp(*at),
            started_at: Timestamp(*started_at),
        });
        let times: Vec<TxInstants> = times.collect();
        let serial_overrides = serial_overrides(known, &times);
        let mut transactions = known.transactions.clone();
        transactions.extend(times.iter().map(|tx| (tx.id, tx.at)));
        Catalog { serial_overrides, transactions, ..Catalog::default() }
    }

    #[test]
    fn every_transaction_has_room_after_its_serial() {
        // A burst, transactions one microsecond apart while the clock is behind, and one after a pause.
        let instants = [1_000_000, 1_020_000, 1_040_000, 1_040_001, 1_040_002, 1_390_000, 9_000_000];
        let catalog = catalog(&Catalog::default(), &instants.map(|at| (at, at - 5)));
        let serials = instants.map(|at| catalog.serial(Timestamp(at)));
        assert_eq!(serials, [1_000_000, 1_100_000, 1_200_000, 1_300_000, 1_400_000, 1_500_000, 9_000_000]);
        assert_eq!(catalog.serial_overrides.len(), 5);
    }

    #[test]
    fn serials_are_in_the_order_of_publication() {
        let first = [(5_000_000, 5_000_000), (5_000_001, 5_000_001), (5_150_000, 5_000_000)];
        // Two of an import and a later one, after a pause.
        let more = [(3_000_000, 9_000_000), (4_000_000, 9_000_000), (9_000_001, 9_000_001)];
        let before = catalog(&Catalog::default(), &first);
        let after = catalog(&before, &more);
        let serials = first.into_iter().chain(more).map(|(at, _)| after.serial(Timestamp(at)));
        let expected = [5_000_000, 5_100_000, 5_200_000, 9_000_000, 9_100_000, 9_200_000];
        assert_eq!(serials.collect::<Vec<_>>(), expected);
        let all: Vec<(i64, i64)> = first.into_iter().chain(more).collect();
        assert_eq!(catalog(&Catalog::default(), &all).serial_overrides, after.serial_overrides);
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
