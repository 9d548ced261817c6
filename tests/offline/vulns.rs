//! `get vulns`: advisories from every kind of address that a server can read.

use rstudio_pm::bundle::shared::SharedFolder;

use crate::support::advisories::{all_zip, lines, listing, record, with_modified};
use crate::support::data;
use crate::support::downloader::{assert_complete, create_mirror, open_bundle, run, tree};
use crate::support::mirror_dir::file_url;
use crate::support::process::ProcessOutput;
use crate::support::upstream::Upstream;

fn get(url: &str, destination: &std::path::Path, flags: &[&str]) -> ProcessOutput {
    run(&[&["get", "vulns", "--base-url", url, "--destination", destination.to_str().unwrap()], flags]
        .concat())
}

async fn ids(root: &std::path::Path, ecosystem: &str) -> Vec<String> {
    let bundle = open_bundle(root);
    let head = bundle.shared_head(SharedFolder::Advisories).await.unwrap().expect("advisories");
    let text = bundle.shared_file(SharedFolder::Advisories, &head.files[ecosystem]).await.unwrap();
    let id = |line: &str| {
        serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_str().unwrap().to_owned()
    };
    String::from_utf8(text).unwrap().lines().map(id).collect()
}

#[tokio::test]
async fn advisories_of_a_folder_are_one_file_per_ecosystem() {
    let dir = tempfile::tempdir().unwrap();
    let url = file_url(&data::path("advisories/cran").canonicalize().unwrap());
    let destination = dir.path().join("bundle");
    let result = get(&url, &destination, &[]);
    assert_eq!(result.code, Some(0), "{}", result.err);
    let stored_ids = ids(&destination, "cran").await;
    assert_eq!(stored_ids.len(), data::advisories().len(), "{stored_ids:?}");
    assert!(stored_ids.is_sorted() && stored_ids.iter().all(|id| id.starts_with("RSEC-")), "{stored_ids:?}");
    // They are the same after a repeated run and after a copy.
    let tree_before = tree(&destination);
    assert_eq!(get(&url, &destination, &[]).code, Some(0));
    assert_eq!(tree(&destination), tree_before);
    let copy = dir.path().join("copy");
    assert_eq!(get(&file_url(&destination), &copy, &["--types", "cran"]).code, Some(0));
    assert_eq!(ids(&copy, "cran").await, stored_ids);
    // They are validated with the packages.
    let mirror = create_mirror(dir.path(), &[("alpha", "1.0", "2020-01-01")]);
    crate::support::downloader::must_get_cran(&mirror.url(), &destination, &[]);
    assert_complete(&destination);
    let file = tree(&destination).into_keys().find(|path| path.starts_with("vulns/cran-")).unwrap();
    std::fs::write(destination.join(&file), "x").unwrap();
    let (code, findings) = crate::support::downloader::validate("cran", &destination, &[]);
    assert!(code == 3 && findings.iter().any(|(_, path, _)| *path == file), "{findings:?}");
}

#[test]
fn advisories_are_validated_separately() {
    let dir = tempfile::tempdir().unwrap();
    let url = file_url(&data::path("advisories/cran").canonicalize().unwrap());
    let destination = dir.path().join("bundle");
    std::fs::create_dir(&destination).unwrap();
    let check = || run(&["validate", "vulns", "--destination", destination.to_str().unwrap()]);
    let result = check();
    assert!(result.code == Some(1) && result.err.contains("get vulns"), "{}", result.err);
    assert_eq!(get(&url, &destination, &[]).code, Some(0));
    let result = check();
    assert_eq!((result.code, result.out.as_str()), (Some(0), ""), "{}", result.err);
    let summary = format!("cran: {} advisories", data::advisories().len());
    assert!(result.err.contains(&summary) && result.err.contains("complete"), "{}", result.err);
    let file = tree(&destination).into_keys().find(|path| path.starts_with("vulns/cran-")).unwrap();
    let mut bytes = std::fs::read(destination.join(&file)).unwrap();
    bytes[20] ^= 1;
    std::fs::write(destination.join(&file), bytes).unwrap();
    let result = check();
    assert!(result.code == Some(3) && result.out.contains(&file), "{}", result.out);
    std::fs::remove_file(destination.join("vulns/head.json")).unwrap();
    assert_eq!(check().code, Some(1));
}

#[test]
fn invalid_addresses_and_types_are_reported_and_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let empty_dir = dir.path().join("empty");
    std::fs::create_dir(&empty_dir).unwrap();
    let destination = dir.path().join("bundle");
    let result = get(&file_url(&empty_dir), &destination, &[]);
    assert_eq!(result.code, Some(1), "{}", result.err);
    assert!(!destination.join("vulns").exists());
    let result = get("https://advisories.example", &destination, &["--types", "npm"]);
    assert!(result.code == Some(2) && result.err.contains("cran, bioconductor, pypi"), "{}", result.err);
}

