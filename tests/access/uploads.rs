//! Uploads belong to the client that sent them, whichever server received them.

use super::{bearer, get, token};
use crate::support::cluster::Shared;
use crate::support::fixtures::until;
use crate::support::http::{self, Answer};
use crate::support::server::Server;
use crate::support::tarball::Tarball;

const PREFIX: &str = "/__api__/admin/v1";

/// A writer to the source `team`, as an `Authorization` field.
fn writer(server: &Server) -> String {
    bearer(&token(server, "--scope=sources:write --sources=team"))
}

/// Uploads a package; returns the number of the upload.
fn upload(server: &Server, authorization: &str, package: &Tarball) -> u64 {
    let path = format!("{PREFIX}/uploads?file={}&type=source", package.file());
    let headers = [("Authorization", authorization)];
    let answer = http::request("POST", &server.url(&path), &headers, &package.bytes());
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["id"].as_u64().expect("a number")
}

/// Adds uploads to the source `team`.
fn publish(server: &Server, authorization: &str, uploads: &[u64]) -> Answer {
    let body = serde_json::json!({ "uploads": uploads, "replace": false, "succeed_on_existing": false });
    let url = server.url(&format!("{PREFIX}/sources/team/packages"));
    http::request("POST", &url, &[("Authorization", authorization)], body.to_string().as_bytes())
}

fn is_listed(server: &Server, package: &str) -> bool {
    let answer = get(server, "/team/latest/src/contrib/PACKAGES", None);
    answer.text().contains(&format!("Package: {package}\n"))
}

/// Waits until a server accepts a token and has the repository of its source.
fn until_known(server: &Server, authorization: &str) {
    until("the token is known", || {
        get(server, &format!("{PREFIX}/verify"), Some(authorization)).status == 200
    });
    until("the repository is known", || get(server, "/team/latest/src/contrib/PACKAGES", None).status == 200);
}

fn repository(server: &Server) {
    server.rspm_stdout("create repo --name=team");
    server.rspm_stdout("create source --name=team");
    server.rspm_stdout("subscribe --repo=team --source=team");
}

#[test]
fn a_package_is_uploaded_to_one_server_and_published_by_another() {
    let shared = Shared::new();
    let (mut pm1, pm2) = (shared.start("pm1"), shared.start("pm2"));
    repository(&pm1);
    let ann = writer(&pm1);
    until_known(&pm2, &ann);
    let id = upload(&pm1, &ann, &Tarball::new("alpha", "1.0").with("README.md", "# Alpha"));
    // The server that received it crashes; the upload is in the database.
    pm1.kill();
    let answer = publish(&pm2, &ann, &[id]);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(is_listed(&pm2, "alpha"));
    // Only once, on every server.
    pm1.launch();
    for server in [&pm2, &pm1] {
        let answer = publish(server, &ann, &[id]);
        assert_eq!(answer.status, 404, "{}", answer.text());
    }
    let file = get(&pm1, "/team/latest/src/contrib/alpha_1.0.tar.gz", None);
    assert_eq!(file.status, 200, "{}", file.text());
}

#[test]
fn two_servers_that_publish_one_upload_at_a_time_publish_it_once() {
    let shared = Shared::new();
    let (pm1, pm2) = (shared.start("pm1"), shared.start("pm2"));
    repository(&pm1);
    let ann = writer(&pm1);
    until_known(&pm2, &ann);
    let ann = ann.as_str();
    for round in 0..5 {
        let id = upload(&pm1, ann, &Tarball::new("alpha", &format!("1.{round}")));
        let statuses = std::thread::scope(|scope| {
            let threads = [&pm1, &pm2].map(|server| scope.spawn(move || publish(server, ann, &[id]).status));
            let mut statuses = threads.map(|thread| thread.join().expect("no panic"));
            statuses.sort_unstable();
            statuses
        });
        // The second finds no upload: neither a conflict nor a second transaction.
        assert_eq!(statuses, [200, 404], "round {round}");
    }
}

#[test]
fn an_upload_of_another_client_does_not_exist() {
    let server = Server::start();
    repository(&server);
    let (ann, bob) = (writer(&server), writer(&server));
    let id = upload(&server, &ann, &Tarball::new("alpha", "1.0"));
    let (refused, unknown) = (publish(&server, &bob, &[id]), publish(&server, &bob, &[77]));
    assert_eq!((refused.status, unknown.status), (404, 404));
    assert_eq!(refused.text().replace(&id.to_string(), "77"), unknown.text(), "nothing is disclosed");
    let answer = publish(&server, &ann, &[id]);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(is_listed(&server, "alpha"));
    assert_eq!(publish(&server, &ann, &[id]).status, 404, "only once");
}

#[test]
fn an_upload_survives_a_restart_of_a_single_server() {
    let mut server = Server::start();
    repository(&server);
    let ann = writer(&server);
    // A large package is durable when the client gets its answer.
    let package = Tarball::new("alpha", "1.0").with("inst/noise", &noise(2 << 20));
    let id = upload(&server, &ann, &package);
    server.kill();
    server.launch();
    let answer = publish(&server, &ann, &[id]);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(is_listed(&server, "alpha"));
}

/// Text of this length that cannot be compressed to less than half of it.
fn noise(length: usize) -> String {
    let mut state = 1_u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'!' + u8::try_from(state >> 58).expect("6 bits"))
    };
    (0..length).map(next).collect()
}

#[test]
fn a_refused_publish_leaves_the_upload_for_another_attempt() {
    let server = Server::start();
    repository(&server);
    let ann = writer(&server);
    let first = upload(&server, &ann, &Tarball::new("alpha", "1.0"));
    let second = upload(&server, &ann, &Tarball::new("alpha", "1.0").with("other", "bytes"));
    let beta = upload(&server, &ann, &Tarball::new("beta", "1.0"));
    assert_eq!(publish(&server, &ann, &[first]).status, 200);
    let answer = publish(&server, &ann, &[second, beta]);
    assert_eq!(answer.status, 409, "{}", answer.text());
    assert!(!is_listed(&server, "beta"), "all or nothing");
    let answer = publish(&server, &ann, &[beta]);
    assert_eq!(answer.status, 200, "{}", answer.text());
}
