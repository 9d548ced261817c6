//! Serials of this server: numbers that grow with every change of a project, so that another server can mirror this
//! server and request only the pages that changed. They are microseconds since the epoch.
//!
//! Only documents that may still change have serials. A past day never changes, so a mirror of it needs none; and the
//! bytes of its pages must not depend on later changes, but the list of an index keeps only the last change of each
//! project.
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
}
