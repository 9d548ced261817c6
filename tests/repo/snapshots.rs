//! Dated snapshots: closed ones never change.

use rstudio_pm::edit::{self, OnExisting, RemoveScope};
use rstudio_pm::model::snapshot::Snapshot;
use rstudio_pm::r::layout::IndexFormat;
use rstudio_pm::serve::document::{DocumentRequest, RenderedDocument};
use rstudio_pm::serve::r::document::RDocument;
use rstudio_pm::serve::{self, RepoError};
use rstudio_pm::upkeep;

use super::{index, listing, point};
use crate::support::backend::{Backend, actor, day};
use crate::support::tarball::Tarball;

async fn team() -> Backend {
    let backend = Backend::new().await;
    backend.create_local_source("team").await;
    backend.create_repository("all", &["team"]).await;
    backend
}

const DOCUMENTS: [RDocument; 5] = [
    RDocument::Packages(IndexFormat::Text),
    RDocument::Packages(IndexFormat::Gz),
    RDocument::Packages(IndexFormat::Rds),
    RDocument::ArchiveRds,
    RDocument::CurrentRds,
];

async fn documents(backend: &Backend, snapshot: &str) -> Vec<RenderedDocument> {
    let mut documents = Vec::new();
    for document in DOCUMENTS {
        documents.push(index(backend, "all", snapshot, document).await);
    }
    documents
}

fn assert_same(a: &[RenderedDocument], b: &[RenderedDocument]) {
    for ((a, b), document) in a.iter().zip(b).zip(DOCUMENTS) {
        assert_eq!((a.content, &a.bytes, a.modified), (b.content, &b.bytes, b.modified), "{document:?}");
    }
}

#[tokio::test]
async fn a_closed_snapshot_is_the_same_after_ten_transactions_and_a_restart() {
    let mut backend = team().await;
    backend.add("team", "alpha", "1.0").await;
    backend.add("team", "alpha", "1.1").await;
    backend.advance_to_noon("2024-03-02");
    let old_documents = documents(&backend, "2024-03-01").await;
    assert_eq!(listing(&backend, "all", "2024-03-01").await, "alpha 1.1");
    for number in 0..9 {
        backend.add("team", "alpha", &format!("2.{number}")).await;
    }
    edit::remove::remove(&backend.state, "team", "alpha", RemoveScope::All, "", &actor())
        .await
        .expect("removed");
    assert_same(&old_documents, &documents(&backend, "2024-03-01").await);
    backend = backend.restart().await;
    let closed_point = point(&backend, "all", "2024-03-01").await;
    for (document, rendered) in DOCUMENTS.iter().zip(&old_documents) {
        let content = serve::index::content_digest(
            &backend.repositories,
            &DocumentRequest::new(closed_point.clone(), document.clone()),
        )
        .await
        .expect("no error");
        assert_eq!(content, Some(rendered.content), "a 304 needs no rendering: {document:?}");
    }
    assert_same(&old_documents, &documents(&backend, "2024-03-01").await);
    assert_eq!(listing(&backend, "all", "latest").await, "");
}

#[tokio::test]
async fn a_closed_snapshot_is_read_back_and_not_rendered_again() {
    let backend = team().await;
    backend.add("team", "alpha", "1.0").await;
    backend.advance_to_noon("2024-03-02");
    let old_documents = documents(&backend, "2024-03-01").await;
    let closed_point = point(&backend, "all", "2024-03-01").await;
    let backend = backend.restart().await;
    // The stored index is served, even if the rows would render another one.
    let tree = closed_point.trees[0].tree;
    backend
        .state
        .db
        .write(move |c| c.execute("DELETE FROM life WHERE tree_id = $1", &[tree.into()]))
        .await
        .expect("deleted");
    assert_same(&old_documents, &documents(&backend, "2024-03-01").await);
}

