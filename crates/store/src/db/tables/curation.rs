//! Definitions of curated sources. Each step of the tree of such a source selects from one state of the tree of another
//! source: its base. The rows of a step are written with it and never change.
//!
//! A step has a row in `curation`, with the tree and the sequence number of its base, the files of its definition
//! (`curation_file`), and a rule for each project (`curation_rule`). A curated source of Python packages has no lives: the
//! catalog, and so a point, contains the bases (`model::point::Base`), and readers of files omit those of the base that the
//! rule does not allow. A curated source of CRAN also has the lives of the selected releases of `cran`, with their records. A
//! snapshot of CRAN has only a base (`Base::is_whole`).

use std::collections::HashMap;
use std::ops::RangeInclusive;

use super::project::ListedProject;
use super::{Conn, DbError, Row, Value};
use crate::db::engine::columns::{row, select};
use crate::db::engine::conn::{Cells, Columns};
use base::model::digest::Sha256;
use base::model::ids::{Seq, TreeId};
use base::model::kind::{SourceKind, Supply};
use base::model::point::Base;
use base::model::time::Timestamp;

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Curation from "curation" {
        pub base_tree: TreeId = "base_tree_id",
        pub base_seq: Seq,
        /// The snapshot as the administrator named it: a day or a transaction.
        pub snapshot: String,
        pub sha256: Sha256,
        /// The kinds of dependencies that a source of kind `curated-cran` includes; [`DEPENDENCIES`] for a source of kind
        /// `curated-pypi` that includes dependencies; otherwise `None`.
        pub include: Option<String>,
        /// The files, the main one first.
        pub files: Vec<DefinitionFile> = _,
        /// The projects of a source of kind `curated-pypi` that the files do not name, in the order of the names.
        pub dependencies: Vec<Dependency> = _,
    }
}

/// The value of [`Curation::include`] for Python packages with dependencies.
pub const DEPENDENCIES: &str = "dependencies";

row! {
    /// A project that a definition includes because others require it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Dependency from "curation_rule" {
        /// The normalized name of the project.
        pub name: String = "normalized_name",
        /// The shortest chain of projects from one that the definition names to this one.
        pub chain: Vec<String> => chain,
    }
}

fn chain(cells: &mut Cells) -> Result<Vec<String>, DbError> {
    Ok(String::decode(cells)?.split(' ').map(str::to_owned).collect())
}

row! {
    /// A file of a definition, as the administrator wrote it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct DefinitionFile from "curation_file" {
        /// Its name, relative to the main file.
        pub name: String,
        pub content: Vec<u8>,
    }
}

/// Returns the name and the bytes of each file.
pub fn named(files: &[DefinitionFile]) -> Vec<(&str, &[u8])> {
    files.iter().map(|file| (file.name.as_str(), file.content.as_slice())).collect()
}

/// The rule of a definition for a project: its normalized name, and the text of the rule.
pub type RuleRow = (String, String);

/// Returns the base of each step of these trees, as far as they are of curated sources, by tree and step.
pub fn bases(c: &mut dyn Conn, trees: RangeInclusive<TreeId>) -> Result<Vec<(TreeId, Seq, Base)>, DbError> {
    const LIST: &str = "SELECT k.tree_id, k.seq, b.source_id, k.base_tree_id, k.base_seq, s.kind FROM curation k \
        JOIN tree t ON t.id = k.tree_id JOIN source s ON s.id = t.source_id JOIN tree b ON b.id = k.base_tree_id \
        WHERE k.tree_id >= $1 AND k.tree_id <= $2 AND k.seq <= t.head ORDER BY k.tree_id, k.seq";
    let decode = |row: Row| {
        let (of_tree, of_seq, source, tree, seq, kind): (_, _, _, _, _, SourceKind) = row.decode()?;
        Ok((of_tree, of_seq, Base { source, tree, seq, is_whole: kind.supply() == Supply::Snapshot }))
    };
    c.query(LIST, &[(*trees.start()).into(), (*trees.end()).into()])?.into_iter().map(decode).collect()
}

/// Returns the definition of a step; `None` if it has none.
pub fn get(c: &mut dyn Conn, tree: TreeId, seq: Seq) -> Result<Option<Curation>, DbError> {
    const FILES: &str = select!(DefinitionFile, "WHERE tree_id = $1 AND seq = $2 ORDER BY position");
    const DEPENDENCIES: &str =
        select!(Dependency, "WHERE tree_id = $1 AND seq = $2 AND chain IS NOT NULL ORDER BY normalized_name");
    let step = [tree.into(), seq.into()];
    let Some(curation) = c.first(select!(Curation, "WHERE tree_id = $1 AND seq = $2"), &step)? else {
        return Ok(None);
    };
    Ok(Some(Curation { files: c.all(FILES, &step)?, dependencies: c.all(DEPENDENCIES, &step)?, ..curation }))
}

