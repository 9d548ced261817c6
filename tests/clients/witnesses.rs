//! Witnesses of a log: another server, an independent program, and one without a connection.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use rstudio_pm::tlog::note::{Checkpoint, KeyType, Note, Signer, Statement, VerifierKey};
use rstudio_pm::tlog::policy::Policy;
use rstudio_pm::tlog::tree::{Subtrees, consistency_path, leaf_hash, root};
use rstudio_pm::tlog::witness::AddCheckpoint;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::fixtures::until;
use crate::support::history::{self, witness_for_line, witness_line};
use crate::support::http::{self, Answer};
use crate::support::port::free_port;
use crate::support::server::Server;
use crate::support::tarball::Tarball;

const ADD: &str = "/__log__/witness/add-checkpoint";

/// A log of the test itself.
struct TestLog {
    signer: Signer,
    nodes: Subtrees,
}

impl TestLog {
    fn new(origin: &str) -> TestLog {
        let signer = Signer::from_seed(origin, &[7; 32]).expect("a key");
        TestLog { signer, nodes: Subtrees::new((0..100_u8).map(|number| leaf_hash(&[number])).collect()) }
    }

    fn key(&self) -> String {
        self.signer.key(KeyType::Note).to_string()
    }

    /// The request for the first `size` entries.
    fn request(&self, old: u64, size: u64) -> String {
        let path = consistency_path(old, size, &self.nodes).expect("a tree").unwrap_or_default();
        let root = root(size, &self.nodes).expect("a tree");
        let origin = self.signer.key(KeyType::Note).name().to_owned();
        let text = Checkpoint { origin, root }.to_string();
        let note = format!("{text}\n{}", self.signer.sign(&text, Statement::Signed));
        AddCheckpoint { old, path, note: Note::parse(note.as_bytes()).expect("a note") }.to_string()
    }
}

fn post(server: &Server, body: &str) -> Answer {
    http::request("POST", &server.url(ADD), &[], body.as_bytes())
}

fn checkpoint_path(origin: &str) -> String {
    format!("/__log__/witness/{}/checkpoint", hex::encode(Sha256::digest(origin)))
}

#[test]
fn a_server_cosigns_each_checkpoint_of_another_one() {
    let witness = history::start("pm2.example.org/__log__", "");
    let server = history::start("pm1.example.org/__log__", "");
    witness.configure(&witness_for_line(&server));
    server.configure(&witness_line("office", &witness));
    server.cosigned();
    server.add("prod", &Tarball::new("alpha", "1.0"));
    let entries = server.cosigned();

    let status = server.history();
    let text = |name: &str| status[name].as_str().expect("a text").to_owned();
    let policy = format!(
        "log {}\nwitness w {}\nquorum w\n",
        text("key"),
        witness.history()["witness_key"].as_str().expect("a key")
    );
    let note = Note::parse(text("checkpoint").as_bytes()).expect("a note");
    let trusted = Policy::parse(&policy).expect("a policy").check(&note).expect("the quorum cosigned");
    assert_eq!(trusted.checkpoint.root.count, entries);
    assert_eq!(server.rspm_stdout("history checkpoint").trim_end(), text("checkpoint").trim_end());
    let seconds = i64::try_from(trusted.cosignatures[0].time).expect("a time") as f64;
    until("the metrics have the time of the cosignature", || {
        server.series("ppm_history_cosigned_timestamp_seconds{witness=\"office\"}") == Some(seconds)
    });
    assert_eq!(server.series("ppm_history_paused"), Some(0.0));
    let shown = server.rspm_stdout("history status");
    assert!(shown.contains(&format!("Witness:      office: {entries} entries, ")), "{shown}");

    let kept = witness.get(&checkpoint_path("pm1.example.org/__log__"));
    assert_eq!((kept.status, kept.text()), (200, text("checkpoint")));
    assert_eq!(witness.get(&checkpoint_path("pm3.example.org/__log__")).status, 404);
    assert_eq!(server.log_alerts(), [""; 0]);
}

