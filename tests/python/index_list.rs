//! Conditional requests for the list of projects of an index: an unchanged list is not sent again, and a response 304 never
//! hides or publishes what an interrupted sync wrote, or what another configuration makes of the list.

use std::sync::Arc;

use rstudio_pm::index::PageReads;
use rstudio_pm::model::kind::SourceKind;
use rstudio_pm::python::accept::SimpleFormat;
use rstudio_pm::sync::Sync;

use super::index_history::{find_page, subscribe};
use crate::support::backend::{Backend, StoresConfig};
use crate::support::db;
use crate::support::pypi::Pypi;

async fn try_sync(backend: &Backend) -> Result<String, String> {
    let sync = Sync::new(PageReads::new(backend.state.clone()), backend.state.clone());
    sync.start(SourceKind::Pypi).unwrap().job().wait_end().await
}

async fn sync(backend: &Backend) -> String {
    try_sync(backend).await.unwrap()
}

async fn is_listed(backend: &Backend, project: &str) -> bool {
    find_page(backend, "latest", project, SimpleFormat::Json).await.unwrap().is_some()
}

/// A backend on 2024-03-01 that has synced an index with sixty projects: a list that loses more than a twentieth of them
/// is refused.
async fn synced(engine: db::Engine, index: &Pypi) -> Backend {
    for number in 0..60 {
        index.add(&format!("p{number}"), &format!("p{number}-1.tar.gz"), b"x", "2024-02-01T00:00:00Z");
    }
    let settings = tokio::task::spawn_blocking(move || db::settings(engine)).await.unwrap();
    let gcfg = format!("{settings}\n[PyPI]\nURL = {}", index.url());
    let backend = Backend::with_stores(StoresConfig { gcfg }).await;
    subscribe(&backend).await;
    sync(&backend).await;
    backend
}

async fn an_unchanged_list_is_not_sent_again(engine: db::Engine) {
    let index = Pypi::start();
    let backend = synced(engine, &index).await;
    assert_eq!(index.sent_lists(), 1);
    assert_eq!(sync(&backend).await, "pypi is up to date: the list of projects is unchanged");
    assert_eq!(index.sent_lists(), 1, "304");
    // The state of the index is that of the last request although the list was not sent.
    index.add("new", "new-1.tar.gz", b"x", "2024-03-01T08:00:00Z");
    backend.advance_to_noon("2024-03-02");
    assert!(sync(&backend).await.contains("61 projects, 1 added"));
    assert_eq!(index.sent_lists(), 2);
    backend.advance_to_noon("2024-03-03");
    sync(&backend).await;
    assert_eq!(index.sent_lists(), 2);
    assert!(is_listed(&backend, "new").await);
    // An administrator who confirms the list gets the whole list.
    let sync = Sync::new(PageReads::new(backend.state.clone()), backend.state.clone());
    sync.start_confirmed(SourceKind::Pypi, "test").unwrap().job().wait_end().await.unwrap();
    assert_eq!(index.sent_lists(), 3);
}

async fn an_interrupted_sync_is_followed_by_an_unconditional_request(engine: db::Engine) {
    let index = Pypi::start();
    let backend = synced(engine, &index).await;
    let first = index.list();
    // A clock that is two months ahead: the rows of the list are written, and their publish fails.
    index.add("new", "new-1.tar.gz", b"x", "2024-03-01T08:00:00Z");
    backend.advance_to_noon("2024-05-01");
    let refusal = try_sync(&backend).await.unwrap_err();
    assert!(refusal.contains("over a month after the last publish"), "{refusal}");
    assert_eq!(index.sent_lists(), 2);
    // The index sends the list from before again: with 304, its head would be published with the rows of the other list.
    index.send_list(Some(first));
    backend.set_back_to_noon("2024-03-02");
    let refusal = try_sync(&backend).await.unwrap_err();
    assert!(refusal.contains("the newest serial is"), "{refusal}");
    assert_eq!(index.sent_lists(), 3, "the whole list");
    assert!(!is_listed(&backend, "new").await);
    index.send_list(None);
    sync(&backend).await;
    assert_eq!(index.sent_lists(), 4);
    assert!(is_listed(&backend, "new").await);
    sync(&backend).await;
    assert_eq!(index.sent_lists(), 4, "304");
}

async fn another_configuration_reads_the_list_again(engine: db::Engine) {
    let index = Pypi::start();
    let backend = synced(engine, &index).await;
    let set_unlisted = |unlisted: bool| {
        let mut config = (*backend.state.config.load_full()).clone();
        std::sync::Arc::make_mut(&mut config.indexes[0]).unlisted = unlisted;
        backend.state.config.store(Arc::new(config));
    };
    set_unlisted(true);
    index.unlist("p0");
    sync(&backend).await;
    sync(&backend).await;
    assert_eq!(index.sent_lists(), 2);
    assert!(is_listed(&backend, "p0").await, "an incomplete list removes nothing");
    set_unlisted(false);
    backend.advance_to_noon("2024-03-02");
    assert!(sync(&backend).await.contains("1 removed"));
    assert_eq!(index.sent_lists(), 3);
    assert!(!is_listed(&backend, "p0").await);
}

macro_rules! on_both_databases {
    ($($case:ident: $sqlite:ident, $postgres:ident;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $sqlite() {
            $case(db::Engine::Sqlite).await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $postgres() {
            $case(db::Engine::Postgres).await;
        }
    )*};
}

on_both_databases! {
    an_unchanged_list_is_not_sent_again:
        an_unchanged_list_is_not_sent_again_on_sqlite, an_unchanged_list_is_not_sent_again_on_postgres;
    an_interrupted_sync_is_followed_by_an_unconditional_request:
        an_interrupted_sync_is_followed_by_an_unconditional_request_on_sqlite,
        an_interrupted_sync_is_followed_by_an_unconditional_request_on_postgres;
    another_configuration_reads_the_list_again:
        another_configuration_reads_the_list_again_on_sqlite,
        another_configuration_reads_the_list_again_on_postgres;
}
