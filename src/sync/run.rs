//! One sync of CRAN from beginning to end.

use std::collections::HashMap;
use std::sync::Arc;

use super::SyncError;
use super::apply::{self, Memory, Work};
use super::builds::{self, Built};
use super::fetch::{FILES, File, Files, Look, Reader};
use super::known::Known;
use super::lease::Lease;
use super::plan::{Declared, Plan, plan};
use super::read::{self, Shrunk, Trust};
use crate::db::upstream::Seen;
use crate::db::{Conn, DbError, source, tree, upstream};
use crate::jobs::Reporter;
use crate::model::digest::Sha256;
use crate::model::ids::{SourceId, TxId};
use crate::model::time::Timestamp;
use crate::state::State;
use crate::upstream::Mirror;

/// Who asked for a sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The schedule, or a run that was missed.
    Schedule,
    /// A package file that was not what the index says.
    Mismatch,
    /// An administrator, as the transaction will name them.
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

/// What a sync did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing is new, and nothing was published; so many packages are held back.
    Nothing(usize),
    /// One transaction; so many packages are held back.
    Published(TxId, crate::model::change::Counts, usize),
}

/// What the database remembers of the mirror.
struct Remembered {
    files: HashMap<&'static str, Seen>,
    /// Digest of a declaration that was refused because it had shrunk.
    refused: Option<Sha256>,
}

/// The row under which the last success is kept: its `etag` is the mirror's address, its `fetched_at` the time.
pub(super) fn success_key(source: SourceId) -> String {
    format!("sync:{source}")
}

fn refused_key(source: SourceId) -> String {
    format!("sync:{source}:refused")
}

/// Syncs the built-in CRAN source.
pub(super) async fn cran(
    state: &Arc<State>,
    cause: &Cause,
    report: &Reporter,
) -> Result<(Outcome, Built), SyncError> {
    // Kept to the end: a reload meanwhile is the next run's.
    let config = state.config.load_full();
    let mirror = state.upstream.load().mirror(&config.cran.url)?;
    let lease = Lease::claim(&state.db, &config, &state.clock, "sync:cran").await?;
    let run = Run { state, cause, report, mirror: &mirror, lease: &lease };
    let outcome = async {
        let sources = run.run().await?;
        Ok((sources, builds::run(&run).await?))
    };
    let outcome = outcome.await;
    lease.release(&state.db).await;
    outcome
}

pub(super) struct Run<'a> {
    pub(super) state: &'a Arc<State>,
    pub(super) cause: &'a Cause,
    pub(super) report: &'a Reporter,
    mirror: &'a Mirror,
    pub(super) lease: &'a Lease,
}

