//! The projects of an index, each with its serial and its last reading. Times are microseconds since the epoch,
//! like the sequence numbers of the tree: a row is valid for the sequence numbers `from_at ≤ s < to_at`.

use super::ids::{self, Sequence};
use super::name_guard::{self, GuardState, NameGuardRow};
use super::{Conn, DbError, Value, clock, name_overlap};
use crate::db::engine::columns::{row, select};
use base::model::digest::Sha256;
use base::model::ids::{PackageId, Seq, SourceId, TreeId};
use base::model::kind::{SourceKind, Supply};
use base::model::time::Timestamp;

/// A project that the index lists or listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// The first instant at which the index listed it; 0 if it was before the first sync.
    pub from_at: i64,
    /// The first instant after that at which the index did not list it; [`Seq::OPEN`] if the index lists it now.
    pub to_at: i64,
    /// The serial of its last change; `None` for an index without serials.
    pub serial: Option<i64>,
}

row! {
    /// The last reading of the page of a project.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct PageState from "reading" {
        /// The serial of the page; `None` if it has none.
        pub serial: Option<i64>,
        /// `ETag` of the page.
        pub etag: Option<String>,
        pub page: Sha256 = "page_sha256",
        /// Time at which it was read.
        pub fetched_at: Timestamp,
        /// The instant up to which the page describes the project; the list can extend it ([`KnownProject::valid_at`]).
        pub valid_at: i64,
        /// The status of the project, such as `active` or `quarantined`.
        pub status: String,
        pub reason: Option<String>,
    }
}

/// The stored facts about a project: its newest row, and the last reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownProject {
    pub project: Project,
    /// The project, if it has a row in `package`.
    pub package: Option<PackageId>,
    pub reading: Option<PageState>,
    /// The head of the tree: the instant up to which the list of projects is known.
    pub head: i64,
}

impl KnownProject {
    /// Returns the instant up to which the last reading describes the project; `None` without one. If the list of
    /// projects states the serial of the reading, nothing has changed up to the head.
    pub fn valid_at(&self) -> Option<i64> {
        let reading = self.reading.as_ref()?;
        let is_current =
            reading.serial.zip(self.project.serial).is_some_and(|(reading, listed)| reading >= listed);
        Some(if is_current {
            reading.valid_at.max(self.head.min(self.project.to_at))
        } else {
            reading.valid_at
        })
    }
}

pub fn is_listed(
    c: &mut dyn Conn,
    source: SourceId,
    normalized_name: &str,
    seq: Seq,
) -> Result<bool, DbError> {
    const FIND: &str = "SELECT 1 FROM project WHERE source_id = $1 AND normalized_name = $2 AND from_at <= $3 AND to_at > $3";
    c.finds(FIND, &[source.into(), normalized_name.into(), seq.into()])
}

row! {
    /// A project that a source lists at a sequence number.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ListedProject from "project" {
        pub normalized_name: String,
        /// The name as its owner writes it, if it differs.
        pub name: Option<String>,
        /// The head of the list of projects at the last change of the project's serial, which may be later than the
        /// sequence number; `None` for an index without serials.
        pub changed_at: Option<i64> = "CASE WHEN serial IS NULL THEN NULL ELSE changed_at END",
    }
}

/// Calls `each` for every project that a source lists at a sequence number, in the order of the names.
pub fn each_at(
    c: &mut dyn Conn,
    source: SourceId,
    seq: Seq,
    each: &mut dyn FnMut(ListedProject),
) -> Result<(), DbError> {
    const LIST: &str = select!(
        ListedProject,
        "WHERE source_id = $1 AND from_at <= $2 AND to_at > $2 ORDER BY normalized_name"
    );
    c.each(LIST, &[source.into(), seq.into()], &mut |row| {
        each(row.decode()?);
        Ok(())
    })
}

/// Returns the head of the list of projects at the last change of a project's serial, see
/// [`ListedProject::changed_at`]; `None` also for a project that the source does not list at the sequence number.
pub fn changed_at(
    c: &mut dyn Conn,
    source: SourceId,
    normalized_name: &str,
    seq: Seq,
) -> Result<Option<i64>, DbError> {
    const FIND: &str = "SELECT changed_at FROM project WHERE source_id = $1 AND normalized_name = $2 AND from_at <= $3 \
        AND to_at > $3 AND serial IS NOT NULL";
    c.first(FIND, &[source.into(), normalized_name.into(), seq.into()])
}

