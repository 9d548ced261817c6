//! A server that serves from a bundle in a directory.

use std::path::{Path, PathBuf};

use rstudio_pm::bundle::Product;
use rstudio_pm::model::ids::SourceId;
use rstudio_pm::model::point::PointTree;

use crate::support::downloader::{assert_complete, copy_over, must_get_cran, objects, read, tree};
use crate::support::fixtures::until;
use crate::support::mirror_dir::MirrorDir;
use crate::support::server::{Builder, Server};
use crate::support::sync_backend::SyncBackend;
use crate::support::tarball::Tarball;
use crate::support::upstream::Upstream;
use crate::support::{data, mirror_dir};

/// A server with the bundle as the mirror of CRAN, and with a repository `prod` of CRAN.
fn server(bundle: &Path) -> Server {
    let server = Builder::default().gcfg(&format!("[CRAN]\nURL = {}", mirror_dir::file_url(bundle))).start();
    server.rspm_stdout("create repo --name=prod");
    server.rspm_stdout("subscribe --repo=prod --source=cran");
    server
}

fn index(server: &Server, snapshot: &str) -> String {
    let answer = server.get(&format!("/prod/{snapshot}/src/contrib/PACKAGES"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text()
}

/// A mirror with a history, and its bundle.
fn mirror_and_bundle(dir: &Path) -> (MirrorDir, PathBuf) {
    let mut mirror = MirrorDir::new(dir.join("mirror"));
    mirror.simple("alpha", "1.0", "2020-01-01");
    mirror.simple("beta", "1.0", "2020-02-01");
    mirror.simple("alpha", "1.1", "2020-03-01");
    mirror.write();
    let bundle = dir.join("bundle");
    must_get_cran(&mirror.url(), &bundle, &[]);
    (mirror, bundle)
}

/// The object of a release.
async fn object(bundle: &Path, name: &str, version: &str) -> PathBuf {
    let (_, _, state) = read(bundle, &Product::Cran).await;
    let package = state.package("", name).expect("a package");
    let release = package.releases.iter().find(|release| release.version == version).expect("a release");
    bundle.join(Product::Cran.object_path(release.object.sha256, &release.object.ext))
}

fn stored_files(server: &Server) -> Vec<String> {
    let folder = server.dir().join("data/cran");
    tree(&folder).into_keys().filter(|path| path.ends_with(".tar.gz") || path.len() > 64).collect()
}

#[test]
fn a_bundle_of_the_real_mirror_is_served_in_place_with_the_content_of_the_mirror() {
    let dir = tempfile::tempdir().unwrap();
    let mirror = data::path("cran-mirror").canonicalize().unwrap();
    let bundle = dir.path().join("data");
    must_get_cran(&mirror_dir::file_url(&mirror), &bundle, &[]);
    let (bundle_server, mirror_server) = (server(&bundle), server(&mirror));
    bundle_server.wait_for_log(&format!(
        "Configured to serve CRAN/Bioconductor data from a directory. Checking path '{}'.",
        bundle.display()
    ));
    bundle_server.wait_for_log("The bundle has cran of ");
    let tree_before = tree(&bundle);
    let message = bundle_server.sync().expect("a bundle");
    assert!(message.contains(&data::cran().added_message()), "{message}");
    mirror_server.sync().expect("a mirror");
    assert_eq!(index(&bundle_server, "latest"), index(&mirror_server, "latest"));
    let cran = data::cran();
    let archived_file = format!("Archive/R6/{}", cran.archived_files("R6")[0]);
    for file in [cran.file("R6"), &archived_file, "Meta/archive.rds", "Meta/current.rds"] {
        let path = format!("/prod/latest/src/contrib/{file}");
        let (bundle_answer, mirror_answer) = (bundle_server.get(&path), mirror_server.get(&path));
        assert_eq!((bundle_answer.status, bundle_answer.body == mirror_answer.body), (200, true), "{file}");
    }
    assert_eq!(stored_files(&bundle_server), [""; 0], "there is no second copy");
    until("a mirror's file is stored", || !stored_files(&mirror_server).is_empty());
    let message = bundle_server.sync().expect("a bundle");
    assert!(message.contains("up to date"), "{message}");
    assert!(tree(&bundle) == tree_before, "a server writes nothing into a bundle");
}

#[test]
fn ranges_and_conditional_requests_are_served_from_the_bundle() {
    let dir = tempfile::tempdir().unwrap();
    let (_, bundle) = mirror_and_bundle(dir.path());
    let server = server(&bundle);
    server.sync().expect("a bundle");
    let url = server.url("/prod/latest/src/contrib/alpha_1.1.tar.gz");
    let request = |name, value| crate::support::http::request("GET", &url, &[(name, value)], b"");
    let complete_answer = request("Accept", "*/*");
    let etag = complete_answer.header("etag").expect("the bundle declares digests").to_owned();
    let part_answer = request("Range", "bytes=5-14");
    assert_eq!((part_answer.status, part_answer.body.as_slice()), (206, &complete_answer.body[5..15]));
    assert_eq!(request("If-None-Match", &etag).status, 304);
    assert_eq!(request("Range", "bytes=99999999-").status, 416);
}

#[test]
fn history_is_back_filled_from_the_bundle() {
    let dir = tempfile::tempdir().unwrap();
    let (mut mirror, bundle) = mirror_and_bundle(dir.path());
    let server = server(&bundle);
    server.sync().expect("a bundle");
    let message = server.rspm_stdout("backfill --source=cran --since=2020-01-01");
    assert!(message.contains("2020-01-01"), "{message}");
    let days = |server: &Server| {
        ["2020-01-15", "2020-02-15", "2020-03-15"].map(|day| {
            let text = index(server, day);
            let lines =
                text.lines().filter(|line| line.starts_with("Package:") || line.starts_with("Version:"));
            lines.map(|line| line.split_once(' ').unwrap().1.to_owned()).collect::<Vec<_>>().join(" ")
        })
    };
    assert_eq!(days(&server), ["alpha 1.0", "alpha 1.0 beta 1.0", "alpha 1.1 beta 1.0"]);
    let answer = server.get("/prod/2020-01-15/src/contrib/alpha_1.0.tar.gz");
    assert_eq!(answer.status, 200);
    assert_eq!(stored_files(&server), [""; 0], "archived packages are served in place");
    let index_before = index(&server, "2020-03-15");
    // The mirror changes; a later download is copied over the bundle while the server runs.
    mirror.simple("gamma", "1.0", "2020-04-01");
    mirror.simple("alpha", "1.2", "2020-04-02");
    mirror.write();
    let newer_bundle = dir.path().join("newer");
    copy_to_new(&bundle, &newer_bundle);
    must_get_cran(&mirror.url(), &newer_bundle, &[]);
    copy_over(&newer_bundle, &bundle);
    server.sync().expect("the new bundle");
    let latest_index = index(&server, "latest");
    assert!(
        latest_index.contains("Package: gamma") && latest_index.contains("Version: 1.2"),
        "{latest_index}"
    );
    assert_eq!(index(&server, "2020-03-15"), index_before);
    assert_eq!(server.get("/prod/latest/src/contrib/gamma_1.0.tar.gz").status, 200);
}

fn copy_to_new(origin: &Path, destination: &Path) {
    std::fs::create_dir_all(destination).unwrap();
    copy_over(origin, destination);
}

#[test]
fn a_partly_copied_bundle_changes_nothing_until_it_is_complete() {
    let dir = tempfile::tempdir().unwrap();
    let (mut mirror, bundle) = mirror_and_bundle(dir.path());
    let server = server(&bundle);
    server.sync().expect("a bundle");
    let index_before = index(&server, "latest");
    let newer_bundle = dir.path().join("newer");
    copy_to_new(&bundle, &newer_bundle);
    mirror.simple("gamma", "1.0", "2020-04-01");
    mirror.write();
    must_get_cran(&mirror.url(), &newer_bundle, &[]);
    // The head is copied before the segment that it lists.
    std::fs::copy(newer_bundle.join("v3/1/head.json"), bundle.join("v3/1/head.json")).unwrap();
    let message = server.sync().expect_err("the copy is incomplete");
    assert!(message.contains("v3/1/log/") && message.contains("the copy is not complete yet"), "{message}");
    assert_eq!(index(&server, "latest"), index_before);
    copy_over(&newer_bundle, &bundle);
    server.sync().expect("the copy is complete");
    assert!(index(&server, "latest").contains("Package: gamma"));
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_do_not_match_their_digest_are_never_served() {
    let dir = tempfile::tempdir().unwrap();
    let (_, bundle) = mirror_and_bundle(dir.path());
    let (changed_file, missing_file) =
        (object(&bundle, "alpha", "1.1").await, object(&bundle, "beta", "1.0").await);
    let content = std::fs::read(&changed_file).unwrap();
    let server = server(&bundle);
    server.sync().expect("a bundle");
    let path = "/prod/latest/src/contrib/alpha_1.1.tar.gz";
    assert_eq!(server.get(path).status, 200);
    let mut bytes = content.clone();
    bytes[20] ^= 1;
    std::fs::write(&changed_file, &bytes).unwrap();
    let response = server.get(path);
    assert_eq!(response.status, 503, "it was compared before, and is a different file now");
    assert!(!response.body.windows(8).any(|window| window == &bytes[16..24]));
    server.wait_for_log("has the SHA-256");
    std::fs::write(&changed_file, &content).unwrap();
    assert!(server.get(path).body == content, "it is served again without a restart");
    std::fs::remove_file(&missing_file).unwrap();
    let answer = server.get("/prod/latest/src/contrib/beta_1.0.tar.gz");
    assert_eq!(answer.status, 404);
    let message = answer.text();
    assert!(
        message.contains("beta_1.0.tar.gz is not in the bundle") && !message.contains("obj/"),
        "{message}"
    );
    server.wait_for_log("is not in the bundle from which packages are served");
    // A link that leads out of the bundle is not followed.
    let secret = dir.path().join("secret");
    std::fs::write(&secret, &content).unwrap();
    std::fs::remove_file(&changed_file).unwrap();
    std::os::unix::fs::symlink(&secret, &changed_file).unwrap();
    assert_ne!(server.get(path).status, 200);
    assert_eq!(objects(&bundle).len(), 2, "the server removes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_often_requested_is_still_compared() {
    let dir = tempfile::tempdir().unwrap();
    let (_, bundle) = mirror_and_bundle(dir.path());
    let file = object(&bundle, "alpha", "1.1").await;
    let server = server(&bundle);
    server.sync().expect("a bundle");
    let path = "/prod/latest/src/contrib/alpha_1.1.tar.gz";
    let content = std::fs::read(&file).unwrap();
    let request_five_times = || (0..5).for_each(|_| assert!(server.get(path).body == content));
    request_five_times();
    let part_answer =
        crate::support::http::request("GET", &server.url(path), &[("Range", "bytes=5-14")], b"");
    assert_eq!((part_answer.status, part_answer.body.as_slice()), (206, &content[5..15]));
    let mut changed_bytes = content.clone();
    changed_bytes[20] ^= 1;
    std::fs::write(&file, &changed_bytes).unwrap();
    until("the changed file is detected", || {
        let answer = server.get(path);
        assert!(answer.status == 503 || answer.body == content, "{}", answer.status);
        answer.status == 503
    });
    std::fs::remove_file(&file).unwrap();
    until("the missing file is detected", || server.get(path).status == 404);
    std::fs::write(&file, &content).unwrap();
    request_five_times();
}

#[tokio::test(flavor = "multi_thread")]
async fn large_files_are_compared() {
    let dir = tempfile::tempdir().unwrap();
    let mut mirror = MirrorDir::new(dir.path().join("mirror"));
    let mut state = 1_u64;
    let mut letter = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b' ' + (state >> 58) as u8)
    };
    let random_text: String = (0..3_000_000).map(&mut letter).collect();
    mirror.publish(&Tarball::new("alpha", "1.1").with("noise", &random_text), "2020-01-01");
    mirror.write();
    let bundle = dir.path().join("bundle");
    must_get_cran(&mirror.url(), &bundle, &[]);
    let file = object(&bundle, "alpha", "1.1").await;
    let mut bytes = std::fs::read(&file).unwrap();
    assert!(bytes.len() > 1 << 20, "{}", bytes.len());
    let server = server(&bundle);
    server.sync().expect("a bundle");
    let path = "/prod/latest/src/contrib/alpha_1.1.tar.gz";
    for _ in 0..3 {
        assert!(server.get(path).body == bytes);
    }
    bytes[20] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    assert_eq!(server.get(path).status, 503);
}

#[test]
fn an_archived_package_whose_bytes_change_in_the_bundle_is_served_with_the_new_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let write_mirror = |folder: &str, first_day: &str, text: &str| {
        let mut mirror = MirrorDir::new(dir.path().join(folder));
        let archived_package = Tarball::new("alpha", "1.0").with("README.md", text);
        mirror.publish(&archived_package, first_day);
        mirror.simple("alpha", "1.1", "2020-03-01");
        mirror.write();
        mirror
    };
    let upstream = Upstream::of(&write_mirror("mirror", "2020-01-01", "# one\n").root);
    let path = "src/contrib/Archive/alpha/alpha_1.0.tar.gz";
    let intact_bytes = upstream.bytes(path);
    let mut damaged_bytes = intact_bytes.clone();
    damaged_bytes[intact_bytes.len() / 2] ^= 1;
    upstream.put(path, damaged_bytes.clone());
    let bundle = dir.path().join("bundle");
    must_get_cran(&upstream.url(), &bundle, &[]);
    let mut server = server(&bundle);
    server.sync().expect("a bundle");
    let address = format!("/prod/latest/{path}");
    assert!(server.get(&address).body == damaged_bytes, "the index has no checksum of it");
    // The mirror was repaired: the next run fetches the file again. Name, size and date are the same.
    upstream.put(path, intact_bytes.clone());
    must_get_cran(&upstream.url(), &bundle, &[]);
    server.sync().expect("the bundle of the repaired mirror");
    assert!(server.get(&address).body == intact_bytes);
    let message = server.sync().expect("the same bundle");
    assert!(message.contains("up to date"), "{message}");
    server.restart();
    assert!(server.get(&address).body == intact_bytes);
    // The same name with another size and date.
    for (path, bytes) in tree(&write_mirror("changed", "2020-01-05", "# one, and more of it\n").root) {
        upstream.put(&path, bytes);
    }
    let changed_bytes = upstream.bytes(path);
    assert_ne!(changed_bytes.len(), intact_bytes.len());
    must_get_cran(&upstream.url(), &bundle, &[]);
    server.sync().expect("the bundle of the changed mirror");
    assert!(server.get(&address).body == changed_bytes);
    let message = server.sync().expect("the same bundle");
    assert!(message.contains("up to date"), "{message}");
    let answer = server.get("/prod/latest/src/contrib/alpha_1.1.tar.gz");
    assert_eq!((answer.status, stored_files(&server)), (200, Vec::new()));
}

#[test]
fn a_bundle_configured_by_a_reload_is_used_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (mut mirror, bundle) = mirror_and_bundle(dir.path());
    let server = server(&bundle);
    server.sync().expect("a bundle");
    let path = "/prod/latest/src/contrib/beta_1.0.tar.gz";
    assert_eq!(server.get(path).status, 200);
    mirror.simple("gamma", "1.0", "2020-04-01");
    mirror.write();
    let other_bundle = dir.path().join("other");
    must_get_cran(&mirror.url(), &other_bundle, &[]);
    std::fs::rename(&bundle, dir.path().join("moved")).unwrap();
    server.hup_applies(&format!("[CRAN]\nURL = {}", mirror_dir::file_url(&other_bundle)), &["CRAN.URL is"]);
    assert_eq!(server.get(path).status, 200);
    server.sync().expect("the other bundle");
    assert_eq!(server.get("/prod/latest/src/contrib/gamma_1.0.tar.gz").status, 200);
    assert_eq!(stored_files(&server), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn binaries_copied_into_a_bundle_are_listed_by_the_next_scheduled_sync() {
    let dir = tempfile::tempdir().unwrap();
    let mirror = mirror_dir::file_url(&data::path("cran-mirror").canonicalize().unwrap());
    let bundle = dir.path().join("data");
    must_get_cran(&mirror, &bundle, &[]);
    let server = SyncBackend::new(crate::support::db::Engine::Sqlite, &mirror_dir::file_url(&bundle)).await;
    let message = server.sync().await.expect("a bundle");
    assert!(!message.contains("binaries were synced"), "{message}");
    let flags = ["--include-binaries", "--r-versions", "4.5", "--distributions", "windows"];
    must_get_cran(&mirror, &bundle, &flags);
    let (tree, seq) = server.head().expect("published");
    // The sync is not started by hand.
    let tree = PointTree { source: SourceId::CRAN, tree, seq, base: None, rules: None };
    server.sync.report_mismatch(tree, "any");
    let message = server.sync().await.expect("the same job");
    assert!(
        message.contains("binaries were synced")
            && message.contains(&format!(": {} new", data::cran().binaries_with_source().len())),
        "{message}"
    );
}

#[test]
fn data_of_another_schema_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("v2/1")).unwrap();
    let server = server(dir.path());
    let message = server.sync().expect_err("too old");
    assert!(
        message.contains("schema v2")
            && message.contains("v3")
            && message.contains("rspm-offline-downloader"),
        "{message}"
    );
}

