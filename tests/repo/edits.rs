//! Sources, repositories and subscriptions: refused edits, their reasons and remedies.

use rstudio_pm::edit::{self, OnExisting, RepoEdit};
use rstudio_pm::model::kind::{RepoKind, SourceKind};
use rstudio_pm::serve::RepoError;

use super::listing;
use crate::support::backend::{Backend, actor};

fn name(text: &str) -> rstudio_pm::model::name::Name {
    text.parse().expect("a name")
}

#[tokio::test]
async fn a_second_source_of_a_built_in_kind_is_refused() {
    let backend = Backend::new().await;
    let error = edit::source::create(&backend.state, &name("x"), SourceKind::Cran, OnExisting::Fail)
        .await
        .expect_err("refused");
    assert!(error.to_string().contains("is built in: there is one, named 'cran'"), "{error}");
}

#[tokio::test]
async fn an_existing_name_is_an_error_or_a_success_as_requested() {
    let backend = Backend::new().await;
    backend.create_local_source("team").await;
    backend.create_repository("all", &["team"]).await;
    let second_result =
        edit::source::create(&backend.state, &name("team"), SourceKind::Local, OnExisting::Fail).await;
    assert!(matches!(second_result, Err(RepoError::Conflict(_))));
    edit::source::create(&backend.state, &name("team"), SourceKind::Local, OnExisting::Succeed)
        .await
        .expect("unchanged");
    let second_result = edit::repo::create(
        &backend.state,
        edit::NewRepo::open(&name("all"), RepoKind::R, ""),
        OnExisting::Fail,
        &actor(),
    )
    .await;
    assert!(matches!(second_result, Err(RepoError::Conflict(_))));
    edit::repo::create(
        &backend.state,
        edit::NewRepo::open(&name("all"), RepoKind::R, ""),
        OnExisting::Succeed,
        &actor(),
    )
    .await
    .expect("unchanged");
    let second_result =
        edit::subscription::subscribe(&backend.state, "all", "team", None, OnExisting::Fail, &actor()).await;
    assert!(matches!(second_result, Err(RepoError::Conflict(_))));
    edit::subscription::subscribe(&backend.state, "all", "team", None, OnExisting::Succeed, &actor())
        .await
        .expect("unchanged");
    assert_eq!(backend.state.catalog.get().repo("all").expect("a repository").steps.len(), 1);
}

#[tokio::test]
async fn errors_of_unknown_names_suggest_the_nearest() {
    let backend = Backend::new().await;
    backend.create_local_source("internal").await;
    backend.create_repository("production", &["internal"]).await;
    let error = edit::subscription::subscribe(
        &backend.state,
        "prodution",
        "internal",
        None,
        OnExisting::Fail,
        &actor(),
    )
    .await
    .expect_err("unknown");
    assert_eq!(error.to_string(), "there is no repository 'prodution'; did you mean 'production'?");
    let error = edit::subscription::subscribe(
        &backend.state,
        "production",
        "intenal",
        None,
        OnExisting::Fail,
        &actor(),
    )
    .await
    .expect_err("unknown");
    assert_eq!(error.to_string(), "there is no source 'intenal'; did you mean 'internal'?");
}

#[tokio::test]
async fn a_repository_cannot_subscribe_to_a_source_of_another_language() {
    let backend = Backend::new().await;
    backend.create_repository("all", &[]).await;
    let error =
        edit::subscription::subscribe(&backend.state, "all", "pypi", None, OnExisting::Fail, &actor())
            .await
            .expect_err("refused")
            .to_string();
    assert_eq!(
        error,
        "the repository 'all' is of type R and cannot offer 'pypi', a source of type PyPI; both must be of one language"
    );
}

#[tokio::test]
async fn a_subscribed_source_is_not_deleted_and_a_built_in_one_never() {
    let backend = Backend::new().await;
    backend.create_local_source("team").await;
    backend.create_repository("all", &["team"]).await;
    let error = edit::source::delete(&backend.state, "team").await.expect_err("subscribed").to_string();
    assert_eq!(
        error,
        "the source 'team' is subscribed to by 'all'; first run: rspm unsubscribe --repo=all --source=team"
    );
    assert!(matches!(edit::source::delete(&backend.state, "cran").await, Err(RepoError::Invalid(_))));
    assert!(matches!(
        edit::source::rename(&backend.state, "cran", &name("x")).await,
        Err(RepoError::Invalid(_))
    ));
    edit::subscription::unsubscribe(&backend.state, "all", "team", None, &actor())
        .await
        .expect("unsubscribed");
    edit::source::delete(&backend.state, "team").await.expect("deleted");
    assert!(backend.state.catalog.get().source("team").is_none());
    backend.create_local_source("team").await;
}

#[tokio::test]
async fn a_source_and_a_repository_can_be_renamed() {
    let backend = Backend::new().await;
    backend.create_local_source("team").await;
    backend.create_local_source("other").await;
    backend.create_repository("all", &["team"]).await;
    backend.add("team", "alpha", "1.0").await;
    edit::source::rename(&backend.state, "team", &name("crew")).await.expect("renamed");
    let name_conflict =
        edit::source::rename(&backend.state, "crew", &name("other")).await.expect_err("taken");
    assert!(matches!(name_conflict, RepoError::Conflict(_)), "{name_conflict}");
    let edit = RepoEdit {
        name: Some(name("every")),
        description: Some("All of it".to_owned()),
        hidden: Some(true),
        ..RepoEdit::default()
    };
    edit::repo::edit(&backend.state, "all", edit, &actor()).await.expect("edited");
    let catalog = backend.state.catalog.get();
    let repo = catalog.repo("every").expect("the repository");
    assert!(repo.hidden && repo.description == "All of it" && catalog.repo("all").is_none());
    assert_eq!(listing(&backend, "every", "latest").await, "alpha 1.0");
    let multi_line = RepoEdit { description: Some("a\nb".to_owned()), ..RepoEdit::default() };
    assert!(matches!(
        edit::repo::edit(&backend.state, "every", multi_line, &actor()).await,
        Err(RepoError::Invalid(_))
    ));
    edit::repo::delete(&backend.state, "every").await.expect("deleted");
    assert!(backend.state.catalog.get().repo("every").is_none());
}

#[tokio::test]
async fn an_order_names_every_subscribed_source_once() {
    let backend = Backend::new().await;
    for source in ["a", "b", "c"] {
        backend.create_local_source(source).await;
    }
    backend.create_repository("all", &["a", "b"]).await;
    let order = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    for (names, error) in [
        (order(&["a"]), "the order must name every subscribed source; missing: b"),
        (order(&["a", "b", "c"]), "not subscribed to: c; run rspm subscribe --repo=all first"),
        (order(&["a", "a"]), "'a' is named twice; name each subscribed source once"),
    ] {
        assert_eq!(
            edit::subscription::reorder(&backend.state, "all", &names, &actor())
                .await
                .expect_err("refused")
                .to_string(),
            error
        );
    }
    for source in ["a", "b"] {
        backend.add(source, "pkg", if source == "a" { "1.0" } else { "2.0" }).await;
    }
    assert_eq!(listing(&backend, "all", "latest").await, "pkg 1.0");
    edit::subscription::reorder(&backend.state, "all", &order(&["b", "a"]), &actor())
        .await
        .expect("reordered");
    assert_eq!(listing(&backend, "all", "latest").await, "pkg 2.0");
    let error = edit::subscription::unsubscribe(&backend.state, "all", "c", None, &actor())
        .await
        .expect_err("refused")
        .to_string();
    assert_eq!(error, "the repository 'all' does not subscribe to 'c'");
}
