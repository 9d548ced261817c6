//! The verifiers in `docs/verify`, in Python and R, accept the same proofs as `rspm`: good ones, and none of those that are
//! changed, cut off, or signed over something ambiguous.

use std::process::Command;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rstudio_pm::tlog::entry_proof::{EntryProof, ViewRequest};
use rstudio_pm::tlog::note::{Checkpoint, KeyType, Signer, Statement};
use rstudio_pm::tlog::policy::Policy;
use rstudio_pm::tlog::record_proof::{FileDigest, INDEX, PROJECTS, RecordProof, records_of};
use rstudio_pm::tlog::tree::{Hash, Root, Subtrees, inclusion_path, leaf_hash};
use sha2::{Digest, Sha256};

use crate::support::rscript;

const LOG: &str = "log.example/l";
const DAY: &str = "2026-11-26";
const FILE: &[u8] = b"the file";
const DASH: &str = "\u{2014}";
/// The order of the group of Ed25519, little-endian.
const ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";

struct Case {
    name: String,
    proof: Vec<u8>,
    policy: String,
    document: &'static str,
    file: Option<Vec<u8>>,
    packages: Option<Vec<u8>>,
    is_good: bool,
}

impl Case {
    fn new(name: &str, proof: impl Into<Vec<u8>>, is_good: bool) -> Case {
        let (policy, document) = (policy("both"), INDEX);
        let (name, proof) = (name.to_owned(), proof.into());
        Case { name, proof, policy, document, file: None, packages: None, is_good }
    }

    /// The answer of the functions that `rspm history verify` calls.
    fn is_accepted(&self) -> bool {
        let Ok(policy) = Policy::parse(&self.policy) else { return false };
        let request = ViewRequest { repository: "prod", snapshot: DAY, document: self.document };
        if !self.proof.starts_with(b"rspm-proof/") {
            let view = EntryProof::parse(&self.proof).and_then(|proof| proof.verify_view(&policy, &request));
            let is_of = |root| self.packages.as_ref().is_none_or(|index| Root::of(records_of(index)) == root);
            return view.is_ok_and(|view| is_of(view.root));
        }
        let record = RecordProof::parse(&self.proof).and_then(|proof| proof.verify(&policy, &request));
        record.is_ok_and(|record| match (&self.file, record.digest) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(file), Some(FileDigest::Md5(md5))) => md5::Md5::digest(file).as_slice() == md5,
            (Some(file), Some(FileDigest::Sha256(sha256))) => Sha256::digest(file).as_slice() == sha256,
        })
    }

    /// Name, document, proof, policy, file and index, for a line of the file with all cases.
    fn line(&self) -> String {
        let text = |bytes: Option<&[u8]>| bytes.map_or("-".to_owned(), |bytes| BASE64_STANDARD.encode(bytes));
        let (proof, policy) = (text(Some(&self.proof)), text(Some(self.policy.as_bytes())));
        let (file, packages) = (text(self.file.as_deref()), text(self.packages.as_deref()));
        format!("{}\t{proof}\t{policy}\t{file}\t{packages}\n", self.document)
    }
}

fn signer(seed: u8) -> Signer {
    let name = if seed == 1 { LOG.to_owned() } else { format!("w{seed}.example") };
    Signer::from_seed(&name, &[seed; 32]).expect("a signer")
}

fn policy(quorum: &str) -> String {
    let witness = |seed| signer(seed).key(KeyType::Cosignature).to_string();
    let (log, two, three) = (signer(1).key(KeyType::Note).to_string(), witness(2), witness(3));
    format!(
        "# test\nlog {log}\nwitness w2 {two}\nwitness\tw3 {three}\ngroup both all w2 w3\nquorum {quorum}\n"
    )
}

fn records() -> Vec<String> {
    let md5 = hex::encode(md5::Md5::digest(FILE));
    let record = |n| match n {
        3 => format!("Package: a3\nVersion: 1.0\nDepends: R (>= 3.5),\n\tb\nMD5sum: {md5}"),
        n => format!("Package: p{n}\nTitle: \u{e9}"),
    };
    (0..7).map(record).collect()
}

fn path(leaves: &[impl AsRef<[u8]>], index: usize) -> Vec<Hash> {
    let nodes = Subtrees::new(leaves.iter().map(|leaf| leaf_hash(leaf.as_ref())).collect());
    inclusion_path(index as u64, nodes.count(), &nodes).expect("a leaf").expect("a path")
}

