//! Syncs one list of packages of a mirror, from revalidating its files to the plan of changes. The sync of CRAN is one
//! such list plus its binaries.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::SyncError;
use super::apply::{self, Memory, Work};
use super::builds::{self, Built};
use super::digests;
use super::fetch::{FILES, File, Files, Look, Reader, no_index};
use super::known::Known;
use super::plan::{Declared, Plan, plan};
use super::read::{self, Shrunk, Trust};
use super::skew;
use crate::db::upstream::Seen;
use crate::db::{Conn, DbError, source, tree, upstream};
use crate::jobs::Reporter;
use crate::jobs::lease::Lease;
use crate::model::digest::Sha256;
use crate::model::ids::{SourceId, TreeId, TxId};
use crate::model::time::Timestamp;
use crate::r::index;
use crate::r::packages::IndexRecord;
use crate::state::State;
use crate::upstream::Mirror;
use crate::upstream::shown::Shown;

/// The trigger of a sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The schedule, or a missed run.
    Schedule,
    /// A package file that differs from the index.
    Mismatch,
    /// An administrator, under the name that the transaction records.
    Administrator(String),
}

impl Cause {
    pub(super) fn actor(&self) -> &str {
        match self {
            Cause::Schedule => "schedule",
            Cause::Mismatch => "a package that differs from the index",
            Cause::Administrator(actor) => actor,
        }
    }
}

/// The result of a sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// No changes, nothing published; number of packages held back.
    Nothing(usize),
    /// One transaction; number of packages held back.
    Published(TxId, crate::model::change::Counts, usize),
}

/// Stored validators of a list.
struct Remembered {
    files: HashMap<&'static str, Seen>,
    /// Digest of the last declaration that was refused because it had shrunk.
    refused: Option<Sha256>,
}

/// The key of the row of the last success: its `etag` is the mirror's address, its `fetched_at` the time.
pub(super) fn success_key(source: SourceId) -> String {
    format!("sync:{source}")
}

/// Syncs the built-in CRAN source.
pub(super) async fn cran(
    state: &Arc<State>,
    cause: &Cause,
    report: &Reporter,
) -> Result<(Outcome, Built), SyncError> {
    // One configuration for the whole run: a reload takes effect with the next run.
    let config = state.config.load_full();
    let mirror = state.upstream.load().mirror(&config.cran.url)?;
    skew::agrees(state, &mirror, "src/contrib/PACKAGES.gz").await?;
    let lease = Lease::claim(&state.db, &config, &state.clock, "sync:cran").await?;
    let run = Run { state, cause, report, lease: &lease };
    let outcome = async {
        let list = List {
            source: SourceId::CRAN,
            tree: state.db.read(cran_tree).await?.id,
            key: success_key(SourceId::CRAN),
            name: "cran".to_owned(),
            command: "rspm sync".to_owned(),
            mirror,
            delay: config.cran.delay,
            share: Share::Whole,
        };
        let sources = run.sync(&list).await?;
        Ok((sources, builds::run(&run).await?))
    };
    let outcome = outcome.await;
    lease.release(&state.db).await;
    outcome
}

/// Returns the tree of CRAN, which the first migration creates.
pub(super) fn cran_tree(c: &mut dyn Conn) -> Result<tree::Tree, DbError> {
    let missing = || DbError::Shape { column: 0, found: "no row", wanted: "the tree of the source cran" };
    let found = source::get(c, SourceId::CRAN)?.ok_or_else(missing)?;
    let trees = tree::of_source(c, found.id)?;
    trees.into_iter().find(|tree| tree.role == tree::Role::Source).ok_or_else(missing)
}

/// A list of packages of a mirror.
pub(super) struct List {
    /// Its source.
    pub(super) source: SourceId,
    /// The tree that stores it.
    pub(super) tree: TreeId,
    /// Key, or key prefix, of the rows with its validators.
    pub(super) key: String,
    /// Name for messages.
    pub(super) name: String,
    /// The command with which an administrator syncs it.
    pub(super) command: String,
    /// The mirror whose `src/contrib` is the list.
    pub(super) mirror: Mirror,
    /// Minimum age of new releases.
    pub(super) delay: Duration,
    /// Which part of its source it is.
    pub(super) share: Share,
}

