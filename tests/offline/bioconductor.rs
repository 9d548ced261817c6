//! `get bioconductor`: each version is a separate product, in the same bundle as CRAN.

use std::fs;

use rstudio_pm::bundle::Product;

use crate::support::data;
use crate::support::downloader::{
    assert_complete, command, copy_over, get_cran, open_bundle, read, run, tree, validate,
};
use crate::support::mirror_dir::{MirrorDir, file_url};
use crate::support::process::ProcessOutput;
use crate::support::upstream::{Fault, Upstream};

fn get(url: &str, destination: &std::path::Path, flags: &[&str]) -> ProcessOutput {
    run(&[&["get", "bioconductor", "--base-url", url, "--destination", destination.to_str().unwrap()], flags]
        .concat())
}

fn mirror() -> String {
    file_url(&data::path("bioc-mirror").canonicalize().unwrap())
}

fn product(version: &str) -> Product {
    Product::Bioconductor(version.to_owned())
}

#[tokio::test]
async fn each_version_of_a_mirror_is_a_separate_product() {
    let dir = tempfile::tempdir().unwrap();
    let result = get(&mirror(), dir.path(), &[]);
    assert_eq!(result.code, Some(0), "{}", result.err);
    for version in ["3.16", "3.20"] {
        let line = format!("Performing full download of schema version v4, Bioconductor {version}");
        assert!(result.err.contains(&line), "{}", result.err);
        let (verified_head, _, state) = read(dir.path(), &product(version)).await;
        assert!(state.listed_count() > 2 && verified_head.head.packages == state.listed_count());
        assert!(state.package("bioc", "Biobase").is_some(), "{version}: {:?}", state.listing());
    }
    assert!(!dir.path().join("bioc/v4/3.21").exists(), "the version is not on the mirror");
    assert_eq!(fs::read(dir.path().join("bioc/v4/version.txt")).unwrap(), b"4\n");
    let config = open_bundle(dir.path()).bioconductor().await.unwrap().expect("config.yaml");
    assert!(config.config_yaml.contains("release_version: \"3.20\""));
    assert_eq!(validate("bioconductor", dir.path(), &["--packages"]), (0, Vec::new()));
    // A repeated run changes nothing.
    let tree_before = tree(dir.path());
    let result = get(&mirror(), dir.path(), &[]);
    assert!(result.code == Some(0) && result.err.contains("nothing is new"), "{}", result.err);
    assert_eq!(tree(dir.path()), tree_before);
}

#[tokio::test]
async fn versions_are_chosen_by_number_and_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let result = get(&mirror(), dir.path(), &["--versions", "release"]);
    assert_eq!(result.code, Some(0), "{}", result.err);
    assert!(dir.path().join("bioc/v4/3.20/head.json").exists() && !dir.path().join("bioc/v4/3.16").exists());
    let result = get(&mirror(), dir.path(), &["--versions=3.16,release"]);
    assert_eq!(result.code, Some(0), "{}", result.err);
    assert!(dir.path().join("bioc/v4/3.16/head.json").exists());
    for (versions, words) in [
        ("9.99", ["has no Bioconductor 9.99", "it has 3.20, 3.16"]),
        ("devel", ["has no Bioconductor 3.21", "it has 3.20, 3.16"]),
        ("three", ["--versions: 'three'", "such as 3.20"]),
    ] {
        let destination = dir.path().join("other");
        let result = get(&mirror(), &destination, &["--versions", versions]);
        assert_eq!(result.code, Some(2), "{versions}: {}", result.err);
        assert!(words.iter().all(|word| result.err.contains(word)), "{versions}: {}", result.err);
        assert!(!destination.join("bioc/v4").exists());
    }
}

#[test]
fn a_mirror_without_any_version_is_refused() {
    let (mirror, destination) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::copy(data::path("bioc-mirror/config.yaml"), mirror.path().join("config.yaml")).unwrap();
    let result = get(&file_url(mirror.path()), destination.path(), &[]);
    assert!(
        result.code == Some(1) && result.err.contains("has none of the Bioconductor versions"),
        "{result:?}"
    );
    assert!(!destination.path().join("bioc/v4").exists());
}

#[tokio::test]
async fn a_version_that_fails_does_not_affect_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let upstream = Upstream::of(&data::path("bioc-mirror"));
    upstream.always("packages/3.16/bioc/src/contrib/PACKAGES.gz", Fault::Html);
    let result = get(&upstream.url(), dir.path(), &[]);
    assert_eq!(result.code, Some(1));
    assert!(result.err.contains("Bioconductor 3.16") && result.err.contains("HTML page"), "{}", result.err);
    assert!(read(dir.path(), &product("3.20")).await.2.listed_count() > 2);
    assert!(!dir.path().join("bioc/v4/3.16/head.json").exists());
    // A mirror without config.yaml is refused.
    upstream.remove("config.yaml");
    let result = get(&upstream.url(), dir.path(), &[]);
    assert!(result.code == Some(1) && result.err.contains("looked for config.yaml"), "{}", result.err);
}

