//! Verifies backups without a server: manifests and their chain, dumps, and the files.

use std::collections::HashSet;

use super::dump::TableSummary;
use super::error::BackupError;
use super::folder::{BlobSizes, Folder, Part, blob_path, manifest_path};
use super::import::read_dump;
use super::manifest::Manifest;
use super::objects::{self, StoredObject};
use store::storage::Key;

const MAX_PROBLEMS: usize = 100;

/// The files to read. Size and owner of all files are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// No file.
    Sizes,
    /// The files of the part `number`, from 1, of `count` equal parts: reading all parts reads every file once.
    Subset {
        number: u32,
        count: u32,
    },
    Full,
}

impl Depth {
    fn includes(self, object: &StoredObject) -> bool {
        match self {
            Depth::Sizes => false,
            Depth::Full => true,
            Depth::Subset { number, count } => {
                let [a, b, c, d, ..] = object.key.digest().0;
                u32::from_be_bytes([a, b, c, d]) % count.max(1) == number.saturating_sub(1)
            }
        }
    }
}

pub type OnStep<'a> = &'a (dyn Fn(&str) + Sync);

#[derive(Default)]
pub struct Verification {
    pub(super) tables: Vec<TableSummary>,
    /// Files of the backup, if the list is undamaged.
    pub(super) objects: Vec<StoredObject>,
    /// The files of the backup that are missing or damaged.
    pub(super) bad_objects: HashSet<Key>,
    /// Whether the copy of the configuration file is missing or damaged.
    pub(super) is_configuration_bad: bool,
    pub read: u64,
    pub read_bytes: u64,
    /// The first problems.
    pub problems: Vec<String>,
    pub problem_count: u64,
}

impl Verification {
    fn add_problem(&mut self, problem: &BackupError) {
        self.problem_count += 1;
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem.to_string());
        }
    }

    /// Returns the number of bad files that a restore can omit: objects, and the never restored configuration file.
    pub(super) fn dispensable_count(&self) -> u64 {
        self.bad_objects.len() as u64 + u64::from(self.is_configuration_bad)
    }

    /// Returns whether a restore without the missing and damaged files is possible: there is no other problem.
    pub(super) fn is_restorable(&self) -> bool {
        self.problem_count == self.dispensable_count()
    }

    pub fn files(&self) -> u64 {
        self.objects.len() as u64
    }
}

/// Verifies the manifests of a folder; returns the problems. Each manifest contains the digest of the previous one.
pub fn verify_chain(folder: &Folder) -> Result<Vec<String>, BackupError> {
    let names = folder.manifests()?;
    let mut problems = Vec::new();
    let mut manifests: Vec<Manifest> = Vec::new();
    for name in &names {
        match Manifest::read(folder, name) {
            Ok(manifest) => {
                if let Some(previous) = &manifest.previous
                    && let Some(previous_manifest) =
                        manifests.iter().find(|earlier| earlier.name() == previous.name)
                    && previous_manifest.sha256() != previous.sha256
                {
                    let path = manifest_path(&previous.name);
                    let reason = format!("was changed: {name} states another digest of it");
                    problems.push(folder.damaged(&path, reason).to_string());
                }
                manifests.push(manifest);
            }
            Err(error) => problems.push(error.to_string()),
        }
    }
    Ok(problems)
}

/// Verifies a backup. Damaged and unreadable files are part of the result.
pub fn verify(folder: &Folder, manifest: &Manifest, depth: Depth, step: OnStep<'_>) -> Verification {
    let mut verification = Verification::default();
    step("reading the dump of the database");
    match read_dump(folder, manifest) {
        Ok(tables) => verification.tables = tables,
        Err(error) => verification.add_problem(&error),
    }
    if let Some(file) = &manifest.configuration
        && let Err(error) = folder.read_verified(&file.copy(), &file.part, &mut |_| Ok(()))
    {
        verification.is_configuration_bad = error.is_damage();
        verification.add_problem(&error);
    }
    match objects::read(folder, manifest) {
        Ok(objects) => verification.objects = objects,
        Err(error) => verification.add_problem(&error),
    }
    let objects = std::mem::take(&mut verification.objects);
    let sizes = match folder.blob_sizes() {
        Ok(sizes) => sizes,
        Err(error) => {
            verification.add_problem(&error);
            return verification;
        }
    };
    for (object, done) in objects.iter().zip(0_u64..) {
        if done % 1000 == 0 {
            step(&format!("verifying file {done} of {}", objects.len()));
        }
        let result = if depth.includes(object) {
            read_file(folder, object)
        } else {
            check_size(folder, &sizes, object)
        };
        match result {
            Ok(bytes) if depth.includes(object) => {
                verification.read += 1;
                verification.read_bytes += bytes;
            }
            Ok(_) => {}
            Err(error) => {
                if error.is_damage() {
                    verification.bad_objects.insert(object.key);
                }
                verification.add_problem(&error);
            }
        }
    }
    verification.objects = objects;
    verification
}

/// Reads a file and compares its digest; returns its size.
pub(super) fn read_file(folder: &Folder, object: &StoredObject) -> Result<u64, BackupError> {
    let part = Part { sha256: *object.key.digest(), size: object.size };
    let remedy = "while the server has this file, remove it here and back up again: the backup copies it";
    folder
        .read_verified(&blob_path(&part.sha256), &part, &mut |_| Ok(()))
        .map_err(|error| error.with_remedy(remedy))?;
    Ok(object.size)
}

fn check_size(folder: &Folder, sizes: &BlobSizes<'_>, object: &StoredObject) -> Result<u64, BackupError> {
    let path = blob_path(object.key.digest());
    match sizes.get(&path)? {
        Some(size) if size == object.size => Ok(0),
        Some(size) => Err(folder.damaged(&path, format!("has {size} bytes instead of {}", object.size))),
        None => Err(folder.damaged(
            &path,
            "is missing; while the server has this file, rspm backup create copies it again",
        )),
    }
}