fn view(records: &[impl AsRef<[u8]>]) -> String {
    let root = Root::of(records);
    let (count, hash) = (root.count, hex::encode(root.hash));
    format!(
        "rspm-log/1 view\nrepository prod\nsnapshot {DAY}\ndocument {INDEX}\nrecords {count}\nroot {hash}\nrules none\n"
    )
}

/// The checkpoint of a log with this entry, with its signatures.
fn entry_proof(entry: &str, sign: impl Fn(&str) -> String) -> String {
    let mut entries: Vec<String> = (0..11).map(|n| format!("entry {n}")).collect();
    entry.clone_into(&mut entries[5]);
    let checkpoint = Checkpoint { origin: LOG.to_owned(), root: Root::of(&entries) }.to_string();
    let hashes: Vec<String> =
        path(&entries, 5).iter().map(|hash| BASE64_STANDARD.encode(hash) + "\n").collect();
    format!("{entry}\nc2sp.org/tlog-proof@v1\nindex 5\n{}\n{}", hashes.concat(), sign(&checkpoint))
}

fn record_proof(records: &[impl AsRef<[u8]>], position: usize, entry: &str) -> Vec<u8> {
    let hashes: Vec<String> =
        path(records, position).iter().map(|hash| BASE64_STANDARD.encode(hash) + "\n").collect();
    let member = format!("rspm-proof/1\nmember {position} {}\n{}\n", records.len(), hashes.concat());
    [member.as_bytes(), records[position].as_ref(), b"\n\n", entry_proof(entry, all).as_bytes()].concat()
}

/// A note with the signatures of the log and both witnesses.
fn all(text: &str) -> String {
    format!("{text}\n{}{}{}", log(text), cosigned(2, text, 1_764_000_000), cosigned(3, text, 1_764_000_001))
}

fn log(text: &str) -> String {
    signer(1).sign(text, Statement::Signed)
}

fn cosigned(seed: u8, text: &str, time: u64) -> String {
    signer(seed).sign(text, Statement::Cosigned(time))
}

fn good() -> String {
    String::from_utf8(record_proof(&records(), 3, &view(&records()))).expect("UTF-8")
}

/// A proof that is good but for the note: its text, signed again, and its signature lines.
fn with_note(change: impl Fn(&str) -> String) -> String {
    let member = good();
    let (member, _) = member.split_once("\n\nrspm-log/1").expect("an entry");
    format!("{member}\n\n{}", entry_proof(&view(&records()), change))
}

fn changed_texts(cases: &mut Vec<Case>) {
    let good = good();
    let hash = good.lines().nth(2).expect("a hash").to_owned();
    let second = good.lines().nth(3).expect("a hash").to_owned();
    let unpadded = hash.trim_end_matches('=').to_owned();
    let reordered = good.replacen(&hash, "?", 1).replacen(&second, &hash, 1).replacen('?', &second, 1);
    let trailing = {
        let last = char::from(unpadded.as_bytes()[42] + 1);
        format!("{}{last}=", &unpadded[..42])
    };
    for (name, from, to) in [
        ("version of the record", "Version: 1.0", "Version: 1.1"),
        ("digest of the record", "MD5sum: ", "MD5sum: 0"),
        ("an added field", "Depends: R", "Imports: x\nDepends: R"),
        ("a removed line", "Version: 1.0\n", ""),
        ("a space for a tab", "\tb\n", " b\n"),
        ("position", "member 3 7", "member 4 7"),
        ("position beyond", "member 3 7", "member 7 7"),
        ("a number of records", "member 3 7", "member 3 8"),
        ("another word", "member", "mamber"),
        ("a third number", "member 3 7", "member 3 7 7"),
        ("leading zero", "member 3", "member 03"),
        ("16 digits", "member 3 7", "member 3 7000000000000000"),
        ("path too short", &format!("{hash}\n"), ""),
        ("path too long", &hash, &format!("{hash}\n{hash}")),
        ("short hash", &hash, "AAAA"),
        ("no padding", &hash, &unpadded),
        ("other trailing bits", &hash, &trailing),
        ("day of the entry", DAY, "2026-11-25"),
        ("repository", "repository prod", "repository test"),
        ("kind", "rspm-log/1 view", "rspm-log/1 rules"),
        ("index", "index 5", "index 4"),
        ("index beyond", "index 5", "index 11"),
        ("another word for index", "index 5", "indem 5"),
        ("size", "\n11\n", "\n12\n"),
        ("origin", "\nlog.example/l\n", "\nlog.example/m\n"),
        ("first line", "rspm-proof/1", "rspm-proof/2"),
        ("tlog-proof", "tlog-proof@v1", "tlog-proof@v2"),
        ("extra line", "\nindex 5", "\nextra AAAA\nindex 5"),
        ("CRLF", "\n", "\r\n"),
        ("NUL in the record", "Package: a3", "Package: a\x003"),
        ("C1 control character", "repository prod", "repository pr\u{9b}od"),
        ("seven parts", "\n\nc2sp", "\n\nx\n\nc2sp"),
        ("two empty lines", "\n\nc2sp", "\n\n\nc2sp"),
        ("hyphen for the dash", DASH, "-"),
    ] {
        let changed = good.replacen(from, to, if name == "CRLF" || name == DASH { usize::MAX } else { 1 });
        assert_ne!(changed, good, "{name}");
        cases.push(Case::new(name, changed, false));
    }
    cases.push(Case::new("path reordered", reordered, false));
    cases.push(Case::new("base64 of URLs", good.replace('/', "_"), false));
    cases.push(Case::new("more than 1 MiB", format!("{good}{}", "x".repeat(1 << 20)), false));
    cases.push(Case::new("no line feed", good.trim_end(), false));
    cases.push(Case::new(
        "invalid UTF-8",
        good.replacen("prod", "pr?d", 1)
            .into_bytes()
            .into_iter()
            .map(|b| if b == b'?' { 0xff } else { b })
            .collect::<Vec<_>>(),
        false,
    ));
    for end in 0..good.len() {
        cases.push(Case::new(&format!("the first {end} bytes"), &good.as_bytes()[..end], false));
    }
    for at in (0..good.len()).step_by(7) {
        let mut changed = good.clone().into_bytes();
        changed[at] ^= 1 << (at % 8);
        cases.push(Case::new(&format!("bit {} of byte {at}", at % 8), changed, false));
    }
}

