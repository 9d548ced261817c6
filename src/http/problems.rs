//! What needs an administrator: the one list for the alerts of the public API, `rspm status` and the page of health.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::http::app::App;
use crate::http::error::Failure;
use crate::http::summary;
use base::model::ids::RepoId;
use base::model::kind::StorageClass;
use base::model::recorded_words::RecordedCommand;
use base::model::text::shell_argument;
use base::model::time::Timestamp;
use content::serve::RepoError;
use runtime::jobs::schedule::{Schedule, ScheduleStatus};
use runtime::jobs::{Job, JobState};
use store::db::backup::BackupResult;
use store::db::{self, DbError};
use store::storage::condition::Warning;
use store::storage::space::FULL_PERCENT;
use tasks::backup::results::{self, BackupProblem};
use tasks::history;

/// Time for which a guarded name that appeared in a mirror is a problem.
const NAME_ALERT_DURATION: Duration = Duration::from_secs(30 * 86_400);
/// Time before the end of tokens and certificates from which it is a problem.
pub(super) const END_NOTICE: Duration = Duration::from_secs(14 * 86_400);
/// Time after which a scheduled sync that has not succeeded is a problem, even if none failed.
const SYNC_DELAY: Duration = Duration::from_secs(12 * 3600);
/// Maximum number of tokens of a problem.
const MAX_TOKENS: i64 = 1000;
/// Maximum length of the reason of a failed job, in characters.
const MAX_REASON: usize = 300;

/// The warning of a server that receives no notifications from PostgreSQL.
const NO_NOTIFICATIONS: &str = "notifications of PostgreSQL do not arrive, and other servers are polled every two seconds; if \
    the connection passes a pooler, set Postgres.ListenURL to the address of the database itself";

/// The clients that see a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    Everyone,
    /// Those who may list this repository.
    Repository(RepoId),
    Administrators,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// A type of the alerts of the public API.
    pub(super) kind: &'static str,
    /// The subject, such as a job: `sync:cran`.
    pub(super) name: String,
    /// A sentence for the clients that see the problem. SECURITY: without addresses, paths, reasons and names of witnesses.
    pub(super) public: String,
    /// The sentence for administrators.
    pub(super) sentence: String,
    /// The command that mends it, or shows the reason.
    pub(super) command: String,
    pub(super) since: Option<Timestamp>,
    pub(super) audience: Audience,
}

impl Problem {
    /// A problem that all clients may know, with the same sentence for administrators.
    fn new(
        kind: &'static str,
        name: impl Into<String>,
        sentence: impl Into<String>,
        command: &str,
    ) -> Problem {
        let sentence = sentence.into();
        Problem {
            kind,
            name: name.into(),
            public: sentence.clone(),
            sentence,
            command: command.to_owned(),
            since: None,
            audience: Audience::Everyone,
        }
    }

    /// A problem that only administrators see.
    fn of_administrators(
        kind: &'static str,
        name: impl Into<String>,
        sentence: impl Into<String>,
        command: &str,
    ) -> Problem {
        Problem { audience: Audience::Administrators, ..Problem::new(kind, name, sentence, command) }
    }
}

