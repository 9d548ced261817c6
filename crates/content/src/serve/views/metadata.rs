//! The metadata of administrators about a version of a package. It has no history: past snapshots have the current one.

use std::collections::BTreeMap;

use crate::serve::{RepoError, Repositories};
use base::model::ids::{RepoId, SourceId};
use base::model::kind::{Language, Layout};
use base::model::project_name::spelling_key;
use formats::language;
use store::db::metadata::{self, Metadata, MetadataScope};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedVersion {
    pub source: SourceId,
    pub name: String,
    pub version: String,
}

/// Returns the keys and values of each of these versions in a repository, by key; `repo` is 0 in requests for a source.
pub async fn of(
    repositories: &Repositories,
    language: Language,
    repo: RepoId,
    versions: Vec<ServedVersion>,
) -> Result<Vec<BTreeMap<String, String>>, RepoError> {
    let names = versions.iter().map(|served| match language.layout() {
        Layout::Lists => served.name.clone(),
        Layout::Projects => spelling_key(&served.name),
    });
    let names: Vec<String> = names.collect();
    let rows = repositories.state.db.read(move |c| match language.layout() {
        Layout::Lists => metadata::of_r(c, &names),
        Layout::Projects => metadata::of_python(c, &names),
    });
    let rows = rows.await?;
    Ok(rows.iter().zip(&versions).map(|(rows, served)| applicable(rows, language, repo, served)).collect())
}

pub async fn of_one(
    repositories: &Repositories,
    language: Language,
    repo: RepoId,
    served: ServedVersion,
) -> Result<BTreeMap<String, String>, RepoError> {
    Ok(of(repositories, language, repo, vec![served]).await?.pop().unwrap_or_default())
}

/// Selects the keys and values of a version from the rows of its package: of several rows with a key, one for
/// the version precedes one for the repository, then one for the source.
fn applicable(
    rows: &[Metadata],
    language: Language,
    repo: RepoId,
    served: &ServedVersion,
) -> BTreeMap<String, String> {
    let rules = language::of(language);
    let is_name = |scope: &MetadataScope| {
        let is_of_every_language = scope.source.is_none() && scope.repo.is_none();
        is_of_every_language || rules.fold(&scope.name) == rules.fold(&served.name)
    };
    // The release of a project has all files of equal versions; a list has each text.
    let is_version = |version: &str| match language.layout() {
        _ if version.is_empty() || version == served.version => true,
        Layout::Lists => false,
        Layout::Projects => rules.compare(version, &served.version).is_eq(),
    };
    let mut rows: Vec<&Metadata> = rows
        .iter()
        .filter(|row| row.scope.source.is_none_or(|source| source == served.source))
        .filter(|row| row.scope.repo.is_none_or(|id| id == repo))
        .filter(|row| is_name(&row.scope) && is_version(&row.scope.version))
        .collect();
    let precedence =
        |scope: &MetadataScope| (!scope.version.is_empty(), scope.repo.is_some(), scope.source.is_some());
    // The last of several rows with a key remains.
    rows.sort_by_key(|row| precedence(&row.scope));
    rows.into_iter().map(|row| (row.key.clone(), row.value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::time::Timestamp;

    fn row(scope: (&str, Option<i64>, Option<i64>), value: &str) -> Metadata {
        let (version, source, repo) = scope;
        Metadata {
            id: 1,
            scope: MetadataScope {
                name: "tally".to_owned(),
                normalized_name: "tally".to_owned(),
                version: version.to_owned(),
                source: source.map(SourceId),
                repo: repo.map(RepoId),
            },
            key: "status".to_owned(),
            value: value.to_owned(),
            actor: String::new(),
            changed_at: Timestamp(0),
        }
    }

    #[test]
    fn the_more_specific_value_applies() {
        let rows = [
            row(("1.0", None, None), "version"),
            row(("", Some(1), Some(2)), "source and repository"),
            row(("", Some(1), None), "source"),
            row(("", None, Some(2)), "repository"),
            row(("", None, None), "all"),
        ];
        let value = |language, source, repo, version: &str| {
            let served = ServedVersion {
                source: SourceId(source),
                name: "tally".to_owned(),
                version: version.to_owned(),
            };
            applicable(&rows, language, RepoId(repo), &served).remove("status")
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(value(Language::R, 1, 2, "1.0"), some("version"));
        assert_eq!(value(Language::R, 1, 2, "1.1"), some("source and repository"));
        assert_eq!(value(Language::R, 3, 2, "1.1"), some("repository"));
        assert_eq!(value(Language::R, 1, 0, "1.1"), some("source"));
        assert_eq!(value(Language::R, 3, 3, "1.1"), some("all"));
        assert_eq!(value(Language::R, 3, 3, "1.0.0"), some("all"), "another version");
        assert_eq!(value(Language::Python, 3, 3, "1.0.0"), some("version"), "the same version");
        assert_eq!(
            applicable(
                &[],
                Language::R,
                RepoId(1),
                &ServedVersion { source: SourceId(1), name: String::new(), version: String::new() }
            )
            .len(),
            0
        );
    }
}
