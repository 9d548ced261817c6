//! Shared handle of the newest catalog: read at start and again after each publish. It detects that the database was
//! reset to an earlier state; `daemon::running` then reopens the app.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::block_rules::{self, merged_ranges};
use super::{
    Catalog, FixedUrls, ReadExtent, RepoStep, Repository, Rewind, Shared, Source, Subscription, Tree,
    name_guards, spaced,
};
use base::model::ids::{RepoId, Seq, SourceId, TreeId, TxId};
use base::model::kind::SourceKind;
use base::model::point::Base;
use base::model::time::Timestamp;
use formats::r::bioconductor::config::Config;
use store::db::clock::{Change, ClockRow};
use store::db::tree::Step;
use store::db::{self, Conn, Db, DbError};

/// Pauses between attempts to read the catalog after a publish.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Time between reads while they fail, and while notifications of other servers are lost.
const LOST_PAUSE: Duration = Duration::from_secs(1);

/// A handle of the newest catalog; clones share it.
#[derive(Clone)]
pub struct CatalogHandle {
    current: Arc<ArcSwap<Catalog>>,
    versions: Arc<watch::Sender<i64>>,
    rewinds: Arc<watch::Sender<Option<Rewind>>>,
    coalescer: Arc<RefreshCoalescer>,
}

/// Coalesces concurrent refreshes: callers that arrive during a read share the next read.
#[derive(Default)]
struct RefreshCoalescer {
    /// Number of calls so far.
    call_count: AtomicU64,
    /// The last call that is covered by a read that began after it.
    last_covered_call: tokio::sync::Mutex<u64>,
}

impl CatalogHandle {
    pub async fn open(db: &Db) -> Result<CatalogHandle, DbError> {
        let handle = CatalogHandle {
            current: Arc::default(),
            versions: Arc::default(),
            rewinds: Arc::default(),
            coalescer: Arc::default(),
        };
        handle.refresh(db).await?;
        Ok(handle)
    }

    /// Returns the newest catalog. Does not block.
    pub fn get(&self) -> Arc<Catalog> {
        self.current.load_full()
    }

    /// Returns the newest catalog for a short read, such as a comparison. Unlike [`CatalogHandle::get`], this does not
    /// write to memory that all threads share.
    pub fn load(&self) -> arc_swap::Guard<Arc<Catalog>> {
        self.current.load()
    }

    /// Returns a watch of the newest catalog's version.
    pub fn changes(&self) -> watch::Receiver<i64> {
        self.versions.subscribe()
    }

    /// Returns a watch of the last [`Rewind`]: data that was read from the database before it is invalid.
    pub fn rewinds(&self) -> watch::Receiver<Option<Rewind>> {
        self.rewinds.subscribe()
    }

    /// Reads the catalog again if `clock.catalog` changed, and installs it. Called after every publish, before the
    /// response: changes committed before the call are in the catalog after it. Concurrent calls share a read.
    pub async fn refresh(&self, db: &Db) -> Result<(), DbError> {
        let call = self.coalescer.call_count.fetch_add(1, Ordering::SeqCst) + 1;
        let mut last_covered_call = self.coalescer.last_covered_call.lock().await;
        if *last_covered_call >= call {
            return Ok(());
        }
        let last_call = self.coalescer.call_count.load(Ordering::SeqCst);
        let previous = self.get();
        if let Some(catalog) = db.read(move |c| read_newer(c, &previous)).await? {
            self.install(catalog);
        }
        *last_covered_call = last_call;
        Ok(())
    }

    /// Reads the whole catalog again. Changes are otherwise recognized by their numbers, which a database that lost changes,
    /// such as a standby that was promoted, has given to other changes.
    pub async fn refresh_all(&self, db: &Db) -> Result<(), DbError> {
        let _last_covered_call = self.coalescer.last_covered_call.lock().await;
        let previous = self.get();
        let catalog = db.read(move |c| {
            let clock = db::clock::get(c)?;
            read_after(c, &previous, &clock, ReadExtent::All)
        });
        self.install(catalog.await?);
        Ok(())
    }

    /// Refreshes the catalog after a publish. The publish is committed already, so a failed refresh is not an error: it
    /// is logged and repeated in the background until it succeeds or the database is closed.
    pub async fn refresh_after_publish(&self, db: &Db) {
        let Err(error) = self.refresh(db).await else { return };
        tracing::warn!(
            "could not read the catalog after a publish, which is not visible yet; trying again: {error}"
        );
        let (handle, db) = (self.clone(), db.clone());
        tokio::spawn(async move {
            let mut pause = FIRST_PAUSE;
            loop {
                tokio::time::sleep(pause).await;
                match handle.refresh(&db).await {
                    Ok(()) => return tracing::info!("read the catalog after a publish: it is visible now"),
                    Err(DbError::Closed) => return,
                    Err(error) => tracing::debug!("could not read the catalog after a publish: {error}"),
                }
                pause = (pause * 2).min(MAX_PAUSE);
            }
        });
    }