/// Returns the problems that all clients may see; for administrators, all.
pub(super) async fn current(app: &App, is_administrator: bool) -> Result<Vec<Problem>, Failure> {
    let mut problems = failed_jobs(app, is_administrator).await?;
    problems.extend(of_process(app));
    let now = (app.state.clock)();
    let backups = app.state.db.read(db::backup::results).await.map_err(RepoError::from)?;
    problems.extend(results::problems(&backups, now).into_iter().map(of_backup));
    problems.extend(of_database(app.state.db.check_usable(now).await)?);
    problems.extend(history::problems(&app.history).await?.into_iter().map(of_history));
    let catalog = app.state.catalog.get();
    let skews = [("publish", catalog.skew(now)), ("sync:pypi", catalog.index_skew(now))];
    problems.extend(skews.into_iter().filter_map(|(name, skew)| Some(of_clock(name, &skew?.to_string()))));
    let withheld =
        app.state.db.read(move |c| db::promotion::alarms(c, now)).await.map_err(RepoError::from)?;
    problems.extend(withheld.into_iter().filter_map(|alarm| {
        let name = catalog.repo_by_id(alarm.repo)?.name.to_string();
        let command = format!("rspm list promotions --repo={name}");
        let problem = Problem::new("promoted-repository", name, alarm.message, &command);
        Some(Problem { since: Some(alarm.at), audience: Audience::Repository(alarm.repo), ..problem })
    }));
    if is_administrator {
        problems.extend(old_syncs(app, &problems, now).await?);
        problems.extend(guarded_names(app, now).await?);
        problems.extend(ending_tokens(app, now).await?);
    }
    let rules = app.state.sysreqs.get();
    let unsupported_count = rules.as_ref().map_or(0, |rules| rules.invalid_patterns().len());
    if unsupported_count > 0 {
        let sentence = format!(
            "{unsupported_count} patterns of the system requirements rules are not supported by this version"
        );
        let command = "rspm sync --type=sysreqs";
        problems.push(Problem::new("system-requirements", "rules", sentence, command));
    }
    Ok(problems)
}

/// Returns the problems that need no database.
pub(super) fn of_process(app: &App) -> Vec<Problem> {
    let (state, mut problems) = (&app.state, Vec::new());
    if state.config.load().storage_alerts.is_enabled {
        problems.extend(state.storage.full_file_systems().iter().map(|classes| of_full_file_system(classes)));
    }
    problems.extend(state.storage.condition().warnings().into_iter().map(of_storage));
    if state.db.link().is_some_and(|link| link.lacks_notifications()) {
        let command = "rspm cluster nodes";
        problems.push(Problem::of_administrators("notifications", "postgres", NO_NOTIFICATIONS, command));
    }
    if let Some(sentence) = summary::unencrypted_warning(&state.config.load(), &state.catalog.get()) {
        let command = "rspm check-config";
        problems.push(Problem::of_administrators("encryption", "listener", sentence, command));
    }
    problems.extend(app.tls.end().and_then(|end| of_certificate(end, (state.clock)())));
    problems
}

/// Returns the problem of a certificate that ends soon.
fn of_certificate(end: Timestamp, now: Timestamp) -> Option<Problem> {
    let sentence = match end <= now {
        true => format!("the HTTPS certificate ended on {}; replace its files, then reload", end.day()),
        false => format!("the HTTPS certificate ends on {}; replace its files, then reload", end.day()),
    };
    let problem = Problem::of_administrators("certificate", "https", sentence, "rspm hup");
    (end <= now + END_NOTICE).then_some(problem)
}

fn of_clock(name: &str, sentence: &str) -> Problem {
    Problem::new("clock", name, sentence, "rspm repair clock --dry-run --today=\"$(date --utc +%F)\"")
}

fn of_storage(warning: Warning) -> Problem {
    let Warning { kind, name, message, command } = warning;
    Problem { public: format!("{message}: {command}"), ..Problem::new(kind, name, message, &command) }
}

/// Returns the problem of a full file system, named by its storage classes.
fn of_full_file_system(classes: &[StorageClass]) -> Problem {
    let names = classes.iter().map(|class| class.as_str()).collect::<Vec<_>>().join(", ");
    let sentence = format!("the file system of the storage classes {names} is over {FULL_PERCENT} % full");
    Problem::new("storage", names, sentence, "rspm list storage")
}

