//! Metadata of packages on both databases: sources and repositories that are deleted and created again, names of Python
//! projects.

use rstudio_pm::edit::metadata::{self, MetadataStatus, NewMetadata};
use rstudio_pm::edit::{self, OnExisting};
use rstudio_pm::model::ids::SourceId;
use rstudio_pm::model::kind::Language;
use rstudio_pm::serve::metadata::{ServedVersion, of_one};

use super::all_stores::{ObjectStore, stores};
use crate::support::backend::{Backend, actor};
use crate::support::db::Engine;

fn value(package: &str, repo: &str, value: &str) -> NewMetadata {
    NewMetadata {
        package: package.to_owned(),
        version: String::new(),
        source: String::new(),
        repo: repo.to_owned(),
        key: "status".to_owned(),
        value: value.to_owned(),
    }
}

async fn set(backend: &Backend, record: NewMetadata) -> MetadataStatus {
    let results = metadata::set(&backend.state, vec![Ok(record)], OnExisting::Replace, true, &actor()).await;
    let results = results.expect("set");
    results.into_iter().next().expect("a result").expect("accepted").1
}

async fn status(backend: &Backend, language: Language, repo: &str, name: &str) -> Option<String> {
    let catalog = backend.state.catalog.get();
    let repo = catalog.repo(repo).expect("a repository").id;
    let source = catalog.source("team").map_or(SourceId(0), |source| source.id);
    let served = ServedVersion { source, name: name.to_owned(), version: "1.0".to_owned() };
    of_one(&backend.repositories, language, repo, served).await.expect("rows").remove("status")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_belongs_to_its_source_and_repository_on_both_databases() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let backend = Backend::with_stores(stores(engine, ObjectStore::Disk).await).await;
        backend.create_local_source("team").await;
        backend.create_repository("prod", &["team"]).await;
        backend.create_repository("test", &["team"]).await;
        assert_eq!(set(&backend, value("alpha", "", "known")).await, MetadataStatus::Created);
        assert_eq!(set(&backend, value("alpha", "prod", "approved")).await, MetadataStatus::Created);
        assert_eq!(set(&backend, value("alpha", "prod", "approved")).await, MetadataStatus::Unchanged);
        assert_eq!(set(&backend, value("alpha", "prod", "retired")).await, MetadataStatus::Updated);
        let of = async |repo, name| status(&backend, Language::R, repo, name).await;
        assert_eq!(of("prod", "alpha").await.as_deref(), Some("retired"));
        assert_eq!(of("test", "alpha").await.as_deref(), Some("known"));
        assert_eq!(of("test", "Alpha").await, None, "R distinguishes case");
        set(&backend, value("Odd_Name", "", "python")).await;
        let python = status(&backend, Language::Python, "test", "odd.name").await;
        assert_eq!(python.as_deref(), Some("python"), "normalized names are equal");
        edit::repo::delete(&backend.state, "prod").await.expect("deleted");
        backend.create_repository("prod", &["team"]).await;
        assert_eq!(of("prod", "alpha").await.as_deref(), Some("known"), "another repository of that name");
        let of_source = NewMetadata { source: "team".to_owned(), ..value("alpha", "", "ours") };
        set(&backend, of_source).await;
        assert_eq!(of("prod", "alpha").await.as_deref(), Some("ours"));
        for repo in ["prod", "test"] {
            edit::repo::delete(&backend.state, repo).await.expect("deleted");
        }
        edit::source::delete(&backend.state, "team").await.expect("deleted");
        backend.create_local_source("team").await;
        backend.create_repository("prod", &["team"]).await;
        assert_eq!(of("prod", "alpha").await.as_deref(), Some("known"), "another source of that name");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn if_all_values_must_be_set_one_refused_value_changes_nothing() {
    let backend = Backend::new().await;
    backend.create_local_source("team").await;
    backend.create_repository("prod", &["team"]).await;
    set(&backend, value("alpha", "", "known")).await;
    let records = vec![Ok(value("beta", "", "new")), Ok(value("alpha", "", "other"))];
    let all = metadata::set(&backend.state, records.clone(), OnExisting::Fail, true, &actor()).await;
    let error = all.expect_err("alpha has the key").to_string();
    assert!(error.starts_with("record 2: the key 'status' of 'alpha' exists already"), "{error}");
    assert_eq!(status(&backend, Language::R, "prod", "beta").await, None);
    let some = metadata::set(&backend.state, records, OnExisting::Fail, false, &actor()).await;
    let some: Vec<bool> = some.expect("rows").iter().map(Result::is_ok).collect();
    assert_eq!(some, [true, false]);
    assert_eq!(status(&backend, Language::R, "prod", "beta").await.as_deref(), Some("new"));
    let many = vec![Ok(value("beta", "", "new")); metadata::MAX_RECORDS + 1];
    assert!(metadata::set(&backend.state, many, OnExisting::Fail, false, &actor()).await.is_err());
}
