//! The protocol of the API: headers, codes, methods, bodies; its description; small endpoints.

use std::io::Write;

use serde_json::json;

use crate::support::http;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

fn server() -> Server {
    let server = Server::start();
    server.local_repository("team", &[Tarball::new("alpha", "1.0")]);
    server
}

#[test]
fn no_answer_of_the_api_is_cached() {
    let server = server();
    for path in
        ["/__api__/status", "/__api__/repos/team/packages", "/__api__/swagger/doc.json", "/__api__/nothing"]
    {
        let answer = server.get(path);
        assert_eq!(answer.header("cache-control"), Some("no-cache, no-store, must-revalidate"), "{path}");
        assert_eq!(
            (answer.header("pragma"), answer.header("expires")),
            (Some("no-cache"), Some("0")),
            "{path}"
        );
        assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"), "{path}");
        assert_eq!(
            (answer.header("etag"), answer.header("x-repository-type")),
            (None, Some("RSPM")),
            "{path}"
        );
    }
    let rows = http::request(
        "POST",
        &server.url("/__api__/filter/packages"),
        &[],
        br#"{"repo":"team","names":["alpha"]}"#,
    );
    assert_eq!(rows.header("cache-control"), Some("no-cache, no-store, must-revalidate"));
}

#[test]
fn each_address_accepts_only_its_methods() {
    let server = server();
    for (method, path, allowed) in [
        ("POST", "/__api__/repos", "GET, HEAD"),
        ("DELETE", "/__api__/repos/team/sysreqs", "GET, HEAD, POST"),
        ("GET", "/__api__/filter/packages", "POST"),
        ("PUT", "/__api__/url", "POST"),
    ] {
        let answer = http::request(method, &server.url(path), &[], b"{}");
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allowed)), "{method} {path}");
        assert_eq!(answer.json()["code"], 6, "{method} {path}");
    }
    assert_eq!(http::request("HEAD", &server.url("/__api__/alerts"), &[], b"").status, 200);
}