    /// Reads the catalog at the end of a write, in its transaction, for [`CatalogHandle::install`] after the commit.
    /// The write then does not wait for another connection. `None` if the catalog has not changed.
    pub fn read_in_write(&self, c: &mut dyn Conn) -> Result<Option<Catalog>, DbError> {
        read_newer(c, &self.get())
    }

    /// Returns the catalog that a transaction sees, if it has read nothing before.
    pub fn of_transaction(&self, c: &mut dyn Conn) -> Result<Arc<Catalog>, DbError> {
        // Only once: a publish between two calls would give a catalog that the transaction does not see.
        let known = self.get();
        Ok(read_newer(c, &known)?.map_or(known, Arc::new))
    }

    /// Installs `catalog`, unless the current one is newer; one that was read after a rewind always.
    pub fn install(&self, catalog: Catalog) {
        if let Some(rewind) = catalog.rewind.clone() {
            let version = catalog.version;
            self.current.store(Arc::new(catalog));
            self.versions.send_replace(version);
            self.rewinds.send_replace(Some(rewind));
            return;
        }
        let (version, catalog) = (catalog.version, Arc::new(catalog));
        let previous = self
            .current
            .rcu(|current| Arc::clone(if catalog.version >= current.version { &catalog } else { current }));
        if version >= previous.version {
            self.versions.send_replace(version);
        }
    }

    /// Refreshes the catalog whenever another server of the same database publishes, until the future is dropped. With
    /// SQLite there is no other server.
    ///
    /// SECURITY: a revocation of another server becomes known by this. So a failed read is repeated soon, and while the
    /// connection for notifications is lost, the database is read every second.
    pub async fn follow(&self, db: &Db) {
        let Some(link) = db.link() else { return };
        // The catalog was read after, or shortly before, the first connection.
        let (mut last_connection, mut is_failing) = (link.connection_count().max(1), false);
        loop {
            if is_failing || !link.is_connected() {
                // A timeout is no error.
                let _ = tokio::time::timeout(LOST_PAUSE, link.wait_for_catalog()).await;
            } else {
                link.wait_for_catalog().await;
            }
            let connection = link.connection_count().max(1);
            let result = match connection == last_connection {
                true => self.refresh(db).await,
                false => self.refresh_all(db).await,
            };
            if result.is_ok() {
                last_connection = connection;
            }
            if let Err(error) = &result
                && !is_failing
            {
                tracing::warn!("could not refresh the catalog after a publish of another server: {error}");
            }
            is_failing = result.is_err();
        }
    }
}

pub fn read(c: &mut dyn Conn) -> Result<Catalog, DbError> {
    Ok(read_newer(c, &Catalog::default())?.unwrap_or_default())
}

/// Reads the current catalog; `None` if `previous` is current.
fn read_newer(c: &mut dyn Conn, previous: &Catalog) -> Result<Option<Catalog>, DbError> {
    let clock = db::clock::get(c)?;
    let is_same_history = previous.clock_at.is_none() || previous.history_id == clock.history;
    if previous.clock_at == Some(clock.at) && previous.version == clock.catalog && is_same_history {
        return Ok(None);
    }
    read_after(c, previous, &clock, ReadExtent::Changes).map(Some)
}

