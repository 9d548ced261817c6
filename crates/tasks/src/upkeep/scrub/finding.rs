//! Findings of a scrub: the bad object, its fault, its package and the outcome of its repair.

use content::serve::RepoError;
use runtime::state::State;
use store::db::stored_file::{self, FileOrigin};
use store::storage::Key;

use base::words;

words! {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Fault {
        /// The bytes have a different digest.
        Damaged = "damaged",
        /// The disk cannot read the object.
        Unreadable = "unreadable",
        /// A row refers to it, and it is not in storage.
        Missing = "missing",
        /// Name or version in the DESCRIPTION of a package differ from its rows.
        Facts = "facts",
        Database = "database",
    }
}

words! {
    /// The outcome of a repair of a bad object, or the possible outcome if there was no repair.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum RepairOutcome {
        Repaired = "repaired",
        /// It is generated again on request.
        Generated = "generated",
        /// It can be obtained: a package is fetched again on request, or by a scrub that repairs.
        Obtainable = "obtainable",
        /// It can be obtained only from a backup or its author.
        Lost = "lost",
    }
}

impl RepairOutcome {
    pub fn is_bad(self) -> bool {
        match self {
            RepairOutcome::Repaired | RepairOutcome::Generated => false,
            RepairOutcome::Obtainable | RepairOutcome::Lost => true,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The object; `None` for the database.
    pub key: Option<Key>,
    pub fault: Fault,
    /// The detail, as part of a sentence.
    pub detail: String,
    pub outcome: RepairOutcome,
    /// The package that it belongs to.
    pub origin: Option<FileOrigin>,
}

impl Finding {
    /// Creates a finding about an object, with the package that it belongs to.
    pub(super) async fn of_object(
        state: &State,
        key: Key,
        fault: Fault,
        detail: String,
        outcome: RepairOutcome,
    ) -> Result<Finding, RepoError> {
        let origin = state.db.read(move |c| match key {
            Key::Package(_, sha256) => stored_file::origin(c, sha256),
            Key::Readme(sha256) => stored_file::origin_of_readme(c, sha256),
            Key::Index(_) | Key::Rules(_) | Key::Advisories(_) | Key::Usage(_) | Key::BuildLog(_) => Ok(None),
        });
        Ok(Finding { key: Some(key), fault, detail, outcome, origin: origin.await? })
    }

    pub(super) fn in_database(problem: String) -> Finding {
        Finding {
            key: None,
            fault: Fault::Database,
            detail: problem,
            outcome: RepairOutcome::Lost,
            origin: None,
        }
    }

    pub(super) fn log(&self) {
        let object = self.key.map(|key| key.to_string()).unwrap_or_default();
        let file = self.origin.as_ref().map_or("", |origin| origin.file.as_str());
        let (fault, outcome) = (self.fault.as_str(), self.outcome.as_str());
        tracing::error!(object, file, fault, outcome, "the scrub found a fault: {}", self.detail);
    }
}
