//! The past days of repositories, and the transactions of today, that a state of a source with a time in the past changes.

use super::Write;
use api::source::ChangedDays;
use base::model::ids::SourceId;
use base::model::kind::ChangePolicy;
use base::model::recorded_words::PromotionState;
use base::model::snapshot::Snapshot;
use base::model::text::first_names;
use base::model::time::{Day, Timestamp};
use content::serve::RepoError;
use runtime::catalog::resolve::{self, Period};
use runtime::catalog::{Catalog, Repository};
use store::db::Conn;
use store::db::promotion::{self, Promotion};

/// Maximum number of repositories that a refusal names.
const MAX_NAMES: usize = 10;

/// Returns the past days that change if a source gets a new state from `at` on, and today if a later transaction of it does. A
/// repository that had no sources before today has no such days: its past days begin with its first list.
///
/// # Errors
/// [`RepoError::Conflict`] if a state changes that was promoted to a repository that only promotions may change.
pub(super) fn changed(
    catalog: &Catalog,
    source: SourceId,
    at: Timestamp,
    now: Timestamp,
) -> Result<Vec<ChangedDays>, RepoError> {
    let mut found = Vec::new();
    for repo in catalog.repos.iter() {
        let periods = resolve::periods(catalog, repo, None, Snapshot::Latest, now);
        let changes = |period: &&Period| {
            let has_source = period.trees.iter().any(|(other, _)| *other == source);
            has_source && period.states_at.is_none_or(|end| at < end)
        };
        let promoted = periods.iter().filter(changes).find_map(|period| period.states_at);
        if let Some(end) = promoted.filter(|_| repo.changes != ChangePolicy::Any) {
            return Err(RepoError::Conflict(format!(
                "the repository '{}' serves or served the state of {end}, which was promoted and does not change, and this change \
                 is older: import it without its time",
                repo.name
            )));
        }
        let changed: Vec<&Period> = periods.iter().filter(changes).collect();
        found.extend(days(catalog, repo, &changed, at, now));
    }
    Ok(found)
}

/// Returns the days of these periods that change from `at` on.
fn days(
    catalog: &Catalog,
    repo: &Repository,
    periods: &[&Period],
    at: Timestamp,
    now: Timestamp,
) -> Option<ChangedDays> {
    let today = resolve::today(catalog, now);
    let first_list = repo.steps.iter().find(|step| !step.list.is_empty())?.at;
    let has_past = first_list < today.start();
    // The state of a day is that before its end.
    let of_period = |period: &&Period| {
        let end = period.until.min(today.start()).day().start();
        (period.from.max(at).day(), Timestamp(end.0.saturating_sub(1)).day())
    };
    let past = periods.iter().map(of_period).filter(|(first, last)| has_past && first <= last);
    // A transaction of today has a number, whose snapshot was served. The list that has the source first is made for it.
    let is_served = |instant: Timestamp| instant > at && instant >= today.start().max(first_list);
    let has_step = |period: &&Period| {
        let trees = period.trees.iter().filter_map(|(_, tree)| catalog.tree(*tree));
        trees
            .flat_map(|tree| &tree.steps)
            .any(|step| is_served(step.at) && (period.from..period.until).contains(&step.at))
    };
    let has_list = has_past && periods.iter().skip(1).any(|period| is_served(period.from));
    let is_numbered = has_list || periods.iter().any(has_step);
    let days: Vec<(Day, Day)> = past.chain(is_numbered.then_some((today, today))).collect();
    let first = days.iter().map(|(first, _)| *first).min()?;
    let last = days.iter().map(|(_, last)| *last).max()?;
    Some(ChangedDays { repo: repo.name.to_string(), first: first.to_string(), last: last.to_string() })
}

/// Refuses a change of a source from `at` on if a promotion of such a state is requested: what is approved is what was
/// requested.
pub(super) fn check_requests(c: &mut dyn Conn, source: SourceId, at: Timestamp) -> Write<()> {
    let requested = promotion::list(c, None, Some(PromotionState::Requested), i64::MAX)?;
    let is_changed = |promotion: &&Promotion| {
        let request = &promotion.request;
        request.pinned_at > at && request.subscriptions.iter().any(|entry| entry.source == source)
    };
    match requested.iter().find(is_changed) {
        Some(Promotion { id, request, .. }) => Err(RepoError::Conflict(format!(
            "promotion {id} to '{}' is requested with a state that would change: decide on it first, or import without times \
             (--dates=none)",
            request.to_name
        ))
        .into()),
        None => Ok(()),
    }
}

/// Returns the refusal of a change of past days that was not permitted.
pub(super) fn refusal(days: &[ChangedDays]) -> RepoError {
    let name = |days: &ChangedDays| format!("{} ({} to {})", days.repo, days.first, days.last);
    let names = first_names(&days.iter().map(name).collect::<Vec<_>>(), MAX_NAMES);
    RepoError::Conflict(format!(
        "past snapshots of repositories would change, and clients may depend on them: {names}; permit it with change_past_days \
         (rspm import list --change-past-days), or import without times (--dates=none)"
    ))
}
