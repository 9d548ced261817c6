//! Queries for packages of a point: a part of the name, matching texts, an order, and a page.

use std::str::FromStr;
use std::sync::Arc;

use crate::serve::search::matches::TextMatches;
use crate::serve::selection::name_guards::HiddenNames;

#[derive(Clone, Debug, Default)]
pub struct PackageQuery {
    /// A part of the name, ignoring case; empty for all packages.
    pub name_part: String,
    /// Whether the name begins with `name_part`.
    pub is_prefix: bool,
    /// Packages that are found although their names do not have `name_part`; `None` for none.
    pub texts: Option<Arc<TextMatches>>,
    /// The exact name of the only package, if set.
    pub name: Option<String>,
    pub sort: SortBy,
    pub descending: bool,
    /// Whether a package with exactly the name `name_part` comes first.
    pub exact_first: bool,
    pub limit: usize,
    pub offset: usize,
    /// Names that are left out; `None` for none.
    pub hidden: Option<HiddenNames>,
    /// Whether [`PackagePage::total`] may be too low: most pages then need no comparison of all names.
    pub omits_total: bool,
}

/// The keys by which packages can be sorted; packages with equal keys are sorted by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortBy {
    /// The name in lower case.
    #[default]
    Name,
    /// The name `name_part`, then names that begin with it, other names with it, and matching texts.
    Relevance,
    Version,
    /// The publication time of that version; unknown times first.
    Published,
    Source,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "packages cannot be sorted by '{0}'; supported are name, relevance, version, date_publication and source"
)]
pub struct UnknownSort(String);

impl FromStr for SortBy {
    type Err = UnknownSort;

    fn from_str(text: &str) -> Result<SortBy, UnknownSort> {
        match text.to_ascii_lowercase().as_str() {
            "name" => Ok(SortBy::Name),
            "relevance" => Ok(SortBy::Relevance),
            "version" => Ok(SortBy::Version),
            "date_publication" | "package_date" | "published" | "date" => Ok(SortBy::Published),
            "source" | "source_id" => Ok(SortBy::Source),
            _ => Err(UnknownSort(text.chars().take(40).collect())),
        }
    }
}

impl PackageQuery {
    /// Returns whether a name in lower case, or a normalized name, has the requested part.
    pub(in crate::serve) fn has_part(&self, name: &str, part: &str) -> bool {
        if self.is_prefix { name.starts_with(part) } else { name.contains(part) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_sort_key_is_an_error() {
        assert_eq!("Date_Publication".parse(), Ok(SortBy::Published));
        let error = "colour".parse::<SortBy>().expect_err("unknown").to_string();
        assert!(error.contains("'colour'") && error.contains("date_publication"), "{error}");
    }
}
