//! The manifest of a backup: what it contains, with digests. It is written last: a backup with a manifest is complete.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::error::BackupError;
use super::folder::{Folder, Part, configuration_path, manifest_path, text};
use base::config::{self, BackupPlace, Config};
use base::model::digest::Sha256;
use base::model::time::{Day, SECOND, Timestamp};

const CLOCK_TOLERANCE: Duration = Duration::from_secs(3600);

const DAMAGED_REMEDY: &str =
    "choose another backup with --at, see rspm backup list; and move the damaged manifest away";

pub const FORMAT: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableEntry {
    /// The schema and the name of the table: `core.release`.
    pub table: String,
    pub rows: u64,
    /// Digest of the rows, independent of their order.
    pub digest: String,
}

/// A document that a restored server must serve with the same content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    pub name: String,
    /// The digest of its decoded content.
    #[serde(with = "text")]
    pub sha256: Sha256,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreviousBackup {
    /// The name of its manifest.
    pub name: String,
    /// The digest of its manifest.
    #[serde(with = "text")]
    pub sha256: Sha256,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub format: u32,
    #[serde(with = "text")]
    pub created: Timestamp,
    pub version: String,
    pub database: String,
    /// The identity of the history of transactions.
    pub history: String,
    pub transaction: i64,
    /// The instant after which nothing was published.
    #[serde(with = "text")]
    pub published: Timestamp,
    pub levels: Vec<(String, i64)>,
    /// The fingerprint of the encryption key, which is not in the backup.
    pub encryption_key: Option<String>,
    pub dump: Part,
    pub tables: Vec<TableEntry>,
    pub objects: Part,
    pub object_count: u64,
    /// Size of all files, in bytes.
    pub object_bytes: u64,
    pub with_cache: bool,
    /// Files that were missing or damaged in storage.
    pub missing: Vec<String>,
    pub probes: Vec<Probe>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<ConfigurationFile>,
    pub previous: Option<PreviousBackup>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ManifestFile {
    manifest: Manifest,
    #[serde(with = "text")]
    sha256: Sha256,
}

impl Manifest {
    pub fn name(&self) -> String {
        name_at(self.created)
    }

    /// Returns its digest, which is recorded in the manifest of the next backup.
    pub fn sha256(&self) -> Sha256 {
        // Serializing a struct of numbers and texts cannot fail.
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        Sha256::of(bytes)
    }

    pub(super) fn to_file(&self) -> Vec<u8> {
        let file = ManifestFile { manifest: self.clone(), sha256: self.sha256() };
        let mut bytes = serde_json::to_vec_pretty(&file).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Reads the manifest in the file `name`. Fails if it was changed, or is of another version of the program.
    pub fn read(folder: &Folder, name: &str) -> Result<Manifest, BackupError> {
        #[derive(Deserialize)]
        struct Format {
            manifest: FormatNumber,
        }
        #[derive(Deserialize)]
        struct FormatNumber {
            format: u32,
            version: String,
        }
        let (bytes, path) = (folder.read_manifest(name)?, folder.location(&manifest_path(name)));
        let invalid =
            |error: serde_json::Error| BackupError::damaged(&path, format!("is not a manifest: {error}"));
        let Format { manifest: FormatNumber { format, version } } =
            serde_json::from_slice(&bytes).map_err(invalid)?;
        if format != FORMAT {
            return Err(BackupError::Refused(format!(
                "{}: has format {format}, written by version {}; this version reads format {FORMAT}",
                path.display(),
                version.chars().take(40).collect::<String>()
            )));
        }
        let ManifestFile { manifest, sha256 } = serde_json::from_slice(&bytes).map_err(invalid)?;
        if manifest.sha256() != sha256 {
            return Err(BackupError::damaged(
                &path,
                "was changed: its content has a different digest than it states",
            ));
        }
        if manifest.name() != name {
            return Err(BackupError::damaged(&path, format!("is the manifest {}", manifest.name())));
        }
        Ok(manifest)
    }

    /// Returns whether its time is later than `now` by more than [`CLOCK_TOLERANCE`]: one of the two clocks is wrong.
    pub(super) fn is_in_future(&self, now: Timestamp) -> bool {
        self.created.since(now) > CLOCK_TOLERANCE
    }

    /// Returns the newest backup of a place that can be read; `None` if there is none. Writes nothing. Blocks.
    pub(super) fn newest(
        place: &BackupPlace,
        config: &Config,
        runtime: &Handle,
    ) -> Result<Option<Manifest>, BackupError> {
        if place.directory().is_some_and(|root| !root.exists()) {
            return Ok(None);
        }
        let folder = Folder::open(place, config, runtime)?;
        let names = folder.manifests()?;
        Ok(names.iter().rev().find_map(|name| Manifest::read(&folder, name).ok()))
    }

    /// Reads the newest manifest, or the newest at or before `at`; `now` is the time of this machine's clock. Without
    /// `at`, fails if the newest backup is later than the clock, or if the folder has backups of several databases.
    pub fn find(folder: &Folder, at: Option<&BackupTime>, now: Timestamp) -> Result<Manifest, BackupError> {
        let names = folder.manifests()?;
        let Some(at) = at else {
            let name =
                names.last().ok_or_else(|| BackupError::Refused(format!("{folder} contains no backup")))?;
            let newest = Manifest::read(folder, name).map_err(|error| error.with_remedy(DAMAGED_REMEDY))?;
            if newest.is_in_future(now) {
                return Err(BackupError::Refused(format!(
                    "the newest backup is from {}, and the clock of this machine shows {now}: set the clock if it is wrong; if \
                     it was wrong when the backup was made, choose another one with --at, see rspm backup list, and \
                     remove {}",
                    newest.created,
                    folder.location(&manifest_path(name)).display()
                )));
            }
            let is_other = |manifest: &Manifest| manifest.database != newest.database;
            let mut others = names.iter().rev().filter_map(|name| Manifest::read(folder, name).ok());
            if let Some(other) = others.find(is_other) {
                return Err(BackupError::Refused(format!(
                    "{folder} contains backups of several databases, the newest of them from {} and {}: choose one with --at; \
                     rspm backup list -o json shows the database of each",
                    newest.created, other.created
                )));
            }
            return Ok(newest);
        };
        let last = name_at(at.0);
        if let Some(name) = names.iter().rev().find(|name| **name <= last) {
            return Manifest::read(folder, name).map_err(|error| error.with_remedy(DAMAGED_REMEDY));
        }
        let text = format!("{folder} contains no backup of that time; see: rspm backup list");
        Err(BackupError::Refused(text))
    }
}

/// Returns the name of the manifest of a backup made at `created`. The order of names is that of the times.
fn name_at(created: Timestamp) -> String {
    let at = created.civil();
    format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}.{:06}Z.json",
        at.year(),
        at.month(),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        created.0.rem_euclid(SECOND)
    )
}

