//! Queries of names that are both in local or git sources and on mirrors, for audits.

use super::source::is_mirror;
use super::{Conn, DbError, Value};
use crate::db::engine::columns::{row, select};
use base::model::ids::SourceId;
use base::model::import_list::AddedFile;
use base::model::time::Timestamp;

/// Finds names by their comparison key, with the same expression as that of the index `package_similar`.
const FIND_BY_KEY: &str = "SELECT name FROM package WHERE language = $1 \
    AND replace(replace(replace(normalized_name, '.', ''), '-', ''), '_', '') = $2";

row! {
    #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub struct MirrorName from "source s JOIN tree t ON t.source_id = s.id AND t.role = 'source' AND t.axis = 'step' \
        JOIN package p ON p.language = s.language" {
        pub name: String = "p.name",
        pub source: SourceId = "s.id",
    }
}

/// Returns the names of a language that a mirror lists or listed, by name, without those of a Python index.
pub fn mirror_names(c: &mut dyn Conn, language: &str) -> Result<Vec<MirrorName>, DbError> {
    const LIST: &str = select!(
        MirrorName,
        concat!(
            "WHERE s.language = $1 AND ",
            is_mirror!(),
            " AND EXISTS (SELECT 1 FROM life l WHERE l.tree_id = t.id AND l.state IN (0, 1) AND l.package_id = p.id \
             AND l.from_seq <= t.head)"
        )
    );
    let mut names: Vec<MirrorName> = c.all(LIST, &[language.into()])?;
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// Returns the names of all packages of a language with a comparison key (see [`comparison_key`]), sorted; sources may
/// list them or not. Reads only these rows, by their index.
pub fn names_with_key(c: &mut dyn Conn, language: &str, key: &str) -> Result<Vec<String>, DbError> {
    let mut names = c.all::<String>(FIND_BY_KEY, &[language.into(), key.into()])?;
    // Not sorted by SQL: the planner would choose the index of names for the order.
    names.sort_unstable();
    Ok(names)
}

/// Returns the time at which a source first listed a name; `None` if never, or before its first sync.
pub fn first_listed(
    c: &mut dyn Conn,
    language: &str,
    name: &str,
    source: SourceId,
) -> Result<Option<Timestamp>, DbError> {
    const STEPS: &str = "SELECT min(st.at) FROM package p JOIN tree t ON t.source_id = $1 AND t.role = 'source' \
        JOIN life l ON l.tree_id = t.id AND l.state IN (0, 1) AND l.package_id = p.id \
        JOIN step st ON st.tree_id = t.id AND st.seq = l.from_seq WHERE p.language = $2 AND p.name = $3";
    const PROJECTS: &str =
        "SELECT min(r.from_at) FROM project r WHERE r.source_id = $1 AND r.normalized_name = $2";
    let listed = |at: Option<Option<Timestamp>>| at.flatten().filter(|at| at.0 > 0);
    if let Some(at) = listed(c.first(STEPS, &[source.into(), language.into(), name.into()])?) {
        return Ok(Some(at));
    }
    Ok(listed(c.first(PROJECTS, &[source.into(), name.into()])?))
}

/// Returns the versions of a name that a source lists or listed.
pub fn versions(
    c: &mut dyn Conn,
    language: &str,
    name: &str,
    source: SourceId,
) -> Result<Vec<String>, DbError> {
    const LIST: &str = "SELECT DISTINCT r.version FROM package p JOIN tree t ON t.source_id = $1 AND t.role = 'source' \
        JOIN life l ON l.tree_id = t.id AND l.state IN (0, 1) AND l.package_id = p.id \
        JOIN release r ON r.id = l.release_id WHERE p.language = $2 AND p.name = $3";
    let params: [Value; 3] = [source.into(), language.into(), name.into()];
    c.all(LIST, &params)
}

/// Returns the mirror that has or had the file of a version of an R package: with one of its digests, or else with its size.
pub fn mirror_of_file(
    c: &mut dyn Conn,
    package: &str,
    version: &str,
    file: &AddedFile,
) -> Result<Option<String>, DbError> {
    const FIND: &str = concat!(
        "SELECT s.name FROM package p JOIN release r ON r.package_id = p.id JOIN source s ON s.id = r.origin_id \
         JOIN file f ON f.release_id = r.id AND f.role = 'source' AND f.platform = '' \
         WHERE p.language = 'r' AND p.name = $1 AND r.version = $2 AND CASE WHEN f.sha256 IS NOT NULL AND $3 <> '' \
         THEN f.sha256 = $3 WHEN f.md5 IS NOT NULL AND $4 <> '' THEN f.md5 = $4 ELSE f.size = $5 END AND ",
        is_mirror!(),
        " ORDER BY s.id LIMIT 1"
    );
    let [sha256, md5] =
        [&file.sha256, &file.md5].map(|text| text.as_deref().unwrap_or_default().to_ascii_lowercase());
    let size = file.size.and_then(|size| i64::try_from(size).ok());
    c.first(FIND, &[package.into(), version.into(), sha256.into(), md5.into(), size.into()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{Db, package};
    use base::config::Config;
    use formats::policy::comparison_key;

    #[tokio::test]
    async fn names_are_found_by_the_index_of_their_keys() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = Config::example(folder.path(), "").expect("a configuration").config;
        let open = tokio::task::spawn_blocking(move || Db::open(&config));
        let db = open.await.expect("no panic").expect("a database");
        let insertion = db.write(|c| {
            package::upsert_many(c, SourceId::CRAN, &["data.table", "dataTable", "datatables", "d"])
        });
        insertion.await.expect("packages");
        let (names, plan) = db
            .read(|c| {
                let names = names_with_key(c, "r", &comparison_key("Data.Table"))?;
                let mut plan = Vec::new();
                let explain: &'static str =
                    Box::leak(format!("EXPLAIN QUERY PLAN {FIND_BY_KEY}").into_boxed_str());
                c.each(explain, &["r".into(), "datatable".into()], &mut |mut row| {
                    plan.push(row.text(3)?);
                    Ok(())
                })?;
                Ok((names, plan.join("; ")))
            })
            .await
            .expect("a read");
        assert_eq!(names, ["data.table", "dataTable"]);
        assert!(plan.contains("USING INDEX package_similar (language=? AND <expr>=?)"), "{plan}");
    }
}
