//! Reads CRAN's package database (`web/packages/packages.rds`): fields that index records lack, such as titles,
//! authors and system requirements. Only missing descriptions are written; a mirror without the database is accepted.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::SyncError;
use super::error::task_result;
use base::model::ids::{ReleaseId, SourceId};
use formats::r::dcf;
use formats::r::rds::packages::{PackageTable, read_package_table};
use formats::r::rds::{RdsError, RdsLimits};
use runtime::jobs::Reporter;
use runtime::state::State;
use store::db::detail::{self, ReleaseWithoutDetail};
use store::db::tree;
use upstream::{FileRequest, FileResponse, UpstreamError};

const DATABASE: &str = "web/packages/packages.rds";
/// Size limit of the compressed database, in bytes: about ten times the size of CRAN's.
const MAX_DATABASE_SIZE: u64 = 96 << 20;
const CHUNK: usize = 500;

/// The result of reading the database.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DescriptionsUpdate {
    /// Number of packages that got a description.
    Packages(usize),
    /// The mirror has no database: these packages lack a description until their files are fetched.
    NoDatabase {
        /// The address that was tried.
        address: String,
        packages: usize,
    },
}

/// Adds descriptions to the listed packages of CRAN that have none.
pub(super) async fn update_cran(
    state: &Arc<State>,
    report: &Reporter,
) -> Result<DescriptionsUpdate, SyncError> {
    let no_update = DescriptionsUpdate::Packages(0);
    let tree = state.db.read(|c| tree::built_in(c, SourceId::CRAN)).await?;
    let Some(head) = tree.head else { return Ok(no_update) };
    let releases = state.db.read(move |c| detail::without_detail(c, tree.id, head)).await?;
    if releases.is_empty() {
        return Ok(no_update);
    }
    report.progress("reading the package database", 0, None);
    let url = state.config.load().cran.url.clone();
    let mirror = state.upstream.load_full().mirror(&url)?;
    let bytes = match mirror
        .fetch(FileRequest { path: DATABASE, validators: None, limit: MAX_DATABASE_SIZE })
        .await
    {
        Ok(FileResponse::Body { bytes, .. }) => bytes,
        Ok(FileResponse::Unchanged) => return Ok(no_update),
        Err(UpstreamError::Missing(address)) => {
            // Stored files are read when their requirements are requested.
            let stored_count =
                state.db.read(move |c| detail::stored_without_detail(c, tree.id, head)).await?.len();
            return Ok(DescriptionsUpdate::NoDatabase {
                address,
                packages: releases.len().saturating_sub(stored_count),
            });
        }
        Err(UpstreamError::Refused { url, reason }) => {
            tracing::warn!(target: "sync", "could not read {url}, continuing without it: {reason}");
            return Ok(no_update);
        }
        Err(error) => return Err(error.into()),
    };
    // Takes seconds of CPU time: not on an async thread.
    let result = tokio::task::spawn_blocking(move || Descriptions::read(&bytes, &releases)).await;
    let mut descriptions = match task_result(result)? {
        Ok(descriptions) => descriptions,
        Err(error) => {
            tracing::warn!(target: "sync", "could not read {}/{DATABASE}, continuing without it: {error}", mirror.address());
            return Ok(no_update);
        }
    };
    let (total, mut done) = (descriptions.found.len(), 0);
    loop {
        let work = move || {
            let chunk: Vec<detail::ReleaseDescription> = descriptions.by_ref().take(CHUNK).collect();
            (descriptions, chunk)
        };
        let chunk;
        (descriptions, chunk) = task_result(tokio::task::spawn_blocking(work).await)?;
        if chunk.is_empty() {
            state.detail_updates.fetch_add(1, Ordering::Release);
            return Ok(DescriptionsUpdate::Packages(total));
        }
        report.progress("writing descriptions", done, Some(total as u64));
        done += chunk.len() as u64;
        state.db.bulk(move |c| detail::insert_missing(c, &chunk)).await?;
    }
}

