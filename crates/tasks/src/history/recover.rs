//! A database that lost a part of the log: found by comparison, and completed from a copy.

use std::cmp::max;

use super::entries::{Entries, transaction_of};
use super::export::{LogCopy, MAX_FILE};
use super::witness::{self, WitnessAnswer};
use super::{History, entry, export, key, rows};
use base::config::BackupPlace;
use content::serve::{RepoError, proofs};
use formats::tlog::entry::Entry;
use formats::tlog::note::Checkpoint;
use formats::tlog::tile::{Content, Tile, WIDTH, decode_entries, tiles};
use formats::tlog::tree::Root;
use store::db::tlog::{self, Head, NewEntry};
use store::db::{Conn, DbError, audit};
use upstream::transport::Transport;
use upstream::{FileRequest, FileResponse, UpstreamError};

/// Compares the log with its copy and its witnesses; pauses it if one of them has more. What does not answer is not compared.
pub(super) async fn compare(history: &History) -> Result<(), RepoError> {
    let Some(head) = history.state.db.read(tlog::head).await? else { return Ok(()) };
    if head.pause.is_empty() {
        witness::ask_all(history, true).await?;
        export::add_tiles(history, &head).await?;
    }
    Ok(())
}

/// What a recovery did.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// The number of entries that the database lacked.
    pub entries: usize,
    /// The public keys of entries that it lacked: this server does not have them.
    pub keys: Vec<String>,
}

/// The place with the entries that the database lacks.
enum CopySource {
    Copy(LogCopy),
    Address(Transport),
}

impl CopySource {
    async fn open(history: &History, from: &str, log: i64) -> Result<CopySource, RepoError> {
        if from.starts_with('/') || BackupPlace::is_address(from) {
            let place = from.parse().map_err(|error| RepoError::Invalid(format!("{from} {error}")))?;
            return Ok(CopySource::Copy(LogCopy::open(history, place, log, false).await?));
        }
        let transport = history.state.upstream.load().transport(from);
        Ok(CopySource::Address(transport.map_err(|error| RepoError::Invalid(error.to_string()))?))
    }

    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>, RepoError> {
        let transport = match self {
            CopySource::Copy(copy) => return copy.read(path).await,
            CopySource::Address(transport) => transport,
        };
        match transport.fetch(FileRequest { path, validators: None, limit: MAX_FILE }).await {
            Ok(FileResponse::Body { bytes, .. }) => Ok(Some(bytes.to_vec())),
            Ok(FileResponse::Unchanged) | Err(UpstreamError::Missing(_)) => Ok(None),
            Err(error) => Err(RepoError::Conflict(error.to_string())),
        }
    }

    /// Returns the entries from the number `first` up to the size `end`. They are not verified.
    async fn entries(&self, first: u64, end: u64) -> Result<Vec<String>, RepoError> {
        let mut all = Vec::new();
        let bundles = tiles(first, end).filter(|tile| tile.content == Content::Entries);
        for tile in bundles.collect::<Vec<_>>() {
            // A copy may have replaced a part of a bundle by the whole one.
            let full = Tile { width: WIDTH, ..tile };
            let (bytes, width) = match self.read(&tile.to_string()).await? {
                Some(bytes) => (bytes, tile.width),
                None => match self.read(&full.to_string()).await? {
                    Some(bytes) => (bytes, WIDTH),
                    None => return Err(RepoError::Conflict(format!("the copy has no {tile}"))),
                },
            };
            let entries = decode_entries(&bytes, width);
            let entries = entries.map_err(|error| RepoError::Conflict(format!("{tile}: {error}")))?;
            let start = tile.index.saturating_mul(WIDTH.into());
            let of_range = (start..).zip(entries).filter(|(number, _)| (first..end).contains(number));
            all.extend(of_range.map(|(_, entry)| String::from_utf8_lossy(entry).into_owned()));
        }
        Ok(all)
    }
}

/// Completes a paused log with the entries of a copy that the database lacks, appends an entry about it, and ends the pause.
/// `from` is a directory, `s3://…` or an address; by default `History.ExportPath`. Without any, the witnesses have to confirm
/// that nothing is missing.
///
/// # Errors
/// [`RepoError::Conflict`] if the log is not paused, or if the copy contradicts it or has less than a witness.
pub async fn recover(history: &History, from: Option<&str>) -> Result<Recovered, RepoError> {
    let conflict = |reason: String| Err(RepoError::Conflict(reason));
    let head = history.head().await?;
    if head.pause.is_empty() {
        return conflict("the log is not paused: there is nothing to recover".to_owned());
    }
    let export = history.state.config.load().history.export.as_ref().map(ToString::to_string);
    let place = match from.or(export.as_deref()) {
        Some(from) => Some(CopySource::open(history, from, head.id).await?),
        None => None,
    };
    let newest = match &place {
        Some(place) => match place.read("checkpoint").await? {
            Some(bytes) => Some(key::verify(&history.state, &head, &bytes)?),
            None => return conflict("the copy has no checkpoint: give another one with --from".to_owned()),
        },
        None => None,
    };
    let size = max(newest.as_ref().map_or(0, |newest: &Checkpoint| newest.root.count), head.size);
    require_size(history, size, newest.is_some()).await?;
    let missing = match &place {
        Some(place) => place.entries(head.size, size).await?,
        None => Vec::new(),
    };
    let (log, old_size) = (head.id, head.size);
    if let Some(newest) = newest {
        let texts = missing.clone();
        let root = move |c: &mut dyn Conn| -> Result<Root, DbError> {
            if newest.root.count < old_size {
                return rows::root(c, log, newest.root.count);
            }
            let mut edge = rows::edge(c, log, old_size)?;
            edge.append(&texts);
            edge.root().map_err(DbError::refuse)
        };
        let root = history.state.db.read(root).await?;
        if root != newest.root {
            return conflict(format!(
                "the entries of the database and of the copy have the root {root}, and the checkpoint has {}: begin another \
                 log with rspm history init --new-log",
                newest.root
            ));
        }
    }
    complete(history, head, missing).await
}

