//! Index records that R cannot read, as notes of a scrub of the database, not as faults: they are older than
//! the checks of new packages and mirrors, and clients get the indexes without them.

use base::model::kind::{Layout, Supply};
use formats::r::description::check;
use formats::r::packages;
use store::db::source::{self, Source};
use store::db::tree::{self, Role, Tree};
use store::db::{Conn, DbError, life};

/// The maximum number of notes; more records are only counted.
const MAX_NOTES: usize = 100;

/// Returns a note about each listed package whose record R cannot read.
pub(super) fn unreadable(c: &mut dyn Conn) -> Result<Vec<String>, DbError> {
    let (sources, trees) = (source::list(c)?, tree::list(c)?);
    let mut notes = Vec::new();
    for tree in trees.iter().filter(|tree| tree.role == Role::Source) {
        let source = sources.iter().find(|source| source.id == tree.source);
        let Some(source) = source.filter(|source| has_records(source)) else { continue };
        notes.append(&mut of_tree(c, tree, source)?);
    }
    let count = notes.len();
    if count > MAX_NOTES {
        notes.truncate(MAX_NOTES);
        notes.push(format!("{} more packages have a record that R cannot read", count - MAX_NOTES));
    }
    Ok(notes)
}

/// Returns whether the packages of a source are listed with their records.
fn has_records(source: &Source) -> bool {
    match source.kind.layout() {
        Layout::Lists => true,
        Layout::Projects => false,
    }
}

fn of_tree(c: &mut dyn Conn, tree: &Tree, source: &Source) -> Result<Vec<String>, DbError> {
    let mut notes = Vec::new();
    let Some(head) = tree.head else { return Ok(notes) };
    life::each_listed(c, tree.id, head, &mut |row| {
        let Some(Ok(record)) = packages::records(&row.stanza).next() else { return };
        let (package, version, name) = (record.package, record.version, &source.name);
        let remedy = match source.kind.supply() {
            Supply::Uploads | Supply::Builds => {
                format!(
                    "add a corrected version and remove this one: rspm remove package --source={name} --name={package}"
                )
            }
            Supply::Mirror | Supply::Curated | Supply::Snapshot => {
                "its author must correct it; a block rule hides it".to_owned()
            }
        };
        if !check::is_comparable_version(version) {
            notes.push(format!(
                "'{package}' {version} in the source '{name}' is not in the indexes, because R cannot compare its version \
                 with others; {remedy}"
            ));
        } else if let Some(item) = check::unreadable_item(record.stanza) {
            notes.push(format!(
                "'{package}' {version} in the source '{name}' requires '{item}', which R cannot read; clients get its record \
                 without it; {remedy}"
            ));
        }
    })?;
    notes.sort();
    Ok(notes)
}
