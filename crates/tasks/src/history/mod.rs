//! The log of what the server published and served: a signed, append-only Merkle tree, written after each publish, copied
//! to another place, and cosigned by witnesses.

mod cosign;
mod entries;
mod examine;
mod export;
mod init;
mod key;
mod log_files;
mod recover;
mod requested;
mod rows;
mod rules;
mod status;
mod timestamp;
mod views;
mod witness;
mod write;

pub use cosign::{add_checkpoint, witnessed};
pub use examine::{Share, examine};
pub use export::export_to;
pub use init::init;
pub use key::rotate;
pub use log_files::{checkpoint, tile};
pub use recover::{Recovered, recover};
pub use requested::add as add_states;
pub use status::{Problem, Status, WitnessStatus, follow, problems, status};
pub use witness::request;
pub use write::write_all;

use rules::KnownRules;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use base::model::time::Timestamp;
use content::serve::{RepoError, Repositories, proofs};
use formats::tlog::entry::Entry;
use runtime::state::State;
use store::db::tlog::{self, Head, NewEntry};

/// What the log needs of a running server, and what this process knows about it.
pub struct History {
    repositories: Arc<Repositories>,
    state: Arc<State>,
    /// Notified when the log has changed otherwise than by a publish.
    wake: Notify,
    /// The number of entries of the newest checkpoint that this process signed.
    signed: watch::Sender<u64>,
    /// Why the last request of this process to each witness failed, by its name.
    refusals: Mutex<BTreeMap<String, String>>,
    /// The checkpoint that this process exported last.
    exported: Mutex<String>,
    /// Why the last attempt to write, export or stamp the log failed.
    failure: Mutex<Option<String>>,
    rules: KnownRules,
    roots: Mutex<views::Roots>,
    /// The list of packages that was logged last: the next one of its tree is compared with it.
    last_list: Mutex<Option<entries::LoggedList>>,
    files: log_files::LogFiles,
}

impl History {
    pub fn new(repositories: Arc<Repositories>, state: Arc<State>) -> Arc<History> {
        Arc::new(History {
            repositories,
            state,
            wake: Notify::new(),
            signed: watch::Sender::new(0),
            refusals: Mutex::default(),
            exported: Mutex::default(),
            failure: Mutex::default(),
            rules: KnownRules::default(),
            roots: Mutex::default(),
            last_list: Mutex::default(),
            files: log_files::LogFiles::new(),
        })
    }

    /// Returns the newest log.
    async fn head(&self) -> Result<Head, RepoError> {
        self.state.db.read(tlog::head).await?.ok_or_else(|| {
            RepoError::NotFound("the server has no log; begin it with rspm history init".to_owned())
        })
    }

    /// Returns whether uploaded names are guarded automatically.
    fn has_automatic_guards(&self) -> bool {
        self.state.config.load().server.automatic_name_guard
    }

    /// Pauses the log, because it contradicts what others know of it. The first reason stays.
    async fn pause(&self, head: &Head, reason: &str) -> Result<(), RepoError> {
        // The numbers of its lists may have been assigned again.
        *self.last_list.lock() = None;
        let (log, text) = (head.id, reason.to_owned());
        if self.state.db.write(move |c| tlog::pause(c, log, &text)).await? {
            tracing::error!(
                "the log {} is paused: {reason}; nothing is appended or signed until rspm history recover",
                head.origin
            );
        }
        Ok(())
    }
}

/// Makes an entry, which is found by what it states.
fn entry(kind: &str, lines: Vec<(&str, String)>, salt: Option<Vec<u8>>) -> Result<NewEntry, RepoError> {
    let entry = Entry::new(kind, lines);
    let entry = entry.map_err(|error| RepoError::Invalid(format!("entry of the log: {error}")))?;
    Ok(NewEntry { subject: proofs::subject_of(&entry), text: entry.to_string(), salt })
}

/// How long the end of a day may stay unnoticed: it does not change the catalog.
const CHECK_INTERVAL: Duration = Duration::from_secs(20);

/// Writes the log, if there is one, until the task ends. First it is compared with its copy and its witnesses: the database
/// may be that of a backup, or may have lost transactions.
pub async fn run(history: &History) {
    while let Err(error) = recover::compare(history).await {
        tracing::warn!(%error, "could not compare the log of the history with its copies; it is tried again");
        *history.failure.lock() = Some(error.to_string());
        tokio::time::sleep(CHECK_INTERVAL).await;
    }
    tokio::join!(run_writer(history), witness::run(history));
}

async fn run_writer(history: &History) {
    let mut changes = history.state.catalog.changes();
    let mut next_stamp = Timestamp(0);
    loop {
        let mut result = write::write_all(history).await;
        if result.is_ok() {
            result = timestamp::stamp(history, &mut next_stamp).await;
        }
        let failure = result.err().map(|error| error.to_string());
        if let Some(error) = &failure {
            tracing::warn!("could not write the log of the history: {error}; it is tried again");
        }
        *history.failure.lock() = failure;
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = history.wake.notified() => {}
            () = tokio::time::sleep(CHECK_INTERVAL) => {}
        }
    }
}
