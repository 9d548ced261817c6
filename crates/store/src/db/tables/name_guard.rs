//! Guarded names. Every change is counted; the transaction that makes it must also change the catalog, by a publish or
//! by `clock::bump_catalog`, so that all servers apply it at once. A publish adds the automatic guards of new names of
//! local and git sources. `name_overlap` records guarded names that a mirror lists.

use std::collections::BTreeSet;
use std::time::Duration;

use super::ids::{self, Sequence};
use super::source::is_mirror;
use super::{Conn, DbError, Value};
use crate::db::engine::columns::{insert, numbers, row, select};
use base::model::ids::SourceId;
use base::model::kind::{Language, Layout, SourceKind};
use base::model::time::Timestamp;

numbers! {
    pub enum GuardState: "the state of a name guard" {
        InForce = 0,
        /// An automatic guard without effect: another source listed the name before.
        ListedBefore = 1,
        /// An automatic guard that an administrator ended. The row prevents a new automatic guard for the name.
        Ended = 2,
    }
}

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct NameGuardRow from "name_guard" {
        /// Its id; 0 before it is inserted.
        pub id: i64,
        /// As in `package.language`.
        pub language: String,
        /// A name, or a prefix followed by `*`.
        pub pattern: String,
        /// The source that provides the names; it may have been deleted.
        pub source: SourceId = "source_id",
        /// Whether it was created by the first upload of the name.
        pub automatic: bool,
        pub state: GuardState,
        pub description: String,
        pub created_by: String,
        pub created_at: Timestamp,
    }
}

row! {
    /// A guarded name that another source lists.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Overlap from "name_overlap" {
        /// As in `package.language`.
        pub language: String,
        pub name: String,
        pub source: SourceId = "source_id",
        /// Time at which the source was first known to list it.
        pub seen_at: Timestamp,
        /// Whether the source began to list it after the guard was created.
        pub has_appeared: bool = "appeared",
    }
}

/// Returns all guards, by id.
pub fn list(c: &mut dyn Conn) -> Result<Vec<NameGuardRow>, DbError> {
    list_after(c, i64::MIN)
}

/// Returns the guards with an id above `id`, by id.
pub fn list_after(c: &mut dyn Conn, id: i64) -> Result<Vec<NameGuardRow>, DbError> {
    const LIST: &str = select!(NameGuardRow, "WHERE id > $1 ORDER BY id");
    c.all(LIST, &[id.into()])
}

/// Returns the guards that match a name, by id. A Python name must be in normal form.
pub fn of_name(c: &mut dyn Conn, language: &str, name: &str) -> Result<Vec<NameGuardRow>, DbError> {
    const FIND: &str = select!(NameGuardRow, "WHERE language = $1 AND pattern = $2");
    let ends = name.char_indices().map(|(start, letter)| start + letter.len_utf8());
    let prefixes = ends.map(|end| format!("{}*", &name[..end]));
    let patterns = std::iter::once(name.to_owned()).chain(prefixes);
    let params: Vec<Vec<Value>> = patterns.map(|pattern| vec![language.into(), pattern.into()]).collect();
    let mut guards: Vec<NameGuardRow> = c.many(FIND, &params)?.into_iter().flatten().collect();
    guards.sort_unstable_by_key(|guard| guard.id);
    Ok(guards)
}

/// Returns the guards that match the name of a project of an index, by id.
pub(in crate::db) fn of_project(
    c: &mut dyn Conn,
    index: SourceId,
    name: &str,
) -> Result<Vec<NameGuardRow>, DbError> {
    match SourceKind::of_built_in(index) {
        Some(kind) => of_name(c, kind.language().as_str(), name),
        None => Ok(Vec::new()),
    }
}

/// Returns the guarded names that other sources list, by time and name.
pub fn overlaps(c: &mut dyn Conn) -> Result<Vec<Overlap>, DbError> {
    const LIST: &str = select!(Overlap, "ORDER BY seen_at, language, name, source_id");
    c.all(LIST, &[])
}

/// Returns the overlaps of the names of guards with an id above `id`.
pub fn overlaps_of_guards_after(c: &mut dyn Conn, id: i64) -> Result<Vec<Overlap>, DbError> {
    const LIST: &str = "SELECT o.language, o.name, o.source_id, o.seen_at, o.appeared FROM name_guard g \
        JOIN name_overlap o ON o.language = g.language AND o.name = g.pattern WHERE g.id > $1";
    c.all(LIST, &[id.into()])
}

