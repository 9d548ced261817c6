//! `GET /alerts`: current problems that need an administrator.

use std::collections::{BTreeMap, HashMap};

use super::{Answer, PublicCall};
use crate::http::app::App;
use crate::http::error::Failure;
use crate::http::login::permission::Principal;
use api::public::status::Alert;
use base::model::kind::StorageClass;
use base::model::recorded_words::RecordedCommand;
use base::model::time::{SECOND, Timestamp};
use content::serve::RepoError;
use runtime::jobs::{Job, JobState};
use store::db::{self, DbError};
use store::storage::condition::Warning;
use store::storage::space::FULL_PERCENT;
use tasks::backup::results::{self, BackupProblem};
use tasks::history::{self, Problem};

/// Time for which a guarded name that appeared in a mirror is an alert, in microseconds: 30 days.
const NAME_ALERT_DURATION: i64 = 30 * 86_400 * SECOND;

pub(super) async fn list(call: PublicCall<'_>) -> Answer<Vec<Alert>> {
    current(call.app, call.head.principal).await
}

/// Returns all current problems; empty if there are none.
///
/// SECURITY: open to all clients. Addresses, paths and reasons are disclosed only by the log and `rspm`.
pub(in crate::http) async fn current(app: &App, principal: &Principal) -> Result<Vec<Alert>, Failure> {
    let recorded_failures = app.state.db.read(db::upstream::failures).await.map_err(RepoError::from)?;
    let mut alerts = failures(&app.state.jobs.list(), recorded_failures);
    if app.state.config.load().storage_alerts.is_enabled {
        alerts.extend(app.state.storage.full_file_systems().iter().map(|classes| full_alert(classes)));
    }
    let warnings = app.state.storage.condition().warnings();
    alerts.extend(warnings.into_iter().map(|Warning { kind, name, message }| alert(kind, name, message)));
    let now = (app.state.clock)();
    let backups = app.state.db.read(db::backup::results).await.map_err(RepoError::from)?;
    alerts.extend(results::problems(&backups, now).into_iter().map(backup_alert));
    alerts.extend(database_alert(app.state.db.check_usable(now).await)?);
    alerts.extend(history::problems(&app.history).await?.into_iter().map(history_alert));
    let catalog = app.state.catalog.get();
    let skews = [("publish", catalog.skew(now)), ("sync:pypi", catalog.index_skew(now))];
    alerts.extend(skews.into_iter().filter_map(|(name, skew)| Some(alert("clock", name, skew?.to_string()))));
    let withheld =
        app.state.db.read(move |c| db::promotion::alarms(c, now)).await.map_err(RepoError::from)?;
    alerts.extend(withheld.into_iter().filter_map(|alarm| {
        // SECURITY: not the names of repositories that the client may not read, or that are hidden from it.
        let repo = catalog.repo_by_id(alarm.repo).filter(|repo| principal.may_list(repo))?;
        Some(Alert {
            kind: "promoted-repository".to_owned(),
            name: repo.name.to_string(),
            message: alarm.message,
            since: Some(alarm.at.to_string()),
        })
    }));
    // SECURITY: the list of guarded names would help attackers.
    if principal.is_administrator() {
        let since = Timestamp(now.0.saturating_sub(NAME_ALERT_DURATION));
        let overlaps =
            app.state.db.read(move |c| db::name_guard::alarms(c, since)).await.map_err(RepoError::from)?;
        alerts.extend(overlaps.into_iter().map(|overlap| Alert {
            kind: "name-guard".to_owned(),
            message: format!(
                "the source {} lists the guarded name '{}'; it is hidden; see rspm audit names",
                catalog.source_name(overlap.source),
                overlap.name
            ),
            name: overlap.name,
            since: Some(overlap.seen_at.to_string()),
        }));
    }
    let rules = app.state.sysreqs.get();
    let unsupported_count = rules.as_ref().map_or(0, |rules| rules.invalid_patterns().len());
    if unsupported_count > 0 {
        let message = format!(
            "{unsupported_count} patterns of the system requirements rules are not supported by this version"
        );
        alerts.push(alert("system-requirements", "rules", message));
    }
    Ok(alerts)
}

/// Returns an alert about a problem whose start is not known.
fn alert(kind: &str, name: impl Into<String>, message: impl Into<String>) -> Alert {
    Alert { kind: kind.to_owned(), name: name.into(), message: message.into(), since: None }
}

/// Returns the alert of a database that answers but accepts no publish.
fn database_alert(result: Result<(), DbError>) -> Result<Option<Alert>, Failure> {
    match result {
        Ok(()) => Ok(None),
        // SECURITY: the text of the error has the address of the server.
        Err(DbError::ReadOnly { .. }) => {
            let message =
                "the database is read-only: nothing can be added, removed or synced; see rspm status";
            Ok(Some(alert("database", "read-only", message)))
        }
        Err(error @ DbError::ClockAhead { .. }) => Ok(Some(alert("clock", "publish", error.to_string()))),
        Err(error) => Err(error.into()),
    }
}

