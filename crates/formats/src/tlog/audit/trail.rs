//! The rows of an audit trail that was exported, and the salts with which a log names rows.

use std::collections::BTreeMap;

use base::model::digest::Sha256;

/// An exported audit trail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trail {
    /// The digests of rows, in hexadecimal digits, by their numbers.
    pub rows: BTreeMap<u64, String>,
    /// The salts, by the numbers of entries.
    pub salts: BTreeMap<u64, Vec<u8>>,
}

impl Trail {
    /// Returns why an entry that names a row by a salted digest is not of this trail; `None` also for an entry after the last one
    /// with a salt, which is newer than the export.
    pub(super) fn problem(&self, entry: u64, row: u64, digest: &[u8; 32]) -> Option<String> {
        let (last, _) = self.salts.last_key_value()?;
        if entry > *last || row == 0 {
            return None;
        }
        let Some(salt) = self.salts.get(&entry) else {
            return Some("the export of the audit trail lacks the salt of this entry".to_owned());
        };
        let Some(known) = self.rows.get(&row) else {
            return Some(format!("the audit trail lacks row {row}, which the log names"));
        };
        let salted = Sha256::of([salt, known.as_bytes()].concat());
        (salted.0 != *digest)
            .then(|| format!("row {row} of the audit trail is not the one that the log names"))
    }
}
