//! The log of the history: its entries and checkpoints, and the proofs that are verified without the server.

use std::process::Command;
use std::sync::Arc;

use rstudio_pm::api::source::ImportedChange;
use rstudio_pm::edit::promotion::{Opening, PromotionRequest};
use rstudio_pm::edit::{self, OnExisting, UploadKind};
use rstudio_pm::history::{self, History, Share};
use rstudio_pm::model::digest::Sha256;
use rstudio_pm::model::import_list::{AddedFile, Event};
use rstudio_pm::model::kind::{ChangePolicy, Language, RepoKind, SourceKind};
use rstudio_pm::model::rule_effect::RuleEffect;
use rstudio_pm::model::snapshot::Snapshot;
use rstudio_pm::policy::{Criteria, Rule};
use rstudio_pm::r::layout::{IndexFormat, RepoFileName};
use rstudio_pm::serve::r::document::RDocument;
use rstudio_pm::serve::{RepoError, proofs};
use rstudio_pm::tlog::entry::Entry;
use rstudio_pm::tlog::entry_proof::{EntryProof, ViewRequest};
use rstudio_pm::tlog::policy::Policy;
use rstudio_pm::tlog::record_proof::{FileDigest, Member, RecordProof, records_of};
use rstudio_pm::tlog::tree::Root;

use super::index;
use crate::support::backend::{Backend, actor, person};
use crate::support::history::begin;
use crate::support::python::package::Package;
use futures_util::StreamExt;

const ORIGIN: &str = "packages.example.org/__log__";

/// A backend with a repository `prod`, and its log.
pub(super) async fn with_log() -> (Backend, Arc<History>) {
    let backend = Backend::new().await;
    backend.create_local_source("team").await;
    backend.create_repository("prod", &["team"]).await;
    let history = begin(&backend, ORIGIN).await;
    (backend, history)
}

fn of(backend: &Backend) -> Arc<History> {
    History::new(Arc::clone(&backend.repositories), Arc::clone(&backend.state))
}

async fn proof_of(backend: &Backend, day: &str, file: Option<&str>) -> Result<Option<Vec<u8>>, RepoError> {
    let member = file.map(|file| {
        let file = RepoFileName::parse(file).expect("a name");
        let file = file.package_file().expect("a package");
        Member::Package { package: file.package.to_owned(), version: file.version.to_owned() }
    });
    let snapshot: Snapshot = day.parse().expect("a day");
    proofs::of_snapshot(&backend.repositories, "prod", None, snapshot, member).await
}

pub(super) async fn entries(backend: &Backend) -> Vec<Entry> {
    entries_of(backend, 1).await
}

