//! The address that names one build: told with every build, and good for ever.

use sha2::Digest;

use super::{add, get};
use crate::support::binary;
use crate::support::http::{self, Answer};
use crate::support::server::Server;

fn agent() -> String {
    format!("R ({}.9 x86_64-pc-linux-gnu x86_64 linux-gnu)", binary::r_version())
}

/// The address a reference leads to from another.
fn resolve(from: &str, reference: &str) -> String {
    let mut folder: Vec<&str> = from.split('/').collect();
    folder.pop();
    let mut rest = reference;
    while let Some(up) = rest.strip_prefix("../") {
        folder.pop().expect("inside the server");
        rest = up;
    }
    format!("{}/{rest}", folder.join("/"))
}

/// The address of the very build that this one answers with.
fn named(server: &Server, path: &str) -> (String, Answer) {
    let answer = get(server, path, Some(&agent()));
    assert_eq!((answer.status, answer.header("x-package-type")), (200, Some("binary")), "{path}");
    let reference =
        answer.header("content-location").unwrap_or_else(|| panic!("{path}: {:?}", answer.headers));
    (resolve(path, reference), answer)
}

#[test]
fn every_build_tells_the_address_that_is_its_own() {
    let server = Server::start();
    let [greeting, tally, _] = server.team_with_examples();
    add(&server, &[&greeting, &tally], "noble");
    add(&server, &[&greeting], "macos");
    let r = binary::r_version();
    let folder = server.get("/__api__/status").json()["macos_urls"][&r]["arm64"]
        .as_str()
        .expect("a folder")
        .to_owned();
    for (path, platform) in [
        ("/prod/__linux__/noble/latest/src/contrib/tally_0.2.1.tar.gz".to_owned(), format!("{r}-noble")),
        (
            format!("/prod/latest/bin/linux/noble-x86_64/{r}/src/contrib/tally_0.2.1.tar.gz"),
            format!("{r}-noble"),
        ),
        (
            format!("/prod/latest/bin/macosx/{folder}/contrib/{r}/greeting_1.0.0.tgz"),
            format!("{r}-macos-arm64"),
        ),
    ] {
        let (address, answer) = named(&server, &path);
        let digest = hex::encode(sha2::Sha256::digest(&answer.body));
        assert!(
            address.ends_with(&format!(
                "/latest/builds/{platform}/{digest}/{}",
                path.rsplit('/').next().expect("a file")
            )),
            "{address}"
        );
        let own = get(&server, &address, Some("libcurl/8"));
        assert_eq!((own.status, own.body == answer.body), (200, true), "{address}");
        assert_eq!(own.header("cache-control"), Some("max-age=31536000, immutable"));
        assert_eq!(own.header("x-package-binary-tag"), Some(platform.as_str()));
        assert_eq!((own.header("vary"), own.header("content-location")), (None, None));
        assert_eq!(own.header("etag"), Some(format!("\"{digest}\"").as_str()));
        let etag = [("If-None-Match", own.header("etag").expect("told"))];
        assert_eq!(http::request("GET", &server.url(&address), &etag, b"").status, 304);
    }
    let source = get(&server, "/prod/__linux__/noble/latest/src/contrib/ledger_2.0-1.tar.gz", Some(&agent()));
    assert_eq!((source.header("x-package-type"), source.header("content-location")), (Some("source"), None));
}

#[test]
fn the_api_tells_every_build_of_a_package() {
    let server = Server::start();
    let [greeting, tally, _] = server.team_with_examples();
    add(&server, &[&greeting, &tally], "noble");
    let r = binary::r_version();
    let builds = server.get("/__api__/repos/prod/packages/tally/builds").json();
    assert_eq!(builds, server.json("list binaries --source=team --name=tally"));
    let build = &builds.as_array().expect("rows")[0];
    let told = |field: &str| build[field].as_str().unwrap_or_else(|| panic!("{field}: {build}")).to_owned();
    assert_eq!(
        (told("version"), told("platform"), told("arch")),
        ("0.2.1".into(), format!("{r}-noble"), "x86_64".into())
    );
    let answer = server.get(&format!("/prod/latest/{}", told("address")));
    assert_eq!(hex::encode(sha2::Sha256::digest(&answer.body)), told("sha256"));
    assert_eq!(build["size"].as_u64(), Some(answer.body.len() as u64));
    assert_eq!(server.get("/__api__/repos/prod/packages/ledger/builds").json(), serde_json::json!([]));
    assert_eq!(server.get("/__api__/repos/prod/packages/nothing/builds").status, 404);
}

#[test]
fn an_address_of_a_build_outlives_what_replaces_it_and_not_its_removal() {
    let server = Server::start();
    let [_, tally, _] = server.team_with_examples();
    add(&server, &[&tally], "noble");
    let r = binary::r_version();
    let path = "/prod/__linux__/noble/latest/src/contrib/tally_0.2.1.tar.gz";
    let (address, first) = named(&server, path);
    let other = server.dir().join("tally_0.2.1_R_x86_64-pc-linux-gnu.tar.gz");
    binary::repacked(&tally.binary, &other);
    server
        .told(&format!("add binary --source=team --path={} --distribution=noble --replace", other.display()));
    let before = server.json("info --source=team")["last_transaction"]["id"].to_string();
    let (newer, second) = named(&server, path);
    assert!(newer != address && second.body != first.body);
    assert!(get(&server, &address, None).body == first.body, "the one before at its own address");
    server.told(&format!("remove binary --source=team --name=tally --version=0.2.1 --platform={r}-noble"));
    for gone in [&address, &newer] {
        assert_eq!(get(&server, gone, None).status, 404, "{gone}");
    }
    let older = newer.replace("/latest/", &format!("/{before}/"));
    assert!(get(&server, &older, None).body == second.body, "the snapshot that had it keeps it");
}

#[test]
fn what_names_no_build_is_not_found() {
    let server = Server::start();
    let [greeting, tally, _] = server.team_with_examples();
    add(&server, &[&greeting, &tally], "noble");
    let r = binary::r_version();
    let (address, _) = named(&server, "/prod/__linux__/noble/latest/src/contrib/tally_0.2.1.tar.gz");
    let digest = address.split('/').rev().nth(1).expect("a digest").to_owned();
    for wrong in [
        address.replace(&digest, &"0".repeat(64)),
        address.replace(&digest, "0"),
        address.replace("tally_0.2.1", "greeting_1.0.0"),
        address.replace("tally_0.2.1.tar.gz", "tally_0.2.1.zip"),
        address.replace(&format!("{r}-noble"), &format!("{r}-noble-arm64")),
        address.replace(&format!("{r}-noble"), &format!("{r}-jammy")),
        address.replace("tally_0.2.1.tar.gz", "PACKAGES"),
        address.replace("/prod/", "/nothing/"),
    ] {
        assert_eq!(get(&server, &wrong, None).status, 404, "{wrong}");
    }
}
