//! The keys of the log: their rotation, and the cosignatures of a server whose key was rotated.

use std::sync::Arc;

use rstudio_pm::history;
use rstudio_pm::tlog::note::{Checkpoint, KeyType, Note, Signer, Statement, VerifierKey};
use rstudio_pm::tlog::tree::{Root, leaf_hash};
use rstudio_pm::tlog::witness::AddCheckpoint;

use super::proofs::{entries, with_log};

fn key(text: &str) -> VerifierKey {
    text.parse().expect("a key")
}

#[tokio::test]
async fn both_keys_sign_for_ninety_days() {
    let (backend, history) = with_log().await;
    history::write_all(&history).await.expect("written");
    let first = history::status(&history).await.expect("read").expect("a log");
    history::rotate(&history).await.expect("rotated");
    let refusal = history::rotate(&history).await.expect_err("too early").to_string();
    assert!(refusal.contains("still signs, until 2024-05-30T12:00:00Z"), "{refusal}");
    history::write_all(&history).await.expect("written");
    let status = history::status(&history).await.expect("read").expect("a log");
    assert_eq!(status.old_key.as_ref().map(|(key, _)| key), Some(&first.key));
    assert!(status.key != first.key && status.witness_key != first.witness_key);
    let (old, new) = (key(&first.key), key(&status.key));
    let signed_by = |note: &str| {
        let note = Note::parse(note.as_bytes()).expect("a note");
        [&old, &new].map(|key| note.verify(key).expect("no wrong signature").is_some())
    };
    assert_eq!(signed_by(&first.checkpoint), [true, false]);
    assert_eq!(signed_by(&status.checkpoint), [true, true]);
    let last = entries(&backend).await.pop().expect("an entry");
    assert_eq!(
        (last.kind(), last.value("vkey"), last.value("state")),
        ("key", Some(status.key.as_str()), Some("new"))
    );

    // As a witness, the server cosigns with both keys.
    let log = Signer::from_seed("log.example/a", &[7; 32]).expect("a key");
    let mut config = (*backend.state.config.load_full()).clone();
    config.history.witness_for = vec![log.key(KeyType::Note).to_string()];
    backend.state.config.store(Arc::new(config));
    let root = Root { count: 1, hash: leaf_hash(b"x") };
    let text = Checkpoint { origin: "log.example/a".to_owned(), root }.to_string();
    let note = format!("{text}\n{}", log.sign(&text, Statement::Signed));
    let request =
        AddCheckpoint { old: 0, path: Vec::new(), note: Note::parse(note.as_bytes()).expect("a note") };
    let answer = history::add_checkpoint(&history, request.to_string().as_bytes()).await.expect("answered");
    let answer = Note::parse(format!("{text}\n{}", answer.expect("cosigned")).as_bytes()).expect("a note");
    for witness_key in [&first.witness_key, &status.witness_key] {
        assert!(
            matches!(answer.verify(&key(witness_key)), Ok(Some(Statement::Cosigned(_)))),
            "{witness_key}"
        );
    }

    backend.advance_to_noon("2024-05-31");
    history::write_all(&history).await.expect("written");
    let ended = history::status(&history).await.expect("read").expect("a log");
    assert_eq!((ended.old_key, &ended.key), (None, &status.key));
    assert_eq!(signed_by(&ended.checkpoint), [false, true]);
    let entries = entries(&backend).await;
    let end = entries.iter().rfind(|entry| entry.kind() == "key").expect("an entry");
    assert_eq!((end.value("vkey"), end.value("state")), (Some(first.key.as_str()), Some("end")));
    history::rotate(&history).await.expect("rotated again");
}
