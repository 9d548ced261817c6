//! Edits of rules and guards that others change at the same time, and what a second server states about changes of the
//! first one that it has not been notified of.

use rstudio_pm::db::block_rule as rows;
use rstudio_pm::edit::name_guard::{self, NameGuardChanges, NewNameGuard};
use rstudio_pm::edit::promotion::{self, PromotionRequest};
use rstudio_pm::edit::{self, OnExisting, block_rule};
use rstudio_pm::model::kind::{ChangePolicy, RepoKind};
use rstudio_pm::model::rule_effect::RuleEffect;
use rstudio_pm::policy::{Criteria, Rule};
use rstudio_pm::serve::{RepoError, rule_matches};

use super::all_stores::{ObjectStore, stores};
use super::listing;
use crate::support::backend::{Backend, actor, person};
use crate::support::db;

/// Number of pairs of concurrent edits.
const ROUNDS: usize = 20;

macro_rules! scenarios {
    ($($scenario:ident)*) => {
        mod sqlite {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $scenario() { super::$scenario(environment(db::Engine::Sqlite).await).await; }
            )*
        }
        mod postgres {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $scenario() { super::$scenario(environment(db::Engine::Postgres).await).await; }
            )*
        }
    };
}

scenarios! {
    a_rule_that_another_command_changed_is_not_overwritten
    concurrent_edits_of_a_guard_lose_no_change
    the_effects_of_a_deletion_are_those_of_the_deleted_guard
}

/// A backend with the repository `dev` of the local sources `team`, which has alpha 1.0 and beta 1.0, and `other`.
async fn environment(engine: db::Engine) -> Backend {
    let backend = Backend::with_stores(stores(engine, ObjectStore::Disk).await).await;
    for source in ["team", "other"] {
        backend.create_local_source(source).await;
    }
    backend.create_repository("dev", &["team", "other"]).await;
    for name in ["alpha", "beta"] {
        backend.add("team", name, "1.0").await;
    }
    backend
}

fn rule(package: &str) -> Rule {
    let criteria = Criteria { package: Some(package.to_owned()), ..Criteria::default() };
    Rule { id: 0, priority: 100, effect: RuleEffect::Block, criteria, description: String::new() }
}

async fn create_rule(backend: &Backend, rule: &Rule) -> Rule {
    let ids = block_rule::create(&backend.state, std::slice::from_ref(rule), &actor()).await.expect("a rule");
    Rule { id: ids[0], ..rule.clone() }
}

async fn a_rule_that_another_command_changed_is_not_overwritten(backend: Backend) {
    let state = &backend.state;
    let known = create_rule(&backend, &rule("alpha")).await;
    let first = Rule { priority: 7, ..known.clone() };
    block_rule::update(state, &known, &first).await.expect("changed");
    // Another command read the rule before that.
    let second = Rule { description: "a reason".to_owned(), ..known.clone() };
    let error = block_rule::update(state, &known, &second).await.expect_err("changed in the meantime");
    assert!(
        matches!(&error, RepoError::Conflict(text) if text.starts_with("block rule 1 was changed")),
        "{error}"
    );
    let stored = || async {
        let row = state.db.read(|c| rows::range(c, 1, 1, 1)).await.expect("rows").pop().expect("a rule");
        (row.priority, row.description)
    };
    assert_eq!(stored().await, (7, String::new()));
    let repeated = Rule { description: "a reason".to_owned(), ..first.clone() };
    block_rule::update(state, &first, &repeated).await.expect("changed");
    assert_eq!(stored().await, (7, "a reason".to_owned()));
    block_rule::delete(state, vec![(1, 1)]).await.expect("deleted");
    let error = block_rule::update(state, &repeated, &known).await.expect_err("deleted");
    assert!(matches!(error, RepoError::NotFound(_)), "{error}");
}

