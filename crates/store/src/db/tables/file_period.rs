//! Periods in which a tree has a file, listed or archived. An import recognizes by them what was imported before.

use super::life::yanked;
use super::{Conn, DbError};
use crate::db::engine::columns::{or_default, row, select};
use base::model::digest::Sha256;
use base::model::ids::{Seq, TreeId};
use base::model::time::Timestamp;

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct FilePeriod from "file f JOIN release r ON r.id = f.release_id JOIN package p ON p.id = r.package_id \
        JOIN life l ON l.release_id = f.release_id AND l.file_id IN (0, f.id) \
        LEFT JOIN step b ON b.tree_id = l.tree_id AND b.seq = l.from_seq LEFT JOIN tx bt ON bt.id = b.tx_id \
        LEFT JOIN step e ON e.tree_id = l.tree_id AND e.seq = l.to_seq LEFT JOIN tx et ON et.id = e.tx_id" {
        pub package: String = "p.name",
        pub version: String = "r.version",
        pub file: String = "f.name",
        pub sha256: Sha256 = "f.sha256",
        /// The facts about it: of an R package, see [`set_original`](super::file::set_original).
        pub facts: Vec<u8> = "f.facts" => or_default,
        pub from: Seq = "l.from_seq",
        /// The first step without it; [`Seq::OPEN`] if the tree has it now.
        pub to: Seq = "l.to_seq",
        /// The time of the change that began it: of an import, that at its origin, which can be earlier than the step.
        pub began_at: Option<Timestamp> = "COALESCE(bt.published_to, b.at)",
        /// The time of the change that ended it, in the same way.
        pub ended_at: Option<Timestamp> = "COALESCE(et.published_to, e.at)",
        /// The reason why it is yanked in this period; `None` if it is not yanked.
        pub yanked: Option<String> = "l.mark, l.note" => yanked,
    }
}

macro_rules! periods {
    ($condition:literal) => {
        select!(
            FilePeriod,
            concat!(
                "WHERE l.tree_id = $1 AND f.sha256 IS NOT NULL AND f.role IN ('source', 'python') AND f.platform = '' AND ",
                $condition
            )
        )
    };
}

/// Returns the periods of the files with a name, in unspecified order: one file can have several, and other bytes under its
/// name have periods of their own.
pub fn of_file(c: &mut dyn Conn, tree: TreeId, file: &str) -> Result<Vec<FilePeriod>, DbError> {
    c.all(periods!("f.name = $2"), &[tree.into(), file.into()])
}

/// Returns the periods of all files of a package, in unspecified order.
pub fn of_package(c: &mut dyn Conn, tree: TreeId, package: &str) -> Result<Vec<FilePeriod>, DbError> {
    const LIST: &str = periods!(
        "p.name = $2 AND p.language = (SELECT s.language FROM source s JOIN tree t ON t.source_id = s.id WHERE t.id = $1)"
    );
    c.all(LIST, &[tree.into(), package.into()])
}