/// Which part of its source a list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    /// The whole source. A mirror without packages is an error.
    Whole,
    /// One of several lists that share releases; it may be empty if it always was.
    Part,
}

impl List {
    fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.mirror.address())
    }

    fn refused_key(&self) -> String {
        format!("{}:refused", self.key)
    }

    /// Returns the validators to store once the changes are in the database.
    fn memory(&self, files: &Files, started_at: Timestamp) -> Memory {
        let read: Vec<&File> = [Some(&files.index), files.current.as_ref(), files.archive.as_ref()]
            .into_iter()
            .flatten()
            .collect();
        let seen = |path: &str| read.iter().find(|file| file.path == path).map(|file| file.seen.clone());
        let mut memory: Memory = FILES.map(|path| (self.url(path), seen(path))).into();
        memory.push(self.success(started_at));
        memory.push((self.refused_key(), None));
        memory
    }

    /// Returns the row that records a successful sync from this mirror.
    pub(super) fn success(&self, started_at: Timestamp) -> (String, Option<Seen>) {
        let row = Seen {
            etag: Some(self.mirror.address()),
            modified: None,
            sha256: Sha256([0; 32]),
            fetched_at: started_at,
        };
        (self.key.clone(), Some(row))
    }

    fn refuse(&self, reason: &str) -> SyncError {
        SyncError::Refused(format!("{}: {reason}", self.mirror.address()))
    }
}

/// The result of revalidating a list.
pub(super) enum Looked {
    /// The mirror does not have it.
    Absent,
    /// Unchanged; the validators to store.
    Unchanged(Memory),
    /// Changed files to compare.
    Changed(Box<Files>),
}

/// The changes of a list, and the validators to store with them.
pub(super) struct Planned {
    pub(super) plan: Plan,
    pub(super) memory: Memory,
    /// The list was never published.
    pub(super) is_new: bool,
}

impl Planned {
    /// Returns whether there is a step to publish.
    pub(super) fn is_step(&self) -> bool {
        self.is_new || !self.plan.changes.is_empty()
    }
}

pub(super) struct Run<'a> {
    pub(super) state: &'a Arc<State>,
    pub(super) cause: &'a Cause,
    pub(super) report: &'a Reporter,
    pub(super) lease: &'a Lease,
}

