//! Proofs from the log of the server: the root of a state, and that a repository had a record on a day.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;

use super::documents::document::DocumentRequest;
use super::documents::index;
use super::r::document::RDocument;
use super::{RepoError, Repositories, error, point};
use base::model::point::Point;
use base::model::snapshot::Snapshot;
use base::model::time::Day;
use formats::r::layout::{IndexFormat, PackageFile};
use formats::tlog::entry::Entry;
use formats::tlog::entry_proof::EntryProof;
use formats::tlog::note::{Checkpoint, Note};
use formats::tlog::record_proof::{INDEX, RecordProof, records_of};
use formats::tlog::tile::{Content, Tile, TileNodes};
use formats::tlog::tree::{Hash, Root, inclusion_path, leaf_hash};
use store::db::{Conn, DbError, tlog};

/// Returns what finds the entry of the state that a repository had on a day.
pub fn subject(repository: &str, day: Day) -> String {
    format!("{repository}/{day}/{INDEX}")
}

/// Returns what finds an entry, as far as its text states it; empty for entries that are not found.
pub fn subject_of(entry: &Entry) -> String {
    let values = ["repository", "snapshot", "document"].map(|key| entry.value(key));
    match values {
        [Some(repository), Some(snapshot), Some(document)] if entry.kind() == "view" => {
            format!("{repository}/{snapshot}/{document}")
        }
        _ => String::new(),
    }
}

/// Returns the root over the records of the index of a point of R packages.
pub async fn root(repositories: &Arc<Repositories>, point: Point) -> Result<Root, RepoError> {
    let index = index_of(repositories, point).await?;
    Ok(error::join(tokio::task::spawn_blocking(move || Root::of(records_of(&index)))).await?)
}

async fn index_of(repositories: &Arc<Repositories>, point: Point) -> Result<Bytes, RepoError> {
    let request = DocumentRequest::new(point, RDocument::Packages(IndexFormat::Text));
    Ok(index::document(repositories, &request).await?.bytes)
}

/// Returns the proof of the state that a repository had on a day; with a file, that of the record of this package. `None`
/// for a file that the state does not list.
///
/// # Errors
/// [`RepoError::NotFound`] for other snapshots, while the day is not over, and if the log has no entry of the state.
pub async fn of_day(
    repositories: &Arc<Repositories>,
    repository: &str,
    snapshot: Snapshot,
    file: Option<PackageFile<'_>>,
) -> Result<Option<Vec<u8>>, RepoError> {
    let not_found = |text: String| Err(RepoError::NotFound(text));
    let Snapshot::Date(day) = snapshot else {
        return not_found(format!("proofs are of days that are over: /{repository}/YYYY-MM-DD/"));
    };
    let point = point::resolve(repositories, repository, snapshot).await?;
    let state = &repositories.state;
    let name = state.catalog.get().repo_by_name_or_id(repository).map(|repo| repo.name.to_string());
    let subject = subject(&name.unwrap_or_default(), day);
    let entry = state.db.read(move |c| entry_proof(c, &subject)).await?;
    let Some(entry) = entry else {
        return not_found(match point.follows_sources() {
            true => format!("the log has the state of {day} once that day is over, at {}", day.end()),
            false => format!("the log has no entry of the state of {day}"),
        });
    };
    let Some(file) = file else { return Ok(Some(entry.to_string().into_bytes())) };
    let index = index_of(repositories, point).await?;
    let (package, version) = (file.package.to_owned(), file.version.to_owned());
    let proof = tokio::task::spawn_blocking(move || record_proof(&index, &package, &version, entry));
    Ok(error::join(proof).await?.map(|proof| proof.to_bytes()))
}

/// Returns the proof of the newest entry of a subject, if the newest checkpoint of its log contains it.
fn entry_proof(c: &mut dyn Conn, subject: &str) -> Result<Option<EntryProof>, DbError> {
    let Some((log, index, entry)) = tlog::find(c, subject)? else { return Ok(None) };
    let Some(head) = tlog::by_id(c, log)? else { return Ok(None) };
    let Some(Signed { note, checkpoint }) = signed(&head)? else { return Ok(None) };
    let size = checkpoint.root.count;
    let c = RefCell::new(c);
    let nodes = TileNodes::new(size, |tile: Tile| tile_bytes(&mut **c.borrow_mut(), log, tile));
    let path = inclusion_path(index, size, &nodes)
        .map_err(|error| DbError::refuse(TileProblem(error.to_string())))?;
    Ok(path.map(|path| EntryProof { entry, index, path, note }))
}

/// The newest signed checkpoint of a log.
pub struct Signed {
    pub note: Note,
    pub checkpoint: Checkpoint,
}

/// Returns the newest signed checkpoint; `None` before the first one.
pub fn signed(head: &tlog::Head) -> Result<Option<Signed>, DbError> {
    if head.checkpoint.is_empty() {
        return Ok(None);
    }
    let note = Note::parse(head.checkpoint.as_bytes()).map_err(DbError::refuse)?;
    let checkpoint = note.text().parse().map_err(DbError::refuse)?;
    Ok(Some(Signed { note, checkpoint }))
}

/// A tile that the database lacks, or whose bytes are damaged.
#[derive(Debug, thiserror::Error)]
#[error("the log is damaged: {0}; run rspm scrub --database")]
struct TileProblem(String);

/// Returns the bytes of a tile of hashes in its width, which may be less than that of the stored one.
pub fn tile_bytes(c: &mut dyn Conn, log: i64, tile: Tile) -> Result<Vec<u8>, DbError> {
    let absent = || DbError::refuse(TileProblem(format!("there is no {tile}")));
    let Content::Hashes(level) = tile.content else { return Err(absent()) };
    let mut bytes = tlog::tile(c, log, level, tile.index)?.ok_or_else(absent)?;
    bytes.truncate(usize::from(tile.width) * size_of::<Hash>());
    Ok(bytes)
}

/// Returns the proof of the record of a package; `None` if the index does not list it.
fn record_proof(index: &[u8], package: &str, version: &str, entry: EntryProof) -> Option<RecordProof> {
    let has = |record: &[u8], field: &str, value: &str| {
        let mut values =
            record.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(field.as_bytes()));
        values.next().is_some_and(|found| found.trim_ascii() == value.as_bytes())
    };
    let is_requested = |record: &[u8]| has(record, "Package:", package) && has(record, "Version:", version);
    let position = records_of(index).position(is_requested)?;
    let record = records_of(index).nth(position)?.to_vec();
    let hashes: Vec<Hash> = records_of(index).map(leaf_hash).collect();
    let (position, count) = (position as u64, hashes.len() as u64);
    let path = inclusion_path(position, count, hashes.as_slice()).ok().flatten()?;
    Some(RecordProof { position, count, path, record, entry })
}