/// Entries and records that are signed and in the log.
fn signed_contents(cases: &mut Vec<Case>) {
    let (records, view) = (records(), view(&records()));
    let hash = hex::encode(Root::of(&records).hash);
    let flat = hex::encode(Sha256::digest(records.concat()));
    let day = format!("snapshot {DAY}\n");
    for (name, entry, is_good) in [
        ("unchanged", view.clone(), true),
        ("more keys", view.clone() + "transaction 7\ntree a\ntree b\n", true),
        ("two roots", view.replace("rules none", &format!("root {hash}")), false),
        ("two days", view.replace("rules none", day.trim_end()), false),
        ("two other days", view.replace(&day, &format!("snapshot 2026-11-25\n{day}")), false),
        ("no repository", view.replace("repository prod\n", ""), false),
        ("another document", view.replace("src/", "bin/"), false),
        ("number of records in the entry", view.replace("records 7", "records 8"), false),
        ("zero before the number", view.replace("records 7", "records 07"), false),
        ("capitals", view.replace(&hash, &hash.to_uppercase()), false),
        ("flat digest", view.replace(&hash, &flat), false),
        ("key without a value", view.replace("rules none", "rules "), false),
        ("key in capitals", view.replace("rules none", "RULES none"), false),
        ("space before a key", view.replace("rules none", " rules none"), false),
        ("too large", format!("{view}more {}\n", "x".repeat(60_000)), false),
    ] {
        cases.push(Case::new(name, record_proof(&records, 3, &entry), is_good));
    }
    let nodes: Vec<Hash> = records[..2].iter().map(|record| leaf_hash(record.as_bytes())).collect();
    let node = self::view(&records[..2]).replace("records 2", "records 1");
    cases.push(Case::new("an inner node as a record", record_proof(&[nodes.concat()], 0, &node), false));
    let md5 = hex::encode(md5::Md5::digest(FILE));
    let sha256 = hex::encode(Sha256::digest(FILE));
    for (name, record, has_file, is_good) in [
        ("one record", "Package: a\nVersion: 1".to_owned(), false, true),
        ("the file", format!("Package: a\nMD5sum: {md5}"), true, true),
        ("the file by SHA-256", format!("Package: a\nMD5sum: {md5}\nSHA256: {sha256}"), true, true),
        (
            "SHA-256 of another file",
            format!("Package: a\nMD5sum: {md5}\nSHA256: {}", "0".repeat(64)),
            true,
            false,
        ),
        ("another file", format!("Package: a\nMD5sum: {}", "0".repeat(32)), true, false),
        ("no digest", "Package: a".to_owned(), true, false),
        ("two digests", format!("Package: a\nMD5sum: {md5}\nMD5sum: {md5}"), false, false),
        ("digest in capitals", format!("Package: a\nMD5sum: {}", "A".repeat(32)), false, false),
        ("digest with a space", format!("Package: a\nMD5sum: {md5} "), true, false),
        ("digest with a line", format!("Package: a\nMD5sum:\n {md5}"), true, false),
        ("digest with a tab", format!("Package: a\nMD5sum:\t{md5}"), true, true),
        ("two packages", "Package: a\nPackage: b".to_owned(), false, false),
        ("a line without a colon", "Package: a\nb".to_owned(), false, false),
        ("a space first", " Package: a".to_owned(), false, false),
        ("no name of a field", "Package: a\n: b".to_owned(), false, false),
        ("a name with a letter of UTF-8", "Package: a\nT\u{ef}tle: b".to_owned(), false, false),
        ("a NUL", "Package: a\0".to_owned(), false, false),
    ] {
        let proof = record_proof(&[&record], 0, &self::view(&[&record]));
        let file = has_file.then(|| FILE.to_vec());
        cases.push(Case { file, ..Case::new(name, proof, is_good) });
    }
    let latin = b"Package: a\nTitle: \xe9".to_vec();
    cases.push(Case::new("another encoding", record_proof(&[&latin], 0, &self::view(&[&latin])), true));
    for (name, leaf, is_good) in [
        ("a file of Python", format!("pkg pkg-1.0.tar.gz {sha256}"), true),
        ("a file with two words", format!("pkg {sha256}"), false),
        ("a file with four words", format!("pkg a b {sha256}"), false),
        ("a file without a digest", "pkg pkg-1.0.tar.gz 00".to_owned(), false),
    ] {
        let entry = self::view(&[&leaf]).replace(INDEX, PROJECTS);
        let proof = record_proof(&[&leaf], 0, &entry);
        cases.push(Case { document: PROJECTS, file: Some(FILE.to_vec()), ..Case::new(name, proof, is_good) });
    }
    let index = records.join("\n\n");
    for (name, entry, index, is_good) in [
        ("an index", view.clone(), index.clone() + "\n", true),
        (
            "an index with more empty lines",
            view.clone(),
            format!("\n{}\n\n", index.replace("\n\n", "\n\n\n")),
            true,
        ),
        ("another index", view.clone(), index.replacen("p0", "p8", 1), false),
        ("an empty index", view, String::new(), false),
        ("an empty state", self::view(&[""; 0]), "\n".to_owned(), true),
    ] {
        let proof = entry_proof(&entry, all);
        cases.push(Case { packages: Some(index.into_bytes()), ..Case::new(name, proof, is_good) });
    }
}

