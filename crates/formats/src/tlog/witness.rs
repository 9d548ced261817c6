//! The request to cosign a checkpoint (C2SP tlog-witness v1.0.0, `add-checkpoint`), and the decision of a witness.

use std::fmt;

use super::note::{Checkpoint, MAX_NOTE_SIZE, Note, VerifierKey};
use super::tree::{Accumulator, Hash, Root, verify_consistency};
use super::{TlogError, base64_hash, decimal, fail, lines_of, path_text, quoted};

/// Maximum number of hashes of a consistency proof.
const MAX_PATH: usize = 63;
/// Maximum size of a request in bytes: a note, and 64 lines of at most 64 bytes.
pub const MAX_REQUEST_SIZE: usize = MAX_NOTE_SIZE + (4 << 10);

/// A checkpoint, with the proof that its log has the entries of an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size of the newest checkpoint that the witness cosigned, as far as the log knows.
    pub old: u64,
    /// The hashes that lead from the old root to the new one.
    pub path: Vec<Hash>,
    pub note: Note,
}

/// Why a witness does not cosign. Each has a status of its own over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    Invalid(#[from] TlogError),
    #[error("this server cosigns no log with the origin {}", quoted(.0))]
    UnknownLog(String),
    #[error("{0}")]
    NotSigned(String),
    /// The size of the newest checkpoint that the witness cosigned, which is not the old size of the request.
    #[error("the newest cosigned checkpoint has {0} entries")]
    OtherSize(u64),
    #[error("{0}")]
    Inconsistent(String),
}

impl AddCheckpoint {
    /// Parses the body of a request: `old SIZE`, hashes, an empty line, and the note.
    pub fn parse(bytes: &[u8]) -> Result<AddCheckpoint, TlogError> {
        let lines = lines_of(bytes, MAX_REQUEST_SIZE)?;
        let mut parts = lines.splitn(2, |line| line.is_empty());
        let (Some([first, path @ ..]), Some(note)) = (parts.next(), parts.next()) else {
            return fail("not 'old SIZE', hashes, an empty line, and a checkpoint");
        };
        let Some(old) = first.strip_prefix("old ") else {
            return fail(format!("line 1: {} is not 'old SIZE'", quoted(first)));
        };
        if path.len() > MAX_PATH {
            return fail(format!("{} hashes, more than {MAX_PATH}", path.len()));
        }
        let path = path.iter().zip(2..);
        let path = path.map(|(line, number)| base64_hash(line).map_err(|e| e.at(format!("line {number}"))));
        Ok(AddCheckpoint {
            old: decimal(old).map_err(|e| e.at("line 1"))?,
            path: path.collect::<Result<_, _>>()?,
            note: Note::parse((note.join("\n") + "\n").as_bytes()).map_err(|e| e.at("checkpoint"))?,
        })
    }

