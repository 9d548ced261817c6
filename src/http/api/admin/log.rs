//! The logs: sets the level, reopens the files after a rotation, and selects the regions whose debug events are written.

use http::StatusCode;

use super::audit;
use super::call::{Answer, ControlCall};
use crate::http::error::Failure;
use api::control::{DebugRegion as WireRegion, LogLevel, ReopenResult, SetDebugRegions};
use api::error::Code;
use base::config::DebugRegion;
use runtime::control::CommandError;

pub(super) async fn set_level(call: ControlCall<'_>, body: LogLevel) -> Answer<LogLevel> {
    let level = call.control().set_log_level(&body.level);
    let level = level.map_err(|error| Failure::bad_request(error.to_string()))?;
    record(&call, "set log level", level.clone()).await;
    Ok(LogLevel { level })
}

/// Records a change of the logs of this server in the audit trail, while it is online.
async fn record(call: &ControlCall<'_>, action: &'static str, detail: String) {
    if let Some(app) = call.switch.app() {
        let node_name = call.switch.context().cluster.name().to_owned();
        audit::record_operation(&app, action, "server", node_name, detail).await;
    }
}

/// `POST /log/reopen`. Responds when no process of this server writes to the previous files any more.
pub(super) async fn reopen(call: ControlCall<'_>) -> Answer<ReopenResult> {
    let failure = |error: CommandError| {
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, error.to_string())
    };
    let files = call.control().reopen_logs().await.map_err(failure)?;
    Ok(ReopenResult { files: files.iter().map(|file| file.display().to_string()).collect() })
}

pub(super) async fn regions(call: ControlCall<'_>) -> Answer<Vec<WireRegion>> {
    let active = call.control().debug_regions();
    let wire = |region: DebugRegion| WireRegion {
        name: region.as_str().to_owned(),
        description: region.sentence().to_owned(),
        active: active.contains(&region),
    };
    Ok(DebugRegion::ALL.map(wire).into())
}

pub(super) async fn set_regions(call: ControlCall<'_>, body: SetDebugRegions) -> Answer<Vec<WireRegion>> {
    if body.regions.is_empty() || body.regions.len() > DebugRegion::ALL.len() {
        let text = format!("name at least one region: {}", DebugRegion::WORDS.join(", "));
        return Err(Failure::bad_request(text));
    }
    let region = |name: &String| {
        let excerpt: String = name.chars().take(60).collect();
        name.parse::<DebugRegion>().map_err(|error| {
            Failure::bad_request(format!("there is no region '{excerpt}': a region {error}"))
        })
    };
    let selected: Vec<DebugRegion> = body.regions.iter().map(region).collect::<Result<_, Failure>>()?;
    call.control().set_debug_regions(&selected, body.active);
    let names: Vec<&str> = selected.iter().map(|region| region.as_str()).collect();
    let change = if body.active { "activate" } else { "deactivate" };
    record(&call, "set debug regions", format!("{change} {}", names.join(", "))).await;
    regions(call).await
}
