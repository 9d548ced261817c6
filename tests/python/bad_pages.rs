//! Pages of an index that are not those of the requested project, or whose files cannot be served.

use serde_json::json;

use crate::support::fixtures::until;
use crate::support::pypi::Pypi;
use crate::support::python::index::{get, names, start};

const OLD: &str = "2021-03-05T00:00:00Z";
const JSON: &str = "application/vnd.pypi.simple.v1+json";

/// The JSON of a page with one file, `odd-1.0.tar.gz`, with these hashes.
fn page(name: &str, version: &str, hashes: &serde_json::Value) -> Vec<u8> {
    let file =
        json!({ "filename": "odd-1.0.tar.gz", "url": "../../packages/odd-1.0.tar.gz", "hashes": hashes });
    json!({ "meta": { "api-version": version }, "name": name, "files": [file] }).to_string().into_bytes()
}

#[test]
fn a_page_that_cannot_be_used_is_refused_with_the_reason_in_the_log() {
    let sha256 = json!({ "sha256": "0a".repeat(32) });
    let cut = page("b1", "1.0", &sha256);
    let mut large = b"<!DOCTYPE html>".to_vec();
    large.resize((64 << 20) + 1, b' ');
    let cases: [(&'static str, Vec<u8>, &str); 10] = [
        (JSON, b"<!DOCTYPE html><a href='odd-1.0.tar.gz'>odd</a>".to_vec(), "but is HTML"),
        ("text/html", page("b1", "1.0", &sha256), "but is JSON"),
        ("image/png", Vec::new(), "is not that of a simple index"),
        (JSON, page("b3", "2.0", &sha256), "has version '2.0'"),
        (JSON, page("other", "1.0", &sha256), "the page is that of 'other'"),
        (JSON, cut[..cut.len() / 2].to_vec(), "not the JSON of a simple index"),
        (JSON, b"null".to_vec(), "not the JSON of a simple index"),
        ("text/html", b"<html>Sign in to continue</html>".to_vec(), "not that of a simple index"),
        (JSON, page("b8", "1.0", &json!({ "md5": "0a".repeat(16) })), "their digests could not be computed"),
        ("text/html", large, "the limit"),
    ];
    let pypi = Pypi::start();
    pypi.add("good", "good-1.0.tar.gz", b"good", OLD);
    for (number, (media_type, body, _)) in cases.iter().enumerate() {
        pypi.set_raw_page(&format!("b{number}"), media_type, body);
    }
    let server = start(&pypi, "");
    server.sync_of("pypi").expect("an index");
    for (number, (.., reason)) in cases.iter().enumerate() {
        let answer = get(&server, &format!("/py/latest/simple/b{number}/"));
        assert!(answer.status >= 500, "b{number}: {} {}", answer.status, answer.text());
        let project = format!("b{number}");
        until(&format!("the reason for {project} is logged: {reason}"), || {
            server.log_lines().iter().any(|line| {
                line.contains("could not read the page of a project")
                    && line.contains(&project)
                    && line.contains(*reason)
            })
        });
    }
    assert_eq!(names(&server, "latest", "good"), ["good-1.0.tar.gz"]);
}

/// `PyPI.URL` may be the address of an internal server.
#[test]
fn a_client_does_not_get_the_address_of_a_missing_page() {
    let pypi = Pypi::start();
    pypi.add("one", "one-1.0.tar.gz", b"one", OLD);
    pypi.remove_page("one", true);
    let server = start(&pypi, "");
    server.sync_of("pypi").expect("an index");
    let address = pypi.url();
    let (_, host) = address.split_once("://").expect("a URL");
    let answer = get(&server, "/py/latest/simple/one/");
    let text = answer.text();
    assert_eq!(answer.status, 404, "{text}");
    assert!(text.contains("the index lists the project 'one', but has no page of it"), "{text}");
    assert!(!text.contains(host), "{text}");
    let page = format!("{address}/simple/one/");
    until("the address is logged", || {
        let lines = server.log_lines();
        lines.iter().any(|line| line.contains("could not read the page of a project") && line.contains(&page))
    });
}

#[test]
fn an_invalid_name_is_left_out_of_the_list() {
    let pypi = Pypi::start();
    pypi.add("one", "one-1.0.tar.gz", b"one", OLD);
    // Cyrillic letters that look like Latin ones.
    pypi.add("оne", "one-9.0.tar.gz", b"other", OLD);
    let server = start(&pypi, "");
    let message = server.sync_of("pypi").expect("an index");
    assert!(message.contains("1 project, 1 added"), "{message}");
    assert_eq!(names(&server, "latest", "one"), ["one-1.0.tar.gz"]);
    until("the name is logged", || {
        server.log_lines().iter().any(|line| line.contains("the list contains names that are not valid"))
    });
}