/// Returns the names of projects as their owners write them, in the order of `projects`; `None` for a project whose name is
/// the normalized one, and for one that the source does not list at the sequence number.
pub fn display_names(
    c: &mut dyn Conn,
    source: SourceId,
    projects: &[&str],
    seq: Seq,
) -> Result<Vec<Option<String>>, DbError> {
    const FIND: &str = "SELECT name FROM project WHERE source_id = $1 AND normalized_name = $2 AND from_at <= $3 AND to_at > $3";
    let params: Vec<Vec<Value>> =
        projects.iter().map(|project| vec![source.into(), (*project).into(), seq.into()]).collect();
    let results = c.many::<Option<String>>(FIND, &params)?.into_iter();
    Ok(results.map(|rows| rows.into_iter().next().flatten()).collect())
}

/// Returns the end of the newest state of the list of projects that did not contain a project, before the source listed it
/// for the first time; `None` if the first sync found it, or if the source never listed it.
pub fn unlisted_until(
    c: &mut dyn Conn,
    source: SourceId,
    package: PackageId,
) -> Result<Option<i64>, DbError> {
    const FIND: &str = "SELECT min(r.from_at) FROM package p JOIN project r ON r.source_id = $1 AND r.normalized_name = p.name \
        WHERE p.id = $2";
    let first = c.first::<Option<i64>>(FIND, &[source.into(), package.into()])?.flatten();
    Ok(first.filter(|from| *from > 0))
}

/// Returns the newest sequence number up to `seq` at which the list of projects of a source changed; the list is the
/// same from then on, up to `seq`. Returns 0 if there was no change since the first sync.
pub fn last_list_change(c: &mut dyn Conn, source: SourceId, seq: Seq) -> Result<Seq, DbError> {
    const FIND: &str = "SELECT max(CASE WHEN to_at <= $1 THEN to_at ELSE from_at END) FROM project \
        WHERE source_id = $2 AND from_at <= $1";
    Ok(c.first(FIND, &[seq.into(), source.into()])?.flatten().unwrap_or(Seq(0)))
}

/// Returns the stored facts about a project of a source with one tree; `None` if the index never listed it.
pub fn known(
    c: &mut dyn Conn,
    source: SourceId,
    normalized_name: &str,
) -> Result<Option<KnownProject>, DbError> {
    const FIND: &str = "SELECT r.from_at, r.to_at, r.serial, p.id, coalesce(t.head, 0) FROM project r \
        JOIN source s ON s.id = r.source_id JOIN tree t ON t.source_id = s.id AND t.axis = 'time' \
        LEFT JOIN package p ON p.language = s.language AND p.name = r.normalized_name \
        WHERE r.source_id = $1 AND r.normalized_name = $2 ORDER BY r.from_at DESC LIMIT 1";
    let found = c.first(FIND, &[source.into(), normalized_name.into()])?;
    let Some((from_at, to_at, serial, package, head)) = found else { return Ok(None) };
    let project = Project { from_at, to_at, serial };
    let reading = match package {
        Some(package) => last_reading(c, source, package)?,
        None => None,
    };
    Ok(Some(KnownProject { project, package, reading, head }))
}

/// Adds a project that the index has but does not list; it counts as listed from the newest requestable instant on.
/// `head` is the head of the tree. Does nothing if the project is listed. Returns the guards in force of the name if the
/// index was not known to have it: they, or some of them, may hide the project from now on. Then the catalog was changed.
///
/// # Errors
/// [`IndexReset`] as a refusal.
pub fn add_unlisted(
    c: &mut dyn Conn,
    source: SourceId,
    normalized_name: &str,
    head: i64,
) -> Result<Option<Vec<NameGuardRow>>, DbError> {
    const ADD: &str = "INSERT INTO project (source_id, normalized_name, from_at, to_at, changed_at) \
        VALUES ($1, $2, $3, $4, $5) ON CONFLICT (source_id, normalized_name, from_at) DO NOTHING";
    // The newest instant that a client can request.
    let from = Seq((head - 1).max(0));
    if is_listed(c, source, normalized_name, from)? {
        return Ok(None);
    }
    c.execute(ADD, &[source.into(), normalized_name.into(), from.into(), Seq::OPEN.into(), head.into()])?;
    check_not_reset(c, source, head)?;
    let changes = name_guard::changes(c)?;
    name_overlap::record_project(c, source, normalized_name, Timestamp(head))?;
    if name_guard::changes(c)? == changes {
        return Ok(None);
    }
    clock::bump_catalog(c, clock::Change::Nothing)?;
    let mut guards = name_guard::of_project(c, source, normalized_name)?;
    guards.retain(|guard| guard.state == GuardState::InForce);
    Ok(Some(guards))
}

