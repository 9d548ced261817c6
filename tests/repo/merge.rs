//! Several sources in one repository: the first source with a name provides it, in every document and address.

use rstudio_pm::edit::{self, OnExisting, RemoveScope};
use rstudio_pm::r::layout::IndexFormat;
use rstudio_pm::serve;
use rstudio_pm::serve::r::document::RDocument;

use super::{archive_names, index, listing};
use crate::support::backend::{Backend, actor};
use crate::support::tarball::Tarball;

/// The source of a team and one of an outsider, with common names.
async fn two_sources() -> Backend {
    let backend = Backend::new().await;
    for source in ["team", "outside"] {
        backend.create_local_source(source).await;
    }
    backend.add("team", "internalpkg", "0.9").await;
    backend.add("team", "internalpkg", "1.0").await;
    backend.add("outside", "internalpkg", "98.0").await;
    backend.add("outside", "internalpkg", "99.0").await;
    backend.add("outside", "zoo", "1.0").await;
    backend.add("outside", "Abacus", "1.0").await;
    backend.create_repository("all", &["team", "outside"]).await;
    backend
}

#[tokio::test]
async fn a_higher_version_of_a_later_source_is_hidden_everywhere() {
    let backend = two_sources().await;
    assert_eq!(listing(&backend, "all", "latest").await, "Abacus 1.0, internalpkg 1.0, zoo 1.0");
    assert_eq!(archive_names(&backend, "all", "latest").await, ["internalpkg/internalpkg_0.9.tar.gz"]);
    let latest = super::point(&backend, "all", "latest").await;
    let detail =
        serve::info::package(&backend.repositories, &latest, "internalpkg", None).await.expect("the package");
    assert_eq!(detail.release.version, "1.0");
    assert!(serve::info::package(&backend.repositories, &latest, "internalpkg", Some("99.0")).await.is_err());
    let current = index(&backend, "all", "latest", RDocument::CurrentRds).await;
    let rows = rstudio_pm::r::rds::archive_meta::read_current_meta(
        current.bytes.as_ref(),
        rstudio_pm::r::rds::RdsLimits::META,
    );
    let files: Vec<String> = rows.expect("a table").into_iter().map(|row| row.file).collect();
    assert_eq!(files, ["Abacus_1.0.tar.gz", "internalpkg_1.0.tar.gz", "zoo_1.0.tar.gz"]);
}

#[tokio::test]
async fn a_name_comes_from_the_next_subscription_only_if_the_first_does_not_have_it() {
    let backend = two_sources().await;
    edit::remove::remove(&backend.state, "team", "internalpkg", RemoveScope::Current, "", &actor())
        .await
        .expect("removed");
    assert_eq!(listing(&backend, "all", "latest").await, "Abacus 1.0, internalpkg 0.9, zoo 1.0");
    edit::remove::remove(&backend.state, "team", "internalpkg", RemoveScope::All, "", &actor())
        .await
        .expect("removed");
    assert_eq!(listing(&backend, "all", "latest").await, "Abacus 1.0, internalpkg 99.0, zoo 1.0");
    assert_eq!(archive_names(&backend, "all", "latest").await, ["internalpkg/internalpkg_98.0.tar.gz"]);
}

#[tokio::test]
async fn unknown_fields_of_a_record_survive_the_merge() {
    let backend = two_sources().await;
    let tarball = Tarball::new("odd", "1.0").field("SystemRequirements: GNU make");
    backend.try_add("outside", &[tarball], OnExisting::Fail).await.expect("added");
    let text = index(&backend, "all", "latest", RDocument::Packages(IndexFormat::Text)).await.bytes;
    assert!(String::from_utf8_lossy(&text).contains("SystemRequirements: GNU make"));
}

#[tokio::test]
async fn the_three_forms_of_an_index_contain_the_same_packages() {
    use std::io::Read;
    let backend = two_sources().await;
    let text = index(&backend, "all", "latest", RDocument::Packages(IndexFormat::Text)).await;
    let gz = index(&backend, "all", "latest", RDocument::Packages(IndexFormat::Gz)).await;
    let mut inflated = Vec::new();
    flate2::read::GzDecoder::new(gz.bytes.as_ref()).read_to_end(&mut inflated).expect("gzip");
    assert_eq!((inflated.as_slice(), gz.content), (text.bytes.as_ref(), text.content));
    let rds = index(&backend, "all", "latest", RDocument::Packages(IndexFormat::Rds)).await;
    let limits = rstudio_pm::r::rds::RdsLimits::INDEX;
    let table =
        rstudio_pm::r::rds::packages::read_package_table(rds.bytes.as_ref(), limits).expect("a matrix");
    let names: Vec<_> = (0..table.len()).filter_map(|row| table.get(row, "Package")).collect();
    assert_eq!(names, ["Abacus", "internalpkg", "zoo"]);
}
