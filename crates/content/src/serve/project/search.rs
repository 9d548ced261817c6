//! Searches for projects of a point by their names and texts, in the order of a query.

use std::collections::BTreeSet;

use super::names::ProjectNames;
use crate::serve::views::package_query::{PackageQuery, SortBy};
use base::model::kind::Language;
use base::model::point::PointTree;
use formats::language::{self, Rules};

/// Returns the number of projects with matching normalized names or texts, and the positions of those of the page. `trees`
/// are those of the point. Projects of an index, without a known version, come first.
pub(in crate::serve) fn page(
    names: &ProjectNames,
    trees: &[PointTree],
    language: Language,
    query: &PackageQuery,
) -> (usize, Vec<usize>) {
    let rules = language::of(language);
    let part = rules.fold(&query.name_part);
    let is_visible =
        |position: &usize| query.hidden.as_ref().is_none_or(|hidden| !hidden.contains(names.name(*position)));
    let is_match = |position: &usize| {
        (!query.is_prefix || names.name(*position).starts_with(&*part)) && is_visible(position)
    };
    if let Some(name) = &query.name {
        let found = names.position_of(&rules.fold(name));
        let found = found.filter(|position| names.name(*position).contains(&*part) && is_match(position));
        let page = found.into_iter().skip(query.offset).take(query.limit);
        return (usize::from(found.is_some()), page.collect());
    }
    let is_exact_first = query.exact_first || query.sort == SortBy::Relevance;
    let first = names.position_of(&part).filter(|position| is_exact_first && is_match(position));
    let others = names.containing(&part).filter(|position| Some(*position) != first && is_match(position));
    let is_in_order = query.sort == SortBy::Name && !query.descending;
    let max = match query.omits_total && is_in_order {
        true => query.offset.saturating_add(query.limit),
        false => usize::MAX,
    };
    // Positions of a million names take 4 MB.
    let number = |position| u32::try_from(position).ok();
    let mut others: Vec<u32> = others.take(max).filter_map(number).collect();
    let mut texts = text_positions(names, trees, query);
    texts.retain(|position| !names.name(*position).contains(&*part) && is_visible(position));
    let mut texts: Vec<u32> = texts.into_iter().filter_map(number).collect();
    let total = others.len() + texts.len() + usize::from(first.is_some());
    if query.sort != SortBy::Relevance && !texts.is_empty() {
        others.append(&mut texts);
        others.sort_unstable();
    }
    let others = in_order(names, rules, others, query);
    let others = others.into_iter().chain(texts).map(|position| position as usize);
    (total, first.into_iter().chain(others).skip(query.offset).take(query.limit).collect())
}

/// Returns the positions of the projects whose texts match, in the order of relevance: not those of an index, which have no
/// texts.
fn text_positions(names: &ProjectNames, trees: &[PointTree], query: &PackageQuery) -> Vec<usize> {
    let Some(texts) = query.texts.as_ref().filter(|texts| !texts.is_empty()) else { return Vec::new() };
    let found = names.versions().filter_map(|(position, listed)| {
        let tree = trees.get(names.tree_position(position))?;
        Some((texts.tier(tree, listed.package)?, position))
    });
    let mut found: Vec<(usize, usize)> = found.collect();
    found.sort_unstable();
    found.into_iter().map(|(_, position)| position).collect()
}

fn in_order(
    names: &ProjectNames,
    rules: &dyn Rules,
    mut positions: Vec<u32>,
    query: &PackageQuery,
) -> Vec<u32> {
    let version = |position: u32| names.version(position as usize);
    match query.sort {
        SortBy::Name if query.descending => positions.reverse(),
        SortBy::Name => {}
        SortBy::Relevance => {
            let part = rules.fold(&query.name_part);
            positions.sort_by_key(|position| !names.name(*position as usize).starts_with(&*part));
        }
        SortBy::Version => {
            let key = |position| Some(rules.version(&version(position)?.version));
            positions = with_known_keys(positions, query.descending, key);
        }
        SortBy::Published => {
            positions =
                with_known_keys(positions, query.descending, |position| version(position)?.published_at);
        }
        SortBy::Source => {
            let tree = |position: u32| names.tree_position(position as usize);
            let trees: BTreeSet<usize> = positions.iter().map(|position| tree(*position)).collect();
            let mut trees: Vec<usize> = trees.into_iter().collect();
            if query.descending {
                trees.reverse();
            }
            let of_tree = |of: usize| positions.iter().copied().filter(move |position| tree(*position) == of);
            positions = trees.into_iter().flat_map(of_tree).collect();
        }
    }
    positions
}