#[tokio::test]
async fn rendering_again_after_a_loss_of_storage_gives_the_same_content() {
    let backend = team().await;
    backend.add("team", "alpha", "1.0").await;
    backend.advance_to_noon("2024-03-02");
    let old_documents = documents(&backend, "2024-03-01").await;
    let indexes = backend.folder().join("data/persistent");
    let backend = backend.restart().await;
    std::fs::remove_dir_all(&indexes).expect("the folder of closed indexes");
    assert_same(&old_documents, &documents(&backend, "2024-03-01").await);
}

#[tokio::test]
async fn today_is_open_and_follows_latest() {
    let backend = team().await;
    backend.add("team", "alpha", "1.0").await;
    assert!(point(&backend, "all", "2024-03-01").await.open);
    let open = index(&backend, "all", "2024-03-01", RDocument::Packages(IndexFormat::Text)).await;
    backend.add("team", "alpha", "1.1").await;
    assert_eq!(listing(&backend, "all", "2024-03-01").await, "alpha 1.1");
    assert_ne!(
        index(&backend, "all", "2024-03-01", RDocument::Packages(IndexFormat::Text)).await.content,
        open.content
    );
    let object_count =
        std::fs::read_dir(backend.folder().join("data/persistent/indexes")).map_or(0, Iterator::count);
    assert_eq!(object_count, 0, "indexes of open points are only in memory");
}

#[tokio::test]
async fn a_document_rendered_while_its_day_was_open_is_stored_when_it_is_closed() {
    let backend = team().await;
    backend.add("team", "alpha", "1.0").await;
    let documents = [RDocument::Packages(IndexFormat::Text), RDocument::Packages(IndexFormat::Rds)];
    for document in documents.clone() {
        index(&backend, "all", "2024-03-01", document).await;
    }
    backend.advance_to_noon("2024-03-02");
    for document in documents.clone() {
        index(&backend, "all", "2024-03-01", document).await;
    }
    let backend = backend.restart().await;
    let closed_point = point(&backend, "all", "2024-03-01").await;
    assert!(!closed_point.open);
    for document in documents {
        assert!(
            serve::index::content_digest(
                &backend.repositories,
                &DocumentRequest::new(closed_point.clone(), document.clone())
            )
            .await
            .expect("no error")
            .is_some()
        );
    }
}

#[tokio::test]
async fn the_first_request_for_a_finished_day_closes_it() {
    let backend = team().await;
    backend.add("team", "alpha", "1.0").await;
    backend.advance_to_noon("2024-03-05");
    assert!(!backend.state.catalog.get().is_closed(day("2024-03-04").end()));
    let requests: Vec<_> = (0..8)
        .map(|_| serve::point::resolve(&backend.repositories, "all", Snapshot::Date(day("2024-03-04"))))
        .collect();
    for answer in futures_util::future::join_all(requests).await {
        assert!(!answer.expect("a point").open);
    }
    assert!(backend.state.catalog.get().is_closed(day("2024-03-04").end()));
    let version = backend.state.catalog.get().version;
    assert!(!point(&backend, "all", "2024-03-03").await.open);
    assert_eq!(backend.state.catalog.get().version, version, "an earlier day is closed already");
}

#[tokio::test]
async fn closed_dates_do_not_change_when_a_source_is_subscribed_later() {
    let backend = team().await;
    backend.create_local_source("other").await;
    backend.add("team", "alpha", "1.0").await;
    backend.add("other", "beta", "1.0").await;
    backend.advance_to_noon("2024-03-10");
    let old_documents = documents(&backend, "2024-03-05").await;
    edit::subscription::subscribe(
        &backend.state,
        "all",
        "other",
        None,
        rstudio_pm::edit::OnExisting::Fail,
        &actor(),
    )
    .await
    .expect("subscribed");
    assert_eq!(listing(&backend, "all", "latest").await, "alpha 1.0, beta 1.0");
    assert_eq!(listing(&backend, "all", "2024-03-10").await, "alpha 1.0, beta 1.0");
    assert_same(&old_documents, &documents(&backend, "2024-03-05").await);
}

