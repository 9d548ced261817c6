//! A witness that answers after the log has signed a newer checkpoint.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, mpsc};

use rstudio_pm::config::{PrivateUrl, Witness};
use rstudio_pm::history;
use rstudio_pm::model::snapshot::Snapshot;
use rstudio_pm::serve::proofs;
use rstudio_pm::tlog::entry_proof::{EntryProof, ViewRequest};
use rstudio_pm::tlog::note::{Checkpoint, KeyType, Signer, Statement};
use rstudio_pm::tlog::policy::Policy;
use rstudio_pm::tlog::witness::AddCheckpoint;

use super::proofs::with_log;

/// The time of all cosignatures, in seconds.
const TIME: u64 = 1_709_294_400;

/// A witness, whose cosignatures wait for the test.
struct SlowWitness {
    witness: Witness,
    /// The old and the new size of each request.
    requests: mpsc::Receiver<(u64, u64)>,
    answers: mpsc::Sender<()>,
}

impl SlowWitness {
    fn start() -> SlowWitness {
        let signer = Signer::from_seed("witness.example", &[9; 32]).expect("a key");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = PrivateUrl(format!("http://{}", listener.local_addr().expect("an address")));
        let key = signer.key(KeyType::Cosignature).to_string();
        let witness = Witness { name: "slow".to_owned(), key, url };
        let (requested, requests) = mpsc::channel();
        let (answers, answered) = mpsc::channel();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let mut client = BufReader::new(client.expect("a connection"));
                let (mut length, mut line) = (0, String::new());
                while line != "\r\n" {
                    line.clear();
                    client.read_line(&mut line).expect("a line");
                    if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                        length = value.trim().parse().expect("a length");
                    }
                }
                let mut body = vec![0; length];
                client.read_exact(&mut body).expect("a body");
                let request = AddCheckpoint::parse(&body).expect("a request");
                let checkpoint: Checkpoint = request.note.text().parse().expect("a checkpoint");
                if requested.send((request.old, checkpoint.root.count)).is_err() || answered.recv().is_err() {
                    return;
                }
                let line = signer.sign(request.note.text(), Statement::Cosigned(TIME));
                let head =
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", line.len());
                let answer = head + &line;
                client.get_mut().write_all(answer.as_bytes()).expect("written");
            }
        });
        SlowWitness { witness, requests, answers }
    }

    /// Waits for a request; returns its old and its new size.
    async fn request(&mut self) -> (u64, u64) {
        tokio::task::block_in_place(|| self.requests.recv().expect("a request"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_has_a_cosignature_that_arrived_after_a_newer_checkpoint() {
    let (backend, history) = with_log().await;
    let mut slow = SlowWitness::start();
    let mut config = (*backend.state.config.load_full()).clone();
    config.history.witnesses = vec![slow.witness.clone()];
    backend.state.config.store(Arc::new(config));
    backend.add("team", "alpha", "1.0").await;
    backend.advance_to_noon("2024-03-02");
    rstudio_pm::serve::point::close_past_days(&backend.repositories).await;
    history::write_all(&history).await.expect("written");
    let status = || async { history::status(&history).await.expect("read").expect("a log") };
    let first = status().await;
    let policy = format!("log {}\nwitness w {}\nquorum w\n", first.key, slow.witness.key);
    let policy = Policy::parse(&policy).expect("a policy");
    // The number of entries of the cosigned checkpoint that proves the state of 1 March; `None` if no witness cosigned it.
    let proved = || async {
        let snapshot: Snapshot = "2024-03-01".parse().expect("a day");
        let proof = proofs::of_snapshot(&backend.repositories, "prod", None, snapshot, None).await;
        let proof = EntryProof::parse(&proof.expect("over").expect("a state")).expect("a proof");
        let request =
            ViewRequest { repository: "prod", snapshot: "2024-03-01", document: "src/contrib/PACKAGES" };
        let checkpoint: Checkpoint = proof.note.text().parse().expect("a checkpoint");
        proof.verify_view(&policy, &request).ok().map(|_| checkpoint.root.count)
    };
    assert_eq!(proved().await, None);

    let running = Arc::clone(&history);
    let task = tokio::spawn(async move { history::run(&running).await });
    assert_eq!(slow.request().await, (0, first.entries));
    backend.add("team", "beta", "1.0").await;
    history::write_all(&history).await.expect("written");
    slow.answers.send(()).expect("running");
    // The next request is sent once the cosignature is stored.
    let (old, newest) = slow.request().await;
    assert_eq!(old, first.entries);
    let second = status().await;
    assert!(newest > old && second.signed == newest);
    let witness = &second.witnesses[0];
    assert_eq!((witness.size, witness.cosigned_at.map(|at| at.seconds())), (old, Some(TIME as i64)));
    assert_eq!(proved().await, Some(old));

    // The signature of a second key of the log is no cosignature.
    history::rotate(&history).await.expect("rotated");
    history::write_all(&history).await.expect("written");
    assert_eq!(proved().await, Some(old));

    slow.answers.send(()).expect("running");
    while status().await.witnesses[0].size < newest {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(proved().await, Some(newest));
    task.abort();
}
