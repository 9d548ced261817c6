//! Servers whose administrators do what changes earlier states have logs that an auditor accepts.

use std::str::FromStr;
use std::sync::Arc;

use rstudio_pm::api::source::ImportedChange;
use rstudio_pm::db::tlog;
use rstudio_pm::edit::promotion::{self, Opening, PromotionRequest};
use rstudio_pm::edit::{self, NewRepo, OnExisting, RepoEdit, import};
use rstudio_pm::history::{self, History};
use rstudio_pm::model::import_list::{AddedFile, Event};
use rstudio_pm::model::kind::{ChangePolicy, RepoKind};
use rstudio_pm::model::rule_effect::RuleEffect;
use rstudio_pm::policy::{Criteria, Rule};
use rstudio_pm::serve;
use rstudio_pm::tlog::audit::Auditor;
use rstudio_pm::tlog::entry::Entry;
use rstudio_pm::upkeep;

use crate::support::backend::{Backend, actor, day, person};
use crate::support::history::begin;
use crate::support::tarball::Tarball;

struct Logged {
    backend: Backend,
    history: Arc<History>,
}

impl Logged {
    /// A server with the packages `alpha` and `beta` in the repository `prod`.
    async fn new() -> Logged {
        let backend = Backend::new().await;
        backend.create_local_source("team").await;
        backend.create_repository("prod", &["team"]).await;
        let history = begin(&backend, "example.org/log").await;
        let logged = Logged { backend, history };
        logged.add("team", "alpha", "1.0").await;
        logged.add("team", "beta", "1.0").await;
        logged
    }

    async fn write(&self) {
        history::write_all(&self.history).await.expect("written");
    }

    async fn add(&self, source: &str, package: &str, version: &str) {
        self.backend.add(source, package, version).await;
        self.write().await;
    }

    async fn end_day(&self, next: &str) {
        self.backend.advance_to_noon(next);
        serve::point::close_past_days(&self.backend.repositories).await;
        self.write().await;
    }

    /// What the nightly check finds.
    async fn problems(&self) -> Vec<String> {
        history::examine(&self.history, None).await.expect("examined").problems
    }

    /// The entries of a kind, all of which an auditor and the nightly check must accept.
    async fn audited(&self, kind: &str) -> Vec<Entry> {
        let entries = self.backend.state.db.read(|c| tlog::entries(c, 1, 0, 1000)).await.expect("entries");
        let mut auditor = Auditor::new(Vec::new());
        entries.iter().for_each(|entry| auditor.push(entry.as_bytes()));
        let report = auditor.finish();
        assert!(!report.is_violated, "{:#?}\n{entries:#?}", report.findings);
        assert_eq!(self.problems().await, [""; 0], "{entries:#?}");
        let parsed = entries.iter().map(|entry| Entry::parse(entry.as_bytes()).expect("an entry"));
        parsed.filter(|entry| entry.kind() == kind).collect()
    }

    /// The snapshots of the states of a repository.
    async fn snapshots(&self, repository: &str) -> Vec<String> {
        let views = self.audited("view").await;
        let views = views.iter().filter(|view| view.value("repository") == Some(repository));
        views.map(|view| view.value("snapshot").expect("a snapshot").to_owned()).collect()
    }
}

fn name<T: FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a name")
}

#[tokio::test]
async fn changes_of_rules_and_promotions_are_accepted() {
    let logged = Logged::new().await;
    let state = &logged.backend.state;
    let criteria = Criteria { package: Some("alpha".to_owned()), ..Criteria::default() };
    let rule = Rule { id: 0, priority: 100, effect: RuleEffect::Block, criteria, description: String::new() };
    let ids = edit::block_rule::create(state, &[rule], &actor()).await.expect("a rule");
    logged.end_day("2024-03-02").await;
    edit::block_rule::delete(state, vec![(ids[0], ids[0])]).await.expect("deleted");
    logged.end_day("2024-03-03").await;
    let frozen =
        NewRepo { changes: ChangePolicy::Promotion, ..NewRepo::open(&name("frozen"), RepoKind::R, "") };
    edit::repo::create(state, frozen, OnExisting::Fail, &actor()).await.expect("a repository");
    for version in ["1.0", "1.1"] {
        let request = PromotionRequest {
            from: "prod".to_owned(),
            to: "frozen".to_owned(),
            snapshot: "latest".parse().expect("a snapshot"),
            comment: String::new(),
            opening: Opening::Permitted,
        };
        promotion::request(&logged.backend.repositories, state, request, &person("ann"))
            .await
            .expect("promoted");
        logged.add("team", "gamma", version).await;
    }
    logged.end_day("2024-03-04").await;
    assert_eq!(logged.audited("rules").await.len(), 3);
    assert_eq!(logged.snapshots("prod").await, ["2024-03-01", "2024-03-02", "2024-03-03"]);
    assert_eq!(logged.snapshots("frozen").await, ["4", "6", "2024-03-03"]);
}