/// Fails unless each witness cosigned at most `size` entries. Without a copy, one of them has to confirm the log.
async fn require_size(history: &History, size: u64, has_copy: bool) -> Result<(), RepoError> {
    let outcomes = witness::ask_all(history, true).await?;
    for (witness, outcome) in &outcomes {
        let name = &witness.name;
        let reason = match outcome {
            WitnessAnswer::Cosigned => continue,
            WitnessAnswer::Ahead(witnessed) if *witnessed <= size => continue,
            WitnessAnswer::Ahead(witnessed) => {
                format!(
                    "the witness {name} cosigned {witnessed} entries, and the copy has {size}; give another one with --from; if \
                     the witness is wrong, remove it from the section [History] and restart the server"
                )
            }
            WitnessAnswer::Contradicts(reason) => {
                format!(
                    "the witness {name} knows another log: {reason}; begin another one with rspm history init --new-log"
                )
            }
            WitnessAnswer::Failed(reason) => format!(
                "the witness {name} does not state how many entries it cosigned: {reason}; if it is gone, remove it from the \
                 section [History] and restart the server"
            ),
        };
        return Err(RepoError::Conflict(reason));
    }
    if has_copy || !outcomes.is_empty() {
        return Ok(());
    }
    Err(RepoError::Conflict(
        "nothing states how many entries the log had: give a copy of it with --from (if the database was not restored, one that \
         rspm history export writes now), or begin another log with rspm history init --new-log"
            .to_owned(),
    ))
}

async fn complete(history: &History, head: Head, missing: Vec<String>) -> Result<Recovered, RepoError> {
    let recovered = history.state.catalog.get().history_id.clone();
    let parsed = missing.iter().map(|text| Entry::parse(text.as_bytes()).ok()).collect::<Vec<_>>();
    let values = |kind: &'static str, key: &'static str| {
        let of_kind = parsed.iter().flatten().filter(move |entry| entry.kind() == kind);
        of_kind.filter_map(move |entry| entry.value(key))
    };
    let last = values("publish", "transaction").filter_map(|number| number.parse().ok()).fold(head.tx.0, max);
    let keys = values("key", "vkey").map(str::to_owned).collect();
    // The numbers of lost transactions are given again, so that their states are not found.
    let is_lost = |entry: &Entry| transaction_of(entry).is_some_and(|tx| tx > head.tx);
    let subject_of = |entry: &Entry| if is_lost(entry) { String::new() } else { proofs::subject_of(entry) };
    let mut entries: Vec<NewEntry> = missing
        .into_iter()
        .zip(&parsed)
        .map(|(text, entry)| NewEntry {
            subject: entry.as_ref().map(subject_of).unwrap_or_default(),
            text,
            salt: None,
        })
        .collect();
    let count = entries.len();
    let (from, to) = (("from", last.to_string()), ("to", head.tx.to_string()));
    let history_line = ("history", recovered.clone());
    entries.push(match head.history == recovered {
        true => entry("rewind", vec![history_line, from, to], None)?,
        false => {
            let old = ("old-history", head.history.clone());
            entry("restore", vec![old, history_line, from, to], None)?
        }
    });
    let next = Entries { entries, events: Vec::new(), tx: head.tx, closed_until: head.closed_until };
    let append = move |c: &mut dyn Conn| {
        tlog::end_pause(c, head.id, &recovered)?;
        let is_appended = rows::append(c, &head, &next)?;
        if is_appended {
            audit::record(c, "recover log", "log", &head.origin, &format!("entries from the copy: {count}"))?;
        } else {
            tlog::pause(c, head.id, &head.pause)?;
        }
        Ok::<bool, DbError>(is_appended)
    };
    if !history.state.db.write(append).await? {
        let reason = "an entry was appended meanwhile: see rspm history status";
        return Err(RepoError::Conflict(reason.to_owned()));
    }
    history.wake.notify_one();
    Ok(Recovered { entries: count, keys })
}
