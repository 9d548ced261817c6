//! Refreshes the rules for system requirements (fetch, check, store, load), then the descriptions from the mirror's
//! package database. A document that cannot be used changes nothing. The rules are written first to storage, then to
//! the row, then to memory; no tree changes and nothing is published.

use std::sync::Arc;

use bytes::Bytes;

use super::SyncError;
use super::descriptions::{self, DescriptionsUpdate};
use super::stored_dataset::{DatasetKind, blocking, read_dataset};
use super::task::{SyncTrigger, Task};
use ::upstream::Validators;
use ::upstream::rule_base::RuleBaseRefresh;
use base::config::without_userinfo;
use base::model::digest::Sha256;
use base::model::text::count_of;
use base::model::time::Timestamp;
use formats::r::sysreqs::{RuleBase, Rules};
use runtime::jobs::Reporter;
use runtime::state::State;
use store::db::upstream::{self, RULES, StoredValidators};
use store::storage::Key;

const DOCUMENT: DatasetKind = DatasetKind {
    noun: "rules for system requirements",
    counted_noun: "rules for system requirements",
    sync_type: "sysreqs",
};
/// The key of the row with the validators of the last response. Databases contain it, so it cannot be renamed.
const VALIDATORS_KEY: &str = "sysreqs:looked";

/// The result of refreshing the rules, with their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RulesUpdate {
    Unchanged(usize),
    Replaced(usize),
}

/// Loads the stored rules, if any. A failure is logged: a server without rules reports an error to requests
/// for them, and serves everything else.
pub(super) async fn load(state: &State) {
    DOCUMENT.log_load_error(load_stored(state).await);
}

async fn load_stored(state: &State) -> Result<(), SyncError> {
    let Some(row) = state.db.read(|c| upstream::get(c, RULES)).await? else { return Ok(()) };
    let document = read_dataset(state, &Key::Rules(row.sha256)).await?;
    let base =
        blocking(move || RuleBase::from_document(&document).map_err(|error| error.to_string())).await?;
    let rules = compile(base).await?;
    state.sysreqs.set(Arc::new(rules));
    Ok(())
}

/// Refreshes the rules and the descriptions. Returns a message about the result.
pub(super) async fn refresh(
    state: &Arc<State>,
    trigger: &SyncTrigger,
    report: &Reporter,
) -> Result<String, SyncError> {
    let started_at = (state.clock)();
    let result = tokio::select! {
        result = refresh_rules(state, trigger, report, started_at) => result?,
        () = report.wait_halted() => return Err(SyncError::Halted),
    };
    let descriptions = tokio::select! {
        descriptions = descriptions::update_cran(state, report) => descriptions?,
        () = report.wait_halted() => return Err(SyncError::Halted),
    };
    let row =
        StoredValidators { etag: None, modified: None, sha256: Sha256([0; 32]), fetched_at: started_at };
    state.db.write(move |c| upstream::put(c, &Task::Requirements.success_key(), &row)).await?;
    let rules = |count: usize| {
        count_of(count, "rule for system requirements is", "rules for system requirements are")
    };
    let message = match result {
        RulesUpdate::Unchanged(count) => format!("the {} up to date", rules(count)),
        RulesUpdate::Replaced(count) => format!("{} in use now", rules(count)),
    };
    Ok(match descriptions {
        DescriptionsUpdate::Packages(0) => message,
        DescriptionsUpdate::Packages(count) => {
            let packages = count_of(count, "package", "packages");
            format!("{message}; stored the descriptions of {packages} of cran from its package database")
        }
        DescriptionsUpdate::NoDatabase { address, packages } => format!(
            "{message}; there is no package database at {address}: requirements of cran packages are known once \
             their files are fetched; {} not been fetched yet",
            count_of(packages, "package has", "packages have")
        ),
    })
}

