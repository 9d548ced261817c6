//! A server that serves from a bundle in a directory.

use std::path::{Path, PathBuf};

use rstudio_pm::bundle::Product;
use rstudio_pm::model::ids::SourceId;
use rstudio_pm::model::point::PointTree;

use crate::support::downloader::{copy_over, got_cran, objects, read, tree};
use crate::support::fixtures::until;
use crate::support::mirror_dir::Shelf;
use crate::support::server::{Builder, Server};
use crate::support::sync_backend::Server as Syncing;
use crate::support::tarball::Tarball;
use crate::support::upstream::Upstream;
use crate::support::{data, mirror_dir};

/// A server on the bundle `{dir}/bundle`, with a repository `prod` of CRAN.
fn server(bundle: &Path) -> Server {
    let server = Builder::default().gcfg(&format!("[CRAN]\nURL = {}", mirror_dir::file_url(bundle))).start();
    server.told("create repo --name=prod");
    server.told("subscribe --repo=prod --source=cran");
    server
}

fn index(server: &Server, snapshot: &str) -> String {
    let answer = server.get(&format!("/prod/{snapshot}/src/contrib/PACKAGES"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text()
}

/// A mirror with a history, and the bundle made of it.
fn made(dir: &Path) -> (Shelf, PathBuf) {
    let mut shelf = Shelf::new(dir.join("mirror"));
    shelf.simple("alpha", "1.0", "2020-01-01");
    shelf.simple("beta", "1.0", "2020-02-01");
    shelf.simple("alpha", "1.1", "2020-03-01");
    shelf.write();
    let bundle = dir.join("bundle");
    got_cran(&shelf.url(), &bundle, &[]);
    (shelf, bundle)
}

/// The one object of a release.
async fn object(bundle: &Path, name: &str, version: &str) -> PathBuf {
    let (_, _, state) = read(bundle, &Product::Cran).await;
    let package = state.package("", name).expect("a package");
    let release = package.releases.iter().find(|release| release.version == version).expect("a release");
    bundle.join(Product::Cran.object_path(release.object.sha256, &release.object.ext))
}

fn stored(server: &Server) -> Vec<String> {
    let folder = server.dir().join("data/cran");
    tree(&folder).into_keys().filter(|path| path.ends_with(".tar.gz") || path.len() > 64).collect()
}

#[test]
fn the_real_mirror_is_served_in_place_and_as_the_mirror_itself_would_be() {
    let dir = tempfile::tempdir().unwrap();
    let mirror = data::path("cran-mirror").canonicalize().unwrap();
    let bundle = dir.path().join("data");
    got_cran(&mirror_dir::file_url(&mirror), &bundle, &[]);
    let (from_bundle, from_mirror) = (server(&bundle), server(&mirror));
    from_bundle.wait_for_log(&format!(
        "Configured to serve CRAN/Bioconductor data from a directory. Checking path '{}'.",
        bundle.display()
    ));
    from_bundle.wait_for_log("The bundle has cran of ");
    let before = tree(&bundle);
    let told = from_bundle.sync().expect("a bundle");
    assert!(told.contains(&data::cran().added()), "{told}");
    from_mirror.sync().expect("a mirror");
    assert_eq!(index(&from_bundle, "latest"), index(&from_mirror, "latest"));
    let cran = data::cran();
    let archived = format!("Archive/R6/{}", cran.older("R6")[0]);
    for file in [cran.file("R6"), &archived, "Meta/archive.rds", "Meta/current.rds"] {
        let path = format!("/prod/latest/src/contrib/{file}");
        let (ours, theirs) = (from_bundle.get(&path), from_mirror.get(&path));
        assert_eq!((ours.status, ours.body == theirs.body), (200, true), "{file}");
    }
    assert_eq!(stored(&from_bundle), [""; 0], "there is no second copy");
    until("a mirror's file is stored", || !stored(&from_mirror).is_empty());
    let again = from_bundle.sync().expect("a bundle");
    assert!(again.contains("up to date"), "{again}");
    assert!(tree(&bundle) == before, "a server writes nothing into a bundle");
}

#[test]
fn ranges_and_conditions_are_answered_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let (_, bundle) = made(dir.path());
    let server = server(&bundle);
    server.sync().expect("a bundle");
    let url = server.url("/prod/latest/src/contrib/alpha_1.1.tar.gz");
    let ask = |name, value| crate::support::http::request("GET", &url, &[(name, value)], b"");
    let whole = ask("Accept", "*/*");
    let tag = whole.header("etag").expect("a digest is known from the beginning").to_owned();
    let part = ask("Range", "bytes=5-14");
    assert_eq!((part.status, part.body.as_slice()), (206, &whole.body[5..15]));
    assert_eq!(ask("If-None-Match", &tag).status, 304);
    assert_eq!(ask("Range", "bytes=99999999-").status, 416);
}

#[test]
fn history_comes_out_of_the_bundle_too() {
    let dir = tempfile::tempdir().unwrap();
    let (mut shelf, bundle) = made(dir.path());
    let server = server(&bundle);
    server.sync().expect("a bundle");
    let told = server.told("backfill --source=cran --since=2020-01-01");
    assert!(told.contains("2020-01-01"), "{told}");
    let days = |server: &Server| {
        ["2020-01-15", "2020-02-15", "2020-03-15"].map(|day| {
            let text = index(server, day);
            let lines =
                text.lines().filter(|line| line.starts_with("Package:") || line.starts_with("Version:"));
            lines.map(|line| line.split_once(' ').unwrap().1.to_owned()).collect::<Vec<_>>().join(" ")
        })
    };
    assert_eq!(days(&server), ["alpha 1.0", "alpha 1.0 beta 1.0", "alpha 1.1 beta 1.0"]);
    let old = server.get("/prod/2020-01-15/src/contrib/alpha_1.0.tar.gz");
    assert_eq!(old.status, 200);
    assert_eq!(stored(&server), [""; 0], "what was archived is served in place as well");
    let before = index(&server, "2020-03-15");
    // The mirror moves on; a later download is copied over the bundle while the server runs.
    shelf.simple("gamma", "1.0", "2020-04-01");
    shelf.simple("alpha", "1.2", "2020-04-02");
    shelf.write();
    let newer = dir.path().join("newer");
    copy_over_new(&bundle, &newer);
    got_cran(&shelf.url(), &newer, &[]);
    copy_over(&newer, &bundle);
    server.sync().expect("the new bundle");
    let now = index(&server, "latest");
    assert!(now.contains("Package: gamma") && now.contains("Version: 1.2"), "{now}");
    assert_eq!(index(&server, "2020-03-15"), before);
    assert_eq!(server.get("/prod/latest/src/contrib/gamma_1.0.tar.gz").status, 200);
}

fn copy_over_new(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    copy_over(from, to);
}

#[test]
fn a_half_copied_bundle_changes_nothing_until_it_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (mut shelf, bundle) = made(dir.path());
    let server = server(&bundle);
    server.sync().expect("a bundle");
    let before = index(&server, "latest");
    let newer = dir.path().join("newer");
    copy_over_new(&bundle, &newer);
    shelf.simple("gamma", "1.0", "2020-04-01");
    shelf.write();
    got_cran(&shelf.url(), &newer, &[]);
    // The head is there before the segment that it names.
    std::fs::copy(newer.join("v3/1/head.json"), bundle.join("v3/1/head.json")).unwrap();
    let told = server.sync().expect_err("half of it");
    assert!(told.contains("v3/1/log/") && told.contains("the copy is not complete yet"), "{told}");
    assert_eq!(index(&server, "latest"), before);
    copy_over(&newer, &bundle);
    server.sync().expect("all of it");
    assert!(index(&server, "latest").contains("Package: gamma"));
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_not_what_their_digest_says_are_never_served() {
    let dir = tempfile::tempdir().unwrap();
    let (_, bundle) = made(dir.path());
    let (flipped, missing) = (object(&bundle, "alpha", "1.1").await, object(&bundle, "beta", "1.0").await);
    let whole = std::fs::read(&flipped).unwrap();
    let server = server(&bundle);
    server.sync().expect("a bundle");
    let path = "/prod/latest/src/contrib/alpha_1.1.tar.gz";
    assert_eq!(server.get(path).status, 200);
    let mut bytes = whole.clone();
    bytes[20] ^= 1;
    std::fs::write(&flipped, &bytes).unwrap();
    let refused = server.get(path);
    assert_eq!(refused.status, 503, "it was compared before, and is another file now");
    assert!(!refused.body.windows(8).any(|window| window == &bytes[16..24]));
    server.wait_for_log("has the SHA-256");
    std::fs::write(&flipped, &whole).unwrap();
    assert!(server.get(path).body == whole, "mended without a restart");
    std::fs::remove_file(&missing).unwrap();
    let absent = server.get("/prod/latest/src/contrib/beta_1.0.tar.gz");
    assert_eq!(absent.status, 404);
    let told = absent.text();
    assert!(told.contains("beta_1.0.tar.gz is not in the bundle") && !told.contains("obj/"), "{told}");
    server.wait_for_log("is not in the bundle that packages are served from");
    // A link that leads out of the bundle is not followed.
    let secret = dir.path().join("secret");
    std::fs::write(&secret, &whole).unwrap();
    std::fs::remove_file(&flipped).unwrap();
    std::os::unix::fs::symlink(&secret, &flipped).unwrap();
    assert_ne!(server.get(path).status, 200);
    assert_eq!(objects(&bundle).len(), 2, "the server removes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_many_ask_for_is_looked_at_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (_, bundle) = made(dir.path());
    let file = object(&bundle, "alpha", "1.1").await;
    let server = server(&bundle);
    server.sync().expect("a bundle");
    let path = "/prod/latest/src/contrib/alpha_1.1.tar.gz";
    let whole = std::fs::read(&file).unwrap();
    let often = || (0..5).for_each(|_| assert!(server.get(path).body == whole));
    often();
    let part = crate::support::http::request("GET", &server.url(path), &[("Range", "bytes=5-14")], b"");
    assert_eq!((part.status, part.body.as_slice()), (206, &whole[5..15]));
    let mut flipped = whole.clone();
    flipped[20] ^= 1;
    std::fs::write(&file, &flipped).unwrap();
    until("another file is seen", || {
        let answer = server.get(path);
        assert!(answer.status == 503 || answer.body == whole, "{}", answer.status);
        answer.status == 503
    });
    std::fs::remove_file(&file).unwrap();
    until("none is seen", || server.get(path).status == 404);
    std::fs::write(&file, &whole).unwrap();
    often();
}

#[tokio::test(flavor = "multi_thread")]
async fn large_files_are_compared_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::new(dir.path().join("mirror"));
    let mut state = 1_u64;
    let mut letter = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b' ' + (state >> 58) as u8)
    };
    let noise: String = (0..3_000_000).map(&mut letter).collect();
    shelf.publish(&Tarball::new("alpha", "1.1").with("noise", &noise), "2020-01-01");
    shelf.write();
    let bundle = dir.path().join("bundle");
    got_cran(&shelf.url(), &bundle, &[]);
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
fn an_archived_package_that_the_bundle_has_with_other_bytes_now_is_served_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let shelf_of = |folder: &str, first_day: &str, text: &str| {
        let mut shelf = Shelf::new(dir.path().join(folder));
        let first = Tarball::new("alpha", "1.0").with("README.md", text);
        shelf.publish(&first, first_day);
        shelf.simple("alpha", "1.1", "2020-03-01");
        shelf.write();
        shelf
    };
    let upstream = Upstream::of(&shelf_of("mirror", "2020-01-01", "# one\n").root);
    let path = "src/contrib/Archive/alpha/alpha_1.0.tar.gz";
    let sound = upstream.bytes(path);
    let mut damaged = sound.clone();
    damaged[sound.len() / 2] ^= 1;
    upstream.put(path, damaged.clone());
    let bundle = dir.path().join("bundle");
    got_cran(&upstream.url(), &bundle, &[]);
    let mut server = server(&bundle);
    server.sync().expect("a bundle");
    let address = format!("/prod/latest/{path}");
    assert!(server.get(&address).body == damaged, "the index tells no checksum of it");
    // The mirror was repaired: the next run fetches the file again. Name, size and date are the same.
    upstream.put(path, sound.clone());
    got_cran(&upstream.url(), &bundle, &[]);
    server.sync().expect("the bundle of the repaired mirror");
    assert!(server.get(&address).body == sound);
    let again = server.sync().expect("the same bundle");
    assert!(again.contains("up to date"), "{again}");
    server.restart();
    assert!(server.get(&address).body == sound);
    // Of the same name and another size and date.
    for (path, bytes) in tree(&shelf_of("changed", "2020-01-05", "# one, and more of it\n").root) {
        upstream.put(&path, bytes);
    }
    let changed = upstream.bytes(path);
    assert_ne!(changed.len(), sound.len());
    got_cran(&upstream.url(), &bundle, &[]);
    server.sync().expect("the bundle of the changed mirror");
    assert!(server.get(&address).body == changed);
    let again = server.sync().expect("the same bundle");
    assert!(again.contains("up to date"), "{again}");
    let current = server.get("/prod/latest/src/contrib/alpha_1.1.tar.gz");
    assert_eq!((current.status, stored(&server)), (200, Vec::new()));
}