/// Returns the guarded names that a sync found in another source after an instant, by time and name. Names whose guard
/// was deleted or ended are left out.
pub fn alarms(c: &mut dyn Conn, after: Timestamp) -> Result<Vec<Overlap>, DbError> {
    let mut found = overlaps(c)?;
    found.retain(|overlap| overlap.has_appeared && overlap.seen_at > after);
    if found.is_empty() {
        return Ok(found);
    }
    let mut guards = list(c)?;
    guards.retain(|guard| guard.state == GuardState::InForce);
    found.retain(|overlap| {
        let is_match = |guard: &NameGuardRow| {
            let (first, end) = range(&guard.pattern);
            guard.language == overlap.language && (first..end).contains(&overlap.name)
        };
        guards.iter().any(is_match)
    });
    Ok(found)
}

/// Numbers of changes so far, of the tables of guards and of overlaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuardChanges {
    pub all: i64,
    /// Those that only added automatic guards.
    pub additions: i64,
}

impl GuardChanges {
    /// Returns whether all changes between these numbers and later ones only added automatic guards.
    pub fn are_additions_until(self, later: GuardChanges) -> bool {
        later.all - self.all == later.additions - self.additions
    }
}

pub fn changes(c: &mut dyn Conn) -> Result<GuardChanges, DbError> {
    const FIND: &str = "SELECT a.next, b.next FROM sequence a, sequence b WHERE a.name = 'name_guard_change' \
        AND b.name = 'name_guard_addition'";
    Ok(c.first(FIND, &[])?.map(|(all, additions)| GuardChanges { all, additions }).unwrap_or_default())
}

/// Inserts guards, with the next ids in their order; returns the first id.
pub fn insert(c: &mut dyn Conn, guards: &[NameGuardRow]) -> Result<i64, DbError> {
    count_change(c)?;
    let first = ids::reserve(c, Sequence::NameGuard, guards.len())?;
    insert!(c, "name_guard", (first..).zip(guards), |(id, guard)| {
        id: id,
        language: guard.language.as_str(),
        pattern: guard.pattern.as_str(),
        source_id: guard.source,
        automatic: guard.automatic,
        state: guard.state.as_i64(),
        description: guard.description.as_str(),
        created_by: guard.created_by.as_str(),
        created_at: guard.created_at,
    })?;
    Ok(first)
}

/// Replaces the pattern, the source, the state and the description of guards; returns the number of those that exist.
pub fn update(c: &mut dyn Conn, guards: &[NameGuardRow]) -> Result<u64, DbError> {
    const UPDATE: &str = "UPDATE name_guard SET pattern = $1, source_id = $2, state = $3, description = $4 \
        WHERE id = $5";
    let params = |guard: &NameGuardRow| -> Vec<Value> {
        vec![
            guard.pattern.as_str().into(),
            guard.source.into(),
            guard.state.as_i64().into(),
            guard.description.as_str().into(),
            guard.id.into(),
        ]
    };
    count_change(c)?;
    c.execute_many(UPDATE, &guards.iter().map(params).collect::<Vec<_>>())
}

pub fn delete(c: &mut dyn Conn, ids: &[i64]) -> Result<(), DbError> {
    count_change(c)?;
    let params: Vec<Vec<Value>> = ids.iter().map(|id| vec![(*id).into()]).collect();
    c.execute_many("DELETE FROM name_guard WHERE id = $1", &params).map(drop)
}

/// Counts a change: servers that read a new catalog compare the number, see [`changes`].
pub(in crate::db) fn count_change(c: &mut dyn Conn) -> Result<(), DbError> {
    ids::reserve(c, Sequence::NameGuardChange, 1).map(drop)
}

/// Adds automatic guards for those of the names with new releases in a local or git source that have none. Must be
/// called in the transaction of the publish.
pub(in crate::db) fn guard_names(
    c: &mut dyn Conn,
    source: SourceId,
    names: &BTreeSet<String>,
    at: Timestamp,
) -> Result<(), DbError> {
    const FIND: &str = "SELECT 1 FROM name_guard WHERE language = (SELECT language FROM source WHERE id = $1) \
        AND pattern = $2 AND automatic = 1 LIMIT 1";
    const LANGUAGE: &str = "SELECT language FROM source WHERE id = $1";
    let params: Vec<Vec<Value>> =
        names.iter().map(|name| vec![source.into(), name.as_str().into()]).collect();
    let found = c.query_many(FIND, &params)?;
    let new_names: Vec<&String> =
        names.iter().zip(found).filter(|(_, found)| found.is_empty()).map(|(name, _)| name).collect();
    if new_names.is_empty() {
        return Ok(());
    }
    let Some(language) = c.first::<String>(LANGUAGE, &[source.into()])? else { return Ok(()) };
    let mut guards = Vec::with_capacity(new_names.len());
    for name in new_names {
        let is_listed = mirror_of(c, &language, name)?.is_some();
        let is_listed_before = is_listed && is_mirrored_before(c, &language, name, at + OWN_DATES)?;
        let guard = NameGuardRow {
            id: 0,
            language: language.clone(),
            pattern: name.clone(),
            source,
            automatic: true,
            state: if is_listed_before { GuardState::ListedBefore } else { GuardState::InForce },
            description: String::new(),
            created_by: String::new(),
            created_at: at,
        };
        if is_listed && !is_listed_before {
            record_present(c, std::slice::from_ref(&guard), at)?;
        }
        guards.push(guard);
    }
    ids::reserve(c, Sequence::NameGuardAddition, 1)?;
    insert(c, &guards).map(drop)
}

