//! The names of lists in memory, and which of them a query finds, in which order.

use std::cmp::Reverse;

use super::package_query::{PackageQuery, SortBy};
use base::model::ids::{PackageId, ReleaseId};
use base::model::point::PointTree;
use base::model::time::Timestamp;
use formats::r::version;
use store::db::life::ListedName;

/// A listed name. A list stays in memory, so the texts have no spare capacity, and the tree is a position.
#[derive(Clone)]
pub(in crate::serve) struct OwnedName {
    pub(in crate::serve) name: Box<str>,
    /// The name in lower case.
    pub(in crate::serve) normalized_name: Box<str>,
    pub(in crate::serve) version: Box<str>,
    pub(in crate::serve) package: PackageId,
    pub(in crate::serve) release: ReleaseId,
    pub(in crate::serve) published_at: Option<Timestamp>,
    /// The position of its tree among those of the point.
    pub(in crate::serve) tree: u32,
}

impl OwnedName {
    pub(in crate::serve) fn new(listed: ListedName, tree: u32) -> OwnedName {
        let ListedName { name, normalized_name, package, version, published_at, release } = listed;
        let (name, normalized_name, version) = (name.into(), normalized_name.into(), version.into());
        OwnedName { name, normalized_name, version, package, release, published_at, tree }
    }

    pub(in crate::serve) fn memory(&self) -> usize {
        size_of::<OwnedName>() + self.name.len() + self.normalized_name.len() + self.version.len()
    }
}

/// Returns the number of matching names, and those of the page. `trees` are those of the point.
pub(in crate::serve) fn page(
    names: &[OwnedName],
    trees: &[PointTree],
    query: &PackageQuery,
) -> (usize, Vec<OwnedName>) {
    let part = query.name_part.to_lowercase();
    let texts = query.texts.as_ref().filter(|texts| !texts.is_empty());
    let text_tier = |entry: &OwnedName| {
        let tree = trees.get(entry.tree as usize)?;
        texts?.tier(tree, entry.package)
    };
    let is_match = |entry: &&OwnedName| {
        (query.has_part(&entry.normalized_name, &part) || text_tier(entry).is_some())
            && query.name.as_ref().is_none_or(|name| **name == *entry.name)
            && query.hidden.as_ref().is_none_or(|hidden| !hidden.contains(&entry.name))
    };
    let mut matches: Vec<&OwnedName> = names.iter().filter(is_match).collect();
    let is_descending = query.descending;
    match query.sort {
        SortBy::Name if is_descending => matches.reverse(),
        SortBy::Name => {}
        SortBy::Relevance => matches.sort_by_cached_key(|entry| {
            let name = &*entry.normalized_name;
            (
                name != part,
                !name.starts_with(&part),
                !name.contains(&part),
                text_tier(entry).unwrap_or(usize::MAX),
            )
        }),
        SortBy::Version if is_descending => {
            matches.sort_by(|a, b| version::compare(&b.version, &a.version));
        }
        SortBy::Version => matches.sort_by(|a, b| version::compare(&a.version, &b.version)),
        SortBy::Published => sort_by_key(&mut matches, is_descending, |entry| entry.published_at),
        SortBy::Source => sort_by_key(&mut matches, is_descending, |entry| entry.tree),
    }
    if query.exact_first {
        matches.sort_by_key(|entry| *entry.normalized_name != *part);
    }
    let page = matches.iter().skip(query.offset).take(query.limit);
    (matches.len(), page.map(|entry| (*entry).clone()).collect())
}

