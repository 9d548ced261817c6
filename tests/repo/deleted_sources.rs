//! Edits that refer to a source or a repository that another command has just deleted, and repositories that subscribe to
//! a deleted source.

use rstudio_pm::db::{DbError, clock, name_guard as guard_rows, repo as repo_rows, source as source_rows};
use rstudio_pm::edit::name_guard::{self, NameGuardChanges, NewNameGuard};
use rstudio_pm::edit::{self, OnExisting, block_rule};
use rstudio_pm::model::ids::SourceId;
use rstudio_pm::model::kind::SourceKind;
use rstudio_pm::model::name::Name;
use rstudio_pm::model::rule_effect::RuleEffect;
use rstudio_pm::model::time::SECOND;
use rstudio_pm::policy::{Criteria, Rule};
use rstudio_pm::serve::{RepoError, file};

use super::all_stores::{ObjectStore, stores};
use super::{listing, point};
use crate::support::backend::{Backend, actor};
use crate::support::db;
use crate::support::tarball::Tarball;

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
    a_source_that_was_just_deleted_is_not_subscribed_to
    nothing_is_published_in_a_source_that_was_just_deleted
    no_name_guard_is_of_a_source_that_was_just_deleted
    no_block_rule_is_of_a_source_or_repository_that_was_just_deleted
    a_repository_that_was_just_deleted_is_not_found
    a_deleted_source_is_unsubscribed_by_its_number
    a_minimum_age_for_mirrors_does_not_hide_packages_of_a_deleted_local_source
    a_build_is_published_in_the_source_of_its_builder_whatever_its_name
}

/// A backend with the local sources `team` and `other`, and the repository `dev` of `other`.
async fn environment(engine: db::Engine) -> Backend {
    let backend = Backend::with_stores(stores(engine, ObjectStore::Disk).await).await;
    for source in ["team", "other"] {
        backend.create_local_source(source).await;
    }
    backend.create_repository("dev", &["other"]).await;
    backend
}

/// Deletes a source only in the database, so that the catalog still has it, as in a command that has just read it.
async fn delete_unnoticed(backend: &Backend, source: &str) -> SourceId {
    let state = &backend.state;
    let (id, now) = (source_id(backend, source), (state.clock)());
    let delete = state.db.write(move |c| {
        source_rows::delete(c, id, now)?;
        clock::bump_catalog(c, clock::Change::Source(id))
    });
    delete.await.expect("deleted");
    assert_eq!(source_id(backend, source), id);
    id
}

fn source_id(backend: &Backend, source: &str) -> SourceId {
    backend.state.catalog.get().source(source).expect("a source").id
}

fn assert_deleted(error: &RepoError, source: &str) {
    assert!(matches!(error, RepoError::Db(DbError::SourceDeleted(name)) if name == source), "{error}");
}

/// The names of the sources of a repository, in the database.
async fn subscribed(backend: &Backend, repo: &str) -> Vec<String> {
    let state = &backend.state;
    state.catalog.refresh(&state.db).await.expect("a catalog");
    let catalog = state.catalog.get();
    let sources = catalog.repo(repo).expect("a repository").sources();
    sources.into_iter().map(|source| catalog.source_name(source)).collect()
}

async fn a_source_that_was_just_deleted_is_not_subscribed_to(backend: Backend) {
    delete_unnoticed(&backend, "team").await;
    let subscribed_to =
        edit::subscription::subscribe(&backend.state, "dev", "team", None, OnExisting::Fail, &actor()).await;
    assert_deleted(&subscribed_to.expect_err("deleted"), "team");
    assert_eq!(subscribed(&backend, "dev").await, ["other"]);
}

async fn nothing_is_published_in_a_source_that_was_just_deleted(backend: Backend) {
    let state = &backend.state;
    delete_unnoticed(&backend, "team").await;
    let before = state.db.read(clock::get).await.expect("a row").tx;
    let added = backend.try_add("team", &[Tarball::new("alpha", "1.0")], OnExisting::Fail).await;
    assert_deleted(&added.expect_err("deleted"), "team");
    assert_eq!(state.db.read(clock::get).await.expect("a row").tx, before);
    assert_eq!(state.db.read(guard_rows::list).await.expect("rows"), []);
    backend.add("other", "alpha", "1.0").await;
    let guards = state.db.read(guard_rows::list).await.expect("rows");
    assert_eq!(guards.iter().map(|guard| guard.source).collect::<Vec<_>>(), [source_id(&backend, "other")]);
}

