//! The changes of a promotion: compares the sources and the packages of two states of a repository.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::promotion::{PromotedFile, PromotedPackage, PromotedSource, PromotedState, PromotionPlan};
use base::model::ids::{Seq, SourceId, TreeId, TxId};
use base::model::kind::{ChangePolicy, SourceKind};
use base::model::point::Point;
use base::model::snapshot::Snapshot;
use base::model::time::Timestamp;
use content::serve::difference::{self, Change, FileChange, ListedPackage};
use content::serve::{RepoError, Repositories, find, withheld};
use runtime::catalog::resolve::{self, Selection};
use runtime::catalog::{Catalog, RepoStep, Repository, RuleChanges, Subscription};
use runtime::state::State;
use runtime::state::policies::RepoPolicy;

const MAX_WARNING_NAMES: usize = 10;

/// The repositories of a promotion. They are the same repository for a return to one of its snapshots.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair<'a> {
    pub(super) from: &'a Repository,
    pub(super) to: &'a Repository,
}

/// The differences between two states of a repository.
#[derive(Clone, Debug)]
pub struct PromotedChanges {
    /// The sources, in the order of the new list, then the removed ones.
    pub sources: Vec<SourceChange>,
    /// The packages that differ, by name. In a Bioconductor repository, only the release version is compared.
    pub packages: Vec<Change>,
    /// Whether block rules or name guards can hide packages in the repository. The current ones apply to both states.
    pub has_rules: bool,
    /// Sources whose packages are not compared: their versions are known only for projects that were requested.
    pub not_compared: Vec<SourceId>,
    /// The newest transaction of the new state: the snapshot that names the same state later.
    pub transaction: Option<TxId>,
}

/// A source in two states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceChange {
    pub subscription: Subscription,
    /// Its state before; `None` if it was not subscribed.
    pub before: Option<SubscribedState>,
    /// Its state afterwards; `None` if it is not subscribed any more.
    pub after: Option<SubscribedState>,
}

/// The state of a subscribed source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscribedState {
    /// Its position among the subscriptions, from 1.
    pub position: usize,
    /// The publication time of the state; `None` if nothing was published.
    pub at: Option<Timestamp>,
    /// The transaction of the state; `None` for an index, whose states are times.
    pub transaction: Option<TxId>,
}

