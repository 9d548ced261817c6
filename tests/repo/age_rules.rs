//! Block rules about the age of releases, on both databases, with a clock that the test sets.

use rstudio_pm::edit::block_rule;
use rstudio_pm::index::PageReads;
use rstudio_pm::model::kind::SourceKind;
use rstudio_pm::model::rule_effect::RuleEffect;
use rstudio_pm::model::time::SECOND;
use rstudio_pm::policy::{Criteria, Rule};
use rstudio_pm::r::layout::IndexFormat;
use rstudio_pm::serve::r::document::RDocument;
use rstudio_pm::serve::{self, RepoError};
use rstudio_pm::sync::Sync;

use super::{archive_names, index, listing, point};
use crate::support::backend::{Backend, StoresConfig, actor};
use crate::support::db;
use crate::support::mirror_dir::MirrorDir;

/// A repository `prod` of a mirror, with a minimum age of 7 days.
struct Server {
    backend: Backend,
    mirror: MirrorDir,
    _folder: tempfile::TempDir,
}

/// The answer to a request for a file.
#[derive(Debug, PartialEq, Eq)]
enum File {
    Served,
    Blocked,
    Missing,
}

impl Server {
    async fn start(engine: db::Engine) -> Server {
        let folder = tempfile::tempdir().expect("a folder");
        let mut mirror = MirrorDir::new(folder.path());
        mirror.simple("one", "1.0", "2024-02-01");
        mirror.simple("two", "1.0", "2024-02-01");
        // With fewer packages, a sync would refuse the index after a removal as that of an incomplete mirror.
        for number in 0..12 {
            mirror.simple(&format!("other{number}"), "1.0", "2024-02-01");
        }
        let settings = tokio::task::spawn_blocking(move || db::settings(engine)).await.expect("no panic");
        let gcfg = format!("{settings}\n[CRAN]\nURL = {}", mirror.url());
        let backend = Backend::with_stores(StoresConfig { gcfg }).await;
        let server = Server { backend, mirror, _folder: folder };
        server.sync().await;
        server.backend.create_repository("prod", &["cran"]).await;
        let criteria =
            Criteria { min_age: Some(7 * 86_400 * SECOND), fixes_pass: true, ..Criteria::default() };
        let rule =
            Rule { id: 0, priority: 100, effect: RuleEffect::Block, criteria, description: String::new() };
        block_rule::create(&server.backend.state, &[rule], &actor()).await.expect("a rule");
        server
    }

