//! Name guards with names in common.

use std::collections::BTreeMap;
use std::ops::Bound;

use base::model::kind::Language;
use formats::policy::NamePattern;
use store::db::name_guard::NameGuardRow;

/// Guards that administrators created; a search compares only those whose texts begin alike.
#[derive(Default)]
pub struct Guards<'a> {
    names: ByText<'a>,
    prefixes: ByText<'a>,
    count: usize,
}

/// Guards by the language and the text of their pattern without `*`.
type ByText<'a> = BTreeMap<String, Vec<Added<'a>>>;

struct Added<'a> {
    /// The number of guards that were added before.
    number: usize,
    row: &'a NameGuardRow,
}

impl<'a> Guards<'a> {
    /// Adds a guard. Automatic guards conflict with no other, and are left out.
    pub fn add(&mut self, row: &'a NameGuardRow) {
        let Some(pattern) = pattern(row).filter(|_| !row.automatic) else { return };
        let all = if is_prefix(&pattern) { &mut self.prefixes } else { &mut self.names };
        all.entry(text(row, &pattern)).or_default().push(Added { number: self.count, row });
        self.count += 1;
    }

    /// Returns the guard, the first if there are several, that has a name in common with one of another source, or equals
    /// one of the same source.
    pub fn conflict(&self, row: &NameGuardRow) -> Option<&'a NameGuardRow> {
        let pattern = pattern(row)?;
        let (text, is_prefix) = (text(row, &pattern), is_prefix(&pattern));
        let equal = if is_prefix { &self.prefixes } else { &self.names };
        let above = (1..=text.len()).filter_map(|end| self.prefixes.get(text.get(..end)?));
        let below = [&self.names, &self.prefixes].into_iter().filter(|_| is_prefix).flat_map(|all| {
            let from = all.range::<str, _>((Bound::Included(text.as_str()), Bound::Unbounded));
            from.take_while(|(other, _)| other.starts_with(&text)).map(|(_, added)| added)
        });
        let others = above.chain(below).flatten().filter(|added| added.row.source != row.source);
        let all = equal.get(&text).into_iter().flatten().chain(others);
        all.min_by_key(|added| added.number).map(|added| added.row)
    }
}

fn pattern(row: &NameGuardRow) -> Option<NamePattern> {
    NamePattern::parse(&row.pattern, Language::parse(&row.language)?).ok()
}

const fn is_prefix(pattern: &NamePattern) -> bool {
    matches!(pattern, NamePattern::Prefix(_))
}

fn text(row: &NameGuardRow, pattern: &NamePattern) -> String {
    format!("{} {}", row.language, pattern.stem())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::ids::SourceId;
    use base::model::time::Timestamp;
    use proptest::prelude::*;
    use store::db::name_guard::GuardState;

    fn guard() -> impl Strategy<Value = NameGuardRow> {
        let language = prop_oneof![Just("r"), Just("python"), Just("other")];
        let is_automatic = prop::bool::weighted(0.1);
        (language, "[ab][ab.-]{0,4}[*]?", 1..4_i64, is_automatic).prop_map(
            |(language, name, source, automatic)| NameGuardRow {
                id: 0,
                language: language.to_owned(),
                pattern: name,
                source: SourceId(source),
                automatic,
                state: GuardState::InForce,
                description: String::new(),
                created_by: String::new(),
                created_at: Timestamp(0),
            },
        )
    }

    /// Compares a guard with each of the others.
    fn pairwise<'a>(others: &'a [NameGuardRow], row: &NameGuardRow) -> Option<&'a NameGuardRow> {
        let own = pattern(row)?;
        others.iter().find(|other| {
            let Some(pattern) = pattern(other) else { return false };
            let is_comparable = !other.automatic && other.language == row.language;
            is_comparable && if other.source == row.source { pattern == own } else { pattern.overlaps(&own) }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn a_search_has_the_result_of_all_comparisons(
            others in prop::collection::vec(guard(), 0..12),
            row in guard(),
        ) {
            let mut guards = Guards::default();
            others.iter().for_each(|other| guards.add(other));
            let (found, expected) = (guards.conflict(&row), pairwise(&others, &row));
            prop_assert_eq!(found.map(std::ptr::from_ref), expected.map(std::ptr::from_ref));
        }
    }

    #[test]
    fn many_guards_are_compared_with_few() {
        let row = |number: u32, suffix: &str| NameGuardRow {
            id: 0,
            language: "r".to_owned(),
            pattern: format!("g{number}.x{suffix}"),
            source: SourceId(i64::from(number % 2)),
            automatic: false,
            state: GuardState::InForce,
            description: String::new(),
            created_by: String::new(),
            created_at: Timestamp(0),
        };
        let rows: Vec<_> =
            (0..50_000).map(|number| row(number, if number % 3 == 0 { "*" } else { "" })).collect();
        let mut guards = Guards::default();
        // Comparisons of all pairs would take longer than a test may.
        for row in &rows {
            assert!(guards.conflict(row).is_none());
            guards.add(row);
        }
    }
}