fn signatures(cases: &mut Vec<Case>) {
    let two = |text: &str| cosigned(2, text, 1_764_000_000);
    let three = |text: &str| cosigned(3, text, 1_764_000_001);
    let both = |text: &str| two(text) + &three(text);
    let thief = Signer::from_seed(LOG, &[7; 32]).expect("a signer");
    let stranger = Signer::from_seed("other.example", &[9; 32]).expect("a signer");
    let bytes = |line: &str| {
        BASE64_STANDARD.decode(line.trim_end().rsplit(' ').next().expect("a word")).expect("base64")
    };
    let forged = |text: &str| {
        let id = &bytes(&log(text))[..4];
        let signature = &bytes(&thief.sign(text, Statement::Signed))[4..];
        format!("{DASH} {LOG} {}\n", BASE64_STANDARD.encode([id, signature].concat()))
    };
    let plus_order = |text: &str| {
        let (mut signature, mut carry) = (bytes(&log(text)), 0);
        let order = hex::decode(ORDER).expect("digits");
        for (byte, more) in signature[36..].iter_mut().zip(order) {
            carry += u16::from(*byte) + u16::from(more);
            (*byte, carry) = (carry.to_le_bytes()[0], carry >> 8);
        }
        format!("{DASH} {LOG} {}\n", BASE64_STANDARD.encode(signature))
    };
    let cut = |text: &str| {
        let signature = bytes(&two(text));
        format!("{DASH} w2.example {}\n", BASE64_STANDARD.encode(&signature[..75]))
    };
    type Lines<'a> = Box<dyn Fn(&str) -> String + 'a>;
    let notes: Vec<(&str, Lines, bool)> = vec![
        ("all signatures", Box::new(|t| log(t) + &both(t)), true),
        ("another order", Box::new(|t| three(t) + &log(t) + &two(t)), true),
        ("unknown ones besides", Box::new(|t| log(t) + &both(t) + &thief.sign(t, Statement::Signed)), true),
        (
            "16 unknown ones",
            Box::new(|t| log(t) + &both(t) + &stranger.sign(t, Statement::Signed).repeat(16)),
            true,
        ),
        ("64 lines", Box::new(|t| log(t) + &both(t) + &stranger.sign(t, Statement::Signed).repeat(61)), true),
        (
            "65 lines",
            Box::new(|t| log(t) + &both(t) + &stranger.sign(t, Statement::Signed).repeat(62)),
            false,
        ),
        (
            "a note of 300 kB",
            Box::new(|t| log(t) + &both(t) + &format!("{DASH} x {}\n", "AAAA".repeat(75_000))),
            false,
        ),
        ("no signature of the log", Box::new(both), false),
        ("another key of the same name", Box::new(|t| thief.sign(t, Statement::Signed) + &both(t)), false),
        ("another key under the id", Box::new(|t| forged(t) + &both(t)), false),
        ("forged, then good", Box::new(|t| forged(t) + &log(t) + &both(t)), false),
        ("good, then forged", Box::new(|t| log(t) + &forged(t) + &both(t)), false),
        ("the log twice", Box::new(|t| log(t) + &log(t) + &both(t)), false),
        ("a cosignature of the log", Box::new(|t| cosigned(1, t, 1) + &both(t)), false),
        ("no witness", Box::new(log), false),
        ("one witness", Box::new(|t| log(t) + &two(t)), false),
        ("one witness twice", Box::new(|t| log(t) + &two(t) + &two(t)), false),
        ("one witness at two times", Box::new(|t| log(t) + &two(t) + &cosigned(2, t, 9)), false),
        (
            "a witness signs the note",
            Box::new(|t| log(t) + &three(t) + &signer(2).sign(t, Statement::Signed)),
            false,
        ),
        ("another checkpoint", Box::new(|t| log(t) + &three(t) + &two(&t.replace("11", "10"))), false),
        ("a cosignature of 75 bytes", Box::new(|t| log(t) + &three(t) + &cut(t)), false),
        ("the last second", Box::new(|t| log(t) + &three(t) + &cosigned(2, t, 253_402_300_799)), true),
        ("the year 10000", Box::new(|t| log(t) + &three(t) + &cosigned(2, t, 253_402_300_800)), false),
        ("S + L", Box::new(|t| plus_order(t) + &both(t)), false),
        (
            "a name with a space",
            Box::new(|t| log(t) + &both(t) + &format!("{DASH} a\u{a0}b AAAAAAAA\n")),
            false,
        ),
        ("a line that is not a signature", Box::new(|t| log(t) + &both(t) + "x\n"), false),
    ];
    for (name, lines, is_good) in notes {
        cases.push(Case::new(name, with_note(|text| format!("{text}\n{}", lines(text))), is_good));
    }
    for (name, from, to) in [
        ("another origin, signed", "log.example/l", "log.example/m"),
        ("a Cyrillic letter, signed", "log.example/l", "l\u{43e}g.example/l"),
        ("size 011", "\n11\n", "\n011\n"),
        ("size +11", "\n11\n", "\n+11\n"),
        ("size 11 and a space", "\n11\n", "\n11 \n"),
        ("size 1e1", "\n11\n", "\n1e1\n"),
        ("full-width digits", "\n11\n", "\n\u{ff11}\u{ff11}\n"),
        ("size 2^64 + 11", "\n11\n", "\n18446744073709551627\n"),
        ("size -1", "\n11\n", "\n-1\n"),
        ("an extension line", "=\n", "=\nextension\n"),
    ] {
        cases.push(Case::new(name, with_note(|text| all(&text.replace(from, to))), false));
    }
}