/// The end of the period that `--at` names: an instant or a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupTime(Timestamp);

impl std::str::FromStr for BackupTime {
    type Err = BackupError;

    fn from_str(text: &str) -> Result<BackupTime, BackupError> {
        if let Ok(day) = text.parse::<Day>() {
            return Ok(BackupTime(Timestamp(day.end().0 - 1)));
        }
        let invalid = || {
            let text: String = text.chars().take(40).collect();
            BackupError::Refused(format!(
                "--at {text}: give a day, YYYY-MM-DD, or a time as rspm backup list shows it"
            ))
        };
        text.parse().map(BackupTime).map_err(|_| invalid())
    }
}

/// The configuration file, with unchanged bytes: encrypted values stay encrypted, others are plain text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigurationFile {
    pub path: String,
    pub part: Part,
}

impl ConfigurationFile {
    /// Returns the path of its copy in the folder.
    pub fn copy(&self) -> String {
        configuration_path(self.part.sha256)
    }
}

/// Copies the configuration file; `None` if it cannot be read.
pub(super) fn copy(folder: &Folder, config: &Config) -> Result<Option<ConfigurationFile>, BackupError> {
    let Some(path) = &config.file else { return Ok(None) };
    match config::read(path) {
        Ok(bytes) => {
            let part = Part { sha256: Sha256::of(&bytes), size: bytes.len() as u64 };
            let file = ConfigurationFile { path: path.display().to_string(), part };
            folder.write(&bytes, &file.copy(), true)?;
            Ok(Some(file))
        }
        Err(error) => {
            let path = path.display();
            tracing::warn!(%error, %path, "could not read the configuration file; the backup lacks it");
            Ok(None)
        }
    }
}
