//! Tests a backup: restores its database into a temporary directory, renders the same documents as the server that was
//! backed up, and reads some of the files.

use std::path::Path;
use std::time::{Duration, Instant};

use rand::seq::IndexedRandom;

use super::error::BackupError;
use super::folder::Folder;
use super::import::{check_schema, fill};
use super::manifest::Manifest;
use super::migrate::OnProgress;
use super::{objects, verify};
use crate::config::{Config, Provider};
use crate::db::transfer::destination::ExistingFiles;

/// Number of files that are read.
const SAMPLE_SIZE: usize = 50;

/// The result of a test.
#[derive(Clone, Debug)]
pub struct TrialResult {
    /// Documents that are equal to those of the server.
    pub documents: usize,
    /// Files that were read.
    pub files: usize,
    /// How long it took.
    pub elapsed: Duration,
}

/// Restores the database of a backup with SQLite below `temporary`, and removes it. Blocks.
///
/// # Errors
/// The backup is damaged, or the restored database does not give the same documents.
pub fn trial_restore(
    config: &Config,
    folder: &Folder,
    manifest: &Manifest,
    temporary: &Path,
    progress: OnProgress<'_>,
) -> Result<TrialResult, BackupError> {
    let start = Instant::now();
    check_schema(manifest)?;
    let directory = tempfile::Builder::new().prefix("rstudio-pm-backup-").tempdir_in(temporary);
    let directory = directory.map_err(BackupError::io("create a directory in", temporary))?;
    let mut config = config.clone();
    config.database.provider = Provider::Sqlite;
    config.sqlite.dir = directory.path().join("db");
    fill(&config, folder, manifest, ExistingFiles::Refused, progress)?.commit()?;
    let all_objects = objects::read(folder, manifest)?;
    let sample: Vec<_> = all_objects.sample(&mut rand::rng(), SAMPLE_SIZE).collect();
    for object in &sample {
        verify::read_file(folder, object)?;
    }
    Ok(TrialResult { documents: manifest.probes.len(), files: sample.len(), elapsed: start.elapsed() })
}
