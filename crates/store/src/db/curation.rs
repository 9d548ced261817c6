//! Definitions of curated sources. Each step of the tree of such a source selects from one state of the tree of another
//! source: its base. The rows of a step are written with it and never change.
//!
//! A step has a row in `curation`, with the tree and the sequence number of its base, the files of its definition
//! (`curation_file`), and a rule for each project (`curation_rule`). A curated source of Python packages has no lives: the
//! catalog contains the bases, so that a point contains them (`model::point::Base`), and every reader of files reads those of the base and leaves out what
//! the rule does not allow. A curated source of CRAN has lives, too: those of the selected releases, which are releases
//! of `cran`, with their records. A snapshot of CRAN has only a base (`Base::is_whole`).

use std::collections::HashMap;

use super::columns::{row, select};
use super::pypi::ListedProject;
use super::{Conn, DbError, Row, Value};
use base::model::digest::Sha256;
use base::model::ids::{Seq, SourceId, TreeId};
use base::model::point::Base;
use base::model::source::{SourceKind, Supply};

/// The definition of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Curation {
    pub base_tree: TreeId,
    /// The state of the base.
    pub base_seq: Seq,
    /// The snapshot as the administrator named it: a day or a transaction.
    pub snapshot: String,
    /// The digest of the files.
    pub sha256: Sha256,
    /// The kinds of dependencies that a source of kind `curated-cran` includes; [`DEPENDENCIES`] for a source of kind
    /// `curated-pypi` that includes dependencies; otherwise `None`.
    pub include: Option<String>,
    /// The files, the main one first.
    pub files: Vec<DefinitionFile>,
    /// The projects of a source of kind `curated-pypi` that the files do not name, in the order of the names.
    pub dependencies: Vec<Dependency>,
}

/// The value of [`Curation::include`] for Python packages with dependencies.
pub const DEPENDENCIES: &str = "dependencies";

/// A project that a definition includes because others require it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// The normalized name of the project.
    pub name: String,
    /// The shortest chain of projects from one that the definition names to this one.
    pub chain: Vec<String>,
}

row! {
    /// A file of a definition, as the administrator wrote it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct DefinitionFile from "curation_file" {
        /// Its name, relative to the main file.
        pub name: String,
        /// Its bytes.
        pub content: Vec<u8>,
    }
}

/// Returns the name and the bytes of each file.
pub fn named(files: &[DefinitionFile]) -> Vec<(&str, &[u8])> {
    files.iter().map(|file| (file.name.as_str(), file.content.as_slice())).collect()
}

/// The rule of a definition for a project: its normalized name, and the text of the rule.
pub type RuleRow = (String, String);

/// Returns the base of each step of each tree of a curated source, by tree and step.
pub fn bases(c: &mut dyn Conn) -> Result<Vec<(TreeId, Seq, Base)>, DbError> {
    const LIST: &str = "SELECT k.tree_id, k.seq, b.source_id, k.base_tree_id, k.base_seq, s.kind FROM curation k \
        JOIN tree t ON t.id = k.tree_id JOIN source s ON s.id = t.source_id JOIN tree b ON b.id = k.base_tree_id \
        WHERE k.seq <= t.head ORDER BY k.tree_id, k.seq";
    let decode = |mut row: Row| {
        let kind: SourceKind = row.parse(5, "a kind of source")?;
        let base = Base {
            source: SourceId(row.int(2)?),
            tree: TreeId(row.int(3)?),
            seq: Seq(row.int(4)?),
            is_whole: kind.supply() == Supply::Snapshot,
        };
        Ok((TreeId(row.int(0)?), Seq(row.int(1)?), base))
    };
    c.query(LIST, &[])?.into_iter().map(decode).collect()
}

/// Returns the definition of a step; `None` if it has none.
pub fn get(c: &mut dyn Conn, tree: TreeId, seq: Seq) -> Result<Option<Curation>, DbError> {
    const FIND: &str = "SELECT base_tree_id, base_seq, snapshot, sha256, include FROM curation WHERE tree_id = $1 AND seq = $2";
    const FILES: &str = select!(DefinitionFile, "WHERE tree_id = $1 AND seq = $2 ORDER BY position");
    let Some(mut row) = c.query(FIND, &[tree.into(), seq.into()])?.into_iter().next() else {
        return Ok(None);
    };
    const DEPENDENCY: &str = "SELECT normalized_name, chain FROM curation_rule WHERE tree_id = $1 AND seq = $2 AND chain IS NOT NULL \
        ORDER BY normalized_name";
    let dependencies = c.query(DEPENDENCY, &[tree.into(), seq.into()])?.into_iter();
    let dependency = |mut row: Row| {
        let chain = row.text(1)?;
        Ok(Dependency { name: row.text(0)?, chain: chain.split(' ').map(str::to_owned).collect() })
    };
    Ok(Some(Curation {
        base_tree: TreeId(row.int(0)?),
        base_seq: Seq(row.int(1)?),
        snapshot: row.text(2)?,
        sha256: row.parse(3, "a digest")?,
        include: row.opt_text(4)?,
        files: c.all(FILES, &[tree.into(), seq.into()])?,
        dependencies: dependencies.map(dependency).collect::<Result<_, DbError>>()?,
    }))
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
    let rows = c.query(LIST, &[base.source.into(), base.seq.into(), tree.into(), seq.into()])?;
    let decode = |mut row: Row| {
        Ok(ListedProject { normalized_name: row.text(0)?, name: row.opt_text(1)?, changed_at: None })
    };
    rows.into_iter().map(decode).collect()
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