    /// Decides about a request. `keys` are those of all logs that the witness knows, by their names, `known` is the
    /// newest checkpoint of this origin that it cosigned. Returns the note with the signatures of the log only.
    pub fn check(
        &self,
        checkpoint: &Checkpoint,
        keys: &[VerifierKey],
        known: Option<Root>,
    ) -> Result<Note, Refusal> {
        let keys: Vec<&VerifierKey> = keys.iter().filter(|key| key.name() == checkpoint.origin).collect();
        if keys.is_empty() {
            return Err(Refusal::UnknownLog(checkpoint.origin.clone()));
        }
        let signed = keys.iter().map(|key| self.note.verify(key)).collect::<Result<Vec<_>, _>>();
        let signed = signed.map_err(|error| Refusal::NotSigned(error.to_string()))?;
        if signed.iter().all(Option::is_none) {
            let origin = quoted(&checkpoint.origin);
            return Err(Refusal::NotSigned(format!("no signature by a key of {origin} that is known here")));
        }
        if self.old > checkpoint.root.count {
            let (old, size) = (self.old, checkpoint.root.count);
            return Err(TlogError(format!("old size {old}, but the checkpoint has {size} entries")).into());
        }
        let empty = Accumulator::default().root();
        let known = known.unwrap_or(empty);
        if self.old != known.count {
            return Err(Refusal::OtherSize(known.count));
        }
        let inconsistent = |error: super::tree::PathError| Refusal::Inconsistent(error.to_string());
        verify_consistency(&known, &checkpoint.root, &self.path).map_err(inconsistent)?;
        if checkpoint.root.count == 0 && checkpoint.root != empty {
            return Err(Refusal::Inconsistent(
                "the root of no entries is not that of the empty tree".to_owned(),
            ));
        }
        Ok(self.note.only(&keys))
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "old {}\n{}\n{}", self.old, path_text(&self.path), self.note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tlog::note::{KeyType, Signer, Statement};
    use crate::tlog::tree::{Subtrees, consistency_path, leaf_hash};
    use proptest::prelude::*;

    const ORIGIN: &str = "log.example/a";

    fn signer(seed: u8) -> Signer {
        Signer::from_seed(ORIGIN, &[seed; 32]).unwrap()
    }

    fn nodes(fork: u8) -> Subtrees {
        let leaf = |number| leaf_hash(&[number, if number < 20 { 0 } else { fork }]);
        Subtrees::new((0..100_u8).map(leaf).collect())
    }

    fn root(size: usize, fork: u8) -> Root {
        crate::tlog::tree::root(size as u64, &nodes(fork)).unwrap()
    }

    fn request(old: u64, root: Root, fork: u8) -> AddCheckpoint {
        let path = consistency_path(old, root.count, &nodes(fork)).unwrap().unwrap_or_default();
        let text = Checkpoint { origin: ORIGIN.to_owned(), root }.to_string();
        let note = format!("{text}\n{}", signer(1).sign(&text, Statement::Signed));
        AddCheckpoint { old, path, note: Note::parse(note.as_bytes()).unwrap() }
    }

    /// The status of the answer of a witness that has cosigned the first 40 entries.
    fn status(body: &str, keys: &[VerifierKey]) -> u16 {
        let check = || -> Result<Note, Refusal> {
            let request = AddCheckpoint::parse(body.as_bytes())?;
            let checkpoint = request.note.text().parse().map_err(Refusal::Invalid)?;
            request.check(&checkpoint, keys, Some(root(40, 0)))
        };
        match check() {
            Ok(_) => 200,
            Err(Refusal::Invalid(_)) => 400,
            Err(Refusal::NotSigned(_)) => 403,
            Err(Refusal::UnknownLog(_)) => 404,
            Err(Refusal::OtherSize(size)) => {
                assert_eq!(size, 40);
                409
            }
            Err(Refusal::Inconsistent(_)) => 422,
        }
    }

    #[test]
    fn each_request_has_the_status_of_the_specification() {
        let keys = [signer(1).key(KeyType::Note).clone()];
        let good = request(40, root(70, 0), 0);
        let text = good.to_string();
        assert_eq!(AddCheckpoint::parse(text.as_bytes()), Ok(good.clone()));
        let with = |change: &dyn Fn(&mut AddCheckpoint)| {
            let mut request = good.clone();
            change(&mut request);
            request.to_string()
        };
        let hash = text.lines().nth(1).unwrap();
        let signature = text.lines().last().unwrap();
        let forged = signer(1).sign("other\n", Statement::Signed);
        for (case, body, expected) in [
            ("good", text.clone(), 200),
            ("same checkpoint again", request(40, root(40, 0), 0).to_string(), 200),
            (
                "unknown signature besides",
                format!("{text}{}", signer(2).sign(good.note.text(), Statement::Signed)),
                200,
            ),
            ("rollback", request(30, root(35, 0), 0).to_string(), 409),
            ("wrong old size", request(20, root(70, 0), 0).to_string(), 409),
            ("no old size", request(0, root(70, 0), 0).to_string(), 409),
            ("old size above the checkpoint", request(40, root(39, 0), 0).to_string(), 400),
            ("fork", request(40, root(70, 9), 9).to_string(), 422),
            ("same size, other root", request(40, root(40, 9), 9).to_string(), 422),
            ("path too long", with(&|request| request.path.push([0; 32])), 422),
            ("path too short", with(&|request| request.path.truncate(1)), 422),
            ("path changed", with(&|request| request.path[0][31] ^= 1), 422),
            (
                "path with an equal size",
                with(&|request| {
                    *request =
                        AddCheckpoint { path: vec![[0; 32]], ..super::tests::request(40, root(40, 0), 0) };
                }),
                422,
            ),
            ("63 hashes", with(&|request| request.path.resize(63, [0; 32])), 422),
            ("64 hashes", with(&|request| request.path.resize(64, [0; 32])), 400),
            ("leading zero", text.replacen("old 40", "old 040", 1), 400),
            ("sign", text.replacen("old 40", "old +40", 1), 400),
            ("tab", text.replacen("old 40", "old\t40", 1), 400),
            ("no old line", text.replacen("old 40\n", "", 1), 400),
            ("no size", text.replacen("old 40", "old", 1), 400),
            ("short hash", text.replacen(hash, &hash[4..], 1), 400),
            ("CRLF", text.replace('\n', "\r\n"), 400),
            ("no checkpoint", text[..text.find("\n\n").unwrap() + 2].to_owned(), 400),
            ("no final line feed", text.trim_end().to_owned(), 400),
            ("extension line", text.replacen("70\n", "70\nextension\n", 1), 400),
            ("empty", String::new(), 400),
            ("other origin", text.replace(ORIGIN, "log.example/b"), 404),
            (
                "not signed by a known key",
                text.replace(signature, signer(2).sign(good.note.text(), Statement::Signed).trim_end()),
                403,
            ),
            ("wrong signature", text.replace(signature, forged.trim_end()), 403),
            ("good and wrong signature", format!("{text}{forged}"), 403),
        ] {
            assert_eq!(status(&body, &keys), expected, "{case}\n{body}");
        }
        assert_eq!(status(&text, &[]), 404);
        let other = signer(2).key(KeyType::Note).clone();
        assert_eq!(status(&text, &[other.clone(), keys[0].clone()]), 200, "any key of the origin");
        assert_eq!(status(&text, &[other]), 403);
    }

    #[test]
    fn an_unknown_log_begins_with_any_size() {
        let keys = [signer(1).key(KeyType::Note).clone()];
        let check = |request: &AddCheckpoint| {
            request.check(&request.note.text().parse().unwrap(), &keys, None).map(|note| note.to_string())
        };
        let first = request(0, root(70, 0), 0);
        assert_eq!(check(&first), Ok(first.note.to_string()));
        let empty = Accumulator::default().root();
        assert!(check(&request(0, empty, 0)).is_ok());
        let wrong = Root { count: 0, hash: [1; 32] };
        assert!(matches!(check(&request(0, wrong, 0)), Err(Refusal::Inconsistent(_))));
        let with_path = AddCheckpoint { path: vec![[0; 32]], ..first };
        assert!(matches!(check(&with_path), Err(Refusal::Inconsistent(_))));
        assert_eq!(check(&request(10, root(70, 0), 0)), Err(Refusal::OtherSize(0)));
    }

    #[test]
    fn a_request_has_a_maximum_size() {
        let long = format!("old 0\n\n{}\n1\nx\n\n", "x".repeat(MAX_REQUEST_SIZE));
        assert!(AddCheckpoint::parse(long.as_bytes()).unwrap_err().to_string().contains("more than"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, text in "old [0-9]{1,3}\n([A-Za-z0-9+/]{43}=\n){0,3}\n?.{0,20}") {
            let _ = (AddCheckpoint::parse(&bytes), AddCheckpoint::parse(text.as_bytes()));
        }
    }
}
