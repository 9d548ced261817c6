//! Evaluates the version ranges of an advisory. Rules: <https://ossf.github.io/osv-schema/#evaluation>.

use crate::language::{Ecosystem, Version};

/// A range with its events in the order of the advisory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// `ECOSYSTEM`, `SEMVER` or `GIT`.
    pub kind: Box<str>,
    pub events: Box<[RangeEvent]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeEvent {
    pub kind: RangeEventKind,
    /// The version or commit. `0` as an introduction precedes all versions; `*` as a limit follows all versions.
    pub version: Box<str>,
}

/// The kind of an event. Events at the same version are evaluated in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RangeEventKind {
    /// This version and later ones are affected.
    Introduced,
    /// Versions up to and including this one are affected.
    LastAffected,
    /// Versions up to, but not including, this one are affected.
    Fixed,
    /// The range does not apply to this version and later ones.
    Limit,
}

#[derive(Clone, Debug)]
pub(super) struct PreparedRange {
    /// The sorted events, without limits.
    events: Box<[(Bound, RangeEventKind)]>,
    /// The limits. If there are any, a version must be below one of them.
    limits: Box<[Bound]>,
}

/// The position of an event.
#[derive(Clone, Debug)]
enum Bound {
    Start,
    Version(Version<'static>),
    End,
}

impl Bound {
    fn new(ecosystem: Ecosystem, event: &RangeEvent) -> Bound {
        match (event.kind, &*event.version) {
            (RangeEventKind::Introduced, "0") => Bound::Start,
            (RangeEventKind::Limit, "*") => Bound::End,
            (_, text) => Bound::Version(ecosystem.rules().version(text).into_owned()),
        }
    }

    fn compare_version(&self, version: &Version<'_>) -> std::cmp::Ordering {
        match self {
            Bound::Start => std::cmp::Ordering::Less,
            Bound::Version(bound) => bound.cmp(version),
            Bound::End => std::cmp::Ordering::Greater,
        }
    }

    fn compare_bound(&self, other: &Bound) -> std::cmp::Ordering {
        match (self, other) {
            (Bound::Version(a), Bound::Version(b)) => a.cmp(b),
            (Bound::Start, Bound::Start) | (Bound::End, Bound::End) => std::cmp::Ordering::Equal,
            (Bound::Start, _) | (_, Bound::End) => std::cmp::Ordering::Less,
            (_, Bound::Start) | (Bound::End, _) => std::cmp::Ordering::Greater,
        }
    }
}

impl PreparedRange {
    /// Prepares a range; `None` for a range of commits, whose order only the source code repository contains.
    pub(super) fn new(ecosystem: Ecosystem, range: &Range) -> Option<PreparedRange> {
        if !matches!(&*range.kind, "ECOSYSTEM" | "SEMVER") {
            return None;
        }
        let bound = |event: &RangeEvent| (Bound::new(ecosystem, event), event.kind);
        let (limits, mut events): (Vec<_>, Vec<_>) =
            range.events.iter().map(bound).partition(|(_, kind)| *kind == RangeEventKind::Limit);
        events.sort_by(|(a, a_kind), (b, b_kind)| a.compare_bound(b).then(a_kind.cmp(b_kind)));
        Some(PreparedRange {
            events: events.into(),
            limits: limits.into_iter().map(|(bound, _)| bound).collect(),
        })
    }

