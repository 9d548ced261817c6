//! Verifies backups without a server: manifests and their chain, dumps, and the files.

use super::dump::TableSummary;
use super::error::BackupError;
use super::folder::Folder;
use super::import::read_dump;
use super::manifest::Manifest;
use super::objects::{self, StoredObject};
use super::part::Part;

/// Problems that are listed.
const LISTED: usize = 100;

/// Which files are read; size and owner of all are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// None.
    Sizes,
    /// Those of the part `number`, from 1, of `of` equal parts: reading all parts reads every file once.
    Subset {
        /// The number of the part.
        number: u32,
        /// The number of parts.
        of: u32,
    },
    /// All.
    Full,
}

impl Depth {
    fn includes(self, object: &StoredObject) -> bool {
        match self {
            Depth::Sizes => false,
            Depth::Full => true,
            Depth::Subset { number, of } => {
                let [a, b, c, d, ..] = object.key.digest().0;
                u32::from_be_bytes([a, b, c, d]) % of.max(1) == number.saturating_sub(1)
            }
        }
    }
}

/// Called with a description of the current step.
pub type OnStep<'a> = &'a (dyn Fn(&str) + Sync);

/// The result of verifying a backup.
#[derive(Default)]
pub struct Verification {
    /// Tables of the dump, if it is undamaged.
    pub(super) tables: Vec<TableSummary>,
    /// Files of the backup, if the list is undamaged.
    pub(super) objects: Vec<StoredObject>,
    /// Number of files that were read.
    pub read: u64,
    /// Their size in bytes.
    pub read_bytes: u64,
    /// What is damaged, the first of it.
    pub problems: Vec<String>,
    /// Number of all problems.
    pub problem_count: u64,
}

impl Verification {
    fn problem(&mut self, problem: &BackupError) {
        self.problem_count += 1;
        if self.problems.len() < LISTED {
            self.problems.push(problem.to_string());
        }
    }

    /// Number of files of the backup.
    #[must_use]
    pub fn files(&self) -> u64 {
        self.objects.len() as u64
    }
}

/// Verifies the manifests of a folder; returns what is damaged. A manifest states the digest of the one before it.
///
/// # Errors
/// The folder cannot be read.
pub fn verify_chain(folder: &Folder) -> Result<Vec<String>, BackupError> {
    let names = folder.manifests()?;
    let mut problems = Vec::new();
    let mut read: Vec<Manifest> = Vec::new();
    for name in &names {
        match Manifest::read(folder, name) {
            Ok(manifest) => {
                if let Some(previous) = &manifest.previous
                    && let Some(before) = read.iter().find(|known| known.name() == previous.name)
                    && before.sha256() != previous.sha256
                {
                    let path = folder.manifest(&previous.name);
                    let reason = format!("was changed: {name} states another digest of it");
                    problems.push(BackupError::damaged(&path, reason).to_string());
                }
                read.push(manifest);
            }
            Err(error) => problems.push(error.to_string()),
        }
    }
    Ok(problems)
}

/// Verifies a backup. Damage is part of the result.
///
/// # Errors
/// The folder cannot be read.
pub fn verify(folder: &Folder, manifest: &Manifest, depth: Depth, step: OnStep<'_>) -> Verification {
    let mut verified = Verification::default();
    step("reading the dump of the database");
    match read_dump(folder, manifest) {
        Ok(tables) => verified.tables = tables,
        Err(error) => verified.problem(&error),
    }
    match objects::read(folder, manifest) {
        Ok(objects) => verified.objects = objects,
        Err(error) => verified.problem(&error),
    }
    let objects = std::mem::take(&mut verified.objects);
    for (object, done) in objects.iter().zip(0_u64..) {
        if done % 1000 == 0 {
            step(&format!("verifying file {done} of {}", objects.len()));
        }
        let checked =
            if depth.includes(object) { read_file(folder, object) } else { check_size(folder, object) };
        match checked {
            Ok(bytes) if depth.includes(object) => {
                verified.read += 1;
                verified.read_bytes += bytes;
            }
            Ok(_) => {}
            Err(error) => verified.problem(&error),
        }
    }
    verified.objects = objects;
    verified
}

/// Reads a file and compares its digest; returns its size.
pub(super) fn read_file(folder: &Folder, object: &StoredObject) -> Result<u64, BackupError> {
    let part = Part { sha256: *object.key.digest(), size: object.size };
    folder.read_whole(&folder.blob(&part.sha256), &part, &mut |_| Ok(()))?;
    Ok(object.size)
}

fn check_size(folder: &Folder, object: &StoredObject) -> Result<u64, BackupError> {
    let path = folder.blob(object.key.digest());
    match folder.size(&path)? {
        Some(size) if size == object.size => Ok(0),
        Some(size) => {
            Err(BackupError::damaged(&path, format!("has {size} bytes instead of {}", object.size)))
        }
        None => Err(BackupError::damaged(&path, "is missing")),
    }
}
