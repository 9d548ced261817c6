//! Row ids, reserved in blocks from one table, so that both databases share the statement.

use super::{Conn, DbError};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sequence {
    Source,
    Tree,
    Repo,
    Package,
    Release,
    File,
    Token,
    GitCredential,
    GitBuilder,
    GitBuild,
    Metadata,
    /// The number in `fixed_url.token`.
    FixedUrl,
    Promotion,
    BlockRule,
    /// The number of changes of the table `block_rule`; also `block_rule_change.revision`.
    BlockRuleChange,
    NameGuard,
    /// The number of changes of the tables `name_guard` and `name_overlap`.
    NameGuardChange,
    /// The number of these changes that only added automatic guards.
    NameGuardAddition,
    TlogEvent,
}

impl Sequence {
    fn name(self) -> &'static str {
        match self {
            Sequence::Source => "source",
            Sequence::Tree => "tree",
            Sequence::Repo => "repo",
            Sequence::Package => "package",
            Sequence::Release => "release",
            Sequence::File => "file",
            Sequence::Token => "token",
            Sequence::GitCredential => "git_credential",
            Sequence::GitBuilder => "git_builder",
            Sequence::GitBuild => "git_build",
            Sequence::Metadata => "metadata",
            Sequence::FixedUrl => "fixed_url",
            Sequence::Promotion => "promotion",
            Sequence::BlockRule => "block_rule",
            Sequence::BlockRuleChange => "block_rule_change",
            Sequence::NameGuard => "name_guard",
            Sequence::NameGuardChange => "name_guard_change",
            Sequence::NameGuardAddition => "name_guard_addition",
            Sequence::TlogEvent => "tlog_event",
        }
    }
}

/// Takes `count` consecutive ids and returns the first. Ids of a rolled back transaction are reused.
pub fn reserve(c: &mut dyn Conn, sequence: Sequence, count: usize) -> Result<i64, DbError> {
    const TAKE: &str = "UPDATE sequence SET next = next + $1 WHERE name = $2 RETURNING next";
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let missing = DbError::Shape { column: 0, found: "no row", expected: "a sequence" };
    let next: i64 = c.first(TAKE, &[count.into(), sequence.name().into()])?.ok_or(missing)?;
    Ok(next - count)
}
