//! The proof that an entry is in a log: the entry, and a C2SP tlog-proof. Of an entry of kind `view`, it proves the
//! root of a state.

use std::fmt;

use super::entry::Entry;
use super::note::Note;
use super::policy::{Policy, TrustedCheckpoint};
use super::tree::{Hash, Root, leaf_hash, verify_inclusion};
use super::{MAX_PROOF_SIZE, TlogError, decimal, fail, hex_bytes, lines_of, path_of, path_text, quoted};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// The text form is the entry, an empty line, and the tlog-proof: its first line, `index N`, the path, an empty line,
/// and the checkpoint. It has no line `extra`, which nothing would authenticate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryProof {
    /// The text of the entry, with the line feed at its end.
    pub entry: String,
    /// The position of the entry in the log.
    pub index: u64,
    pub path: Vec<Hash>,
    /// The checkpoint with its signatures.
    pub note: Note,
}

/// An entry of a log, and the checkpoint that contains it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvedEntry {
    pub entry: Entry,
    pub index: u64,
    pub trusted: TrustedCheckpoint,
}

/// The state that the caller asks for. It is never read from the proof, which could be a valid proof of another one.
#[derive(Clone, Copy, Debug)]
pub struct ViewRequest<'a> {
    pub repository: &'a str,
    /// A day, or the number of a transaction.
    pub snapshot: &'a str,
    /// The path of the index below the snapshot, such as `src/contrib/PACKAGES`.
    pub document: &'a str,
}

/// The state of a repository that an entry of kind `view` describes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvedView {
    /// The root over the records of the document.
    pub root: Root,
    pub proved: ProvedEntry,
}

impl EntryProof {
    /// Parses the text form, of at most 1 MiB, without verification.
    pub fn parse(bytes: &[u8]) -> Result<EntryProof, TlogError> {
        let lines = lines_of(bytes, MAX_PROOF_SIZE).map_err(|e| e.at("entry and checkpoint"))?;
        let mut parts = lines.splitn(3, |line| line.is_empty());
        let (Some(entry), Some(path), Some(note)) = (parts.next(), parts.next(), parts.next()) else {
            return fail("not an entry, a tlog-proof and a checkpoint between empty lines");
        };
        let in_part = |e: TlogError| e.at("tlog-proof");
        let [first, index, path @ ..] = path else { return fail("tlog-proof: no line 'index N'") };
        let Some(index) = index.strip_prefix("index ").filter(|_| *first == FIRST_LINE) else {
            return fail(format!("tlog-proof: the first lines are not '{FIRST_LINE}' and 'index N'"));
        };
        Ok(EntryProof {
            entry: entry.join("\n") + "\n",
            index: decimal(index).map_err(|e| in_part(e.at("line 2")))?,
            path: path_of(path).map_err(in_part)?,
            note: Note::parse((note.join("\n") + "\n").as_bytes()).map_err(|e| e.at("checkpoint"))?,
        })
    }

    /// Verifies the checkpoint by the policy, then that the log has the entry, then the text of the entry.
    pub fn verify(&self, policy: &Policy) -> Result<ProvedEntry, TlogError> {
        let trusted = policy.check(&self.note).map_err(|e| e.at("checkpoint"))?;
        let leaf = leaf_hash(self.entry.as_bytes());
        let included = verify_inclusion(&leaf, self.index, &self.path, &trusted.checkpoint.root);
        included.map_err(|e| TlogError(format!("tlog-proof: {e}")))?;
        let entry = Entry::parse(self.entry.as_bytes()).map_err(|e| e.at("entry"))?;
        Ok(ProvedEntry { entry, index: self.index, trusted })
    }

    /// Verifies the proof, and that the entry is the requested view.
    pub fn verify_view(&self, policy: &Policy, request: &ViewRequest) -> Result<ProvedView, TlogError> {
        let proved = self.verify(policy)?;
        if proved.entry.kind() != "view" {
            return fail(format!("entry: kind {} instead of 'view'", quoted(proved.entry.kind())));
        }
        let ViewRequest { repository, snapshot, document } = *request;
        // A missing line is an empty value, which is no number and no hash.
        let value = |key| proved.entry.value(key).unwrap_or_default();
        for (key, requested) in [("repository", repository), ("snapshot", snapshot), ("document", document)] {
            if value(key) != requested {
                let (found, requested) = (quoted(value(key)), quoted(requested));
                return fail(format!("entry: {key} {found}, but {requested} was requested"));
            }
        }
        let count = decimal(value("records")).map_err(|e| e.at("entry: records"))?;
        let hash = hex_bytes(value("root")).map_err(|e| e.at("entry: root"))?;
        Ok(ProvedView { root: Root { count, hash }, proved })
    }
}

impl fmt::Display for EntryProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = path_text(&self.path);
        write!(f, "{}\n{FIRST_LINE}\nindex {}\n{path}\n{}", self.entry, self.index, self.note)
    }
}
