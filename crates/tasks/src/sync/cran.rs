//! Syncs CRAN: its list of packages, then its lists of binaries.

use std::sync::Arc;

use super::binaries::{self, BinarySyncSummary};
use super::index_files::Coverage;
use super::run::{PackageList, SyncContext, SyncSummary};
use super::task::{SyncTrigger, Task};
use super::{SyncError, skew};
use base::model::ids::SourceId;
use base::model::text::count_of;
use runtime::jobs::Reporter;
use runtime::jobs::lease::Lease;
use runtime::state::State;
use store::db::tree;
use upstream::origin::index_proof::read_policy;

/// Syncs the built-in CRAN source. Returns a message about the result.
pub(super) async fn run(
    state: &Arc<State>,
    trigger: &SyncTrigger,
    report: &Reporter,
) -> Result<String, SyncError> {
    // One configuration for the whole run: a reload takes effect with the next run.
    let config = state.config.load_full();
    let upstream = state.upstream.load_full();
    let mirror = upstream.mirror(&config.cran.url)?;
    let policy = config.cran.verify_policy.as_deref().map(read_policy);
    skew::check_clock(state, &mirror, "src/contrib/PACKAGES.gz").await?;
    let lease = Lease::claim(&state.db, state.node, "sync:cran").await?;
    let context = SyncContext { state, config: &config, upstream: &upstream, trigger, report, lease: &lease };
    let result = async {
        let list = PackageList {
            source: SourceId::CRAN,
            tree: state.db.read(|c| tree::built_in(c, SourceId::CRAN)).await?.id,
            key: Task::Cran.success_key(),
            name: "cran".to_owned(),
            command: "rspm sync".to_owned(),
            mirror,
            delay: config.cran.delay,
            coverage: Coverage::Whole,
            policy: policy.transpose().map_err(|e| SyncError::Refused(format!("CRAN.VerifyPolicy: {e}")))?,
        };
        let sources = context.sync(&list).await?;
        Ok(summary(&sources, &binaries::run(&context).await?))
    };
    let result = result.await;
    lease.release().await;
    result
}

/// The result of a sync for the log and the CLI.
fn summary(sources: &SyncSummary, binaries: &BinarySyncSummary) -> String {
    let (mut message, delayed_count) = match sources {
        SyncSummary::Unchanged { delayed_count } => {
            let subject = if binaries.tx.is_some() { "no package" } else { "nothing" };
            (format!("cran is up to date; {subject} changed"), *delayed_count)
        }
        SyncSummary::Published { tx, counts, delayed_count } => (
            format!(
                "cran was synced (transaction {tx}): {} added, {} updated, {} removed, {} archived",
                count_of(counts.added, "package", "packages"),
                counts.updated,
                counts.removed,
                count_of(counts.archived, "release", "releases"),
            ),
            *delayed_count,
        ),
    };
    if delayed_count > 0 {
        let (packages, verb) =
            (count_of(delayed_count, "package", "packages"), if delayed_count == 1 { "has" } else { "have" });
        message.push_str(&format!("; {packages} {verb} releases younger than CRAN.DelaySyncDuration"));
    }
    if let Some(tx) = binaries.tx {
        message.push_str(&format!("; binaries were synced (transaction {tx}): {} new", binaries.new_count));
    }
    if binaries.unknown_count > 0 {
        message.push_str(&format!(
            "; not served, because cran does not list their version: {}",
            count_of(binaries.unknown_count, "binary", "binaries")
        ));
    }
    for error in &binaries.errors {
        message.push_str("; ");
        message.push_str(error);
    }
    message
}
