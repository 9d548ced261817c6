//! Provenance objects of Python files of an index, each of which is fetched when it is requested for the first time.

use super::python_file::{DISTRIBUTION, PROVENANCE};
use super::{Conn, DbError};
use crate::db::engine::columns::{or_default, row, select};
use base::model::digest::Sha256;
use base::model::ids::FileId;
use base::model::time::Timestamp;

row! {
    /// The stored facts about the provenance of a distribution.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ProvenanceRow from "file f LEFT JOIN file p ON p.release_id = f.release_id AND p.role = $1 \
        AND p.platform = '' AND p.build = f.build AND p.name = f.name AND p.state = 1 LEFT JOIN blob b ON b.sha256 = p.sha256" {
        /// The newest facts about the distribution, as JSON.
        pub facts: Vec<u8> = "coalesce((SELECT v.facts FROM file_fact v WHERE v.file_id = f.id ORDER BY v.variant DESC \
            LIMIT 1), f.facts)" => or_default,
        pub object: Option<ProvenanceObject> = "b.sha256, b.class, b.created_at",
    }
}

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ProvenanceObject {
        pub sha256: Sha256,
        pub class: String,
        /// Time at which it was stored last.
        pub stored_at: Timestamp,
    }
}

/// Returns the stored facts about the provenance of a distribution; `None` if there is no such distribution.
pub fn find(c: &mut dyn Conn, distribution: FileId) -> Result<Option<ProvenanceRow>, DbError> {
    let params = [PROVENANCE.into(), distribution.into(), DISTRIBUTION.into()];
    c.first(select!(ProvenanceRow, "WHERE f.id = $2 AND f.role = $3"), &params)
}