#[tokio::test]
async fn renamed_and_deleted_sources_and_repositories_are_accepted() {
    let logged = Logged::new().await;
    let (backend, state) = (&logged.backend, &logged.backend.state);
    logged.end_day("2024-03-02").await;
    edit::source::rename(state, "team", &name("crew")).await.expect("renamed");
    let edit = RepoEdit { name: Some(name("main")), ..RepoEdit::default() };
    edit::repo::edit(state, "prod", edit, &actor()).await.expect("renamed");
    logged.add("crew", "alpha", "1.1").await;
    // Others get the names.
    backend.create_local_source("team").await;
    backend.create_repository("prod", &["team"]).await;
    for version in ["2.0", "2.1", "2.2", "2.3"] {
        logged.add("team", "alpha", version).await;
    }
    logged.end_day("2024-03-03").await;
    // Its entry is written after the deletion.
    backend.add("team", "alpha", "3.0").await;
    edit::subscription::unsubscribe(state, "prod", "team", None, &actor()).await.expect("unsubscribed");
    edit::source::delete(state, "team").await.expect("deleted");
    edit::repo::delete(state, "prod").await.expect("deleted");
    logged.end_day("2024-03-04").await;
    assert_eq!(logged.snapshots("prod").await, ["2024-03-01", "2024-03-02"]);
    assert_eq!(logged.snapshots("main").await, ["2024-03-02", "2024-03-03"]);
}

#[tokio::test]
async fn back_fills_are_accepted() {
    let logged = Logged::new().await;
    let backend = &logged.backend;
    logged.end_day("2024-03-02").await;
    backend.create_local_source("old").await;
    backend.create_repository("history", &["old"]).await;
    let mut changes = Vec::new();
    for (version, at) in [("0.1", "2024-02-01T00:00:00Z"), ("0.2", "2024-03-01T08:00:00Z")] {
        let upload = backend.upload(&Tarball::new("alpha", version)).await.expect("a package");
        let event = Event::Add(AddedFile { at: Some(at.parse().expect("a time")), ..AddedFile::default() });
        changes.push(ImportedChange { event, upload: Some(upload.id), kept: Vec::new() });
    }
    import::apply(&backend.uploads, "old", changes, false, &actor()).await.expect("imported");
    logged.end_day("2024-03-03").await;
    logged.add("old", "beta", "1.0").await;
    let publishes = logged.audited("publish").await;
    let of_past = publishes.iter().filter(|entry| entry.value("kind") == Some("backfill"));
    assert_eq!(of_past.filter(|entry| entry.value("late").is_some()).count(), 2, "{publishes:#?}");
    assert_eq!(logged.snapshots("history").await, ["2024-03-02"]);
}

#[tokio::test]
async fn what_is_changed_in_the_database_is_named() {
    let logged = Logged::new().await;
    let db = &logged.backend.state.db;
    let execute = async |sql: &'static str| {
        assert_eq!(db.write(move |c| c.execute(sql, &[])).await.expect("written"), 1, "{sql}");
    };
    execute(
        "UPDATE record SET stanza = CAST('Package: beta\nVersion: 1.0\nNote: x\n' AS BLOB) WHERE release_id IN \
         (SELECT r.id FROM release r JOIN package p ON p.id = r.package_id WHERE p.name = 'beta')",
    )
    .await;
    // A list below the others, of a later transaction: as if it was published into their past.
    execute(
        "INSERT INTO step (tree_id, seq, at, tx_id) SELECT tree_id, MIN(seq) - 1, MIN(at), MAX(tx_id) FROM step \
         GROUP BY tree_id",
    )
    .await;
    execute("UPDATE tx SET at = at + 60000000 WHERE id = 3").await;
    let Logged { backend, history } = logged;
    drop(history);
    let backend = backend.restart().await;
    let history = History::new(Arc::clone(&backend.repositories), Arc::clone(&backend.state));
    let problems = Logged { backend, history }.problems().await;
    for part in [
        "never published: beta",
        "the log example.org/log lacks lists of packages of transactions 3",
        "the log example.org/log has another time of transactions 3",
    ] {
        assert!(problems.iter().any(|problem| problem.contains(part)), "{part}: {problems:#?}");
    }
}

