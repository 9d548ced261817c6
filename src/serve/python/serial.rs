//! Serials of this server: numbers that grow with every change of a project, so that another server can mirror this
//! server and request only the pages that changed. They are microseconds since the epoch.
//!
//! Only documents that may still change have serials. A past day never changes, so a mirror of it needs none; and the
//! bytes of its pages must not depend on later changes, but the list of an index keeps only the last change of each
//! project.
//!
//! The serial of a change of a local source is the time of its step. Changes of an index become visible later than at their
//! time, with a sync. If a step is published in between, the change gets a serial after it, because a mirror that has read
//! the list of projects since the step requests only pages with higher serials. A later step may raise the serial again; a
//! mirror then requests an unchanged page.
//!
//! A curated source has no serials, and a list with its projects has none: its base stays the same when the status of a
//! project changes at the index, so the serial would not change.

use crate::catalog::Catalog;
use crate::model::ids::{Seq, TreeId};
use crate::model::point::PointTree;
use crate::model::time::Timestamp;

/// Returns the serial of a project of an index in a tree: the time of the last change of its serial at the index, or of
/// its files, whichever is later. `None` for an index without serials.
pub(super) fn of_index(changed_at: Option<i64>, changed: Option<Seq>, tree: PointTree) -> Option<u64> {
    // A sync may have written a change that is not visible yet, which gives a higher serial once it is.
    let listed = changed_at?.min(tree.seq.0.saturating_add(1));
    u64::try_from(changed.map_or(listed, |changed| listed.max(changed.0))).ok()
}

/// The maximum time between a change of an index and the sync that makes it visible, in microseconds, for which serials are
/// in the order of visibility: a delay of a week, and a day for the sync.
const MAX_WAIT: i64 = 8 * 24 * 3600 * 1_000_000;
/// Time between two changes of an index that get different serials after one step, in microseconds. All of them get serials
/// within 0.1 seconds after the step, so that they are lower than that of the next one.
const RESOLUTION: i64 = 10_000_000;

/// Returns the serial of a change of an index in a point with trees of steps. `serial` is that in a point without them, and
/// `newest_step` returns the time of the newest step of the point up to a time. The result never decreases with `serial`,
/// or with further steps.
pub(super) fn beside_steps(serial: u64, newest_step: impl FnOnce(Timestamp) -> Option<Timestamp>) -> u64 {
    let Ok(changed) = i64::try_from(serial) else { return serial };
    let visible = changed.saturating_add(MAX_WAIT);
    let Some(step) = newest_step(Timestamp(visible)) else { return serial };
    let order = visible.saturating_sub(step.0) / RESOLUTION;
    let after_step = step.0.saturating_add(1).saturating_add(order);
    u64::try_from(after_step).map_or(serial, |after_step| serial.max(after_step))
}

/// Returns the time of the newest step of a tree of steps up to a time.
pub(super) fn newest_step(catalog: &Catalog, tree: &PointTree, until: Timestamp) -> Option<Timestamp> {
    let steps = catalog.tree(tree.tree).map(|tree| tree.steps.as_slice()).unwrap_or_default();
    let count = steps.partition_point(|step| step.seq <= tree.seq && step.at <= until);
    steps.get(count.checked_sub(1)?).map(|step| step.at)
}

/// Returns the serial of a change in a tree of steps.
pub(super) fn of_step(catalog: &Catalog, tree: TreeId, seq: Seq) -> Option<u64> {
    at(catalog, tree, seq).and_then(|at| u64::try_from(at.0).ok())
}

/// Returns the time of the newest step up to a sequence number.
fn at(catalog: &Catalog, tree: TreeId, seq: Seq) -> Option<Timestamp> {
    let steps = catalog.tree(tree).map(|tree| tree.steps.as_slice()).unwrap_or_default();
    let count = steps.partition_point(|step| step.seq <= seq);
    steps.get(count.checked_sub(1)?).map(|step| step.at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::SourceId;

    #[test]
    fn a_serial_is_that_of_the_last_visible_change() {
        let tree =
            PointTree { source: SourceId::PYPI, tree: TreeId(1), seq: Seq(99), base: None, rules: None };
        assert_eq!(of_index(Some(70), None, tree), Some(70));
        assert_eq!(of_index(Some(70), Some(Seq(80)), tree), Some(80));
        assert_eq!(of_index(Some(70), Some(Seq(60)), tree), Some(70));
        assert_eq!(of_index(Some(500), Some(Seq(60)), tree), Some(100), "a change after the point");
        assert_eq!(of_index(None, Some(Seq(60)), tree), None, "an index without serials");
    }

    #[test]
    fn serials_beside_steps_are_in_the_order_of_visibility() {
        const SECOND: i64 = 1_000_000;
        const MARGIN: i64 = 900 * SECOND;
        let begin = 1_700_000_000 * SECOND;
        let serial = |changed: i64, steps: &[i64]| {
            let steps: Vec<i64> = steps.iter().map(|seconds| begin + seconds * SECOND).collect();
            let newest_step =
                |until: Timestamp| steps.iter().copied().filter(|at| *at <= until.0).max().map(Timestamp);
            beside_steps(u64::try_from(begin + changed * SECOND - MARGIN).unwrap(), newest_step)
        };
        let step = |seconds: i64| u64::try_from(begin + seconds * SECOND).unwrap();
        assert_eq!(serial(60, &[]), step(60 - 900), "an index alone");
        assert_eq!(serial(2000, &[0]), step(1100), "the step is before the change");
        // Syncs at 60, 120 and 180 seconds after a step at 0.
        let after_first = [60, 120, 180].map(|changed| serial(changed, &[0]));
        assert!(after_first[0] > step(0) && after_first.is_sorted_by(|a, b| a < b), "{after_first:?}");
        assert!(after_first[2] < step(1), "{after_first:?}");
        // A sync after a further step: no serial decreases.
        let after_second = [60, 120, 180, 240].map(|changed| serial(changed, &[0, 200]));
        assert!(after_second[3] > step(200) && after_second.is_sorted_by(|a, b| a < b), "{after_second:?}");
        assert!(after_second.iter().zip(after_first).all(|(second, first)| *second >= first));
        let delayed = serial(60 - 7 * 24 * 3600, &[0]);
        assert!(delayed > step(0), "a delay of a week");
    }
}