async fn no_name_guard_is_of_a_source_that_was_just_deleted(backend: Backend) {
    let (repositories, state) = (&backend.repositories, &backend.state);
    let new = |source: &str| NewNameGuard {
        name: "acme".to_owned(),
        language: None,
        source: source.to_owned(),
        description: String::new(),
    };
    delete_unnoticed(&backend, "team").await;
    let created = name_guard::create(state, &new("team"), false, &actor()).await;
    assert_deleted(&created.expect_err("deleted"), "team");
    assert_eq!(state.db.read(guard_rows::list).await.expect("rows"), []);

    let (guard, _) = name_guard::create(state, &new("other"), false, &actor()).await.expect("a guard");
    let other = source_id(&backend, "other");
    backend.create_local_source("third").await;
    // The effects of the change are not computed for a guard that is not in force, so that nothing reads the catalog again.
    let idle = state.db.write(move |c| {
        let mut rows = guard_rows::list(c)?;
        rows.retain(|row| row.id == guard.id);
        let row = guard_rows::NameGuardRow { state: guard_rows::GuardState::ListedBefore, ..rows.remove(0) };
        guard_rows::update(c, std::slice::from_ref(&row))
    });
    assert_eq!(idle.await.expect("changed"), 1);
    delete_unnoticed(&backend, "third").await;
    let give = NameGuardChanges { source: Some("third".to_owned()), ..NameGuardChanges::default() };
    let updated = name_guard::update(repositories, state, guard.id, &give, false).await;
    assert_deleted(&updated.expect_err("deleted"), "third");
    let rows = state.db.read(guard_rows::list).await.expect("rows");
    assert_eq!(rows.iter().map(|row| row.source).collect::<Vec<_>>(), [other]);

    // The guard of a deleted source can be described.
    delete_unnoticed(&backend, "other").await;
    let describe =
        NameGuardChanges { description: Some("a reason".to_owned()), ..NameGuardChanges::default() };
    name_guard::update(repositories, state, guard.id, &describe, false).await.expect("changed");
}

async fn no_block_rule_is_of_a_source_or_repository_that_was_just_deleted(backend: Backend) {
    let state = &backend.state;
    let rule = |criteria: Criteria| Rule {
        id: 0,
        priority: 100,
        effect: RuleEffect::Block,
        criteria: Criteria { package: Some("alpha".to_owned()), ..criteria },
        description: String::new(),
    };
    let team = rule(Criteria { source: Some(source_id(&backend, "team")), ..Criteria::default() });
    let dev = state.catalog.get().repo("dev").expect("a repository").id;
    let of_dev = rule(Criteria { repo: Some(dev), ..Criteria::default() });
    delete_unnoticed(&backend, "team").await;
    let catalog = state.catalog.get();
    let rules = [rule(Criteria::default()), team.clone()];
    let created = block_rule::create_validated(state, &catalog, &rules, &actor()).await;
    assert_deleted(&created.expect_err("deleted"), "team");
    let deletion = state.db.write(move |c| repo_rows::delete(c, &[dev].into()));
    assert_eq!(deletion.await.expect("deleted"), 1);
    let created = block_rule::create_validated(state, &catalog, &[of_dev], &actor()).await;
    assert!(matches!(&created, Err(RepoError::Db(DbError::NoRepo(id))) if *id == dev), "{created:?}");

    state.catalog.refresh(&state.db).await.expect("a catalog");
    let ids = block_rule::create(state, &[rule(Criteria::default())], &actor()).await.expect("a rule");
    let known = Rule { id: ids[0], ..rule(Criteria::default()) };
    let changed = Rule { id: known.id, ..team.clone() };
    let error = block_rule::update(state, &known, &changed).await.expect_err("deleted");
    assert_deleted(&error, "team");
    // A rule without effect, as in a list of rules of this server, can be created and changed.
    let ids = block_rule::create(state, std::slice::from_ref(&team), &actor()).await.expect("a rule");
    let known = Rule { id: ids[0], ..team };
    let changed = Rule { priority: 7, ..known.clone() };
    block_rule::update(state, &known, &changed).await.expect("changed");
}

async fn a_repository_that_was_just_deleted_is_not_found(backend: Backend) {
    let state = &backend.state;
    let dev = state.catalog.get().repo("dev").expect("a repository").id;
    let deletion = state.db.write(move |c| repo_rows::delete(c, &[dev].into()));
    assert_eq!(deletion.await.expect("deleted"), 1);
    let subscribed_to =
        edit::subscription::subscribe(state, "dev", "team", None, OnExisting::Fail, &actor()).await;
    let error = subscribed_to.expect_err("deleted");
    assert!(
        matches!(&error, RepoError::Unknown { message, .. } if message == "the repository 'dev' was deleted in the meantime"),
        "{error}"
    );
}