/// Returns the alert of a failed backup, or of backups that are no longer made.
///
/// SECURITY: only `rspm status` discloses the folder and the reason.
fn backup_alert(problem: BackupProblem) -> Alert {
    let (name, message, since) = match problem {
        BackupProblem::Failed(result) => {
            let message = match result.command {
                RecordedCommand::Create => "the last backup failed; see rspm status",
                RecordedCommand::Test => "the last test of a backup failed; see rspm status",
            };
            (result.command.as_str(), message, result.at)
        }
        BackupProblem::Old(command, _, at) => {
            let message = match command {
                RecordedCommand::Create => "no backup was made for more than a week; see rspm status",
                RecordedCommand::Test => "no backup was tested for more than two weeks; see rspm status",
            };
            (command.as_str(), message, at)
        }
    };
    Alert { since: Some(since.to_string()), ..alert("backup", name, message) }
}

/// Returns the alert of a problem of the log.
///
/// SECURITY: only `rspm history status` discloses the reason, and the names of witnesses.
fn history_alert(problem: Problem) -> Alert {
    let (name, message) = match problem {
        Problem::Paused => ("paused", "the log is paused, so that nothing is appended or signed".to_owned()),
        Problem::Failed => ("failed", "the log could not be written or copied".to_owned()),
        Problem::Waiting(count) => ("waiting", format!("{count} transactions have no entry in the log")),
        Problem::Witness(_) => ("witness", "a witness has not cosigned the log for a day".to_owned()),
    };
    alert("history", name, format!("{message}; see rspm history status"))
}

/// Returns the alert of a full file system, named by its storage classes.
fn full_alert(classes: &[StorageClass]) -> Alert {
    let names = classes.iter().map(|class| class.as_str()).collect::<Vec<_>>().join(", ");
    let message = format!("the file system of the storage classes {names} is over {FULL_PERCENT} % full");
    alert("storage", names, message)
}

/// Returns the alerts of jobs that failed and have not succeeded since, by name: syncs from the recorded failures,
/// other jobs from the job registry, except backups, which have their own alerts.
fn failures(jobs: &[Job], recorded: Vec<(String, Timestamp)>) -> Vec<Alert> {
    let mut newest: HashMap<&str, &Job> = HashMap::new();
    for job in jobs {
        let is_recorded = job.key.starts_with("sync:") || job.key.starts_with("backup:");
        if !is_recorded && !matches!(*job.state.borrow(), JobState::Running(_)) {
            newest.insert(&job.key, job);
        }
    }
    let failed = newest.into_values().filter(|job| matches!(*job.state.borrow(), JobState::Failed(_)));
    let mut failed_since: BTreeMap<String, Timestamp> =
        failed.map(|job| (job.key.clone(), job.started_at)).collect();
    failed_since.extend(recorded);
    let failure = |(name, since): (String, Timestamp)| {
        let message =
            format!("{name} failed; the last good state is served; see the server log for the reason");
        Alert { since: Some(since.to_string()), ..alert("job", name, message) }
    };
    failed_since.into_iter().map(failure).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::jobs::Jobs;

    #[tokio::test]
    async fn a_failed_job_is_an_alert_until_it_succeeds() {
        let jobs = Jobs::default();
        let run = async |key: &str, outcome: Result<String, String>| {
            let started = jobs.start(key, Timestamp(0), |_| async move { outcome });
            let _ = started.job().wait_end().await;
        };
        run("backfill:cran", Err("mirror http://secret.example is gone".to_owned())).await;
        run("other", Err("gone".to_owned())).await;
        run("other", Ok("fine".to_owned())).await;
        run("sync:pypi", Err("another server does it".to_owned())).await;
        run("backup:/srv/backups", Err("no space".to_owned())).await;
        let alerts = failures(&jobs.list(), Vec::new());
        assert_eq!(alerts.iter().map(|alert| alert.name.as_str()).collect::<Vec<_>>(), ["backfill:cran"]);
        assert!(!alerts[0].message.contains("secret"), "{alerts:?}");
        assert_eq!(alerts[0].since.as_deref(), Some("1970-01-01T00:00:00Z"));
        let since = |alerts: Vec<Alert>| -> Vec<String> {
            alerts
                .into_iter()
                .map(|alert| format!("{} {}", alert.name, alert.since.expect("known")))
                .collect()
        };
        let recorded =
            vec![("sync:cran".to_owned(), Timestamp(-1_000_000)), ("sync:vulns".to_owned(), Timestamp(0))];
        assert_eq!(
            since(failures(&jobs.list(), recorded)),
            [
                "backfill:cran 1970-01-01T00:00:00Z",
                "sync:cran 1969-12-31T23:59:59Z",
                "sync:vulns 1970-01-01T00:00:00Z"
            ]
        );
    }
}