/// Locks the rows of a project until the end of the transaction, against concurrent readings of two servers.
pub fn lock(c: &mut dyn Conn, source: SourceId, normalized_name: &str) -> Result<(), DbError> {
    const LOCK: &str =
        "UPDATE project SET changed_at = changed_at WHERE source_id = $1 AND normalized_name = $2";
    c.execute(LOCK, &[source.into(), normalized_name.into()]).map(drop)
}

/// A repair of the clock reset the state of an index during a transaction that wrote times up to the earlier one.
#[derive(Debug, thiserror::Error)]
#[error("a repair of the clock reset the state of the index")]
pub struct IndexReset;

/// Locks the numbers of packages, releases and files in the order in which imports take them: readings of several projects in
/// one transaction would each take those that they need.
pub fn lock_sequences(c: &mut dyn Conn) -> Result<(), DbError> {
    [Sequence::Package, Sequence::Release, Sequence::File]
        .into_iter()
        .try_for_each(|sequence| ids::reserve(c, sequence, 0).map(drop))
}

/// Checks that no repair of the clock has reset the index since `head` was read. Call it last in a transaction that wrote
/// times up to `head`: until the end of the transaction, no repair can begin.
///
/// # Errors
/// [`IndexReset`] as a refusal.
pub fn check_not_reset(c: &mut dyn Conn, source: SourceId, head: i64) -> Result<(), DbError> {
    const EARLIER: &str = "SELECT 1 FROM tree WHERE source_id = $1 AND axis = 'time' AND head < $2";
    clock::lock(c)?;
    let is_reset = !c.query(EARLIER, &[source.into(), head.into()])?.is_empty();
    if is_reset { Err(DbError::refuse(IndexReset)) } else { Ok(()) }
}

pub fn last_reading(
    c: &mut dyn Conn,
    source: SourceId,
    package: PackageId,
) -> Result<Option<PageState>, DbError> {
    const FIND: &str = select!(PageState, "WHERE source_id = $1 AND package_id = $2");
    c.first(FIND, &[source.into(), package.into()])
}

/// Writes a reading. Returns false, and writes nothing, if a later one is stored.
pub fn put_reading(
    c: &mut dyn Conn,
    source: SourceId,
    package: PackageId,
    reading: &PageState,
) -> Result<bool, DbError> {
    const PUT: &str = "INSERT INTO reading (source_id, package_id, serial, etag, page_sha256, fetched_at, valid_at, \
        status, reason) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (source_id, package_id) \
        DO UPDATE SET serial = excluded.serial, etag = excluded.etag, page_sha256 = excluded.page_sha256, \
        fetched_at = excluded.fetched_at, valid_at = excluded.valid_at, status = excluded.status, \
        reason = excluded.reason WHERE reading.fetched_at < excluded.fetched_at";
    let params = [
        source.into(),
        package.into(),
        reading.serial.into(),
        Value::opt_text(reading.etag.as_deref()),
        reading.page.to_string().into(),
        reading.fetched_at.into(),
        reading.valid_at.into(),
        reading.status.as_str().into(),
        Value::opt_text(reading.reason.as_deref()),
    ];
    Ok(c.execute(PUT, &params)? > 0)
}

/// Calls `each` with name, beginning and serial of every project that a source lists, in the order of names.
pub fn each_listed(
    c: &mut dyn Conn,
    source: SourceId,
    each: &mut dyn FnMut(String, i64, Option<i64>),
) -> Result<(), DbError> {
    const LIST: &str = "SELECT normalized_name, from_at, serial FROM project WHERE source_id = $1 AND to_at = $2 ORDER BY normalized_name";
    c.each(LIST, &[source.into(), Seq::OPEN.into()], &mut |row| {
        let (name, from, serial) = row.decode()?;
        each(name, from, serial);
        Ok(())
    })
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListChange {
    /// A project that the source did not list.
    Added {
        normalized_name: String,
        /// The name as its owner writes it, if it differs.
        name: Option<String>,
        serial: Option<i64>,
    },
    /// A listed project with a new serial.
    Changed {
        normalized_name: String,
        /// The beginning of its row.
        from_at: i64,
        serial: Option<i64>,
    },
    /// A project that the index no longer lists.
    Removed {
        normalized_name: String,
        /// The beginning of its row.
        from_at: i64,
    },
}

/// The instants of a sync of the list of projects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListInstants {
    /// The head before the sync; 0 before the first one.
    pub old_head: i64,
    pub head: i64,
}

