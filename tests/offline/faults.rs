//! Invalid input changes nothing, and the error names the input and the remedy.

use std::fs;

use rstudio_pm::bundle::{Product, self_digest};

use crate::support::downloader::{
    assert_complete, assert_missing, bundle, get_cran, must_get_cran, objects, read, tree, validate,
};
use crate::support::fixtures::until;
use crate::support::mirror_dir::MirrorDir;
use crate::support::tarball::Tarball;
use crate::support::upstream::{Fault, Upstream};

fn write_mirror(dir: &std::path::Path) -> MirrorDir {
    let mut mirror = MirrorDir::new(dir.join("mirror"));
    mirror.simple("alpha", "1.0", "2020-01-01");
    mirror.simple("alpha", "1.1", "2020-02-01");
    for n in 0..20 {
        mirror.simple(&format!("package{n}"), "1.0", "2020-01-02");
    }
    mirror.write();
    mirror
}

#[test]
fn an_address_without_a_mirror_is_reported_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let empty_dir = dir.path().join("empty");
    fs::create_dir(&empty_dir).unwrap();
    let other_dir = dir.path().join("other");
    fs::create_dir(&other_dir).unwrap();
    fs::write(other_dir.join("readme.txt"), "").unwrap();
    let pages = Upstream::empty();
    for path in ["v3/version.txt", "src/contrib/PACKAGES.gz"] {
        pages.always(path, Fault::Html);
    }
    let no_mirror = Upstream::empty();
    for (url, code, words) in [
        (format!("file://{}", empty_dir.display()), 1, ["is an empty directory", "may not be mounted"]),
        (format!("file://{}", other_dir.display()), 1, ["neither a CRAN mirror", "--base-url"]),
        ("file:///no/where".to_owned(), 2, ["there is no directory /no/where", "--base-url"]),
        ("cran.example".to_owned(), 2, ["--base-url", "https://"]),
        (pages.url(), 1, ["HTML page", "--base-url"]),
        (no_mirror.url(), 1, ["neither a CRAN mirror", "--base-url"]),
    ] {
        let destination = dir.path().join("bundle");
        let result = get_cran(&url, &destination, &[]);
        assert_eq!(result.code, Some(code), "{url}: {}", result.err);
        assert!(words.iter().all(|word| result.err.contains(word)), "{url}: {}", result.err);
        assert!(!destination.join("v3/1/head.json").exists());
    }
    let result = get_cran("https://cran.example", dir.path(), &["--outbound-proxy", "ftp://x"]);
    assert!(result.code == Some(2) && result.err.contains("--outbound-proxy"), "{}", result.err);
}

#[tokio::test]
async fn a_file_of_the_wrong_size_or_with_a_flipped_bit_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mirror = write_mirror(dir.path());
    let upstream = Upstream::of(&mirror.root);
    let (truncated_file, flipped_file, missing_file) = (
        "src/contrib/package0_1.0.tar.gz",
        "src/contrib/package1_1.0.tar.gz",
        "src/contrib/package2_1.0.tar.gz",
    );
    let bytes = upstream.bytes(truncated_file);
    upstream.put(truncated_file, &bytes[..bytes.len() - 7]);
    let mut bytes = upstream.bytes(flipped_file);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    upstream.put(flipped_file, bytes);
    upstream.remove(missing_file);
    let destination = dir.path().join("bundle");
    let result = get_cran(&upstream.url(), &destination, &[]);
    assert_eq!(result.code, Some(1), "{}", result.err);
    for path in [truncated_file, flipped_file, missing_file] {
        assert!(result.err.contains(path), "{path}: {}", result.err);
    }
    assert!(
        result.err.contains("3 files could not be fetched") && result.err.contains("Run the command again")
    );
    assert_missing(&destination, &[truncated_file, flipped_file, missing_file]);
    let (_, _, state) = read(&destination, &Product::Cran).await;
    assert_eq!(state.listed_count(), mirror.listing().len() - 3);
    // The mirror is repaired; the next run fetches the files.
    let upstream = Upstream::of(&mirror.root);
    must_get_cran(&upstream.url(), &destination, &[]);
    assert_eq!(
        upstream.take_requests().iter().filter(|request| request.path.ends_with(".tar.gz")).count(),
        3
    );
    assert_complete(&destination);
    assert_eq!(read(&destination, &Product::Cran).await.2.listing(), mirror.listing());
}

