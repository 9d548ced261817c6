//! What differs between languages in all rooms: names, versions, licenses, ecosystems and nouns. Each language is one
//! value; other rooms call it and do not match on the language. Pure.

mod ecosystem;
mod files;
mod index;
mod paths;
mod projects;
mod python;
mod r;
#[cfg(debug_assertions)]
mod sample;
mod version;

pub use ecosystem::Ecosystem;
pub use files::{FileBytes, ProjectBundle, ProjectFiles};
pub use index::{IndexAddresses, IndexRequest, ProjectIndex, RequestBody};
pub use paths::{ProjectPaths, parse_file_path};
pub use projects::{CuratedFiles, Projects};
pub use version::Version;

use std::borrow::Cow;
use std::cmp::Ordering;

use base::model::kind::{Language, Layout, SourceKind, Supply};
use base::model::locked_version::ExactVersions;
use base::model::project_name::{BadProjectName, ProjectName};
use base::model::project_page::FileDescription;
use base::model::time::Timestamp;

/// The words of a language in messages.
#[derive(Debug)]
pub struct Nouns {
    /// `an R package`.
    pub a_package: &'static str,
    /// `an R repository`.
    pub a_repository: &'static str,
    /// The characters of a name, after `a name has`.
    pub name_characters: &'static str,
    /// The directory of the index in the address of a repository.
    pub directory: &'static str,
    /// The files that [`Rules::exact_versions`] reads.
    pub lock_files: &'static str,
}

pub trait Rules: Sync {
    fn nouns(&self) -> &'static Nouns;

    /// Returns the spelling under which a name is stored and compared. The text need not be a valid name.
    fn fold<'a>(&self, name: &'a str) -> Cow<'a, str>;

    /// Checks and folds the name of a project.
    fn project_name(&self, text: &str) -> Result<ProjectName, BadProjectName>;

    /// Returns whether names that differ only in case, `.` and `_` are names of several packages.
    fn has_similar_names(&self) -> bool;

    /// Returns whether the text is a name; with `is_prefix`, whether a name can begin with it.
    fn is_name(&self, text: &str, is_prefix: bool) -> bool;

    /// Reads a version for comparisons. Texts that are not versions have an order too.
    fn version<'a>(&self, text: &'a str) -> Version<'a>;

    fn compare(&self, a: &str, b: &str) -> Ordering {
        self.version(a).cmp(&self.version(b))
    }

    /// Returns whether a user may choose an alternative of a license of which all identifiers are accepted.
    fn may_choose(&self, license: &str, is_accepted: &dyn Fn(&str) -> bool) -> bool;

    /// Returns whether an index states the licenses of its packages.
    fn states_licenses(&self) -> bool;

    /// Reads a lock file, or another file with exact versions. The error is a text for the author of the file.
    fn exact_versions(&self, file: &[u8]) -> Result<ExactVersions, String>;

    /// Returns the ecosystems whose advisories are about packages of the language.
    fn ecosystems(&self) -> &'static [Ecosystem];

    /// Returns the upload time in the stored facts of a file; `None` if the language stores none.
    fn uploaded_at(&self, _facts: &[u8]) -> Option<Timestamp> {
        None
    }

    /// Returns how the language writes its projects; `None` for a language with lists of packages.
    fn projects(&self) -> Option<&'static dyn Projects> {
        None
    }
}

/// Returns the rules of a language.
pub fn of(language: Language) -> &'static dyn Rules {
    match language {
        Language::R => &r::R,
        Language::Python => &python::Python,
        #[cfg(debug_assertions)]
        Language::Sample => &sample::Sample,
    }
}

/// Returns the languages with projects.
pub fn with_projects() -> impl Iterator<Item = (Language, &'static dyn Projects)> {
    let languages = Language::ALL.into_iter().filter(|language| language.layout() == Layout::Projects);
    languages.filter_map(|language| Some((language, of(language).projects()?)))
}

/// Returns the language whose list and pages are in a directory below the snapshot.
pub fn with_directory(directory: &str) -> Option<(Language, &'static dyn Projects)> {
    with_projects().find(|(_, projects)| projects.nouns().directory == directory)
}

/// Describes a file of a project by its stored facts; empty for a language without projects.
pub fn describe(language: Language, facts: &[u8]) -> FileDescription {
    of(language).projects().map(|projects| projects.describe(facts)).unwrap_or_default()
}

/// Returns the ecosystem of a source's packages. Own packages may have the name of a public one, but belong to none.
pub fn ecosystem(kind: SourceKind) -> Option<Ecosystem> {
    match (kind, kind.supply()) {
        (_, Supply::Uploads | Supply::Builds) => None,
        (SourceKind::Bioconductor, _) => Some(Ecosystem::Bioconductor),
        (_, Supply::Mirror | Supply::Curated | Supply::Snapshot) => {
            of(kind.language()).ecosystems().first().copied()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_of_mirrors_and_of_selections_from_them_belong_to_an_ecosystem() {
        for (kind, expected) in [
            (SourceKind::Cran, Some(Ecosystem::Cran)),
            (SourceKind::CranSnapshot, Some(Ecosystem::Cran)),
            (SourceKind::CuratedCran, Some(Ecosystem::Cran)),
            (SourceKind::Bioconductor, Some(Ecosystem::Bioconductor)),
            (SourceKind::Pypi, Some(Ecosystem::Pypi)),
            (SourceKind::CuratedPypi, Some(Ecosystem::Pypi)),
        ] {
            assert_eq!(ecosystem(kind), expected, "{kind}");
        }
        for kind in SourceKind::ALL.into_iter().filter(|kind| kind.is_own()) {
            assert_eq!(ecosystem(kind), None, "{kind}");
        }
    }

    #[test]
    fn names_are_folded_as_the_language_does() {
        assert_eq!(of(Language::R).fold("R6.x_y"), "R6.x_y");
        assert_eq!(of(Language::Python).fold("Zope.Interface__x"), "zope-interface-x");
    }

    #[test]
    fn names_of_projects_are_checked_and_folded() {
        let project_name =
            |language, text| of(language).project_name(text).map_err(|error| error.to_string());
        assert_eq!(project_name(Language::R, "data.table"), Ok(ProjectName::folded("data.table")));
        assert_eq!(project_name(Language::Python, "Data.Table"), Ok(ProjectName::folded("data-table")));
        let error = project_name(Language::R, "data_t\u{430}ble").expect_err("not a name");
        assert_eq!(
            error,
            "'data_t\u{430}ble' is not the name of an R package: use 2 to 255 ASCII letters, digits and dots, \
             beginning with a letter and not ending with a dot; '\u{430}' is U+0430, not ASCII"
        );
        let error = project_name(Language::Python, "data table").expect_err("not a name");
        assert_eq!(
            error,
            "'data table' is not the name of a Python project: use ASCII letters, digits, '.', '_' and '-', \
             beginning and ending with a letter or a digit"
        );
    }
}
