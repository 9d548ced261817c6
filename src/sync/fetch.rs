//! Fetches the index and the `Meta/` tables of a mirror when they changed, as one consistent set.

use std::collections::HashMap;

use bytes::Bytes;
use sha2::{Digest, Sha256 as Hasher};

use super::SyncError;
use crate::db::upstream::Seen;
use crate::jobs::Reporter;
use crate::model::digest::Sha256;
use crate::model::time::Clock;
use crate::upstream::{Fetch, Fetched, Mirror, UpstreamError, Validators};

/// The forms of the index in order of preference: R's own mirrors have all three, and a truncated text index cannot be
/// detected.
const INDEXES: [&str; 3] = ["src/contrib/PACKAGES.gz", "src/contrib/PACKAGES.rds", "src/contrib/PACKAGES"];
const CURRENT: &str = "src/contrib/Meta/current.rds";
const ARCHIVE: &str = "src/contrib/Meta/archive.rds";

/// Every file that a sync reads.
pub(super) const FILES: [&str; 5] = [INDEXES[0], INDEXES[1], INDEXES[2], CURRENT, ARCHIVE];

/// Size limit of a compressed file: ten times a full CRAN.
const LIMIT: u64 = 64 << 20;

/// How often the index may change while `Meta/` is read before the sync continues with the files it has; the plan
/// handles a `Meta/` that is older or newer.
const ROUNDS: usize = 3;

/// A file of the mirror.
#[derive(Clone, Debug)]
pub(super) struct File {
    /// Path relative to the mirror.
    pub(super) path: &'static str,
    pub(super) bytes: Bytes,
    pub(super) seen: Seen,
}

/// A consistent set of files.
#[derive(Clone, Debug)]
pub(super) struct Files {
    pub(super) index: File,
    pub(super) current: Option<File>,
    pub(super) archive: Option<File>,
    /// Warnings for the administrator.
    pub(super) warnings: Vec<String>,
}

/// The result of revalidating a list.
pub(super) enum Look {
    /// The mirror has no index there.
    Absent,
    /// No changes; new validators to store.
    Unchanged(Vec<(&'static str, Seen)>),
    Changed(Box<Files>),
}

/// Reads the files of a list.
pub(super) struct Reader<'a> {
    pub(super) mirror: &'a Mirror,
    /// Validators of the last successful sync from this mirror.
    pub(super) remembered: HashMap<&'static str, Seen>,
    pub(super) clock: &'a Clock,
    pub(super) report: &'a Reporter,
}

/// The result of fetching one file.
enum Got {
    Missing,
    /// Not read, because it is unchanged.
    Unchanged(&'static str, Seen),
    Read(File),
}

impl Got {
    fn path(&self) -> Option<&'static str> {
        match self {
            Got::Missing => None,
            Got::Unchanged(path, _) => Some(path),
            Got::Read(file) => Some(file.path),
        }
    }

    fn sha256(&self) -> Option<Sha256> {
        match self {
            Got::Missing => None,
            Got::Unchanged(_, seen) => Some(seen.sha256),
            Got::Read(file) => Some(file.seen.sha256),
        }
    }
}

impl Reader<'_> {
    pub(super) async fn look(&self) -> Result<Look, SyncError> {
        self.report.progress("reading the index", 0, Some(3));
        let mut warnings = Vec::new();
        let mut index = self.index().await?;
        if matches!(index, Got::Missing) {
            return Ok(Look::Absent);
        }
        let mut current = self.meta(CURRENT, 1, &mut warnings).await?;
        let mut archive = self.meta(ARCHIVE, 2, &mut warnings).await?;
        let same = |got: &Got, paths: &[&'static str]| {
            let known = match got.path() {
                Some(path) => self.remembered.get(path),
                None => paths.iter().find_map(|path| self.remembered.get(path)),
            };
            got.sha256() == known.map(|seen| seen.sha256)
        };
        if same(&index, &INDEXES) && same(&current, &[CURRENT]) && same(&archive, &[ARCHIVE]) {
            let read = [index, current, archive].into_iter().filter_map(|got| match got {
                Got::Read(file) => Some((file.path, file.seen)),
                Got::Missing | Got::Unchanged(..) => None,
            });
            return Ok(Look::Unchanged(read.collect()));
        }
        // Something changed, so all files are needed in a consistent state: the index is written most of a minute
        // after `Meta/`.
        for _ in 0..ROUNDS {
            let before = index.sha256();
            let read = self.whole(index).await?;
            current = self.whole(current).await?;
            archive = self.whole(archive).await?;
            index = self.again(read).await?;
            if index.sha256() == before {
                break;
            }
            current = self.meta(CURRENT, 1, &mut warnings).await?;
            archive = self.meta(ARCHIVE, 2, &mut warnings).await?;
        }
        let index = self.whole(index).await?;
        let file = |got: Got| match got {
            Got::Read(file) => Some(file),
            Got::Missing | Got::Unchanged(..) => None,
        };
        let current = file(self.whole(current).await?);
        let archive = file(self.whole(archive).await?);
        let Got::Read(index) = index else { return Ok(Look::Absent) };
        Ok(Look::Changed(Box::new(Files { index, current, archive, warnings })))
    }