#[tokio::test]
async fn a_new_version_that_cannot_be_fetched_leaves_the_old_one_listed() {
    let dir = tempfile::tempdir().unwrap();
    let mut mirror = write_mirror(dir.path());
    let destination = bundle(dir.path(), &mirror);
    mirror.simple("alpha", "2.0", "2020-05-01");
    mirror.write();
    let upstream = Upstream::of(&mirror.root);
    upstream.remove("src/contrib/alpha_2.0.tar.gz");
    let result = get_cran(&upstream.url(), &destination, &[]);
    assert_eq!(result.code, Some(1));
    let (_, _, state) = read(&destination, &Product::Cran).await;
    assert!(state.listing().contains(&"alpha 1.1".to_owned()), "{:?}", state.listing());
    assert_missing(&destination, &["src/contrib/alpha_2.0.tar.gz"]);
}

#[tokio::test]
async fn the_new_state_of_a_mirror_that_changes_during_the_download_is_fetched() {
    let dir = tempfile::tempdir().unwrap();
    let mut mirror = write_mirror(dir.path());
    let upstream = Upstream::of(&mirror.root);
    // While this file is downloaded, alpha 1.1 moves to the archive and 1.2 replaces it.
    let held_file = "src/contrib/package0_1.0.tar.gz";
    upstream.always(held_file, Fault::NoAnswer);
    let (url, destination) = (upstream.url(), dir.path().join("bundle"));
    let download = {
        let destination = destination.clone();
        std::thread::spawn(move || get_cran(&url, &destination, &["--concurrency", "1"]))
    };
    until("the file is downloaded", || upstream.pending().iter().any(|path| path == held_file));
    mirror.simple("alpha", "1.2", "2020-06-01");
    mirror.write();
    for (path, bytes) in tree(&mirror.root) {
        upstream.put(&path, bytes);
    }
    upstream.remove("src/contrib/alpha_1.1.tar.gz");
    upstream.release(held_file);
    let result = download.join().unwrap();
    assert_eq!(result.code, Some(0), "{}", result.err);
    assert_complete(&destination);
    let (_, _, state) = read(&destination, &Product::Cran).await;
    assert_eq!((state.listing(), objects(&destination).len()), (mirror.listing(), mirror.files()));
}

#[tokio::test]
async fn a_mirror_that_changes_with_every_round_of_the_download_loses_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut mirror = write_mirror(dir.path());
    let upstream = Upstream::of(&mirror.root);
    let hold = |version: &str| {
        let path = format!("src/contrib/alpha_{version}.tar.gz");
        upstream.always(&path, Fault::NoAnswer);
        path
    };
    let mut newest_file = hold("1.1");
    let (url, destination) = (upstream.url(), dir.path().join("bundle"));
    let download = {
        let (url, destination) = (url.clone(), destination.clone());
        std::thread::spawn(move || get_cran(&url, &destination, &[]))
    };
    // Each time the newest file is being downloaded, another one replaces it.
    for (version, day) in [("1.2", "2020-06-01"), ("1.3", "2020-07-01"), ("1.4", "2020-08-01")] {
        until("the newest file is downloaded", || {
            assert!(!download.is_finished(), "it ended before {version}");
            upstream.pending().contains(&newest_file)
        });
        let replaced_file = std::mem::replace(&mut newest_file, hold(version));
        mirror.simple("alpha", version, day);
        mirror.write();
        for (path, bytes) in tree(&mirror.root) {
            upstream.put(&path, bytes);
        }
        upstream.release(&replaced_file);
    }
    let result = download.join().unwrap();
    upstream.release(&newest_file);
    assert_eq!(result.code, Some(0), "{}", result.err);
    assert_complete(&destination);
    // The next run fetches the changes during the last round, and nothing else.
    let (_, _, state) = read(&destination, &Product::Cran).await;
    assert!(state.listing().contains(&"alpha 1.3".to_owned()), "{:?}", state.listing());
    upstream.take_requests();
    must_get_cran(&url, &destination, &[]);
    let paths = upstream.take_requests().into_iter().map(|request| request.path);
    assert_eq!(paths.filter(|path| path.ends_with(".tar.gz")).collect::<Vec<_>>(), [newest_file]);
    let (_, _, state) = read(&destination, &Product::Cran).await;
    assert_eq!((state.listing(), objects(&destination).len()), (mirror.listing(), mirror.files()));
}

