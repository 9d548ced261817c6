//! Answers that were cached before a reload are resolved again if they depend on the configuration.

use crate::support::binary;
use crate::support::binary_server::{self, AGENT};
use crate::support::fixtures::until;
use crate::support::http::{self, Answer};
use crate::support::server::{Builder, Server};
use crate::support::upstream::{Fault, Upstream};

fn get_file(server: &Server, path: &str) -> Answer {
    http::request("GET", &server.url(path), &[("User-Agent", AGENT)], b"")
}

#[test]
fn a_source_package_becomes_a_binary_after_a_reload_that_adds_its_binary_server() {
    let server = Builder::default().env("NO_PROXY", "*").start();
    binary_server::write_sources(&server.dir().join("no-mirror"), &["good"]);
    server.sync().expect("a valid mirror");
    server.repository("r", "cran");
    let path = "/r/__linux__/noble/latest/src/contrib/good_1.0.tar.gz";
    // Files in storage are cached by their address.
    until("the package is in storage", || {
        get_file(&server, path).header("etag").is_some_and(|tag| tag.len() == 66)
    });
    for _ in 0..3 {
        assert_eq!(get_file(&server, path).header("x-package-type"), Some("source"));
    }
    let upstream = Upstream::empty();
    let remote = "__linux__/noble/latest/src/contrib/good_1.0.tar.gz?r_version=4.5&arch=x86_64";
    upstream.put(remote, binary_server::binary("good", "1.0").bytes());
    upstream.always(remote, Fault::ExtraHeader("X-Package-Type: binary\r\nX-Package-Binary-Tag: 4.5-noble"));
    let url = format!("{}/__linux__/noble/latest", upstream.url());
    server.hup_applies(&format!("[CRAN]\nBinaryURL = {url}"), &[&format!("CRAN.BinaryURL is '{url}' now")]);
    let answer = get_file(&server, path);
    assert_eq!(
        (answer.header("x-package-type"), answer.header("x-package-binary-tag")),
        (Some("binary"), Some("4.5-noble"))
    );
}

#[test]
fn an_index_follows_the_directories_of_the_configuration() {
    let server = Server::start();
    let [greeting, ..] = server.team_with_examples();
    let path = greeting.binary.display();
    server.rspm_stdout(&format!("add binary --source=team --path={path} --distribution=macos"));
    let r = binary::r_version();
    let index = format!("/prod/latest/bin/macosx/other/contrib/{r}");
    for _ in 0..2 {
        assert_eq!(server.get(&format!("{index}/PACKAGES")).text(), "", "an unknown directory");
        assert_eq!(server.get(&format!("{index}/greeting_1.0.0.tgz")).status, 404);
    }
    let output = server.hup(&format!("[MacOS \"{r}\"]\nArm64 = other"));
    assert!(output.iter().any(|line| line.contains("configuration reloaded; 1 applied")), "{output:#?}");
    assert_eq!(server.get(&format!("{index}/greeting_1.0.0.tgz")).status, 200);
    let packages = server.get(&format!("{index}/PACKAGES")).text();
    assert!(packages.starts_with("Package: greeting\n"), "index and files agree: {packages}");
}
