//! The proof that a repository had a record of R on a day, `rspm-proof/1`: the record, its path in the state, and the
//! proof of the entry with the root of the state.

use std::collections::BTreeSet;

use super::entry_proof::{EntryProof, ProvedView, ViewRequest};
use super::policy::Policy;
use super::tree::{Hash, leaf_hash, verify_inclusion};
use super::{MAX_PROOF_SIZE, TlogError, decimal, fail, hex_bytes, lines_of, path_of, path_text, quoted};

const FIRST_LINE: &str = "rspm-proof/1";
/// The document whose records are the leaves of a state of R packages.
pub const INDEX: &str = "src/contrib/PACKAGES";

/// The text form has six parts with an empty line between them: `rspm-proof/1`, `member POSITION COUNT` and the path;
/// the record; and the four parts of an [`EntryProof`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordProof {
    /// The position of the record in the index.
    pub position: u64,
    /// The number of records of the index.
    pub count: u64,
    pub path: Vec<Hash>,
    /// The record as in the index, in any encoding, without the line feed at its end.
    pub record: Vec<u8>,
    pub entry: EntryProof,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileDigest {
    Md5([u8; 16]),
    Sha256([u8; 32]),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvedRecord {
    /// Names and values in the order of the record. Lines of a value are joined by spaces, and bytes that are not UTF-8
    /// are replaced by U+FFFD. A value may have control characters: escape it for a terminal.
    pub fields: Vec<(String, String)>,
    /// The digest of the package file: that of the field `SHA256`, or else `MD5sum`; `None` if the record has neither.
    pub digest: Option<FileDigest>,
    pub view: ProvedView,
}

impl ProvedRecord {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }
}

/// The document whose records are the leaves of a state of projects: [`project_leaf`].
pub const PROJECTS: &str = "simple/";

/// What a proof of a record is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Member {
    /// A version of an R package.
    Package { package: String, version: String },
    /// A file of a project.
    File { name: String, sha256: String },
}

impl Member {
    pub fn is_of(&self, record: &[u8]) -> bool {
        match self {
            Member::Package { package, version } => {
                field(record, "Package:") == Some(package.as_bytes())
                    && field(record, "Version:") == Some(version.as_bytes())
            }
            Member::File { name, sha256 } => {
                let words = record.split(|byte| *byte == b' ').skip(1);
                words.eq([name.as_bytes(), sha256.as_bytes()])
            }
        }
    }
}

/// Returns the name of the package or project of a record, for messages.
pub fn name_of(record: &[u8]) -> String {
    let name = field(record, "Package:").or_else(|| record.split(|byte| *byte == b' ').next());
    String::from_utf8_lossy(name.unwrap_or_default()).escape_debug().take(100).collect()
}

/// Returns the first line of a field with its colon, without the spaces around its value.
fn field<'a>(record: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut lines = record.split(|byte| *byte == b'\n');
    lines.find_map(|line| line.strip_prefix(name.as_bytes())).map(<[u8]>::trim_ascii)
}

/// Returns the leaf of a file in the state of a repository of projects: `PROJECT FILE SHA256`, with the normalized name of
/// the project and the digest in hexadecimal digits.
pub fn project_leaf(project: &str, file: &str, sha256: &str) -> String {
    format!("{project} {file} {sha256}")
}

/// Returns the records of an index `PACKAGES`: the leaves of its state. They are separated by empty lines, and the line
/// feed at the end of a record is not a part of it.
pub fn records_of(index: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = index;
    std::iter::from_fn(move || {
        let start = rest.iter().position(|byte| *byte != b'\n')?;
        let record;
        (record, rest) = split_at_empty_line(rest.get(start..)?);
        Some(record.strip_suffix(b"\n").unwrap_or(record))
    })
}

/// Splits a text at its first empty line, which is in neither part; the second part is empty without one.
fn split_at_empty_line(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.windows(2).position(|pair| pair == b"\n\n").unwrap_or(text.len());
    let (start, rest) = text.split_at(end);
    (start, rest.get(2..).unwrap_or_default())
}