/// The requests since the last call: path and status.
fn requests(upstream: &Upstream) -> Vec<(String, u16)> {
    upstream.take_requests().into_iter().map(|request| (request.path, request.status)).collect()
}

fn below_osv(rows: &[(&str, u16)]) -> Vec<(String, u16)> {
    rows.iter().map(|(path, status)| (format!("osv/{path}"), *status)).collect()
}

#[tokio::test]
async fn only_changed_advisories_are_fetched_again() {
    let dir = tempfile::tempdir().unwrap();
    let (upstream, destination) = (Upstream::empty(), dir.path().join("bundle"));
    let publish = |records: &[serde_json::Value]| {
        upstream.put("osv/CRAN/modified_id.csv", listing(records));
        upstream.put("osv/CRAN/all.zip", all_zip(records));
        for record in records {
            upstream.put(&format!("osv/CRAN/{}.json", record["id"].as_str().unwrap()), record.to_string());
        }
    };
    let mut records = vec![record("RSEC-1", "CRAN", "alpha", "1.0"), record("RSEC-2", "CRAN", "beta", "1.0")];
    publish(&records);
    let url = format!("{}/osv", upstream.url());
    let get = || {
        let result = get(&url, &destination, &["--types", "cran"]);
        assert_eq!(result.code, Some(0), "{}", result.err);
        (result.err, requests(&upstream))
    };
    let (_, first) = get();
    assert_eq!(
        first,
        below_osv(&[("vulns/head.json", 404), ("CRAN/modified_id.csv", 200), ("CRAN/all.zip", 200)])
    );
    let tree_before = tree(&destination);
    let unchanged_requests = below_osv(&[("vulns/head.json", 404), ("CRAN/modified_id.csv", 304)]);
    let (output, second) = get();
    assert!(output.contains("nothing is new"), "{output}");
    assert_eq!((second, tree(&destination) == tree_before), (unchanged_requests.clone(), true));
    // Only changed and new records are fetched.
    records[1] = with_modified(records[1].clone(), "2025-01-01T00:00:00Z");
    records.push(record("RSEC-3", "CRAN", "gamma", "2.0"));
    publish(&records);
    let (_, mut third) = get();
    third.sort();
    let mut expected = below_osv(&[
        ("vulns/head.json", 404),
        ("CRAN/modified_id.csv", 200),
        ("CRAN/RSEC-2.json", 200),
        ("CRAN/RSEC-3.json", 200),
    ]);
    expected.sort();
    assert_eq!(third, expected);
    assert_eq!(ids(&destination, "cran").await, ["RSEC-1", "RSEC-2", "RSEC-3"]);
    assert_eq!(get().1, unchanged_requests);
    // A damaged file is fetched again as a whole.
    let file = tree(&destination).into_keys().find(|path| path.starts_with("vulns/cran-")).unwrap();
    std::fs::write(destination.join(&file), "x").unwrap();
    assert!(get().1.contains(&("osv/CRAN/all.zip".to_owned(), 200)));
    assert_eq!(ids(&destination, "cran").await.len(), 3);
}

#[tokio::test]
async fn an_unchanged_file_or_bundle_of_advisories_is_fetched_once() {
    let dir = tempfile::tempdir().unwrap();
    let upstream = Upstream::empty();
    upstream.put("osv/all.ndjson", lines(&[record("RSEC-1", "CRAN", "alpha", "1.0")]));
    let (url, first) = (format!("{}/osv/all.ndjson", upstream.url()), dir.path().join("first"));
    for status in [200, 304] {
        assert_eq!(get(&url, &first, &["--types", "cran"]).code, Some(0));
        assert_eq!(requests(&upstream), below_osv(&[("vulns/head.json", 404), ("all.ndjson", status)]));
    }
    // Other ecosystems are fetched separately.
    assert_eq!(get(&url, &first, &["--types", "cran,pypi"]).code, Some(0));
    assert!(requests(&upstream).contains(&("osv/all.ndjson".to_owned(), 200)));
    let (bundle, second) = (Upstream::of(&first), dir.path().join("second"));
    for expected in [true, false] {
        assert_eq!(get(&bundle.url(), &second, &["--types", "cran"]).code, Some(0));
        let is_fetched = requests(&bundle).iter().any(|(path, _)| path.starts_with("vulns/cran-"));
        assert_eq!(is_fetched, expected);
    }
    assert_eq!(ids(&second, "cran").await, ["RSEC-1"]);
}
