//! Resolves a snapshot of a URL to a point, and applies the pin of a list of subscriptions: pure, over the catalog.

use std::cmp::Ordering;
use std::sync::Arc;

use super::{Catalog, FixedState, RepoStep, Repository, Subscription, Tree, fixed_list, fixed_state_of};
use base::model::ids::{RepoId, Seq, SourceId, TreeId, TxId};
use base::model::point::{Base, Point, PointTree, PromotedList};
use base::model::snapshot::{Alias, Snapshot};
use base::model::time::{Day, Timestamp};
use formats::r::bioconductor::Part;
use store::db::fixed_url::FixedUrl;
use store::db::skew::TOLERANCE;
use store::db::tree::Step;

/// The reason why a snapshot cannot be resolved. The response is 404 with this reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    #[error("{requested} is in the future; the newest snapshot is {today}")]
    Future { requested: Day, today: Day },
    /// No tree has a state as old as the snapshot, which is before the first subscription or of a part.
    #[error("no snapshot of this repository is as old as {requested}; its history starts at {first}")]
    BeforeHistory {
        /// The snapshot as the URL names it.
        requested: String,
        /// The first day with a state.
        first: Day,
    },
    #[error("this repository has no snapshot yet: subscribe it to a source, then sync or add packages")]
    Empty,
    #[error("there is no transaction {0}")]
    UnknownTransaction(i64),
    #[error("this repository has no fixed URL {0}")]
    UnknownAlias(Alias),
    #[error("Bioconductor {0} is not on this server")]
    NoPart(Part),
}

impl Unresolved {
    pub fn hint(&self) -> Option<String> {
        match self {
            Unresolved::NoPart(part) => Some(format!(
                "an administrator can sync it with: rspm sync --type=bioconductor --version={}",
                part.version
            )),
            Unresolved::Future { .. }
            | Unresolved::BeforeHistory { .. }
            | Unresolved::Empty
            | Unresolved::UnknownTransaction(_)
            | Unresolved::UnknownAlias(_) => None,
        }
    }
}

/// The exclusive end of the newest snapshot: after every published state.
const NEWEST: Timestamp = Timestamp(i64::MAX);

/// Returns the point for `snapshot` of `repo`, or of `part` of a Bioconductor repository, at `now`.
///
/// The point of a day that is over but not closed (`Catalog::is_closed`) is *open*: a server with a slow clock
/// could still publish into it. `serve::point` closes such a day first.
pub fn resolve(
    catalog: &Catalog,
    repo: &Repository,
    part: Option<Part>,
    snapshot: Snapshot,
    now: Timestamp,
) -> Result<Point, Unresolved> {
    let end = snapshot_end(catalog, repo, snapshot, now)?;
    let url = url_of(catalog, repo, snapshot);
    let is_now = match snapshot {
        Snapshot::Latest => true,
        Snapshot::Date(day) => day == today(catalog, now),
        Snapshot::Transaction(_) | Snapshot::Alias(_) => false,
    };
    let Some(list) = list_of(repo, url, end) else {
        return if is_now { Ok(empty_point(repo)) } else { Err(Unresolved::Empty) };
    };
    let states_end = list.step.states_end(end);
    let states = states(catalog, &list.step.list, part, states_end, url);
    if states.is_empty() {
        if part.is_some() || !is_after_first_subscription(repo, end) {
            return Err(unresolved_reason(catalog, repo, part, snapshot, end));
        }
        // The subscribed sources can get earlier states by a back-fill; without sources the point is final.
        let open = !list.step.list.is_empty() || !catalog.is_closed(end);
        return Ok(Point { open, promotion: list.step.promotion(), ..empty_point(repo) });
    }
    // An index can change without a publish, even several times in one second: it has no `Last-Modified`.
    let is_index = |base: Base| catalog.tree(base.tree).is_some_and(|tree| tree.time_head.is_some());
    let has_times = states.iter().any(|state| state.has_time || state.tree.base.is_some_and(is_index));
    Ok(Point {
        repo: repo.id,
        language: repo.kind.language(),
        frozen: false,
        open: !catalog.is_closed(end)
            || !catalog.is_closed(list.list_end)
            || !states.iter().all(|state| state.is_final),
        modified: if has_times { None } else { modified(list.step, &states) },
        promotion: list.step.promotion(),
        trees: states.into_iter().map(|state| state.tree).collect(),
    })
}

