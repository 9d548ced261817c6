//! `--include-binaries`: binaries for chosen versions of R and systems.

use std::fs;

use rstudio_pm::bundle::Product;

use crate::support::data;
use crate::support::downloader::{assert_complete, assert_missing, get_cran, must_get_cran, read, tree};
use crate::support::mirror_dir::file_url;
use crate::support::upstream::Upstream;

fn mirror() -> String {
    file_url(&data::path("cran-mirror").canonicalize().unwrap())
}

const WINDOWS: [&str; 5] = ["--include-binaries", "--r-versions", "4.5", "--distributions", "windows"];

#[tokio::test]
async fn binaries_for_windows_are_a_separate_product() {
    let dir = tempfile::tempdir().unwrap();
    let destination = dir.path().join("bundle");
    let output = must_get_cran(&mirror(), &destination, &WINDOWS);
    assert!(output.contains("Performing full download of binaries for 4.5-win"), "{output}");
    assert_complete(&destination);
    let product = Product::Binaries("4.5-win".to_owned());
    let (_, records, state) = read(&destination, &product).await;
    let binaries = data::cran().binaries;
    assert_eq!(state.listed_count(), binaries.len());
    let glue = state.package("", "glue").and_then(|package| package.listed_release()).expect("glue");
    let path = destination.join(product.object_path(glue.object.sha256, "zip"));
    let original = data::path("cran-mirror/bin/windows/contrib/4.5").join(data::cran().binary("glue"));
    assert_eq!(fs::read(path).unwrap(), fs::read(original).unwrap());
    assert!(records.len() == binaries.len() + 1, "{}", records.len());
    // A copy of that bundle.
    let second_bundle = dir.path().join("second");
    must_get_cran(&file_url(&destination), &second_bundle, &WINDOWS);
    assert_complete(&second_bundle);
    assert_eq!(read(&second_bundle, &product).await.2.listing(), state.listing());
    // A repeated run changes nothing, and neither does a run without the flag.
    let tree_before = tree(&destination);
    must_get_cran(&mirror(), &destination, &WINDOWS);
    must_get_cran(&mirror(), &destination, &[]);
    assert_eq!(tree(&destination), tree_before);
}

#[tokio::test]
async fn binaries_for_linux_are_fetched_by_the_index_of_their_mirror() {
    let dir = tempfile::tempdir().unwrap();
    let upstream = Upstream::of(&data::path("cran-mirror"));
    let binary = |package: &str| {
        let mut tarball = crate::support::tarball::Tarball::new(package, "1.0");
        tarball.fields = "Built: R 4.5.0; ; 2026-01-01 00:00:00 UTC; unix\n".to_owned();
        tarball.files.push(("Meta/package.rds".to_owned(), b"x".to_vec()));
        tarball.bytes()
    };
    let folder = "bin/linux/noble-x86_64/4.5/src/contrib";
    let mut index = String::new();
    for package in ["alpha", "beta"] {
        let bytes = binary(package);
        index.push_str(&format!(
            "Package: {package}\nVersion: 1.0\nBuilt: R 4.5.0; ; 2026-01-01 00:00:00 UTC; unix\nFilesize: {}\n\n",
            bytes.len()
        ));
        upstream.put(&format!("{folder}/{package}_1.0.tar.gz"), bytes);
    }
    index.push_str("Package: gamma\nVersion: 1.0\nMD5sum: 00\n");
    upstream.put(&format!("{folder}/PACKAGES"), index);
    // A file that is not a binary is refused although the index lists it.
    let source = crate::support::tarball::Tarball::new("beta", "1.0").bytes();
    upstream.put(&format!("{folder}/beta_1.0.tar.gz"), source);
    let destination = dir.path().join("bundle");
    let flags = ["--include-binaries", "--r-versions=4.5", "--distributions=noble", "--architectures=x86_64"];
    let result = get_cran(&upstream.url(), &destination, &flags);
    assert_eq!(result.code, Some(1), "{}", result.err);
    assert!(result.err.contains("beta_1.0.tar.gz"), "{}", result.err);
    assert_missing(&destination, &["beta_1.0.tar.gz"]);
    let (_, _, state) = read(&destination, &Product::Binaries("4.5-noble".to_owned())).await;
    assert_eq!(state.listing(), ["alpha 1.0"]);
}