impl Run<'_> {
    async fn run(&self) -> Result<Outcome, SyncError> {
        let state = self.state;
        let started_at = (state.clock)();
        let remembered = self.remembered().await?;
        let reader = Reader {
            mirror: self.mirror,
            remembered: remembered.files,
            clock: &state.clock,
            report: self.report,
        };
        // Until something is written, every point is a safe one.
        let look = tokio::select! {
            look = reader.look() => look?,
            () = self.report.halted() => return Err(SyncError::Halted),
        };
        let files = match look {
            Look::Unchanged(moved) => {
                let mut memory: Memory =
                    moved.into_iter().map(|(path, seen)| (self.url(path), Some(seen))).collect();
                memory.push(self.success(started_at));
                self.remember(memory).await?;
                return Ok(Outcome::Nothing(0));
            }
            Look::Changed(files) => *files,
        };
        let of = self.tree().await?;
        self.report.progress("comparing with what is known", 0, None);
        let known = state.db.read({
            let of = of.clone();
            move |c| Known::load(c, SourceId::CRAN, &of)
        });
        let known = known.await?;
        let digest = digest(&files);
        let confirmed = matches!(self.cause, Cause::Administrator(_)) && remembered.refused == Some(digest);
        let trust = if confirmed { Trust::Confirmed } else { Trust::Suspicious };
        let mut memory = self.memory(&files, started_at);
        let delay = i64::try_from(state.config.load().cran.delay.as_micros()).unwrap_or(i64::MAX);
        let until = (delay > 0).then(|| Timestamp(started_at.0.saturating_sub(delay)));
        // Seconds of a processor: not on an async thread.
        let planned = tokio::task::spawn_blocking(move || planned(&known, files, trust, until)).await;
        let plan = match planned.map_err(|_| SyncError::Stopping)? {
            Ok(plan) => plan,
            Err(Reason::Refused(reason)) => {
                return Err(SyncError::Refused(format!("{}: {reason}", self.mirror.address())));
            }
            Err(Reason::Shrunk(Shrunk(reason))) => {
                let row = Seen { etag: None, modified: None, sha256: digest, fetched_at: started_at };
                self.remember(vec![(refused_key(SourceId::CRAN), Some(row))]).await?;
                return Err(SyncError::Refused(format!("{}: {reason}", self.mirror.address())));
            }
        };
        for warning in &plan.warnings {
            tracing::warn!(target: "sync", source = "cran", "{warning}");
        }
        let held = plan.held;
        if held > 0 {
            tracing::info!(target: "sync", source = "cran", packages = held, "CRAN.DelaySyncDuration holds back new releases");
            // They are old enough one day although the mirror stays as it is: the next sync must read it all.
            memory
                .iter_mut()
                .filter(|(url, _)| FILES.iter().any(|path| *url == self.url(path)))
                .for_each(|row| row.1 = None);
        }
        if plan.changes.is_empty() {
            self.remember(memory).await?;
            return Ok(Outcome::Nothing(held));
        }
        let counts = plan.counts;
        let work = Work {
            db: &state.db,
            lease: self.lease,
            source: SourceId::CRAN,
            tree: of.id,
            started_at,
            actor: self.cause.actor(),
            comment: String::new(),
            seen: memory,
            report: self.report,
        };
        let tx = work.publish(plan, (state.clock)()).await?;
        self.report.progress("publishing", 1, Some(1));
        state.catalog.refresh(&state.db).await?;
        Ok(Outcome::Published(tx, counts, held))
    }

    /// The tree of CRAN's source packages, without anything pending: whoever left that is dead, because syncs of a
    /// source exclude each other.
    async fn tree(&self) -> Result<tree::Tree, SyncError> {
        let db = &self.state.db;
        let found = db.read(cran_tree).await?;
        if found.pending.is_some() {
            apply::abandon(db, self.lease, SourceId::CRAN, found.id).await?;
            return Ok(db.read(cran_tree).await?);
        }
        Ok(found)
    }

    fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.mirror.address())
    }

    async fn remembered(&self) -> Result<Remembered, SyncError> {
        let address = self.mirror.address();
        let urls = FILES.map(|path| (path, self.url(path)));
        let read = self.state.db.read(move |c| {
            let last = upstream::get(c, &success_key(SourceId::CRAN))?;
            let refused = upstream::get(c, &refused_key(SourceId::CRAN))?.map(|row| row.sha256);
            let mut files = HashMap::new();
            // What another mirror's files looked like says nothing about the state since: after a change of
            // `CRAN.URL` all is read again.
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

    /// What is to be remembered once all of it is in the database.
    fn memory(&self, files: &Files, started_at: Timestamp) -> Memory {
        let read: Vec<&File> = [Some(&files.index), files.current.as_ref(), files.archive.as_ref()]
            .into_iter()
            .flatten()
            .collect();
        let seen = |path: &str| read.iter().find(|file| file.path == path).map(|file| file.seen.clone());
        let mut memory: Memory = FILES.map(|path| (self.url(path), seen(path))).into();
        memory.push(self.success(started_at));
        memory.push((refused_key(SourceId::CRAN), None));
        memory
    }

    fn success(&self, started_at: Timestamp) -> (String, Option<Seen>) {
        let row = Seen {
            etag: Some(self.mirror.address()),
            modified: None,
            sha256: Sha256([0; 32]),
            fetched_at: started_at,
        };
        (success_key(SourceId::CRAN), Some(row))
    }

    async fn remember(&self, memory: Memory) -> Result<(), SyncError> {
        let fence = self.lease.guard();
        let write = self.state.db.write(move |c| {
            fence.check(c)?;
            apply::remember(c, &memory)
        });
        Ok(write.await?)
    }
}

/// The tree, which the first migration made.
pub(super) fn cran_tree(c: &mut dyn Conn) -> Result<tree::Tree, DbError> {
    let missing = || DbError::Shape { column: 0, found: "no row", wanted: "the tree of the source cran" };
    let found = source::get(c, SourceId::CRAN)?.ok_or_else(missing)?;
    let trees = tree::of_source(c, found.id)?;
    trees.into_iter().find(|tree| tree.role == tree::Role::Source).ok_or_else(missing)
}

/// What a declaration is recognised by when it comes again.
fn digest(files: &Files) -> Sha256 {
    use sha2::{Digest, Sha256 as Hasher};
    let mut hasher = Hasher::new();
    hasher.update(files.index.seen.sha256.0);
    hasher.update(files.archive.as_ref().map_or([0; 32], |file| file.seen.sha256.0));
    Sha256(hasher.finalize().into())
}

/// Why there is no plan.
enum Reason {
    Refused(String),
    Shrunk(Shrunk),
}

fn planned(known: &Known, files: Files, trust: Trust, until: Option<Timestamp>) -> Result<Plan, Reason> {
    let mut warnings = files.warnings;
    let refused = |reason: String| Reason::Refused(format!("{}: {reason}", files.index.path));
    let text = read::text(files.index.path, &files.index.bytes).map_err(refused)?;
    let declared = Declared {
        listed: read::records(&text, &mut warnings).map_err(refused)?,
        current: read::current(files.current.as_ref(), &mut warnings),
        archive: read::archive(files.archive.as_ref(), &mut warnings),
        until,
    };
    read::guard(known, &declared, trust).map_err(Reason::Shrunk)?;
    let mut plan = plan(known, &declared);
    warnings.append(&mut plan.warnings);
    plan.warnings = warnings;
    Ok(plan)
}