/// Returns the latest instant of a list and its states. `None` if a state was published after it, with a time in the past:
/// the same address had another content with this instant before. The steps of a back-fill, below the first one, gave a content
/// to addresses that had none.
fn modified(list: &RepoStep, states: &[TreeState]) -> Option<Timestamp> {
    let latest = states.iter().map(|state| (state.at, state.tx)).fold((list.at, list.tx), Ord::max);
    let is_late = |state: &TreeState| state.tx > latest.1 && state.step.1 > Seq(0);
    (!states.iter().any(is_late)).then_some(latest.0)
}

/// Returns the subscriptions of a snapshot, in order; empty if the snapshot does not exist.
pub fn subscriptions<'a>(
    catalog: &Catalog,
    repo: &'a Repository,
    snapshot: Snapshot,
    now: Timestamp,
) -> &'a [Subscription] {
    let end = snapshot_end(catalog, repo, snapshot, now);
    let list = end.ok().and_then(|end| list_of(repo, url_of(catalog, repo, snapshot), end));
    list.map_or(&[], |list| &list.step.list)
}

/// Returns the list that the snapshot of a transaction at this time has; `None` if there never were sources.
pub fn list_after(repo: &Repository, at: Timestamp) -> Option<&RepoStep> {
    list_at(repo, Timestamp(at.0.saturating_add(1))).map(|list| list.step)
}

/// The subscriptions of a snapshot, and the cut-off time of the states of their sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The subscriptions, in order of precedence.
    pub list: Arc<[Subscription]>,
    /// The cut-off time, exclusive; [`Timestamp`]`(i64::MAX)` for the newest states.
    pub end: Timestamp,
    /// The promotion whose state this is.
    pub promotion: Option<PromotedList>,
}

impl Selection {
    /// Creates the selection of states of the sources, without a promotion.
    pub fn of_sources(list: impl Into<Arc<[Subscription]>>, end: Timestamp) -> Selection {
        Selection { list: list.into(), end, promotion: None }
    }

    /// Returns the selection as a promotion makes it, of an instant that is not after `end`. What rules withhold in the
    /// state of `from`, the repository of the selection, stays withheld.
    pub fn promoted(self, from: RepoId, end: Timestamp) -> Selection {
        let end = self.end.min(end);
        let seq = self.promotion.and_then(|list| list.seq);
        Selection { end, promotion: Some(PromotedList { seq, repo: Some(from), at: end }), ..self }
    }
}

/// Returns the subscriptions of a snapshot of a repository, and their cut-off time.
///
/// # Errors
/// The snapshot does not exist.
pub fn selection(
    catalog: &Catalog,
    repo: &Repository,
    snapshot: Snapshot,
    now: Timestamp,
) -> Result<Selection, Unresolved> {
    let end = snapshot_end(catalog, repo, snapshot, now)?;
    let ListInForce { step, .. } = list_at(repo, end).ok_or(Unresolved::Empty)?;
    Ok(Selection { list: step.list.clone(), end: step.states_end(end), promotion: step.promotion() })
}

/// Returns the number of the list of subscriptions of a snapshot; `None` if the snapshot does not exist.
pub fn list_number(catalog: &Catalog, repo: &Repository, snapshot: Snapshot, now: Timestamp) -> Option<Seq> {
    let end = snapshot_end(catalog, repo, snapshot, now).ok()?;
    list_of(repo, url_of(catalog, repo, snapshot), end).map(|list| list.step.seq)
}