/// Writes changes of the list of projects; at most 2,000 in one call. Each is invisible until [`publish_head`]. From
/// then on, the reading of a changed project is valid up to the head before the sync, and the reading of a removed
/// project up to its removal, because the results for earlier times were final.
pub fn apply(
    c: &mut dyn Conn,
    source: SourceId,
    instants: ListInstants,
    changes: &[ListChange],
) -> Result<(), DbError> {
    const LIMIT: &str = "UPDATE reading SET valid_at = $1 WHERE source_id = $2 AND valid_at < $1 \
        AND package_id = (SELECT p.id FROM package p JOIN source s ON s.language = p.language AND s.id = $2 \
        WHERE p.name = $3) AND serial >= (SELECT r.serial FROM project r WHERE r.source_id = $2 \
        AND r.normalized_name = $3 AND r.from_at = $4)";
    // Serials of one index never decrease: a lower serial is of another index, so the page must be read again.
    const RESET: &str = "UPDATE reading SET serial = NULL, etag = NULL WHERE source_id = $1 \
        AND package_id = (SELECT p.id FROM package p JOIN source s ON s.language = p.language AND s.id = $1 \
        WHERE p.name = $2) AND EXISTS (SELECT 1 FROM project r WHERE r.source_id = $1 AND r.normalized_name = $2 \
        AND r.from_at = $3 AND r.serial > $4)";
    const CHANGE: &str = "UPDATE project SET serial = $1, changed_at = $2 WHERE source_id = $3 \
        AND normalized_name = $4 AND from_at = $5";
    const REMOVE: &str =
        "UPDATE project SET to_at = $1 WHERE source_id = $2 AND normalized_name = $3 AND from_at = $4";
    const COLUMNS: [&str; 7] =
        ["source_id", "normalized_name", "from_at", "to_at", "name", "serial", "changed_at"];
    let ListInstants { old_head, head } = instants;
    let (mut limits, mut resets) = (Vec::new(), Vec::new());
    let (mut changed, mut removed, mut added) = (Vec::new(), Vec::new(), Vec::new());
    for change in changes {
        match change {
            ListChange::Added { normalized_name, name, serial } => added.push(vec![
                source.into(),
                normalized_name.as_str().into(),
                old_head.into(),
                Seq::OPEN.into(),
                Value::opt_text(name.as_deref()),
                (*serial).into(),
                head.into(),
            ]),
            ListChange::Changed { normalized_name, from_at, serial } => {
                limits.push(vec![
                    old_head.into(),
                    source.into(),
                    normalized_name.as_str().into(),
                    (*from_at).into(),
                ]);
                resets.push(vec![
                    source.into(),
                    normalized_name.as_str().into(),
                    (*from_at).into(),
                    (*serial).into(),
                ]);
                changed.push(vec![
                    (*serial).into(),
                    head.into(),
                    source.into(),
                    normalized_name.as_str().into(),
                    (*from_at).into(),
                ]);
            }
            ListChange::Removed { normalized_name, from_at } => {
                // The newest point, which is one microsecond before the head, must not list the project.
                let end = (head - 1).max(*from_at);
                limits.push(vec![
                    end.into(),
                    source.into(),
                    normalized_name.as_str().into(),
                    (*from_at).into(),
                ]);
                removed.push(vec![
                    end.into(),
                    source.into(),
                    normalized_name.as_str().into(),
                    (*from_at).into(),
                ]);
            }
        }
    }
    c.execute_many(LIMIT, &limits)?;
    c.execute_many(RESET, &resets)?;
    c.execute_many(CHANGE, &changed)?;
    c.execute_many(REMOVE, &removed)?;
    c.batch_insert("project", &COLUMNS, &added)
}

/// Undoes the removals of projects by an interrupted sync, which were not published; otherwise the rows of these
/// projects would overlap rows that a later sync inserts. `head` is the head of the tree, 0 before the first sync.
pub fn reopen(c: &mut dyn Conn, source: SourceId, head: i64) -> Result<(), DbError> {
    const REOPEN: &str = "UPDATE project SET to_at = $1 WHERE source_id = $2 AND to_at >= $3 AND to_at < $1";
    c.execute(REOPEN, &[Seq::OPEN.into(), source.into(), head.into()]).map(drop)
}

/// Removes the serials of all readings, so that their pages are read again: another index, or a restored copy, assigns
/// different serials. `head` is the head of the tree, up to which the readings of unchanged projects remain valid.
pub fn remove_serials(c: &mut dyn Conn, source: SourceId, head: i64) -> Result<(), DbError> {
    const FORGET: &str = "UPDATE reading SET serial = NULL, etag = NULL, valid_at = CASE WHEN valid_at < $1 \
        AND serial >= (SELECT r.serial FROM package p JOIN source s ON s.language = p.language AND s.id = $2 \
        JOIN project r ON r.source_id = s.id AND r.normalized_name = p.name AND r.to_at = $3 \
        WHERE p.id = reading.package_id) THEN $1 ELSE valid_at END WHERE source_id = $2";
    c.execute(FORGET, &[head.into(), source.into(), Seq::OPEN.into()]).map(drop)
}

