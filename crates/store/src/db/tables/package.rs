//! Package names and their ids. A name is unique within a language; each source has one language.

use std::collections::HashMap;

use super::{Conn, DbError, Value, ids};
use base::model::ids::{PackageId, SourceId};
use base::model::kind::Language;

/// Returns the id of each name, in the order of `names`, and inserts new names. At most 2,000 per call.
pub fn upsert_many(c: &mut dyn Conn, source: SourceId, names: &[&str]) -> Result<Vec<PackageId>, DbError> {
    const INSERT: &str = "INSERT INTO package (id, language, name, normalized_name) VALUES ($1, $2, $3, $4) \
        ON CONFLICT (language, name) DO NOTHING";
    let language = language(c, source)?;
    let mut ids = find_many(c, &language, names)?;
    let mut missing: Vec<&str> = names.iter().copied().filter(|name| !ids.contains_key(name)).collect();
    missing.sort_unstable();
    missing.dedup();
    if !missing.is_empty() {
        let first = ids::reserve(c, ids::Sequence::Package, missing.len())?;
        let row = |(id, name): (i64, &&str)| {
            vec![id.into(), language.as_str().into(), (*name).into(), name.to_lowercase().into()]
        };
        let rows: Vec<Vec<Value>> = (first..).zip(&missing).map(row).collect();
        c.execute_many(INSERT, &rows)?;
        // Queried again, because another node may have inserted some of them meanwhile.
        ids.extend(find_many(c, &language, &missing)?);
    }
    let id = |name: &&str| ids.get(name).copied();
    let ids: Option<Vec<PackageId>> = names.iter().map(id).collect();
    ids.ok_or(DbError::Shape { column: 0, found: "no row", expected: "the package just written" })
}

fn language(c: &mut dyn Conn, source: SourceId) -> Result<String, DbError> {
    let rows = c.query("SELECT language FROM source WHERE id = $1", &[source.into()])?;
    let row = rows.into_iter().next();
    row.ok_or(DbError::Shape { column: 0, found: "no row", expected: "the source" })?.text(0)
}

fn find_many<'a>(
    c: &mut dyn Conn,
    language: &str,
    names: &[&'a str],
) -> Result<HashMap<&'a str, PackageId>, DbError> {
    const FIND: &str = "SELECT id FROM package WHERE language = $1 AND name = $2";
    let params: Vec<Vec<Value>> = names.iter().map(|name| vec![language.into(), (*name).into()]).collect();
    let mut ids = HashMap::with_capacity(names.len());
    for (name, found) in names.iter().zip(c.many(FIND, &params)?) {
        ids.extend(found.first().map(|id| (*name, *id)));
    }
    Ok(ids)
}

/// Returns the id of a name in the language of a source, exactly as written.
pub fn by_name(c: &mut dyn Conn, source: SourceId, name: &str) -> Result<Option<PackageId>, DbError> {
    const FIND: &str =
        "SELECT id FROM package WHERE language = (SELECT language FROM source WHERE id = $1) AND name = $2";
    c.first(FIND, &[source.into(), name.into()])
}

/// Returns the sources with a release of a name of a language, exactly as written.
pub fn origins(c: &mut dyn Conn, language: Language, name: &str) -> Result<Vec<SourceId>, DbError> {
    const FIND: &str = "SELECT DISTINCT r.origin_id FROM package p JOIN release r ON r.package_id = p.id \
        WHERE p.language = $1 AND p.name = $2";
    c.all(FIND, &[language.as_str().into(), name.into()])
}

/// Returns the id and spelling of every name in the language of a source that is equal except for case.
pub fn by_normalized_name(
    c: &mut dyn Conn,
    source: SourceId,
    name: &str,
) -> Result<Vec<(PackageId, String)>, DbError> {
    // Sorted here: with ORDER BY, SQLite would use an index for the order and scan every package of the language.
    const FIND: &str = "SELECT id, name FROM package \
        WHERE language = (SELECT language FROM source WHERE id = $1) AND normalized_name = $2";
    let mut packages: Vec<(PackageId, String)> = c.all(FIND, &[source.into(), name.to_lowercase().into()])?;
    packages.sort_unstable_by(|a, b| a.1.cmp(&b.1));
    Ok(packages)
}
