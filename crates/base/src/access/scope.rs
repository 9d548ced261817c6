//! Scopes of tokens. They refer to repositories and sources by id, so that a scope still applies to a renamed
//! source, and does not apply to a new source with the former name of another one.

use std::sync::Arc;

use crate::model::ids::{RepoId, SourceId};
use crate::words;

/// The objects of a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection<T> {
    /// All objects, including those created later.
    All,
    Only(Vec<T>),
}

impl<T: PartialEq> Selection<T> {
    fn contains(&self, object: &T) -> bool {
        match self {
            Selection::All => true,
            Selection::Only(objects) => objects.contains(object),
        }
    }
}

/// A permission of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    ReposRead(Selection<RepoId>),
    /// Plans, requests and approves promotions to these repositories, and reads them.
    ReposPromote(Selection<RepoId>),
    /// Changes sources and their packages.
    SourcesWrite(Selection<SourceId>),
    /// Reads block rules and tests them.
    BlocklistRead,
    /// Reads, tests and changes block rules.
    BlocklistAdmin,
    /// Reads and changes the metadata of packages.
    MetadataAdmin,
    GlobalAdmin,
}

impl Scope {
    /// Returns the scope of a kind that has no objects; `None` for other kinds.
    pub fn without_objects(kind: ScopeKind) -> Option<Scope> {
        match kind {
            ScopeKind::BlocklistRead => Some(Scope::BlocklistRead),
            ScopeKind::BlocklistAdmin => Some(Scope::BlocklistAdmin),
            ScopeKind::MetadataAdmin => Some(Scope::MetadataAdmin),
            ScopeKind::GlobalAdmin => Some(Scope::GlobalAdmin),
            ScopeKind::ReposRead | ScopeKind::ReposPromote | ScopeKind::SourcesWrite => None,
        }
    }

    pub fn kind(&self) -> ScopeKind {
        match self {
            Scope::ReposRead(_) => ScopeKind::ReposRead,
            Scope::ReposPromote(_) => ScopeKind::ReposPromote,
            Scope::SourcesWrite(_) => ScopeKind::SourcesWrite,
            Scope::BlocklistRead => ScopeKind::BlocklistRead,
            Scope::BlocklistAdmin => ScopeKind::BlocklistAdmin,
            Scope::MetadataAdmin => ScopeKind::MetadataAdmin,
            Scope::GlobalAdmin => ScopeKind::GlobalAdmin,
        }
    }
}

words! {
    /// The kind of a scope, without its objects.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum ScopeKind {
        ReposRead = "repos:read",
        ReposPromote = "repos:promote",
        SourcesWrite = "sources:write",
        BlocklistRead = "blocklist:read",
        BlocklistAdmin = "blocklist:admin",
        MetadataAdmin = "metadata:admin",
        GlobalAdmin = "global:admin",
    }
    else "scope"
}

impl ScopeKind {
    /// Returns whether the scope refers to repositories or sources.
    pub fn has_objects(self) -> bool {
        Scope::without_objects(self).is_none()
    }

    /// Returns whether the scope permits no changes.
    pub fn is_read_only(self) -> bool {
        matches!(self, ScopeKind::ReposRead | ScopeKind::BlocklistRead)
    }
}

/// The scopes of a token; clones share them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    scopes: Arc<[Scope]>,
}

impl Grant {
    pub fn new(scopes: Vec<Scope>) -> Grant {
        Grant { scopes: scopes.into() }
    }

    pub fn scopes(&self) -> &[Scope] {
        &self.scopes
    }

    pub(super) fn is_admin(&self) -> bool {
        self.scopes.contains(&Scope::GlobalAdmin)
    }

    /// Returns whether the grant permits reading one of the repositories, which are in the order of their ids.
    pub(super) fn reads_any(&self, repositories: &[RepoId]) -> bool {
        let reads = |scope: &Scope| match scope {
            Scope::ReposRead(Selection::All) | Scope::ReposPromote(Selection::All) => {
                !repositories.is_empty()
            }
            Scope::ReposRead(Selection::Only(ids)) | Scope::ReposPromote(Selection::Only(ids)) => {
                ids.iter().any(|id| repositories.binary_search(id).is_ok())
            }
            Scope::GlobalAdmin => true,
            Scope::SourcesWrite(_) | Scope::BlocklistRead | Scope::BlocklistAdmin | Scope::MetadataAdmin => {
                false
            }
        };
        self.scopes.iter().any(reads)
    }

    /// Returns whether the grant permits changes of a source; `None` is a source that does not exist.
    pub(super) fn writes(&self, source: Option<SourceId>) -> bool {
        let writes = |scope: &Scope| match (scope, source) {
            (Scope::SourcesWrite(sources), Some(source)) => sources.contains(&source),
            (Scope::SourcesWrite(sources), None) => *sources == Selection::All,
            (Scope::GlobalAdmin, _) => true,
            _ => false,
        };
        self.scopes.iter().any(writes)
    }

    /// Returns whether the grant permits promotions to a repository; `None` is a repository that does not exist.
    pub(super) fn promotes(&self, repository: Option<RepoId>) -> bool {
        let promotes = |scope: &Scope| match (scope, repository) {
            (Scope::ReposPromote(repositories), Some(repository)) => repositories.contains(&repository),
            (Scope::ReposPromote(repositories), None) => *repositories == Selection::All,
            (Scope::GlobalAdmin, _) => true,
            _ => false,
        };
        self.scopes.iter().any(promotes)
    }

    pub(super) fn promotes_any(&self) -> bool {
        self.scopes.iter().any(|scope| matches!(scope, Scope::ReposPromote(_) | Scope::GlobalAdmin))
    }

    pub(super) fn reads_blocklist(&self) -> bool {
        self.scopes.contains(&Scope::BlocklistRead) || self.changes_blocklist()
    }

    pub(super) fn changes_blocklist(&self) -> bool {
        self.scopes.contains(&Scope::BlocklistAdmin) || self.is_admin()
    }

    pub(super) fn manages_metadata(&self) -> bool {
        self.scopes.contains(&Scope::MetadataAdmin) || self.is_admin()
    }

    pub(super) fn writes_any(&self) -> bool {
        self.scopes.iter().any(|scope| matches!(scope, Scope::SourcesWrite(_) | Scope::GlobalAdmin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::words::UnknownWord;

    #[test]
    fn a_scope_is_parsed_from_its_name() {
        for kind in ScopeKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        for bad in ["", "repos", "REPOS:READ", "repos:read:*", "global:admin "] {
            let unknown = UnknownWord::new(bad, "scope", &ScopeKind::WORDS);
            assert_eq!(bad.parse::<ScopeKind>(), Err(unknown), "{bad}");
        }
        let error = "metadata:read".parse::<ScopeKind>().expect_err("unknown").to_string();
        for kind in ScopeKind::ALL {
            assert!(error.contains(kind.as_str()), "{error}");
            assert_eq!(Scope::without_objects(kind).map_or(kind, |scope| scope.kind()), kind);
        }
    }

    #[test]
    fn an_empty_selection_contains_nothing() {
        let grant = Grant::new(vec![
            Scope::ReposRead(Selection::Only(vec![])),
            Scope::SourcesWrite(Selection::Only(vec![])),
        ]);
        assert!(!grant.reads_any(&[RepoId(1)]) && !grant.writes(Some(SourceId(1))) && !grant.writes(None));
    }
}