/// Returns the rules of a step in the order of the names.
pub fn rules(c: &mut dyn Conn, tree: TreeId, seq: Seq) -> Result<Vec<RuleRow>, DbError> {
    const LIST: &str = "SELECT normalized_name, rule FROM curation_rule WHERE tree_id = $1 AND seq = $2 ORDER BY normalized_name";
    c.all(LIST, &[tree.into(), seq.into()])
}

/// Returns the projects that a step allows, in the order of the names, with the names that the base displays. The
/// projects have no serials, because a new definition can change the allowed files of an unchanged project.
pub fn projects(c: &mut dyn Conn, tree: TreeId, seq: Seq, base: Base) -> Result<Vec<ListedProject>, DbError> {
    const LIST: &str = "SELECT k.normalized_name, r.name FROM curation_rule k LEFT JOIN project r ON r.source_id = $1 \
        AND r.normalized_name = k.normalized_name AND r.from_at <= $2 AND r.to_at > $2 \
        WHERE k.tree_id = $3 AND k.seq = $4 ORDER BY k.normalized_name";
    let params = [base.source.into(), base.seq.into(), tree.into(), seq.into()];
    let rows = c.all::<(String, Option<String>)>(LIST, &params)?.into_iter();
    Ok(rows
        .map(|(normalized_name, name)| ListedProject { normalized_name, name, changed_at: None })
        .collect())
}

/// Returns the rule of a step for a project; `None` if the step does not list the project.
pub fn rule(
    c: &mut dyn Conn,
    tree: TreeId,
    seq: Seq,
    normalized_name: &str,
) -> Result<Option<String>, DbError> {
    const FIND: &str =
        "SELECT rule FROM curation_rule WHERE tree_id = $1 AND seq = $2 AND normalized_name = $3";
    c.first(FIND, &[tree.into(), seq.into(), normalized_name.into()])
}

/// Writes the definition of a pending step.
pub fn insert(
    c: &mut dyn Conn,
    tree: TreeId,
    seq: Seq,
    curation: &Curation,
    rules: &[RuleRow],
) -> Result<(), DbError> {
    const INSERT: &str = "INSERT INTO curation (tree_id, seq, base_tree_id, base_seq, snapshot, sha256, include) \
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    const FILE_COLUMNS: [&str; 5] = ["tree_id", "seq", "position", "name", "content"];
    const RULE_COLUMNS: [&str; 5] = ["tree_id", "seq", "normalized_name", "rule", "chain"];
    let row = [
        tree.into(),
        seq.into(),
        curation.base_tree.into(),
        curation.base_seq.into(),
        curation.snapshot.as_str().into(),
        curation.sha256.to_string().into(),
        Value::opt_text(curation.include.as_ref()),
    ];
    c.execute(INSERT, &row)?;
    let file = |(position, file): (i64, &DefinitionFile)| {
        let (name, content) = (file.name.as_str().into(), file.content.as_slice().into());
        vec![tree.into(), seq.into(), position.into(), name, content]
    };
    let files: Vec<Vec<Value>> = (0_i64..).zip(&curation.files).map(file).collect();
    c.batch_insert("curation_file", &FILE_COLUMNS, &files)?;
    let chains: HashMap<&str, String> =
        curation.dependencies.iter().map(|d| (d.name.as_str(), d.chain.join(" "))).collect();
    let rule = |(normalized_name, rule): &RuleRow| {
        let chain = Value::opt_text(chains.get(normalized_name.as_str()));
        vec![tree.into(), seq.into(), normalized_name.as_str().into(), rule.as_str().into(), chain]
    };
    c.batch_insert("curation_rule", &RULE_COLUMNS, &rules.iter().map(rule).collect::<Vec<_>>())
}

/// Writes the selection of a plan, replacing one for the same request, and deletes plans from before `expired`.
pub fn put_plan(
    c: &mut dyn Conn,
    tree: TreeId,
    request: Sha256,
    planned_at: Timestamp,
    expired: Timestamp,
    selection: &[u8],
) -> Result<(), DbError> {
    const EXPIRE: &str = "DELETE FROM curation_plan WHERE planned_at < $1";
    const WRITE: &str = "INSERT INTO curation_plan (tree_id, request, planned_at, selection) VALUES ($1, $2, $3, $4) \
        ON CONFLICT (tree_id, request) DO UPDATE SET planned_at = excluded.planned_at, selection = excluded.selection";
    c.execute(EXPIRE, &[expired.into()])?;
    let row = [tree.into(), request.to_string().into(), planned_at.into(), selection.into()];
    c.execute(WRITE, &row).map(drop)
}

/// Returns the time and the selection of the last plan for a request.
pub fn plan(
    c: &mut dyn Conn,
    tree: TreeId,
    request: Sha256,
) -> Result<Option<(Timestamp, Vec<u8>)>, DbError> {
    const FIND: &str = "SELECT planned_at, selection FROM curation_plan WHERE tree_id = $1 AND request = $2";
    c.first(FIND, &[tree.into(), request.to_string().into()])
}
