//! Revalidates indexes of binaries, several in parallel; a server that does not answer is tried once.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};

use crate::sync::SyncError;
use crate::sync::fetch::{MirrorReply, request};
use crate::sync::run::ValidatorUpdates;
use ::upstream::origin::binary_indexes::{BinaryList, Index};
use ::upstream::{Mirror, UpstreamError};
use base::model::digest::Sha256;
use base::model::time::{Clock, Timestamp};
use store::db::upstream::StoredValidators;
use store::db::{Conn, DbError, upstream};

/// The files that may contain an index, in order of preference.
const INDEX_FILES: [&str; 3] = ["PACKAGES.gz", "PACKAGES.rds", "PACKAGES"];
/// Maximum number of parallel requests.
const MAX_PARALLEL: usize = 8;
/// Time for which an index counts as absent before it is requested again; an administrator's sync does not wait.
const ABSENCE_LIFETIME: Duration = Duration::from_secs(20 * 3600);

/// The result of revalidating an index file.
#[derive(Clone, Debug)]
pub(super) enum IndexCheck {
    /// The server does not have it.
    Absent,
    Unchanged,
    /// The index was read; its bytes may be the known ones.
    Read(FetchedIndex),
}

#[derive(Clone, Debug)]
pub(super) struct FetchedIndex {
    /// Its path; the extension determines the format.
    pub(super) path: String,
    pub(super) bytes: Bytes,
    pub(super) validators: StoredValidators,
    /// Whether its bytes differ from the known ones; true also if the known validators must not be used.
    pub(super) is_changed: bool,
}

/// Known validators of the indexes, by URL.
pub(super) type KnownValidators = HashMap<String, StoredValidators>;

/// The servers, and the known validators of their indexes.
pub(super) struct IndexChecker<'a> {
    pub(super) mirrors: &'a [Mirror],
    pub(super) known_validators: &'a KnownValidators,
    pub(super) clock: &'a Clock,
    /// Whether an administrator started the sync.
    pub(super) is_manual: bool,
    /// For each server, the error after which the server is not requested again.
    pub(super) server_errors: Vec<OnceLock<UpstreamError>>,
}

/// Reads the validators of every index of these lists.
pub(super) fn known_validators(
    c: &mut dyn Conn,
    lists: &[BinaryList],
    addresses: &[String],
) -> Result<KnownValidators, DbError> {
    let mut result = KnownValidators::new();
    for index in lists.iter().flat_map(|list| &list.indexes) {
        let absent_key = absent_key(&addresses[index.url_index], index);
        for url in
            INDEX_FILES.map(|index_file| format!("{absent_key}/{index_file}")).into_iter().chain([absent_key])
        {
            if let Some(validators) = upstream::get(c, &url)? {
                result.insert(url, validators);
            }
        }
    }
    Ok(result)
}

/// Returns the key of the row that records the time since which an index is absent.
fn absent_key(address: &str, index: &Index) -> String {
    format!("{address}/{}", index.folder)
}

impl IndexChecker<'_> {
    /// Revalidates indexes; `is_trusted`: whether the known validators of an index may be used.
    pub(super) async fn check(&self, indexes: Vec<(&Index, bool)>) -> Vec<Result<IndexCheck, SyncError>> {
        let checks: Vec<_> = indexes
            .into_iter()
            .map(|(index, is_trusted)| self.check_one(index, is_trusted).boxed())
            .collect();
        stream::iter(checks).buffered(MAX_PARALLEL).collect().await
    }

    pub(super) async fn fetch(&self, index: &Index) -> Result<IndexCheck, SyncError> {
        self.check_one(index, false).await
    }

    async fn check_one(&self, index: &Index, is_trusted: bool) -> Result<IndexCheck, SyncError> {
        let mirror = &self.mirrors[index.url_index];
        let absent_key = absent_key(&mirror.address(), index);
        let now = (self.clock)();
        let is_recent = |row: &&StoredValidators| now.since(row.fetched_at) < ABSENCE_LIFETIME;
        // A file may have been copied to a directory since the last sync, and requesting it takes little time there.
        let is_forced = self.is_manual || mirror.directory().is_some();
        if !is_forced && self.known_validators.get(&absent_key).filter(is_recent).is_some() {
            return Ok(IndexCheck::Absent);
        }
        for index_file in INDEX_FILES {
            if let Some(error) = self.server_errors[index.url_index].get() {
                return Err(error.clone().into());
            }
            let known_row = self.known_validators.get(&format!("{absent_key}/{index_file}"));
            let path = format!("{}/{index_file}", index.folder);
            match request(mirror, &path, known_row.filter(|_| is_trusted), self.clock).await {
                Ok(MirrorReply::Missing) => {}
                Ok(MirrorReply::Unchanged(_)) => return Ok(IndexCheck::Unchanged),
                Ok(MirrorReply::Body(bytes, validators)) => {
                    let is_changed =
                        !is_trusted || known_row.is_none_or(|row| row.sha256 != validators.sha256);
                    return Ok(IndexCheck::Read(FetchedIndex { path, bytes, validators, is_changed }));
                }
                Err(SyncError::Upstream(error @ UpstreamError::Unavailable { .. })) => {
                    // The first failure is reported; the other requests do not wait for the same error.
                    let _ = self.server_errors[index.url_index].set(error.clone());
                    return Err(error.into());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(IndexCheck::Absent)
    }

    pub(super) fn validator_updates(&self, index: &Index, check: &IndexCheck) -> ValidatorUpdates {
        let address = self.mirrors[index.url_index].address();
        let absent_key = absent_key(&address, index);
        match check {
            IndexCheck::Unchanged => Vec::new(),
            IndexCheck::Read(file) => {
                let mut updates = vec![(format!("{address}/{}", file.path), Some(file.validators.clone()))];
                if self.known_validators.contains_key(&absent_key) {
                    updates.push((absent_key, None));
                }
                updates
            }
            IndexCheck::Absent => match self.known_validators.get(&absent_key) {
                // An administrator requested it again within `ABSENCE_LIFETIME`: the time of the first request stays.
                Some(validators) if (self.clock)().since(validators.fetched_at) < ABSENCE_LIFETIME => {
                    Vec::new()
                }
                Some(_) | None => vec![(absent_key, Some(marker_row(None, None, (self.clock)())))],
            },
        }
    }
}

/// Returns a row of the table of validators that records a state and belongs to no file.
pub(super) fn marker_row(etag: Option<String>, modified: Option<String>, at: Timestamp) -> StoredValidators {
    StoredValidators { etag, modified, sha256: Sha256([0; 32]), fetched_at: at }
}