impl<'a> Pair<'a> {
    /// Finds two repositories between which a promotion is possible.
    pub(super) fn find(catalog: &'a Catalog, from: &str, to: &str) -> Result<Pair<'a>, RepoError> {
        let (from, to) = (find::repo(catalog, from)?, find::repo(catalog, to)?);
        let refusal = |reason: String| Err(RepoError::Invalid(reason));
        if from.kind != to.kind {
            return refusal(format!(
                "'{}' is of type {} and '{}' of type {}; both must be of one type",
                from.name,
                from.kind.label(),
                to.name,
                to.kind.label()
            ));
        }
        if to.changes == ChangePolicy::Any {
            return refusal(format!(
                "the repository '{0}' accepts all changes of its sources, so that a promotion would not last; first run: rspm \
                 edit repo --name={0} --changes=promotion",
                to.name
            ));
        }
        Ok(Pair { from, to })
    }

    /// Returns the state that is promoted, of an instant that is not after `end`.
    pub(super) fn selection(
        &self,
        catalog: &Catalog,
        snapshot: Snapshot,
        now: Timestamp,
        end: Timestamp,
    ) -> Result<Selection, RepoError> {
        let selection = resolve::selection(catalog, self.from, snapshot, now)?;
        if selection.list.is_empty() {
            let name = &self.from.name;
            return Err(RepoError::Invalid(format!(
                "'{name}' has no sources; rspm subscribe --repo={name} adds one"
            )));
        }
        if let Some(entry) = selection.list.iter().find(|entry| catalog.source_by_id(entry.source).is_none())
        {
            return Err(RepoError::Invalid(format!(
                "the snapshot {snapshot} of '{}' has packages of source {}, which was deleted; name a later snapshot",
                self.from.name, entry.source
            )));
        }
        Ok(selection.promoted(self.from.id, end))
    }

    /// Returns whether the repository that changes already has the state `selection`.
    pub(super) fn is_promoted(&self, catalog: &Catalog, selection: &Selection) -> bool {
        let present = newest_selection(self.to);
        let trees = |selection: &Selection| resolve::selected_point(catalog, self.to, selection, None).trees;
        present.list == selection.list && trees(&present) == trees(selection)
    }
}

pub(super) fn newest_selection(repo: &Repository) -> Selection {
    let newest = Timestamp(i64::MAX);
    match repo.steps.last() {
        Some(step) => selection_of_step(step, newest),
        None => Selection::of_sources(Vec::new(), newest),
    }
}

fn selection_of_step(step: &RepoStep, end: Timestamp) -> Selection {
    Selection { list: step.list.clone(), end: step.states_end(end), promotion: step.promotion() }
}

/// Returns a repository as it is with a further subscription list.
fn with_list(repo: &Repository, selection: &Selection) -> Repository {
    let last = repo.steps.last();
    let step = RepoStep {
        seq: Seq(last.map_or(1, |step| step.seq.0.saturating_add(1))),
        at: last.map_or(repo.created_at, |step| step.at),
        tx: last.map_or(TxId(0), |step| step.tx),
        list: selection.list.clone(),
        pinned_at: Some(selection.end),
        has_withheld: selection.promotion.is_some_and(|list| list.seq.is_some()),
    };
    let mut changed = repo.clone();
    changed.steps.push(step);
    changed
}

/// Returns the current block rules and name guards of a repository that gets another state; `None` if there are none.
/// SECURITY: a person approves the plan, so it must contain what the repository will serve. The rules and guards about
/// sources that only the new state has apply, too.
pub(super) async fn rules(
    state: &State,
    repo: &Repository,
    selection: &Selection,
) -> Option<Arc<RepoPolicy>> {
    let indexes = withheld::indexes(state, repo.kind.language(), &RuleChanges::default());
    withheld::current(state, &with_list(repo, selection), &indexes).await
}

/// Compares two states of a repository, as clients get them under these block rules and name guards.
pub(super) async fn compare(
    repositories: &Repositories,
    catalog: &Catalog,
    repo: &Repository,
    before: Selection,
    after: Selection,
    rules: Option<&Arc<RepoPolicy>>,
) -> Result<PromotedChanges, RepoError> {
    let part = catalog.default_part(repo.kind);
    let point = |selection: &Selection| resolve::selected_point(catalog, repo, selection, part);
    let (old, new): (Point, Point) = (point(&before), point(&after));
    let packages = difference::in_repository(repositories, rules, &old, &new).await?;
    let is_not_compared = |entry: &&Subscription| {
        let kind = catalog.source_by_id(entry.source).map(|source| source.kind);
        kind.is_some_and(SourceKind::is_of_project_index)
    };
    let mut not_compared: Vec<SourceId> =
        after.list.iter().filter(is_not_compared).map(|entry| entry.source).collect();
    not_compared.dedup();
    let transactions = catalog.transactions.iter().filter(|(_, at)| *at < after.end);
    Ok(PromotedChanges {
        sources: source_changes(catalog, &before, &after),
        packages,
        has_rules: rules.is_some(),
        not_compared,
        transaction: transactions.max_by_key(|(_, at)| *at).map(|(tx, _)| *tx),
    })
}

fn source_changes(catalog: &Catalog, before: &Selection, after: &Selection) -> Vec<SourceChange> {
    let state = |selection: &Selection, entry: &Subscription| {
        let position = selection.list.iter().position(|other| other == entry)? + 1;
        let alone = Selection::of_sources(vec![*entry], selection.end);
        let steps = resolve::selected_steps(catalog, &alone, None).into_iter();
        let newest = steps.filter_map(|(tree, seq)| published(catalog, tree, seq)).max_by_key(|(at, _)| *at);
        let (at, transaction) = (newest.map(|(at, _)| at), newest.and_then(|(_, transaction)| transaction));
        Some(SubscribedState { position, at, transaction })
    };
    let removed = before.list.iter().filter(|entry| !after.list.contains(entry));
    let change = |entry: &Subscription| SourceChange {
        subscription: *entry,
        before: state(before, entry),
        after: state(after, entry),
    };
    after.list.iter().chain(removed).map(change).collect()
}

/// Returns the publication time of the state of a tree, and its transaction.
fn published(catalog: &Catalog, tree: TreeId, seq: Seq) -> Option<(Timestamp, Option<TxId>)> {
    let found = catalog.tree(tree)?;
    if found.time_head.is_some() {
        return Some((Timestamp(seq.0), None));
    }
    let index = found.steps.binary_search_by_key(&seq, |step| step.seq).ok()?;
    found.steps.get(index).map(|step| (step.at, Some(step.tx)))
}

/// Returns a plan with names instead of numbers, as it is recorded and shown.
pub fn record(catalog: &Catalog, plan: PromotedChanges) -> PromotionPlan {
    let name = |id: SourceId| catalog.source_name(id);
    let state = |state: SubscribedState| PromotedState {
        position: i64::try_from(state.position).unwrap_or(i64::MAX),
        at: state.at.map(|at| at.to_string()),
        transaction: state.transaction.map(|tx| tx.0),
    };
    let version = |listed: ListedPackage| Some(listed.version).filter(|version| !version.is_empty());
    let file = |file: FileChange| PromotedFile {
        name: file.name,
        version: file.version,
        change: file.kind.as_str().to_owned(),
    };
    let warnings = index_warnings(catalog, &plan.packages);
    let package = |change: Change| {
        let (from, to) = (change.from.as_ref(), change.to.as_ref());
        let other = from.filter(|from| to.is_some_and(|to| to.source != from.source));
        PromotedPackage {
            source: to.or(from).map(|listed| name(listed.source)).unwrap_or_default(),
            from_source: other.map(|listed| name(listed.source)),
            change: change.kind.as_str().to_owned(),
            from_version: change.from.and_then(version),
            to_version: change.to.and_then(version),
            files: change.files.into_iter().map(file).collect(),
            name: change.name,
        }
    };
    let source = |change: &SourceChange| PromotedSource {
        name: name(change.subscription.source),
        version: change.subscription.version.map(|version| version.to_string()),
        before: change.before.map(state),
        after: change.after.map(state),
    };
    PromotionPlan {
        sources: plan.sources.iter().map(source).collect(),
        packages: plan.packages.into_iter().map(package).collect(),
        has_rules: plan.has_rules,
        not_compared: plan.not_compared.into_iter().map(name).collect(),
        transaction: plan.transaction.map(|tx| tx.0),
        sha256: None,
        warnings,
    }
}

/// Returns a warning for each index that provides packages after the promotion that another source provided before.
fn index_warnings(catalog: &Catalog, changes: &[Change]) -> Vec<String> {
    let mut names: BTreeMap<(SourceId, SourceId), Vec<&str>> = BTreeMap::new();
    for change in changes {
        if let (Some(from), Some(to)) = (&change.from, &change.to)
            && to.version.is_empty()
        {
            names.entry((from.source, to.source)).or_default().push(&change.name);
        }
    }
    let warning = |((from, to), names): ((SourceId, SourceId), Vec<&str>)| {
        let more = names.len().saturating_sub(MAX_WARNING_NAMES);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let named: Vec<&str> = names.into_iter().take(MAX_WARNING_NAMES).collect();
        let (from, to) = (catalog.source_name(from), catalog.source_name(to));
        format!(
            "clients get the packages of these names from '{to}' after this promotion, in versions that are not known, and no \
             longer from '{from}': {}{more}",
            named.join(", ")
        )
    };
    names.into_iter().map(warning).collect()
}