impl Run<'_> {
    async fn sync(&self, list: &List) -> Result<Outcome, SyncError> {
        let state = self.state;
        let started_at = (state.clock)();
        list.mirror.check().await?;
        let files = match self.look(list, started_at).await? {
            Looked::Absent => return Err(no_index(&list.mirror)),
            Looked::Unchanged(memory) => {
                self.remember(memory).await?;
                return Ok(Outcome::Nothing(0));
            }
            Looked::Changed(files) => *files,
        };
        let planned = self.plan(list, files, started_at).await?;
        let held = planned.plan.held;
        if planned.plan.changes.is_empty() {
            self.remember(planned.memory).await?;
            return Ok(Outcome::Nothing(held));
        }
        let mut work = self.work(list.source, started_at);
        if let Err(error) = work.write(list.tree, planned.plan).await {
            work.give_up().await;
            return Err(error);
        }
        let (tx, counts) = work.publish(planned.memory, (state.clock)()).await?;
        self.report.progress("publishing", 1, Some(1));
        state.catalog.refresh(&state.db).await?;
        Ok(Outcome::Published(tx, counts, held))
    }

    /// Returns an empty transaction.
    pub(super) fn work(&self, source: SourceId, started_at: Timestamp) -> Work<'_> {
        Work::new(&self.state.db, self.lease, source, started_at, self.cause.actor(), self.report)
    }

    /// Revalidates the files of a list. Until something is written, every await point is a safe point to halt.
    pub(super) async fn look(&self, list: &List, started_at: Timestamp) -> Result<Looked, SyncError> {
        let remembered = self.remembered(list).await?;
        let reader = Reader {
            mirror: &list.mirror,
            remembered: remembered.files,
            clock: &self.state.clock,
            report: self.report,
        };
        let look = tokio::select! {
            look = reader.look() => look?,
            () = self.report.halted() => return Err(SyncError::Halted),
        };
        Ok(match look {
            Look::Absent => Looked::Absent,
            Look::Unchanged(moved) => {
                let moved = moved.into_iter().map(|(path, seen)| (list.url(path), Some(seen)));
                Looked::Unchanged(moved.chain([list.success(started_at)]).collect())
            }
            Look::Changed(files) => Looked::Changed(files),
        })
    }

    /// Compares the declaration of a mirror with the database.
    pub(super) async fn plan(
        &self,
        list: &List,
        files: Files,
        started_at: Timestamp,
    ) -> Result<Planned, SyncError> {
        let state = self.state;
        let shown = list.mirror.shown().await?;
        if let Some(shown) = &shown {
            digests::learn(&state.db, self.lease, list.source, shown).await?;
        }
        let of = self.tree(list).await?;
        self.report.progress("comparing with the database", 0, None);
        let (source, is_new) = (list.source, of.head.is_none());
        let (files, among) = match list.share {
            Share::Whole => (files, None),
            Share::Part => {
                let named = tokio::task::spawn_blocking(move || (versions(&files), files)).await;
                let (among, files) = named.map_err(|_| SyncError::Stopping)?;
                (files, among.map_err(|reason| list.refuse(&reason))?)
            }
        };
        let known = state.db.read(move |c| Known::load(c, source, &of, among.as_deref())).await?;
        let refused = self.remembered(list).await?.refused;
        let digest = digest(&files);
        let confirmed = matches!(self.cause, Cause::Administrator(_)) && refused == Some(digest);
        let trust = if confirmed { Trust::Confirmed } else { Trust::Suspicious };
        let mut memory = list.memory(&files, started_at);
        let delay = i64::try_from(list.delay.as_micros()).unwrap_or(i64::MAX);
        let believe = Believe {
            trust,
            until: (delay > 0).then(|| Timestamp(started_at.0.saturating_sub(delay))),
            share: list.share,
            command: list.command.clone(),
        };
        // Takes seconds of CPU: not on an async thread.
        let files_shown = shown.clone();
        let planned =
            tokio::task::spawn_blocking(move || planned(&known, files, files_shown, &believe)).await;
        let plan = match planned.map_err(|_| SyncError::Stopping)? {
            Ok(mut plan) => {
                if let Some(shown) = &shown {
                    digests::of_plan(&mut plan, shown);
                }
                plan
            }
            Err(Reason::Refused(reason)) => return Err(list.refuse(&reason)),
            Err(Reason::Shrunk(Shrunk(reason))) => {
                let row = Seen { etag: None, modified: None, sha256: digest, fetched_at: started_at };
                self.remember(vec![(list.refused_key(), Some(row))]).await?;
                return Err(list.refuse(&reason));
            }
        };
        for warning in &plan.warnings {
            tracing::warn!(target: "sync", source = list.name, "{warning}");
        }
        if plan.held > 0 {
            tracing::info!(target: "sync", source = list.name, packages = plan.held, "new releases are held back by CRAN.DelaySyncDuration");
            // They become old enough without a change of the mirror, so the next sync must read all files.
            memory
                .iter_mut()
                .filter(|(url, _)| FILES.iter().any(|path| *url == list.url(path)))
                .for_each(|row| row.1 = None);
        }
        Ok(Planned { plan, memory, is_new })
    }

    /// Returns the tree of a list without pending rows: syncs of a source exclude each other, so pending rows belong
    /// to a dead process.
    async fn tree(&self, list: &List) -> Result<tree::Tree, SyncError> {
        let (db, id) = (&self.state.db, list.tree);
        let read = move |c: &mut dyn Conn| {
            let missing = DbError::Shape { column: 0, found: "no row", wanted: "a tree" };
            tree::get(c, id)?.ok_or(missing)
        };
        let found = db.read(read).await?;
        if found.pending.is_some() {
            apply::abandon(db, self.lease, list.source, found.id).await?;
            return Ok(db.read(read).await?);
        }
        Ok(found)
    }

    async fn remembered(&self, list: &List) -> Result<Remembered, SyncError> {
        let (address, key, refused_key) = (list.mirror.address(), list.key.clone(), list.refused_key());
        let urls = FILES.map(|path| (path, list.url(path)));
        let read = self.state.db.read(move |c| {
            let last = upstream::get(c, &key)?;
            let refused = upstream::get(c, &refused_key)?.map(|row| row.sha256);
            let mut files = HashMap::new();
            // Validators of another mirror do not apply: after a change of `CRAN.URL` all files are read again.
            if last.and_then(|row| row.etag).as_ref() == Some(&address) {
                for (path, url) in &urls {
                    if let Some(seen) = upstream::get(c, url)? {
                        files.insert(*path, seen);
                    }
                }
            }
            Ok(Remembered { files, refused })
        });
        Ok(read.await?)
    }

    /// Writes validators.
    pub(super) async fn remember(&self, memory: Memory) -> Result<(), SyncError> {
        let fence = self.lease.guard();
        let write = self.state.db.write(move |c| {
            fence.check(c)?;
            apply::remember(c, &memory)
        });
        Ok(write.await?)
    }
}

