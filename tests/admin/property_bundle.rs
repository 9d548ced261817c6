//! `[Bundle]` and `CRAN.VerifyPolicy`: each is set while the server runs, and the next sync applies only what is signed or
//! proved.

use std::path::Path;

use rstudio_pm::tlog::entry::Entry;
use rstudio_pm::tlog::entry_proof::EntryProof;
use rstudio_pm::tlog::note::{Checkpoint, KeyType, Note, Signer, Statement};
use rstudio_pm::tlog::record_proof::records_of;
use rstudio_pm::tlog::tree::Root;

use crate::support::fixtures::create_mirror;
use crate::support::server::Server;

fn signer() -> Signer {
    Signer::from_seed("packages.example.org/__log__", &[7; 32]).expect("a key")
}

/// A server that has synced a mirror, which is neither signed nor proved.
fn synced_server() -> Server {
    let server = Server::start();
    create_mirror(&server.dir().join("no-mirror"));
    server.sync().expect("a mirror");
    server
}

#[test]
pub(super) fn key_must_have_signed_the_directories_of_packages() {
    let server = synced_server();
    let key = signer().key(KeyType::Note).to_string();
    let changed = key.replacen('+', "x+", 1);
    let refusal = server.hup_refused(&format!("[Bundle]\nKey = {changed}"));
    assert!(refusal.contains("Bundle.Key") && refusal.contains("is not that of the key"), "{refusal}");
    let gcfg = std::fs::read_to_string(server.config_file()).expect("readable");
    let lines = server.hup_with(&gcfg.replace(&changed, &key));
    assert!(lines.iter().any(|line| line.contains("Bundle.Key is '")), "{lines:#?}");
    let message = server.sync().expect_err("a mirror");
    assert!(message.contains("v3/1/head.json"), "{message}");
    server.repository("r", "cran");
    assert!(
        server.get("/r/latest/src/contrib/PACKAGES").text().contains("alpha"),
        "the last state is served"
    );
}

#[test]
pub(super) fn url_names_the_addresses_that_must_be_signed() {
    let server = synced_server();
    let key = signer().key(KeyType::Note).to_string();
    server.hup(&format!("[Bundle]\nKey = {key}"));
    server.sync().expect_err("a mirror");
    server.hup_applies("[Bundle]\nURL = file://{dir}/other", &["Bundle.URL is 'file://{dir}/other' now"]);
    server.sync().expect("a mirror at another address");
    server.hup("[Bundle]\nURL = file://{dir}");
    server.sync().expect_err("an address below");
}

/// Writes a proof of the state of a repository on a day, by a log with this one entry.
fn write_proof(mirror: &Path, signer: &Signer, repository: &str, day: &str, index: &[u8]) {
    let Root { count, hash } = Root::of(records_of(index));
    let lines = [
        ("repository", repository.to_owned()),
        ("snapshot", day.to_owned()),
        ("document", "src/contrib/PACKAGES".to_owned()),
        ("records", count.to_string()),
        ("root", hex::encode(hash)),
        ("rules", "00".repeat(32)),
        ("transaction", "1".to_owned()),
    ];
    let entry = Entry::new("view", lines.into()).expect("an entry").to_string();
    let origin = signer.key(KeyType::Note).name().to_owned();
    let text = Checkpoint { origin, root: Root::of([&entry]) }.to_string();
    let note = format!("{text}\n{}", signer.sign(&text, Statement::Signed));
    let note = Note::parse(note.as_bytes()).expect("a note");
    let proof = EntryProof { entry, index: 0, path: Vec::new(), note };
    std::fs::write(mirror.join("src/contrib/PACKAGES.proof"), proof.to_string()).expect("written");
}

#[test]
pub(super) fn verify_policy_demands_a_proof_of_the_index() {
    const DAY: &str = "2026-11-20";
    let server = synced_server();
    server.repository("r", "cran");
    let policy = format!("log {}\nquorum none\n", signer().key(KeyType::Note));
    std::fs::write(server.dir().join("policy"), &policy).expect("written");
    server.hup("[CRAN]\nVerifyPolicy = {dir}/policy");
    let message = server.sync().expect_err("an address without a day");
    assert!(message.contains("ends with the name of the repository and a day"), "{message}");
    let (code, text) = server.check_config();
    assert!(code != 0 && text.contains("CRAN.VerifyPolicy is set, and the address"), "{text}");

    let mirror = server.dir().join(format!("prod/{DAY}"));
    create_mirror(&mirror);
    let file = mirror.join("src/contrib/PACKAGES");
    let index = std::fs::read(&file).expect("readable");
    let larger = [&index[..], b"\nPackage: beta\nVersion: 1.0\nLicense: MIT\n"].concat();
    std::fs::write(&file, &larger).expect("written");
    server.hup(&format!("[CRAN]\nURL = file://{{dir}}/prod/{DAY}"));
    let refused = |part: &str| {
        let message = server.sync().expect_err(part);
        assert!(message.contains(part) && message.contains("PACKAGES.proof"), "{part}: {message}");
        assert!(!server.get("/r/latest/src/contrib/PACKAGES").text().contains("beta"));
    };
    refused("there is no proof");
    let other = Signer::from_seed("other.example.org/__log__", &[8; 32]).expect("a key");
    for (signer, repository, day, index, part) in [
        (&signer(), "prod", DAY, &index, "its records have the root"),
        (&signer(), "prod", "2026-11-19", &larger, "snapshot '2026-11-19', but '2026-11-20' was requested"),
        (&signer(), "dev", DAY, &larger, "repository 'dev', but 'prod' was requested"),
        (&other, "prod", DAY, &larger, "no signature by a key of the policy"),
    ] {
        write_proof(&mirror, signer, repository, day, index);
        refused(part);
    }
    write_proof(&mirror, &signer(), "prod", DAY, &larger);
    let proof = std::fs::read(mirror.join("src/contrib/PACKAGES.proof")).expect("readable");
    std::fs::write(mirror.join("src/contrib/PACKAGES.proof"), &proof[..proof.len() - 20]).expect("written");
    refused("the index is not proved");
    std::fs::write(mirror.join("src/contrib/PACKAGES.proof"), &proof).expect("written");
    server.sync().expect("proved");
    server.wait_for_log("the index is that of entry 0 of the log packages.example.org/__log__");
    assert!(server.get("/r/latest/src/contrib/PACKAGES").text().contains("beta"));
    let (_, text) = server.check_config();
    assert!(text.contains("a sync verifies prod of 2026-11-20") && text.contains("no witness"), "{text}");
    // The same index with another policy: what was applied before is verified again.
    std::fs::write(server.dir().join("policy"), format!("log {}\nquorum none\n", other.key(KeyType::Note)))
        .expect("written");
    refused_after(&server, "no signature by a key of the policy");
    std::fs::write(server.dir().join("policy"), "log x\n").expect("written");
    refused_after(&server, "CRAN.VerifyPolicy: ");
}

fn refused_after(server: &Server, part: &str) {
    let message = server.sync().expect_err(part);
    assert!(message.contains(part), "{message}");
}