impl RecordProof {
    /// Parses the text form, of at most 1 MiB, without verification.
    pub fn parse(bytes: &[u8]) -> Result<RecordProof, TlogError> {
        if bytes.len() > MAX_PROOF_SIZE {
            return fail(format!("{} bytes, more than {MAX_PROOF_SIZE}", bytes.len()));
        }
        let (member, rest) = split_at_empty_line(bytes);
        let (record, entry) = split_at_empty_line(rest);
        let in_part = |e: TlogError| e.at("member");
        if record.contains(&0) {
            return fail("record: a NUL byte");
        }
        let member = [member, b"\n"].concat();
        let lines = lines_of(&member, MAX_PROOF_SIZE).map_err(in_part)?;
        let [first, numbers, path @ ..] = lines.as_slice() else {
            return fail(format!("member: no lines '{FIRST_LINE}' and 'member POSITION COUNT'"));
        };
        let numbers = numbers.strip_prefix("member ").and_then(|numbers| numbers.split_once(' '));
        let Some((position, count)) = numbers.filter(|_| *first == FIRST_LINE) else {
            return fail(format!(
                "member: the first lines are not '{FIRST_LINE}' and 'member POSITION COUNT'"
            ));
        };
        Ok(RecordProof {
            position: decimal(position).map_err(|e| in_part(e.at("line 2")))?,
            count: decimal(count).map_err(|e| in_part(e.at("line 2")))?,
            path: path_of(path).map_err(in_part)?,
            record: record.to_vec(),
            entry: EntryProof::parse(entry)?,
        })
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let path = path_text(&self.path);
        let member = format!("{FIRST_LINE}\nmember {} {}\n{path}\n", self.position, self.count);
        [member.as_bytes(), &self.record, b"\n\n", self.entry.to_string().as_bytes()].concat()
    }

    /// Verifies the entry, and that it is the requested view; then that the state has the record; then its fields.
    pub fn verify(&self, policy: &Policy, request: &ViewRequest) -> Result<ProvedRecord, TlogError> {
        let view = self.entry.verify_view(policy, request)?;
        if self.count != view.root.count {
            let entry = view.root.count;
            return fail(format!("member: line 2: {} records, but {entry} in the entry", self.count));
        }
        let included = verify_inclusion(&leaf_hash(&self.record), self.position, &self.path, &view.root);
        included.map_err(|e| TlogError(format!("member: {e}")))?;
        let fields = match request.document {
            PROJECTS => project_fields(&self.record),
            _ => fields_of(&self.record),
        };
        let fields = fields.map_err(|e| e.at("record"))?;
        let mut proved = ProvedRecord { fields, digest: None, view };
        proved.digest = match (proved.field("SHA256"), proved.field("MD5sum")) {
            (Some(digits), _) => {
                Some(FileDigest::Sha256(hex_bytes(digits).map_err(|e| e.at("record: SHA256"))?))
            }
            (None, Some(digits)) => {
                Some(FileDigest::Md5(hex_bytes(digits).map_err(|e| e.at("record: MD5sum"))?))
            }
            (None, None) => None,
        };
        Ok(proved)
    }
}

/// Returns project, file and digest of a leaf of a state of projects, under the names that R uses.
fn project_fields(record: &[u8]) -> Result<Vec<(String, String)>, TlogError> {
    let text = String::from_utf8_lossy(record);
    let words: Vec<&str> = text.split(' ').collect();
    let [project, file, sha256] = words[..] else {
        return fail(format!("{} is not 'PROJECT FILE SHA256'", quoted(&text)));
    };
    let fields = [("Package", project), ("File", file), ("SHA256", sha256)];
    Ok(fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec())
}

