//! The log of the history: its entries and checkpoints, and the proofs that are verified without the server.

use std::process::Command;
use std::sync::Arc;

use rstudio_pm::config::{EncryptionKey, KeySource, key_file};
use rstudio_pm::history::{self, History};
use rstudio_pm::model::snapshot::Snapshot;
use rstudio_pm::r::layout::{IndexFormat, RepoFileName};
use rstudio_pm::serve::r::document::RDocument;
use rstudio_pm::serve::{RepoError, proofs};
use rstudio_pm::tlog::entry::Entry;
use rstudio_pm::tlog::entry_proof::{EntryProof, ViewRequest};
use rstudio_pm::tlog::policy::Policy;
use rstudio_pm::tlog::record_proof::{FileDigest, RecordProof, records_of};
use rstudio_pm::tlog::tree::Root;

use super::index;
use crate::support::backend::Backend;

const ORIGIN: &str = "packages.example.org/__log__";

/// A backend with a repository `prod`, and its log.
pub(super) async fn with_log() -> (Backend, Arc<History>) {
    let backend = Backend::new().await;
    let mut config = (*backend.state.config.load_full()).clone();
    let key = key_file::random().expect("random numbers");
    config.encryption_key = Some(Arc::new(EncryptionKey { key, source: KeySource::Environment }));
    backend.state.config.store(Arc::new(config));
    backend.create_local_source("team").await;
    backend.create_repository("prod", &["team"]).await;
    let history = of(&backend);
    assert!(history::init(&history, Some(ORIGIN.to_owned()), false).await.expect("a log"));
    (backend, history)
}

fn of(backend: &Backend) -> Arc<History> {
    History::new(Arc::clone(&backend.repositories), Arc::clone(&backend.state))
}

async fn proof_of(backend: &Backend, day: &str, file: Option<&str>) -> Result<Option<Vec<u8>>, RepoError> {
    let file = file.map(|file| RepoFileName::parse(file).expect("a name"));
    let snapshot: Snapshot = day.parse().expect("a day");
    let package_file = file.as_ref().map(|file| file.package_file().expect("a package"));
    proofs::of_day(&backend.repositories, "prod", snapshot, package_file).await
}

pub(super) async fn entries(backend: &Backend) -> Vec<Entry> {
    let texts =
        backend.state.db.read(|c| rstudio_pm::db::tlog::entries(c, 1, 0, 1000)).await.expect("entries");
    texts.iter().map(|text| Entry::parse(text.as_bytes()).expect("an entry")).collect()
}