/// Moves the head of a tree whose sequence numbers are times; an older `head` has no effect.
pub fn publish_head(c: &mut dyn Conn, tree: TreeId, head: i64) -> Result<(), DbError> {
    const MOVE: &str =
        "UPDATE tree SET head = $1 WHERE id = $2 AND axis = 'time' AND (head IS NULL OR head < $1)";
    c.execute(MOVE, &[head.into(), tree.into()]).map(drop)
}

/// Returns the names of projects that changed after their last reading: the index states another serial, or stopped
/// listing them at `removed_at` or later, unless they are known to be quarantined. At most `limit` names, those with
/// the newest readings first.
pub fn outdated_readings(
    c: &mut dyn Conn,
    source: SourceId,
    removed_at: i64,
    limit: i64,
) -> Result<Vec<String>, DbError> {
    const LIST: &str = "SELECT j.normalized_name FROM reading r JOIN package p ON p.id = r.package_id \
        JOIN project j ON j.source_id = r.source_id AND j.normalized_name = p.name \
        WHERE r.source_id = $1 AND (j.to_at = $2 AND (j.serial > r.serial OR j.serial IS NOT NULL AND r.serial IS NULL) \
        OR j.to_at >= $3 AND j.to_at < $2 AND r.status <> 'quarantined' AND NOT EXISTS (SELECT 1 FROM project n \
        WHERE n.source_id = j.source_id AND n.normalized_name = j.normalized_name AND n.from_at > j.from_at)) \
        ORDER BY r.fetched_at DESC, j.normalized_name LIMIT $4";
    c.all(LIST, &[source.into(), Seq::OPEN.into(), removed_at.into(), limit.into()])
}

/// Returns at most `limit` listed projects with a serial whose page was last read before `before`, the oldest first.
pub fn old_readings(
    c: &mut dyn Conn,
    source: SourceId,
    before: Timestamp,
    limit: i64,
) -> Result<Vec<String>, DbError> {
    const LIST: &str = "SELECT j.normalized_name FROM reading r JOIN package p ON p.id = r.package_id \
        JOIN project j ON j.source_id = r.source_id AND j.normalized_name = p.name AND j.serial IS NOT NULL \
        WHERE r.source_id = $1 AND j.to_at = $2 AND r.fetched_at < $3 ORDER BY r.fetched_at, j.normalized_name LIMIT $4";
    c.all(LIST, &[source.into(), Seq::OPEN.into(), before.into(), limit.into()])
}

row! {
    /// Numbers about a source of an index.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct IndexCounts from "project" {
        pub projects: i64 = "count(*)",
        pub readings: i64 = "(SELECT count(*) FROM reading WHERE source_id = $1)",
        pub serial: Option<i64> = "max(serial)",
    }
}

pub fn counts(c: &mut dyn Conn, source: SourceId) -> Result<IndexCounts, DbError> {
    const COUNT: &str = select!(IndexCounts, "WHERE source_id = $1 AND to_at = $2");
    Ok(c.first(COUNT, &[source.into(), Seq::OPEN.into()])?.unwrap_or_default())
}

/// Returns the names of packages of local and git sources that an index listed first, or again, at `from_at`.
pub fn namesakes(c: &mut dyn Conn, source: SourceId, from_at: i64) -> Result<Vec<String>, DbError> {
    const FIND: &str = "SELECT p.name FROM package p WHERE p.language = $1 AND EXISTS (SELECT 1 FROM release r \
        JOIN source s ON s.id = r.origin_id WHERE r.package_id = p.id AND s.deleted_at IS NULL \
        AND s.kind IN ($2, $3)) AND EXISTS (SELECT 1 FROM project j WHERE j.source_id = $4 \
        AND j.normalized_name = p.name AND j.from_at = $5 AND j.to_at = $6) ORDER BY p.name";
    let Some(language) = SourceKind::of_built_in(source).map(SourceKind::language) else {
        return Ok(Vec::new());
    };
    let own_kind = |supply| SourceKind::find(language, supply).map(SourceKind::as_str).into();
    let params: [Value; 6] = [
        language.as_str().into(),
        own_kind(Supply::Uploads),
        own_kind(Supply::Builds),
        source.into(),
        from_at.into(),
        Seq::OPEN.into(),
    ];
    c.all(FIND, &params)
}
