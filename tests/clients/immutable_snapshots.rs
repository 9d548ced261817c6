//! A snapshot never changes: after later transactions, a restart, a lost cache, and on a second server.
//! Snapshots of earlier days are tested in `tests/repo`, where the clock can be set.

use super::{add, curl, repository};
use crate::support::server::Server;
use crate::support::tarball::Tarball;

const INDEX_FILES: [&str; 5] =
    ["PACKAGES", "PACKAGES.gz", "PACKAGES.rds", "Meta/archive.rds", "Meta/current.rds"];

/// Bytes and ETag of each index file of a transaction's index.
fn index_files(server: &Server, transaction: i64) -> Vec<(Vec<u8>, String)> {
    let file = |file: &&str| {
        let response = curl(&[], &server.url(&format!("/prod/{transaction}/src/contrib/{file}")));
        assert_eq!(response.status, 200, "{}", response.text());
        let tag = response.header("etag").to_owned();
        (response.body, tag)
    };
    INDEX_FILES.iter().map(file).collect()
}

fn transaction(server: &Server) -> i64 {
    server.json("info --source=team")["last_transaction"]["id"].as_i64().expect("a number")
}

fn team() -> Server {
    let server = Server::start();
    server.rspm_stdout("create source --name=team");
    repository(&server, "prod", &["team"]);
    server
}

fn packages() -> Vec<Tarball> {
    vec![Tarball::new("alpha", "1.0"), Tarball::new("alpha", "1.1"), Tarball::new("Beta", "0.1-2")]
}

#[test]
fn a_transaction_is_the_same_after_ten_more_a_restart_and_a_lost_cache() {
    let mut server = team();
    add(&server, "team", &packages());
    let id = transaction(&server);
    let before = index_files(&server, id);
    let file = format!("/prod/{id}/src/contrib/alpha_1.1.tar.gz");
    let tarball = curl(&[], &server.url(&file));
    for number in 0..8 {
        add(&server, "team", &[Tarball::new("alpha", &format!("2.{number}"))]);
    }
    server.rspm_stdout("remove package --name=Beta@all --source=team");
    server.rspm_stdout("unsubscribe --repo=prod --source=team");
    assert!(index_files(&server, id) == before, "after ten transactions");
    server.restart();
    assert!(index_files(&server, id) == before, "after a restart");
    let tags: Vec<u16> = INDEX_FILES
        .iter()
        .zip(&before)
        .map(|(file, (_, tag))| {
            let header = format!("If-None-Match: {tag}");
            let url = server.url(&format!("/prod/{id}/src/contrib/{file}"));
            curl(&["--header", &header], &url).status
        })
        .collect();
    assert_eq!(tags, [304; 5]);
    server.stop();
    for class in ["cache", "persistent"] {
        let path = server.dir().join("data").join(class);
        if path.exists() {
            std::fs::remove_dir_all(path).expect("removed");
        }
    }
    server.launch();
    assert!(index_files(&server, id) == before, "after its stored indexes were deleted");
    let refetched = curl(&[], &server.url(&file));
    assert_eq!((refetched.body == tarball.body, refetched.header("etag")), (true, tarball.header("etag")));
}

#[test]
fn another_server_with_the_same_packages_gives_the_same_content_and_tags() {
    let one = team();
    add(&one, "team", &packages());
    let other = Server::start();
    // Different ids, and packages added one by one in another order.
    repository(&other, "first", &[]);
    for source in ["noise", "team"] {
        other.rspm_stdout(&format!("create source --name={source}"));
    }
    add(&other, "noise", &[Tarball::new("zzz", "1.0")]);
    let mut reversed = packages();
    reversed.reverse();
    for tarball in reversed {
        add(&other, "team", &[tarball]);
    }
    repository(&other, "prod", &["team"]);
    let latest = |server: &Server, file: &str| {
        let response = curl(&[], &server.url(&format!("/prod/latest/src/contrib/{file}")));
        let tag = response.header("etag").to_owned();
        (response.status, response.body, tag)
    };
    for file in ["PACKAGES", "PACKAGES.gz", "PACKAGES.rds"] {
        assert!(latest(&one, file) == latest(&other, file), "{file}");
    }
    for file in ["alpha_1.1.tar.gz", "Archive/alpha/alpha_1.0.tar.gz"] {
        let (one, other) = (latest(&one, file), latest(&other, file));
        assert!(one.0 == 200 && one == other, "{file}: {} {}", one.2, other.2);
    }
}
