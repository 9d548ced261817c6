//! Reads the history of a mirror: `Meta/*.rds` and `PACKAGES.in`.

use bytes::Bytes;

use crate::sync::SyncError;
use crate::sync::error::task_result;
use formats::r::history::events::Events;
use formats::r::packages;
use formats::r::rds::RdsLimits;
use formats::r::rds::archive_meta::{MetaRow, read_archive_meta, read_current_meta};
use upstream::{FileRequest, FileResponse, Mirror, UpstreamError};

const ARCHIVE: &str = "src/contrib/Meta/archive.rds";
const CURRENT: &str = "src/contrib/Meta/current.rds";
const EVENTS: &str = "src/contrib/PACKAGES.in";
/// Size limit of a file, in bytes: ten times the largest one on CRAN.
const MAX_FILE_SIZE: u64 = 64 << 20;

#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    pub(super) archive: Vec<MetaRow<String>>,
    pub(super) current: Vec<MetaRow<String>>,
    /// Times at which packages left the index and returned.
    pub(super) events: Events,
    pub(super) warnings: Vec<String>,
}

/// Reads the tables. Without the table of archived files there is no history; without the others it is less precise.
pub(super) async fn read(mirror: &Mirror) -> Result<Tables, SyncError> {
    mirror.check().await?;
    let (archive, current) = (fetch_file(mirror, ARCHIVE).await?, fetch_file(mirror, CURRENT).await?);
    let events = fetch_file(mirror, EVENTS).await?;
    let address = mirror.address();
    // Takes seconds of CPU time: not on an async thread.
    let result = tokio::task::spawn_blocking(move || parse(&address, archive, current, events)).await;
    task_result(result)?
}

fn parse(
    address: &str,
    archive: Option<Bytes>,
    current: Option<Bytes>,
    events: Option<Bytes>,
) -> Result<Tables, SyncError> {
    let refusal = |reason: String| {
        SyncError::Refused(format!(
            "{address}/{ARCHIVE} {reason}; it has the publication times, without which there is no history \
             to fill in. Set CRAN.URL to a complete mirror of CRAN"
        ))
    };
    let archive = archive.ok_or_else(|| refusal("is not on the mirror".to_owned()))?;
    let mut tables = Tables {
        archive: read_archive_meta(&archive[..], RdsLimits::META)
            .map_err(|e| refusal(format!("cannot be used ({e})")))?,
        ..Tables::default()
    };
    let current = current.map(|bytes| read_current_meta(&bytes[..], RdsLimits::META)).transpose();
    match current {
        Ok(Some(rows)) => tables.current = rows,
        Ok(None) => tables.warnings.push(format!("{address}/{CURRENT} is not on the mirror")),
        Err(error) => tables
            .warnings
            .push(format!("could not read {address}/{CURRENT}, continuing without it: {error}")),
    }
    let read_events = |bytes: Bytes| {
        let text = packages::decode_text(&bytes, MAX_FILE_SIZE).map_err(|e| e.to_string())?;
        Events::read(&text).map_err(|e| e.to_string())
    };
    match events.map(read_events).transpose() {
        Ok(Some(events)) => tables.events = events,
        Ok(None) => tables.warnings.push(format!(
            "{address}/{EVENTS} is not on the mirror: packages that left the index count as archived from the day \
             after their last release"
        )),
        Err(error) => tables.warnings.push(format!("could not read {address}/{EVENTS}, continuing without it: {error}")),
    }
    Ok(tables)
}

async fn fetch_file(mirror: &Mirror, path: &str) -> Result<Option<Bytes>, SyncError> {
    match mirror.fetch(FileRequest { path, validators: None, limit: MAX_FILE_SIZE }).await {
        Ok(FileResponse::Body { bytes, .. }) => Ok(Some(bytes)),
        Ok(FileResponse::Unchanged) | Err(UpstreamError::Missing(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
