//! Repairs times of transactions and indexes that disagree with the machine's clock, on request or after a long outage.

use base::model::kind::Language;
use base::model::time::{Day, Timestamp};
use content::serve::RepoError;
use formats::language;
use runtime::state::State;
use store::db::clock_repair::{self, ListedFacts, Repair};
use store::db::{Conn, DbError};

/// Adjusts the times of transactions and the states of indexes to this machine's clock; `None` when no time
/// needs a correction. Fails if the clock shows another day than `today`, which the administrator gives.
pub async fn repair(state: &State, today: Day, dry_run: bool) -> Result<Option<Repair>, RepoError> {
    let now = (state.clock)();
    if now.day() != today {
        return Err(RepoError::Invalid(format!(
            "this machine's clock shows {now}, not {today}: correct the clock first (timedatectl), or give the day in \
             UTC"
        )));
    }
    let repair = apply(state, now, dry_run).await?;
    if let Some(repair) = repair.as_ref().filter(|_| !dry_run) {
        tracing::warn!(
            transactions = repair.transactions.len(),
            clock_row = %repair.row,
            "repaired the times of transactions: {}",
            repair.skew
        );
    }
    Ok(repair)
}

/// Returns whether this clock's lead blocks publishing, as after the machine or its server was off.
pub fn may_have_been_off(state: &State) -> bool {
    state.catalog.get().skew((state.clock)()).is_some_and(|skew| skew.may_have_been_off())
}

/// Accepts this machine's clock, which the caller has verified by other means; `None` when no time needs a correction.
pub async fn accept(state: &State) -> Result<Option<Repair>, RepoError> {
    if !may_have_been_off(state) {
        return Ok(None);
    }
    apply(state, (state.clock)(), false).await
}

async fn apply(state: &State, now: Timestamp, dry_run: bool) -> Result<Option<Repair>, RepoError> {
    let write = move |c: &mut dyn Conn| {
        let repair = clock_repair::repair(c, now, dry_run)?;
        if let Some(repair) = repair.as_ref().filter(|_| !dry_run) {
            reset_upload_times(c, repair)?;
        }
        Ok::<_, DbError>(repair)
    };
    let repair = state.db.write(write).await?;
    if repair.is_some() && !dry_run {
        state.catalog.refresh(&state.db).await?;
    }
    Ok(repair)
}

/// Sets the upload times of files of projects that are later than the new time of their transaction to it.
fn reset_upload_times(c: &mut dyn Conn, repair: &Repair) -> Result<(), DbError> {
    for (tx, _, at) in &repair.transactions {
        for listed in clock_repair::listed_facts(c, *tx)? {
            let Some(rules) = Language::parse(&listed.language).map(language::of) else { continue };
            let Some(projects) = rules.projects() else { continue };
            if rules.uploaded_at(&listed.facts).is_some_and(|uploaded| uploaded > *at) {
                let facts = projects.with_upload_time(&listed.facts, *at);
                clock_repair::set_facts(c, &ListedFacts { facts, ..listed })?;
            }
        }
    }
    Ok(())
}