async fn refresh_rules(
    state: &State,
    trigger: &SyncTrigger,
    report: &Reporter,
    started_at: Timestamp,
) -> Result<RulesUpdate, SyncError> {
    report.progress("reading the rules", 0, None);
    let url = state.config.load().requirements.url.clone();
    let address = without_userinfo(&url);
    let (rules_row, validators_row) =
        state.db.read(|c| Ok((upstream::get(c, RULES)?, upstream::get(c, VALIDATORS_KEY)?))).await?;
    if rules_row.as_ref().map(|row| row.sha256) != loaded_digest(state).await? {
        // Another server that shares the database has stored other rules.
        load(state).await;
    }
    let current_digest = loaded_digest(state).await?;
    let old_count = state.sysreqs.get().as_ref().map_or(0, |rules| rules.len());
    // A lost document is fetched and stored again, even if its rules are in memory.
    let stored_row = match rules_row {
        Some(row) if state.storage.size(&Key::Rules(row.sha256)).await?.is_some() => Some(row),
        Some(_) | None => None,
    };
    let stored_digest = stored_row.as_ref().map(|row| row.sha256);
    let current_row =
        stored_row.filter(|row| Some(row.sha256) == current_digest && row.etag.as_ref() == Some(&address));
    let last_validators = current_row
        .as_ref()
        .and(validators_row)
        .map(|row| Validators { etag: row.etag, modified: row.modified });
    let last_validators = last_validators
        .filter(|last_validators| last_validators.etag.is_some() || last_validators.modified.is_some());
    let (base, validators) = match state.upstream.load_full().rule_base(&url, last_validators).await? {
        RuleBaseRefresh::Unchanged => return Ok(RulesUpdate::Unchanged(old_count)),
        RuleBaseRefresh::Read(base, validators) => (*base, validators),
    };
    let document = Bytes::from(base.document());
    let sha256 = Sha256::of(&document);
    let validators_row = StoredValidators {
        etag: validators.etag,
        modified: validators.modified,
        sha256,
        fetched_at: started_at,
    };
    let rules_row =
        StoredValidators { etag: Some(address.clone()), modified: None, sha256, fetched_at: started_at };
    if Some(sha256) == current_digest {
        if Some(sha256) != stored_digest {
            state.storage.put(&Key::Rules(sha256), document).await?;
        }
        store_rows(state, rules_row, validators_row).await?;
        return Ok(RulesUpdate::Unchanged(old_count));
    }
    let rules = compile(base).await?;
    DOCUMENT.check_loss(rules.len(), old_count, trigger, &address)?;
    for pattern in rules.invalid_patterns() {
        tracing::warn!(target: "sync", "skipped a pattern of the system requirements: {pattern}");
    }
    // The object is stored before the row that names it.
    state.storage.put(&Key::Rules(sha256), document).await?;
    store_rows(state, rules_row, validators_row).await?;
    let count = rules.len();
    state.sysreqs.set(Arc::new(rules));
    Ok(RulesUpdate::Replaced(count))
}

/// Returns the digest that identifies the loaded rules.
async fn loaded_digest(state: &State) -> Result<Option<Sha256>, SyncError> {
    let Some(rules) = state.sysreqs.wait().await else { return Ok(None) };
    blocking(move || Ok(Some(Sha256::of(rules.base().document())))).await
}

async fn store_rows(
    state: &State,
    rules_row: StoredValidators,
    validators_row: StoredValidators,
) -> Result<(), SyncError> {
    let write = state.db.write(move |c| {
        upstream::put(c, RULES, &rules_row)?;
        upstream::put(c, VALIDATORS_KEY, &validators_row)
    });
    Ok(write.await?)
}

/// Compiles rules, which takes milliseconds of CPU time: not on an async thread.
async fn compile(base: RuleBase) -> Result<Rules, SyncError> {
    blocking(move || Rules::new(base).map_err(|error| error.to_string())).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_of_most_rules_must_be_accepted_by_an_administrator() {
        let document = br#"{"systems":[{"os":"linux"}],"rules":{"a":{"patterns":["a"],"dependencies":[]}}}"#;
        let rules = Rules::new(RuleBase::from_document(document).expect("a base")).expect("rules");
        let check =
            |old_count, trigger| DOCUMENT.check_loss(rules.len(), old_count, &trigger, "https://h/x.tar.gz");
        assert!(check(0, SyncTrigger::Schedule).is_ok() && check(2, SyncTrigger::Schedule).is_ok());
        let error = check(3, SyncTrigger::Schedule).expect_err("two of three are missing").to_string();
        assert!(
            error.contains("https://h/x.tar.gz") && error.contains("rspm sync --type=sysreqs"),
            "{error}"
        );
        assert!(check(100, SyncTrigger::Administrator("me".to_owned())).is_ok());
    }
}