async fn concurrent_edits_of_a_guard_lose_no_change(backend: Backend) {
    let (repositories, state) = (&backend.repositories, &backend.state);
    let new = NewNameGuard {
        name: "acme0".to_owned(),
        language: None,
        source: "team".to_owned(),
        description: "0".to_owned(),
    };
    let (guard, _) = name_guard::create(state, &new, false, &actor()).await.expect("a guard");
    for round in 1..=ROUNDS {
        let (name, text) = (format!("acme{round}"), round.to_string());
        let rename = NameGuardChanges { name: Some(name.clone()), ..NameGuardChanges::default() };
        let describe = NameGuardChanges { description: Some(text.clone()), ..NameGuardChanges::default() };
        let (renamed, described) = tokio::join!(
            name_guard::update(repositories, state, guard.id, &rename, false),
            name_guard::update(repositories, state, guard.id, &describe, false),
        );
        assert!(renamed.is_ok() || described.is_ok(), "{renamed:?} {described:?}");
        let rows = state.db.read(rstudio_pm::db::name_guard::list).await.expect("rows");
        let stored = rows.into_iter().find(|row| row.id == guard.id).expect("the guard");
        for (result, is_stored) in
            [(&renamed, stored.pattern == name), (&described, stored.description == text)]
        {
            match result {
                Ok(_) => assert!(is_stored, "round {round}: {stored:?}"),
                Err(RepoError::Conflict(text)) => {
                    assert!(text.contains("in the meantime") && !is_stored, "{text} {stored:?}");
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

async fn the_effects_of_a_deletion_are_those_of_the_deleted_guard(backend: Backend) {
    let (repositories, state) = (&backend.repositories, &backend.state);
    backend.add("other", "alpha", "2.0").await;
    let team = state.catalog.get().source("team").expect("a source").id;
    let new = NewNameGuard {
        name: "alpha".to_owned(),
        language: None,
        source: "team".to_owned(),
        description: String::new(),
    };
    let to_other = NameGuardChanges { source: Some("other".to_owned()), ..NameGuardChanges::default() };
    for round in 1..=ROUNDS {
        let (guard, _) = name_guard::create(state, &new, false, &actor()).await.expect("a guard");
        let (_, deleted) = tokio::join!(
            name_guard::update(repositories, state, guard.id, &to_other, false),
            name_guard::delete(repositories, state, guard.id, false),
        );
        // The repository lists alpha of `team` unless the guard is that of `other`.
        match deleted {
            Ok(deleted) => {
                assert_eq!(deleted.changes.is_empty(), deleted.row.source == team, "round {round}")
            }
            Err(RepoError::Conflict(text)) => {
                assert!(text.contains("in the meantime"), "{text}");
                name_guard::delete(repositories, state, guard.id, false).await.expect("repeated");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_states_the_changes_of_the_first_one() {
    let first = environment(db::Engine::Postgres).await;
    // Nothing notifies this server of changes.
    let second = first.open_second().await;
    let name = "prod".parse().expect("a name");
    let new =
        edit::NewRepo { changes: ChangePolicy::TwoPersons, ..edit::NewRepo::open(&name, RepoKind::R, "") };
    edit::repo::create(&first.state, new, OnExisting::Fail, &actor()).await.expect("a repository");
    first.add("other", "gamma", "1.0").await;
    create_rule(&first, &rule("alpha")).await;
    let request = || PromotionRequest {
        from: "dev".to_owned(),
        to: "prod".to_owned(),
        snapshot: "latest".parse().expect("a snapshot"),
        comment: String::new(),
        opening: promotion::Opening::Permitted,
    };
    let requested = promotion::request(&first.repositories, &first.state, request(), &person("test"))
        .await
        .expect("accepted");
    let requested = requested.expect("a promotion");
    let names = |plan: &promotion::plan::PromotedChanges| {
        plan.packages.iter().map(|change| change.name.clone()).collect::<Vec<_>>()
    };
    let plan = promotion::plan(&second.repositories, &second.state, &request()).await.expect("a plan");
    assert_eq!(names(&plan), ["beta", "gamma"]);

    let third = first.open_second().await;
    first.add("other", "delta", "1.0").await;
    let recorded = async || {
        let plan = promotion::plan_of(&third.state, requested.id).await.expect("a plan");
        plan.packages.into_iter().map(|package| package.name).collect::<Vec<_>>()
    };
    assert_eq!(recorded().await, ["beta", "gamma"], "the requested state");
    create_rule(&first, &rule("beta")).await;
    assert_eq!(recorded().await, ["beta", "gamma"], "as it was requested");

    let fourth = first.open_second().await;
    create_rule(&first, &rule("delta")).await;
    let matches = rule_matches::of_rule(&fourth.repositories, &rule("delta")).await.expect("matches");
    assert!(matches.is_empty(), "another rule blocks it already: {matches:?}");

    first.create_local_source("third").await;
    let new = NewNameGuard {
        name: "gamma".to_owned(),
        language: None,
        source: "other".to_owned(),
        description: String::new(),
    };
    let (guard, _) = name_guard::create(&first.state, &new, false, &actor()).await.expect("a guard");
    let fifth = first.open_second().await;
    first.create_repository("qa", &["team", "other"]).await;
    let give = NameGuardChanges { source: Some("third".to_owned()), ..NameGuardChanges::default() };
    let dry_run = name_guard::update(&fifth.repositories, &fifth.state, guard.id, &give, true);
    let changes = dry_run.await.expect("a plan").changes;
    let repos: Vec<&str> = changes.iter().map(|change| change.repo.as_str()).collect();
    assert_eq!(repos, ["dev", "qa"]);
    assert_eq!(listing(&first, "qa", "latest").await, "gamma 1.0", "a dry run changes nothing");
}
