//! Numbers of transactions by their instants, with a minimum distance between two of them. Pure.

use base::model::ids::TxId;
use base::model::time::Timestamp;

/// Instants whose numbers are not their own, in ascending order, with these numbers.
pub(super) type Overrides = Vec<(Timestamp, i64)>;

/// Returns the instants of transactions in ascending order: transactions of a back-fill have high ids and early instants.
/// No two of them are equal.
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