/// The time by which a mirror must have published the first release of a name later than its first upload, if the upload was
/// imported with its date: copies of a mirror have its dates.
const OWN_DATES: Duration = Duration::from_secs(86_400);

/// Returns whether a mirror published a release of a name before an instant, or may have done so: not every mirror declares
/// when a package was published.
fn is_mirrored_before(c: &mut dyn Conn, language: &str, name: &str, at: Timestamp) -> Result<bool, DbError> {
    const PACKAGES: &str = concat!(
        "SELECT 1 FROM package p JOIN release r ON r.package_id = p.id JOIN life l ON l.release_id = r.id \
         AND l.package_id = p.id JOIN tree t ON t.id = l.tree_id JOIN source s ON s.id = t.source_id \
         WHERE p.language = $1 AND p.name = $2 AND t.role = 'source' AND ",
        is_mirror!(),
        " AND (r.published_at IS NULL OR r.published_at < $3) LIMIT 1"
    );
    let declares_times = Language::parse(language).is_some_and(|language| language.layout() == Layout::Lists);
    Ok(!declares_times || c.finds(PACKAGES, &[language.into(), name.into(), at.into()])?)
}

/// Returns the name of a mirror that lists or has listed a package; `None` if none has.
pub fn mirror_of(c: &mut dyn Conn, language: &str, name: &str) -> Result<Option<String>, DbError> {
    // Starts from the releases of the package, so that the cost does not depend on the number of sources and packages.
    const PACKAGES: &str = concat!(
        "SELECT s.name FROM package p JOIN release r ON r.package_id = p.id \
         JOIN life l ON l.release_id = r.id AND l.package_id = p.id JOIN tree t ON t.id = l.tree_id \
         JOIN source s ON s.id = t.source_id WHERE p.language = $1 AND p.name = $2 AND t.role = 'source' \
         AND t.axis = 'step' AND ",
        is_mirror!(),
        " AND l.state IN (0, 1) AND l.from_seq <= t.head ORDER BY s.id LIMIT 1"
    );
    const PROJECTS: &str = "SELECT s.name FROM source s JOIN project r ON r.source_id = s.id \
        WHERE s.id = $1 AND r.normalized_name = $2 LIMIT 1";
    if let Some(mirror) = c.first(PACKAGES, &[language.into(), name.into()])? {
        return Ok(Some(mirror));
    }
    let index = Language::parse(language).map(Language::index).filter(|index| index.is_project_index());
    index.map_or(Ok(None), |index| c.first(PROJECTS, &[index.into(), name.into()]))
}

/// Returns the range of names that a pattern can match, in the order of the tables; the end is exclusive.
pub(in crate::db) fn range(pattern: &str) -> (String, String) {
    match pattern.strip_suffix('*') {
        Some(prefix) => (prefix.to_owned(), format!("{prefix}\u{10ffff}")),
        None => (pattern.to_owned(), format!("{pattern}\u{1}")),
    }
}