#[test]
fn requests_to_a_busy_mirror_are_repeated_and_an_unavailable_mirror_ends_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let mirror = write_mirror(dir.path());
    let upstream = Upstream::of(&mirror.root);
    upstream
        .fail("src/contrib/alpha_1.1.tar.gz", [Fault::Status(503, "Retry-After: 1"), Fault::Status(429, "")]);
    upstream.fail("src/contrib/PACKAGES", [Fault::Status(502, "")]);
    let destination = dir.path().join("bundle");
    must_get_cran(&upstream.url(), &destination, &[]);
    assert_complete(&destination);
    let unavailable_mirror = Upstream::of(&mirror.root);
    for path in tree(&mirror.root).into_keys().filter(|path| path.ends_with(".tar.gz")) {
        unavailable_mirror.always(&path, Fault::Status(500, "Retry-After: 999"));
    }
    let result = get_cran(&unavailable_mirror.url(), &dir.path().join("other"), &[]);
    assert_eq!(result.code, Some(1));
    assert!(
        result.err.contains("no longer responds") && result.err.contains("run the command again"),
        "{}",
        result.err
    );
}

#[test]
fn an_index_that_lost_a_fifth_is_refused_until_it_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let mut mirror = write_mirror(dir.path());
    let destination = bundle(dir.path(), &mirror);
    let tree_before = tree(&destination);
    for n in 0..12 {
        mirror.archive(&format!("package{n}"), "2020-03-01");
    }
    mirror.write();
    let result = get_cran(&mirror.url(), &destination, &[]);
    assert_eq!(result.code, Some(1));
    assert!(
        result.err.contains("12 of 21 packages") && result.err.contains("--accept-loss"),
        "{}",
        result.err
    );
    assert_eq!(tree(&destination), tree_before);
    must_get_cran(&mirror.url(), &destination, &["--accept-loss"]);
    assert_complete(&destination);
}

#[test]
fn a_bundle_of_a_newer_schema_is_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    let mirror = write_mirror(dir.path());
    let destination = bundle(dir.path(), &mirror);
    let head = destination.join("v3/1/head.json");
    let mut value: serde_json::Value = serde_json::from_slice(&fs::read(&head).unwrap()).unwrap();
    value["min_reader"] = 7.into();
    value.as_object_mut().unwrap().remove("sha256");
    fs::write(&head, self_digest::serialize(&value)).unwrap();
    let tree_before = tree(&destination);
    let result = get_cran(&mirror.url(), &destination, &[]);
    assert_eq!(result.code, Some(1));
    assert!(result.err.contains("level 7") && result.err.contains("install a newer one"), "{}", result.err);
    assert_eq!(tree(&destination), tree_before);
    let (code, findings) = validate("cran", &destination, &[]);
    assert_eq!(code, 3);
    assert!(
        findings
            .iter()
            .any(|(_, file, text)| file == "v3/1/head.json" && text.contains("install a newer one"))
    );
}

#[test]
fn a_damaged_destination_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let mirror = write_mirror(dir.path());
    let destination = bundle(dir.path(), &mirror);
    let segment = tree(&destination).into_keys().find(|path| path.contains("/log/")).unwrap();
    fs::write(destination.join(&segment), "x").unwrap();
    let result = get_cran(&mirror.url(), &destination, &[]);
    assert_eq!(result.code, Some(1));
    assert!(result.err.contains(&segment) && result.err.contains("copy it again"), "{}", result.err);
}

/// Adds two versions of the package `odd`, one of them archived: the index has no checksum of an archived version.
fn publish_odd(mirror: &mut MirrorDir) {
    let mut tarball = Tarball::new("odd", "1.0");
    tarball.fields = "Encoding: latin1\n".to_owned();
    mirror.publish(&tarball, "2020-01-01");
    mirror.publish(&Tarball::new("odd", "1.1"), "2020-02-01");
    mirror.write();
}

#[tokio::test]
async fn a_file_that_is_not_a_package_is_stored_and_reported() {
    let dir = tempfile::tempdir().unwrap();
    let mut mirror = write_mirror(dir.path());
    publish_odd(&mut mirror);
    // An archived file has no checksum: it has the right size and is damaged inside.
    let path = mirror.root.join("src/contrib/Archive/odd/odd_1.0.tar.gz");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 20].fill(0);
    fs::write(&path, &bytes).unwrap();
    let destination = dir.path().join("bundle");
    let output = must_get_cran(&mirror.url(), &destination, &[]);
    assert!(output.contains("Archive/odd/odd_1.0.tar.gz is stored, although"), "{output}");
    assert_complete(&destination);
    let (_, _, state) = read(&destination, &Product::Cran).await;
    assert_eq!(state.package("", "odd").map(|package| package.releases.len()), Some(2));
}