#[tokio::test]
async fn of_several_versions_in_an_index_the_highest_is_listed() {
    let dir = tempfile::tempdir().unwrap();
    let upstream = Upstream::empty();
    let binaries = "bin/linux/noble-x86_64/4.5/src/contrib";
    for (folder, fields) in
        [("src/contrib", ""), (binaries, "Built: R 4.5.0; ; 2026-01-01 00:00:00 UTC; unix\n")]
    {
        let mut index = String::new();
        // R compares versions number by number: 1.10 is the highest.
        for version in ["1.9", "1.10", "1.2-3"] {
            let mut tarball = crate::support::tarball::Tarball::new("alpha", version);
            tarball.fields = fields.to_owned();
            if !fields.is_empty() {
                tarball.files.push(("Meta/package.rds".to_owned(), b"x".to_vec()));
            }
            index.push_str(&format!("Package: alpha\nVersion: {version}\n{fields}\n"));
            upstream.put(&format!("{folder}/alpha_{version}.tar.gz"), tarball.bytes());
        }
        upstream.put(&format!("{folder}/PACKAGES"), index);
    }
    let destination = dir.path().join("bundle");
    let flags = ["--include-binaries", "--r-versions=4.5", "--distributions=noble", "--architectures=x86_64"];
    must_get_cran(&upstream.url(), &destination, &flags);
    assert_complete(&destination);
    for product in [Product::Cran, Product::Binaries("4.5-noble".to_owned())] {
        let (_, _, state) = read(&destination, &product).await;
        assert_eq!(state.listing(), ["alpha 1.10"], "{product}");
    }
}

#[test]
fn unknown_platforms_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    for (flags, code, words) in [
        (&["--include-binaries"][..], 2, ["--r-versions", "--distributions"]),
        (&["--r-versions=4.5"], 2, ["--r-versions", "--include-binaries"]),
        (&["--include-binaries", "--r-versions=4", "--distributions=noble"], 2, ["'4'", "write 4.5"]),
        (
            &["--include-binaries", "--r-versions=4.5", "--distributions=nobel"],
            2,
            ["'nobel' is unknown", "noble"],
        ),
        (
            &["--include-binaries", "--r-versions=4.5", "--distributions=noble", "--architectures=sparc"],
            2,
            ["'sparc'", "x86_64 nor arm64"],
        ),
        (
            &["--include-binaries", "--r-versions=4.5", "--distributions=jammy", "--architectures=x86_64"],
            1,
            ["has no binaries/4.5-jammy", "bin/linux/jammy-x86_64/4.5/src/contrib"],
        ),
    ] {
        let result = get_cran(&mirror(), &dir.path().join("bundle"), flags);
        assert_eq!(result.code, Some(code), "{flags:?}: {}", result.err);
        assert!(words.iter().all(|word| result.err.contains(word)), "{flags:?}: {}", result.err);
    }
}

#[test]
fn missing_binaries_leave_no_folder_and_old_folders_are_not_a_finding() {
    let dir = tempfile::tempdir().unwrap();
    let destination = dir.path().join("bundle");
    let flags = ["--include-binaries", "--r-versions=4.5", "--distributions=jammy,rhel9"];
    let result = get_cran(&mirror(), &destination, &flags);
    assert_eq!(result.code, Some(1), "{}", result.err);
    assert!(result.err.trim_end().lines().last().unwrap().contains("not complete"), "{}", result.err);
    assert!(!destination.join("bindex").exists());
    assert_complete(&destination);
    // Older versions of the program left the folder with its lock.
    fs::create_dir_all(destination.join("bindex/4.5-jammy")).unwrap();
    fs::write(destination.join("bindex/4.5-jammy/.lock"), "").unwrap();
    assert_complete(&destination);
    // An unfinished download is a finding.
    fs::write(destination.join("bindex/4.5-jammy/.releases.ndjson"), "").unwrap();
    assert_eq!(crate::support::downloader::validate("cran", &destination, &[]).0, 1);
}

#[test]
fn packages_are_complete_without_rules_unless_the_address_of_the_rules_is_given() {
    let dir = tempfile::tempdir().unwrap();
    let mirror = crate::support::downloader::create_mirror(dir.path(), &[("alpha", "1.0", "2020-01-01")]);
    let (url, nowhere) = (mirror.url(), file_url(&dir.path().join("nowhere")));
    let get = |destination: &str, flags: &[&str]| {
        let destination = dir.path().join(destination);
        let args = ["get", "cran", "--base-url", &url, "--destination", destination.to_str().unwrap()];
        // Without `--requirements-url` the default is requested, which the proxy makes unreachable.
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rspm-offline-downloader"));
        command.args(args).args(flags).args(["--outbound-proxy", "http://127.0.0.1:9"]);
        let result = crate::support::process::run_to_end(&mut command);
        let last_line = result.err.trim_end().lines().last().unwrap_or_default().to_owned();
        (result.code, last_line)
    };
    for (destination, flags, code, word) in [
        ("default", &[][..], 0, "rules for system requirements were not updated"),
        (
            "named",
            &["--requirements-url", nowhere.as_str()][..],
            1,
            "rules for system requirements were not updated",
        ),
        ("none", &["--requirements-url", "none"][..], 0, "complete"),
    ] {
        let (status, last_line) = get(destination, flags);
        assert!(status == Some(code) && last_line.contains(word), "{destination}: {status:?} {last_line}");
        assert_complete(&dir.path().join(destination));
    }
}