/// Returns the point of a selection, without trees that had no state before its end.
pub fn selected_point(
    catalog: &Catalog,
    repo: &Repository,
    selection: &Selection,
    part: Option<Part>,
) -> Point {
    let states = states(catalog, &selection.list, part, selection.end, None);
    Point {
        repo: repo.id,
        language: repo.kind.language(),
        open: true,
        frozen: false,
        modified: states.iter().map(|state| state.at).max(),
        promotion: selection.promotion,
        trees: states.into_iter().map(|state| state.tree).collect(),
    }
}

/// A period during which one subscription list was in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Period {
    /// Its start; the earliest possible time for the first list, which also serves the days before it.
    pub from: Timestamp,
    /// Its end, exclusive.
    pub until: Timestamp,
    /// The cut-off time of the states of the sources, if the list fixes one.
    pub states_at: Option<Timestamp>,
    /// The promotion that made the list.
    pub promotion: Option<PromotedList>,
    /// The trees of the subscribed sources, in order of precedence.
    pub trees: Vec<(SourceId, TreeId)>,
}

/// Returns the periods of the lists up to a snapshot, oldest first; empty if the snapshot does not exist.
pub fn periods(
    catalog: &Catalog,
    repo: &Repository,
    part: Option<Part>,
    snapshot: Snapshot,
    now: Timestamp,
) -> Vec<Period> {
    let Ok(end) = snapshot_end(catalog, repo, snapshot, now) else { return Vec::new() };
    let Some(first) = repo.steps.iter().find(|step| !step.list.is_empty()) else { return Vec::new() };
    let later = repo.steps.iter().skip_while(|step| step.list.is_empty());
    // The list that applies to the time before the first subscription.
    let before = list_at(repo, first.at).map(|list| (Timestamp(i64::MIN), list.step));
    let lists: Vec<(Timestamp, &RepoStep)> =
        before.into_iter().chain(later.map(|step| (step.at, step))).filter(|(from, _)| *from < end).collect();
    let ends = lists.iter().skip(1).map(|(from, _)| *from).chain([end]);
    let trees = |step: &RepoStep| {
        let of_entry = |entry: &Subscription| {
            let source = entry.source;
            let trees = catalog.subscribed_trees(*entry, part).map(move |tree| (source, tree.id));
            trees.collect::<Vec<_>>()
        };
        step.list.iter().flat_map(of_entry).collect()
    };
    let periods = lists.iter().zip(ends);
    let period = |((from, step), until): (&(Timestamp, &RepoStep), Timestamp)| Period {
        from: *from,
        until,
        states_at: step.pinned_at,
        promotion: step.promotion(),
        trees: trees(step),
    };
    periods.map(period).collect()
}

/// Returns the point of a repository without publishes: an empty index, which clients read without a warning.
fn empty_point(repo: &Repository) -> Point {
    Point::of_trees(repo.id, repo.kind.language(), Vec::new())
}

/// Returns the last day that is not in the future: today, or tomorrow if a server ahead published in it.
pub fn today(catalog: &Catalog, now: Timestamp) -> Day {
    let is_tolerated = |at: &Timestamp| *at <= now + TOLERANCE;
    catalog.clock_at.filter(is_tolerated).map_or(now, |at| at.max(now)).day()
}

/// Returns the exclusive end of a snapshot of a repository: [`Timestamp`]`(i64::MAX)` for the newest one.
///
/// # Errors
/// The snapshot does not exist.
pub fn snapshot_end(
    catalog: &Catalog,
    repo: &Repository,
    snapshot: Snapshot,
    now: Timestamp,
) -> Result<Timestamp, Unresolved> {
    match snapshot {
        Snapshot::Latest => Ok(NEWEST),
        Snapshot::Date(requested) => {
            let today = today(catalog, now);
            match requested.cmp(&today) {
                Ordering::Greater => Err(Unresolved::Future { requested, today }),
                // The day is not over, even if transactions have times in the future.
                Ordering::Equal => Ok(NEWEST),
                Ordering::Less => Ok(requested.end()),
            }
        }
        Snapshot::Transaction(id) => match catalog.instant(id) {
            Some(at) => Ok(Timestamp(at.0.saturating_add(1))),
            None => Err(Unresolved::UnknownTransaction(id.0)),
        },
        Snapshot::Alias(alias) => match catalog.fixed_url(repo, alias) {
            Some(url) => Ok(url.at.unwrap_or(NEWEST)),
            None => Err(Unresolved::UnknownAlias(alias)),
        },
    }
}

