//! Answers that were resolved before a reload: what the configuration decides is decided again after it.

use crate::support::binary;
use crate::support::binary_server::{self, AGENT};
use crate::support::fixtures::until;
use crate::support::http::{self, Answer};
use crate::support::server::{Builder, Server};
use crate::support::upstream::{Fault, Upstream};

fn ask(server: &Server, path: &str) -> Answer {
    http::request("GET", &server.url(path), &[("User-Agent", AGENT)], b"")
}

#[test]
fn a_package_that_was_a_source_is_a_build_once_a_reload_names_a_server_that_has_it() {
    let server = Builder::default().env("NO_PROXY", "*").start();
    binary_server::sources(&server.dir().join("no-mirror"), &["good"]);
    server.sync().expect("a good mirror");
    server.repository("r", "cran");
    let path = "/r/__linux__/noble/latest/src/contrib/good_1.0.tar.gz";
    // What is in storage is remembered by its address.
    until("it is in storage", || ask(&server, path).header("etag").is_some_and(|tag| tag.len() == 66));
    for _ in 0..3 {
        assert_eq!(ask(&server, path).header("x-package-type"), Some("source"));
    }
    let upstream = Upstream::empty();
    let far = "__linux__/noble/latest/src/contrib/good_1.0.tar.gz?r_version=4.5&arch=x86_64";
    upstream.put(far, binary_server::build("good", "1.0").bytes());
    upstream.always(far, Fault::Also("X-Package-Type: binary\r\nX-Package-Binary-Tag: 4.5-noble"));
    let url = format!("{}/__linux__/noble/latest", upstream.url());
    server.hup_applies(&format!("[CRAN]\nBinaryURL = {url}"), &[&format!("CRAN.BinaryURL is '{url}' now")]);
    let after = ask(&server, path);
    assert_eq!(
        (after.header("x-package-type"), after.header("x-package-binary-tag")),
        (Some("binary"), Some("4.5-noble"))
    );
}

#[test]
fn an_index_is_that_of_the_folders_in_force() {
    let server = Server::start();
    let [greeting, ..] = server.team_with_examples();
    let path = greeting.binary.display();
    server.told(&format!("add binary --source=team --path={path} --distribution=macos"));
    let r = binary::r_version();
    let index = format!("/prod/latest/bin/macosx/other/contrib/{r}");
    for _ in 0..2 {
        assert_eq!(server.get(&format!("{index}/PACKAGES")).text(), "", "a folder of nobody");
        assert_eq!(server.get(&format!("{index}/greeting_1.0.0.tgz")).status, 404);
    }
    let said = server.hup(&format!("[MacOS \"{r}\"]\nArm64 = other"));
    assert!(said.iter().any(|line| line.contains("configuration reloaded; 1 applied")), "{said:#?}");
    assert_eq!(server.get(&format!("{index}/greeting_1.0.0.tgz")).status, 200);
    let listed = server.get(&format!("{index}/PACKAGES")).text();
    assert!(listed.starts_with("Package: greeting\n"), "index and files agree: {listed}");
}
