//! `[History]`: each property, and keys that are refused.

use crate::support::fixtures::until;
use crate::support::history::{self, entries_of, witness_for_line, witness_line};
use crate::support::recording_server::RecordingServer;
use crate::support::tarball::Tarball;

pub(super) fn public_decides_whether_anonymous_clients_read_the_log() {
    let server = history::start("pm.example.org/__log__", "");
    let entries = server.signed();
    let bundle = format!("/__log__/tile/entries/000.p/{entries}");
    for path in ["/__log__/checkpoint", &bundle] {
        assert_eq!(server.get(path).status, 401, "{path}");
    }
    server.configure("[History]\nPublic = true\n");
    for path in ["/__log__/checkpoint", &bundle] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
}

pub(super) fn export_path_has_a_copy_of_the_log() {
    let server = history::start("pm.example.org/__log__", "[History]\nExportPath = {dir}/copy");
    server.add("prod", &Tarball::new("alpha", "1.0"));
    let entries = server.signed();
    let copy = server.dir().join("copy");
    until("the copy is complete", || entries_of(&copy).len() as u64 == entries);
    let note = std::fs::read_to_string(copy.join("checkpoint")).expect("a checkpoint");
    assert_eq!(note, server.history()["checkpoint"].as_str().expect("a text"));
}

pub(super) fn witness_is_asked_by_a_log_that_its_witness_for_names() {
    let witness = history::start("pm2.example.org/__log__", "");
    let server = history::start("pm1.example.org/__log__", "");
    server.signed();
    server.configure(&witness_line("office", &witness));
    until("the witness refuses an unknown log", || {
        let error = server.history()["witnesses"][0]["error"].as_str().unwrap_or_default().to_owned();
        error.contains("404") && error.contains("cosigns no log with the origin")
    });
    assert_eq!(server.log_alerts(), ["witness"]);
    witness.configure(&witness_for_line(&server));
    server.add("prod", &Tarball::new("alpha", "1.0"));
    server.cosigned();
}

pub(super) fn timestamp_url_gets_the_digest_of_a_checkpoint() {
    let authority = RecordingServer::with_answer(200, "no stamp");
    let server = history::start("pm.example.org/__log__", "");
    server.signed();
    server.configure(&format!("[History]\nTimestampURL = http://{}/tsa\n", authority.host()));
    server.add("prod", &Tarball::new("alpha", "1.0"));
    until("a time stamp is requested", || {
        authority.heads().iter().any(|head| head.starts_with("POST /tsa "))
    });
    let head = authority.heads().remove(0).to_lowercase();
    assert!(
        head.contains("content-type: application/timestamp-query") && head.contains("content-length: 59"),
        "{head}"
    );
    server.wait_for_log("could not get a time stamp of the log: it answered 200 OK without a time stamp");
}

#[test]
fn keys_that_cannot_be_used_are_refused_with_their_position() {
    // Anyone can sign with the first one.
    for (line, reason) in [
        ("WitnessFor = log+18ff2ea3+AQEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "small order"),
        ("WitnessFor = log+00000000+AYqI4903", "the key is not of 32 bytes"),
        ("Witness = office nokey https://pm2.example.org", "'nokey' is not a key NAME+ID+BASE64"),
    ] {
        let server = history::builder().gcfg(&format!("[History]\n{line}")).prepare();
        let finding = server.failed_check("Configuration file syntax");
        assert!(finding.contains(reason) && finding.starts_with(&server.position_of(line)), "{finding}");
        assert!(server.start_refused().contains(reason));
    }
    let server = history::start("pm.example.org/__log__", "");
    let wrong_type = server.history()["witness_key"].as_str().expect("a key").to_owned();
    let file = std::fs::read_to_string(server.config_file()).expect("readable");
    std::fs::write(server.config_file(), format!("{file}[History]\nWitnessFor = {wrong_type}\n"))
        .expect("written");
    let refusal = server.refused("hup");
    assert!(refusal.contains("of type 4 instead of 1 (log: 1, witness: 4)"), "{refusal}");
}
