//! `GET /alerts`: what an administrator should look at, read from what there is at this moment.

use std::collections::HashMap;

use crate::api::public::alert::Alert;
use crate::config::StorageClass;
use crate::http::app::App;
use crate::jobs::{Job, JobState};
use crate::storage::condition::Warning;
use crate::storage::space::FULL;

/// Everything that is not as it should be; empty when all is well.
///
/// SECURITY: anybody may ask. Addresses, paths and reasons are in the log and in `rspm`.
pub(super) fn now(app: &App) -> Vec<Alert> {
    let mut alerts = failures(&app.state.jobs.known());
    if app.state.config.load().storage_alerts.shown {
        alerts.extend(app.state.storage.full().iter().map(|classes| full(classes)));
    }
    let warnings = app.state.storage.condition().warnings();
    alerts.extend(warnings.into_iter().map(|Warning { kind, name, message }| Alert {
        kind: kind.to_owned(),
        name,
        message,
        since: None,
    }));
    let rules = app.state.rules.now();
    let left_out = rules.as_ref().map_or(0, |rules| rules.left_out().len());
    if left_out > 0 {
        alerts.push(Alert {
            kind: "system-requirements".to_owned(),
            name: "rules".to_owned(),
            message: format!(
                "{left_out} patterns of the system requirements rules cannot be used by this version"
            ),
            since: None,
        });
    }
    alerts
}

/// A file system that is too full, by the classes that lie there.
fn full(classes: &[StorageClass]) -> Alert {
    let names = classes.iter().map(|class| class.as_str()).collect::<Vec<_>>().join(", ");
    Alert {
        kind: "storage".to_owned(),
        message: format!("the file system of the storage classes {names} is over {FULL} % full"),
        name: names,
        since: None,
    }
}

/// Jobs that failed and did not succeed since; the registry forgets after an hour.
fn failures(jobs: &[Job]) -> Vec<Alert> {
    let mut newest: HashMap<&str, &Job> = HashMap::new();
    for job in jobs {
        if !matches!(*job.state.borrow(), JobState::Running(_)) {
            newest.insert(&job.key, job);
        }
    }
    let mut failed: Vec<&Job> =
        newest.into_values().filter(|job| matches!(*job.state.borrow(), JobState::Failed(_))).collect();
    failed.sort_by_key(|job| job.id);
    let alert = |job: &Job| Alert {
        kind: "job".to_owned(),
        name: job.key.clone(),
        message: format!("{} failed; the last good state is served, and the server's log says why", job.key),
        since: Some(job.started_at.to_string()),
    };
    failed.into_iter().map(alert).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::Jobs;
    use crate::model::time::Timestamp;

    #[tokio::test]
    async fn a_job_that_failed_is_told_until_it_succeeds() {
        let jobs = Jobs::default();
        let run = async |key: &str, outcome: Result<String, String>| {
            let started = jobs.start(key, Timestamp(0), |_| async move { outcome });
            let _ = started.job().ended().await;
        };
        run("sync:cran", Err("mirror http://secret.example is gone".to_owned())).await;
        run("sync:sysreqs", Err("gone".to_owned())).await;
        run("sync:sysreqs", Ok("fine".to_owned())).await;
        let alerts = failures(&jobs.known());
        assert_eq!(alerts.iter().map(|alert| alert.name.as_str()).collect::<Vec<_>>(), ["sync:cran"]);
        assert!(!alerts[0].message.contains("secret"), "{alerts:?}");
        assert_eq!(alerts[0].since.as_deref(), Some("1970-01-01T00:00:00Z"));
    }
}
