//! What a mirror declares now: its index and `Meta/` tables, fetched only when they changed, all of one moment.

use std::collections::HashMap;

use bytes::Bytes;
use sha2::{Digest, Sha256 as Hasher};

use super::SyncError;
use crate::db::upstream::Seen;
use crate::jobs::Reporter;
use crate::model::digest::Sha256;
use crate::model::time::Clock;
use crate::upstream::{Fetch, Fetched, Mirror, UpstreamError, Validators};

/// The forms of the index, the one to be preferred first: R's own mirrors have all three, and of text a part that
/// is missing at the end cannot be told.
const INDEXES: [&str; 3] = ["src/contrib/PACKAGES.gz", "src/contrib/PACKAGES.rds", "src/contrib/PACKAGES"];
const CURRENT: &str = "src/contrib/Meta/current.rds";
const ARCHIVE: &str = "src/contrib/Meta/archive.rds";

/// Every file a sync reads, for looking up what is remembered of them.
pub(super) const FILES: [&str; 5] = [INDEXES[0], INDEXES[1], INDEXES[2], CURRENT, ARCHIVE];

/// Largest file that is taken, compressed: ten times a full CRAN.
const LIMIT: u64 = 64 << 20;

/// How often the index may change while `Meta/` is read before the sync goes on with what it has; the plan copes
/// with a `Meta/` that is older or newer.
const ROUNDS: usize = 3;

/// A file of the mirror.
#[derive(Clone, Debug)]
pub(super) struct File {
    /// Relative to the mirror.
    pub(super) path: &'static str,
    pub(super) bytes: Bytes,
    pub(super) seen: Seen,
}

/// The files of one moment.
#[derive(Clone, Debug)]
pub(super) struct Files {
    pub(super) index: File,
    pub(super) current: Option<File>,
    pub(super) archive: Option<File>,
    /// What an administrator should know.
    pub(super) warnings: Vec<String>,
}

/// What a look at the mirror found.
pub(super) enum Look {
    /// The mirror has no index there.
    Absent,
    /// Nothing the database does not know. The validators that changed, to be remembered.
    Unchanged(Vec<(&'static str, Seen)>),
    Changed(Box<Files>),
}

/// Reads a mirror.
pub(super) struct Reader<'a> {
    pub(super) mirror: &'a Mirror,
    /// What was seen at the last successful sync from this very mirror.
    pub(super) remembered: HashMap<&'static str, Seen>,
    pub(super) clock: &'a Clock,
    pub(super) report: &'a Reporter,
}

/// One file as asked for.
enum Got {
    Missing,
    /// Not read, because it is as it was.
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
        // Something changed, so everything is needed, and all of one moment: the index is written most of a minute
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

    /// The index once more: another writer may have replaced it meanwhile.
    async fn again(&self, got: Got) -> Result<Got, SyncError> {
        let Got::Read(file) = got else { return Ok(got) };
        match self.get(file.path, Some(&file.seen)).await? {
            Got::Unchanged(..) => Ok(Got::Read(file)),
            found => Ok(found),
        }
    }

    /// A table of `Meta/`. A repository may do without it; one that cannot be had now may be there in a minute, so
    /// that is an error.
    async fn meta(
        &self,
        path: &'static str,
        done: u64,
        warnings: &mut Vec<String>,
    ) -> Result<Got, SyncError> {
        self.report.progress("reading the index", done, Some(3));
        match self.get(path, self.remembered.get(path)).await {
            Err(SyncError::Upstream(error @ UpstreamError::Refused { .. })) => {
                warnings.push(format!("going on without {path}: {error}"));
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

/// What a mirror has at a path.
pub(super) enum Answer {
    Missing,
    /// What is known already.
    Unchanged(Seen),
    Body(Bytes, Seen),
}

/// Asks for a file, conditionally where something is known of it.
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
            "{}/{path}: the mirror says that it is unchanged, which was not asked",
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

/// What to say of a mirror without an index.
pub(super) fn no_index(mirror: &Mirror) -> SyncError {
    SyncError::Refused(format!(
        "{} is no CRAN-like mirror: looked for {}",
        mirror.address(),
        INDEXES.join(", ")
    ))
}
