//! The log of what the server published and served: a signed, append-only Merkle tree, written after each publish.

mod entries;
mod examine;
mod rules;
mod views;
mod write;

pub use examine::{Share, examine};
pub use write::write_all;

use rules::KnownRules;

use std::sync::Arc;
use std::time::Duration;

use hex::FromHex;
use ring::rand::SystemRandom;

use base::config::key_file;
use base::encryption::value;
use base::model::time::Timestamp;
use content::serve::{RepoError, Repositories, proofs};
use formats::tlog::note::{KeyType, Signer};
use runtime::state::State;
use store::db::encryption_key;
use store::db::tlog::{self, NewLog};

/// What the log needs of a running server.
pub struct History {
    pub repositories: Arc<Repositories>,
    pub state: Arc<State>,
    rules: KnownRules,
}

impl History {
    pub fn new(repositories: Arc<Repositories>, state: Arc<State>) -> History {
        History { repositories, state, rules: KnownRules::default() }
    }
}

/// The state of the log.
#[derive(Clone, Debug)]
pub struct Status {
    pub origin: String,
    /// The public key, `NAME+ID+KEY`, for policies.
    pub key: String,
    pub entries: u64,
    /// The number of entries of the newest signed checkpoint.
    pub signed: u64,
    /// The newest transaction that has an entry.
    pub transaction: i64,
    /// The number of transactions that have none yet.
    pub waiting: usize,
    /// The end of the last day whose states are in the log.
    pub closed_until: Timestamp,
    /// The newest signed checkpoint; empty before the first one.
    pub checkpoint: String,
}

/// How long the end of a day may stay unnoticed: it does not change the catalog.
const CHECK_INTERVAL: Duration = Duration::from_secs(20);

/// Writes the log, if there is one, until the task ends.
pub async fn run(history: &History) {
    let mut changes = history.state.catalog.changes();
    loop {
        if let Err(error) = write_all(history).await {
            tracing::warn!(%error, "could not write the log of the history; it is tried again");
        }
        if let Ok(Err(_)) = tokio::time::timeout(CHECK_INTERVAL, changes.changed()).await {
            return;
        }
    }
}

/// Creates the log. `origin`, its name, which never changes, is by default that of the host of `Server.Address`. Returns
/// whether it is new.
///
/// # Errors
/// [`RepoError::Conflict`] without an encryption key or a name; [`RepoError::Invalid`] for a name with spaces or `+`.
pub async fn init(history: &History, origin: Option<String>) -> Result<bool, RepoError> {
    let state = &history.state;
    if state.db.read(tlog::head).await?.is_some() {
        return Ok(false);
    }
    let config = state.config.load_full();
    let key = config.require_encryption_key().map_err(RepoError::Conflict)?;
    let address = config.server.address.as_deref().and_then(|address| url::Url::parse(address).ok());
    let host = address.and_then(|address| address.host_str().map(|host| format!("{host}/__log__")));
    let Some(origin) = origin.or(host) else {
        return Err(RepoError::Conflict(
            "the log is named after the host of Server.Address, which is not set; set it, or give --origin"
                .to_owned(),
        ));
    };
    let seed: [u8; 32] = ring::rand::generate(&SystemRandom::new()).map_err(no_key)?.expose();
    Signer::from_seed(&origin, &seed).map_err(|error| RepoError::Invalid(error.to_string()))?;
    let seed = key_file::encrypt(&key.key, &hex::encode(seed)).map_err(no_key)?;
    let history_id = state.catalog.get().history_id.clone();
    // Earlier days were not witnessed, and get no entries.
    let today = (state.clock)().day().start();
    let create = state.db.write(move |c| {
        encryption_key::check(c, key.key.fingerprint())?;
        tlog::create(
            c,
            &NewLog { id: 1, origin: &origin, seed: &seed, closed_until: today, history: &history_id },
        )
    });
    Ok(create.await?)
}

fn no_key(error: impl std::fmt::Display) -> RepoError {
    RepoError::Invalid(format!("could not make the key of the log: {error}"))
}

/// Returns the state of the log; `None` if there is none.
pub async fn status(history: &History) -> Result<Option<Status>, RepoError> {
    let Some(head) = history.state.db.read(tlog::head).await? else { return Ok(None) };
    let signer = signer(&history.state, &head)?;
    let catalog = history.state.catalog.get();
    Ok(Some(Status {
        key: signer.key(KeyType::Note).to_string(),
        entries: head.size,
        signed: proofs::signed(&head)?.map_or(0, |signed| signed.checkpoint.root.count),
        transaction: head.tx.0,
        waiting: catalog.transactions.len() - catalog.transactions.partition_point(|(tx, _)| *tx <= head.tx),
        closed_until: head.closed_until,
        origin: head.origin,
        checkpoint: head.checkpoint,
    }))
}

/// Returns the key of the log.
fn signer(state: &State, head: &tlog::Head) -> Result<Signer, RepoError> {
    let key = state.config.load().encryption_key.clone();
    let text = key.and_then(|key| value::decrypt(&key.key, &head.seed));
    let seed = text.and_then(|text| <[u8; 32]>::from_hex(text.as_bytes()).ok()).ok_or_else(|| {
        RepoError::Conflict(
            "the key of the log is encrypted with another encryption key than that of this server".to_owned(),
        )
    })?;
    Signer::from_seed(&head.origin, &seed).map_err(|error| RepoError::Invalid(error.to_string()))
}
