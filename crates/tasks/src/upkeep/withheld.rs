//! Records what rules and advisories start or cease to withhold; alarms for repositories that only promotions change.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base::model::ids::{RepoId, Seq};
use base::model::kind::ChangePolicy;
use base::model::text::count_of;
use content::serve::withheld::{self, WithheldChange};
use content::serve::{RepoError, policies};
use runtime::catalog::Repository;
use runtime::state::State;
use runtime::state::policies::RepoPolicy;
use store::db::audit;
use store::db::author::Author;
use store::db::promotion::{self, WithheldAlarm};

/// Interval at which rules and advisories are compared with those that were recorded last.
const INTERVAL: Duration = Duration::from_secs(2);
/// Maximum number of versions in an audit row.
const MAX_VERSIONS: usize = 100;

/// The rules that were recorded last, by repository, with the number of its newest list of subscriptions.
#[derive(Default)]
pub struct RecordedRules {
    generation: Option<u64>,
    catalog: i64,
    by_repo: HashMap<RepoId, (Option<Seq>, Option<Arc<RepoPolicy>>)>,
}

/// Runs until the task is dropped, on one server of a database.
pub async fn run(state: &State) {
    let mut recorded = RecordedRules::default();
    loop {
        if let Err(error) = recorded.record(state).await {
            tracing::warn!("could not record what rules withhold; trying again: {error}");
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

impl RecordedRules {
    /// Records what changed since the last call; nothing at the first call of each repository.
    pub async fn record(&mut self, state: &State) -> Result<(), RepoError> {
        state.advisories.wait().await;
        let catalog = state.catalog.get();
        let (generation, _) = policies::generation(state, &catalog, (state.clock)());
        let has_same_rules = self.generation == Some(generation);
        if has_same_rules && self.catalog == catalog.version {
            return Ok(());
        }
        self.by_repo.retain(|id, _| catalog.repo_by_id(*id).is_some());
        for repo in catalog.repos.iter() {
            let list = repo.steps.last().map(|step| step.seq);
            if has_same_rules && self.by_repo.get(&repo.id).is_some_and(|(before, _)| *before == list) {
                continue;
            }
            let after = withheld::in_force(state, repo).await;
            let is_other = |before: &Option<Arc<RepoPolicy>>| {
                before.as_ref().map(Arc::as_ptr) != after.as_ref().map(Arc::as_ptr)
            };
            // What another list of subscriptions or a promotion withholds is news, not a change of rules.
            if let Some((before_list, before)) = self.by_repo.get(&repo.id)
                && *before_list == list
                && is_other(before)
            {
                let changes = withheld::changes(state, repo, before.as_ref(), after.as_ref()).await?;
                record_changes(state, repo, changes).await?;
            }
            self.by_repo.insert(repo.id, (list, after));
        }
        (self.generation, self.catalog) = (Some(generation), catalog.version);
        Ok(())
    }
}

async fn record_changes(
    state: &State,
    repo: &Repository,
    changes: Vec<WithheldChange>,
) -> Result<(), RepoError> {
    let (started, ceased): (Vec<_>, Vec<_>) = changes.into_iter().partition(|change| change.reason.is_some());
    let is_promoted = repo.changes != ChangePolicy::Any;
    for (action, verb, changes) in
        [("withhold", "withhold", started), ("release", "no longer withhold", ceased)]
    {
        if changes.is_empty() {
            continue;
        }
        let (detail, count, name, id) = (describe(&changes), changes.len(), repo.name.to_string(), repo.id);
        let text = format!("rules or advisories {verb} {}: {detail}", count_of(count, "version", "versions"));
        match is_promoted {
            true => tracing::warn!(repository = name, "{text}"),
            false => tracing::info!(repository = name, "{text}"),
        }
        let now = (state.clock)();
        let write = state.db.write(move |c| {
            let author = Author::job("block rules", now);
            audit::record_by(c, &author, action, "repository", &name, audit::SUCCESS, &detail)?;
            if is_promoted {
                promotion::add_alarm(c, &WithheldAlarm { repo: id, at: now, message: text.clone() })?;
            }
            Ok(())
        });
        write.await?;
    }
    Ok(())
}

fn describe(changes: &[WithheldChange]) -> String {
    let text = |WithheldChange { package, version, reason }: &WithheldChange| match reason.as_deref() {
        None | Some("") => format!("{package} {version}"),
        Some(reason) => format!("{package} {version}: {reason}"),
    };
    let texts: Vec<String> = changes.iter().take(MAX_VERSIONS).map(text).collect();
    match changes.len().saturating_sub(MAX_VERSIONS) {
        0 => texts.join("; "),
        more => format!("{}; and {more} more", texts.join("; ")),
    }
}
