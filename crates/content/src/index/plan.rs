//! Plans what a reading of a project of an index writes: compares its page with the rows of its files, and
//! determines which lives begin and end. Pure.
//!
//! A file exists from its upload time on, so one reading of a project provides its whole history. A final response
//! never changes: later readings write no change before the instant up to which the previous reading is valid.
//!
//! The first life of a file begins at its upload, in the past. For a file that an earlier reading lacked, the
//! table `file_reading` has the time of the reading that found it, from which block rules measure its age if
//! the upload that the index claims is much earlier.

use std::collections::{HashMap, HashSet};

use super::digests::ComputedDigest;
use base::model::digest::Sha256;
use base::model::project_page::{MetadataFile, UpstreamFile};
use base::model::time::Timestamp;
use formats::language::Projects;
use store::db::index_file::{FileRowChange, KnownIndexFile, NewFile};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRow {
    pub name: String,
    pub version: String,
    /// Its location, see [`NewFile::locator`].
    pub locator: String,
    pub size: Option<i64>,
    pub sha256: Sha256,
    pub uploaded_at: Option<Timestamp>,
    /// The digest of its metadata that the index declares.
    pub metadata: Option<Sha256>,
    pub facts: Vec<u8>,
    pub yanked: Option<String>,
}

/// The instants of a reading, in microseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instants {
    /// The instant up to which the previous reading is valid; `None` for the first reading.
    pub previous_valid_at: Option<i64>,
    /// The instant up to which this reading is valid.
    pub valid_at: i64,
    pub read_at: i64,
    /// The head of the list of projects: the newest instant that a client can request.
    pub head: i64,
    /// Whether files are listed although they are more recent than the head: see `[PyPI] DelayExcept`.
    pub lists_recent_files: bool,
    /// Whether yanks found by the first reading take effect then, not at the upload: `[PyPI] EarlierYanks`.
    pub begins_yanks_at_reading: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub changes: Vec<FileRowChange>,
    /// Names of files whose bytes changed, which no index should do.
    pub replaced: Vec<String>,
}

impl Instants {
    /// Returns the instant of changes since the previous reading: the last one that clients can request, if valid.
    fn change(self) -> i64 {
        self.previous_valid_at.unwrap_or(0).max(self.valid_at.min(self.head) - 1)
    }

    /// Returns the instant from which a new file is listed.
    fn begin(self, uploaded_at: Option<Timestamp>) -> i64 {
        let uploaded = uploaded_at.map(|time| time.0);
        let uploaded = if self.lists_recent_files {
            uploaded.map(|time| time.min((self.head - 1).max(0)))
        } else {
            uploaded
        };
        match self.previous_valid_at {
            // Without upload times, the history begins with this reading. An index may state times before the
            // epoch, which become 0: sequence numbers are not negative.
            None => uploaded.unwrap_or_else(|| self.valid_at.min(self.head) - 1).max(0),
            Some(previous_valid_at) => uploaded.unwrap_or_else(|| self.change()).max(previous_valid_at),
        }
    }

    /// Returns the time of this reading if an earlier one lacked the new files, whose upload times may be
    /// wrong then. One that is valid at no instant lacked files without digest.
    fn later_reading(self) -> Option<i64> {
        self.previous_valid_at.filter(|valid_at| *valid_at > 0).map(|_| self.read_at)
    }
}

/// Returns the files of a page that can be served. Others have an address that cannot be requested, a SHA-256 that is
/// neither declared nor in `computed`, by file name, or the name of an earlier file.
pub fn rows(
    language: &dyn Projects,
    files: Vec<UpstreamFile>,
    computed: &HashMap<String, ComputedDigest>,
    locator: impl Fn(&str) -> Option<String>,
) -> Vec<PageRow> {
    let (mut rows, mut names) = (Vec::with_capacity(files.len()), HashSet::with_capacity(files.len()));
    for file in files {
        let computed = computed.get(&file.name).copied();
        let sha256 = file.sha256().or_else(|| computed.map(|digest| digest.sha256));
        let (Some(sha256), Some(locator)) = (sha256, locator(&file.url)) else { continue };
        if !names.insert(file.name.clone()) {
            continue;
        }
        rows.push(PageRow {
            version: file.version.unwrap_or_else(|| language.stem(&file.name).trim().to_owned()),
            name: file.name,
            locator,
            size: file
                .size
                .and_then(|size| i64::try_from(size).ok())
                .or(computed.and_then(|digest| digest.size)),
            sha256,
            uploaded_at: file.uploaded_at,
            metadata: match file.metadata {
                MetadataFile::Sha256(sha256) => Some(sha256),
                MetadataFile::None | MetadataFile::Unverified => None,
            },
            facts: file.facts,
            yanked: file.yanked,
        });
    }
    rows
}

