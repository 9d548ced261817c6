//! Targets for the log: notes, policies, proofs, paths of tiles, entries, audits, requests to witnesses.

use rstudio_pm::tlog::audit::Auditor;
use rstudio_pm::tlog::entry::Entry;
use rstudio_pm::tlog::entry_proof::{EntryProof, ViewRequest};
use rstudio_pm::tlog::note::Note;
use rstudio_pm::tlog::policy::Policy;
use rstudio_pm::tlog::record_proof::{INDEX, PROJECTS, RecordProof, records_of};
use rstudio_pm::tlog::tile::{Tile, decode_entries, decode_hashes};
use rstudio_pm::tlog::tree::Root;
use rstudio_pm::tlog::witness::AddCheckpoint;

/// The key of the log in the corpus, whose seed is 32 bytes of value 1.
const POLICY: &str = "log log.example/l+73363a2e+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c\nquorum none\n";

/// A note, alone or in a request to a witness, is written as it was read. It has signatures of this key only if they are
/// right, and no input panics.
pub fn note(data: &[u8]) {
    if let Ok(note) = Note::parse(data) {
        assert_eq!(note.to_string().as_bytes(), data);
        let policy = Policy::parse(POLICY).expect("a policy");
        if let Ok(trusted) = policy.check(&note) {
            assert_eq!(trusted.checkpoint.to_string(), note.text());
        }
    }
    let _ = AddCheckpoint::parse(data);
}

/// A policy.
pub fn policy(data: &[u8]) {
    let _ = Policy::parse(&String::from_utf8_lossy(data));
}

/// A proof is written as it was read, and verified.
pub fn proof(data: &[u8]) {
    let policy = Policy::parse(POLICY).expect("a policy");
    for document in [INDEX, PROJECTS] {
        let request = ViewRequest { repository: "prod", snapshot: "2026-11-26", document };
        if let Ok(proof) = RecordProof::parse(data) {
            assert_eq!(RecordProof::parse(&proof.to_bytes()).as_ref(), Ok(&proof));
            let _ = proof.verify(&policy, &request);
        }
        if let Ok(proof) = EntryProof::parse(data) {
            assert_eq!(proof.to_string().as_bytes(), data);
            let _ = proof.verify_view(&policy, &request);
        }
    }
    assert_eq!(Root::of(records_of(data)).count, records_of(data).count() as u64);
}

/// A path of a tile is written as it was read; bytes of tiles.
pub fn tile(data: &[u8]) {
    let (width, rest) = super::choice(data);
    if let Ok(path) = str::from_utf8(rest)
        && let Some(tile) = Tile::parse(path)
    {
        assert_eq!(tile.to_string(), path);
    }
    let width = u16::from(width) + 1;
    let _ = decode_hashes(rest, width);
    if let Ok(entries) = decode_entries(rest, width) {
        assert_eq!(entries.len(), usize::from(width));
    }
}

/// A log of entries that are separated by empty lines: each is written as it was read, and the audit has their root.
pub fn audit(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let entries: Vec<String> = text.split("\n\n").map(|entry| format!("{entry}\n")).collect();
    let mut auditor = Auditor::new(Vec::new());
    for entry in &entries {
        if let Ok(parsed) = Entry::parse(entry.as_bytes()) {
            assert_eq!(parsed.to_string(), *entry);
        }
        auditor.push(entry.as_bytes());
    }
    assert_eq!(auditor.root(), Root::of(&entries));
    let report = auditor.finish();
    assert!(report.findings.iter().all(|found| found.entry < entries.len() as u64));
}
