//! Syncs CRAN: its list of packages, then its lists of binaries.

use std::sync::Arc;

use super::binaries::{self, BinarySyncSummary};
use super::index_files::Coverage;
use super::run::{PackageList, SyncContext, SyncSummary};
use super::task::{SyncTrigger, Task};
use super::{SyncError, skew};
use crate::db::tree;
use crate::jobs::Reporter;
use crate::jobs::lease::Lease;
use crate::model::ids::SourceId;
use crate::state::State;

/// Syncs the built-in CRAN source. Returns a message for people.
pub(super) async fn run(
    state: &Arc<State>,
    trigger: &SyncTrigger,
    report: &Reporter,
) -> Result<String, SyncError> {
    // One configuration for the whole run: a reload takes effect with the next run.
    let config = state.config.load_full();
    let mirror = state.upstream.load().mirror(&config.cran.url)?;
    skew::check_clock(state, &mirror, "src/contrib/PACKAGES.gz").await?;
    let lease = Lease::claim(&state.db, &config, &state.clock, "sync:cran").await?;
    let run = SyncContext { state, trigger, report, lease: &lease };
    let outcome = async {
        let list = PackageList {
            source: SourceId::CRAN,
            tree: state.db.read(|c| tree::built_in(c, SourceId::CRAN)).await?.id,
            key: Task::Cran.success_key(),
            name: "cran".to_owned(),
            command: "rspm sync".to_owned(),
            mirror,
            delay: config.cran.delay,
            coverage: Coverage::Whole,
        };
        let sources = run.sync(&list).await?;
        Ok(summary(&sources, &binaries::run(&run).await?))
    };
    let outcome = outcome.await;
    lease.release(&state.db).await;
    outcome
}

/// The result of a sync for the log and the CLI.
fn summary(outcome: &SyncSummary, built: &BinarySyncSummary) -> String {
    let (said, held) = match outcome {
        SyncSummary::Nothing(held) if built.tx.is_some() => {
            ("cran is up to date; no package changed".to_owned(), *held)
        }
        SyncSummary::Nothing(held) => ("cran is up to date; nothing changed".to_owned(), *held),
        SyncSummary::Published(tx, counts, held) => (
            format!(
                "cran was synced (transaction {tx}): {} packages added, {} updated, {} removed, {} releases archived",
                counts.added, counts.updated, counts.removed, counts.archived
            ),
            *held,
        ),
    };
    let mut said = match held {
        0 => said,
        held => format!("{said}; {held} packages have releases younger than CRAN.DelaySyncDuration"),
    };
    if let Some(tx) = built.tx {
        said.push_str(&format!("; binaries were synced (transaction {tx}): {} new", built.listed));
    }
    if built.unknown > 0 {
        said.push_str(&format!(
            "; {} binaries are of versions that cran does not list, and are not served",
            built.unknown
        ));
    }
    for trouble in &built.errors {
        said.push_str("; ");
        said.push_str(trouble);
    }
    said
}