async fn a_deleted_source_is_unsubscribed_by_its_number(backend: Backend) {
    let state = &backend.state;
    backend.create_repository("all", &["team", "other"]).await;
    let number = delete_unnoticed(&backend, "team").await.to_string();
    assert_eq!(subscribed(&backend, "all").await, [number.as_str(), "other"]);
    let error = edit::subscription::unsubscribe(state, "all", "team", None, &actor()).await;
    let error = error.expect_err("its name may be that of a new source");
    assert!(error.to_string().starts_with("there is no source 'team'"), "{error}");
    let order = ["other".to_owned(), number.clone()];
    edit::subscription::reorder(state, "all", &order, &actor()).await.expect("reordered");
    assert_eq!(subscribed(&backend, "all").await, ["other", number.as_str()]);
    edit::subscription::unsubscribe(state, "all", &number, None, &actor()).await.expect("unsubscribed");
    assert_eq!(subscribed(&backend, "all").await, ["other"]);
    let error = edit::subscription::unsubscribe(state, "all", &number, None, &actor()).await;
    let error = error.expect_err("unsubscribed already");
    assert!(error.to_string().starts_with(&format!("there is no source '{number}'")), "{error}");
    let other = source_id(&backend, "other").to_string();
    let error = edit::subscription::unsubscribe(state, "all", &other, None, &actor()).await;
    assert!(error.is_err(), "only a deleted source has no name");
}

async fn a_minimum_age_for_mirrors_does_not_hide_packages_of_a_deleted_local_source(backend: Backend) {
    backend.create_repository("all", &["team"]).await;
    backend.add("team", "alpha", "1.0").await;
    let criteria = Criteria { min_age: Some(7 * 86_400 * SECOND), ..Criteria::default() };
    let rule = Rule { id: 0, priority: 100, effect: RuleEffect::Block, criteria, description: String::new() };
    block_rule::create(&backend.state, &[rule], &actor()).await.expect("a rule");
    backend.advance_to_noon("2024-03-02");
    assert_eq!(listing(&backend, "all", "2024-03-01").await, "alpha 1.0");
    edit::subscription::unsubscribe(&backend.state, "all", "team", None, &actor())
        .await
        .expect("unsubscribed");
    edit::source::delete(&backend.state, "team").await.expect("deleted");
    assert_eq!(listing(&backend, "all", "2024-03-01").await, "alpha 1.0");
    // Without the decisions in memory.
    let backend = backend.restart().await;
    let point = point(&backend, "all", "2024-03-01").await;
    let file = file::locate(&backend.repositories, &point, "alpha", "1.0", "alpha_1.0.tar.gz", false).await;
    if let Err(error) = file {
        panic!("{error}");
    }
    assert_eq!(listing(&backend, "all", "2024-03-01").await, "alpha 1.0");
}

async fn a_build_is_published_in_the_source_of_its_builder_whatever_its_name(backend: Backend) {
    let state = &backend.state;
    let name = |text: &str| -> Name { text.parse().expect("a name") };
    edit::source::create(state, &name("built"), SourceKind::Git, OnExisting::Fail).await.expect("a source");
    let built = source_id(&backend, "built");
    let upload = backend.upload(&Tarball::new("alpha", "1.0")).await.expect("an upload");
    // During the build, the source gets another name, and another source its name.
    edit::source::rename(state, "built", &name("renamed")).await.expect("renamed");
    backend.create_local_source("built").await;
    backend.create_repository("all", &["built"]).await;
    backend.create_repository("git", &["renamed"]).await;
    let author = actor();
    let origin = edit::add::BuildOrigin { actor: &author, comment: String::new() };
    let (uploads, files) = (&backend.uploads, std::slice::from_ref(&upload));
    let add = edit::add::add_built;
    let added = add(uploads, built, "alpha", files, OnExisting::Fail, origin, |_, _, _| Ok(()));
    assert!(added.await.expect("published").is_some());
    assert_eq!(listing(&backend, "git", "latest").await, "alpha 1.0");
    assert_eq!(listing(&backend, "all", "latest").await, "");
    let guards = state.db.read(guard_rows::list).await.expect("rows");
    assert_eq!(guards.iter().map(|guard| guard.source).collect::<Vec<_>>(), [built]);
}
