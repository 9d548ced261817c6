//! The log over HTTP, as programs for transparency logs read it: checkpoint, tiles, entries.

use rstudio_pm::tlog::note::{Checkpoint, Note, VerifierKey};
use rstudio_pm::tlog::tile::{decode_entries, decode_hashes};
use rstudio_pm::tlog::tree::{Accumulator, Root, leaf_hash};

use crate::support::fixtures::until;
use crate::support::http;
use crate::support::server::Builder;

#[test]
fn checkpoint_tiles_and_entries_are_those_of_one_log() {
    let server = Builder::default().env("PACKAGEMANAGER_ENCRYPTION_KEY", &"5a".repeat(512)).start();
    server.local_repository("prod", &[]);
    assert!(server.refused("history status").contains("rspm history init"));
    let status = server.json("history init --origin=example.org/log");
    let key: VerifierKey = status["key"].as_str().expect("a key").parse().expect("a key");
    assert_eq!(key.name(), "example.org/log");
    until("all transactions are in the signed log", || {
        let status = server.json("history status");
        let signed = status["checkpoint"].as_str().and_then(|text| text.lines().nth(1)?.parse().ok());
        status["waiting"] == 0 && signed == status["entries"].as_u64()
    });
    let token = |scopes: &str| server.rspm_stdout(&format!("create token --quiet --description=x {scopes}"));
    let (administrator, reader) = (token("--scope=global:admin"), token("--scope=repos:read --repos=prod"));
    let get = |path: &str, token: &str| {
        let header = format!("Bearer {}", token.trim());
        http::request("GET", &server.url(&format!("/__log__/{path}")), &[("Authorization", &header)], b"")
    };
    assert_eq!(server.get("/__log__/checkpoint").status, 401);

    let note = Note::parse(&get("checkpoint", &reader).body).expect("a note");
    assert!(note.verify(&key).expect("a signature").is_some());
    let Checkpoint { origin, root } = note.text().parse().expect("a checkpoint");
    assert_eq!(origin, "example.org/log");
    let (count, width) = (root.count, u16::try_from(root.count).expect("few entries"));

    let tile = get(&format!("tile/0/000.p/{count}"), &reader);
    let hashes = decode_hashes(&tile.body, width).expect("hashes");
    let mut tree = Accumulator::default();
    hashes.iter().for_each(|hash| tree.push_hash(*hash));
    assert_eq!(tree.root(), root);

    let entries = format!("tile/entries/000.p/{count}");
    assert_eq!(get(&entries, &reader).status, 403);
    let bundle = get(&entries, &administrator).body;
    let entries = decode_entries(&bundle, width).expect("entries");
    assert_eq!(Root::of(&entries), root);
    assert_eq!(leaf_hash(entries[0]), hashes[0]);
    assert!(entries[0].starts_with(b"rspm-log/1 open\n"));

    for path in [format!("tile/0/000.p/{}", count + 1), "tile/0/000".to_owned(), "tile/1/000".to_owned()] {
        assert_eq!(get(&path, &reader).status, 404, "{path}");
    }
}