/// The descriptions of releases, as far as the database has them. They are made one after another: those of all of CRAN would
/// take as much memory as its database.
struct Descriptions {
    table: PackageTable,
    /// The releases in the order of the table, with the numbers of their records.
    found: std::vec::IntoIter<(usize, ReleaseId)>,
}

impl Descriptions {
    fn read(bytes: &[u8], releases: &[ReleaseWithoutDetail]) -> Result<Descriptions, RdsError> {
        let table = read_package_table(bytes, RdsLimits::META)?;
        let releases: HashMap<(&str, &str), ReleaseId> = releases
            .iter()
            .map(|release| ((release.name.as_str(), release.version.as_str()), release.release))
            .collect();
        let release_of = |record: usize| {
            let key = (table.get(record, "Package")?, table.get(record, "Version")?);
            Some((record, *releases.get(&key)?))
        };
        let found: Vec<(usize, ReleaseId)> = (0..table.len()).filter_map(release_of).collect();
        Ok(Descriptions { table, found: found.into_iter() })
    }
}

impl Iterator for Descriptions {
    type Item = detail::ReleaseDescription;

    fn next(&mut self) -> Option<detail::ReleaseDescription> {
        let (record, release) = self.found.next()?;
        let system_requirements = self.table.get(record, "SystemRequirements").map(str::trim);
        Some(detail::ReleaseDescription {
            release,
            description: fields(&self.table, record),
            system_requirements: system_requirements.filter(|text| !text.is_empty()).map(str::to_owned),
        })
    }
}

/// Returns a record as a DESCRIPTION, without the fields that CRAN adds.
fn fields(table: &PackageTable, record: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(2048);
    for (tag, value) in table.record(record) {
        let is_added = tag.starts_with("Reverse ") || matches!(tag, "MD5sum" | "Path" | "Published");
        // The strings of the table are already decoded, so `Encoding` must not cause a second decoding.
        let is_plain = tag != "Encoding" && tag.bytes().all(|b| b.is_ascii_graphic() && b != b':');
        if !is_added && is_plain && !value.trim().is_empty() {
            dcf::write_field(&mut text, tag, value.trim()).expect("writing to a Vec cannot fail");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::r::description::Description;
    use formats::r::rds::matrix::write_matrix;

    fn release(name: &str, version: &str, release: i64) -> ReleaseWithoutDetail {
        ReleaseWithoutDetail {
            name: name.to_owned(),
            version: version.to_owned(),
            release: ReleaseId(release),
        }
    }

    #[test]
    fn a_record_belongs_to_the_version_it_names() {
        let stanzas = [
            "Package: a\nVersion: 1.0\nTitle: Café\nEncoding: latin1\nSystemRequirements: GNU make\nReverse depends: b\n",
            "Package: b\nVersion: 2.0\nTitle: B\n",
            "Package: c\nVersion: 1\nTitle: C\n",
        ];
        let tags = ["Package", "Version", "Title", "Encoding", "SystemRequirements", "Reverse depends"];
        let mut table = Vec::new();
        write_matrix(&mut table, &tags, &stanzas).expect("writing to a Vec cannot fail");
        let releases = [release("a", "1.0", 7), release("b", "1.9", 8), release("d", "1", 9)];
        let descriptions: Vec<_> = Descriptions::read(&table, &releases).expect("a table").collect();
        assert_eq!(descriptions.len(), 1);
        assert_eq!(
            (descriptions[0].release, descriptions[0].system_requirements.as_deref()),
            (ReleaseId(7), Some("GNU make"))
        );
        let description = Description::from_bytes(&descriptions[0].description).expect("fields");
        assert_eq!(description.get("Title"), Some("Café"));
        assert_eq!((description.get("Encoding"), description.get("Reverse depends")), (None, None));
    }
}