    async fn sync(&self) {
        self.mirror.write();
        let state = &self.backend.state;
        let sync = Sync::new(PageReads::new(state.clone()), state.clone());
        let start = sync.start(SourceKind::Cran).expect("cran is synced");
        start.job().wait_end().await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// The versions of `one` and `two` in a snapshot.
    async fn listed(&self, snapshot: &str) -> String {
        let all = listing(&self.backend, "prod", snapshot).await;
        let of_test = all.split(", ").filter(|package| !package.starts_with("other"));
        of_test.collect::<Vec<_>>().join(", ")
    }

    async fn file(&self, snapshot: &str, package: &str, version: &str) -> File {
        let point = point(&self.backend, "prod", snapshot).await;
        let file = format!("{package}_{version}.tar.gz");
        let repositories = &self.backend.repositories;
        match serve::file::locate(repositories, &point, package, version, &file, false).await {
            Ok(_) => File::Served,
            Err(RepoError::Blocked(blocked)) => {
                assert!(blocked.to_string().contains("younger than 7 days"), "{blocked}");
                File::Blocked
            }
            Err(RepoError::NotFound(_)) => File::Missing,
            Err(error) => panic!("{file}: {error}"),
        }
    }

    async fn text(&self, snapshot: &str) -> bytes::Bytes {
        index(&self.backend, "prod", snapshot, RDocument::Packages(IndexFormat::Text)).await.bytes
    }
}

async fn removed_during_its_minimum_age(engine: db::Engine) {
    let mut server = Server::start(engine).await;
    server.backend.advance_to_noon("2024-03-10");
    for package in ["one", "two"] {
        server.mirror.simple(package, "1.1", "2024-03-10");
    }
    server.sync().await;
    assert_eq!(server.listed("latest").await, "one 1.0, two 1.0");
    assert_eq!(server.file("latest", "one", "1.1").await, File::Blocked);

    // The mirror removes one 1.1, and lists the previous version again; it removes two without a trace.
    server.backend.advance_to_noon("2024-03-12");
    server.mirror.remove("one");
    server.mirror.restore("one", "1.0");
    server.mirror.remove("two");
    server.sync().await;
    for day in ["2024-03-13", "2024-03-16", "2024-03-18", "2024-04-30"] {
        server.backend.advance_to_noon(day);
        for snapshot in ["latest", day] {
            assert_eq!(server.listed(snapshot).await, "one 1.0", "{day}: {snapshot}");
            for package in ["one", "two"] {
                assert_eq!(server.file(snapshot, package, "1.1").await, File::Missing, "{day}: {snapshot}");
            }
            assert_eq!(server.file(snapshot, "one", "1.0").await, File::Served);
            let archived = archive_names(&server.backend, "prod", snapshot).await;
            assert_eq!(archived, ["two/two_1.0.tar.gz"], "{day}: {snapshot}");
        }
    }
    // The days on which the mirror had it still have it, below its minimum age then.
    for day in ["2024-03-10", "2024-03-11"] {
        assert_eq!(server.listed(day).await, "one 1.0, two 1.0", "{day}");
        assert_eq!(server.file(day, "one", "1.1").await, File::Blocked, "{day}");
    }
}

async fn closed_days(engine: db::Engine) {
    let mut server = Server::start(engine).await;
    server.backend.advance_to_noon("2024-03-10");
    server.mirror.simple("two", "2.0", "2024-03-10");
    server.sync().await;
    // At noon of 2024-03-17, two 2.0 is seven days old.
    let mut before = Vec::new();
    for day in ["2024-03-10", "2024-03-12", "2024-03-16"] {
        if day != "2024-03-10" {
            server.backend.advance_to_noon(day);
        }
        for snapshot in ["latest", day] {
            assert_eq!(server.listed(snapshot).await, "one 1.0, two 1.0", "{day}: {snapshot}");
            assert_eq!(server.file(snapshot, "two", "2.0").await, File::Blocked, "{day}: {snapshot}");
        }
        before.push((day, server.text(day).await));
    }
    // A day that is over, requested before the age is reached.
    before.push(("2024-03-11", server.text("2024-03-11").await));
    for now in ["2024-03-17", "2024-03-18", "2024-06-01"] {
        server.backend.advance_to_noon(now);
        assert_eq!(server.listed("latest").await, "one 1.0, two 2.0", "{now}");
        assert_eq!(server.file("latest", "two", "2.0").await, File::Served, "{now}");
        for (day, text) in &before {
            assert_eq!(server.text(day).await, *text, "{now}: {day}");
            assert_eq!(server.file(day, "two", "2.0").await, File::Blocked, "{now}: {day}");
        }
        // Days that were not requested before, on both sides of the limit.
        assert_eq!(server.listed("2024-03-15").await, "one 1.0, two 1.0", "{now}");
        assert_eq!(server.listed("2024-03-17").await, "one 1.0, two 2.0", "{now}");
    }
    // None of these responses depends on data in memory.
    let Server { backend, mirror, _folder } = server;
    let server = Server { backend: backend.restart().await, mirror, _folder };
    for (day, text) in &before {
        assert_eq!(server.text(day).await, *text, "{day}");
    }
    assert_eq!(server.listed("latest").await, "one 1.0, two 2.0");
}

/// A request resolves its point before rules that depend on times or on the snapshot are created.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_began_before_new_rules_gets_what_they_allow() {
    let server = Server::start(db::Engine::Sqlite).await;
    let Backend { repositories, state, .. } = &server.backend;
    block_rule::delete(state, vec![(1, i64::MAX)]).await.expect("deleted");
    let rule = |criteria: Criteria| Rule {
        id: 0,
        priority: 100,
        effect: RuleEffect::Block,
        criteria,
        description: String::new(),
    };
    let named = |name: &str| rule(Criteria { package: Some(name.to_owned()), ..Criteria::default() });
    block_rule::create(state, &[named("other0")], &actor()).await.expect("a rule");
    server.backend.advance_to_noon("2024-03-10");
    let points = [
        ("latest", point(&server.backend, "prod", "latest").await),
        ("2024-03-05", point(&server.backend, "prod", "2024-03-05").await),
    ];
    let of_age = Criteria { min_age: Some(7 * 86_400 * SECOND), fixes_pass: true, ..Criteria::default() };
    let mut not_dated = named("two");
    not_dated.criteria.not_dated = true;
    block_rule::create(state, &[rule(of_age), not_dated], &actor()).await.expect("rules");
    for (snapshot, point) in points {
        for (package, is_blocked) in [("one", false), ("two", snapshot == "latest"), ("other0", true)] {
            let file = format!("{package}_1.0.tar.gz");
            let found = serve::file::locate(repositories, &point, package, "1.0", &file, false).await;
            match found {
                Ok(_) => assert!(!is_blocked, "{snapshot}: {package}"),
                Err(RepoError::Blocked(reason)) => assert!(is_blocked, "{snapshot}: {package}: {reason}"),
                Err(error) => panic!("{snapshot}: {package}: {error}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_that_upstream_removes_during_its_minimum_age_is_never_served_on_sqlite() {
    removed_during_its_minimum_age(db::Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_that_upstream_removes_during_its_minimum_age_is_never_served_on_postgres() {
    removed_during_its_minimum_age(db::Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_day_is_the_same_before_and_after_the_age_is_reached_on_sqlite() {
    closed_days(db::Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_day_is_the_same_before_and_after_the_age_is_reached_on_postgres() {
    closed_days(db::Engine::Postgres).await;
}
