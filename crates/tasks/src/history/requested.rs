//! Entries on request: of the states that a repository has now of a day that is over.

use std::time::{Duration, Instant};

use super::entries::{self, Entries};
use super::{History, rows, views};
use base::model::snapshot::Snapshot;
use content::serve::{RepoError, proofs};
use store::db::tlog::{self, NewEntry};
use store::db::{Conn, DbError, audit};

/// How long a request waits for the checkpoint with its entries.
const MAX_WAIT: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Adds entries of the states that a repository has now of a day that is over, or of a transaction, and waits for the
/// checkpoint with them. A state that the log has already gets none. They are marked as late.
///
/// # Errors
/// [`RepoError::NotFound`] for a snapshot without a state, and for a day that is not over; [`RepoError::Conflict`] if the rules
/// of the repository depend on advisories, whose changes are not in the log, or while the log is paused.
pub async fn add(history: &History, repo: &str, snapshot: Snapshot) -> Result<(), RepoError> {
    let started = Instant::now();
    loop {
        let (head, catalog) = (history.head().await?, history.state.catalog.get());
        if !head.pause.is_empty() {
            return Err(RepoError::Conflict(format!("the log is paused: {}", head.pause)));
        }
        let Some(repo) = catalog.repo_by_name_or_id(repo) else {
            return Err(RepoError::NotFound(format!("there is no repository {repo}")));
        };
        if history.rules.need_advisories(&catalog, repo.id) {
            let reason = "block rules of the repository depend on advisories: their changes are not in the log, which could \
                          not explain a second state";
            return Err(RepoError::Conflict(reason.to_owned()));
        }
        let is_over = match snapshot {
            Snapshot::Date(day) => day.end() <= head.closed_until,
            Snapshot::Transaction(tx) => tx <= head.tx,
            Snapshot::Latest | Snapshot::Alias(_) => false,
        };
        if !is_over {
            let reason = format!("{snapshot} is not a day that is over, or a transaction, in the log");
            return Err(RepoError::NotFound(reason));
        }
        // Entries of what explains another state than before are first.
        let has_all = catalog.transactions.last().is_none_or(|(last, _)| *last <= head.tx);
        if has_all {
            let newest = match snapshot {
                Snapshot::Transaction(tx) => tx,
                _ => head.tx,
            };
            let states = views::of_snapshot(history, &catalog, repo, snapshot, newest).await?;
            if states.is_empty() {
                return Err(RepoError::NotFound(format!("{} has no state of {snapshot}", repo.name)));
            }
            let mut next = Entries {
                entries: Vec::new(),
                events: Vec::new(),
                tx: head.tx,
                closed_until: head.closed_until,
            };
            next.entries.extend(entries::rules(history, &catalog, &head).await?);
            for state in states {
                next.entries.extend(if_new(history, state).await?);
            }
            let (log, size, is_empty) =
                (head.id, head.size + next.entries.len() as u64, next.entries.is_empty());
            let (name, detail) = (repo.name.to_string(), format!("state: {snapshot}"));
            let append = move |c: &mut dyn Conn| {
                let is_appended = rows::append(c, &head, &next)?;
                if is_appended {
                    audit::record(c, "add state to log", "repository", &name, &detail)?;
                }
                Ok::<bool, DbError>(is_appended)
            };
            if is_empty || history.state.db.write(append).await? {
                return signed(history, log, size, started).await;
            }
        }
        if started.elapsed() > MAX_WAIT {
            return Err(RepoError::Conflict(
                "the log lacks newer transactions: see rspm history status".to_owned(),
            ));
        }
        history.wake.notify_one();
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Returns a state as a late one, unless the newest entry of it has the same root and rules.
async fn if_new(history: &History, view: NewEntry) -> Result<Option<NewEntry>, RepoError> {
    let subject = view.subject.clone();
    let known = history.state.db.read(move |c| tlog::find(c, &subject)).await?;
    let state = |text: &str| {
        let lines = text.lines().filter(|line| line.starts_with("root ") || line.starts_with("rules "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let is_known = known.is_some_and(|(_, _, text)| state(&text) == state(&view.text));
    Ok((!is_known).then(|| views::late(view)))
}

/// Waits for a signed checkpoint with this number of entries, which the leader writes.
async fn signed(history: &History, log: i64, size: u64, started: Instant) -> Result<(), RepoError> {
    loop {
        history.wake.notify_one();
        let head = history.state.db.read(move |c| tlog::by_id(c, log)).await?;
        let signed = head.as_ref().map(proofs::signed).transpose()?.flatten();
        if signed.is_some_and(|signed| signed.checkpoint.root.count >= size) {
            return Ok(());
        }
        if started.elapsed() > MAX_WAIT {
            let reason = "the log has the entries, but is not signed yet: see rspm history status".to_owned();
            return Err(RepoError::Conflict(reason));
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
