//! The plan of an update of a curated source: the changes between its current releases and a selection.

use std::collections::{BTreeMap, BTreeSet};

use super::selection::Selection;
use crate::r::version;
use base::model::ids::ReleaseId;
use base::words;

/// A release that a source lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedRelease {
    pub release: ReleaseId,
    pub version: String,
}

words! {
    /// The change of a package by an update.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Change {
        Added = "added",
        /// It has a higher version, or different bytes under the same version.
        Updated = "updated",
        Downgraded = "downgraded",
        Removed = "removed",
        Kept = "kept",
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackagePlanRow {
    pub name: String,
    /// The selected version; for a removed package, its current version.
    pub version: String,
    /// The current version, if the selected one differs.
    pub previous: Option<String>,
    pub change: Change,
    /// The shortest chain of dependencies from a requested package to this one; empty for a removed package.
    pub chain: Vec<String>,
    /// The selected release; `None` for a package that is removed.
    pub release: Option<ReleaseId>,
}

/// Returns the rows, by name. `present` has the releases of the source, `listed` those of the base. The release of a
/// selected package is [`SelectedRelease::other`], or else that in `listed`; one with neither is omitted.
pub fn rows(
    present: &BTreeMap<String, ListedRelease>,
    selection: &Selection,
    listed: &BTreeMap<String, ReleaseId>,
) -> Vec<PackagePlanRow> {
    let names: BTreeSet<&String> = present.keys().chain(selection.packages.keys()).collect();
    let row = |name: &String| {
        let old = present.get(name);
        let Some(selected) = selection.packages.get(name) else {
            return old.map(|old| PackagePlanRow {
                name: name.clone(),
                version: old.version.clone(),
                previous: None,
                change: Change::Removed,
                chain: Vec::new(),
                release: None,
            });
        };
        let release = selected.other.or_else(|| listed.get(name).copied())?;
        let change = match old {
            None => Change::Added,
            Some(old) if old.release == release => Change::Kept,
            Some(old) if version::compare(&selected.version, &old.version).is_lt() => Change::Downgraded,
            Some(_) => Change::Updated,
        };
        let previous = old.filter(|old| old.version != selected.version).map(|old| old.version.clone());
        Some(PackagePlanRow {
            name: name.clone(),
            version: selected.version.clone(),
            previous,
            change,
            chain: selected.chain.clone(),
            release: Some(release),
        })
    };
    names.into_iter().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::super::selection::SelectedRelease;
    use super::*;

    #[test]
    fn each_package_has_one_row() {
        let old = |release, version: &str| ListedRelease {
            release: ReleaseId(release),
            version: version.to_owned(),
        };
        let present = BTreeMap::from([
            ("down".to_owned(), old(1, "2.0")),
            ("gone".to_owned(), old(2, "1.0")),
            ("same".to_owned(), old(3, "1.0")),
            ("up".to_owned(), old(4, "1.9")),
            ("bytes".to_owned(), old(5, "1.0")),
        ]);
        let selected = |version: &str, other: Option<i64>| SelectedRelease {
            version: version.to_owned(),
            other: other.map(ReleaseId),
            chain: vec!["root".to_owned()],
        };
        let packages = BTreeMap::from([
            ("down".to_owned(), selected("1.0", Some(11))),
            ("same".to_owned(), selected("1.0", None)),
            ("up".to_owned(), selected("1.10", None)),
            ("bytes".to_owned(), selected("1.0", None)),
            ("new1".to_owned(), selected("0.1", None)),
        ]);
        let listed = BTreeMap::from([
            ("same".to_owned(), ReleaseId(3)),
            ("up".to_owned(), ReleaseId(14)),
            ("bytes".to_owned(), ReleaseId(15)),
            ("new1".to_owned(), ReleaseId(16)),
        ]);
        let rows = rows(&present, &Selection { packages, ..Selection::default() }, &listed);
        let text: Vec<String> = rows
            .iter()
            .map(|row| {
                let previous = row.previous.as_deref().unwrap_or("-");
                format!("{} {} {previous} {}", row.name, row.version, row.change.as_str())
            })
            .collect();
        assert_eq!(
            text,
            [
                "bytes 1.0 - updated",
                "down 1.0 2.0 downgraded",
                "gone 1.0 - removed",
                "new1 0.1 - added",
                "same 1.0 - kept",
                "up 1.10 1.9 updated",
            ]
        );
    }
}