async fn entries_of(backend: &Backend, log: i64) -> Vec<Entry> {
    let read = backend.state.db.read(move |c| rstudio_pm::db::tlog::entries(c, log, 0, 1000));
    let texts = read.await.expect("entries");
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

#[tokio::test]
async fn a_record_that_was_changed_in_the_database_is_named_with_repository_and_day() {
    let (backend, history) = with_log().await;
    backend.add("team", "alpha", "1.0").await;
    backend.add("team", "beta", "2.0").await;
    backend.advance_to_noon("2024-03-02");
    rstudio_pm::serve::point::close_past_days(&backend.repositories).await;
    history::write_all(&history).await.expect("written");
    let examined = history::examine(&history, None).await.expect("examined");
    assert_eq!((examined.problems, examined.notes), (Vec::<String>::new(), Vec::new()));

    let plain = index(&backend, "prod", "2024-03-01", RDocument::Packages(IndexFormat::Text)).await.bytes;
    let record = records_of(&plain).next().expect("alpha");
    let changed = String::from_utf8_lossy(record).replace("Version: 1.0", "Version: 1.0\nNote: x");
    let change = async |changed: String| {
        let write = backend.state.db.write(move |c| {
            c.execute(
                "UPDATE record SET stanza = $1 WHERE release_id IN (SELECT r.id FROM release r \
                 JOIN package p ON p.id = r.package_id WHERE p.name = 'alpha')",
                &[changed.as_bytes().into()],
            )
        });
        assert_eq!(write.await.expect("written"), 1);
    };
    let original = format!("{}\n", String::from_utf8_lossy(record));
    change(format!("{changed}\n")).await;
    let problems = history::examine(&history, None).await.expect("examined").problems;
    let [step, problem] = problems.as_slice() else { panic!("{problems:?}") };
    for part in ["the packages of team since transaction 2 ", "in 2 states", "never published: alpha"] {
        assert!(step.contains(part), "{step}");
    }
    for part in ["src/contrib/PACKAGES of prod on 2024-03-01", "never published: alpha"] {
        assert!(problem.contains(part), "{problem}");
    }
    assert!(!problem.contains("beta"), "{problem}");
    let all = backend.state.db.read(|c| rstudio_pm::db::tlog::entries(c, 1, 0, 1000)).await.expect("entries");
    let number = all.iter().position(|text| text.contains(" view\n")).expect("a state") as u64;
    let share = |remainder| Some(Share { remainder, divisor: 56 });
    let of = async |share| history::examine(&history, share).await.expect("examined").problems.len();
    assert_eq!((of(share(number)).await, of(share(number + 1)).await), (1, 0));

    change(original).await;
    assert_eq!(of(None).await, 0);
    let write = backend.state.db.write(|c| {
        c.execute("UPDATE tlog_entry SET entry = $1 WHERE id = 1", &["rspm-log/1 rules\nrules 0\n".into()])
    });
    write.await.expect("written");
    let problems = history::examine(&history, None).await.expect("examined").problems;
    assert!(problems.iter().any(|problem| problem.contains("was changed")), "{problems:?}");
}

/// Creates a repository `frozen` that is only changed by promotions.
async fn create_frozen(backend: &Backend) {
    let frozen = edit::NewRepo {
        changes: ChangePolicy::Promotion,
        ..edit::NewRepo::open(&"frozen".parse().expect("a name"), RepoKind::R, "")
    };
    edit::repo::create(&backend.state, frozen, OnExisting::Fail, &actor()).await.expect("a repository");
}

/// Promotes what `prod` has now to `frozen`.
async fn promote(backend: &Backend) {
    let request = PromotionRequest {
        from: "prod".to_owned(),
        to: "frozen".to_owned(),
        snapshot: "latest".parse().expect("a snapshot"),
        comment: String::new(),
        opening: Opening::Permitted,
    };
    let (repositories, state) = (&backend.repositories, &backend.state);
    edit::promotion::request(repositories, state, request, &person("ann")).await.expect("promoted");
}

#[tokio::test]
async fn promotions_are_logged_once_and_late_ones_as_such() {
    let (backend, history) = with_log().await;
    backend.add("team", "alpha", "1.0").await;
    create_frozen(&backend).await;
    promote(&backend).await;
    history::write_all(&history).await.expect("written");
    backend.add("team", "alpha", "1.1").await;
    promote(&backend).await;
    backend.advance_to_noon("2024-03-02");
    history::write_all(&history).await.expect("written");
    let views = async |log| -> Vec<Entry> {
        let mut entries = entries_of(&backend, log).await;
        entries.retain(|entry| entry.kind() == "view" && entry.value("repository") == Some("frozen"));
        entries.retain(|entry| entry.value("snapshot").is_some_and(|text| !text.contains('-')));
        entries
    };
    let first = views(1).await;
    assert_eq!(first.iter().map(|view| view.value("late")).collect::<Vec<_>>(), [None, Some("yes")]);

    let next = Some("next.example.org/__log__".to_owned());
    assert!(history::init(&history, next, true).await.expect("another log"));
    backend.advance_to_noon("2024-03-03");
    history::write_all(&history).await.expect("written");
    let publishes = entries_of(&backend, 2).await.into_iter().filter(|entry| entry.kind() == "publish");
    let publishes: Vec<Entry> = publishes.collect();
    assert!(publishes.iter().all(|publish| publish.value("late") == Some("yes")), "{publishes:?}");
    assert_eq!(views(2).await, [], "the first log has them, with its cosignatures");
    for view in first {
        let snapshot = view.value("snapshot").expect("a snapshot").parse().expect("a transaction");
        let proof = proofs::of_snapshot(&backend.repositories, "frozen", None, snapshot, None).await;
        let proof = EntryProof::parse(&proof.expect("read").expect("a proof")).expect("a proof");
        assert_eq!(Entry::parse(proof.entry.as_bytes()), Ok(view));
    }
}

#[tokio::test]
async fn rules_promotions_and_files_of_projects_are_in_the_log() {
    let (backend, history) = with_log().await;
    backend.add("team", "alpha", "1.0").await;
    history::write_all(&history).await.expect("written");
    let count =
        async |kind: &str| entries(&backend).await.iter().filter(|entry| entry.kind() == kind).count();
    assert_eq!(count("rules").await, 1, "the rules in force at the beginning");
    let criteria = Criteria { package: Some("alpha".to_owned()), ..Criteria::default() };
    let rule = Rule { id: 0, priority: 100, effect: RuleEffect::Block, criteria, description: String::new() };
    let ids = edit::block_rule::create(&backend.state, &[rule], &actor()).await.expect("a rule");
    history::write_all(&history).await.expect("written");
    edit::block_rule::delete(&backend.state, vec![(ids[0], ids[0])]).await.expect("deleted");
    history::write_all(&history).await.expect("written");
    let rules: Vec<Entry> =
        entries(&backend).await.into_iter().filter(|entry| entry.kind() == "rules").collect();
    assert_eq!(rules.len(), 3);
    assert_eq!(rules[0], rules[2]);
    assert_ne!(rules[0], rules[1]);

    let (repositories, state) = (&backend.repositories, &backend.state);
    create_frozen(&backend).await;
    promote(&backend).await;
    history::write_all(&history).await.expect("written");
    let view = entries(&backend).await.into_iter().find(|entry| entry.kind() == "view").expect("a state");
    assert_eq!(view.value("repository"), Some("frozen"));
    let tx: Snapshot = view.value("snapshot").expect("a snapshot").parse().expect("a transaction");
    let proof = proofs::of_snapshot(repositories, "frozen", None, tx, None).await.expect("a proof");
    assert!(proof.is_some());

    let name = |text: &str| text.parse().expect("a name");
    edit::source::create(state, &name("wheels"), SourceKind::LocalPython, OnExisting::Fail)
        .await
        .expect("a source");
    let repo = edit::NewRepo::open(&name("py"), RepoKind::Python, "");
    edit::repo::create(state, repo, OnExisting::Fail, &actor()).await.expect("a repository");
    edit::subscription::subscribe(state, "py", "wheels", None, OnExisting::Fail, &actor())
        .await
        .expect("subscribed");
    let package = Package::new("acme-tools", "1.0");
    let (file, bytes) = (package.wheel_name(), package.wheel());
    let sha256 = Sha256::of(&bytes).to_string();
    let body = futures_util::stream::iter([Ok(bytes.into())]).boxed();
    let kind = UploadKind::Project(Language::Python);
    let upload =
        edit::package::receive(&backend.uploads, &file, body, kind, &actor()).await.expect("received");
    let at = Some("2024-03-01T01:00:00Z".parse().expect("a time"));
    let event = Event::Add(AddedFile { at, ..AddedFile::default() });
    let change = ImportedChange { event, upload: Some(upload.id), kept: Vec::new() };
    edit::import::apply(&backend.uploads, "wheels", vec![change], false, &actor()).await.expect("added");
    backend.advance_to_noon("2024-03-02");
    rstudio_pm::serve::point::close_past_days(repositories).await;
    history::write_all(&history).await.expect("written");
    let status = history::status(&history).await.expect("read").expect("a log");
    let policy = Policy::parse(&format!("log {}\nquorum none\n", status.key)).expect("a policy");
    let request = ViewRequest { repository: "py", snapshot: "2024-03-01", document: "simple/" };
    let member = Member::File { name: file.clone(), sha256: sha256.clone() };
    let day: Snapshot = "2024-03-01".parse().expect("a day");
    let proof = proofs::of_snapshot(repositories, "py", None, day, Some(member)).await.expect("a proof");
    let proof = RecordProof::parse(&proof.expect("listed")).expect("a proof");
    let record = proof.verify(&policy, &request).expect("proved");
    assert_eq!((record.field("Package"), record.field("File")), (Some("acme-tools"), Some(file.as_str())));
    assert!(matches!(record.digest, Some(FileDigest::Sha256(digest)) if hex::encode(digest) == sha256));
    assert!(proof.verify(&policy, &ViewRequest { document: "src/contrib/PACKAGES", ..request }).is_err());
    assert_eq!(history::examine(&history, None).await.expect("examined").problems, Vec::<String>::new());
}

#[tokio::test]
async fn a_file_with_other_bytes_than_logged_is_named() {
    let (backend, history) = with_log().await;
    backend.add("team", "alpha", "1.0").await;
    let rows =
        backend.state.db.read(|c| c.query("SELECT sha256 FROM file WHERE name = 'alpha_1.0.tar.gz'", &[]));
    let sha256: String = rows.await.expect("read").remove(0).decode().expect("a digest");
    let md5 = "00".repeat(16);
    let line = format!("file team alpha_1.0.tar.gz 1 {md5} {sha256}\n");
    let (text, stored) = (vec![line], md5.clone());
    let write = backend.state.db.write(move |c| {
        c.execute("UPDATE file SET md5 = $1 WHERE name = 'alpha_1.0.tar.gz'", &[stored.as_str().into()])?;
        rstudio_pm::db::tlog_event::add(c, "files", &text)
    });
    write.await.expect("written");
    history::write_all(&history).await.expect("written");
    let problems = async || history::examine(&history, None).await.expect("examined").problems;
    assert_eq!(problems().await, Vec::<String>::new());
    let other = "11".repeat(32);
    let change = "UPDATE file SET sha256 = $1 WHERE name = 'alpha_1.0.tar.gz'";
    backend.state.db.write(move |c| c.execute(change, &[other.as_str().into()])).await.expect("written");
    let problems = problems().await;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains(&format!("alpha_1.0.tar.gz of team with the MD5 {md5}")), "{problems:?}");
}

