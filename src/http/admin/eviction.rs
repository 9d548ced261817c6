//! Evictions: start one, show the result of one.

use super::call::{Answer, Call};
use super::job::{Started, start_response};
use crate::http::error::Failure;
use api::eviction::{Eviction, EvictionKind, StartEviction};
use tasks::upkeep::evict;

pub(super) async fn start(call: Call<'_>, body: StartEviction) -> Started {
    let app = call.app;
    let kind = match body.kind {
        EvictionKind::Normal => evict::EvictionKind::Normal,
        EvictionKind::Sweep => evict::EvictionKind::Sweep,
        EvictionKind::Packages => evict::EvictionKind::Packages,
        EvictionKind::Clear => evict::EvictionKind::Clear,
    };
    start_response(app, &evict::start(&app.upkeep, kind, body.dry_run)).await
}

pub(super) async fn result(call: Call<'_>, job: &str) -> Answer<Eviction> {
    let result = job.parse().ok().and_then(|job| evict::result(&call.app.upkeep, job));
    let result = result
        .ok_or_else(|| Failure::not_found("there is no result of this eviction; the last eight are kept"))?;
    Ok(Eviction {
        message: result.summary(),
        kind: match result.kind {
            evict::EvictionKind::Normal => EvictionKind::Normal,
            evict::EvictionKind::Sweep => EvictionKind::Sweep,
            evict::EvictionKind::Packages => EvictionKind::Packages,
            evict::EvictionKind::Clear => EvictionKind::Clear,
        },
        dry_run: result.dry_run,
        files: result.files,
        bytes: result.bytes,
        in_use: result.in_use,
        notes: result.notes.clone(),
    })
}