#[tokio::test]
async fn a_new_repository_serves_the_days_before_its_creation() {
    let backend = Backend::new().await;
    backend.create_local_source("team").await;
    backend.add("team", "alpha", "1.0").await;
    backend.advance_to_noon("2024-03-03");
    backend.add("team", "alpha", "2.0").await;
    backend.advance_to_noon("2024-04-01");
    backend.create_repository("newer", &["team"]).await;
    assert_eq!(listing(&backend, "newer", "2024-03-01").await, "alpha 1.0");
    assert_eq!(listing(&backend, "newer", "2024-03-03").await, "alpha 2.0");
    assert!(point(&backend, "newer", "2024-03-01").await.open, "another source may be subscribed today");
    backend.advance_to_noon("2024-04-02");
    assert!(!point(&backend, "newer", "2024-03-01").await.open);
    let error = serve::point::resolve(&backend.repositories, "newer", Snapshot::Date(day("2024-02-01")))
        .await
        .expect_err("too early");
    assert!(matches!(error, RepoError::Unresolved(_)));
    assert!(error.to_string().contains("its history starts at 2024-03-01"), "{error}");
    let days = serve::info::repository_days(&backend.state, "newer").expect("days");
    let days: Vec<String> = days.iter().map(ToString::to_string).collect();
    assert_eq!(days, ["2024-04-01", "2024-03-03", "2024-03-01"]);
}

#[tokio::test]
async fn days_before_the_first_subscription_have_the_changes_of_all_sources_of_its_day() {
    let backend = Backend::new().await;
    for source in ["team", "second", "third"] {
        backend.create_local_source(source).await;
    }
    backend.advance_to_noon("2024-03-02");
    backend.add("second", "beta", "1.0").await;
    backend.advance_to_noon("2024-03-03");
    backend.add("third", "gamma", "1.0").await;
    backend.advance_to_noon("2024-03-05");
    backend.add("second", "beta", "2.0").await;
    backend.advance_to_noon("2024-04-01");
    backend.create_repository("newer", &["team", "second"]).await;
    backend.advance_to_noon("2024-04-02");
    edit::subscription::subscribe(&backend.state, "newer", "third", None, OnExisting::Fail, &actor())
        .await
        .expect("subscribed");
    for (day, expected) in [
        ("2024-03-02", "beta 1.0"),
        ("2024-03-03", "beta 1.0"),
        ("2024-03-05", "beta 2.0"),
        ("2024-04-01", "beta 2.0"),
        ("2024-04-02", "beta 2.0, gamma 1.0"),
    ] {
        assert_eq!(listing(&backend, "newer", day).await, expected, "{day}");
    }
    let days = serve::info::repository_days(&backend.state, "newer").expect("days");
    let days: Vec<String> = days.iter().map(ToString::to_string).collect();
    assert_eq!(days, ["2024-04-02", "2024-04-01", "2024-03-05", "2024-03-02"]);
}

#[tokio::test]
async fn a_deleted_source_stays_in_the_days_of_its_subscription() {
    let backend = team().await;
    backend.add("team", "alpha", "1.0").await;
    backend.advance_to_noon("2024-03-02");
    edit::subscription::unsubscribe(&backend.state, "all", "team", None, &actor())
        .await
        .expect("unsubscribed");
    edit::source::delete(&backend.state, "team").await.expect("deleted");
    assert_eq!(listing(&backend, "all", "2024-03-01").await, "alpha 1.0");
    let backend = backend.restart().await;
    assert_eq!(listing(&backend, "all", "2024-03-01").await, "alpha 1.0");
}

#[tokio::test]
async fn requests_for_old_dates_leave_latest_in_memory() {
    let backend = team().await;
    for number in 2..6 {
        backend.add("team", "alpha", &format!("1.{number}")).await;
        backend.advance_to_noon(&format!("2024-03-0{number}"));
    }
    let latest = index(&backend, "all", "latest", RDocument::Packages(IndexFormat::Gz)).await;
    for number in 1..5 {
        let snapshot_index =
            index(&backend, "all", &format!("2024-03-0{number}"), RDocument::Packages(IndexFormat::Gz)).await;
        assert_eq!(snapshot_index.content == latest.content, number == 4);
    }
    let second_index = index(&backend, "all", "latest", RDocument::Packages(IndexFormat::Gz)).await;
    assert_eq!(latest.bytes.as_ptr(), second_index.bytes.as_ptr(), "the same allocation");
}

