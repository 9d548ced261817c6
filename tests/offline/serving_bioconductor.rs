//! A server that serves Bioconductor from a bundle in a directory.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::downloader::run;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;
use crate::support::{data, mirror_dir};

/// A server with that mirror or bundle, synced, with the repository `bioc`.
fn server(url: &str) -> Server {
    let server = Builder::default().gcfg(&format!("[Bioconductor]\nURL = {url}")).start();
    server.rspm_stdout("create repo --name=bioc --type=bioconductor");
    server.sync_of("bioconductor").expect("a valid mirror or bundle");
    server
}

#[test]
fn a_bundle_of_two_versions_is_served_with_the_content_of_the_mirror() {
    let dir = tempfile::tempdir().expect("a folder");
    let mirror = mirror_dir::file_url(&data::path("bioc-mirror").canonicalize().expect("the folder exists"));
    let bundle = dir.path().join("data");
    let destination = bundle.to_str().expect("UTF-8");
    let result = run(&[
        "get",
        "bioconductor",
        "--base-url",
        &mirror,
        "--destination",
        destination,
        "--versions",
        "3.16,3.20",
    ]);
    assert_eq!(result.code, Some(0), "{}\n{}", result.out, result.err);
    let (bundle_server, mirror_server) = (server(&mirror_dir::file_url(&bundle)), server(&mirror));
    let get = |server: &Server, path: &str| {
        let answer = server.get(&format!("/bioc/{path}"));
        (answer.status, answer.body)
    };
    for path in [
        "config.yaml",
        "packages/3.16/bioc/src/contrib/PACKAGES",
        "packages/3.20/bioc/src/contrib/PACKAGES",
        "packages/3.20/data/annotation/src/contrib/PACKAGES",
        &data::bioconductor_file("3.16", "XVector"),
        &data::bioconductor_file("3.20", "Biobase"),
    ] {
        let (bundle_answer, mirror_answer) = (get(&bundle_server, path), get(&mirror_server, path));
        assert!(
            bundle_answer.0 == 200 && bundle_answer == mirror_answer,
            "{path}: {} {}",
            bundle_answer.0,
            String::from_utf8_lossy(&bundle_answer.1).chars().take(500).collect::<String>()
        );
    }
    let message = bundle_server.sync_of("bioconductor").expect("a bundle");
    assert!(message.starts_with("2 versions of Bioconductor are up to date"), "{message}");
}

/// Adds a package to a version on a mirror.
fn publish(mirror: &Path, version: &str, package: &str) {
    let contrib = mirror.join(format!("packages/{version}/bioc/src/contrib"));
    let package = Tarball::new(package, "1.0");
    fs::write(contrib.join(package.file()), package.bytes()).unwrap();
    let index = fs::read_to_string(contrib.join("PACKAGES")).unwrap();
    let record = format!("\n\nPackage: {}\nVersion: 1.0\nLicense: MIT\n", package.package);
    fs::write(contrib.join("PACKAGES"), index.trim_end().to_owned() + &record).unwrap();
}

fn segments(bundle: &Path, version: &str) -> Vec<PathBuf> {
    let log = fs::read_dir(bundle.join(format!("bioc/v4/{version}/log"))).unwrap();
    log.map(|entry| entry.unwrap().path()).collect()
}

/// Damages the newest segment of a version, or its folder.
type Damage = fn(&Path, &Path);

#[test]
fn a_version_that_cannot_be_read_does_not_change_and_the_others_are_synced() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mirror, bundle) = (dir.path().join("mirror"), dir.path().join("data"));
    crate::clients::bioconductor::mirror(&mirror, "4.4");
    let download = || {
        let (url, destination) = (mirror_dir::file_url(&mirror), bundle.to_str().expect("UTF-8"));
        let flags = ["--base-url", &url, "--destination", destination, "--versions", "3.16,3.20"];
        let result = run(&[&["get", "bioconductor"], &flags[..]].concat());
        assert_eq!(result.code, Some(0), "{}\n{}", result.out, result.err);
    };
    download();
    let server = server(&mirror_dir::file_url(&bundle));
    let index = |version: &str| {
        let answer = server.get(&format!("/bioc/packages/{version}/bioc/src/contrib/PACKAGES"));
        assert_eq!(answer.status, 200);
        answer.text()
    };
    let root = bundle.join("bioc/v4/3.16");
    let backup = dir.path().join("aside");
    let damages: [(&str, Damage, &str); 4] = [
        ("missing", |segment, _| fs::remove_file(segment).unwrap(), "is missing"),
        (
            "flipped",
            |segment, _| {
                let mut bytes = fs::read(segment).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::write(segment, bytes).unwrap();
            },
            "its sha256 is not the one in the head",
        ),
        (
            "unreadable",
            |segment, _| {
                fs::remove_file(segment).unwrap();
                fs::create_dir(segment).unwrap();
            },
            "is not a regular file",
        ),
        ("gone", |_, root| fs::remove_dir_all(root).unwrap(), "is not in the bundle any more"),
    ];
    for (name, damage, words) in damages {
        let (index_before, old_segments) = (index("3.16"), segments(&bundle, "3.16"));
        for version in ["3.16", "3.20"] {
            publish(&mirror, version, name);
        }
        download();
        let newest_segment = segments(&bundle, "3.16")
            .into_iter()
            .find(|path| !old_segments.contains(path))
            .expect("a new one");
        let status = std::process::Command::new("cp").arg("-r").arg(&root).arg(&backup).status();
        assert!(status.expect("cp").success());
        damage(&newest_segment, &root);
        let message = server.sync_of("bioconductor").expect_err(name);
        assert!(
            message.contains("Bioconductor 3.16 is unchanged") && message.contains(words),
            "{name}: {message}"
        );
        assert!(message.contains("Bioconductor 3.20 was synced"), "{name}: {message}");
        assert_eq!(index("3.16"), index_before, "{name}");
        assert!(index("3.20").contains(&format!("Package: {name}\n")), "{name}");
        let answer = server.get(&format!("/bioc/{}", data::bioconductor_file("3.20", "Biobase")));
        assert_eq!(answer.status, 200);
        // After another copy the version is synced.
        let _ = fs::remove_dir_all(&root);
        fs::rename(&backup, &root).unwrap();
        server.sync_of("bioconductor").expect(name);
        assert!(index("3.16").contains(&format!("Package: {name}\n")), "{name}");
    }
}