#[tokio::test]
async fn repairs_of_the_clock_are_accepted() {
    let logged = Logged::new().await;
    let backend = &logged.backend;
    logged.end_day("2024-03-02").await;
    // The clock is wrong by a week.
    logged.end_day("2024-03-09").await;
    logged.add("team", "gamma", "1.0").await;
    backend.set_back_to_noon("2024-03-02");
    upkeep::clock::repair(&backend.state, day("2024-03-02"), false)
        .await
        .expect("repaired")
        .expect("changed");
    logged.add("team", "gamma", "1.1").await;
    for next in ["2024-03-03", "2024-03-04"] {
        logged.end_day(next).await;
        logged.add("team", "delta", &format!("1.{}", &next[9..])).await;
    }
    let repairs = logged.audited("clock").await;
    let times =
        repairs.iter().map(|entry| (entry.value("transaction"), entry.value("old"), entry.value("new")));
    let expected = (Some("4"), Some("2024-03-09T12:00:00Z"), Some("2024-03-02T12:00:00Z"));
    assert_eq!(times.collect::<Vec<_>>(), [expected]);
}

#[tokio::test]
async fn a_source_that_gets_a_name_of_before_is_accepted() {
    let logged = Logged::new().await;
    let (backend, state) = (&logged.backend, &logged.backend.state);
    backend.create_local_source("other").await;
    logged.add("other", "gamma", "1.0").await;
    edit::subscription::unsubscribe(state, "prod", "team", None, &actor()).await.expect("unsubscribed");
    edit::source::delete(state, "team").await.expect("deleted");
    edit::source::rename(state, "other", &name("team")).await.expect("renamed");
    logged.add("team", "gamma", "1.1").await;
    logged.audited("publish").await;
}

#[tokio::test]
async fn the_nightly_check_works_before_and_after_a_repair_of_the_clock() {
    let logged = Logged::new().await;
    let backend = &logged.backend;
    logged.end_day("2024-03-09").await;
    logged.add("team", "gamma", "1.0").await;
    backend.set_back_to_noon("2024-03-02");
    assert_eq!(logged.problems().await, [""; 0], "before the repair");
    upkeep::clock::repair(&backend.state, day("2024-03-02"), false)
        .await
        .expect("repaired")
        .expect("changed");
    logged.write().await;
    assert_eq!(logged.problems().await, [""; 0]);
}

#[tokio::test]
async fn days_of_a_wrong_clock_get_their_states_when_they_end() {
    let logged = Logged::new().await;
    let backend = &logged.backend;
    logged.end_day("2024-03-04").await;
    logged.add("team", "gamma", "0.9").await;
    backend.set_back_to_noon("2024-03-02");
    upkeep::clock::repair(&backend.state, day("2024-03-02"), false)
        .await
        .expect("repaired")
        .expect("changed");
    logged.add("team", "gamma", "1.0").await;
    logged.end_day("2024-03-03").await;
    assert_eq!(logged.snapshots("prod").await, ["2024-03-01", "2024-03-02", "2024-03-03", "2024-03-02"]);
}

#[tokio::test]
async fn days_of_a_wrong_clock_without_transactions_get_their_states_when_they_end() {
    let logged = Logged::new().await;
    let backend = &logged.backend;
    logged.end_day("2024-03-04").await;
    backend.set_back_to_noon("2024-03-02");
    upkeep::clock::repair(&backend.state, day("2024-03-02"), false)
        .await
        .expect("repaired")
        .expect("changed");
    logged.add("team", "gamma", "1.0").await;
    logged.end_day("2024-03-03").await;
    assert_eq!(logged.snapshots("prod").await, ["2024-03-01", "2024-03-02", "2024-03-03", "2024-03-02"]);
}