/// Returns the problem of a database that answers but accepts no publish.
fn of_database(result: Result<(), DbError>) -> Result<Option<Problem>, Failure> {
    match result {
        Ok(()) => Ok(None),
        // SECURITY: the text of the error has the address of the server.
        Err(error @ DbError::ReadOnly { .. }) => {
            let public =
                "the database is read-only: nothing can be added, removed or synced; see rspm status";
            let problem = Problem::new("database", "read-only", error.to_string(), "rspm check-config");
            Ok(Some(Problem { public: public.to_owned(), ..problem }))
        }
        Err(error @ DbError::ClockAhead { .. }) => Ok(Some(of_clock("publish", &error.to_string()))),
        Err(error) => Err(error.into()),
    }
}

/// Returns the problem of a failed backup, or of backups that are no longer made.
fn of_backup(problem: BackupProblem) -> Problem {
    let of_command = |command, public: &str, sentence, next: &str, at| {
        let problem = Problem::new("backup", RecordedCommand::as_str(command), sentence, next);
        Problem { public: public.to_owned(), since: Some(at), ..problem }
    };
    match problem {
        BackupProblem::Failed(BackupResult { folder, command, at, error, .. }) => {
            let error = error.unwrap_or_default();
            let next = format!("rspm backup create --to {}", shell_argument(&folder));
            let (public, sentence) = match command {
                RecordedCommand::Create => (
                    "the last backup failed; see rspm status",
                    format!("the backup of {at} in {folder} failed: {error}"),
                ),
                RecordedCommand::Test => (
                    "the last test of a backup failed; see rspm status",
                    format!(
                        "the test of a backup in {folder} at {at} failed: {error}; make a new backup and test it"
                    ),
                ),
            };
            of_command(command, public, sentence, &next, at)
        }
        BackupProblem::Old(command @ RecordedCommand::Create, folder, at) => of_command(
            command,
            "no backup was made for more than a week; see rspm status",
            format!("the last backup, in {folder}, is from {at}; make a new one"),
            &format!("rspm backup create --to {}", shell_argument(&folder)),
            at,
        ),
        BackupProblem::Old(command @ RecordedCommand::Test, folder, at) => of_command(
            command,
            "no backup was tested for more than two weeks; see rspm status",
            format!("the last test of a backup, in {folder}, was at {at}; test the newest"),
            &format!("rspm backup test --from {}", shell_argument(&folder)),
            at,
        ),
    }
}

fn of_history(problem: history::Problem) -> Problem {
    use history::Problem as Log;
    let (name, public, witness) = match problem {
        Log::Paused => {
            ("paused", "the log is paused, so that nothing is appended or signed".to_owned(), None)
        }
        Log::Failed => ("failed", "the log could not be written or copied".to_owned(), None),
        Log::Waiting(count) => ("waiting", format!("{count} transactions have no entry in the log"), None),
        Log::Witness(name) => {
            ("witness", "a witness has not cosigned the log for a day".to_owned(), Some(name))
        }
    };
    let sentence = match &witness {
        None => public.clone(),
        Some(name) => format!("the witness {name} has not cosigned the log for a day"),
    };
    let problem = Problem::new("history", name, sentence, "rspm history status");
    Problem { public: format!("{public}; see rspm history status"), ..problem }
}

