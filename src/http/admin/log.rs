//! The logs: reopens the files after a rotation, and selects the regions whose debug events are written.

use http::StatusCode;

use super::call::{AdminResult, ok};
use crate::http::error::Failure;
use api::control::{DebugRegion as WireRegion, SetDebugRegions};
use api::error::Code;
use api::log::ReopenResult;
use base::config::DebugRegion;
use runtime::control::{CommandError, Control};

/// Reopens the log files. Responds when no process of this server writes to the previous files any more.
pub(super) async fn reopen(control: &Control) -> AdminResult {
    let failure = |error: CommandError| {
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, error.to_string())
    };
    let files = control.reopen_logs().await.map_err(failure)?;
    ok(&ReopenResult { files: files.iter().map(|file| file.display().to_string()).collect() })
}

/// Lists all regions.
pub(super) fn regions(control: &Control) -> AdminResult {
    let active = control.debug_regions();
    let wire = |region: DebugRegion| WireRegion {
        name: region.as_str().to_owned(),
        description: region.sentence().to_owned(),
        active: active.contains(&region),
    };
    ok(&DebugRegion::ALL.map(wire))
}

/// Activates or deactivates regions; returns the change for the audit trail.
pub(super) fn set_regions(control: &Control, request: &SetDebugRegions) -> Result<String, Failure> {
    if request.regions.is_empty() || request.regions.len() > DebugRegion::ALL.len() {
        let text = format!("name at least one region: {}", DebugRegion::NAMES.join(", "));
        return Err(Failure::bad_request(text));
    }
    let region = |name: &String| {
        let excerpt: String = name.chars().take(60).collect();
        DebugRegion::parse(name).map_err(|error| {
            Failure::bad_request(format!("there is no region '{excerpt}': a region {error}"))
        })
    };
    let regions: Vec<DebugRegion> = request.regions.iter().map(region).collect::<Result<_, Failure>>()?;
    control.set_debug_regions(&regions, request.active);
    let names: Vec<&str> = regions.iter().map(|region| region.as_str()).collect();
    let change = if request.active { "activate" } else { "deactivate" };
    Ok(format!("{change} {}", names.join(", ")))
}