/// Where the mirrors of a server lie can be changed while it runs.
#[test]
fn a_directory_that_is_named_later_is_served_from_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (mut shelf, bundle) = made(dir.path());
    let server = server(&bundle);
    server.sync().expect("a bundle");
    let path = "/prod/latest/src/contrib/beta_1.0.tar.gz";
    assert_eq!(server.get(path).status, 200);
    shelf.simple("gamma", "1.0", "2020-04-01");
    shelf.write();
    let other = dir.path().join("other");
    got_cran(&shelf.url(), &other, &[]);
    std::fs::rename(&bundle, dir.path().join("gone")).unwrap();
    server.hup_applies(&format!("[CRAN]\nURL = {}", mirror_dir::file_url(&other)), &["CRAN.URL is"]);
    assert_eq!(server.get(path).status, 200);
    server.sync().expect("the other one");
    assert_eq!(server.get("/prod/latest/src/contrib/gamma_1.0.tar.gz").status, 200);
    assert_eq!(stored(&server), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_that_are_copied_into_it_are_seen_by_the_next_sync_of_the_schedule() {
    let dir = tempfile::tempdir().unwrap();
    let mirror = mirror_dir::file_url(&data::path("cran-mirror").canonicalize().unwrap());
    let bundle = dir.path().join("data");
    got_cran(&mirror, &bundle, &[]);
    let server = Syncing::new(crate::support::db::Engine::Sqlite, &mirror_dir::file_url(&bundle)).await;
    let told = server.sync().await.expect("a bundle");
    assert!(!told.contains("binaries were synced"), "{told}");
    let flags = ["--include-binaries", "--r-versions", "4.5", "--distributions", "windows"];
    got_cran(&mirror, &bundle, &flags);
    let (tree, seq) = server.head().expect("published");
    // Nobody asked by hand.
    server.sync.report_mismatch(PointTree { source: SourceId::CRAN, tree, seq });
    let ended = server.sync().await.expect("the same job");
    assert!(
        ended.contains("binaries were synced")
            && ended.contains(&format!(": {} new", data::cran().builds_with_source().len())),
        "{ended}"
    );
}

#[test]
fn data_of_another_schema_are_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("v2/1")).unwrap();
    let old = server(dir.path());
    let told = old.sync().expect_err("too old");
    assert!(
        told.contains("schema v2") && told.contains("v3") && told.contains("rspm-offline-downloader"),
        "{told}"
    );
}
