//! Fixed URLs in memory: each has the state of a repository that `rspm url create` names.

use std::collections::BTreeMap;

use super::{Catalog, RepoStep, Repository};
use base::model::ids::{Seq, TreeId};
use base::model::snapshot::Alias;
use base::model::time::Timestamp;
use store::db::fixed_url::FixedUrl;

#[derive(Debug, Default)]
pub struct FixedUrls {
    /// A number that changes when a fixed URL is created.
    pub revision: i64,
    pub states: BTreeMap<Alias, FixedUrl>,
}

impl Catalog {
    /// Returns the state that a fixed URL of a repository names.
    pub fn fixed_url(&self, repo: &Repository, alias: Alias) -> Option<&FixedUrl> {
        self.fixed_urls.states.get(&alias).filter(|state| state.repo == repo.id)
    }

    /// Returns the cut-off time, exclusive, of the states that a fixed URL does not fix; `None` if these are the
    /// newest states, and for an unknown fixed URL.
    pub fn fixed_url_end(&self, alias: Alias) -> Option<Timestamp> {
        self.fixed_urls.states.get(&alias)?.at
    }

    /// Returns the name of the fixed URL for a state, if there is one.
    pub fn fixed_url_of(&self, state: &FixedUrl) -> Option<Alias> {
        self.fixed_urls.states.iter().find(|(_, known)| *known == state).map(|(alias, _)| *alias)
    }
}

/// The state of a tree in a fixed URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FixedState {
    /// The tree has this state.
    At(Seq),
    /// The tree had no state when all states were fixed.
    Absent,
    NotFixed,
}

pub(super) fn state_of(url: Option<&FixedUrl>, tree: TreeId) -> FixedState {
    let Some(url) = url else { return FixedState::NotFixed };
    match url.trees.binary_search_by_key(&tree, |(id, _)| *id) {
        Ok(index) => url.trees.get(index).map_or(FixedState::NotFixed, |(_, seq)| FixedState::At(*seq)),
        Err(_) if url.repo_seq.is_some() => FixedState::Absent,
        Err(_) => FixedState::NotFixed,
    }
}

/// Returns the list of subscriptions that a fixed URL fixes.
pub(super) fn fixed_list<'a>(url: Option<&FixedUrl>, repo: &'a Repository) -> Option<&'a RepoStep> {
    let seq = url?.repo_seq?;
    repo.steps.iter().find(|step| step.seq == seq)
}