/// Returns the changes after which the project has the files of a page.
pub fn plan(
    language: &dyn Projects,
    known: Vec<KnownIndexFile>,
    page: Vec<PageRow>,
    instants: Instants,
) -> Plan {
    let mut plan = Plan::default();
    let mut by_name: HashMap<String, Vec<KnownIndexFile>> = HashMap::new();
    for file in known {
        by_name.entry(file.name.clone()).or_default().push(file);
    }
    for row in page {
        let mut files = by_name.remove(&row.name).unwrap_or_default();
        let same = files.iter().position(|file| file.sha256 == row.sha256).map(|at| files.swap_remove(at));
        if !files.is_empty() && files.iter().any(|file| file.life.is_some()) {
            plan.replaced.push(row.name.clone());
        }
        plan.changes.extend(files.iter().filter_map(|file| end(file, instants)));
        match same {
            Some(file) => known_file(&mut plan, language, &file, &files, row, instants),
            None => new_file(&mut plan, &files, row, instants),
        }
    }
    let mut rest: Vec<&KnownIndexFile> = by_name.values().flatten().collect();
    rest.sort_unstable_by_key(|file| file.file);
    plan.changes.extend(rest.into_iter().filter_map(|file| end(file, instants)));
    plan
}

fn end(file: &KnownIndexFile, instants: Instants) -> Option<FileRowChange> {
    let life = file.life.as_ref()?;
    // A file that is not visible yet may begin after the change.
    let at = instants.change().max(life.from);
    Some(FileRowChange::End { release: file.release, file: file.file, from: life.from, at })
}

fn new_file(plan: &mut Plan, others: &[KnownIndexFile], row: PageRow, instants: Instants) {
    let from = match others.iter().map(|file| file.revision).max() {
        None => instants.begin(row.uploaded_at),
        // The name referred to a file with different bytes until now.
        Some(_) => instants.change().max(others.iter().filter_map(begin_of_life).max().unwrap_or(0)),
    };
    let file = NewFile {
        version: row.version,
        revision: others.iter().map(|file| file.revision + 1).max().unwrap_or(0),
        name: row.name,
        locator: row.locator,
        size: row.size,
        sha256: row.sha256,
        facts: row.facts,
    };
    // The index does not state when it yanked the file, so the time of this reading is used.
    let changed_at = instants.change();
    let is_dated =
        instants.previous_valid_at.is_none() && instants.begins_yanks_at_reading && row.yanked.is_some();
    let marked_from = (is_dated && from < changed_at).then_some(changed_at);
    plan.changes.push(FileRowChange::Introduce {
        file: Box::new(file),
        from,
        yanked: row.yanked,
        marked_from,
        read_at: if others.is_empty() { instants.later_reading() } else { Some(instants.read_at) },
    });
}

fn begin_of_life(file: &KnownIndexFile) -> Option<i64> {
    file.life.as_ref().map(|life| life.from)
}

/// Adds the changes of a known file; `others` are the files with different bytes that have or had the name.
fn known_file(
    plan: &mut Plan,
    language: &dyn Projects,
    file: &KnownIndexFile,
    others: &[KnownIndexFile],
    row: PageRow,
    instants: Instants,
) {
    if file.locator != row.locator {
        plan.changes.push(FileRowChange::Locate { file: file.file, locator: row.locator.clone() });
    }
    let record = |plan: &mut Plan, sha256: Sha256| {
        plan.changes.push(FileRowChange::Metadata {
            release: file.release,
            revision: file.revision,
            name: file.name.clone(),
            locator: format!("{}.metadata", row.locator),
            sha256,
        });
    };
    let facts = match (file.metadata, row.metadata) {
        // If the page states METADATA after it was read from the wheel, the digest stays the same.
        (Some(known), _) if file.is_metadata_of_wheel => language.with_metadata(&row.facts, Some(known)),
        (None, declared) => match (language.unrecorded_metadata(&file.facts), declared) {
            (Some(known), _) if declared != Some(known) => {
                // From now on, only the row has the digest.
                record(plan, known);
                language.with_metadata(&row.facts, None)
            }
            (None, Some(sha256)) => {
                record(plan, sha256);
                language.with_recorded_metadata(&row.facts)
            }
            (_, _) => row.facts,
        },
        // The METADATA of a file cannot change; a different digest is ignored.
        (Some(known), Some(sha256)) if known != sha256 => language.with_metadata(&row.facts, None),
        (Some(_), Some(_)) if row.facts != file.facts => language.with_recorded_metadata(&row.facts),
        (Some(_), _) => row.facts,
    };
    let is_same = facts == file.facts;
    let variant = |plan: &mut Plan, current: i64| {
        if is_same {
            return current;
        }
        let variant = file.last_variant + 1;
        plan.changes.push(FileRowChange::Facts { file: file.file, variant, facts: facts.clone() });
        variant
    };
    let (from, variant) = match &file.life {
        Some(life) if is_same && life.yanked == row.yanked => return,
        Some(life) => {
            // A life that begins after the change is not visible yet. Two lives cannot begin at the same instant.
            let at = instants.change().max(life.from + 1);
            plan.changes.push(FileRowChange::End {
                release: file.release,
                file: file.file,
                from: life.from,
                at,
            });
            (at, variant(plan, life.variant))
        }
        None => {
            let begin = match others.iter().filter_map(begin_of_life).max() {
                None => instants.begin(row.uploaded_at),
                // The name referred to a file with different bytes until now.
                Some(from) => instants.change().max(from),
            };
            // Two lives cannot begin at the same instant, nor at the end of a life that ended before it was visible.
            let from = file.last_end.map_or(begin, |end| begin.max(end.saturating_add(1)));
            (from, variant(plan, 0))
        }
    };
    plan.changes.push(FileRowChange::Begin {
        release: file.release,
        file: file.file,
        variant,
        from,
        yanked: row.yanked,
    });
}

#[cfg(test)]
mod tests;
