//! Proofs from the log of the server: the root of a state, and that a repository had a record on a day.

use std::cell::RefCell;
use std::fmt::Display;
use std::sync::Arc;

use bytes::Bytes;

use super::documents::document::DocumentRequest;
use super::documents::encoding::gunzip;
use super::documents::index;
use super::project::names::names_with_files;
use super::r::document::RDocument;
use super::r::render;
use super::selection::allowed::View;
use super::{RepoError, Repositories, error, point};
use base::config::Witness;
use base::model::kind::{Language, Layout};
use base::model::point::{Point, PointTree};
use base::model::snapshot::Snapshot;
use formats::r::bioconductor::Part;
use formats::r::layout::IndexFormat;
use formats::tlog::entry::Entry;
use formats::tlog::entry_proof::EntryProof;
use formats::tlog::note::{Checkpoint, Note, VerifierKey};
use formats::tlog::record_proof::{INDEX, Member, PROJECTS, RecordProof, records_of};
use formats::tlog::tile::{Content, Tile, TileNodes};
use formats::tlog::tree::{self, Hash, Subtrees, inclusion_path, leaf_hash};
use runtime::catalog::Repository;
use store::db::{Conn, DbError, tlog};

/// Returns the document whose records are the state of a repository, or of a part of it.
pub fn document(language: Language, part: Option<Part>) -> String {
    match (language.layout(), part) {
        (Layout::Projects, _) => PROJECTS.to_owned(),
        (Layout::Lists, None) => INDEX.to_owned(),
        (Layout::Lists, Some(part)) => format!("packages/{part}/{INDEX}"),
    }
}

/// Returns what finds the entry of the state of a document in a snapshot of a repository.
fn subject(repository: &str, snapshot: impl Display, document: &str) -> String {
    format!("{repository}/{snapshot}/{document}")
}

/// The kind, key and subject of the entries with the digest of the rules in force.
pub const RULES: &str = "rules";

/// Returns what finds an entry, as far as its text states it; empty for entries that are not found.
pub fn subject_of(entry: &Entry) -> String {
    let values = ["repository", "snapshot", "document"].map(|key| entry.value(key));
    match (entry.kind(), values) {
        ("view", [Some(repository), Some(snapshot), Some(document)]) => {
            subject(repository, snapshot, document)
        }
        (RULES, _) => RULES.to_owned(),
        _ => String::new(),
    }
}

/// Returns the records of a state, separated by empty lines, as they are in the database: the index of a point of R packages;
/// of projects the leaves of their files. The files of an index of projects are not in it.
pub async fn records(repositories: &Arc<Repositories>, point: Point) -> Result<Bytes, RepoError> {
    let views = View::of(&repositories.state, &point);
    let read = move |c: &mut dyn Conn| match point.language.layout() {
        Layout::Projects => names_with_files(c, &views, point.language).map(|names| names.leaves().into()),
        Layout::Lists => {
            let document = RDocument::Packages(IndexFormat::Text);
            let rows = render::rows(c, &views, &document)?;
            Ok(render::encode(&document, &rows).map_err(DbError::refuse)?.bytes)
        }
    };
    Ok(repositories.state.db.read(read).await?)
}

/// The state of which a record was proved last. More of its records are likely to follow, and the index of CRAN takes tens of
/// milliseconds of processor time, so that requests for other states wait.
pub(super) type LastProved = tokio::sync::Mutex<Option<Arc<ProvedState>>>;

pub(super) struct ProvedState {
    trees: Vec<PointTree>,
    /// The leaves, in order.
    records: Vec<Bytes>,
    nodes: Subtrees,
}

async fn proved_state(repositories: &Arc<Repositories>, point: Point) -> Result<Arc<ProvedState>, RepoError> {
    let mut last = repositories.last_proved.lock().await;
    if let Some(state) = last.as_ref().filter(|state| state.trees == point.trees) {
        return Ok(Arc::clone(state));
    }
    let trees = point.trees.clone();
    let index = records(repositories, point).await?;
    let hash = move || {
        let nodes = Subtrees::new(records_of(&index).map(leaf_hash).collect());
        let records = records_of(&index).map(|record| index.slice_ref(record)).collect();
        Arc::new(ProvedState { trees, records, nodes })
    };
    let state = error::join(tokio::task::spawn_blocking(hash)).await?;
    *last = Some(Arc::clone(&state));
    Ok(state)
}

/// Returns whether the log has an entry of the state of a repository, or of a part of it, in a snapshot.
pub async fn has_entry(
    repositories: &Repositories,
    repo: &Repository,
    part: Option<Part>,
    snapshot: Snapshot,
) -> Result<bool, RepoError> {
    let subject = subject(repo.name.as_str(), snapshot, &document(repo.kind.language(), part));
    Ok(repositories.state.db.read(move |c| tlog::find(c, &subject)).await?.is_some())
}

