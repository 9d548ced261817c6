//! A snapshot is for ever: after later transactions, a restart, a lost cache, and on a second server.
//! Days that are over are asked of in `tests/repo`, where the clock can be moved.

use super::{add, curl, repository};
use crate::support::server::Server;
use crate::support::tarball::Tarball;

const FORMS: [&str; 5] = ["PACKAGES", "PACKAGES.gz", "PACKAGES.rds", "Meta/archive.rds", "Meta/current.rds"];

/// Bytes and tag of each form of a transaction's state.
fn forms(server: &Server, transaction: i64) -> Vec<(Vec<u8>, String)> {
    let form = |form: &&str| {
        let got = curl(&[], &server.url(&format!("/prod/{transaction}/src/contrib/{form}")));
        assert_eq!(got.status, 200, "{}", got.text());
        let tag = got.header("etag").to_owned();
        (got.body, tag)
    };
    FORMS.iter().map(form).collect()
}

fn transaction(server: &Server) -> i64 {
    server.json("info --source=team")["last_transaction"]["id"].as_i64().expect("a number")
}

fn team() -> Server {
    let server = Server::start();
    server.told("create source --name=team");
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
    let before = forms(&server, id);
    let file = format!("/prod/{id}/src/contrib/alpha_1.1.tar.gz");
    let tarball = curl(&[], &server.url(&file));
    for number in 0..8 {
        add(&server, "team", &[Tarball::new("alpha", &format!("2.{number}"))]);
    }
    server.told("remove package --name=Beta@all --source=team");
    server.told("unsubscribe --repo=prod --source=team");
    assert!(forms(&server, id) == before, "after ten transactions");
    server.restart();
    assert!(forms(&server, id) == before, "after a restart");
    let tags: Vec<u16> = FORMS
        .iter()
        .zip(&before)
        .map(|(form, (_, tag))| {
            let header = format!("If-None-Match: {tag}");
            let url = server.url(&format!("/prod/{id}/src/contrib/{form}"));
            curl(&["--header", &header], &url).status
        })
        .collect();
    assert_eq!(tags, [304; 5]);
    server.stop();
    for kept in ["cache", "persistent"] {
        let path = server.dir().join("data").join(kept);
        if path.exists() {
            std::fs::remove_dir_all(path).expect("removed");
        }
    }
    server.launch();
    assert!(forms(&server, id) == before, "after its stored indexes were deleted");
    let again = curl(&[], &server.url(&file));
    assert_eq!((again.body == tarball.body, again.header("etag")), (true, tarball.header("etag")));
}

#[test]
fn another_server_with_the_same_packages_gives_the_same_content_and_tags() {
    let one = team();
    add(&one, "team", &packages());
    let other = Server::start();
    // Other numbers for everything, packages one by one in another order.
    repository(&other, "first", &[]);
    for source in ["noise", "team"] {
        other.told(&format!("create source --name={source}"));
    }
    add(&other, "noise", &[Tarball::new("zzz", "1.0")]);
    let mut reversed = packages();
    reversed.reverse();
    for tarball in reversed {
        add(&other, "team", &[tarball]);
    }
    repository(&other, "prod", &["team"]);
    let latest = |server: &Server, form: &str| {
        let got = curl(&[], &server.url(&format!("/prod/latest/src/contrib/{form}")));
        let tag = got.header("etag").to_owned();
        (got.status, got.body, tag)
    };
    for form in ["PACKAGES", "PACKAGES.gz", "PACKAGES.rds"] {
        assert!(latest(&one, form) == latest(&other, form), "{form}");
    }
    for file in ["alpha_1.1.tar.gz", "Archive/alpha/alpha_1.0.tar.gz"] {
        let (one, other) = (latest(&one, file), latest(&other, file));
        assert!(one.0 == 200 && one == other, "{file}: {} {}", one.2, other.2);
    }
}