#[tokio::test]
async fn concurrent_requests_share_one_rendering() {
    let backend = team().await;
    backend.add("team", "alpha", "1.0").await;
    let latest = point(&backend, "all", "latest").await;
    let request = DocumentRequest::new(latest, RDocument::Packages(IndexFormat::Rds));
    let requests: Vec<_> = (0..16).map(|_| serve::index::document(&backend.repositories, &request)).collect();
    let documents: Vec<_> =
        futures_util::future::join_all(requests).await.into_iter().map(|f| f.expect("a document")).collect();
    assert!(documents.iter().all(|rendered| rendered.bytes.as_ptr() == documents[0].bytes.as_ptr()));
}

#[tokio::test]
async fn empty_indexes_for_unsupported_platforms_are_valid() {
    let backend = team().await;
    backend.add("team", "alpha", "1.0").await;
    let text = index(&backend, "all", "latest", RDocument::Empty(IndexFormat::Text)).await;
    assert!(text.bytes.is_empty());
    let rds = index(&backend, "all", "latest", RDocument::Empty(IndexFormat::Rds)).await;
    let limits = rstudio_pm::r::rds::RdsLimits::INDEX;
    let table =
        rstudio_pm::r::rds::packages::read_package_table(rds.bytes.as_ref(), limits).expect("a matrix");
    assert!(table.is_empty() && table.fields().any(|field| field == "Package"));
}

#[tokio::test]
async fn the_nightly_work_renders_the_indexes_of_yesterday() {
    let backend = team().await;
    backend.create_repository("empty", &[]).await;
    backend.add("team", "alpha", "1.0").await;
    backend.advance_to_noon("2024-03-02");
    upkeep::maintenance::run_night(&backend.upkeep).await;
    let backend = backend.restart().await;
    let yesterday = point(&backend, "all", "2024-03-01").await;
    assert!(!yesterday.open);
    for document in
        [RDocument::Packages(IndexFormat::Gz), RDocument::Packages(IndexFormat::Rds), RDocument::ArchiveRds]
    {
        assert!(
            serve::index::content_digest(
                &backend.repositories,
                &DocumentRequest::new(yesterday.clone(), document.clone())
            )
            .await
            .expect("no error")
            .is_some()
        );
    }
}

#[tokio::test]
async fn prepended_steps_change_no_later_answer() {
    let backend = team().await;
    backend.add("team", "alpha", "1.0").await;
    backend.advance_to_noon("2024-03-02");
    backend.add("team", "alpha", "1.1").await;
    backend.advance_to_noon("2024-03-03");
    let old_documents = [documents(&backend, "2024-03-01").await, documents(&backend, "2024-03-02").await];
    let closed_point = point(&backend, "all", "2024-03-01").await.trees[0];

    // A back-fill: step 0, a year earlier, lists version 1.0.
    let first_day = day("2023-03-01").start().0;
    let transaction = backend.state.db.write(move |c| {
        let tree = closed_point.tree;
        c.execute(
            "INSERT INTO tx SELECT id + 1, at + 1, source_id, repo_id, kind, started_at, published_from, published_to, \
             added, updated, archived, removed, actor, comment FROM tx WHERE id = (SELECT max(id) FROM tx)",
            &[],
        )?;
        c.execute("UPDATE clock SET tx = tx + 1, at = at + 1, catalog = catalog + 1", &[])?;
        c.execute(
            "INSERT INTO step SELECT $1, 0, $2, max(id) FROM tx",
            &[tree.into(), first_day.into()],
        )?;
        c.execute(
            "INSERT INTO life (tree_id, state, package_id, path, from_seq, to_seq, release_id, variant, file_id, mark) \
             SELECT tree_id, state, package_id, path, 0, 1, release_id, variant, file_id, mark FROM life \
             WHERE tree_id = $1 AND from_seq = 1",
            &[tree.into()],
        )?;
        c.execute("UPDATE tree SET first = 0 WHERE id = $1", &[tree.into()]).map(drop)
    });
    transaction.await.expect("a back-fill");
    backend.state.catalog.refresh(&backend.state.db).await.expect("refreshed");

    let assert_unchanged = async |backend: &Backend| {
        assert_same(&old_documents[0], &documents(backend, "2024-03-01").await);
        assert_same(&old_documents[1], &documents(backend, "2024-03-02").await);
        assert_eq!(listing(backend, "all", "2023-06-01").await, "alpha 1.0");
        assert!(
            serve::point::resolve(&backend.repositories, "all", Snapshot::Date(day("2023-02-28")))
                .await
                .is_err()
        );
    };
    assert_unchanged(&backend).await;
    assert_unchanged(&backend.restart().await).await;
}