/// Reads the current catalog. The steps and transactions of `previous` are not read again, so that the cost of an
/// `rspm add` does not grow with their number: a database that lost some is detected.
fn read_after(
    c: &mut dyn Conn,
    previous: &Catalog,
    clock: &ClockRow,
    extent: ReadExtent,
) -> Result<Catalog, DbError> {
    let empty_catalog = Catalog::default();
    let (previous, rewind) = match continuation(c, previous, clock)? {
        Continuation::Ordinary => (previous, None),
        Continuation::Repaired => (&empty_catalog, None),
        Continuation::Rewound => {
            let old_tx = previous.transactions.last().map_or(TxId(0), |(id, _)| *id);
            (&empty_catalog, Some(Rewind { old_tx, new_tx: clock.tx }))
        }
    };
    let known = match extent {
        ReadExtent::Changes => previous,
        ReadExtent::All => &empty_catalog,
    };
    let changes = match known.clock_at {
        Some(_) => db::clock::changes(c, known.version, clock.catalog)?,
        None => None,
    };
    let changes = changes.as_deref();
    let last_tx = known.transactions.last().map_or(TxId(i64::MIN), |(id, _)| *id);
    let mut transactions = known.transactions.clone();
    let new_transactions = db::tx::instants(c, last_tx)?;
    transactions.extend(new_transactions.iter().map(|tx| (tx.id, tx.at)));
    let instants = spaced::instants(&transactions);
    let (sources, deleted_sources) = sources(c, known, changes)?;
    let trees = trees(c, known, last_tx, changes)?;
    let (repos, has_withheld) = repos(c, known, changes)?;
    Ok(Catalog {
        version: clock.catalog,
        history_id: clock.history.clone(),
        rewind,
        clock_at: Some(clock.at),
        sources,
        deleted_sources,
        trees,
        has_withheld,
        repos,
        modified_overrides: spaced::modified_overrides(&instants),
        serial_overrides: spaced::serial_overrides(known, &new_transactions),
        transactions,
        bioconductor: bioconductor(c, previous, changes)?,
        fixed_urls: fixed_urls(c, known)?,
        rules: block_rules::read(c, previous.clock_at.map(|_| &previous.rules), extent)?,
        guards: name_guards::read(c, previous.clock_at.map(|_| &previous.guards), extent)?,
    })
}

/// What happened to the database since a catalog was read.
enum Continuation {
    /// Only publishes.
    Ordinary,
    /// A repair of the clock, which set earlier times of known transactions, steps and lists.
    Repaired,
    /// The loss of a transaction or a change that was committed before.
    Rewound,
}

fn continuation(c: &mut dyn Conn, previous: &Catalog, clock: &ClockRow) -> Result<Continuation, DbError> {
    let is_other_history = previous.clock_at.is_some() && previous.history_id != clock.history;
    if is_other_history || clock.catalog < previous.version {
        return Ok(Continuation::Rewound);
    }
    let is_earlier = previous.clock_at > Some(clock.at);
    let Some((last, known_at)) = previous.transactions.last() else {
        return Ok(if is_earlier { Continuation::Repaired } else { Continuation::Ordinary });
    };
    Ok(match db::tx::instant(c, *last)? {
        None => Continuation::Rewound,
        Some(at) if at > *known_at => Continuation::Rewound,
        // The clock may have passed its wrong time since the repair.
        Some(at) if at < *known_at || is_earlier => Continuation::Repaired,
        Some(_) => Continuation::Ordinary,
    })
}

type DeletedSources = Arc<Vec<(SourceId, SourceKind)>>;

/// Reads the sources that these changes name; all of them without changes.
fn sources(
    c: &mut dyn Conn,
    previous: &Catalog,
    changes: Option<&[Change]>,
) -> Result<(Shared<Source>, DeletedSources), DbError> {
    let source = |row: db::source::Source| {
        Some(Source { id: row.id, name: row.name.parse().ok()?, kind: row.kind, created_at: row.created_at })
    };
    let Some(changes) = changes else {
        let rows = db::source::list(c)?.into_iter().filter_map(source).collect();
        return Ok((rows, Arc::new(db::source::deleted(c)?)));
    };
    let changed = changed_sources(changes);
    if changed.is_empty() {
        return Ok((previous.sources.clone(), Arc::clone(&previous.deleted_sources)));
    }
    let ranges = ranges(changed.iter().map(|id| id.0));
    let mut rows: BTreeMap<SourceId, Option<Source>> = changed.into_iter().map(|id| (id, None)).collect();
    for (first, last) in ranges {
        let found = db::source::range(c, SourceId(first)..=SourceId(last))?;
        rows.extend(found.into_iter().map(|row| (row.id, source(row))));
    }
    Ok((previous.sources.with(rows), Arc::new(db::source::deleted(c)?)))
}

fn changed_sources(changes: &[Change]) -> BTreeSet<SourceId> {
    let source = |change: &Change| match change {
        Change::Source(source) => Some(*source),
        Change::Nothing | Change::Repo(_) | Change::Bioconductor => None,
    };
    changes.iter().filter_map(source).collect()
}

/// Returns the ranges of ids that follow each other.
fn ranges(ids: impl Iterator<Item = i64>) -> Vec<(i64, i64)> {
    merged_ranges(ids.map(|id| (id, id)).collect())
}

