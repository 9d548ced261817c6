//! Repeated runs: without changes nothing is downloaded, and every change in the mirror or the bundle is detected.

use std::path::{Path, PathBuf};

use rstudio_pm::bundle::Product;

use crate::support::downloader::{
    assert_complete, create_mirror, get_cran, must_get_cran, objects, read, tree,
};
use crate::support::mirror_dir::MirrorDir;
use crate::support::upstream::{Fault, Upstream};

/// The downloader's record of the index files of the mirror at the last complete run.
const STATE_FILE: &str = "v3/1/.seen.json";

/// A complete bundle of a mirror with archived packages.
fn bundle(dir: &Path) -> (MirrorDir, Upstream, PathBuf) {
    let mirror = create_mirror(
        dir,
        &[("alpha", "1.0", "2020-01-01"), ("alpha", "1.1", "2020-02-01"), ("beta", "1.0", "2020-02-01")],
    );
    let (upstream, destination) = (Upstream::of(&mirror.root), dir.join("bundle"));
    must_get_cran(&upstream.url(), &destination, &[]);
    (mirror, upstream, destination)
}

/// The requests since the last call: path and status, in the order of paths.
fn requests(upstream: &Upstream) -> Vec<(String, u16)> {
    let mut requests: Vec<_> =
        upstream.take_requests().into_iter().map(|request| (request.path, request.status)).collect();
    requests.sort();
    requests
}

#[test]
fn nothing_is_downloaded_twice_when_nothing_changed() {
    let dir = tempfile::tempdir().unwrap();
    let (_, upstream, destination) = bundle(dir.path());
    upstream.take_requests();
    let tree_before = tree(&destination);
    let output = must_get_cran(&upstream.url(), &destination, &[]);
    assert!(output.contains("after ") && output.contains("cran: nothing is new"), "{output}");
    let contrib = |file: &str, status| (format!("src/contrib/{file}"), status);
    let mut expected = vec![
        contrib("Meta/archive.rds", 304),
        contrib("Meta/current.rds", 304),
        contrib("PACKAGES", 304),
        contrib("PACKAGES.gz", 404),
        contrib("PACKAGES.in", 304),
        contrib("PACKAGES.rds", 404),
    ];
    expected.push(("v3/version.txt".to_owned(), 404));
    assert_eq!(requests(&upstream), expected);
    assert_eq!(tree(&destination), tree_before);
}

#[test]
fn a_bundle_that_was_copied_without_its_heads_is_not_complete_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (_, upstream, destination) = bundle(dir.path());
    std::fs::remove_dir_all(destination.join("v3/1/heads")).unwrap();
    must_get_cran(&upstream.url(), &destination, &[]);
    assert_complete(&destination);
}

#[test]
fn removed_and_truncated_files_of_the_bundle_are_fetched_again() {
    let dir = tempfile::tempdir().unwrap();
    let (_, upstream, destination) = bundle(dir.path());
    let object = destination.join(&objects(&destination)[1]);
    let bytes = std::fs::read(&object).unwrap();
    for is_truncated in [false, true] {
        if is_truncated {
            std::fs::write(&object, &bytes[..bytes.len() - 1]).unwrap();
        } else {
            std::fs::remove_file(&object).unwrap();
        }
        upstream.take_requests();
        must_get_cran(&upstream.url(), &destination, &[]);
        let fetch_count =
            requests(&upstream).into_iter().filter(|(path, _)| path.ends_with(".tar.gz")).count();
        assert_eq!(
            (fetch_count, std::fs::read(&object).unwrap() == bytes),
            (1, true),
            "truncated: {is_truncated}"
        );
        assert_complete(&destination);
    }
    // A file that is not a package of the bundle is ignored.
    std::fs::write(object.with_extension("bak"), "x").unwrap();
    assert!(must_get_cran(&upstream.url(), &destination, &[]).contains("nothing is new"));
}

#[tokio::test]
async fn changes_of_the_mirror_are_detected() {
    let dir = tempfile::tempdir().unwrap();
    let (mut mirror, upstream, destination) = bundle(dir.path());
    mirror.simple("gamma", "1.0", "2020-03-01");
    mirror.write();
    for (path, bytes) in tree(&mirror.root) {
        upstream.put(&path, bytes);
    }
    assert!(!must_get_cran(&upstream.url(), &destination, &[]).contains("nothing is new"));
    assert_eq!(read(&destination, &Product::Cran).await.2.listing(), mirror.listing());
    // A new file of the index is a change and is read.
    upstream.put("src/contrib/PACKAGES.gz", b"<html>".to_vec());
    let result = get_cran(&upstream.url(), &destination, &[]);
    assert!(result.code == Some(1) && result.err.contains("PACKAGES.gz"), "{}", result.err);
}

#[test]
fn a_damaged_segment_is_reported_although_nothing_is_new() {
    let dir = tempfile::tempdir().unwrap();
    let (_, upstream, destination) = bundle(dir.path());
    let segment = tree(&destination).into_keys().find(|path| path.contains("/log/")).unwrap();
    let mut bytes = std::fs::read(destination.join(&segment)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(destination.join(&segment), bytes).unwrap();
    let result = get_cran(&upstream.url(), &destination, &[]);
    assert!(result.code == Some(1) && result.err.contains(&segment), "{}", result.err);
}

#[test]
fn a_mirror_without_validators_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mirror, ..) = bundle(dir.path());
    let upstream = Upstream::of(&mirror.root);
    for path in tree(&mirror.root).into_keys() {
        upstream.always(&path, Fault::NoValidators);
    }
    let destination = dir.path().join("plain");
    must_get_cran(&upstream.url(), &destination, &[]);
    assert!(!destination.join(STATE_FILE).exists());
    upstream.take_requests();
    assert!(must_get_cran(&upstream.url(), &destination, &[]).contains("nothing is new"));
    assert!(requests(&upstream).contains(&("src/contrib/PACKAGES".to_owned(), 200)));
}

#[test]
fn another_mirror_or_an_unfinished_download_is_read_completely() {
    let dir = tempfile::tempdir().unwrap();
    let (mirror, _, destination) = bundle(dir.path());
    let other_mirror = Upstream::of(&mirror.root);
    must_get_cran(&other_mirror.url(), &destination, &[]);
    assert!(requests(&other_mirror).contains(&("src/contrib/PACKAGES".to_owned(), 200)));
    // The state of this mirror is stored now; an empty journal of an interrupted run is still completed.
    std::fs::write(destination.join("v3/1/.releases.ndjson"), "").unwrap();
    std::fs::write(destination.join("v3/1/.readmes.ndjson"), "").unwrap();
    must_get_cran(&other_mirror.url(), &destination, &[]);
    assert!(requests(&other_mirror).contains(&("src/contrib/PACKAGES".to_owned(), 200)));
    assert_complete(&destination);
    // Without the stored state, or with a damaged one, everything is read.
    for state in ["", "{}"] {
        std::fs::write(destination.join(STATE_FILE), state).unwrap();
        must_get_cran(&other_mirror.url(), &destination, &[]);
        assert!(requests(&other_mirror).contains(&("src/contrib/PACKAGES".to_owned(), 200)), "{state}");
    }
    must_get_cran(&other_mirror.url(), &destination, &[]);
    assert!(requests(&other_mirror).contains(&("src/contrib/PACKAGES".to_owned(), 304)));
}
