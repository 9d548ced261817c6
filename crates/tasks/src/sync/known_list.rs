//! The validators of the list of projects of an index. They state that the rows of projects are those of the list, so they
//! are stored by the transaction that publishes the list, and removed before a row of another one is written.

use sha2::{Digest, Sha256 as Hasher};

use super::SyncError;
use super::task::Task;
use ::upstream::{PythonIndex, Validators};
use base::model::digest::Sha256;
use base::model::time::Timestamp;
use runtime::state::State;
use store::db::upstream::{self, StoredValidators};
use store::db::{Conn, DbError};

/// What else than the list determines its rows, as a digest. Another version of the program may read other names from it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Circumstances(Sha256);

impl Circumstances {
    /// `is_incomplete` states whether projects that the list lacks stay.
    pub(super) fn new(index: &PythonIndex, is_incomplete: bool) -> Circumstances {
        let version = env!("CARGO_PKG_VERSION");
        let text = format!("{version} {is_incomplete} {}", index.page_address(None));
        Circumstances(Sha256(Hasher::digest(text).into()))
    }
}

/// Returns the key of the row with the validators. Its `sha256` is that of the [`Circumstances`].
fn key() -> String {
    format!("{}:list", Task::Pypi.success_key())
}

/// Returns the validators of the list that was published last, if the same list has the same rows now.
pub(super) async fn validators(
    state: &State,
    circumstances: Circumstances,
) -> Result<Option<Validators>, SyncError> {
    let (list, success) = state
        .db
        .read(|c| Ok::<_, DbError>((upstream::get(c, &key())?, upstream::get(c, &Task::Pypi.success_key())?)))
        .await?;
    // Those of an earlier sync describe another list.
    let is_of_last_sync = |list: &StoredValidators| {
        success.as_ref().is_some_and(|success| success.fetched_at == list.fetched_at)
    };
    let list = list.filter(|list| list.sha256 == circumstances.0 && is_of_last_sync(list));
    Ok(list.map(|list| Validators { etag: list.etag, modified: list.modified }))
}

pub(super) fn remove(c: &mut dyn Conn) -> Result<(), DbError> {
    upstream::delete(c, &key())
}

/// Writes the validators of the list that the transaction publishes; `started_at` is the time of the last success.
pub(super) fn store(
    c: &mut dyn Conn,
    validators: &Validators,
    circumstances: Circumstances,
    started_at: Timestamp,
) -> Result<(), DbError> {
    let Validators { etag, modified } = validators.clone();
    if etag.is_none() && modified.is_none() {
        return remove(c);
    }
    let row = StoredValidators { etag, modified, sha256: circumstances.0, fetched_at: started_at };
    upstream::put(c, &key(), &row)
}
