//! Searches among the projects of an index, at several times, on both databases.

use rstudio_pm::python::accept::SimpleFormat;
use rstudio_pm::serve;
use rstudio_pm::serve::listing;
use rstudio_pm::serve::package_query::PackageQuery;

use super::index_history::{page, subscribe, sync};
use crate::support::backend::{Backend, StoresConfig};
use crate::support::db;
use crate::support::pypi::Pypi;

fn add(pypi: &Pypi, project: &str, version: &str, uploaded: &str) {
    let name = format!("{project}-{version}.tar.gz");
    pypi.add(project, &name, name.as_bytes(), uploaded);
}

/// The names and versions that a search for a part of the name finds.
async fn found(backend: &Backend, snapshot: &str, name_part: &str) -> Vec<(String, String)> {
    let point = serve::point::resolve(&backend.repositories, "py", snapshot.parse().unwrap()).await.unwrap();
    let query = PackageQuery { name_part: name_part.to_owned(), limit: 10, ..PackageQuery::default() };
    let found = listing::packages(&backend.repositories, &point, query).await.unwrap();
    assert_eq!(found.total, found.packages.len());
    assert_eq!(
        listing::package_count(&backend.repositories, &point).await.unwrap(),
        listing::packages(&backend.repositories, &point, PackageQuery::default()).await.unwrap().total
    );
    found.packages.into_iter().map(|row| (row.name, row.version)).collect()
}

fn rows(rows: &[(&str, &str)]) -> Vec<(String, String)> {
    rows.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect()
}

async fn scenario(engine: db::Engine) {
    let pypi = Pypi::start();
    // A list that loses more than a twentieth of its projects is refused.
    for number in 0..40 {
        add(&pypi, &format!("p{number}"), "1", "2020-01-01T00:00:00Z");
    }
    add(&pypi, "one", "1.0", "2020-01-01T00:00:00Z");
    let settings = tokio::task::spawn_blocking(move || db::settings(engine)).await.expect("no panic");
    let gcfg = format!("{settings}\n[PyPI]\nURL = {}", pypi.url());
    let backend = Backend::with_stores(StoresConfig { gcfg }).await;
    subscribe(&backend).await;
    sync(&backend).await;
    assert_eq!(found(&backend, "latest", "one").await, rows(&[("one", "")]), "its page was not read");
    page(&backend, "latest", "one", SimpleFormat::Json).await;
    assert_eq!(found(&backend, "latest", "one").await, rows(&[("one", "1.0")]));

    backend.advance_to_noon("2024-03-02");
    add(&pypi, "one", "2.0", "2024-03-02T01:00:00Z");
    sync(&backend).await;
    page(&backend, "latest", "one", SimpleFormat::Json).await;
    assert_eq!(found(&backend, "latest", "one").await, rows(&[("one", "2.0")]));

    backend.advance_to_noon("2024-03-04");
    add(&pypi, "one-more", "1.0", "2024-03-03T01:00:00Z");
    pypi.remove_project("p0");
    sync(&backend).await;
    backend.advance_to_noon("2024-03-06");
    sync(&backend).await;
    for (snapshot, expected, other) in [
        ("2020-01-01", rows(&[("one", "1.0")]), 1),
        ("2024-03-01", rows(&[("one", "1.0")]), 1),
        // A new project is listed from the sync before the one that found it.
        ("2024-03-02", rows(&[("one", "2.0"), ("one-more", "")]), 1),
        ("2024-03-03", rows(&[("one", "2.0"), ("one-more", "")]), 1),
        ("2024-03-04", rows(&[("one", "2.0"), ("one-more", "")]), 0),
        ("2024-03-05", rows(&[("one", "2.0"), ("one-more", "")]), 0),
        ("latest", rows(&[("one", "2.0"), ("one-more", "")]), 0),
    ] {
        assert_eq!(found(&backend, snapshot, "ONE").await, expected, "{snapshot}");
        let removed = found(&backend, snapshot, "p0").await;
        assert_eq!(removed.len(), other, "{snapshot}: {removed:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_find_the_projects_and_versions_of_each_day_on_sqlite() {
    scenario(db::Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_find_the_projects_and_versions_of_each_day_on_postgres() {
    scenario(db::Engine::Postgres).await;
}
