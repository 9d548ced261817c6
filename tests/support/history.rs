//! Servers with a log, and what other programs know of it.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use rstudio_pm::config::{EncryptionKey, KeySource, key_file};
use rstudio_pm::history::{self, History};
use rstudio_pm::tlog::note::{Checkpoint, Note};
use rstudio_pm::tlog::tile::{Content, decode_entries, tiles};
use rstudio_pm::tlog::tree::Root;
use serde_json::Value;

use super::backend::Backend;
use super::fixtures::until;
use super::server::{Builder, Server};

/// A server with an encryption key; all have the same one, as a copy of a server has.
pub(crate) fn builder() -> Builder {
    Builder::default().env("PACKAGEMANAGER_ENCRYPTION_KEY", &"5a".repeat(512))
}

/// A server with a repository `prod` and a log.
pub(crate) fn start(origin: &str, gcfg: &str) -> Server {
    let server = builder().gcfg(gcfg).start();
    server.local_repository("prod", &[]);
    server.json(&format!("history init --origin={origin}"));
    server
}

/// Begins the log of a server without HTTP, which has an encryption key from then on.
pub(crate) async fn begin(backend: &Backend, origin: &str) -> Arc<History> {
    let mut config = (*backend.state.config.load_full()).clone();
    let key = key_file::random().expect("random numbers");
    config.encryption_key = Some(Arc::new(EncryptionKey { key, source: KeySource::Environment }));
    backend.state.config.store(Arc::new(config));
    let history = History::new(Arc::clone(&backend.repositories), Arc::clone(&backend.state));
    assert!(history::init(&history, Some(origin.to_owned()), false).await.expect("a log"));
    history
}

/// The lines of the configuration of a server whose log a witness cosigns.
pub(crate) fn witness_line(name: &str, witness: &Server) -> String {
    let key = witness.history()["witness_key"].as_str().expect("a key").to_owned();
    format!("[History]\nWitness = {name} {key} {}\n", witness.url("/__log__/witness"))
}

/// The lines of the configuration of a witness of a server.
pub(crate) fn witness_for_line(server: &Server) -> String {
    format!("[History]\nWitnessFor = {}\n", server.history()["key"].as_str().expect("a key"))
}

impl Server {
    pub(crate) fn history(&self) -> Value {
        self.json("history status")
    }

    /// Adds lines to the configuration file, and reloads it.
    pub(crate) fn configure(&self, lines: &str) {
        let file = OpenOptions::new().append(true).open(self.config_file());
        file.and_then(|mut file| file.write_all(lines.as_bytes())).expect("written");
        self.rspm_stdout("hup");
    }

    /// Waits until all transactions are in the signed log; returns the number of its entries.
    pub(crate) fn signed(&self) -> u64 {
        let mut entries = 0;
        until("all transactions are in the signed log", || {
            let status = self.history();
            entries = status["entries"].as_u64().expect("a number");
            status["waiting"] == 0 && entries > 0 && status["signed"] == entries
        });
        entries
    }

    /// Waits until all transactions are in a log that all witnesses cosigned; returns the number of its entries.
    pub(crate) fn cosigned(&self) -> u64 {
        let mut entries = 0;
        until("all witnesses cosigned the log", || {
            entries = self.signed();
            let status = self.history();
            let witnesses = status["witnesses"].as_array().expect("a list");
            assert!(status["pause"].is_null(), "{status}");
            !witnesses.is_empty() && witnesses.iter().all(|witness| witness["size"] == entries)
        });
        entries
    }

    /// The signed entries of the log.
    pub(crate) fn log_entries(&self) -> Vec<String> {
        let copy = self.dir().join("log-copy");
        self.rspm_stdout(&format!("history export --to={}", copy.display()));
        entries_of(&copy)
    }

    /// Audits the log, which must violate no rule and have the entries of all checkpoints of earlier audits. Returns their
    /// number.
    pub(crate) fn audited(&self) -> u64 {
        let [policy, state] = ["audit-policy", "audit-state"].map(|name| self.dir().join(name));
        let key = self.history()["key"].as_str().expect("a key").to_owned();
        std::fs::write(&policy, format!("log {key}\nquorum none\n")).expect("written");
        let (policy, state) = (policy.display(), state.display());
        let output = self.rspm(&format!("history audit --policy={policy} --state={state} -o json"));
        assert_eq!(output.code, 0, "{}{}", output.out, output.err);
        let result: Value = serde_json::from_str(&output.out).expect("JSON");
        result["earlier"].as_u64().expect("a number")
    }

    /// The names of the alerts about the log.
    pub(crate) fn log_alerts(&self) -> Vec<String> {
        let alerts = self.get("/__api__/alerts").json();
        let alerts = alerts.as_array().expect("a list").iter().filter(|alert| alert["type"] == "history");
        alerts.map(|alert| alert["name"].as_str().expect("a name").to_owned()).collect()
    }

    /// Waits until the log is paused; returns the reason.
    pub(crate) fn paused(&self) -> String {
        let mut reason = String::new();
        until("the log is paused", || {
            reason = self.history()["pause"].as_str().unwrap_or_default().to_owned();
            !reason.is_empty()
        });
        reason
    }
}

/// The value of a key of an entry.
pub(crate) fn value<'a>(entry: &'a str, key: &str) -> &'a str {
    let value = entry.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {key}: {entry}"))
}

/// The entries of a copy, which must be those of its checkpoint; none before the first one.
pub(crate) fn entries_of(copy: &Path) -> Vec<String> {
    let Ok(note) = std::fs::read(copy.join("checkpoint")) else { return Vec::new() };
    let note = Note::parse(&note).expect("a note");
    let root = note.text().parse::<Checkpoint>().expect("a checkpoint").root;
    let mut entries = Vec::new();
    for tile in tiles(0, root.count) {
        let path = copy.join(tile.to_string());
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        match tile.content {
            Content::Entries => {
                let bundle = decode_entries(&bytes, tile.width).expect("a bundle");
                entries
                    .extend(bundle.into_iter().map(|entry| String::from_utf8(entry.to_vec()).expect("text")));
            }
            Content::Hashes(_) => assert_eq!(bytes.len(), 32 * usize::from(tile.width), "{tile}"),
        }
    }
    assert_eq!(Root::of(&entries), root);
    entries
}
