//! Two servers on one PostgreSQL database: each serves what the other publishes.

use crate::support::db::{self, Engine};
use crate::support::fixtures::until;
use crate::support::postgres;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

const INDEX: &str = "/r/latest/src/contrib/PACKAGES";

fn lists(server: &Server, package: &str) -> bool {
    server.get(INDEX).text().contains(&format!("Package: {package}\n"))
}

#[test]
fn a_package_published_by_one_node_is_served_by_the_other_at_once() {
    let shared = tempfile::tempdir().expect("a directory");
    let gcfg = format!("{}[Server]\nDataDir = {}\n", db::settings(Engine::Postgres), shared.path().display());
    let node = || Builder::default().gcfg(&gcfg).start();
    let (one, other) = (node(), node());
    one.store("local", &Tarball::new("alpha", "1.0"));
    one.repository("r", "local");
    until("the other has repository and package", || lists(&other, "alpha"));
    let file = "/r/latest/src/contrib/alpha_1.0.tar.gz";
    let (answer, other_answer) = (one.get(file), other.get(file));
    assert_eq!((answer.status, other_answer.status), (200, 200));
    assert!(answer.body == other_answer.body && answer.header("etag") == other_answer.header("etag"));
    let index = other.get(INDEX);
    let etag = index.header("etag").expect("an ETag").to_owned();
    assert_eq!(one.get(INDEX).header("etag"), Some(&*etag));

    // Several times in both directions: polling alone would take minutes.
    for round in 0..5 {
        let name = format!("p{round}");
        let (writer, reader) = if round % 2 == 0 { (&one, &other) } else { (&other, &one) };
        writer.store("local", &Tarball::new(&name, "1.0"));
        assert!(lists(writer, &name));
        until(&name, || lists(reader, &name));
    }
    assert_eq!(
        other.admin("PATCH", "/repos/r", &serde_json::json!({"description": "a description"})).status,
        200
    );
    until("a change that is no transaction", || {
        one.get("/__api__/repos/r").json()["description"] == "a description"
    });

    // A node whose LISTEN connection is lost listens again and loads the changes it missed.
    postgres::server().end_listeners();
    one.store("local", &Tarball::new("last", "1.0"));
    until("a publish without a notification", || lists(&other, "last"));
}
