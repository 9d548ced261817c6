//! The results of backups and of their tests: recorded, shown as metrics, and reported if they are bad or old.

use std::time::Duration;

use base::metrics;
use base::model::recorded_words::RecordedCommand;
use base::model::time::Timestamp;
use runtime::state::State;
use store::db::backup::{self, BackupResult, CommandResult};
use store::db::{Conn, Db, DbError, audit};

const OLD_BACKUP: Duration = Duration::from_secs(8 * 86_400);
const OLD_TEST: Duration = Duration::from_secs(15 * 86_400);
/// Maximum length of a recorded error, in characters.
const MAX_ERROR: usize = 1000;
/// Interval of updating the metrics with the results of other servers.
const REFRESH_INTERVAL: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupProblem {
    /// The last backup or the last test of a folder failed.
    Failed(BackupResult),
    /// The last success of a command in any folder is old; with its folder.
    Old(RecordedCommand, String, Timestamp),
}

/// Records the result of a backup: the number of files that were missing in storage, or the reason for the failure.
pub(super) async fn record_backup(
    state: &State,
    folder: &str,
    at: Timestamp,
    result: Result<u64, String>,
) -> Result<(), DbError> {
    let (folder, result) = (folder.to_owned(), command_result(result));
    let write = move |c: &mut dyn Conn| {
        let detail = match &result {
            CommandResult::Success(missing) => format!("complete; missing files: {missing}"),
            CommandResult::Failure(error) => format!("failed: {error}"),
        };
        audit::record(c, "backup", "folder", &folder, &detail)?;
        backup::record(c, &folder, RecordedCommand::Create, at, &result)
    };
    state.db.write(write).await?;
    update_metrics(&state.db).await
}

/// Records the result of a test without the server; returns false if this server has made no backup in the folder.
pub async fn record_test(state: &State, folder: &str, error: Option<String>) -> Result<bool, DbError> {
    let (folder, at) = (folder.to_owned(), (state.clock)());
    let result = command_result(error.map_or(Ok(0), Err));
    let write = move |c: &mut dyn Conn| {
        let is_own = backup::last_success(c, &folder)?.is_some();
        if is_own {
            backup::record(c, &folder, RecordedCommand::Test, at, &result)?;
        }
        Ok(is_own)
    };
    let is_own = state.db.write(write).await?;
    update_metrics(&state.db).await?;
    Ok(is_own)
}

fn command_result(result: Result<u64, String>) -> CommandResult {
    match result {
        Ok(missing) => CommandResult::Success(missing),
        Err(error) => CommandResult::Failure(first_line(&error)),
    }
}

pub async fn update_metrics(db: &Db) -> Result<(), DbError> {
    let results = db.read(backup::results).await?;
    for command in [RecordedCommand::Create, RecordedCommand::Test] {
        let of_command = || results.iter().filter(|result| result.command == command);
        if let Some(at) = of_command().filter_map(|result| result.succeeded_at).max() {
            match command {
                RecordedCommand::Create => metrics::set_last_backup(at),
                RecordedCommand::Test => metrics::set_last_backup_test(at),
            }
        }
        if let Some(last) = of_command().max_by_key(|result| result.at) {
            metrics::set_backup_result(command.as_str(), last.error.is_none());
        }
    }
    Ok(())
}

/// Updates the metrics at intervals, because other servers also make backups, until the future is dropped.
pub async fn follow(db: &Db) {
    loop {
        // If the database does not answer, the metrics keep their values.
        let _ = update_metrics(db).await;
        tokio::time::sleep(REFRESH_INTERVAL).await;
    }
}

/// Returns the problems; an empty list if no backup was ever made.
pub fn problems(results: &[BackupResult], now: Timestamp) -> Vec<BackupProblem> {
    let age = |at: Timestamp| now.since(at);
    let mut problems = Vec::new();
    for (command, limit) in [(RecordedCommand::Create, OLD_BACKUP), (RecordedCommand::Test, OLD_TEST)] {
        let of_command = || results.iter().filter(|result| result.command == command);
        let successes =
            of_command().filter_map(|result| Some((result.succeeded_at?, result.folder.as_str())));
        let newest = successes.max();
        // The results of a folder that is no longer used remain recorded.
        let is_abandoned = |result: &BackupResult| {
            age(result.at) > limit && newest.is_some_and(|(success, _)| success > result.at)
        };
        let failures = of_command().filter(|result| result.error.is_some() && !is_abandoned(result));
        problems.extend(failures.cloned().map(BackupProblem::Failed));
        let old = newest.filter(|(at, _)| age(*at) > limit);
        problems.extend(old.map(|(at, folder)| BackupProblem::Old(command, folder.to_owned(), at)));
    }
    problems
}

/// Returns the error's first line, at most [`MAX_ERROR`] characters, not empty, without NUL, which PostgreSQL refuses.
fn first_line(error: &str) -> String {
    let line = error.lines().next().unwrap_or_default();
    let text: String = line.chars().filter(|c| *c != '\0').take(MAX_ERROR).collect();
    if text.trim().is_empty() { "it failed".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::time::DAY;

    fn result(folder: &str, command: RecordedCommand, at: i64, succeeded_at: Option<i64>) -> BackupResult {
        BackupResult {
            folder: folder.to_owned(),
            command,
            at: Timestamp(at * DAY),
            error: (succeeded_at != Some(at)).then(|| "the disk is full".to_owned()),
            succeeded_at: succeeded_at.map(|day| Timestamp(day * DAY)),
            missing: 0,
        }
    }

    #[test]
    fn failures_and_old_results_are_problems() {
        use RecordedCommand::{Create, Test};
        let problems = |results: &[BackupResult], day: i64| problems(results, Timestamp(day * DAY));
        assert_eq!(problems(&[], 100), []);
        let good = [result("/a", Create, 10, Some(10)), result("/a", Test, 9, Some(9))];
        assert_eq!(problems(&good, 18), []);
        assert_eq!(problems(&good, 19), [BackupProblem::Old(Create, "/a".to_owned(), Timestamp(10 * DAY))]);
        assert_eq!(problems(&good, 25).len(), 2, "the test is old, too");
        let failures = [result("/a", Create, 10, Some(9)), result("/b", Create, 11, Some(11))];
        assert_eq!(problems(&failures, 12), [BackupProblem::Failed(failures[0].clone())]);
        assert_eq!(problems(&failures, 18), [BackupProblem::Failed(failures[0].clone())]);
        assert_eq!(problems(&failures, 19), [], "the folder is no longer used");
        let never = [result("/a", Create, 10, None)];
        assert_eq!(problems(&never, 90), [BackupProblem::Failed(never[0].clone())]);
        assert_eq!(problems(&[result("/a", Test, 10, Some(8))], 11).len(), 1);
    }

    #[test]
    fn an_error_has_one_line() {
        assert_eq!(first_line("a\0b\nc"), "ab");
        assert_eq!(first_line("\n"), "it failed");
        assert_eq!(first_line(&"x".repeat(2000)).len(), MAX_ERROR);
    }
}
