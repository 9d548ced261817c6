//! Serials of this server: numbers that grow with every change of a project, so that another server can
//! mirror this one and request only changed pages. They are microseconds since the epoch.
//!
//! Only documents that may still change have serials. A past day never changes: its mirror needs none; and the bytes of
//! its pages must not depend on later changes, but the list of an index keeps only the last change of each project.
//!
//! The serial of a change of a local source is that of its step, at least the time of the step, in the order of publication
//! ([`Catalog::serial`]).
//! Changes of an index become visible with a later sync. If a step is published in between, the change gets a serial
//! after it and before that of any later step, as a mirror that read the list since the step requests only pages with
//! higher serials. A later step may raise the serial again; a mirror then requests an unchanged page.
//!
//! A curated source has no serials, and neither has a list with its projects: its base stays the same when
//! the status of a project changes at the index, so the serial would not change.

use base::model::ids::{Seq, TreeId};
use base::model::point::PointTree;
use runtime::catalog::{Catalog, SERIAL_GAP};
use store::db::tree::Step;

/// Returns the serial of a project of an index in a tree: the last change of its serial or of its files,
/// whichever is later. `None` for an index without serials.
pub(super) fn of_index(changed_at: Option<i64>, changed: Option<Seq>, tree: PointTree) -> Option<u64> {
    // A sync may have written a change that is not visible yet, which gives a higher serial once it is.
    let listed = changed_at?.min(tree.seq.0.saturating_add(1));
    u64::try_from(changed.map_or(listed, |changed| listed.max(changed.0))).ok()
}

/// The maximum time from a change of an index to the sync that makes it visible, in microseconds, for which
/// serials are in the order of visibility: a delay of a week, and a day for the sync.
const MAX_WAIT: i64 = 8 * 24 * 3600 * 1_000_000;
/// Time between two changes of an index that get different serials after one step, in microseconds.
const RESOLUTION: i64 = 10_000_000;

// Changes that wait for a sync get lower serials than the next step, also days after a step whose serial runs ahead.
const _: () = assert!(MAX_WAIT / RESOLUTION < SERIAL_GAP * 3 / 4, "serials of changes fit between two steps");

/// Returns the serial of a change of an index in a point with trees of steps. `serial` is that in a point
/// without them; `newest_step` returns the highest serial of a step up to a number. The result never decreases with
/// `serial` or further steps, and is lower than the serial of every later step.
pub(super) fn beside_steps(serial: u64, newest_step: impl FnOnce(i64) -> Option<i64>) -> u64 {
    let Ok(changed) = i64::try_from(serial) else { return serial };
    let visible = changed.saturating_add(MAX_WAIT);
    let Some(step) = newest_step(visible) else { return serial };
    let order = (visible.saturating_sub(step) / RESOLUTION).min(SERIAL_GAP - 2);
    let after_step = step.saturating_add(1).saturating_add(order);
    u64::try_from(after_step).map_or(serial, |after_step| serial.max(after_step))
}

/// Returns the serials of the steps of a tree of steps up to its state, ascending.
pub(super) fn steps<'a>(catalog: &'a Catalog, tree: &PointTree) -> impl Iterator<Item = i64> + use<'a> {
    steps_until(catalog, tree.tree, tree.seq).iter().map(move |step| catalog.serial(step.at))
}

/// Returns the highest serial of a step of a tree of steps up to a number.
pub(super) fn newest_step(catalog: &Catalog, tree: &PointTree, until: i64) -> Option<i64> {
    let steps = steps_until(catalog, tree.tree, tree.seq);
    let count = steps.partition_point(|step| catalog.serial(step.at) <= until);
    steps.get(count.checked_sub(1)?).map(|step| catalog.serial(step.at))
}

pub(super) fn of_step(catalog: &Catalog, tree: TreeId, seq: Seq) -> Option<u64> {
    let step = steps_until(catalog, tree, seq).last()?;
    u64::try_from(catalog.serial(step.at)).ok()
}

/// Returns the steps of a tree of steps up to a sequence number, oldest first.
fn steps_until(catalog: &Catalog, tree: TreeId, seq: Seq) -> &[Step] {
    let steps = catalog.tree(tree).map(|tree| tree.steps.as_slice()).unwrap_or_default();
    let count = steps.partition_point(|step| step.seq <= seq);
    steps.get(..count).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::ids::SourceId;

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
            let newest_step = |until: i64| steps.iter().copied().filter(|step| *step <= until).max();
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

    /// Random steps, many of them in bursts, and syncs of an index: every change has a higher serial than every list that a
    /// mirror could read before the change.
    #[test]
    fn a_change_has_a_higher_serial_than_every_earlier_list() {
        const SECOND: i64 = 1_000_000;
        let mut random: u32 = 7;
        let mut below = |limit: i64| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            i64::from(random >> 16) % limit
        };
        let mut now = 1_700_000_000 * SECOND;
        let (mut steps, mut changes): (Vec<i64>, Vec<u64>) = (Vec::new(), Vec::new());
        let (mut highest, mut last_sync, mut is_ahead) = (0, 0, false);
        for number in 0..2_000 {
            now += match below(8) {
                0 => 3_600 * SECOND + below(86_400) * SECOND,
                1..=3 => 1,
                _ => 1 + below(120_000),
            };
            let is_sync = number % 5 == 0 && now - last_sync >= 2 * RESOLUTION;
            if is_sync {
                last_sync = now;
                changes.push(u64::try_from(now - 900 * SECOND).unwrap());
            } else {
                let next = steps.last().map_or(0, |step| step + SERIAL_GAP);
                is_ahead |= next > now;
                steps.push(now.max(next));
            }
            let newest_step = |until: i64| {
                let count = steps.partition_point(|step| *step <= until);
                steps.get(count.checked_sub(1)?).copied()
            };
            let of_change = |change: &u64| beside_steps(*change, newest_step);
            let new = match (is_sync, changes.last(), steps.last()) {
                (true, Some(change), _) => of_change(change),
                (_, _, Some(step)) => u64::try_from(*step).unwrap(),
                (_, _, None) => continue,
            };
            assert!(new > highest, "{number}: {new} after {highest}");
            let of_steps = steps.last().map_or(0, |step| u64::try_from(*step).unwrap());
            highest = changes.iter().map(of_change).max().unwrap_or(0).max(of_steps);
        }
        assert!(changes.len() > 50 && is_ahead);
    }
}
