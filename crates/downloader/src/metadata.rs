//! Metadata files of a mirror, which are fetched once and then revalidated by ETag or Last-Modified.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::future::try_join_all;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use upstream::{FileRequest, FileResponse, Mirror, UpstreamError, Validators};

/// Maximum size of a metadata file in bytes: ten times the largest one of CRAN.
const MAX_SIZE: u64 = 64 << 20;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileValidators {
    /// Path of the file, or another name that identifies the file.
    pub(super) name: String,
    #[serde(rename = "there")]
    pub(super) exists: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    modified: Option<String>,
}

impl FileValidators {
    /// Describes a file; `validators` is `None` for a missing file. Returns `None` for a file without any validator,
    /// which cannot be revalidated.
    pub(super) fn new(name: &str, validators: Option<&Validators>) -> Option<FileValidators> {
        let name = name.to_owned();
        match validators {
            None => Some(FileValidators { name, exists: false, etag: None, modified: None }),
            Some(Validators { etag: None, modified: None }) => None,
            Some(Validators { etag, modified }) => {
                Some(FileValidators { name, exists: true, etag: etag.clone(), modified: modified.clone() })
            }
        }
    }

    pub(super) fn validators(&self) -> Validators {
        Validators { etag: self.etag.clone(), modified: self.modified.clone() }
    }

    async fn is_current(&self, mirror: &Mirror) -> Result<bool, UpstreamError> {
        let validators = self.exists.then(|| self.validators());
        // Only the absence of a missing file is checked.
        let limit = if self.exists { MAX_SIZE } else { 0 };
        match mirror.fetch(FileRequest { path: &self.name, validators, limit }).await {
            Ok(FileResponse::Unchanged) => Ok(self.exists),
            Err(UpstreamError::Missing(_)) => Ok(!self.exists),
            Ok(FileResponse::Body { .. }) | Err(UpstreamError::Refused { .. }) => Ok(false),
            Err(error @ UpstreamError::Unavailable { .. }) => Err(error),
        }
    }
}

/// Returns whether all of these files are unchanged.
pub(super) async fn are_current(mirror: &Mirror, files: &[FileValidators]) -> Result<bool, UpstreamError> {
    let results = try_join_all(files.iter().map(|file| file.is_current(mirror))).await?;
    Ok(!results.is_empty() && results.into_iter().all(|is_current| is_current))
}

/// Reader of a mirror's metadata files.
pub(super) struct MetadataReader<'a> {
    mirror: &'a Mirror,
    /// Files by path; `None` for a missing file.
    files: Mutex<BTreeMap<String, Option<(Bytes, Validators)>>>,
}

impl<'a> MetadataReader<'a> {
    pub(super) fn new(mirror: &'a Mirror) -> MetadataReader<'a> {
        MetadataReader { mirror, files: Mutex::default() }
    }

    pub(super) fn mirror(&self) -> &'a Mirror {
        self.mirror
    }

    /// Returns the current version of a file; `None` if it is missing.
    pub(super) async fn get(&self, path: &str) -> Result<Option<Bytes>, UpstreamError> {
        let cached_file = self.files.lock().get(path).cloned().flatten();
        let validators = cached_file.as_ref().map(|(_, validators)| validators.clone());
        let file = match self.mirror.fetch(FileRequest { path, validators, limit: MAX_SIZE }).await {
            Ok(FileResponse::Body { bytes, validators }) => Some((bytes, validators)),
            Ok(FileResponse::Unchanged) => cached_file,
            Err(UpstreamError::Missing(_)) => None,
            Err(error) => return Err(error),
        };
        let bytes = file.as_ref().map(|(bytes, _)| bytes.clone());
        self.files.lock().insert(path.to_owned(), file);
        Ok(bytes)
    }

    /// Returns the validators of every file that was read; `None` if one of the files has no validator.
    pub(super) fn validators(&self) -> Option<Vec<FileValidators>> {
        let files = self.files.lock();
        let file_validators = |(path, file): (&String, &Option<(Bytes, Validators)>)| {
            FileValidators::new(path, file.as_ref().map(|(_, validators)| validators))
        };
        files.iter().map(file_validators).collect()
    }
}
