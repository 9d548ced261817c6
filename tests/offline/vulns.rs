//! `get vulns`: advisories, from wherever a server could read them.

use rstudio_pm::bundle::shared::Shared;

use crate::support::data;
use crate::support::downloader::{is_whole, reader, run, tree};
use crate::support::ended::Ended;
use crate::support::shelf::{Shelf, file_url};

fn get(from: &str, to: &std::path::Path, more: &[&str]) -> Ended {
    run(&[&["get", "vulns", "--base-url", from, "--destination", to.to_str().unwrap()], more].concat())
}

async fn ids(root: &std::path::Path, ecosystem: &str) -> Vec<String> {
    let bundle = reader(root);
    let head = bundle.shared(Shared::Advisories).await.unwrap().expect("advisories");
    let text = bundle.shared_file(Shared::Advisories, &head.files[ecosystem]).await.unwrap();
    let id = |line: &str| {
        serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_str().unwrap().to_owned()
    };
    String::from_utf8(text).unwrap().lines().map(id).collect()
}

#[tokio::test]
async fn advisories_of_a_folder_become_a_file_for_each_ecosystem() {
    let dir = tempfile::tempdir().unwrap();
    let from = file_url(&data::path("advisories/cran").canonicalize().unwrap());
    let to = dir.path().join("bundle");
    let ended = get(&from, &to, &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let found = ids(&to, "cran").await;
    assert_eq!(found.len(), 14, "{found:?}");
    assert!(found.is_sorted() && found.iter().all(|id| id.starts_with("RSEC-")), "{found:?}");
    // Again, and from there to another place, they are the same.
    let before = tree(&to);
    assert_eq!(get(&from, &to, &[]).code, Some(0));
    assert_eq!(tree(&to), before);
    let copy = dir.path().join("copy");
    assert_eq!(get(&file_url(&to), &copy, &["--types", "cran"]).code, Some(0));
    assert_eq!(ids(&copy, "cran").await, found);
    // They are checked with the packages.
    let mut shelf = Shelf::new(dir.path().join("mirror"));
    shelf.simple("alpha", "1.0", "2020-01-01");
    shelf.write();
    crate::support::downloader::got_cran(&shelf.url(), &to, &[]);
    is_whole(&to);
    let file = tree(&to).into_keys().find(|path| path.starts_with("vulns/cran-")).unwrap();
    std::fs::write(to.join(&file), "x").unwrap();
    let (code, findings) = crate::support::downloader::validate("cran", &to, &[]);
    assert!(code == 3 && findings.iter().any(|(_, named, _)| *named == file), "{findings:?}");
}

#[test]
fn what_is_none_is_named_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let to = dir.path().join("bundle");
    let ended = get(&file_url(&empty), &to, &[]);
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(!to.join("vulns").exists());
    let ended = get("https://advisories.example", &to, &["--types", "npm"]);
    assert!(ended.code == Some(2) && ended.err.contains("cran, bioconductor and pypi"), "{}", ended.err);
}