/// Returns the names that a guard hides in other sources, by name: the names in [`present`], and names in curated sources
/// and snapshots, which take their packages from a mirror.
pub fn hidden(c: &mut dyn Conn, guard: &NameGuardRow) -> Result<NamesWithSources, DbError> {
    const SELECTED: &str = "SELECT p.name, s.id FROM package p JOIN source s ON s.language = p.language \
        JOIN tree t ON t.source_id = s.id AND t.role = 'source' AND t.axis = 'step' \
        WHERE p.language = $1 AND p.name >= $2 AND p.name < $3 AND s.id <> $4 AND s.kind = 'curated-cran' \
        AND s.deleted_at IS NULL AND EXISTS (SELECT 1 FROM life l WHERE l.tree_id = t.id AND l.state IN (0, 1) \
        AND l.package_id = p.id AND l.from_seq <= t.head)";
    const SNAPSHOTS: &str = "SELECT DISTINCT p.name, s.id FROM package p JOIN source s ON s.language = p.language \
        JOIN tree t ON t.source_id = s.id JOIN curation k ON k.tree_id = t.id AND k.seq <= t.head \
        WHERE p.language = $1 AND p.name >= $2 AND p.name < $3 AND s.id <> $4 AND s.kind = 'cran-snapshot' \
        AND s.deleted_at IS NULL AND EXISTS (SELECT 1 FROM life l WHERE l.tree_id = k.base_tree_id \
        AND l.state IN (0, 1) AND l.package_id = p.id AND l.from_seq <= k.base_seq AND l.to_seq > k.base_seq)";
    const PROJECTS: &str = "SELECT DISTINCT k.normalized_name, s.id FROM curation_rule k \
        JOIN tree t ON t.id = k.tree_id AND k.seq <= t.head JOIN source s ON s.id = t.source_id \
        WHERE s.language = $1 AND k.normalized_name >= $2 AND k.normalized_name < $3 AND s.id <> $4 \
        AND s.deleted_at IS NULL";
    let guards = std::slice::from_ref(guard);
    let mut found: NamesWithSources = present(c, guards)?.into_iter().flatten().collect();
    let queries: &[&'static str] = match Language::parse(&guard.language).map(Language::layout) {
        Some(Layout::Lists) => &[SELECTED, SNAPSHOTS],
        // Only curated sources have rules.
        Some(Layout::Projects) => &[PROJECTS],
        None => &[],
    };
    found.extend(matching(c, guards, queries)?.into_iter().flatten());
    found.sort_unstable();
    Ok(found)
}

/// Names of packages, each with a source that lists it.
pub type NamesWithSources = Vec<(String, SourceId)>;

/// Returns for each guard the names that match it and that other sources list or listed, by name.
pub fn present(c: &mut dyn Conn, guards: &[NameGuardRow]) -> Result<Vec<NamesWithSources>, DbError> {
    const PACKAGES: &str = "SELECT p.name, s.id FROM package p JOIN source s ON s.language = p.language \
        JOIN tree t ON t.source_id = s.id AND t.role = 'source' AND t.axis = 'step' \
        WHERE p.language = $1 AND p.name >= $2 AND p.name < $3 AND s.id <> $4 \
        AND s.kind NOT IN ('curated-cran', 'cran-snapshot', 'curated-pypi') \
        AND EXISTS (SELECT 1 FROM life l WHERE l.tree_id = t.id AND l.state IN (0, 1) AND l.package_id = p.id \
        AND l.from_seq <= t.head)";
    const PROJECTS: &str = "SELECT r.normalized_name, s.id FROM project r JOIN source s ON s.id = r.source_id \
        WHERE s.language = $1 AND r.normalized_name >= $2 AND r.normalized_name < $3 AND s.id <> $4";
    let mut all = matching(c, guards, &[PACKAGES, PROJECTS])?;
    for found in &mut all {
        found.sort_unstable();
        found.dedup();
    }
    Ok(all)
}

/// Records the names that the mirrors list now and that new guards match, without a warning, because the response to the
/// author of the guards contains them.
pub fn record_present(c: &mut dyn Conn, guards: &[NameGuardRow], now: Timestamp) -> Result<(), DbError> {
    const ADD: &str = "INSERT INTO name_overlap (language, name, source_id, seen_at, appeared) \
        VALUES ($1, $2, $3, $4, 0) ON CONFLICT (language, name, source_id) DO NOTHING";
    let mut rows = Vec::new();
    for (guard, found) in guards.iter().zip(present(c, guards)?) {
        let row = |(name, source): (String, SourceId)| -> Vec<Value> {
            vec![guard.language.as_str().into(), name.into(), source.into(), now.into()]
        };
        rows.extend(found.into_iter().map(row));
    }
    c.execute_many(ADD, &rows).map(drop)
}

/// Runs queries with the language, the range of names and the source of each guard; they return names with sources.
fn matching(
    c: &mut dyn Conn,
    guards: &[NameGuardRow],
    queries: &[&'static str],
) -> Result<Vec<NamesWithSources>, DbError> {
    let params = |guard: &NameGuardRow| -> Vec<Value> {
        let (first, end) = range(&guard.pattern);
        vec![guard.language.as_str().into(), first.into(), end.into(), guard.source.into()]
    };
    let params: Vec<Vec<Value>> = guards.iter().map(params).collect();
    let mut found = vec![Vec::new(); guards.len()];
    for sql in queries.iter().copied() {
        for (found, names) in found.iter_mut().zip(c.many(sql, &params)?) {
            found.extend(names);
        }
    }
    Ok(found)
}