/// Returns the packages and versions of an index, the whole declaration of a list without an archive; `None` if there
/// is one.
fn versions(files: &Files) -> Result<Option<Vec<(String, String)>>, String> {
    if files.archive.is_some() {
        return Ok(None);
    }
    let refused = |reason: String| format!("{}: {reason}", files.index.path);
    let text = index::text(files.index.path, &files.index.bytes).map_err(refused)?;
    let records = index::records(&text, &mut Vec::new()).map_err(refused)?;
    let pair = |record: IndexRecord<'_>| (record.package.to_owned(), record.version.to_owned());
    let mut versions: Vec<(String, String)> = records.into_iter().map(pair).collect();
    versions.sort_unstable();
    versions.dedup();
    Ok(Some(versions))
}

/// Returns the digest that identifies a repeated declaration.
fn digest(files: &Files) -> Sha256 {
    use sha2::{Digest, Sha256 as Hasher};
    let mut hasher = Hasher::new();
    hasher.update(files.index.seen.sha256.0);
    hasher.update(files.archive.as_ref().map_or([0; 32], |file| file.seen.sha256.0));
    Sha256(hasher.finalize().into())
}

/// The conditions under which a declaration is accepted.
struct Believe {
    trust: Trust,
    until: Option<Timestamp>,
    share: Share,
    command: String,
}

/// Why there is no plan.
enum Reason {
    Refused(String),
    Shrunk(Shrunk),
}

fn planned(
    known: &Known,
    files: Files,
    shown: Option<Arc<Shown>>,
    believe: &Believe,
) -> Result<Plan, Reason> {
    let mut warnings = files.warnings;
    let refused = |reason: String| Reason::Refused(format!("{}: {reason}", files.index.path));
    let text = index::text(files.index.path, &files.index.bytes).map_err(refused)?;
    let declared = Declared {
        listed: index::records(&text, &mut warnings).map_err(refused)?,
        current: read::current(files.current, &mut warnings),
        archive: read::archive(files.archive, &mut warnings),
        shown,
        until: believe.until,
    };
    if declared.listed.is_empty() && believe.share == Share::Whole {
        return Err(refused("the index lists no package".to_owned()));
    }
    read::guard(known, &declared, believe.trust, &believe.command).map_err(Reason::Shrunk)?;
    let mut plan = plan(known, &declared);
    warnings.append(&mut plan.warnings);
    plan.warnings = warnings;
    Ok(plan)
}