/// Returns the jobs that failed and have not succeeded since; for administrators with the reason.
async fn failed_jobs(app: &App, is_administrator: bool) -> Result<Vec<Problem>, Failure> {
    let recorded = app.state.db.read(db::upstream::failures).await.map_err(RepoError::from)?;
    let failures = failures(&app.state.jobs.list(), recorded);
    if !is_administrator || failures.is_empty() {
        return Ok(failures.into_iter().map(|failure| of_job(failure, None)).collect());
    }
    let read = move |c: &mut dyn db::Conn| {
        let with_run =
            |failure: &FailedJob| Ok((db::job_run::last_failure(c, &failure.key)?, failure.clone()));
        failures.iter().map(with_run).collect::<Result<Vec<_>, DbError>>()
    };
    let failures = app.state.db.read(read).await.map_err(RepoError::from)?;
    Ok(failures.into_iter().map(|(run, failure)| of_job(failure, run.map(|run| run.message))).collect())
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct FailedJob {
    key: String,
    since: Timestamp,
}

fn of_job(FailedJob { key, since }: FailedJob, reason: Option<String>) -> Problem {
    let command = match key.strip_prefix("sync:") {
        Some(source) => format!("rspm sync --type={source}"),
        None if key.starts_with("storage:sweep") => "rspm storage sweep".to_owned(),
        None => "journalctl -p warning -u rstudio-pm".to_owned(),
    };
    let state = "the last good state is served";
    let public = format!("{key} failed; {state}; see the server log for the reason");
    let sentence = match reason.as_deref().and_then(|reason| reason.lines().next()) {
        None => public.clone(),
        Some(reason) => {
            format!("{key} failed; {state}: {}", reason.chars().take(MAX_REASON).collect::<String>())
        }
    };
    Problem { public, since: Some(since), ..Problem::new("job", key, sentence, &command) }
}

/// Returns the jobs that failed and have not succeeded since, by name: syncs from the recorded failures, other jobs from
/// the job registry, except backups, which have problems of their own.
fn failures(jobs: &[Job], recorded: Vec<(String, Timestamp)>) -> Vec<FailedJob> {
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
    failed_since.into_iter().map(|(key, since)| FailedJob { key, since }).collect()
}

/// Returns the scheduled syncs that have not succeeded for too long, except those that failed.
async fn old_syncs(app: &App, known: &[Problem], now: Timestamp) -> Result<Vec<Problem>, Failure> {
    let schedules = app.sync.schedules().await.map_err(|error| Failure::unavailable(error.to_string(), 5))?;
    let old = schedules.into_iter().filter_map(|status| Some((is_old(&status, now)?, status)));
    let problems = old.map(|(last, ScheduleStatus { name, .. })| {
        let sentence = format!("the last successful sync of {name} was at {last}");
        let command = format!("rspm sync --type={name}");
        let problem = Problem::of_administrators("job", format!("sync:{name}"), sentence, &command);
        Problem { since: Some(last), ..problem }
    });
    let is_known = |name: &str| known.iter().any(|problem| problem.kind == "job" && problem.name == name);
    Ok(problems.filter(|problem| !is_known(&problem.name)).collect())
}

/// Returns the time of the last success if the run that was due after it is late.
fn is_old(status: &ScheduleStatus, now: Timestamp) -> Option<Timestamp> {
    let schedule: Schedule = status.cron.parse().ok()?;
    let last = status.last?;
    status.next?;
    schedule.is_missed(Some(last), now - SYNC_DELAY).then_some(last)
}

/// Returns the guarded names that appeared in mirrors. SECURITY: the list of guarded names would help attackers.
async fn guarded_names(app: &App, now: Timestamp) -> Result<Vec<Problem>, Failure> {
    let since = now - NAME_ALERT_DURATION;
    let overlaps =
        app.state.db.read(move |c| db::name_guard::alarms(c, since)).await.map_err(RepoError::from)?;
    let catalog = app.state.catalog.get();
    let problem = |overlap: db::name_guard::Overlap| {
        let sentence = format!(
            "the source {} lists the guarded name '{}'; it is hidden",
            catalog.source_name(overlap.source),
            overlap.name
        );
        let command = "rspm audit names";
        let problem = Problem::of_administrators("name-guard", overlap.name, sentence, command);
        let public = format!("{}; see {command}", problem.public);
        Problem { since: Some(overlap.seen_at), public, ..problem }
    };
    Ok(overlaps.into_iter().map(problem).collect())
}

/// Returns one problem about all tokens that end soon.
async fn ending_tokens(app: &App, now: Timestamp) -> Result<Option<Problem>, Failure> {
    let read = move |c: &mut dyn db::Conn| db::token::ending(c, now, now + END_NOTICE, MAX_TOKENS);
    let tokens = app.state.db.read(read).await.map_err(RepoError::from)?;
    let first = tokens.first().and_then(|token| Some((token.expires_at?, token)));
    Ok(first.map(|(end, token)| {
        let others = match tokens.len() {
            1 => String::new(),
            2 => ", and another one in the following days".to_owned(),
            count => format!(", and {} others in the following days", count - 1),
        };
        let days = END_NOTICE.as_secs() / 86_400;
        let sentence = format!(
            "the token {} ('{}') ends on {}{others}; create new ones at least a day before: within {days} days",
            token.excerpt,
            token.description,
            end.day()
        );
        Problem::of_administrators("token", token.guid.to_string(), sentence, "rspm list tokens")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::time::SECOND;
    use runtime::jobs::Jobs;

    #[tokio::test]
    async fn a_failed_job_is_a_problem_until_it_succeeds() {
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
        let since = |recorded: Vec<(String, Timestamp)>| -> Vec<(String, Timestamp)> {
            failures(&jobs.list(), recorded).into_iter().map(|job| (job.key, job.since)).collect()
        };
        let backfill = vec![("backfill:cran".to_owned(), Timestamp(0))];
        assert_eq!(since(Vec::new()), backfill);
        let recorded =
            vec![("sync:cran".to_owned(), Timestamp(-1_000_000)), ("sync:vulns".to_owned(), Timestamp(0))];
        assert_eq!(since(recorded.clone()), [backfill, recorded].concat());
    }

    #[test]
    fn only_administrators_get_the_reason_of_a_failure_and_the_command() {
        let failure = FailedJob { key: "sync:cran".to_owned(), since: Timestamp(0) };
        let problem = of_job(failure, Some("mirror http://secret.example is gone\nsecond".to_owned()));
        assert!(!problem.public.contains("secret"), "{problem:?}");
        assert!(problem.sentence.ends_with("is served: mirror http://secret.example is gone"), "{problem:?}");
        assert_eq!(problem.command, "rspm sync --type=cran");
        let failed = BackupResult {
            folder: "/srv/it's here".to_owned(),
            command: RecordedCommand::Create,
            at: Timestamp(0),
            error: Some("no space".to_owned()),
            succeeded_at: None,
            missing: 0,
        };
        let problem = of_backup(BackupProblem::Failed(failed));
        assert!(!problem.public.contains("/srv") && problem.sentence.contains("no space"), "{problem:?}");
        assert_eq!(problem.command, "rspm backup create --to '/srv/it'\\''s here'");
        let problem = of_history(history::Problem::Witness("w1".to_owned()));
        assert!(!problem.public.contains("w1") && problem.sentence.contains("w1"), "{problem:?}");
    }

    #[test]
    fn a_certificate_is_a_problem_two_weeks_before_its_end() {
        let day = |day: i64| Timestamp(day * 86_400 * SECOND);
        assert_eq!(of_certificate(day(100), day(85)), None);
        for (now, words) in [(day(87), "ends on 1970-04-11"), (day(101), "ended on 1970-04-11")] {
            let problem = of_certificate(day(100), now).expect("a problem");
            assert!(problem.sentence.contains(words), "{problem:?}");
            assert_eq!(problem.audience, Audience::Administrators);
        }
    }

    #[test]
    fn a_scheduled_sync_is_old_half_a_day_after_the_run_that_it_missed() {
        let hour = |hour: i64| Timestamp(hour * 3600 * SECOND);
        let status =
            |last: Option<Timestamp>, now: Timestamp| ScheduleStatus::at("cran", "0 0 * * *", last, now);
        let old = |last: Option<i64>, now: i64| is_old(&status(last.map(hour), hour(now)), hour(now));
        assert_eq!(old(None, 100), None, "a sync that never ran");
        assert_eq!(old(Some(1), 35), None);
        assert_eq!(old(Some(1), 37), Some(hour(1)));
        let unused = ScheduleStatus { next: None, ..status(Some(hour(1)), hour(90)) };
        assert_eq!(is_old(&unused, hour(90)), None, "nothing is scheduled");
    }
}