fn is_field_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Returns the fields of a record in the format of Debian's control files. A field twice is an error: readers differ in
/// which one they use.
fn fields_of(record: &[u8]) -> Result<Vec<(String, String)>, TlogError> {
    let text = String::from_utf8_lossy(record);
    let (mut fields, mut names) = (Vec::<(String, String)>::new(), BTreeSet::new());
    for (line, number) in text.split('\n').zip(1..) {
        match (line.split_once(':'), fields.last_mut()) {
            (_, Some((_, value))) if line.starts_with([' ', '\t']) => value.extend([" ", line.trim()]),
            (Some((name, value)), _) if is_field_name(name) => {
                if !names.insert(name) {
                    return fail(format!("line {number}: field {} a second time", quoted(name)));
                }
                let value = value.trim_start_matches([' ', '\t']);
                fields.push((name.to_owned(), value.to_owned()));
            }
            _ => return fail(format!("line {number}: {} is not 'FIELD: VALUE'", quoted(line))),
        }
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tlog::note::{Checkpoint, KeyType, Note, Signer, Statement};
    use crate::tlog::tree::{Root, Subtrees, inclusion_path, root};
    use proptest::prelude::*;

    const LOG: &str = "log.example/l";
    const REQUEST: ViewRequest<'static> =
        ViewRequest { repository: "prod", snapshot: "2026-11-26", document: "src/contrib/PACKAGES" };
    const RECORD: &str =
        "Package: a3\nVersion: 1.0\nDepends: R (>= 3.5),\n\tb\nMD5sum: 7a440111cd1e24356d558ac55a65dc98";

    fn signer(seed: u8) -> Signer {
        let name = if seed == 1 { LOG.to_owned() } else { format!("w{seed}.example") };
        Signer::from_seed(&name, &[seed; 32]).unwrap()
    }

    fn policy_text(quorum: &str) -> String {
        let witness = |seed| signer(seed).key(KeyType::Cosignature).to_string();
        let (log, two, three) = (signer(1).key(KeyType::Note).to_string(), witness(2), witness(3));
        format!("log {log}\nwitness w2 {two}\nwitness w3 {three}\ngroup both all w2 w3\nquorum {quorum}\n")
    }

    fn policy() -> Policy {
        Policy::parse(&policy_text("both")).unwrap()
    }

    fn records(count: usize) -> Vec<Vec<u8>> {
        (0..count)
            .map(
                |n| if n == 3 { RECORD.into() } else { format!("Package: p{n}\nTitle: \u{e9}").into_bytes() },
            )
            .collect()
    }

    fn view(records: &[Vec<u8>]) -> String {
        let root = Root::of(records);
        let (count, hash) = (root.count, hex::encode(root.hash));
        let ViewRequest { repository, snapshot, document } = REQUEST;
        format!(
            "rspm-log/1 view\nrepository {repository}\nsnapshot {snapshot}\ndocument {document}\nrecords {count}\n\
             root {hash}\nrules none\n"
        )
    }

    fn path_in(leaves: &[Vec<u8>], index: usize) -> Vec<Hash> {
        let nodes = Subtrees::new(leaves.iter().map(|leaf| leaf_hash(leaf)).collect());
        inclusion_path(index as u64, leaves.len() as u64, &nodes).unwrap().unwrap()
    }

    fn note_of(text: &str) -> Note {
        let signatures = [
            signer(1).sign(text, Statement::Signed),
            signer(2).sign(text, Statement::Cosigned(1_764_000_000)),
            signer(3).sign(text, Statement::Cosigned(1_764_000_001)),
        ];
        Note::parse(format!("{text}\n{}", signatures.concat()).as_bytes()).unwrap()
    }

    /// A proof in which everything is signed and included as it should be, whatever record and entry are.
    fn proof(records: &[Vec<u8>], position: usize, entry: &str) -> RecordProof {
        let mut entries: Vec<Vec<u8>> = (0..11).map(|n| format!("entry {n}").into_bytes()).collect();
        entries[5] = entry.into();
        let root = Root::of(&entries);
        let note = note_of(&Checkpoint { origin: LOG.to_owned(), root }.to_string());
        let entry = EntryProof { entry: entry.to_owned(), index: 5, path: path_in(&entries, 5), note };
        let count = records.len() as u64;
        let path = path_in(records, position);
        RecordProof { position: position as u64, count, path, record: records[position].clone(), entry }
    }

    fn good() -> RecordProof {
        proof(&records(7), 3, &view(&records(7)))
    }

    fn verify(bytes: &[u8]) -> Result<ProvedRecord, TlogError> {
        RecordProof::parse(bytes)?.verify(&policy(), &REQUEST)
    }

    #[test]
    fn a_proof_states_record_digest_and_times() {
        let proof = good();
        let bytes = proof.to_bytes();
        assert_eq!(RecordProof::parse(&bytes), Ok(proof));
        let proved = verify(&bytes).unwrap();
        assert_eq!((proved.field("Package"), proved.field("Depends")), (Some("a3"), Some("R (>= 3.5), b")));
        assert_eq!(
            proved.digest,
            Some(FileDigest::Md5(hex_bytes("7a440111cd1e24356d558ac55a65dc98").unwrap()))
        );
        let trusted = &proved.view.proved.trusted;
        let times: Vec<_> = trusted.cosignatures.iter().map(|c| (c.witness.as_str(), c.time)).collect();
        assert_eq!(times, [("w2", 1_764_000_000), ("w3", 1_764_000_001)]);
        assert_eq!(
            (trusted.checkpoint.root.count, proved.view.proved.index, proved.view.root.count),
            (11, 5, 7)
        );
        let entry = EntryProof::parse(good().entry.to_string().as_bytes()).unwrap();
        assert_eq!(entry.verify_view(&policy(), &REQUEST).unwrap(), proved.view);
    }

    #[test]
    fn the_digest_is_sha256_if_the_record_has_one() {
        let of = |record: &str| {
            let records = [record.as_bytes().to_vec()];
            verify(&proof(&records, 0, &view(&records)).to_bytes()).map(|proved| proved.digest)
        };
        let sha256 = "ab".repeat(32);
        let digest = Ok(Some(FileDigest::Sha256([0xab; 32])));
        assert_eq!(of(&format!("Package: a\nMD5sum: {}\nSHA256: {sha256}", "cd".repeat(16))), digest);
        assert_eq!(of("Package: a\nTitle:\n  b\n c"), Ok(None));
        for (record, expected) in [
            (format!("Package: a\nSHA256: {}", sha256.to_uppercase()), "record: SHA256: 'ABAB"),
            ("MD5sum: 00".to_owned(), "record: MD5sum: '00' is not 32 digits"),
            ("Package: a\nMD5sum: 00\nMD5sum: 01".to_owned(), "record: line 3: field 'MD5sum' a second time"),
            ("Package".to_owned(), "record: line 1: 'Package' is not 'FIELD: VALUE'"),
            (" Package: a".to_owned(), "record: line 1"),
        ] {
            let error = of(&record).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn every_truncation_and_every_changed_bit_is_refused() {
        let bytes = good().to_bytes();
        for end in 0..bytes.len() {
            assert!(verify(&bytes[..end]).is_err(), "the first {end} bytes");
        }
        for position in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[position] ^= 1 << bit;
                assert!(verify(&changed).is_err(), "bit {bit} of byte {position}");
            }
        }
    }

    #[test]
    fn changed_proofs_are_refused() {
        type Change = fn(&mut RecordProof);
        let cases: &[(&str, Change)] = &[
            ("version", |p| p.record[22] = b'2'),
            ("added field", |p| p.record.extend(b"\nSHA256: 00")),
            ("removed line", |p| p.record.truncate(24)),
            ("other record", |p| p.record = records(7).swap_remove(4)),
            ("position", |p| p.position = 4),
            ("position beyond", |p| p.position = 7),
            ("greatest position", |p| p.position = u64::MAX),
            ("count", |p| p.count = 8),
            ("member path short", |p| p.path.truncate(2)),
            ("member path long", |p| p.path.push([0; 32])),
            ("member path reordered", |p| p.path.reverse()),
            ("day", |p| p.entry.entry = p.entry.entry.replace("-26", "-25")),
            ("repository", |p| p.entry.entry = p.entry.entry.replace("prod", "test")),
            ("kind", |p| p.entry.entry = p.entry.entry.replace("view", "rules")),
            ("root", |p| p.entry.entry = p.entry.entry.replace("root ", "root 0")),
            ("index", |p| p.entry.index = 4),
            ("index beyond", |p| p.entry.index = 11),
            ("log path short", |p| p.entry.path.truncate(3)),
            ("log path long", |p| p.entry.path.push([0; 32])),
        ];
        for (case, change) in cases {
            let mut changed = good();
            change(&mut changed);
            assert!(verify(&changed.to_bytes()).is_err(), "{case}");
        }
    }

    #[test]
    fn texts_are_read_strictly() {
        let good = String::from_utf8(good().to_bytes()).unwrap();
        let first = good.lines().nth(2).unwrap().to_owned();
        for (from, to, expected) in [
            ("rspm-proof/1", "rspm-proof/2", "member: the first lines"),
            ("member 3", "Member 3", "member: the first lines"),
            ("member 3 7", "member 03 7", "member: line 2: '03'"),
            ("member 3 7", "member 3 +7", "member: line 2: '+7'"),
            ("member 3 7", "member 3 18446744073709551623", "member: line 2: '18446744073709551623'"),
            ("member 3 7", "member 3", "member: the first lines"),
            ("member 3 7", "member 3  7", "member: line 2"),
            (&first, "AAAA", "member: line 3: 'AAAA' is not the base64 text of 32 bytes"),
            (&first, first.trim_end_matches('='), "member: line 3"),
            (&first, &first.replace('=', "\u{0}="), "member: line 3: control character"),
            ("c2sp.org/tlog-proof@v1", "c2sp.org/tlog-proof@v2", "tlog-proof: the first lines"),
            ("\nindex 5", "\nextra AAAA\nindex 5", "tlog-proof: the first lines"),
            ("index 5", "index 5 ", "tlog-proof: line 2: '5 '"),
            ("\n\nlog.example", "\nlog.example", "tlog-proof: line 7"),
            ("\n", "\r\n", "member"),
        ] {
            let error = verify(good.replace(from, to).as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{to}: {error}");
        }
        let large = format!("{good}{}", "x".repeat(MAX_PROOF_SIZE));
        assert!(verify(large.as_bytes()).unwrap_err().to_string().contains("more than 1048576"));
        assert!(
            verify(format!("{good}x\n").as_bytes())
                .unwrap_err()
                .to_string()
                .contains("checkpoint: line 8: 'x'")
        );
        let unknown = Signer::from_seed("other.example", &[9; 32]).unwrap();
        let line = unknown.sign("x\n", Statement::Signed);
        assert!(verify(format!("{good}{}", line.repeat(16)).as_bytes()).is_ok());
        assert!(verify(format!("{good}{}", line.repeat(62)).as_bytes()).is_err());
    }

    #[test]
    fn signed_entries_are_read_strictly() {
        let records = records(7);
        let view = view(&records);
        let hash = hex::encode(Root::of(&records).hash);
        let flat = hex::encode(<Hash>::from(<sha2::Sha256 as sha2::Digest>::digest(records.concat())));
        for (entry, expected) in [
            (view.replace("rules none", "root 00"), "entry: line 7: key 'root' a second time"),
            (
                view.replace("rules none", "snapshot 2026-11-25"),
                "entry: line 7: key 'snapshot' a second time",
            ),
            (
                view.replace("2026-11-26", "2026-11-25"),
                "snapshot '2026-11-25', but '2026-11-26' was requested",
            ),
            (view.replace("prod", "test"), "entry: repository 'test', but 'prod' was requested"),
            (view.replace("src/", "bin/"), "entry: document 'bin/contrib/PACKAGES'"),
            (view.replace("repository prod\n", ""), "entry: repository ''"),
            (view.replace("1 view", "1 publish"), "entry: kind 'publish' instead of 'view'"),
            (view.replace("records 7", "records 8"), "member: line 2: 7 records, but 8 in the entry"),
            (view.replace("records 7", "records 07"), "entry: records: '07'"),
            (view.replace(&hash, &hash.to_uppercase()), "entry: root: "),
            (view.replace(&hash, &flat), "member: the path leads to root"),
            (view.to_uppercase(), "entry: line 1"),
        ] {
            let error = verify(&proof(&records, 3, &entry).to_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let other = ViewRequest { repository: "test", ..REQUEST };
        assert!(good().verify(&policy(), &other).is_err());
    }

    #[test]
    fn an_inner_node_is_not_a_record() {
        let hashes: Vec<Hash> = records(2).iter().map(|record| leaf_hash(record)).collect();
        let node = hashes.concat();
        let entry = view(&records(2)).replace("records 2", "records 1");
        let forged = proof(&[node], 0, &entry);
        assert!(forged.verify(&policy(), &REQUEST).unwrap_err().to_string().contains("leads to root"));
    }

    #[test]
    fn checkpoints_and_signatures_are_read_strictly() {
        let good = good();
        let text = good.entry.note.text().to_owned();
        let signed = |text: &str| RecordProof {
            entry: EntryProof { note: note_of(text), ..good.entry.clone() },
            ..good.clone()
        };
        for (case, text) in [
            ("another origin", text.replace("log.example", "log2.example")),
            ("a Cyrillic letter", text.replace("log.example", "l\u{43e}g.example")),
            ("size 011", text.replace("\n11\n", "\n011\n")),
            ("size +11", text.replace("\n11\n", "\n+11\n")),
            ("size 4", text.replace("\n11\n", "\n4\n")),
            ("size 2^64+11", text.replace("\n11\n", "\n18446744073709551627\n")),
            ("extension line", format!("{text}extension\n")),
        ] {
            assert!(verify(&signed(&text).to_bytes()).is_err(), "{case}");
        }
        assert!(verify(&signed(&text).to_bytes()).is_ok());
        let (log, two, three) = (
            signer(1).sign(&text, Statement::Signed),
            signer(2).sign(&text, Statement::Cosigned(1)),
            signer(3).sign(&text, Statement::Cosigned(2)),
        );
        let thief = Signer::from_seed(LOG, &[7; 32]).unwrap().sign(&text, Statement::Signed);
        let again = signer(2).sign(&text, Statement::Cosigned(9));
        let plain = signer(2).sign(&text, Statement::Signed);
        let cosigned_log = signer(1).sign(&text, Statement::Cosigned(1));
        for (case, lines, is_good) in [
            ("all", format!("{log}{two}{three}"), true),
            ("other order", format!("{three}{log}{two}"), true),
            ("unknown besides", format!("{log}{two}{three}{thief}{plain}"), true),
            ("no signature of the log", format!("{two}{three}"), false),
            ("another key", format!("{thief}{two}{three}"), false),
            ("cosignature of the log", format!("{cosigned_log}{two}{three}"), false),
            ("no witness", log.clone(), false),
            ("one witness", format!("{log}{two}"), false),
            ("one witness twice", format!("{log}{two}{two}"), false),
            ("one witness at two times", format!("{log}{two}{again}"), false),
            ("a witness twice", format!("{log}{two}{again}{three}"), false),
            ("a witness signs the note", format!("{log}{plain}{three}"), false),
            ("the log twice", format!("{log}{log}{two}{three}"), false),
        ] {
            let note = Note::parse(format!("{text}\n{lines}").as_bytes()).unwrap();
            let proof = RecordProof { entry: EntryProof { note, ..good.entry.clone() }, ..good.clone() };
            assert_eq!(proof.verify(&policy(), &REQUEST).is_ok(), is_good, "{case}");
        }
        let note = Note::parse(format!("{text}\n{log}").as_bytes()).unwrap();
        let proof = RecordProof { entry: EntryProof { note, ..good.entry.clone() }, ..good.clone() };
        let none = Policy::parse(&policy_text("none")).unwrap();
        assert!(proof.verify(&none, &REQUEST).is_ok());
    }

    #[test]
    fn an_index_is_split_into_records() {
        let records = |text: &'static str| records_of(text.as_bytes()).collect::<Vec<_>>();
        assert_eq!(records("a: 1\nb: 2\n\nc: 3\n"), [&b"a: 1\nb: 2"[..], b"c: 3"]);
        assert_eq!(records("a\n\n\n\nc\n\n"), [&b"a"[..], b"c"]);
        assert_eq!(records("a"), [b"a"]);
        assert!(records("").is_empty() && records("\n\n\n").is_empty());
        let leaves: Vec<Hash> = records("a\n\nb\n").into_iter().map(leaf_hash).collect();
        assert_eq!(root(2, &Subtrees::new(leaves)), Ok(Root::of(["a", "b"])));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn proofs_of_any_state_are_verified(count in 1_usize..300, position: prop::sample::Index) {
            let records = records(count);
            let proof = proof(&records, position.index(count), &view(&records));
            prop_assert_eq!(RecordProof::parse(&proof.to_bytes()), Ok(proof.clone()));
            prop_assert!(proof.verify(&policy(), &REQUEST).is_ok());
        }

        #[test]
        fn replaced_bytes_are_refused(
            at: prop::sample::Index, remove in 0_usize..4, bytes in prop::collection::vec(any::<u8>(), 0..4),
        ) {
            let good = good().to_bytes();
            let start = at.index(good.len());
            let end = good.len().min(start + remove);
            let changed = [&good[..start], &bytes, &good[end..]].concat();
            prop_assert!(changed == good || verify(&changed).is_err());
        }
    }
}