#[tokio::test]
async fn a_package_and_an_index_of_a_past_day_are_proved_without_the_server() {
    let (backend, history) = with_log().await;
    backend.add("team", "alpha", "1.0").await;
    backend.add("team", "beta", "2.0").await;
    history::write_all(&history).await.expect("written");
    let early = proof_of(&backend, "2024-03-01", None).await.expect_err("the day is not over");
    assert!(early.to_string().contains("once that day is over, at 2024-03-02T00:00:00Z"), "{early}");
    backend.advance_to_noon("2024-03-02");
    rstudio_pm::serve::point::close_past_days(&backend.repositories).await;
    history::write_all(&history).await.expect("written");
    backend.add("team", "alpha", "1.1").await;
    history::write_all(&history).await.expect("written");

    let status = history::status(&history).await.expect("read").expect("a log");
    assert_eq!((status.origin.as_str(), status.waiting), (ORIGIN, 0));
    let policy_text = format!("log {}\nquorum none\n", status.key);
    let policy = Policy::parse(&policy_text).expect("a policy");
    let request =
        ViewRequest { repository: "prod", snapshot: "2024-03-01", document: "src/contrib/PACKAGES" };
    let plain = index(&backend, "prod", "2024-03-01", RDocument::Packages(IndexFormat::Text)).await.bytes;

    let bytes = proof_of(&backend, "2024-03-01", None).await.expect("over").expect("a state");
    let view = EntryProof::parse(&bytes).expect("a proof").verify_view(&policy, &request).expect("proved");
    assert_eq!(view.root, Root::of(records_of(&plain)));
    assert_eq!(view.root.count, 2);

    let bytes =
        proof_of(&backend, "2024-03-01", Some("alpha_1.0.tar.gz")).await.expect("over").expect("listed");
    let record = RecordProof::parse(&bytes).expect("a proof").verify(&policy, &request).expect("proved");
    assert_eq!((record.field("Package"), record.field("Version")), (Some("alpha"), Some("1.0")));
    assert!(matches!(record.digest, Some(FileDigest::Md5(_) | FileDigest::Sha256(_))));
    assert!(proof_of(&backend, "2024-03-01", Some("alpha_1.1.tar.gz")).await.expect("over").is_none());
    let folder = backend.folder();
    for (name, content) in
        [("proof", bytes.as_slice()), ("PACKAGES", &plain), ("policy", policy_text.as_bytes())]
    {
        std::fs::write(folder.join(name), content).expect("written");
    }
    let verify = |day: &str| {
        let mut command = Command::new("python3");
        command
            .arg("docs/verify/verify.py")
            .arg(folder.join("proof"))
            .arg("--policy")
            .arg(folder.join("policy"));
        command.args(["--repo", "prod", "--snapshot", day, "--packages"]).arg(folder.join("PACKAGES"));
        command.output().expect("python3 runs")
    };
    let output = verify("2024-03-01");
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("alpha 1.0"), "{output:?}");
    assert_eq!(verify("2024-03-02").status.code(), Some(1));
    let other = ViewRequest { snapshot: "2024-03-02", ..request };
    assert!(RecordProof::parse(&bytes).expect("a proof").verify(&policy, &other).is_err());
    assert!(proof_of(&backend, "latest", None).await.is_err());
}

#[tokio::test]
async fn each_transaction_and_each_day_has_one_entry_also_after_a_restart() {
    let (backend, history) = with_log().await;
    let key = Arc::new((*backend.state.config.load_full()).clone());
    backend.add("team", "alpha", "1.0").await;
    history::write_all(&history).await.expect("written");
    let before = entries(&backend).await;
    drop(history);
    let backend = backend.restart().await;
    backend.state.config.store(key);
    let history = of(&backend);
    history::write_all(&history).await.expect("written");
    assert_eq!(entries(&backend).await, before);
    for version in 0..300 {
        backend.add("team", "beta", &format!("1.{version}")).await;
    }
    history::write_all(&history).await.expect("written");
    backend.advance_to_noon("2024-03-04");
    rstudio_pm::serve::point::close_past_days(&backend.repositories).await;
    history::write_all(&history).await.expect("written");
    let entries = entries(&backend).await;
    let transactions: Vec<&str> = entries
        .iter()
        .filter_map(|entry| entry.value("transaction").filter(|_| entry.kind() == "publish"))
        .collect();
    let count = backend.state.catalog.get().transactions.len();
    assert_eq!(transactions.len(), count);
    assert!(transactions.is_sorted_by_key(|number| number.parse::<u64>().expect("a number")));
    let days: Vec<&str> = entries
        .iter()
        .filter(|entry| entry.kind() == "view")
        .filter_map(|entry| entry.value("snapshot"))
        .collect();
    assert_eq!(days, ["2024-03-01", "2024-03-02", "2024-03-03"]);
    let status = history::status(&history).await.expect("read").expect("a log");
    let root = Root::of(entries.iter().map(Entry::to_string));
    assert!(status.checkpoint.starts_with(&format!("{ORIGIN}\n{}\n", root.count)), "{}", status.checkpoint);
    let signed = status.checkpoint.lines().nth(2).expect("a root");
    assert_eq!(signed, base64::Engine::encode(&base64::prelude::BASE64_STANDARD, root.hash));
}
