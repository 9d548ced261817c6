//! Sources whose packages administrators and builds may change.

use base::model::ids::{SourceId, TreeId};
use base::model::kind::{Language, Layout, SourceKind, Supply};
use base::model::text::phrase;
use content::serve::{RepoError, find};
use runtime::catalog::{Catalog, Source};

/// A source that is local or built from git, and its list of packages.
#[derive(Clone, Debug)]
pub(super) struct EditedSource {
    pub(super) id: SourceId,
    pub(super) name: String,
    pub(super) kind: SourceKind,
    pub(super) tree: TreeId,
}

impl EditedSource {
    /// Fails with [`RepoError::Invalid`] for a source that is neither local nor built from git.
    pub(super) fn new(catalog: &Catalog, source: &Source) -> Result<EditedSource, RepoError> {
        let name = &source.name;
        let problem = match source.kind.supply() {
            Supply::Uploads | Supply::Builds => None,
            Supply::Curated => {
                Some(format!("is curated: rspm update --source={name} changes its definition"))
            }
            Supply::Mirror => Some(format!("is built in and filled by rspm sync --type={}", source.kind)),
            Supply::Snapshot => Some(format!(
                "is a snapshot: rspm update --source={name} --snapshot=DATE --commit changes its state"
            )),
        };
        if let Some(problem) = problem {
            return Err(RepoError::Invalid(format!(
                "only local sources can be changed by hand; '{name}' {problem}"
            )));
        }
        let tree = catalog.source_package_trees(source.id).next();
        let tree =
            tree.ok_or_else(|| RepoError::Invalid(format!("the source '{name}' has no package list")))?.id;
        Ok(EditedSource { id: source.id, name: name.to_string(), kind: source.kind, tree })
    }

    /// Returns a source by its name if it has packages of a language whose indexes have this layout.
    pub(super) fn of_layout(
        catalog: &Catalog,
        name: &str,
        layout: Layout,
    ) -> Result<EditedSource, RepoError> {
        let source = find::source(catalog, name)?;
        let languages = Language::ALL.into_iter().filter(|language| language.layout() == layout);
        require_language(source, &languages.collect::<Vec<_>>())?;
        EditedSource::new(catalog, source)
    }

    /// Returns a source to which packages can be uploaded.
    pub(super) fn for_uploads(catalog: &Catalog, source: &Source) -> Result<EditedSource, RepoError> {
        if source.kind.supply() == Supply::Builds {
            return Err(RepoError::Invalid(format!(
                "the packages of '{}' are built from git; add a builder with rspm create git-builder, or the package to a \
                 local source",
                source.name
            )));
        }
        EditedSource::new(catalog, source)
    }

    /// Returns the source of a builder, whatever its name is now: it may have been renamed, and the name given to
    /// another source, during the build. Fails with [`RepoError::NotFound`] if it was deleted.
    pub(super) fn of_builder(catalog: &Catalog, id: SourceId) -> Result<EditedSource, RepoError> {
        let source = catalog.source_by_id(id).ok_or_else(|| {
            RepoError::NotFound(format!("the source of the builder, which had the number {id}, was deleted"))
        })?;
        EditedSource::new(catalog, source)
    }
}

/// Checks that a source has packages of one of the languages. Fails with [`RepoError::Invalid`] for another type.
pub(super) fn require_language(source: &Source, languages: &[Language]) -> Result<(), RepoError> {
    if languages.contains(&source.kind.language()) {
        return Ok(());
    }
    let listed = languages.iter().filter(|language| language.is_listed());
    let labels: Vec<&str> = listed.map(|language| language.label()).collect();
    let (name, kind, languages) = (&source.name, source.kind, phrase(&labels, "or"));
    Err(RepoError::Invalid(format!("the source '{name}' is of type {kind} and has no {languages} packages")))
}