/// Returns the proof of the state of a repository, or of a part of it, in a snapshot; with a member, that of its record.
/// `None` for a member that the state does not have.
///
/// # Errors
/// [`RepoError::NotFound`] for `latest`, while a day is not over, and if the log has no entry of the state.
pub async fn of_snapshot(
    repositories: &Arc<Repositories>,
    repository: &str,
    part: Option<Part>,
    snapshot: Snapshot,
    member: Option<Member>,
) -> Result<Option<Vec<u8>>, RepoError> {
    let point = point::resolve_part(repositories, repository, part, snapshot).await?;
    let state = &repositories.state;
    let catalog = state.catalog.get();
    let repo = catalog.repo_by_name_or_id(repository);
    let name = repo.map(|repo| repo.name.to_string()).unwrap_or_default();
    // SECURITY: the number of a hidden repository does not disclose its name, which is in the proof.
    if repo.is_some_and(|repo| repo.response_name(repository).0 != name) {
        return Err(RepoError::NotFound("proofs are at the name of a repository".to_owned()));
    }
    let subject = subject(&name, snapshot, &document(point.language, part));
    let witnesses = state.config.load().history.witnesses.clone();
    let entry = state.db.read(move |c| entry_proof(c, &subject, &witnesses)).await?;
    let Some(entry) = entry else {
        return Err(RepoError::NotFound(match snapshot {
            Snapshot::Date(day) if point.follows_sources() => {
                format!("the log has the state of {day} once that day is over, at {}", day.end())
            }
            Snapshot::Date(_) | Snapshot::Transaction(_) => {
                format!("the log has no entry of the state of {snapshot}")
            }
            Snapshot::Latest | Snapshot::Alias(_) => {
                format!("proofs are of days that are over, and of transactions: /{repository}/YYYY-MM-DD/")
            }
        }));
    };
    let Some(member) = member else { return Ok(Some(entry.to_string().into_bytes())) };
    let state = proved_state(repositories, point).await?;
    let proof = tokio::task::spawn_blocking(move || record_proof(&state, &member, entry));
    Ok(error::join(proof).await??.map(|proof| proof.to_bytes()))
}

/// Returns the index that clients get at a closed point of R packages, if it is in storage: it is not made from the rows again.
pub async fn served(repositories: &Repositories, point: &Point) -> Result<Option<Bytes>, RepoError> {
    if point.open || point.language.layout() != Layout::Lists {
        return Ok(None);
    }
    let request = DocumentRequest::new(point.clone(), RDocument::Packages(IndexFormat::Gz));
    let Some(stored) = index::stored_document(repositories, &request.key).await? else { return Ok(None) };
    Ok(Some(index::run_blocking(move || gunzip(&stored)).await?.bytes))
}

/// Returns the proof of the newest entry of a subject with the checkpoint that has most cosignatures of those that contain the
/// entry: the newest one, or one that these witnesses cosigned before it. `None` if none contains it yet.
fn entry_proof(
    c: &mut dyn Conn,
    subject: &str,
    witnesses: &[Witness],
) -> Result<Option<EntryProof>, DbError> {
    let Some((log, index, entry)) = tlog::find(c, subject)? else { return Ok(None) };
    let Some(head) = tlog::by_id(c, log)? else { return Ok(None) };
    let keys = witnesses.iter().filter_map(|witness| witness.key.parse().ok());
    let keys: Vec<VerifierKey> = keys.collect();
    let cosigned = tlog::cosigned(c, log)?.into_iter();
    let candidates = cosigned.map(|row| Signed::parse(&row.checkpoint).map(Some)).chain([signed(&head)]);
    let candidates = candidates.filter_map(Result::transpose).collect::<Result<Vec<_>, _>>()?;
    let containing = candidates.into_iter().filter(|candidate| candidate.checkpoint.root.count > index);
    let best = containing
        .max_by_key(|candidate| (candidate.note.signature_count(&keys), candidate.checkpoint.root.count));
    let Some(Signed { note, checkpoint }) = best else { return Ok(None) };
    let size = checkpoint.root.count;
    let c = RefCell::new(c);
    let nodes = TileNodes::new(size, |tile: Tile| tile_bytes(&mut **c.borrow_mut(), log, tile));
    let path = inclusion_path(index, size, &nodes)
        .map_err(|error| DbError::refuse(TileProblem(error.to_string())))?;
    Ok(path.map(|path| EntryProof { entry, index, path, note }))
}

/// A signed checkpoint of a log.
pub struct Signed {
    pub note: Note,
    pub checkpoint: Checkpoint,
}

impl Signed {
    pub fn parse(text: &str) -> Result<Signed, DbError> {
        let note = Note::parse(text.as_bytes()).map_err(DbError::refuse)?;
        let checkpoint = note.text().parse().map_err(DbError::refuse)?;
        Ok(Signed { note, checkpoint })
    }
}

/// Returns the newest signed checkpoint; `None` before the first one.
pub fn signed(head: &tlog::Head) -> Result<Option<Signed>, DbError> {
    match head.checkpoint.as_str() {
        "" => Ok(None),
        text => Signed::parse(text).map(Some),
    }
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

/// Returns the proof of the record of a member; `None` if the state does not have it.
///
/// # Errors
/// [`RepoError::NotFound`] if the records are not those of the entry any more: block rules, advisories or a back-fill changed
/// what is served of the past.
fn record_proof(
    state: &ProvedState,
    member: &Member,
    entry: EntryProof,
) -> Result<Option<RecordProof>, RepoError> {
    let ProvedState { records, nodes, .. } = state;
    let count = nodes.count();
    let root = tree::root(count, nodes).map_err(DbError::refuse)?;
    let view = Entry::parse(entry.entry.as_bytes()).map_err(DbError::refuse)?;
    if view.value("root") != Some(hex::encode(root.hash).as_str()) {
        let text = "the log has another state of this snapshot than the one that is served now, since block rules, \
                    advisories or a back-fill changed it; only its PACKAGES.proof can be proved";
        return Err(RepoError::NotFound(text.to_owned()));
    }
    let found = records.iter().enumerate().find(|(_, record)| member.is_of(record));
    let Some((position, record)) = found.map(|(position, record)| (position as u64, record.to_vec())) else {
        return Ok(None);
    };
    let path = inclusion_path(position, count, nodes).map_err(DbError::refuse)?;
    Ok(path.map(|path| RecordProof { position, count, path, record, entry }))
}