#[tokio::test]
async fn a_damaged_version_of_the_destination_does_not_affect_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let result = get(&mirror(), dir.path(), &["--versions", "3.20"]);
    assert_eq!(result.code, Some(0), "{}", result.err);
    let is_segment = |path: &String| path.contains("/3.20/") && path.contains("/log/");
    let segment = dir.path().join(tree(dir.path()).into_keys().find(is_segment).unwrap());
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, bytes).unwrap();
    // It is the first of the two.
    let result = get(&mirror(), dir.path(), &[]);
    assert_eq!(result.code, Some(1), "{}", result.err);
    assert!(result.err.contains("could not download Bioconductor 3.20"), "{}", result.err);
    assert!(read(dir.path(), &product("3.16")).await.2.listed_count() > 2);
}

#[tokio::test]
async fn a_bundle_of_bioconductor_can_be_copied_and_restricted() {
    let dir = tempfile::tempdir().unwrap();
    let (first_bundle, second_bundle, third_bundle) =
        (dir.path().join("first"), dir.path().join("second"), dir.path().join("third"));
    assert_eq!(get(&mirror(), &first_bundle, &[]).code, Some(0));
    let result = get(&file_url(&first_bundle), &second_bundle, &["--versions", "3.20"]);
    assert_eq!(result.code, Some(0), "{}", result.err);
    let (first_content, second_content) =
        (read(&first_bundle, &product("3.20")).await, read(&second_bundle, &product("3.20")).await);
    assert_eq!((first_content.1, first_content.2.listing()), (second_content.1, second_content.2.listing()));
    assert_eq!(validate("bioconductor", &second_bundle, &["--packages"]), (0, Vec::new()));
    let list = dir.path().join("list");
    fs::write(&list, "Biobase\n").unwrap();
    let result = get(&mirror(), &third_bundle, &["--versions", "3.20", "--file-in", list.to_str().unwrap()]);
    assert_eq!(result.code, Some(0), "{}", result.err);
    let (_, _, state) = read(&third_bundle, &product("3.20")).await;
    let names: Vec<String> = state.packages().map(|((_, name), _)| name.clone()).collect();
    assert_eq!(names, ["BiocGenerics", "Biobase"].map(str::to_owned).into_iter().rev().collect::<Vec<_>>());
}

#[test]
fn cran_and_bioconductor_are_downloaded_to_one_destination_at_the_same_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut cran_mirror = MirrorDir::new(dir.path().join("mirror"));
    for n in 0..20 {
        cran_mirror.simple(&format!("package{n}"), "1.0", "2020-01-01");
    }
    cran_mirror.write();
    crate::support::rules::folder(&dir.path().join("rules"), &["libcurl", "geos"]);
    let rules = file_url(&dir.path().join("rules"));
    let destination = dir.path().join("bundle");
    let path = destination.to_str().unwrap();
    let (cran, bioc) = (cran_mirror.url(), mirror());
    for _ in 0..3 {
        let children = [("cran", &cran), ("bioconductor", &bioc)].map(|(name, url)| {
            command(&[
                "get",
                name,
                "--base-url",
                url,
                "--destination",
                path,
                "--requirements-url",
                &rules,
                "-q",
            ])
            .spawn()
            .unwrap()
        });
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
    }
    assert_complete(&destination);
    assert_eq!(validate("bioconductor", &destination, &["--packages"]), (0, Vec::new()));
    let rules = fs::read_dir(destination.join("sysreqs")).unwrap().count();
    assert_eq!(rules, 3, "a head, one file, a lock");
}

#[test]
fn replaced_rules_that_remain_in_a_copy_are_not_a_finding() {
    let dir = tempfile::tempdir().unwrap();
    let mut cran_mirror = MirrorDir::new(dir.path().join("mirror"));
    cran_mirror.simple("alpha", "1.0", "2020-01-01");
    cran_mirror.write();
    let (destination, copy) = (dir.path().join("bundle"), dir.path().join("copy"));
    fs::create_dir(&copy).unwrap();
    for names in [&["libcurl"][..], &["libcurl", "geos"]] {
        crate::support::rules::folder(&dir.path().join("rules"), names);
        let rules = file_url(&dir.path().join("rules"));
        assert_eq!(get_cran(&cran_mirror.url(), &destination, &["--requirements-url", &rules]).code, Some(0));
        copy_over(&destination, &copy);
    }
    let files = |root: &std::path::Path| fs::read_dir(root.join("sysreqs")).unwrap().count();
    assert_eq!((files(&destination), files(&copy)), (3, 4));
    assert_complete(&destination);
    assert_complete(&copy);
}
