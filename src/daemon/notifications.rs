//! Checks the notification queue of PostgreSQL. The queue fills while a session that listens remains in a
//! transaction.

use base::config::{Check, Config, Verdict};
use store::db::before_start;

/// The check reports the queue if at least this part of it is used, in per mille.
const THRESHOLD: i64 = 5;

/// Reports a notification queue that fills. `None` with SQLite, if little of the queue is used, and if the database
/// does not answer, which another check reports.
pub(super) fn check(config: &Config) -> Option<Check> {
    let usage = before_start::notification_queue_usage(config).ok()??;
    (usage >= THRESHOLD).then(|| {
        let finding = format!(
            "{}.{} % of PostgreSQL's notification queue is used; if it is full, no change can be saved. A session that \
             listens and stays in a transaction prevents its clean-up; list them: SELECT pid, application_name, \
             xact_start FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' ORDER BY xact_start",
            usage / 10,
            usage % 10
        );
        Check { title: "Notifications", verdict: Verdict::Info, findings: vec![finding] }
    })
}
