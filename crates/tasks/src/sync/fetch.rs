//! Fetches the index and the `Meta/` tables of a mirror when they changed, as one consistent set. The index is
//! requested again after `Meta`, because mirrors write them seconds apart.

use std::collections::HashMap;

use bytes::Bytes;
use sha2::{Digest, Sha256 as Hasher};

use super::SyncError;
use base::model::digest::Sha256;
use base::model::time::Clock;
use runtime::jobs::Reporter;
use store::db::upstream::StoredValidators;
use upstream::{FileRequest, FileResponse, Mirror, UpstreamError, Validators};

/// The forms of the index in order of preference. A truncated text index cannot be detected.
const INDEXES: [&str; 3] = ["src/contrib/PACKAGES.gz", "src/contrib/PACKAGES.rds", "src/contrib/PACKAGES"];
const CURRENT: &str = "src/contrib/Meta/current.rds";
const ARCHIVE: &str = "src/contrib/Meta/archive.rds";

/// Every file that a sync reads.
pub(super) const FILES: [&str; 5] = [INDEXES[0], INDEXES[1], INDEXES[2], CURRENT, ARCHIVE];

/// Size limit of a file as it is sent, in bytes: seven times the largest one on CRAN. It is in memory until it is parsed.
const MAX_FILE_SIZE: u64 = 48 << 20;

/// Maximum number of changes of the index while `Meta/` is read, before the sync continues with the files it has; the
/// plan handles a `Meta/` that is older or newer.
const MAX_ROUNDS: usize = 3;

#[derive(Clone, Debug)]
pub(super) struct IndexFile {
    /// Path relative to the mirror.
    pub(super) path: &'static str,
    pub(super) bytes: Bytes,
    pub(super) validators: StoredValidators,
}

/// A consistent set of files.
#[derive(Clone, Debug)]
pub(super) struct IndexFiles {
    pub(super) index: IndexFile,
    pub(super) current: Option<IndexFile>,
    pub(super) archive: Option<IndexFile>,
    pub(super) warnings: Vec<String>,
}

pub(super) enum Revalidation {
    /// The mirror has no index there.
    Absent,
    /// No changes; new validators to store.
    Unchanged(Vec<(&'static str, StoredValidators)>),
    /// At least one file changed; all files.
    Changed(Box<IndexFiles>),
}

/// Reads the index files of a mirror.
pub(super) struct MirrorReader<'a> {
    pub(super) mirror: &'a Mirror,
    /// Validators of the last successful sync from this mirror.
    pub(super) validators: HashMap<&'static str, StoredValidators>,
    pub(super) clock: &'a Clock,
    pub(super) report: &'a Reporter,
}

enum FileCheck {
    Missing,
    /// Not read, because it is unchanged.
    Unchanged(&'static str, StoredValidators),
    Read(IndexFile),
}

impl FileCheck {
    fn path(&self) -> Option<&'static str> {
        match self {
            FileCheck::Missing => None,
            FileCheck::Unchanged(path, _) => Some(path),
            FileCheck::Read(file) => Some(file.path),
        }
    }

    fn sha256(&self) -> Option<Sha256> {
        match self {
            FileCheck::Missing => None,
            FileCheck::Unchanged(_, validators) => Some(validators.sha256),
            FileCheck::Read(file) => Some(file.validators.sha256),
        }
    }
}

impl MirrorReader<'_> {
    pub(super) async fn revalidate(&self) -> Result<Revalidation, SyncError> {
        self.report.progress("reading the index", 0, Some(3));
        let mut warnings = Vec::new();
        let mut index = self.index().await?;
        if matches!(index, FileCheck::Missing) {
            return Ok(Revalidation::Absent);
        }
        let mut current = self.meta(CURRENT, 1, &mut warnings).await?;
        let mut archive = self.meta(ARCHIVE, 2, &mut warnings).await?;
        let is_unchanged = |check: &FileCheck, paths: &[&'static str]| {
            let known_validators = match check.path() {
                Some(path) => self.validators.get(path),
                None => paths.iter().find_map(|path| self.validators.get(path)),
            };
            check.sha256() == known_validators.map(|validators| validators.sha256)
        };
        if is_unchanged(&index, &INDEXES)
            && is_unchanged(&current, &[CURRENT])
            && is_unchanged(&archive, &[ARCHIVE])
        {
            let updates = [index, current, archive].into_iter().filter_map(|check| match check {
                FileCheck::Read(file) => Some((file.path, file.validators)),
                FileCheck::Missing | FileCheck::Unchanged(..) => None,
            });
            return Ok(Revalidation::Unchanged(updates.collect()));
        }
        // After a change, all files must be consistent: a mirror writes the index up to a minute after `Meta/`.
        for _ in 0..MAX_ROUNDS {
            let old_digest = index.sha256();
            let old_index = self.with_bytes(index).await?;
            current = self.with_bytes(current).await?;
            archive = self.with_bytes(archive).await?;
            index = self.recheck_index(old_index).await?;
            if index.sha256() == old_digest {
                break;
            }
            current = self.meta(CURRENT, 1, &mut warnings).await?;
            archive = self.meta(ARCHIVE, 2, &mut warnings).await?;
        }
        let index = self.with_bytes(index).await?;
        let file_of = |check: FileCheck| match check {
            FileCheck::Read(file) => Some(file),
            FileCheck::Missing | FileCheck::Unchanged(..) => None,
        };
        let current = file_of(self.with_bytes(current).await?);
        let archive = file_of(self.with_bytes(archive).await?);
        let FileCheck::Read(index) = index else { return Ok(Revalidation::Absent) };
        Ok(Revalidation::Changed(Box::new(IndexFiles { index, current, archive, warnings })))
    }

