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
    let (first, second) = (node(), node());
    first.store("local", &Tarball::new("alpha", "1.0"));
    first.repository("r", "local");
    until("the second node has the repository and the package", || lists(&second, "alpha"));
    let file = "/r/latest/src/contrib/alpha_1.0.tar.gz";
    let (first_answer, second_answer) = (first.get(file), second.get(file));
    assert_eq!((first_answer.status, second_answer.status), (200, 200));
    assert!(
        first_answer.body == second_answer.body
            && first_answer.header("etag") == second_answer.header("etag")
    );
    let index = second.get(INDEX);
    let etag = index.header("etag").expect("an ETag").to_owned();
    assert_eq!(first.get(INDEX).header("etag"), Some(&*etag));

    // Several times in both directions: polling alone would take minutes.
    for round in 0..5 {
        let name = format!("p{round}");
        let (writer, reader) = if round % 2 == 0 { (&first, &second) } else { (&second, &first) };
        writer.store("local", &Tarball::new(&name, "1.0"));
        assert!(lists(writer, &name));
        until(&name, || lists(reader, &name));
    }
    assert_eq!(
        second.admin("PATCH", "/repos/r", &serde_json::json!({"description": "a description"})).status,
        200
    );
    until("a change without a transaction", || {
        first.get("/__api__/repos/r").json()["description"] == "a description"
    });

    // A node whose LISTEN connection is lost listens again and loads the changes it missed.
    postgres::server().end_listeners();
    first.store("local", &Tarball::new("last", "1.0"));
    until("a publish without a notification", || lists(&second, "last"));
}
