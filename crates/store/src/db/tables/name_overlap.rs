//! Records guarded names that a mirror lists. The transaction of a publish does so for the names of its trees.

use super::name_guard::{GuardState, NameGuardRow, count_change, list, of_project, range, update};
use super::{Conn, DbError, Value, audit};
use base::model::ids::{Seq, SourceId, TreeId};
use base::model::kind::SourceKind;
use base::model::time::Timestamp;

/// A published step of a tree, and the tree's source.
struct PublishedTree {
    tree: TreeId,
    source: SourceId,
    source_name: String,
    kind: SourceKind,
    language: String,
    /// Whether the step is the first one of the tree.
    is_first: bool,
    at: Timestamp,
}

/// Returns a published step of a tree of source packages; `None` for another tree.
fn published_tree(
    c: &mut dyn Conn,
    tree: TreeId,
    seq: Seq,
    at: Timestamp,
) -> Result<Option<PublishedTree>, DbError> {
    const FIND: &str = "SELECT s.id, s.name, s.kind, s.language, t.first FROM tree t \
        JOIN source s ON s.id = t.source_id WHERE t.id = $1 AND t.role = 'source'";
    let found = c.first::<(_, _, _, _, Option<Seq>)>(FIND, &[tree.into()])?;
    Ok(found.map(|(source, source_name, kind, language, first)| PublishedTree {
        tree,
        source,
        source_name,
        kind,
        language,
        is_first: first == Some(seq),
        at,
    }))
}

/// Records the guarded names that a published step of a mirror lists. Must be called in the transaction of the publish.
pub(in crate::db) fn record_published(
    c: &mut dyn Conn,
    tree: TreeId,
    seq: Seq,
    at: Timestamp,
) -> Result<(), DbError> {
    let Some(published) = published_tree(c, tree, seq, at)? else { return Ok(()) };
    let guards = list(c)?;
    record_overlaps(c, &published, &guards, None)
}

/// Records the guarded names in the list of projects of an index.
pub fn record_index(c: &mut dyn Conn, source: SourceId, at: Timestamp) -> Result<(), DbError> {
    let Some(tree) = index_tree(c, source)? else { return Ok(()) };
    record_published(c, tree, Seq(0), at)
}

/// Records a project of an index if its name is guarded. Reads only the guards of the name.
pub(in crate::db) fn record_project(
    c: &mut dyn Conn,
    source: SourceId,
    name: &str,
    at: Timestamp,
) -> Result<(), DbError> {
    let guards = of_project(c, source, name)?;
    if guards.is_empty() {
        return Ok(());
    }
    let Some(tree) = index_tree(c, source)? else { return Ok(()) };
    let Some(published) = published_tree(c, tree, Seq(0), at)? else { return Ok(()) };
    record_overlaps(c, &published, &guards, Some(name))
}

/// Returns the tree of an index of projects; `None` for a source that is not one.
fn index_tree(c: &mut dyn Conn, source: SourceId) -> Result<Option<TreeId>, DbError> {
    const TREE: &str = "SELECT id FROM tree WHERE source_id = $1 AND axis = 'time'";
    c.first(TREE, &[source.into()])
}

/// Records the names of `guards` that a mirror lists, unless they are recorded already; if `only` is given, only this
/// name. The first step of a mirror contains all its earlier releases: an automatic guard loses its effect in that step
/// if the mirror published the name before the first upload.
fn record_overlaps(
    c: &mut dyn Conn,
    published: &PublishedTree,
    guards: &[NameGuardRow],
    only: Option<&str>,
) -> Result<(), DbError> {
    let mut found = Vec::new();
    for guard in guards {
        let is_other = guard.language == published.language && guard.source != published.source;
        if !is_other || guard.state != GuardState::InForce {
            continue;
        }
        for name in listed_names(c, published, only.unwrap_or(&guard.pattern))? {
            if guard.automatic && published.is_first && is_older(c, published, &name, guard.created_at)? {
                update(c, &[NameGuardRow { state: GuardState::ListedBefore, ..guard.clone() }])?;
            } else if !found.iter().any(|(known, _)| *known == name) {
                found.push((name, guard.id));
            }
        }
    }
    for (name, guard) in found {
        add_overlap(c, published, &name, guard)?;
    }
    Ok(())
}

/// Returns the names of a mirror that match a pattern, except those that are recorded already.
fn listed_names(c: &mut dyn Conn, published: &PublishedTree, pattern: &str) -> Result<Vec<String>, DbError> {
    const PACKAGES: &str = "SELECT p.name FROM package p WHERE p.language = $1 AND p.name >= $2 AND p.name < $3 \
        AND EXISTS (SELECT 1 FROM life l WHERE l.tree_id = $4 AND l.state IN (0, 1) AND l.package_id = p.id) \
        AND NOT EXISTS (SELECT 1 FROM name_overlap o WHERE o.language = p.language AND o.name = p.name \
        AND o.source_id = $5) ORDER BY p.name";
    const PROJECTS: &str = "SELECT DISTINCT r.normalized_name FROM project r WHERE r.source_id = $1 AND r.normalized_name >= $2 AND r.normalized_name < $3 \
        AND NOT EXISTS (SELECT 1 FROM name_overlap o WHERE o.language = $4 AND o.name = r.normalized_name \
        AND o.source_id = r.source_id) ORDER BY r.normalized_name";
    let (first, end) = range(pattern);
    let (source, language) = (published.source.into(), published.language.as_str().into());
    match published.kind.is_project_index() {
        true => c.all(PROJECTS, &[source, first.into(), end.into(), language]),
        false => c.all(PACKAGES, &[language, first.into(), end.into(), published.tree.into(), source]),
    }
}

/// Returns whether a mirror published a release of a package before an instant.
fn is_older(c: &mut dyn Conn, published: &PublishedTree, name: &str, at: Timestamp) -> Result<bool, DbError> {
    const FIND: &str = "SELECT 1 FROM package p JOIN release r ON r.package_id = p.id \
        JOIN life l ON l.tree_id = $1 AND l.state IN (0, 1) AND l.package_id = p.id AND l.release_id = r.id \
        WHERE p.language = $2 AND p.name = $3 AND r.published_at < $4 LIMIT 1";
    let params: [Value; 4] =
        [published.tree.into(), published.language.as_str().into(), name.into(), at.into()];
    c.finds(FIND, &params)
}

fn add_overlap(c: &mut dyn Conn, published: &PublishedTree, name: &str, guard: i64) -> Result<(), DbError> {
    const ADD: &str = "INSERT INTO name_overlap (language, name, source_id, seen_at, appeared) \
        VALUES ($1, $2, $3, $4, 1) ON CONFLICT (language, name, source_id) DO NOTHING";
    let params: [Value; 4] =
        [published.language.as_str().into(), name.into(), published.source.into(), published.at.into()];
    if c.execute(ADD, &params)? == 0 {
        return Ok(());
    }
    count_change(c)?;
    let detail = format!("the source {} lists the guarded name '{name}'", published.source_name);
    tracing::warn!(target: "sync", source = %published.source_name, package = name, guard, "a guarded name appeared upstream; it is hidden: see rspm audit names");
    audit::record(c, "guarded name appeared", "name guard", &guard.to_string(), &detail)
}
