//! Scrubs: start one, show the result of one; and repairs of the times of transactions.

use std::time::Duration;

use super::backup::require_configured;
use super::call::{Answer, Call};
use super::job::{Started, start_response};
use super::storage::parse_classes;
use crate::http::error::Failure;
use api::scrub::{
    CorrectedTransaction, RepairClock, RepairedClock, Scrub, ScrubFinding, ScrubLevel, StartScrub,
};
use base::config::BackupPlace;
use base::model::time::{BadDay, Day};
use store::db::clock_repair::Repair;
use store::db::skew::{Skew, index_name};
use tasks::upkeep;
use tasks::upkeep::scrub::{self, Finding, ScrubExtent, ScrubOptions};

/// The maximum number of parts: the objects are divided by the first byte of their digests.
const MAX_PARTS: u16 = 256;

pub(super) async fn start(call: Call<'_>, body: StartScrub) -> Started {
    let Call { app, principal, .. } = call;
    let extent = match body.part {
        None => ScrubExtent::Everything,
        Some(part) if part.of <= MAX_PARTS && (1..=part.of).contains(&part.number) => {
            ScrubExtent::Part { number: part.number, total: part.of }
        }
        Some(part) => {
            let text = format!(
                "part {} of {} does not exist: number the parts from 1, at most 256",
                part.number, part.of
            );
            return Err(Failure::bad_request(text));
        }
    };
    let from = body
        .from
        .map(|from| from.parse::<BackupPlace>().map_err(|reason| format!("{from}: {reason}")))
        .transpose();
    let from = from.map_err(Failure::bad_request)?;
    require_configured(app, principal, from.as_ref())?;
    if from.is_some() && !body.repair {
        return Err(Failure::bad_request("a backup is only used for a repair".to_owned()));
    }
    if body.rate == Some(0) {
        return Err(Failure::bad_request("rate: give at least 1 byte per second, or omit it for no limit"));
    }
    let options = ScrubOptions {
        level: match body.level {
            ScrubLevel::Quick => scrub::ScrubLevel::Quick,
            ScrubLevel::Full => scrub::ScrubLevel::Full,
            ScrubLevel::Database => scrub::ScrubLevel::Database,
        },
        classes: parse_classes(&body.classes)?,
        extent,
        max_duration: body.max_seconds.map(Duration::from_secs),
        rate: body.rate.unwrap_or(u64::MAX),
        repair: body.repair,
        from,
        ..ScrubOptions::full()
    };
    start_response(app, &scrub::start(&app.upkeep, options)).await
}

pub(super) async fn result(call: Call<'_>, job: &str) -> Answer<Scrub> {
    let result = job.parse().ok().and_then(|job| scrub::result(&call.app.upkeep, job));
    let result = result
        .ok_or_else(|| Failure::not_found("there is no result of this scrub; the last eight are kept"))?;
    Ok(Scrub {
        message: result.summary(),
        level: match result.level {
            scrub::ScrubLevel::Quick => ScrubLevel::Quick,
            scrub::ScrubLevel::Full => ScrubLevel::Full,
            scrub::ScrubLevel::Database => ScrubLevel::Database,
        },
        complete: result.is_complete,
        continued: result.is_continued,
        objects: result.objects,
        bytes: result.bytes,
        unknown: result.unknown,
        repaired: result.repaired,
        bad: result.bad,
        notes: result.notes.clone(),
        findings: result.findings.iter().map(finding).collect(),
    })
}

fn finding(found: &Finding) -> ScrubFinding {
    let origin = found.origin.as_ref();
    let published = origin.and_then(|origin| origin.published.as_ref());
    ScrubFinding {
        fault: found.fault.as_str().to_owned(),
        outcome: found.outcome.as_str().to_owned(),
        detail: found.detail.clone(),
        object: found.key.map(|key| key.path()),
        class: found.key.map(|key| key.class().as_str().to_owned()),
        file: origin.map(|origin| origin.file.clone()),
        source: origin.map(|origin| origin.source.clone()),
        package: origin.map(|origin| origin.package.clone()),
        version: origin.map(|origin| origin.version.clone()),
        platform: origin.map(|origin| origin.platform.clone()).filter(|platform| !platform.is_empty()),
        added_by: published.map(|(actor, _)| actor.clone()),
        added_at: published.map(|(_, at)| at.to_string()),
    }
}

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
    if let Some(state) = repair.index_state() {
        let separator = if change.is_empty() { "" } else { "; " };
        let names: Vec<&str> = repair.indexes.iter().map(|index| index_name(index.source)).collect();
        let names = names.join(" and ");
        change += &format!("{separator}the newest state of {names} ({state}) is set to the current time");
    }
    if dry_run {
        format!("Nothing was changed. Without --dry-run: {change}.")
    } else {
        format!("Repaired: {change}.")
    }
}
