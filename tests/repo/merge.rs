//! Several sources in one repository: the first source with a name provides it, in every document and address.

use rstudio_pm::edit;
use rstudio_pm::edit::{OnExisting, RemoveScope};
use rstudio_pm::serve::index::Document;

use super::{archived, index, listing};
use crate::support::backend::{World, actor};
use crate::support::tarball::Tarball;

/// The source of a team and one of an outsider, with common names.
async fn two_sources() -> World {
    let world = World::new().await;
    for source in ["team", "outside"] {
        world.local(source).await;
    }
    world.add("team", "internalpkg", "0.9").await;
    world.add("team", "internalpkg", "1.0").await;
    world.add("outside", "internalpkg", "98.0").await;
    world.add("outside", "internalpkg", "99.0").await;
    world.add("outside", "zoo", "1.0").await;
    world.add("outside", "Abacus", "1.0").await;
    world.repository("all", &["team", "outside"]).await;
    world
}

#[tokio::test]
async fn a_higher_version_of_a_later_source_is_hidden_everywhere() {
    let world = two_sources().await;
    assert_eq!(listing(&world, "all", "latest").await, "Abacus 1.0, internalpkg 1.0, zoo 1.0");
    assert_eq!(archived(&world, "all", "latest").await, ["internalpkg/internalpkg_0.9.tar.gz"]);
    let latest = super::point(&world, "all", "latest").await;
    let detail = world.repositories.package_detail(&latest, "internalpkg", None).await.expect("the package");
    assert_eq!(detail.release.version, "1.0");
    assert!(world.repositories.package_detail(&latest, "internalpkg", Some("99.0")).await.is_err());
    let current = index(&world, "all", "latest", Document::CurrentRds).await;
    let rows = rstudio_pm::r::rds::archive_meta::read_current_meta(
        current.bytes.as_ref(),
        rstudio_pm::r::rds::Limits::META,
    );
    let files: Vec<String> = rows.expect("a table").into_iter().map(|row| row.file).collect();
    assert_eq!(files, ["Abacus_1.0.tar.gz", "internalpkg_1.0.tar.gz", "zoo_1.0.tar.gz"]);
}

#[tokio::test]
async fn a_name_comes_from_the_next_subscription_only_if_the_first_does_not_have_it() {
    let world = two_sources().await;
    edit::remove::remove(&world.state, "team", "internalpkg", RemoveScope::Current, "", &actor())
        .await
        .expect("removed");
    assert_eq!(listing(&world, "all", "latest").await, "Abacus 1.0, internalpkg 0.9, zoo 1.0");
    edit::remove::remove(&world.state, "team", "internalpkg", RemoveScope::All, "", &actor())
        .await
        .expect("removed");
    assert_eq!(listing(&world, "all", "latest").await, "Abacus 1.0, internalpkg 99.0, zoo 1.0");
    assert_eq!(archived(&world, "all", "latest").await, ["internalpkg/internalpkg_98.0.tar.gz"]);
}

#[tokio::test]
async fn unknown_fields_of_a_record_survive_the_merge() {
    let world = two_sources().await;
    let tarball = Tarball::new("odd", "1.0").field("SystemRequirements: GNU make");
    world.try_add("outside", &[tarball], OnExisting::Fail).await.expect("added");
    let text = index(&world, "all", "latest", Document::Packages).await.bytes;
    assert!(String::from_utf8_lossy(&text).contains("SystemRequirements: GNU make"));
}

#[tokio::test]
async fn the_three_forms_of_an_index_contain_the_same_packages() {
    use std::io::Read;
    let world = two_sources().await;
    let text = index(&world, "all", "latest", Document::Packages).await;
    let gz = index(&world, "all", "latest", Document::PackagesGz).await;
    let mut inflated = Vec::new();
    flate2::read::GzDecoder::new(gz.bytes.as_ref()).read_to_end(&mut inflated).expect("gzip");
    assert_eq!((inflated.as_slice(), gz.content), (text.bytes.as_ref(), text.content));
    let rds = index(&world, "all", "latest", Document::PackagesRds).await;
    let limits = rstudio_pm::r::rds::Limits::INDEX;
    let table =
        rstudio_pm::r::rds::packages::read_packages_matrix(rds.bytes.as_ref(), limits).expect("a matrix");
    let names: Vec<_> = (0..table.len()).filter_map(|row| table.get(row, "Package")).collect();
    assert_eq!(names, ["Abacus", "internalpkg", "zoo"]);
}
