//! The stored pages of a project of an index that does not change for a year: one for all days between two changes.

use rstudio_pm::python::accept::SimpleFormat;

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
        assert_eq!(stored_count(&backend).await, expected_count, "after {project}");
    }
}