    async fn index(&self) -> Result<Got, SyncError> {
        for path in INDEXES {
            match self.get(path, self.remembered.get(path)).await? {
                Got::Missing => {}
                found => return Ok(found),
            }
        }
        Ok(Got::Missing)
    }

    /// Revalidates the index: it may have been replaced meanwhile.
    async fn again(&self, got: Got) -> Result<Got, SyncError> {
        let Got::Read(file) = got else { return Ok(got) };
        match self.get(file.path, Some(&file.seen)).await? {
            Got::Unchanged(..) => Ok(Got::Read(file)),
            found => Ok(found),
        }
    }

    /// Fetches a table of `Meta/`. A repository may lack it; a table that is unavailable now may be available in a
    /// minute, so that is an error.
    async fn meta(
        &self,
        path: &'static str,
        done: u64,
        warnings: &mut Vec<String>,
    ) -> Result<Got, SyncError> {
        self.report.progress("reading the index", done, Some(3));
        match self.get(path, self.remembered.get(path)).await {
            Err(SyncError::Upstream(error @ UpstreamError::Refused { .. })) => {
                warnings.push(format!("could not read {path}, continuing without it: {error}"));
                Ok(Got::Missing)
            }
            other => other,
        }
    }

    async fn whole(&self, got: Got) -> Result<Got, SyncError> {
        match got {
            Got::Unchanged(path, _) => self.get(path, None).await,
            Got::Missing | Got::Read(_) => Ok(got),
        }
    }

    async fn get(&self, path: &'static str, known: Option<&Seen>) -> Result<Got, SyncError> {
        Ok(match ask(self.mirror, path, known, self.clock).await? {
            Answer::Missing => Got::Missing,
            Answer::Unchanged(seen) => Got::Unchanged(path, seen),
            Answer::Body(bytes, seen) => Got::Read(File { path, bytes, seen }),
        })
    }
}

/// The reply of a mirror for a path.
pub(super) enum Answer {
    Missing,
    /// Unchanged since the known validators.
    Unchanged(Seen),
    Body(Bytes, Seen),
}

/// Fetches a file, conditionally if there are validators.
pub(super) async fn ask(
    mirror: &Mirror,
    path: &str,
    known: Option<&Seen>,
    clock: &Clock,
) -> Result<Answer, SyncError> {
    let validators = |seen: &Seen| Validators { etag: seen.etag.clone(), modified: seen.modified.clone() };
    let usable = known.filter(|seen| seen.etag.is_some() || seen.modified.is_some());
    let fetch = Fetch { path, known: usable.map(validators), limit: LIMIT };
    match (mirror.fetch(fetch).await, known) {
        (Ok(Fetched::Unchanged), Some(seen)) => Ok(Answer::Unchanged(seen.clone())),
        (Ok(Fetched::Unchanged), None) => Err(SyncError::Refused(format!(
            "{}/{path}: the mirror answered an unconditional request with 'not modified'",
            mirror.address()
        ))),
        (Ok(Fetched::Body { bytes, validators }), _) => {
            let seen = Seen {
                etag: validators.etag,
                modified: validators.modified,
                sha256: Sha256(Hasher::digest(&bytes).into()),
                fetched_at: clock(),
            };
            Ok(Answer::Body(bytes, seen))
        }
        (Err(UpstreamError::Missing(_)), _) => Ok(Answer::Missing),
        (Err(error), _) => Err(error.into()),
    }
}

/// The error for a mirror without an index.
pub(super) fn no_index(mirror: &Mirror) -> SyncError {
    SyncError::Refused(format!(
        "{} is not a CRAN-like mirror: looked for {}",
        mirror.address(),
        INDEXES.join(", ")
    ))
}
