//! The configuration file in a backup, with unchanged bytes: encrypted values stay encrypted, others are plain text.

use serde::{Deserialize, Serialize};
use sha2::Digest;

use super::error::BackupError;
use super::folder::{Folder, configuration_path};
use super::part::Part;
use base::config::{self, Config};
use base::model::digest::Sha256;

/// The configuration file of the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigurationFile {
    /// The path of the file on the server.
    pub path: String,
    /// The copy in the backup.
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
            let part = Part { sha256: Sha256(sha2::Sha256::digest(&bytes).into()), size: bytes.len() as u64 };
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
