//! Build logs: the server has none, and the answer names the origin of the binary.

use serde_json::{Value, json};

use super::add;
use crate::support::binary;
use crate::support::binary_server;
use crate::support::server::{Builder, Server};

/// Status, error code and message.
fn error_of(server: &Server, package: &str, query: &str) -> (u16, Value, String) {
    let answer = server.get(&format!("/__api__/repos/prod/packages/{package}/binaries/logs?{query}"));
    let error = answer.json();
    assert_eq!(error["payload"], Value::Null, "{error}");
    (answer.status, error["code"].clone(), error["error"].as_str().expect("a sentence").to_owned())
}

#[test]
fn the_answer_names_the_source_of_a_binary_or_reports_it_as_missing() {
    let server = Server::start();
    let [greeting, tally, _] = server.team_with_examples();
    add(&server, &[&greeting, &tally], "noble");
    let r = binary::r_version();
    let message = |package: &str, query: &str| {
        let (status, code, message) = error_of(&server, package, query);
        assert_eq!((status, &code), (404, &json!(4)), "{query}: {message}");
        message
    };
    let prefix = "this server does not build binaries, so it has no build logs: ";
    let added_message = message("tally", &format!("distribution=noble&r_version={r}"));
    let expected_start =
        format!("{prefix}the binary of tally 0.2.1 for {r}-noble was added to the source 'team' on ");
    assert!(
        added_message.starts_with(&expected_start) && added_message.ends_with("; its builder has the log"),
        "{added_message}"
    );
    assert_eq!(
        message("tally", &format!("distribution=noble&r_version={r}&arch=x86_64&version=0.2.1")),
        added_message
    );
    let arm64_query = format!("distribution=noble&r_version={r}&arch=aarch64");
    let missing_message = format!(
        "{prefix}there is no binary of tally 0.2.1 for {r}-noble-arm64, so clients get the source package"
    );
    assert_eq!(message("tally", &arm64_query), missing_message);
    assert!(
        message("greeting", &arm64_query).contains("the binary of greeting 1.0.0 for "),
        "one binary for every processor"
    );
    assert!(message("tally", &format!("distribution=jammy&r_version={r}")).contains("there is no binary of"));
    let query = format!("distribution=noble&r_version={r}");
    assert_eq!(message("nothing", &query), "Package 'nothing' not found");
    assert_eq!(message("tally", &format!("{query}&version=9.9")), "Package 'tally' not found");
    let answer = server.get(&format!("/__api__/repos/unknown/packages/tally/binaries/logs?{query}"));
    assert_eq!((answer.status, &answer.json()["code"]), (404, &json!(4)));

    for (query, word) in [
        ("distribution=noble&r_version=4.5.1", "r_version: '4.5.1' is not a minor version of R"),
        ("distribution=noble&r_version=4", "r_version: '4' is not a minor version of R"),
        ("distribution=noble", "the parameter r_version is missing"),
        ("r_version=4.5", "the parameter distribution is missing"),
        ("distribution=nobel&r_version=4.5", "there is no distribution 'nobel'; did you mean 'noble'?"),
        ("distribution=noble&r_version=4.5&arch=ppc64le", "noble has x86_64 and arm64, not 'ppc64le'"),
        ("distribution=jammy&r_version=4.5&arch=arm64", "jammy has x86_64, not 'arm64'"),
    ] {
        let (status, code, message) = error_of(&server, "tally", query);
        assert_eq!((status, code), (400, json!(1)), "{query}: {message}");
        assert!(message.contains(word), "{query}: {message}");
    }
}

#[test]
fn the_answer_does_not_reveal_the_address_of_another_binary_server() {
    let upstream = binary_server::start(&["alpha"]);
    let gcfg = format!("[CRAN]\nBinaryURL = {}", binary_server::url(&upstream));
    let server = Builder::default().gcfg(&gcfg).env("NO_PROXY", "*").start();
    binary_server::write_sources(&server.dir().join("no-mirror"), &["alpha"]);
    server.sync().expect("a valid mirror");
    server.repository("prod", "cran");
    let (status, _, message) = error_of(&server, "alpha", "distribution=noble&r_version=4.5");
    assert_eq!(status, 404);
    assert!(
        message.contains("for 4.5-noble was provided to the source 'cran' by another server on "),
        "{message}"
    );
    assert!(!message.contains("127.0.0.1") && !message.contains("http"), "{message}");
}
