//! Files of metadata on a mirror: each comes once, and is asked for again by what it was.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::future::try_join_all;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::upstream::{Fetch, Fetched, Mirror, UpstreamError, Validators};

/// Largest file of metadata, in bytes: ten times a full CRAN.
const LIMIT: u64 = 64 << 20;

/// What a mirror said of one of its files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    /// Where it is, or what else it is known by.
    pub(super) name: String,
    /// It was there.
    pub(super) there: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    modified: Option<String>,
}

impl Told {
    /// `None` of a file whose mirror does not tell whether it is still the same.
    pub(super) fn of(name: &str, validators: Option<&Validators>) -> Option<Told> {
        let name = name.to_owned();
        match validators {
            None => Some(Told { name, there: false, etag: None, modified: None }),
            Some(Validators { etag: None, modified: None }) => None,
            Some(Validators { etag, modified }) => {
                Some(Told { name, there: true, etag: etag.clone(), modified: modified.clone() })
            }
        }
    }

    pub(super) fn validators(&self) -> Validators {
        Validators { etag: self.etag.clone(), modified: self.modified.clone() }
    }

    /// Whether the mirror still says so.
    async fn holds(&self, mirror: &Mirror) -> Result<bool, UpstreamError> {
        let known = self.there.then(|| self.validators());
        // Of a file that was not there nothing is wanted but that.
        let limit = if self.there { LIMIT } else { 0 };
        match mirror.fetch(Fetch { path: &self.name, known, limit }).await {
            Ok(Fetched::Unchanged) => Ok(self.there),
            Err(UpstreamError::Missing(_)) => Ok(!self.there),
            Ok(Fetched::Body { .. }) | Err(UpstreamError::Refused { .. }) => Ok(false),
            Err(error @ UpstreamError::Unavailable { .. }) => Err(error),
        }
    }
}

/// Whether a mirror still says all of this.
pub(super) async fn all_hold(mirror: &Mirror, told: &[Told]) -> Result<bool, UpstreamError> {
    let held = try_join_all(told.iter().map(|told| told.holds(mirror))).await?;
    Ok(!held.is_empty() && held.into_iter().all(|holds| holds))
}

/// Reads a mirror's files of metadata.
pub(super) struct Reader<'a> {
    mirror: &'a Mirror,
    /// `None` of a file that is not there.
    files: Mutex<BTreeMap<String, Option<(Bytes, Validators)>>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(mirror: &'a Mirror) -> Reader<'a> {
        Reader { mirror, files: Mutex::default() }
    }

    pub(super) fn mirror(&self) -> &'a Mirror {
        self.mirror
    }

    /// A file as it is now; `None` when the mirror has none.
    pub(super) async fn get(&self, path: &str) -> Result<Option<Bytes>, UpstreamError> {
        let known = self.files.lock().get(path).cloned().flatten();
        let validators = known.as_ref().map(|(_, validators)| validators.clone());
        let read = match self.mirror.fetch(Fetch { path, known: validators, limit: LIMIT }).await {
            Ok(Fetched::Body { bytes, validators }) => Some((bytes, validators)),
            Ok(Fetched::Unchanged) => known,
            Err(UpstreamError::Missing(_)) => None,
            Err(error) => return Err(error),
        };
        let bytes = read.as_ref().map(|(bytes, _)| bytes.clone());
        self.files.lock().insert(path.to_owned(), read);
        Ok(bytes)
    }

    /// What the mirror said of every file that was read; `None` when it does not tell of each whether it is still the same.
    pub(super) fn told(&self) -> Option<Vec<Told>> {
        let files = self.files.lock();
        let told = files.iter().map(|(path, read)| Told::of(path, read.as_ref().map(|(_, known)| known)));
        told.collect()
    }
}