#[tokio::test]
async fn an_archive_that_was_damaged_in_transfer_is_fetched_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut mirror = write_mirror(dir.path());
    publish_odd(&mut mirror);
    let path = "src/contrib/Archive/odd/odd_1.0.tar.gz";
    let upstream = Upstream::of(&mirror.root);
    let intact_bytes = upstream.bytes(path);
    let mut damaged_bytes = intact_bytes.clone();
    let middle = damaged_bytes.len() / 2;
    damaged_bytes[middle..middle + 20].fill(0);
    upstream.put(path, damaged_bytes);
    let destination = dir.path().join("bundle");
    let requests = || upstream.take_requests().iter().filter(|request| request.path == path).count();
    let output = must_get_cran(&upstream.url(), &destination, &[]);
    assert!(output.contains("the next run fetches it again"), "{output}");
    assert_eq!(requests(), 2, "it is fetched twice");
    assert_complete(&destination);
    upstream.put(path, intact_bytes.clone());
    must_get_cran(&upstream.url(), &destination, &[]);
    assert_eq!(requests(), 1);
    assert_complete(&destination);
    let (_, _, state) = read(&destination, &Product::Cran).await;
    let digest = self_digest::digest(&intact_bytes);
    let releases = &state.package("", "odd").unwrap().releases;
    assert!(releases.iter().any(|release| release.version == "1.0" && release.object.sha256 == digest));
    assert!(objects(&destination).iter().any(|path| path.contains(&digest.to_string())));
    must_get_cran(&upstream.url(), &destination, &[]);
    assert_eq!(requests(), 0, "it is intact");
}

#[test]
fn an_archive_that_is_damaged_on_the_mirror_is_fetched_by_one_more_run() {
    let dir = tempfile::tempdir().unwrap();
    let mut mirror = write_mirror(dir.path());
    publish_odd(&mut mirror);
    let path = "src/contrib/Archive/odd/odd_1.0.tar.gz";
    let upstream = Upstream::of(&mirror.root);
    let mut damaged_bytes = upstream.bytes(path);
    let middle = damaged_bytes.len() / 2;
    damaged_bytes[middle..middle + 20].fill(0);
    upstream.put(path, damaged_bytes);
    let destination = dir.path().join("bundle");
    let requests = || upstream.take_requests().iter().filter(|request| request.path == path).count();
    must_get_cran(&upstream.url(), &destination, &[]);
    let second_output = must_get_cran(&upstream.url(), &destination, &[]);
    assert!(
        second_output.contains("is stored, although") && !second_output.contains("the next run"),
        "{second_output}"
    );
    assert_eq!(requests(), 4, "each run fetches it twice");
    let third_output = must_get_cran(&upstream.url(), &destination, &[]);
    assert!(third_output.contains("nothing is new"), "{third_output}");
    assert_eq!(requests(), 0);
    assert_complete(&destination);
}

#[test]
fn a_full_disk_is_reported_before_and_during_the_download() {
    let dir = tempfile::tempdir().unwrap();
    let mut mirror = write_mirror(dir.path());
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let noise: Vec<u8> = words.flatten().take(600_000).collect();
    for n in 0..4 {
        let mut tarball = Tarball::new(&format!("large{n}"), "1.0");
        tarball.files.push(("data/noise".to_owned(), noise.iter().map(|b| b ^ n).collect()));
        mirror.publish(&tarball, "2020-01-05");
    }
    mirror.write();
    let Some(destination) = crate::support::rerun::small_disk() else { return };
    let result = get_cran(&mirror.url(), &destination, &[]);
    assert_eq!(result.code, Some(1));
    assert!(
        result.err.contains("of free space") && result.err.contains("choose another directory"),
        "{}",
        result.err
    );
    // The space needed for a mirror without sizes is not known in advance.
    fs::remove_file(mirror.root.join("src/contrib/Meta/current.rds")).unwrap();
    let result = get_cran(&mirror.url(), &destination, &[]);
    assert_eq!(result.code, Some(1));
    assert!(
        result.err.contains("No space left") && result.err.contains("run the command again"),
        "{}",
        result.err
    );
    assert!(!destination.join("v3/1/head.json").exists() && !objects(&destination).is_empty());
}