    pub(super) fn contains(&self, version: &Version<'_>) -> bool {
        if !self.limits.is_empty() && !self.limits.iter().any(|limit| limit.compare_version(version).is_gt())
        {
            return false;
        }
        let mut is_affected = false;
        for (bound, kind) in &self.events {
            let order = bound.compare_version(version);
            match kind {
                RangeEventKind::Introduced if order.is_le() => is_affected = true,
                RangeEventKind::Fixed if order.is_le() => is_affected = false,
                RangeEventKind::LastAffected if order.is_lt() => is_affected = false,
                RangeEventKind::Introduced
                | RangeEventKind::Fixed
                | RangeEventKind::LastAffected
                | RangeEventKind::Limit => {}
            }
        }
        is_affected
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(events: &[(RangeEventKind, &str)]) -> Range {
        let events =
            events.iter().map(|(kind, version)| RangeEvent { kind: *kind, version: (*version).into() });
        Range { kind: "ECOSYSTEM".into(), events: events.collect() }
    }

    fn contains(ecosystem: Ecosystem, range: &Range, version: &str) -> bool {
        PreparedRange::new(ecosystem, range).expect("an order").contains(&ecosystem.rules().version(version))
    }

    use RangeEventKind::{Fixed, Introduced, LastAffected, Limit};

    fn assert_contains(ecosystem: Ecosystem, range: &Range, members: &[&str], others: &[&str]) {
        members.iter().for_each(|v| assert!(contains(ecosystem, range, v), "{v} in {range:?}"));
        others.iter().for_each(|v| assert!(!contains(ecosystem, range, v), "{v} not in {range:?}"));
    }

    #[test]
    fn a_range_begins_where_it_was_introduced_and_ends_before_its_fix() {
        let check = |events: &[_], members: &[&str], others: &[&str]| {
            assert_contains(Ecosystem::Cran, &range(events), members, others)
        };
        check(
            &[(Introduced, "0.1-3"), (Fixed, "0.1-9")],
            &["0.1.3", "0.1-8", "0.1.8.9"],
            &["0.1-2", "0.1.9", "1.0"],
        );
        check(&[(Introduced, "0")], &["0.0", "0.0.0-1", "99.9"], &[]);
        check(&[(Introduced, "0"), (LastAffected, "1.2")], &["0.1", "1.2"], &["1.2.0", "1.3"]);
        check(&[(Fixed, "2.0"), (Introduced, "1.0")], &["1.0", "1.9"], &["0.9", "2.0"]);
        check(
            &[(Introduced, "1.0"), (Fixed, "1.2"), (Introduced, "2.0"), (Fixed, "2.1")],
            &["1.1", "2.0.5"],
            &["1.5", "2.1"],
        );
        check(&[(Introduced, "1.0"), (LastAffected, "1.0")], &["1.0", "1-0"], &["0.9", "1.0.1"]);
        check(&[(Introduced, "1.0"), (Fixed, "1.0")], &[], &["0.9", "1.0", "1.1"]);
        check(&[(Introduced, "0"), (Limit, "1.5")], &["1.4"], &["1.5", "2.0"]);
        check(&[(Introduced, "0"), (Limit, "1.5"), (Limit, "*")], &["1.4", "9.0"], &[]);
        check(&[], &[], &["1.0"]);
    }

    #[test]
    fn invalid_versions_of_r_are_sorted_near_their_numbers() {
        let range_with_letters = range(&[(Introduced, "1.0a"), (Fixed, "1.2-rc1")]);
        assert_contains(
            Ecosystem::Cran,
            &range_with_letters,
            &["1.0a", "1.0.1", "1.1"],
            &["0.9", "1.3", "2.0"],
        );
    }

    #[test]
    fn versions_of_python_have_their_own_order() {
        let check = |events: &[_], members: &[&str], others: &[&str]| {
            assert_contains(Ecosystem::Pypi, &range(events), members, others)
        };
        check(
            &[(Introduced, "5.1"), (Fixed, "5.3.1")],
            &["5.1", "5.2b1", "5.3"],
            &["5.1b3", "5.3.1", "5.10"],
        );
        check(&[(Introduced, "0"), (Fixed, "2.10")], &["2.9", "2.10rc1", "2004d"], &["2.10", "2.10.post1"]);
        check(&[(Introduced, "0")], &["0.0.1a1", "any text"], &[]);
    }

    #[test]
    fn ranges_of_commits_are_ignored() {
        assert!(
            PreparedRange::new(Ecosystem::Pypi, &Range { kind: "GIT".into(), ..range(&[(Introduced, "0")]) })
                .is_none()
        );
    }

    /// Evaluates the events by the algorithm of the schema, for versions that are numbers.
    fn expected_membership(events: &[(RangeEventKind, u8)], v: u8) -> bool {
        let limits: Vec<u8> = events.iter().filter(|e| e.0 == Limit).map(|e| e.1).collect();
        if !limits.is_empty() && limits.iter().all(|limit| v >= *limit) {
            return false;
        }
        let mut is_affected = false;
        for version in 0..=v {
            let has_event = |kind| events.contains(&(kind, version));
            if has_event(Introduced) {
                is_affected = true;
            }
            if (has_event(LastAffected) && v > version) || has_event(Fixed) {
                is_affected = false;
            }
        }
        is_affected
    }

    fn event() -> impl Strategy<Value = (RangeEventKind, u8)> {
        let kind =
            prop_oneof![4 => Just(Introduced), 3 => Just(Fixed), 2 => Just(LastAffected), 1 => Just(Limit)];
        (kind, 0_u8..8)
    }

    proptest! {
        #[test]
        fn ranges_are_evaluated_as_the_schema_defines(
            events in proptest::collection::vec(event(), 0..7), v in 0_u8..9, python in any::<bool>(),
        ) {
            // The number 0 becomes the version `0`, which precedes all versions.
            let (ecosystem, text) = if python {
                (Ecosystem::Pypi, (|n: u8| if n == 0 { "0".to_owned() } else { format!("0.{n}.0") }) as fn(u8) -> String)
            } else {
                (Ecosystem::Cran, (|n: u8| if n == 0 { "0".to_owned() } else { format!("0.{n}") }) as fn(u8) -> String)
            };
            let range_events: Vec<RangeEvent> = events
                .iter()
                .map(|(kind, n)| RangeEvent { kind: *kind, version: text(*n).into() })
                .collect();
            let range = Range { kind: "ECOSYSTEM".into(), events: range_events.into() };
            prop_assert_eq!(contains(ecosystem, &range, &text(v)), expected_membership(&events, v), "{} in {:?}", v, range);
        }
    }
}