    async fn index(&self) -> Result<FileCheck, SyncError> {
        for path in INDEXES {
            match self.get(path, self.validators.get(path)).await? {
                FileCheck::Missing => {}
                check => return Ok(check),
            }
        }
        Ok(FileCheck::Missing)
    }

    /// Revalidates the index: it may have been replaced meanwhile.
    async fn recheck_index(&self, check: FileCheck) -> Result<FileCheck, SyncError> {
        let FileCheck::Read(file) = check else { return Ok(check) };
        match self.get(file.path, Some(&file.validators)).await? {
            FileCheck::Unchanged(..) => Ok(FileCheck::Read(file)),
            new_check => Ok(new_check),
        }
    }

    /// Fetches a table of `Meta/`. A table that is missing or refused is left out; one that is unavailable is an error,
    /// because it may be available in a minute.
    async fn meta(
        &self,
        path: &'static str,
        done: u64,
        warnings: &mut Vec<String>,
    ) -> Result<FileCheck, SyncError> {
        self.report.progress("reading the index", done, Some(3));
        match self.get(path, self.validators.get(path)).await {
            Err(SyncError::Upstream(error @ UpstreamError::Refused { .. })) => {
                warnings.push(format!("could not read {path}, continuing without it: {error}"));
                Ok(FileCheck::Missing)
            }
            other => other,
        }
    }

    /// Fetches a file unconditionally if it was not read because it is unchanged; returns other checks unchanged.
    async fn with_bytes(&self, check: FileCheck) -> Result<FileCheck, SyncError> {
        match check {
            FileCheck::Unchanged(path, _) => self.get(path, None).await,
            FileCheck::Missing | FileCheck::Read(_) => Ok(check),
        }
    }

    async fn get(
        &self,
        path: &'static str,
        known_validators: Option<&StoredValidators>,
    ) -> Result<FileCheck, SyncError> {
        Ok(match request(self.mirror, path, known_validators, self.clock).await? {
            MirrorReply::Missing => FileCheck::Missing,
            MirrorReply::Unchanged(validators) => FileCheck::Unchanged(path, validators),
            MirrorReply::Body(bytes, validators) => FileCheck::Read(IndexFile { path, bytes, validators }),
        })
    }
}

pub(super) enum MirrorReply {
    Missing,
    /// Unchanged since the known validators.
    Unchanged(StoredValidators),
    Body(Bytes, StoredValidators),
}

/// Fetches a file, conditionally if there are validators.
pub(super) async fn request(
    mirror: &Mirror,
    path: &str,
    known_validators: Option<&StoredValidators>,
    clock: &Clock,
) -> Result<MirrorReply, SyncError> {
    let to_validators = |validators: &StoredValidators| Validators {
        etag: validators.etag.clone(),
        modified: validators.modified.clone(),
    };
    let usable_validators =
        known_validators.filter(|validators| validators.etag.is_some() || validators.modified.is_some());
    let file_request =
        FileRequest { path, validators: usable_validators.map(to_validators), limit: MAX_FILE_SIZE };
    match (mirror.fetch(file_request).await, known_validators) {
        (Ok(FileResponse::Unchanged), Some(validators)) => Ok(MirrorReply::Unchanged(validators.clone())),
        (Ok(FileResponse::Unchanged), None) => Err(SyncError::Refused(format!(
            "{}/{path}: the mirror answered an unconditional request with 'not modified'",
            mirror.address()
        ))),
        (Ok(FileResponse::Body { bytes, validators }), _) => {
            let validators = StoredValidators {
                etag: validators.etag,
                modified: validators.modified,
                sha256: Sha256(Hasher::digest(&bytes).into()),
                fetched_at: clock(),
            };
            Ok(MirrorReply::Body(bytes, validators))
        }
        (Err(UpstreamError::Missing(_)), _) => Ok(MirrorReply::Missing),
        (Err(error), _) => Err(error.into()),
    }
}

pub(super) fn no_index(mirror: &Mirror) -> SyncError {
    SyncError::Refused(format!(
        "{} is not a CRAN-like mirror: looked for {}",
        mirror.address(),
        INDEXES.join(", ")
    ))
}