fn policies(cases: &mut Vec<Case>) {
    let (both, good) = (policy("both"), good());
    let small = |kind: u8| {
        let public = [&[kind, 1][..], &[0; 31]].concat();
        let id = hex::encode(&Sha256::digest([LOG.as_bytes(), b"\n", &public].concat())[..4]);
        format!("{LOG}+{id}+{}", BASE64_STANDARD.encode(public))
    };
    let log_line = both.lines().nth(1).expect("a line").to_owned();
    let other = Signer::from_seed("log.example/other", &[8; 32]).expect("a signer");
    let two_logs = format!("{log_line}\nlog {}", other.key(KeyType::Note));
    for (name, policy, is_good) in [
        ("quorum none", policy("none"), true),
        ("one of the group", policy("w2"), true),
        ("two logs", both.replace(&log_line, &two_logs), true),
        ("a threshold", both.replace("both all", "both 2"), true),
        ("any", both.replace("both all", "both any"), true),
        ("no quorum", both.replace("quorum both\n", ""), false),
        ("two quorums", both.clone() + "quorum w2\n", false),
        ("unknown quorum", policy("all"), false),
        ("empty", String::new(), false),
        ("no log", both.replace(&log_line, ""), false),
        ("unknown member", both.replace("all w2 w3", "all w2 w4"), false),
        ("member twice", both.replace("all w2 w3", "all w2 w2"), false),
        ("threshold of 3", both.replace("both all", "both 3"), false),
        ("threshold of 0", both.replace("both all", "both 0"), false),
        ("threshold of 02", both.replace("both all", "both 02"), false),
        ("the same key twice", both.replace(&log_line, &format!("{log_line}\n{log_line}")), false),
        ("a name twice", both.replace("witness\tw3", "witness w2"), false),
        (
            "a key of a witness",
            both.replace(&log_line, &format!("log {}", signer(1).key(KeyType::Cosignature))),
            false,
        ),
        ("another id", both.replace(&format!("{LOG}+"), &format!("{LOG}+0")), false),
        ("a key of small order", both.replace(&log_line, &format!("{log_line}\nlog {}", small(1))), false),
        ("a witness of small order", format!("{both}witness w9 {}\n", small(4)), false),
        ("control character", both.clone() + "\u{1b}\n", false),
        ("unknown line", both.clone() + "more\n", false),
        ("a tab and a comment", both.clone() + "\t# more\n", true),
    ] {
        cases.push(Case { policy, ..Case::new(&format!("policy: {name}"), good.as_str(), is_good) });
    }
}