#[test]
fn a_witness_answers_as_the_specification_says() {
    let log = TestLog::new("log.example/a");
    let server = history::builder().gcfg(&format!("[History]\nWitnessFor = {}", log.key())).start();
    let first = log.request(0, 40);
    assert_eq!(post(&server, &first).status, 404, "without a log of its own");
    server.json("history init --origin=pm.example.org/__log__");
    let answer = post(&server, &first);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let key: VerifierKey = server.history()["witness_key"].as_str().expect("a key").parse().expect("a key");
    let text = first.split_once("\n\n").expect("an empty line").1.split_once("\n\n").expect("signatures").0;
    let cosigned = Note::parse(format!("{text}\n\n{}", answer.text()).as_bytes()).expect("signatures");
    assert!(matches!(cosigned.verify(&key), Ok(Some(Statement::Cosigned(_)))));

    let conflict = post(&server, &log.request(20, 60));
    let kind = conflict.header("content-type");
    assert_eq!((conflict.status, kind, conflict.text().as_str()), (409, Some("text/x.tlog.size"), "40\n"));
    let fork = TestLog {
        nodes: Subtrees::new((0..100_u8).map(|number| leaf_hash(&[number, 1])).collect()),
        ..TestLog::new("log.example/a")
    };
    for (case, body, expected) in [
        ("rollback", log.request(30, 35), 409),
        ("fork", fork.request(40, 60), 422),
        ("same size, other root", fork.request(40, 40), 422),
        ("old size above the checkpoint", log.request(40, 60).replacen("old 40", "old 61", 1), 400),
        ("leading zero", log.request(40, 60).replacen("old 40", "old 040", 1), 400),
        ("other key", log.request(40, 60).replace("— log", "— other"), 403),
        ("other log", TestLog::new("log.example/b").request(0, 60), 404),
        ("no request", "old".to_owned(), 400),
        ("large", "x".repeat(300_000), 413),
    ] {
        let answer = post(&server, &body);
        assert_eq!(answer.status, expected, "{case}: {}", answer.text());
    }
    until("the request that contradicts the log is kept", || {
        server
            .log_lines()
            .iter()
            .any(|line| line.contains("the log log.example/a signed two trees of one size"))
    });
    let kept = server.get(&checkpoint_path("log.example/a"));
    assert!(kept.text().starts_with("log.example/a\n40\n"), "{}", kept.text());
    assert_eq!(server.get(ADD).status, 405);
    assert_eq!(post(&server, &log.request(40, 60)).status, 200);
    assert!(server.get(&checkpoint_path("log.example/a")).text().starts_with("log.example/a\n60\n"));
}

#[test]
fn of_simultaneous_requests_a_witness_cosigns_one() {
    let log = TestLog::new("log.example/a");
    let server = history::builder().gcfg(&format!("[History]\nWitnessFor = {}", log.key())).start();
    server.json("history init --origin=pm.example.org/__log__");
    for (old, sizes) in [(0, 10..20), (1, 20..30)] {
        let old = if old == 0 {
            0
        } else {
            let kept = server.get(&checkpoint_path("log.example/a")).text();
            kept.lines().nth(1).expect("a size").parse().expect("a number")
        };
        let winners = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for size in sizes {
                let (log, server, winners) = (&log, &server, &winners);
                scope.spawn(move || match post(server, &log.request(old, size)).status {
                    200 => {
                        winners.fetch_add(1, Ordering::SeqCst);
                    }
                    status => assert_eq!(status, 409),
                });
            }
        });
        assert_eq!(winners.into_inner(), 1);
    }
}