#[test]
fn a_token_of_another_server_is_not_valid() {
    let server = server();
    assert_eq!(server.get("/__api__/verify-auth").json(), json!({}));
    let request_with =
        |value| http::request("GET", &server.url("/__api__/verify-auth"), &[("Authorization", value)], b"");
    for value in ["Bearer eyJ", "Basic X190b2tlbl9fOng="] {
        let answer = request_with(value);
        assert_eq!((answer.status, &answer.json()["code"]), (401, &json!(9)), "{value}");
        let challenges: Vec<&str> = answer
            .headers
            .iter()
            .filter(|(name, _)| name == "www-authenticate")
            .map(|(_, value)| value.as_str())
            .collect();
        assert_eq!(
            challenges,
            [r#"Basic realm="rstudio-pm", charset="UTF-8""#, r#"Bearer realm="rstudio-pm""#]
        );
    }
    let read = http::request("GET", &server.url("/__api__/repos"), &[("Authorization", "Bearer eyJ")], b"");
    assert_eq!(read.status, 401, "clients probe any address to learn whether a token is valid");
}

#[test]
fn a_time_is_resolved_to_a_snapshot() {
    let server = Builder::default().gcfg("[Server]\nAddress = https://pm.example.org/rspm").start();
    server.local_repository("team", &[Tarball::new("alpha", "1.0")]);
    let day =
        server.get("/__api__/repos/team/transaction-dates").json()[1]["alias"].as_str().unwrap().to_owned();
    let resolve = |repo: &str, time: &str| {
        let body = json!({ "repo": repo, "snapshot": time }).to_string();
        http::request("POST", &server.url("/__api__/url"), &[], body.as_bytes())
    };
    let resolved = resolve("team", &format!("{day}T00:00:00Z")).json();
    assert_eq!(resolved, json!({ "upsi": day, "url": format!("https://pm.example.org/rspm/team/{day}") }));
    assert_eq!(server.get(&format!("/team/{day}/src/contrib/PACKAGES")).status, 200);
    for (repo, time, status) in [
        ("nobody", "2024-01-01T00:00:00Z", 404),
        ("team", "2001-01-01T00:00:00Z", 404),
        ("team", "soon", 400),
    ] {
        let answer = resolve(repo, time);
        assert_eq!(answer.status, status, "{repo} {time}: {}", answer.text());
        assert!(answer.json().get("upsi").is_none(), "scripts check whether the field exists");
    }
}

#[test]
fn the_api_has_a_description_as_json_and_as_a_page() {
    let server = server();
    let document = server.get("/__api__/swagger/doc.json").json();
    assert_eq!(document["servers"], serde_json::json!([{ "url": server.url("") }]));
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.")), "{document}");
    assert_eq!(document["info"]["version"], server.get("/__api__/status").json()["version"]);
    for path in ["/__api__/swagger/index.html", "/__api__/swagger/", "/__api__/swagger"] {
        let page = server.get(path);
        page.assert_page(path);
        for address in document["paths"].as_object().expect("addresses").keys() {
            assert!(page.text().contains(address.as_str()), "{address}");
        }
    }
    // Each address without a parameter in its path is answered.
    for (address, operations) in document["paths"].as_object().expect("addresses") {
        if operations.get("get").is_some() && !address.contains('{') {
            // The program is for clients with a token.
            let expected = if address == "/__api__/download" { 401 } else { 200 };
            assert_eq!(server.get(address).status, expected, "{address}");
        }
    }
}

#[test]
fn an_interrupted_or_oversized_body_does_not_block_the_server() {
    let server = server();
    let mut stream = http::connect(server.host());
    let head = "POST /__api__/filter/packages HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{\"repo\"";
    stream.write_all(head.as_bytes()).expect("sent");
    drop(stream);
    let mut chunked = http::connect(server.host());
    let head = "POST /__api__/repos/team/sysreqs?x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    chunked.write_all(head.as_bytes()).expect("sent");
    // More than the limit of a body, without a declared length.
    let piece = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    for _ in 0..20 {
        if chunked.write_all(piece.as_bytes()).is_err() {
            break;
        }
    }
    assert_eq!(http::read(&mut chunked, "POST").status, 413);
    assert_eq!(server.get("/__ping__").status, 200);
}

#[test]
fn the_address_of_a_repository_redirects_to_its_newest_state() {
    let server = Server::start();
    server.local_repository("team", &[Tarball::new("alpha", "1.0")]);
    for (path, to) in [("/team", "team/latest/"), ("/team/", "latest/"), ("//team//", "latest/")] {
        for method in ["GET", "HEAD"] {
            let answer = http::request(method, &server.url(path), &[], b"");
            assert_eq!((answer.status, answer.header("location")), (302, Some(to)), "{method} {path}");
        }
    }
    server.get("/team/latest/").assert_page("/team/latest/");
    assert_eq!(http::request("POST", &server.url("/team"), &[], b"").status, 405);
}

#[test]
fn answers_404_name_no_command_of_an_administrator() {
    let server = Server::start();
    server.local_repository("team", &[Tarball::new("alpha", "1.0")]);
    for path in [
        "/nothing",
        "/nothing/",
        "/assets/nothing",
        "/nothing/latest/web/packages/",
        "/team/latest/web/packages/beta/",
        "/nothing/latest/",
        "/nothing/latest/src/contrib/PACKAGES",
        "/team/latest/src/contrib/beta_1.0.tar.gz",
        "/team/latest/packages/3.20/bioc/src/contrib/PACKAGES",
        "/team/__linux__/hopeless/latest/src/contrib/PACKAGES",
        "/team/2001-01-01/src/contrib/PACKAGES",
        "/__api__/repos/nothing",
        "/__api__/repos/nothing/packages",
        "/__api__/repos/team/packages/beta",
        "/__api__/sources/nothing/packages",
        "/__api__/nothing",
    ] {
        let answer = server.get(path);
        assert!(answer.status == 404 && !answer.text().contains("rspm"), "{path}: {}", answer.text());
    }
    let message = server.refused("info --repo=nothing");
    assert!(message.contains("rspm list repos shows all"), "an administrator gets the command: {message}");
}