/// Sorts positions by a key that few have: a key for each of a million projects would take a hundred
/// megabytes. The order is stable; those without a key come first, or last if descending.
fn with_known_keys<K: Ord>(
    mut positions: Vec<u32>,
    descending: bool,
    key: impl Fn(u32) -> Option<K>,
) -> Vec<u32> {
    let mut known = Vec::new();
    positions.retain(|position| match key(*position) {
        Some(key) => {
            known.push((key, *position));
            false
        }
        None => true,
    });
    known.sort_by(|(a, _), (b, _)| if descending { b.cmp(a) } else { a.cmp(b) });
    let known = known.into_iter().map(|(_, position)| position);
    if descending { known.chain(positions).collect() } else { positions.into_iter().chain(known).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::project::names::ProjectListing;
    use crate::serve::search::matches::TextMatches;
    use base::model::ids::{PackageId, Seq, SourceId, TreeId};
    use base::model::time::Timestamp;
    use std::sync::Arc;
    use store::search::Match;

    fn query() -> PackageQuery {
        PackageQuery { limit: 10, ..PackageQuery::default() }
    }

    /// Projects of an index, and of the local source `team` with their versions.
    fn projects() -> ProjectNames {
        let mut names = ProjectNames::default();
        for (name, version) in
            [("a-b", None), ("b", Some(("2.0", 5))), ("b-c", None), ("cb", Some(("10.0", 3))), ("d", None)]
        {
            let listed = version.map(|(version, at): (&str, i64)| ProjectListing {
                package: PackageId(1),
                version: version.to_owned(),
                published_at: Some(Timestamp(at)),
                files: Vec::new(),
            });
            names.push(name, usize::from(version.is_none()), listed);
        }
        names
    }

    fn trees() -> [PointTree; 2] {
        [1, 2].map(|number| PointTree {
            source: SourceId(number),
            tree: TreeId(number),
            seq: Seq(1),
            base: None,
            rules: None,
        })
    }

    fn project_text(query: &PackageQuery) -> (usize, String) {
        let names = projects();
        let (total, positions) = page(&names, &trees(), Language::Python, query);
        let found: Vec<&str> = positions.into_iter().map(|position| names.name(position)).collect();
        (total, found.join(" "))
    }

    #[test]
    fn projects_are_found_and_sorted_like_packages() {
        let b = PackageQuery { name_part: "B".to_owned(), ..query() };
        assert_eq!(project_text(&b), (4, "a-b b b-c cb".to_owned()));
        let exact = PackageQuery { exact_first: true, ..b.clone() };
        assert_eq!(project_text(&exact), (4, "b a-b b-c cb".to_owned()));
        let descending = PackageQuery { descending: true, ..exact.clone() };
        assert_eq!(project_text(&descending), (4, "b cb b-c a-b".to_owned()));
        let prefix = PackageQuery { is_prefix: true, ..b.clone() };
        assert_eq!(project_text(&prefix), (2, "b b-c".to_owned()));
        let by = |sort, descending| project_text(&PackageQuery { sort, descending, ..query() }).1;
        assert_eq!(by(SortBy::Version, false), "a-b b-c d b cb", "unknown versions first, 2.0 before 10.0");
        assert_eq!(by(SortBy::Version, true), "cb b a-b b-c d");
        assert_eq!(by(SortBy::Published, false), "a-b b-c d cb b");
        assert_eq!(by(SortBy::Source, false), "b cb a-b b-c d");
        assert_eq!(by(SortBy::Source, true), "a-b b-c d b cb");
        for (name, found) in [("B", "b"), ("b_c", "b-c"), ("bc", "")] {
            let named = PackageQuery { name: Some(name.to_owned()), ..query() };
            assert_eq!(project_text(&named), (usize::from(!found.is_empty()), found.to_owned()));
        }
        let other_part = PackageQuery { name: Some("d".to_owned()), ..b };
        assert_eq!(project_text(&other_part), (0, String::new()));
    }

    #[test]
    fn projects_with_matching_texts_come_after_those_with_the_name() {
        let found = [1, 2].map(|source| (SourceId(source), Match { package: PackageId(1), tier: 1 }));
        let texts = Some(Arc::new(found.into_iter().collect::<TextMatches>()));
        let search = |name_part: &str, sort| {
            let (name_part, texts) = (name_part.to_owned(), texts.clone());
            project_text(&PackageQuery { name_part, sort, texts, ..query() })
        };
        // `b` and `cb` are packages of the source 1.
        assert_eq!(search("c", SortBy::Relevance), (3, "cb b-c b".to_owned()));
        assert_eq!(search("c", SortBy::Name), (3, "b b-c cb".to_owned()));
        assert_eq!(search("trees", SortBy::Relevance), (2, "b cb".to_owned()));
        assert_eq!(search("cb", SortBy::Relevance), (2, "cb b".to_owned()));
    }

    #[test]
    fn a_page_without_total_has_the_same_projects() {
        for name_part in ["", "b", "none"] {
            for (offset, limit) in [(0, 1), (0, 2), (1, 2), (3, 10), (9, 1)] {
                for exact_first in [false, true] {
                    let name_part = name_part.to_owned();
                    let with_total = PackageQuery { name_part, offset, limit, exact_first, ..query() };
                    let without = PackageQuery { omits_total: true, ..with_total.clone() };
                    assert_eq!(project_text(&without).1, project_text(&with_total).1, "{without:?}");
                }
            }
        }
        let all = PackageQuery { limit: 1, omits_total: true, ..query() };
        assert_eq!(project_text(&all), (1, "a-b".to_owned()), "other names are not compared");
    }
}