#[tokio::test]
async fn a_renamed_repository_proves_past_days_on_request() {
    let (backend, history) = with_log().await;
    backend.add("team", "alpha", "1.0").await;
    backend.advance_to_noon("2024-03-02");
    rstudio_pm::serve::point::close_past_days(&backend.repositories).await;
    history::write_all(&history).await.expect("written");
    let edit = edit::RepoEdit { name: Some("main".parse().expect("a name")), ..edit::RepoEdit::default() };
    edit::repo::edit(&backend.state, "prod", edit, &actor()).await.expect("renamed");
    let day = |text: &str| text.parse::<Snapshot>().expect("a snapshot");
    let proof = async || {
        proofs::of_snapshot(&backend.repositories, "main", None, day("2024-03-01"), None).await.ok().flatten()
    };
    assert!(proof().await.is_none());
    let writer = tokio::spawn({
        let history = Arc::clone(&history);
        async move { history::run(&history).await }
    });
    history::add_states(&history, "main", day("2024-03-01")).await.expect("added");
    let proof = EntryProof::parse(&proof().await.expect("a proof")).expect("a proof");
    let view = Entry::parse(proof.entry.as_bytes()).expect("an entry");
    assert_eq!((view.value("repository"), view.value("late")), (Some("main"), Some("yes")));
    let before = entries(&backend).await.len();
    history::add_states(&history, "main", day("2024-03-01")).await.expect("known");
    assert_eq!(entries(&backend).await.len(), before, "the log has the state already");
    for (repo, snapshot) in
        [("main", "latest"), ("main", "2024-03-02"), ("main", "2023-01-01"), ("none", "2024-03-01")]
    {
        let refused = history::add_states(&history, repo, day(snapshot)).await;
        assert!(matches!(refused, Err(RepoError::NotFound(_))), "{repo} {snapshot}: {refused:?}");
    }
    writer.abort();
}
