//! The repositories in which the packages of each source can be read, for decisions about permissions.

use std::collections::HashMap;

use super::shared::Row;
use super::{Catalog, Repository, Subscription};
use base::model::ids::{RepoId, SourceId};

/// The repositories in which the packages of a source can be read.
#[derive(Debug, Default)]
pub struct Readers {
    /// Whether an open repository subscribes to the source.
    is_open: bool,
    /// Whether an authenticated repository subscribes to it, or has subscribed to it earlier.
    is_private: bool,
    /// The authenticated repositories that subscribe to it.
    repos: Vec<RepoId>,
}

impl Row for Repository {
    type Id = RepoId;
    type Key = str;
    type Summary = HashMap<SourceId, Readers>;

    fn id(&self) -> RepoId {
        self.id
    }

    fn key(&self) -> &str {
        self.name.as_str()
    }

    fn summary<'a>(repos: impl Iterator<Item = &'a Repository>) -> HashMap<SourceId, Readers> {
        let mut all: HashMap<SourceId, Readers> = HashMap::new();
        for repo in repos {
            for entry in repo.subscriptions() {
                let readers = all.entry(entry.source).or_default();
                match repo.authenticated {
                    true if readers.repos.last() != Some(&repo.id) => readers.repos.push(repo.id),
                    true => {}
                    false => readers.is_open = true,
                }
            }
            let mut previous: &[Subscription] = &[];
            for step in repo.steps.iter().filter(|_| repo.authenticated) {
                for entry in step.list.iter().filter(|entry| !previous.contains(entry)) {
                    all.entry(entry.source).or_default().is_private = true;
                }
                previous = &step.list;
            }
        }
        all
    }
}

impl Catalog {
    /// Returns whether an authenticated repository subscribes to the source, or has subscribed to it earlier.
    pub fn is_private(&self, source: SourceId) -> bool {
        self.repos.summary().get(&source).is_some_and(|readers| readers.is_private)
    }

    /// Returns whether everyone may read the packages of the source: an open repository subscribes to it, or no
    /// authenticated repository has ever subscribed to it.
    pub fn is_open(&self, source: SourceId) -> bool {
        self.repos.summary().get(&source).is_none_or(|readers| readers.is_open || !readers.is_private)
    }

    /// Returns the authenticated repositories that subscribe to the source, in the order of their ids.
    pub fn authenticated_readers(&self, source: SourceId) -> &[RepoId] {
        self.repos.summary().get(&source).map_or(&[], |readers| &readers.repos)
    }
}