/// Reads the trees with new steps, and those of changed sources; all of them without changes.
fn trees(
    c: &mut dyn Conn,
    previous: &Catalog,
    last_tx: TxId,
    changes: Option<&[Change]>,
) -> Result<Shared<Tree>, DbError> {
    let steps = db::tree::steps_after(c, last_tx)?;
    let rows = match changes {
        None => db::tree::list(c)?,
        Some(changes) => changed_trees(c, changes, &steps)?,
    };
    let mut bases = Vec::new();
    for (first, last) in ranges(rows.iter().map(|row| row.id.0)) {
        bases.extend(db::curation::bases(c, TreeId(first)..=TreeId(last))?);
    }
    let (mut steps, mut bases) = (steps.into_iter().peekable(), bases.into_iter().peekable());
    let mut trees = Vec::with_capacity(rows.len());
    for row in rows {
        let bases = std::iter::from_fn(|| bases.next_if(|(tree, ..)| *tree == row.id)).collect();
        let steps = std::iter::from_fn(|| steps.next_if(|(tree, _)| *tree == row.id)).collect();
        trees.push(tree(c, previous, row, steps, bases)?);
    }
    Ok(match changes {
        None => trees.into_iter().collect(),
        Some(_) => previous.trees.with(trees.into_iter().map(|tree| (tree.id, Some(tree)))),
    })
}

/// Reads the rows of the trees of changed sources, and of those with new steps, by id.
fn changed_trees(
    c: &mut dyn Conn,
    changes: &[Change],
    steps: &[(TreeId, Step)],
) -> Result<Vec<db::tree::Tree>, DbError> {
    let mut rows = BTreeMap::new();
    for (first, last) in ranges(changed_sources(changes).into_iter().map(|id| id.0)) {
        let found = db::tree::of_sources(c, SourceId(first)..=SourceId(last))?;
        rows.extend(found.into_iter().map(|row| (row.id, row)));
    }
    for (tree, _) in steps {
        if let Entry::Vacant(entry) = rows.entry(*tree)
            && let Some(row) = db::tree::get(c, *tree)?
        {
            entry.insert(row);
        }
    }
    Ok(rows.into_values().collect())
}

/// Returns the tree of a row, with its steps after the last transaction of the previous catalog, and its bases.
fn tree(
    c: &mut dyn Conn,
    previous: &Catalog,
    row: db::tree::Tree,
    new_steps: Vec<(TreeId, Step)>,
    bases: Vec<(TreeId, Seq, Base)>,
) -> Result<Tree, DbError> {
    let mut steps = previous.tree(row.id).map(|tree| tree.steps.clone()).unwrap_or_default();
    steps.extend(new_steps.into_iter().map(|(_, step)| step));
    // A back-fill publishes steps below the known ones.
    steps.sort_unstable_by_key(|step| step.seq);
    let time_head = match row.axis {
        db::tree::Axis::Time => row.head.map(|head| Timestamp(head.0)),
        db::tree::Axis::Step => None,
    };
    if row.axis == db::tree::Axis::Step && !spans(&steps, row.first, row.head) {
        steps = db::tree::steps(c, row.id)?;
    }
    let bases = bases.into_iter().map(|(_, seq, base)| (seq, base)).collect();
    Ok(Tree { id: row.id, source: row.source, label: row.label, role: row.role, steps, time_head, bases })
}

/// Returns whether `steps` begin with the tree's first step and end with its head; else history was rewritten.
fn spans(steps: &[Step], first: Option<Seq>, head: Option<Seq>) -> bool {
    steps.first().map(|step| step.seq) == first && steps.last().map(|step| step.seq) == head
}

/// Reads the configuration of Bioconductor that was declared last; `None` if this program cannot parse it.
fn bioconductor(
    c: &mut dyn Conn,
    previous: &Catalog,
    changes: Option<&[Change]>,
) -> Result<Option<Arc<Config>>, DbError> {
    if changes.is_some_and(|changes| !changes.contains(&Change::Bioconductor)) {
        return Ok(previous.bioconductor.clone());
    }
    let Some(text) = db::upstream::bioconductor_config(c)? else { return Ok(None) };
    let config = Config::parse(text.as_bytes()).ok();
    let known_config = previous.bioconductor.clone().filter(|previous| Some(&**previous) == config.as_ref());
    Ok(known_config.or_else(|| config.map(Arc::new)))
}

/// Reads the fixed URLs if one was created since the previous catalog.
fn fixed_urls(c: &mut dyn Conn, previous: &Catalog) -> Result<Arc<FixedUrls>, DbError> {
    let revision = db::fixed_url::revision(c)?;
    if previous.clock_at.is_some() && previous.fixed_urls.revision == revision {
        return Ok(Arc::clone(&previous.fixed_urls));
    }
    Ok(Arc::new(FixedUrls { revision, states: db::fixed_url::list(c)?.into_iter().collect() }))
}