/// Returns the state of the fixed URL that a snapshot names; `None` for other snapshots.
fn url_of<'a>(catalog: &'a Catalog, repo: &Repository, snapshot: Snapshot) -> Option<&'a FixedUrl> {
    match snapshot {
        Snapshot::Alias(alias) => catalog.fixed_url(repo, alias),
        Snapshot::Latest | Snapshot::Date(_) | Snapshot::Transaction(_) => None,
    }
}

struct ListInForce<'a> {
    step: &'a RepoStep,
    /// End of the time in which a publish may replace the list.
    list_end: Timestamp,
}

/// Returns whether `end` is after the first subscription of the repository. From that time on each state of the
/// repository is served, also without packages: it was served as `latest`.
fn is_after_first_subscription(repo: &Repository, end: Timestamp) -> bool {
    repo.steps.iter().find(|step| !step.list.is_empty()).is_some_and(|step| step.at < end)
}

/// Returns the list that a fixed URL fixes, otherwise the list in force before `end`.
fn list_of<'a>(repo: &'a Repository, url: Option<&FixedUrl>, end: Timestamp) -> Option<ListInForce<'a>> {
    match fixed_list(url, repo) {
        Some(step) => Some(ListInForce { step, list_end: end }),
        None => list_at(repo, end),
    }
}

/// Returns the list in force before `end`. Dates before the first subscription use the list in force at the end of the
/// day of the first subscription: a repository created today serves dates of 2020, also after later subscriptions.
fn list_at(repo: &Repository, end: Timestamp) -> Option<ListInForce<'_>> {
    let first_index = repo.steps.iter().position(|step| !step.list.is_empty())?;
    let steps = repo.steps.get(first_index..)?;
    let list_end = if steps.first()?.at < end { end } else { steps.first()?.at.day().end() };
    let index = steps.partition_point(|step| step.at < list_end);
    Some(ListInForce { step: steps.get(index.checked_sub(1)?)?, list_end })
}

/// The state of a tree that belongs to a snapshot.
struct TreeState {
    tree: PointTree,
    /// The subscribed tree and its sequence number; `tree` has those of the base for a source that serves all of it.
    step: (TreeId, Seq),
    /// Publication time; if the sequence numbers are times, the time of the number.
    at: Timestamp,
    /// Its transaction; 0 if the sequence numbers are times.
    tx: TxId,
    /// Whether the sequence numbers are times.
    has_time: bool,
    /// Whether the tree is known up to the end of the snapshot.
    is_final: bool,
}

/// Returns the subscribed trees of a selection with their sequence numbers, as a fixed URL names them.
pub fn selected_steps(catalog: &Catalog, selection: &Selection, part: Option<Part>) -> Vec<(TreeId, Seq)> {
    let states = states(catalog, &selection.list, part, selection.end, None);
    states.into_iter().map(|state| state.step).collect()
}

/// Returns the last state of each source's trees that was published before `end`, or that a fixed URL names.
fn states(
    catalog: &Catalog,
    list: &[Subscription],
    part: Option<Part>,
    end: Timestamp,
    url: Option<&FixedUrl>,
) -> Vec<TreeState> {
    let of_entry = |entry: &Subscription| {
        let source = entry.source;
        catalog.subscribed_trees(*entry, part).map(move |tree| (source, tree))
    };
    let state = |(source, tree): (SourceId, &Tree)| match fixed_state_of(url, tree.id) {
        FixedState::At(seq) => Some(fixed_state(source, tree, seq)),
        FixedState::Absent => None,
        FixedState::NotFixed => last_state(catalog, source, tree, end),
    };
    list.iter().flat_map(of_entry).filter_map(state).collect()
}