/// A mirror such as R-universe names the files of its index by digest (`File`).
#[test]
fn a_bundle_of_a_mirror_with_other_file_names_serves_each_listed_package() {
    let dir = tempfile::tempdir().unwrap();
    let contrib = dir.path().join("mirror/src/contrib");
    std::fs::create_dir_all(&contrib).unwrap();
    let packages = ["alpha", "beta", "gamma", "delta"].map(|name| Tarball::new(name, "1.0"));
    let built_file = "delta_1.0_R_x86_64-pc-linux-gnu.tar.gz".to_owned();
    let names = ["sha256-00ff".to_owned(), "beta-1.0.tar.gz".to_owned(), packages[2].file(), built_file];
    let mut records = String::new();
    for (package, name) in packages.iter().zip(&names) {
        let bytes = package.bytes();
        let md5 = hex::encode(<md5::Md5 as md5::Digest>::digest(&bytes));
        records += &format!("Package: {}\nVersion: 1.0\nMD5sum: {md5}\nFile: {name}\n\n", package.package);
        std::fs::write(contrib.join(name), bytes).unwrap();
    }
    std::fs::write(contrib.join("PACKAGES"), records).unwrap();
    let bundle = dir.path().join("bundle");
    must_get_cran(&mirror_dir::file_url(&dir.path().join("mirror")), &bundle, &[]);
    assert_complete(&bundle);
    let server = server(&bundle);
    let message = server.sync().expect("a bundle");
    assert!(message.contains("4 packages added"), "{message}");
    let index = index(&server, "latest");
    assert_eq!((index.matches("Package: ").count(), index.matches("File: ").count()), (4, 1), "{index}");
    for package in &packages {
        let answer = server.get(&format!("/prod/latest/src/contrib/{}", package.file()));
        assert_eq!((answer.status, answer.body == package.bytes()), (200, true), "{}", package.package);
    }
}
