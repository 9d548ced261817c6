//! Repairs times of transactions and indexes that disagree with the clock of the machine.

use super::call::{Answer, Call};
use crate::http::error::Failure;
use api::repair::{CorrectedTransaction, RepairClock, RepairedClock};
use base::model::time::{BadDay, Day};
use store::db::clock_repair::Repair;
use store::db::skew::Skew;
use tasks::upkeep;

pub(super) async fn clock(call: Call<'_>, body: RepairClock) -> Answer<RepairedClock> {
    let app = call.app;
    let today: Day = body.today.parse().map_err(|e: BadDay| Failure::bad_request(format!("today: {e}")))?;
    let repair = upkeep::clock::repair(&app.state, today, body.dry_run).await?;
    let message = repair.as_ref().map_or_else(
        || "The clock agrees with the transactions; nothing to repair.".to_owned(),
        |repair| sentence(repair, body.dry_run),
    );
    let transactions = repair.map(|repair| repair.transactions).unwrap_or_default();
    let corrected = transactions.into_iter().map(|(id, from, to)| CorrectedTransaction {
        id: id.0,
        from: from.to_string(),
        to: to.to_string(),
    });
    Ok(RepairedClock { message, dry_run: body.dry_run, transactions: corrected.collect() })
}

fn sentence(repair: &Repair, dry_run: bool) -> String {
    let mut change = match repair.skew {
        Skew::Behind { .. } => match repair.transactions.len() {
            0 => format!("the days after {} are open again", repair.row),
            1 => "1 transaction in the future is set to the current time".to_owned(),
            n => format!("{n} transactions in the future are set to the current time, in their order"),
        },
        Skew::Ahead { row, .. } => {
            format!("the clock is accepted, over a month after the last publish or closed day ({row})")
        }
        Skew::IndexAhead { .. } => String::new(),
    };
    if let Some(state) = repair.index_state {
        let separator = if change.is_empty() { "" } else { "; " };
        change += &format!("{separator}the newest state of pypi ({state}) is set to the current time");
    }
    if dry_run {
        format!("Nothing was changed. Without --dry-run: {change}.")
    } else {
        format!("Repaired: {change}.")
    }
}