/// Returns the state of a tree with this sequence number.
fn fixed_state(source: SourceId, tree: &Tree, seq: Seq) -> TreeState {
    let has_time = tree.time_head.is_some();
    let step = tree.steps.binary_search_by_key(&seq, |step| step.seq).ok().and_then(|at| tree.steps.get(at));
    let (at, tx) = step.map_or((Timestamp(seq.0), TxId(0)), |step| (step.at, step.tx));
    TreeState {
        tree: Catalog::point_tree(source, tree, seq),
        step: (tree.id, seq),
        at,
        tx,
        has_time,
        is_final: true,
    }
}

/// Returns the last state of a tree that was published before `end`.
fn last_state(catalog: &Catalog, source: SourceId, tree: &Tree, end: Timestamp) -> Option<TreeState> {
    let state = |Step { seq, at, tx }, is_final| TreeState {
        tree: Catalog::point_tree(source, tree, seq),
        step: (tree.id, seq),
        at,
        tx,
        has_time: tree.time_head.is_some(),
        is_final,
    };
    if let Some(head) = tree.time_head {
        let at = Timestamp(head.min(end).0 - 1);
        return Some(state(Step { seq: Seq(at.0), at, tx: TxId(0) }, head >= end));
    }
    let index = tree.steps.partition_point(|step| step.at < end);
    let last_step = index.checked_sub(1).and_then(|last| tree.steps.get(last));
    let step = last_step.or_else(|| final_state(catalog, tree, end))?;
    Some(state(*step, true))
}

/// Returns the first synced state of a version of Bioconductor whose last update was before `end`: the version has not
/// changed since then, so it had the same state before the sync.
fn final_state<'a>(catalog: &Catalog, tree: &'a Tree, end: Timestamp) -> Option<&'a Step> {
    let day = catalog.bioconductor.as_ref()?.last_update(tree.part()?.version)?;
    tree.steps.first().filter(|_| day.end() <= end)
}

/// Returns the reason why no state before `end` is served: the history starts on a later day, or there is none at all.
fn unresolved_reason(
    catalog: &Catalog,
    repo: &Repository,
    part: Option<Part>,
    snapshot: Snapshot,
    end: Timestamp,
) -> Unresolved {
    let has_state = |end: Timestamp| {
        let is_served_empty = part.is_none() && is_after_first_subscription(repo, end);
        is_served_empty
            || list_at(repo, end).is_some_and(|list| {
                !states(catalog, &list.step.list, part, list.step.states_end(end), None).is_empty()
            })
    };
    // A state can only begin with a list, or with the first step of a tree that some list names.
    let lists = repo.steps.iter().map(|step| step.at);
    let entries = repo.steps.iter().flat_map(|step| step.list.iter());
    let trees = entries.flat_map(|entry| catalog.subscribed_trees(*entry, part));
    let last_update =
        catalog.bioconductor.as_ref().zip(part).and_then(|(config, part)| config.last_update(part.version));
    let trees = trees.filter_map(|tree| tree.steps.first());
    let mut days: Vec<Day> = lists.chain(trees.map(|step| step.at)).map(Timestamp::day).collect();
    days.extend(last_update);
    days.sort_unstable();
    days.dedup();
    // A part can lose its source and get it again; its history starts with the first state.
    let first = days.into_iter().find(|day| has_state(day.end()));
    match first.filter(|first| first.end() >= end) {
        Some(first) => Unresolved::BeforeHistory { requested: describe(snapshot), first },
        None => part.map_or(Unresolved::Empty, Unresolved::NoPart),
    }
}

fn describe(snapshot: Snapshot) -> String {
    match snapshot {
        Snapshot::Transaction(id) => format!("transaction {id}"),
        Snapshot::Alias(alias) => format!("fixed URL {alias}"),
        Snapshot::Latest | Snapshot::Date(_) => snapshot.to_string(),
    }
}

#[cfg(test)]
mod bioconductor_tests;
#[cfg(test)]
mod tests;