/// Reads the repositories that these changes name; all of them without changes. Returns also whether rules withheld versions
/// at a promotion of any.
fn repos(
    c: &mut dyn Conn,
    previous: &Catalog,
    changes: Option<&[Change]>,
) -> Result<(Shared<Repository>, bool), DbError> {
    let Some(changes) = changes else {
        let repos = read_repos(c, &Catalog::default(), db::repo::ALL)?.into_iter();
        let repos: Shared<Repository> = repos.filter_map(|(_, repo)| repo).collect();
        let has_withheld = repos.iter().any(Repository::has_withheld);
        return Ok((repos, has_withheld));
    };
    let changed = changes.iter().filter_map(|change| match change {
        Change::Repo(repo) => Some(*repo),
        Change::Nothing | Change::Source(_) | Change::Bioconductor => None,
    });
    let mut repos: BTreeMap<RepoId, Option<Repository>> = changed.map(|repo| (repo, None)).collect();
    for (first, last) in ranges(repos.keys().map(|id| id.0)) {
        repos.extend(read_repos(c, previous, RepoId(first)..=RepoId(last))?);
    }
    let may_have_withheld = previous.has_withheld || repos.values().flatten().any(Repository::has_withheld);
    let repos = previous.repos.with(repos);
    let has_withheld = may_have_withheld && repos.iter().any(Repository::has_withheld);
    Ok((repos, has_withheld))
}

/// Reads the repositories with these ids, by id; `None` for one that this program cannot read. If the range is one id, its
/// lists that `previous` has are not read again.
fn read_repos(
    c: &mut dyn Conn,
    previous: &Catalog,
    ids: RangeInclusive<RepoId>,
) -> Result<Vec<(RepoId, Option<Repository>)>, DbError> {
    // A list never changes, except in a repair of the clock, after which everything is read.
    let known = previous.repo_by_id(*ids.start()).filter(|_| ids.start() == ids.end());
    let known = known.map(|repo| repo.steps.as_slice()).unwrap_or_default();
    let last = known.last().map_or(Seq(0), |step| step.seq);
    let mut steps = db::repo::steps(c, ids.clone(), last)?.into_iter().peekable();
    let rows = db::repo::list(c, ids)?.into_iter();
    let repos = rows.map(|row| {
        while steps.next_if(|step| step.repo < row.id).is_some() {}
        let new = std::iter::from_fn(|| steps.next_if(|step| step.repo == row.id)).map(repo_step);
        let steps = known.iter().cloned().chain(new).collect();
        (row.id, repo(row, steps))
    });
    Ok(repos.collect())
}

fn repo_step(step: db::repo::RepoStep) -> RepoStep {
    let db::repo::RepoStep { seq, at, tx, pinned_at, has_withheld, subscriptions, .. } = step;
    let subscription = |entry: db::repo::Subscription| Subscription {
        source: entry.source,
        version: entry.label.parse().ok(),
    };
    let list = subscriptions.into_iter().map(subscription).collect();
    RepoStep { seq: Seq(seq), at, tx, list, pinned_at, has_withheld }
}

fn repo(row: db::repo::Repo, steps: Vec<RepoStep>) -> Option<Repository> {
    Some(Repository {
        id: row.id,
        name: row.name.parse().ok()?,
        kind: row.kind,
        description: row.description,
        hidden: row.hidden,
        authenticated: row.authenticated,
        created_at: row.created_at,
        changes: row.changes,
        steps,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_catalog_never_replaces_a_newer_one() {
        let handle = CatalogHandle {
            current: Arc::default(),
            versions: Arc::default(),
            rewinds: Arc::default(),
            coalescer: Arc::default(),
        };
        let changes = handle.changes();
        for (version, expected) in [(1, 1), (3, 3), (2, 3), (4, 4)] {
            handle.install(Catalog { version, ..Catalog::default() });
            assert_eq!((handle.get().version, *changes.borrow()), (expected, expected), "after {version}");
        }
        let rewind = Some(Rewind { old_tx: TxId(9), new_tx: TxId(8) });
        handle.install(Catalog { version: 2, rewind: rewind.clone(), ..Catalog::default() });
        assert_eq!((handle.get().version, *changes.borrow()), (2, 2), "the database was reset");
        assert_eq!(*handle.rewinds().borrow(), rewind);
    }
}
