//! Logs of builds: there are none here, and the answer says whose build it is.

use serde_json::{Value, json};

use super::add;
use crate::support::binary;
use crate::support::binary_server;
use crate::support::server::{Builder, Server};

/// Status, code, sentence.
fn told(server: &Server, package: &str, query: &str) -> (u16, Value, String) {
    let answer = server.get(&format!("/__api__/repos/prod/packages/{package}/binaries/logs?{query}"));
    let error = answer.json();
    assert_eq!(error["payload"], Value::Null, "{error}");
    (answer.status, error["code"].clone(), error["error"].as_str().expect("a sentence").to_owned())
}

#[test]
fn a_build_is_told_with_the_source_it_was_added_to_and_a_missing_one_as_missing() {
    let server = Server::start();
    let [greeting, tally, _] = server.team_with_examples();
    add(&server, &[&greeting, &tally], "noble");
    let r = binary::r_version();
    let said = |package: &str, query: &str| {
        let (status, code, said) = told(&server, package, query);
        assert_eq!((status, &code), (404, &json!(4)), "{query}: {said}");
        said
    };
    let none = "this server does not build binaries, so it has no build logs: ";
    let here = said("tally", &format!("distribution=noble&r_version={r}"));
    let begins = format!("{none}the binary of tally 0.2.1 for {r}-noble was added to the source 'team' on ");
    assert!(here.starts_with(&begins) && here.ends_with("; its builder has the log"), "{here}");
    assert_eq!(said("tally", &format!("distribution=noble&r_version={r}&arch=x86_64&version=0.2.1")), here);
    let arm = format!("distribution=noble&r_version={r}&arch=aarch64");
    let missing = format!(
        "{none}there is no binary of tally 0.2.1 for {r}-noble-arm64, so clients get the source package"
    );
    assert_eq!(said("tally", &arm), missing);
    assert!(said("greeting", &arm).contains("the binary of greeting 1.0.0 for "), "one for every processor");
    assert!(said("tally", &format!("distribution=jammy&r_version={r}")).contains("there is no binary of"));
    let query = format!("distribution=noble&r_version={r}");
    assert_eq!(said("nothing", &query), "Package 'nothing' not found");
    assert_eq!(said("tally", &format!("{query}&version=9.9")), "Package 'tally' not found");
    let nobody = server.get(&format!("/__api__/repos/nobody/packages/tally/binaries/logs?{query}"));
    assert_eq!((nobody.status, &nobody.json()["code"]), (404, &json!(4)));

    for (query, word) in [
        ("distribution=noble&r_version=4.5.1", "r_version: '4.5.1' is not a minor version of R"),
        ("distribution=noble&r_version=4", "r_version: '4' is not a minor version of R"),
        ("distribution=noble", "the parameter r_version is missing"),
        ("r_version=4.5", "the parameter distribution is missing"),
        ("distribution=nobel&r_version=4.5", "there is no distribution 'nobel'; did you mean 'noble'?"),
        ("distribution=noble&r_version=4.5&arch=ppc64le", "noble has x86_64 and arm64, not 'ppc64le'"),
        ("distribution=jammy&r_version=4.5&arch=arm64", "jammy has x86_64, not 'arm64'"),
    ] {
        let (status, code, said) = told(&server, "tally", query);
        assert_eq!((status, code), (400, json!(1)), "{query}: {said}");
        assert!(said.contains(word), "{query}: {said}");
    }
}

#[test]
fn of_a_build_of_another_server_no_address_is_told() {
    let upstream = binary_server::builds(&["alpha"]);
    let gcfg = format!("[CRAN]\nBinaryURL = {}", binary_server::url(&upstream));
    let server = Builder::default().gcfg(&gcfg).env("NO_PROXY", "*").start();
    binary_server::sources(&server.dir().join("no-mirror"), &["alpha"]);
    server.sync().expect("a good mirror");
    server.repository("prod", "cran");
    let (status, _, said) = told(&server, "alpha", "distribution=noble&r_version=4.5");
    assert_eq!(status, 404);
    assert!(said.contains("for 4.5-noble was provided to the source 'cran' by another server on "), "{said}");
    assert!(!said.contains("127.0.0.1") && !said.contains("http"), "{said}");
}