#[test]
fn a_witness_without_a_connection_cosigns_a_request_that_is_carried() {
    let witness = history::start("pm2.example.org/__log__", "");
    let server = history::start("pm1.example.org/__log__", "");
    witness.configure(&witness_for_line(&server));
    server.signed();
    let cosign = |request: &str| {
        let mut command = witness.rspm_command("history cosign");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("rspm");
        child.stdin.take().expect("piped").write_all(request.as_bytes()).expect("written");
        let output = child.wait_with_output().expect("it ended");
        (
            output.status.success(),
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    };
    let request = server.rspm_stdout("history checkpoint --old=0");
    let note = request.split_once("\n\n").expect("an empty line").1.to_owned();
    let (is_cosigned, answer) = cosign(&request);
    assert!(is_cosigned, "{answer}");
    let key: VerifierKey = witness.history()["witness_key"].as_str().expect("a key").parse().expect("a key");
    let cosigned = Note::parse(format!("{note}{answer}").as_bytes()).expect("a note");
    assert!(matches!(cosigned.verify(&key), Ok(Some(Statement::Cosigned(_)))));
    server.add("prod", &Tarball::new("alpha", "1.0"));
    server.signed();
    let (is_cosigned, refusal) = cosign(&server.rspm_stdout("history checkpoint --old=0"));
    let size = note.lines().nth(1).expect("a size");
    assert!(!is_cosigned && refusal.contains(&format!("rspm history checkpoint --old={size}")), "{refusal}");
    let (is_cosigned, answer) = cosign(&server.rspm_stdout(&format!("history checkpoint --old={size}")));
    assert!(is_cosigned, "{answer}");
}

/// An independent witness.
struct AicsWitness {
    dir: tempfile::TempDir,
    address: String,
    process: Option<std::process::Child>,
    key: String,
}

impl AicsWitness {
    fn run(dir: &std::path::Path, arguments: &[&str]) -> Command {
        let clients = std::env::var("RSPM_TEST_PYTHON_CLIENTS").expect("tests/setup.env is sourced");
        let mut command = Command::new(format!("{clients}/aics-witness/bin/aics-witness"));
        command.current_dir(dir).args(arguments);
        command
    }

    fn start() -> AicsWitness {
        let dir = tempfile::tempdir().expect("a directory");
        let address = format!("127.0.0.1:{}", free_port());
        let init = ["init", "--name", "witness.example.org/w1", "--listen", &address];
        let output = AicsWitness::run(dir.path(), &init).output().expect("tests/setup installs aics-witness");
        assert!(output.status.success(), "{output:?}");
        let key = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        AicsWitness { dir, address, process: None, key }
    }

    fn add_log(&mut self, origin: &str, key: &str) {
        let arguments = ["add-log", "--origin", origin, "--vkey", key];
        let output = AicsWitness::run(self.dir.path(), &arguments).output().expect("it runs");
        assert!(output.status.success(), "{output:?}");
        let mut serve = AicsWitness::run(self.dir.path(), &["serve"]);
        self.process = Some(serve.stderr(Stdio::null()).spawn().expect("it runs"));
        until("the witness listens", || std::net::TcpStream::connect(&self.address).is_ok());
    }

    fn status(&self) -> Value {
        let output = AicsWitness::run(self.dir.path(), &["status", "--json"]).output().expect("it runs");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }
}

impl Drop for AicsWitness {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = (process.kill(), process.wait());
        }
    }
}

#[test]
fn an_independent_witness_cosigns_and_keeps_what_contradicts_the_log() {
    const ORIGIN: &str = "pm1.example.org/__log__";
    let mut witness = AicsWitness::start();
    let mut server = history::start(ORIGIN, "");
    server.signed();
    witness.add_log(ORIGIN, server.history()["key"].as_str().expect("a key"));
    server.configure(&format!("[History]\nWitness = w1 {} http://{}\n", witness.key, witness.address));
    server.cosigned();
    // A database from before the last entries, as after the loss of a disk.
    server.stop();
    let (database, saved) = (server.dir().join("data/db"), server.dir().join("saved"));
    crate::backup::machines::copy_folder(&database, &saved);
    server.launch();
    for version in ["1.0", "1.1"] {
        server.add("prod", &Tarball::new("alpha", version));
    }
    let entries = server.cosigned();
    assert_eq!(witness.status()["logs"][0]["size"], entries);
    let copy = server.dir().join("copy");
    server.rspm_stdout(&format!("history export --to={}", copy.display()));
    server.stop();
    std::fs::remove_dir_all(&database).expect("removed");
    std::fs::rename(&saved, &database).expect("renamed");
    server.launch();
    let reason = server.paused();
    assert!(reason.contains(&format!("the witness w1 cosigned {entries} entries")), "{reason}");
    server.add("prod", &Tarball::new("beta", "1.0"));
    let refusal = server.refused("history recover");
    assert!(refusal.contains("give another one with --from") && refusal.contains("w1"), "{refusal}");
    let recovered = server.json(&format!("history recover --from={}", copy.display()));
    assert_eq!(recovered["entries"], 4);
    assert!(server.cosigned() > entries);
    assert_eq!(witness.status()["logs"][0]["evidence"], 0, "nothing was signed that contradicts the log");
    server.rspm_stdout(&format!("history export --to={}", copy.display()));
    let entries = history::entries_of(&copy);
    let rewind = entries.iter().position(|entry| entry.starts_with("rspm-log/1 rewind\n")).expect("an entry");
    let after = &entries[rewind + 1..];
    assert!(after[0].starts_with("rspm-log/1 publish\n"), "{after:?}");
    let number = |entry: &String, key: &str| -> i64 {
        let line = entry.lines().find_map(|line| line.strip_prefix(&format!("{key} "))).expect(key);
        line.parse().expect("a number")
    };
    let (from, to) = (number(&entries[rewind], "from"), number(&entries[rewind], "to"));
    assert_eq!((from - to, number(&after[0], "transaction")), (2, to + 1), "{entries:#?}");
}