#[tokio::test]
async fn a_clock_that_was_in_the_future_is_refused_and_a_repair_changes_no_closed_day() {
    let backend = team().await;
    backend.add("team", "alpha", "1.0").await;
    backend.advance_to_noon("2024-03-02");
    let closed_documents = documents(&backend, "2024-03-01").await;
    // An administrator confirms a wrong clock and publishes.
    backend.advance_to_noon("2025-04-06");
    let refusal = backend.try_add("team", &[Tarball::new("alpha", "2.0")], OnExisting::Fail).await;
    assert!(refusal.expect_err("over a month").to_string().contains("over a month after the last publish"));
    let wrong_day =
        upkeep::clock::repair(&backend.state, day("2024-03-02"), false).await.expect_err("another day");
    assert!(wrong_day.to_string().contains("correct the clock first"), "{wrong_day}");
    upkeep::clock::repair(&backend.state, day("2025-04-06"), false)
        .await
        .expect("no error")
        .expect("something to do");
    backend.add("team", "alpha", "2.0").await;
    backend.set_back_to_noon("2024-03-02");
    assert_eq!(listing(&backend, "all", "latest").await, "alpha 2.0");
    assert_eq!(listing(&backend, "all", "2024-03-02").await, "alpha 2.0", "today is latest");
    assert!(point(&backend, "all", "2024-03-02").await.open);
    let result = serve::point::resolve(&backend.repositories, "all", Snapshot::Date(day("2024-03-03"))).await;
    assert!(matches!(result, Err(RepoError::Unresolved(_))), "{result:?}");
    let refusal = backend.try_add("team", &[Tarball::new("alpha", "3.0")], OnExisting::Fail).await;
    assert!(refusal.expect_err("the clock row is ahead").to_string().contains("rspm repair clock"));
    let dry_run = upkeep::clock::repair(&backend.state, day("2024-03-02"), true).await.expect("no error");
    assert_eq!(dry_run.expect("something to do").transactions.len(), 1);
    let repair = upkeep::clock::repair(&backend.state, day("2024-03-02"), false).await.expect("no error");
    assert_eq!(repair.expect("something to do").transactions.len(), 1);
    assert_eq!(
        upkeep::clock::repair(&backend.state, day("2024-03-02"), false).await.expect("no error"),
        None
    );
    backend.add("team", "alpha", "3.0").await;
    assert_eq!(listing(&backend, "all", "2024-03-02").await, "alpha 3.0");
    backend.advance_to_noon("2024-03-03");
    backend.add("team", "alpha", "4.0").await;
    assert_eq!(listing(&backend, "all", "2024-03-02").await, "alpha 3.0");
    assert_same(&closed_documents, &documents(&backend, "2024-03-01").await);
    let backend = backend.restart().await;
    assert_eq!(listing(&backend, "all", "2024-03-02").await, "alpha 3.0");
    assert_same(&closed_documents, &documents(&backend, "2024-03-01").await);
}