const PYTHON: &str = r#"
import base64, sys
sys.path.insert(0, sys.argv[1])
import verify
bytes_of = lambda text: None if text == "-" else base64.b64decode(text)
for line in open(sys.argv[2], encoding="ascii"):
    document, proof, policy, file, packages = line.rstrip("\n").split("\t")
    try:
        verify.verify(*map(bytes_of, (proof, policy)), b"prod", b"2026-11-26", document.encode(), *map(bytes_of, (file, packages)))
        print("accepted")
    except verify.Refused:
        print("refused")
"#;

const R: &str = r#"
args <- commandArgs(TRUE)
source(file.path(args[1], "verify.R"))
decoded <- function(text) if (text == "-") NULL else if (text == "") raw(0) else openssl::base64_decode(text)
for (line in readLines(args[2])) {
  parts <- lapply(strsplit(paste0(line, "\t"), "\t", fixed = TRUE)[[1]], identity)
  document <- parts[[1]]
  parts <- lapply(parts[-1], decoded)
  cat(tryCatch({
    verify(parts[[1]], parts[[2]], "prod", "2026-11-26", document, parts[[3]], parts[[4]])
    "accepted"
  }, refused = function(reason) "refused", error = conditionMessage), "\n", sep = "")
}
"#;

#[test]
fn rspm_python_and_r_accept_the_same_proofs() {
    let mut cases = vec![Case::new("a good proof", good(), true)];
    changed_texts(&mut cases);
    signed_contents(&mut cases);
    signatures(&mut cases);
    policies(&mut cases);
    assert_eq!(with_note(all), good());

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("cases");
    std::fs::write(&file, cases.iter().map(Case::line).collect::<String>()).expect("written");
    let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/verify");
    let python =
        Command::new("python3").args(["-B", "-c", PYTHON, scripts]).arg(&file).output().expect("python3");
    assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
    let python = String::from_utf8(python.stdout).expect("UTF-8");
    let r = rscript::run(R, &[scripts.as_ref(), file.as_os_str()]);
    for (program, answers) in [("verify.py", &python), ("verify.R", &r)] {
        assert_eq!(answers.lines().count(), cases.len(), "{program}");
    }
    let mut wrong = Vec::new();
    for ((case, python), r) in cases.iter().zip(python.lines()).zip(r.lines()) {
        let expected = if case.is_good { "accepted" } else { "refused" };
        let rspm = if case.is_accepted() { "accepted" } else { "refused" };
        if [rspm, python, r] != [expected; 3] {
            wrong.push(format!("{} is not {expected}: rspm {rspm}, Python {python}, R {r}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