/// Sorts entries by a key, which is read once for each entry: comparisons would read the entries in a random order.
fn sort_by_key<K: Ord>(entries: &mut [&OwnedName], is_descending: bool, key: impl Fn(&OwnedName) -> K) {
    if is_descending {
        entries.sort_by_cached_key(|entry| Reverse(key(entry)));
    } else {
        entries.sort_by_cached_key(|entry| key(entry));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::search::matches::TextMatches;
    use base::model::ids::{Seq, SourceId, TreeId};
    use std::sync::Arc;
    use store::search::Match;

    fn entry(name: &str, version: &str, published: Option<i64>, tree: u32) -> OwnedName {
        let name = ListedName {
            name: name.to_owned(),
            normalized_name: name.to_lowercase(),
            package: PackageId(name.len() as i64),
            version: version.to_owned(),
            published_at: published.map(Timestamp),
            release: ReleaseId(1),
        };
        OwnedName::new(name, tree)
    }

    fn tree(source: i64) -> PointTree {
        PointTree { source: SourceId(source), tree: TreeId(source), seq: Seq(1), base: None, rules: None }
    }

    fn page_text(query: &PackageQuery) -> (usize, String) {
        let names = vec![
            entry("abc", "1.10", Some(3), 0),
            entry("Shiny", "1.9", None, 1),
            entry("shinyBS", "0.1", Some(1), 0),
            entry("xshiny", "2.0", Some(2), 1),
        ];
        let (total, page) = page(&names, &[tree(1), tree(2)], query);
        (total, page.iter().map(|entry| &*entry.name).collect::<Vec<_>>().join(" "))
    }

    fn query() -> PackageQuery {
        PackageQuery { limit: 10, ..PackageQuery::default() }
    }

    #[test]
    fn packages_are_sorted_by_the_requested_key() {
        let by = |sort, descending| page_text(&PackageQuery { sort, descending, ..query() }).1;
        assert_eq!(by(SortBy::Name, false), "abc Shiny shinyBS xshiny");
        assert_eq!(by(SortBy::Name, true), "xshiny shinyBS Shiny abc");
        assert_eq!(by(SortBy::Version, false), "shinyBS Shiny abc xshiny");
        assert_eq!(by(SortBy::Published, true), "abc xshiny shinyBS Shiny");
        assert_eq!(by(SortBy::Source, false), "abc shinyBS Shiny xshiny");
    }

    #[test]
    fn a_part_of_the_name_is_found_and_pages_contain_only_matches() {
        let search = PackageQuery { name_part: "SHINY".to_owned(), ..query() };
        assert_eq!(page_text(&search), (3, "Shiny shinyBS xshiny".to_owned()));
        let last = PackageQuery { limit: 1, offset: 2, ..search.clone() };
        assert_eq!(page_text(&last), (3, "xshiny".to_owned()));
        let prefix = PackageQuery { is_prefix: true, ..search.clone() };
        assert_eq!(page_text(&prefix), (2, "Shiny shinyBS".to_owned()));
        let exact = PackageQuery { exact_first: true, descending: true, ..search };
        assert_eq!(page_text(&exact).1, "Shiny xshiny shinyBS");
        let named_query = PackageQuery { name: Some("abc".to_owned()), ..query() };
        assert_eq!(page_text(&named_query), (1, "abc".to_owned()));
    }

    #[test]
    fn a_search_finds_names_before_texts_and_only_texts_of_the_source_that_owns_the_name() {
        // Packages have the length of their names as number.
        let found = [(2, 3, 0), (1, 7, 3), (2, 6, 1)]
            .map(|(source, package, tier)| (SourceId(source), Match { package: PackageId(package), tier }));
        let search = |name_part: &str, sort| {
            let texts = Some(Arc::new(found.into_iter().collect::<TextMatches>()));
            page_text(&PackageQuery { name_part: name_part.to_owned(), sort, texts, ..query() })
        };
        let relevance = SortBy::Relevance;
        assert_eq!(
            search("apps", relevance),
            (2, "xshiny shinyBS".to_owned()),
            "abc of source 2 is not listed"
        );
        assert_eq!(search("shiny", relevance), (3, "Shiny shinyBS xshiny".to_owned()));
        assert_eq!(search("abc", relevance), (3, "abc xshiny shinyBS".to_owned()));
        assert_eq!(search("abc", SortBy::Version), (3, "shinyBS abc xshiny".to_owned()));
    }
}
