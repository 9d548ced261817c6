//! The name guards of a catalog. After packages with new names were added, a new catalog reads only their automatic guards,
//! and shares the others with the previous one.

use std::collections::HashSet;
use std::sync::Arc;

use super::ReadExtent;
use base::model::kind::Language;
use formats::policy::{NameGuard, NameGuards, NamePattern};
use store::db::name_guard::{self, GuardChanges, GuardState, NameGuardRow, Overlap};
use store::db::{Conn, DbError};

#[derive(Debug, Default)]
pub struct Guards {
    pub all: NameGuards,
    /// The guards that an administrator created.
    pub created: NameGuards,
    /// The numbers of changes when they were read.
    changes: GuardChanges,
    /// The highest id of a guard when they were read, in force or not.
    last_id: i64,
}

impl Guards {
    /// Returns the guards in force. `automatic` states whether uploaded names are guarded automatically.
    pub fn in_force(&self, automatic: bool) -> &NameGuards {
        if automatic { &self.all } else { &self.created }
    }
}

/// Reads the guards that changed since `previous`, or all guards: without `previous`, or for [`ReadExtent::All`].
pub(super) fn read(
    c: &mut dyn Conn,
    previous: Option<&Arc<Guards>>,
    extent: ReadExtent,
) -> Result<Arc<Guards>, DbError> {
    let changes = name_guard::changes(c)?;
    match previous.filter(|_| extent == ReadExtent::Changes) {
        Some(previous) if previous.changes == changes => Ok(Arc::clone(previous)),
        Some(previous) if previous.changes.are_additions_until(changes) => {
            let rows = name_guard::list_after(c, previous.last_id)?;
            let overlaps = name_guard::overlaps_of_guards_after(c, previous.last_id)?;
            let last_id = rows.last().map_or(previous.last_id, |row| row.id);
            let all = previous.all.with(in_force(rows, overlaps));
            Ok(Arc::new(Guards { all, created: previous.created.clone(), changes, last_id }))
        }
        Some(_) | None => {
            let (rows, overlaps) = (name_guard::list(c)?, name_guard::overlaps(c)?);
            let last_id = rows.last().map_or(0, |row| row.id);
            let all = guards_in_force(rows, overlaps);
            Ok(Arc::new(Guards { created: all.without_automatic(), all, changes, last_id }))
        }
    }
}

/// Returns the guards in force of these rows. `overlaps` are the guarded names that other sources list.
pub fn guards_in_force(rows: Vec<NameGuardRow>, overlaps: Vec<Overlap>) -> NameGuards {
    NameGuards::new(in_force(rows, overlaps))
}

fn in_force(rows: Vec<NameGuardRow>, overlaps: Vec<Overlap>) -> Vec<Arc<NameGuard>> {
    let overlaps: HashSet<(String, String)> =
        overlaps.into_iter().map(|overlap| (overlap.language, overlap.name)).collect();
    let mut guards = Vec::new();
    for row in rows.into_iter().filter(|row| row.state == GuardState::InForce) {
        let Some(language) = Language::parse(&row.language) else { continue };
        // An automatic guard is for exactly one name, which was validated when the package was added.
        let pattern = match row.pattern.strip_suffix('*') {
            Some(prefix) if !row.automatic => NamePattern::Prefix(prefix.to_owned()),
            _ => NamePattern::Exact(row.pattern.clone()),
        };
        guards.push(Arc::new(NameGuard {
            id: row.id,
            language,
            pattern,
            source: row.source,
            is_automatic: row.automatic,
            has_overlap: overlaps.contains(&(row.language, row.pattern)),
            description: row.description,
        }));
    }
    guards
}
