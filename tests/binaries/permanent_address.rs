//! The permanent address of one binary: sent with every binary, and immutable.

use sha2::Digest;

use super::{add, get};
use crate::support::binary;
use crate::support::http::{self, Answer};
use crate::support::server::Server;

fn agent() -> String {
    format!("R ({}.9 x86_64-pc-linux-gnu x86_64 linux-gnu)", binary::r_version())
}

/// Resolves a reference relative to an address.
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

/// The permanent address of the binary served at this path, and the answer.
fn permanent(server: &Server, path: &str) -> (String, Answer) {
    let answer = get(server, path, Some(&agent()));
    assert_eq!((answer.status, answer.header("x-package-type")), (200, Some("binary")), "{path}");
    let reference =
        answer.header("content-location").unwrap_or_else(|| panic!("{path}: {:?}", answer.headers));
    (resolve(path, reference), answer)
}

#[test]
fn every_binary_is_served_with_its_permanent_address() {
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
        let (address, answer) = permanent(&server, &path);
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
        let etag = [("If-None-Match", own.header("etag").expect("an ETag"))];
        assert_eq!(http::request("GET", &server.url(&address), &etag, b"").status, 304);
    }
    let source = get(&server, "/prod/__linux__/noble/latest/src/contrib/ledger_2.0-1.tar.gz", Some(&agent()));
    assert_eq!((source.header("x-package-type"), source.header("content-location")), (Some("source"), None));
}

#[test]
fn the_api_lists_every_binary_of_a_package() {
    let server = Server::start();
    let [greeting, tally, _] = server.team_with_examples();
    add(&server, &[&greeting, &tally], "noble");
    let r = binary::r_version();
    let binaries = server.get("/__api__/repos/prod/packages/tally/builds").json();
    assert_eq!(binaries, server.json("list binaries --source=team --name=tally"));
    let binary = &binaries.as_array().expect("rows")[0];
    let field = |name: &str| binary[name].as_str().unwrap_or_else(|| panic!("{name}: {binary}")).to_owned();
    assert_eq!(
        (field("version"), field("platform"), field("arch")),
        ("0.2.1".into(), format!("{r}-noble"), "x86_64".into())
    );
    let answer = server.get(&format!("/prod/latest/{}", field("address")));
    assert_eq!(hex::encode(sha2::Sha256::digest(&answer.body)), field("sha256"));
    assert_eq!(binary["size"].as_u64(), Some(answer.body.len() as u64));
    assert_eq!(server.get("/__api__/repos/prod/packages/ledger/builds").json(), serde_json::json!([]));
    assert_eq!(server.get("/__api__/repos/prod/packages/nothing/builds").status, 404);
}

#[test]
fn an_address_of_a_binary_survives_its_replacement_but_not_its_removal() {
    let server = Server::start();
    let [_, tally, _] = server.team_with_examples();
    add(&server, &[&tally], "noble");
    let r = binary::r_version();
    let path = "/prod/__linux__/noble/latest/src/contrib/tally_0.2.1.tar.gz";
    let (address, first) = permanent(&server, path);
    let other = server.dir().join("tally_0.2.1_R_x86_64-pc-linux-gnu.tar.gz");
    binary::repack(&tally.binary, &other);
    server.rspm_stdout(&format!(
        "add binary --source=team --path={} --distribution=noble --replace",
        other.display()
    ));
    let before = server.json("info --source=team")["last_transaction"]["id"].to_string();
    let (newer, second) = permanent(&server, path);
    assert!(newer != address && second.body != first.body);
    assert!(get(&server, &address, None).body == first.body, "the previous one at its own address");
    server.rspm_stdout(&format!(
        "remove binary --source=team --name=tally --version=0.2.1 --platform={r}-noble"
    ));
    for removed in [&address, &newer] {
        assert_eq!(get(&server, removed, None).status, 404, "{removed}");
    }
    let older = newer.replace("/latest/", &format!("/{before}/"));
    assert!(get(&server, &older, None).body == second.body, "the older snapshot retains it");
}

#[test]
fn an_address_without_a_binary_is_not_found() {
    let server = Server::start();
    let [greeting, tally, _] = server.team_with_examples();
    add(&server, &[&greeting, &tally], "noble");
    let r = binary::r_version();
    let (address, _) = permanent(&server, "/prod/__linux__/noble/latest/src/contrib/tally_0.2.1.tar.gz");
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
