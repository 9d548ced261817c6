//! Begins the log, or the one that follows it.

use super::{History, key};
use content::serve::RepoError;
use formats::tlog::note::KeyType;
use store::db::tlog::{self, NewLog};
use store::db::{Conn, DbError, audit, encryption_key};

/// Begins the reason of the pause of a log that another one follows.
pub(super) const ENDED: &str = "it has ended; ";

/// Creates the log. `origin`, its name, which never changes, is by default that of the host of `Server.Address`. With
/// `is_next`, the existing log ends, and the new one has a key of its own; its default name has a number at its end. Returns
/// false if there is a log already, or another server created one.
///
/// # Errors
/// [`RepoError::Conflict`] without an encryption key or a name; [`RepoError::Invalid`] for a name with spaces or `+`.
pub async fn init(history: &History, origin: Option<String>, is_next: bool) -> Result<bool, RepoError> {
    let state = &history.state;
    let previous = match is_next {
        true => Some(history.head().await?),
        false if state.db.read(tlog::head).await?.is_some() => return Ok(false),
        false => None,
    };
    let config = state.config.load_full();
    let key = config.require_encryption_key().map_err(RepoError::Conflict)?;
    let id = previous.as_ref().map_or(1, |previous| previous.id + 1);
    let origin = match (&previous, origin) {
        (_, Some(origin)) => origin,
        (Some(_), None) => {
            let first = state.db.read(|c| tlog::by_id(c, 1)).await?;
            format!("{}/{id}", first.map(|first| first.origin).unwrap_or_default())
        }
        (None, None) => {
            let address = config.server.address.as_deref().and_then(|address| url::Url::parse(address).ok());
            let host = address.and_then(|address| address.host_str().map(|host| format!("{host}/__log__")));
            host.ok_or_else(|| {
                RepoError::Conflict(
                    "the log is named after the host of Server.Address, which is not set; set it, or give --origin"
                        .to_owned(),
                )
            })?
        }
    };
    for earlier in 1..id {
        let earlier = state.db.read(move |c| tlog::by_id(c, earlier)).await?;
        if earlier.is_some_and(|earlier| earlier.origin == origin) {
            let reason = format!("an earlier log has the name {origin}: give another one with --origin");
            return Err(RepoError::Conflict(reason));
        }
    }
    let (seed, signer) = key::create(&key, &origin)?;
    let detail = format!("key: {}", signer.key(KeyType::Note));
    let history_id = state.catalog.get().history_id.clone();
    // Earlier days were not witnessed, and get no entries.
    let closed_until = (state.clock)().day().start();
    let previous = previous.map(|previous| previous.id);
    let create = move |c: &mut dyn Conn| {
        encryption_key::check(c, key.key.fingerprint())?;
        if let Some(previous) = previous {
            tlog::pause(c, previous, &format!("{ENDED}{origin} follows"))?;
        }
        let (origin, seed) = (origin.as_str(), seed.as_str());
        let is_new = tlog::create(c, &NewLog { id, origin, seed, closed_until, history: &history_id })?;
        if is_new {
            audit::record(c, "begin log", "log", origin, &detail)?;
        }
        Ok::<bool, DbError>(is_new)
    };
    let is_new = state.db.write(create).await?;
    history.wake.notify_one();
    Ok(is_new)
}
