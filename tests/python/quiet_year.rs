//! The stored pages of a project of an index that does not change for a year: one for all days between two changes.

use std::sync::mpsc;
use std::time::Duration;

use rstudio_pm::db::Conn;
use rstudio_pm::python::accept::SimpleFormat;
use rstudio_pm::serve;

use super::index_history::{page, subscribe, sync};
use super::oracle::days_of;
use crate::support::backend::{Backend, StoresConfig};
use crate::support::pypi::Pypi;

/// The number of stored documents.
async fn stored_count(backend: &Backend) -> i64 {
    const COUNT: &str = "SELECT COUNT(*) FROM rendered";
    let query = backend.state.db.read(|c| c.query(COUNT, &[])?.remove(0).int(0));
    query.await.expect("a count")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_year_of_days_of_an_unchanged_project_stores_one_page() {
    let pypi = Pypi::start();
    pypi.add("quiet", "quiet-1.0.tar.gz", b"first", "2020-05-06T07:08:09Z");
    pypi.add("busy", "busy-1.0.tar.gz", b"first", "2020-05-06T07:08:09Z");
    pypi.add("busy", "busy-1.1.tar.gz", b"second", "2022-07-01T00:00:00Z");
    let gcfg = format!("[PyPI]\nURL = {}", pypi.url());
    let backend = Backend::with_stores(StoresConfig { gcfg }).await;
    subscribe(&backend).await;
    // The day of the first subscription, which decides about all days before it, is over.
    backend.advance_to_noon("2024-03-02");
    sync(&backend).await;
    let days = days_of("2022");
    assert_eq!(days.len(), 365);
    for (project, expected_files, expected_count) in [("quiet", [1, 1], 1), ("busy", [1, 2], 3)] {
        for day in &days {
            let (page, _, is_final) = page(&backend, day, project, SimpleFormat::Json).await;
            assert!(is_final, "{project} on {day}");
            let expected = expected_files[usize::from(day.as_str() >= "2022-07-01")];
            assert_eq!(page.files.len(), expected, "{project} on {day}");
        }
        serve::index::wait_for_stores(&backend.repositories).await;
        assert_eq!(stored_count(&backend).await, expected_count, "after {project}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_of_a_closed_day_is_sent_before_it_is_stored() {
    let pypi = Pypi::start();
    pypi.add("quiet", "quiet-1.0.tar.gz", b"first", "2020-05-06T07:08:09Z");
    let gcfg = format!("[PyPI]\nURL = {}", pypi.url());
    let backend = Backend::with_stores(StoresConfig { gcfg }).await;
    subscribe(&backend).await;
    backend.advance_to_noon("2024-03-02");
    sync(&backend).await;
    let day = "2022-03-04";
    // Reads the page of the index and closes the day, which writes to the database.
    page(&backend, day, "quiet", SimpleFormat::Html).await;
    serve::index::wait_for_stores(&backend.repositories).await;
    assert_eq!(stored_count(&backend).await, 1);
    let (release, released) = mpsc::channel::<()>();
    let (started, is_started) = mpsc::channel();
    let db = backend.state.db.clone();
    let writer = tokio::spawn(async move {
        let block = move |_: &mut dyn Conn| {
            started.send(()).expect("the test waits");
            // An error is the end of the test.
            let _ = released.recv();
            Ok(())
        };
        db.write(block).await
    });
    tokio::task::spawn_blocking(move || is_started.recv()).await.expect("no panic").expect("it runs");
    let request = page(&backend, day, "quiet", SimpleFormat::Json);
    let response = tokio::time::timeout(Duration::from_secs(60), request).await;
    let (_, bytes, is_final) = response.expect("the response does not wait for the write");
    assert!(is_final);
    release.send(()).expect("the write waits");
    writer.await.expect("no panic").expect("a write");
    serve::index::wait_for_stores(&backend.repositories).await;
    assert_eq!(stored_count(&backend).await, 2);
    let backend = backend.restart().await;
    assert_eq!(page(&backend, day, "quiet", SimpleFormat::Json).await.1, bytes);
    assert_eq!(stored_count(&backend).await, 2);
}
