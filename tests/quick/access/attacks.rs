//! Malformed and forged credentials, and tokens that are revoked during a request.

use std::io::Write;
use std::net::TcpStream;

use super::{basic, bearer, get, private_repository, token};
use crate::support::http;
use crate::support::server::Server;
use crate::support::tarball::Tarball;

const INDEX: &str = "/team/latest/src/contrib/PACKAGES";

#[test]
fn malformed_credentials_are_refused_and_the_server_keeps_serving() {
    let server = Server::start();
    private_repository(&server, "team", "alpha");
    let secret = token(&server, "--scope=repos:read --repos=team");
    let mut forged_secret = secret.clone().into_bytes();
    forged_secret[20] = if forged_secret[20] == b'x' { b'y' } else { b'x' };
    let forged_secret = String::from_utf8(forged_secret).expect("ASCII");
    let bad_authorizations = [
        bearer(&forged_secret),
        bearer(&secret[..40]),
        bearer(&format!("{secret}0")),
        bearer(&secret.to_lowercase()),
        bearer(&format!("{secret} {secret}")),
        bearer(&format!("{secret},{secret}")),
        bearer(&"a".repeat(20_000)),
        bearer(""),
        "Bearer".to_owned(),
        "Basic".to_owned(),
        "Basic !!!".to_owned(),
        "Basic YWxpY2U=".to_owned(),
        "Digest username=\"a\"".to_owned(),
        secret.clone(),
        basic("__token__", &format!("{secret}\0")),
        basic("__token__", &format!("{secret}\n")),
        basic(&forged_secret, "wrong"),
        basic("__token__", "' OR 1=1 --"),
        "Basic //79OnNlY3JldA==".to_owned(),
    ];
    for path in [INDEX, "/", "/__api__/repos"] {
        for (number, authorization) in bad_authorizations.iter().enumerate() {
            let answer = get(&server, path, Some(authorization));
            assert_eq!(answer.status, 401, "{path}, case {number}");
            assert!(!answer.text().contains(&secret), "{path}, case {number}");
        }
    }
    let valid = bearer(&secret);
    let duplicate_fields = [("Authorization", valid.as_str()), ("Authorization", valid.as_str())];
    assert_eq!(http::request("GET", &server.url(INDEX), &duplicate_fields, b"").status, 400);
    let conflicting_fields = [("Authorization", valid.as_str()), ("authorization", "Basic x")];
    assert_eq!(http::request("GET", &server.url("/"), &conflicting_fields, b"").status, 400);
    // Control characters and invalid UTF-8 in the field itself.
    for value in [&b"Bearer \xff\xfe"[..], b"Bearer a\x01b", b"Bearer a\x00b"] {
        let mut raw = format!(
            "GET {INDEX} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nAuthorization: ",
            server.host()
        )
        .into_bytes();
        raw.extend_from_slice(value);
        raw.extend_from_slice(b"\r\n\r\n");
        let status = http::raw(server.host(), &raw).status;
        assert!([400, 401].contains(&status), "{status}");
    }
    assert_eq!(get(&server, INDEX, Some(&bearer(&secret))).status, 200);
}

#[test]
fn unknown_expired_and_revoked_tokens_get_the_same_response() {
    let server = Server::start();
    let (revoked_token, short_lived_token) = (
        token(&server, "--scope=repos:read --repos=*"),
        token(&server, "--scope=repos:read --repos=* --expires=1s"),
    );
    server.rspm_stdout(&format!("revoke token --token={revoked_token}"));
    crate::support::fixtures::until("it expires", || {
        get(&server, "/", Some(&bearer(&short_lived_token))).status == 401
    });
    let foreign_token = token(&Server::start(), "--scope=repos:read --repos=*");
    let texts: Vec<String> = [revoked_token, short_lived_token, foreign_token]
        .iter()
        .map(|token| get(&server, "/", Some(&bearer(token))).text())
        .collect();
    assert!(texts[0].contains("is not valid"), "{}", texts[0]);
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
}

#[test]
fn failures_of_an_address_are_limited_and_valid_tokens_are_not() {
    let server = Server::start();
    private_repository(&server, "team", "alpha");
    let good = bearer(&token(&server, "--scope=repos:read --repos=team"));
    let from = |address: &str, authorization: &str| {
        let headers = [("Authorization", authorization), ("X-Forwarded-For", address)];
        http::request("GET", &server.url(INDEX), &headers, b"")
    };
    let statuses: Vec<u16> =
        (0..60).map(|_| from("198.51.100.9, 203.0.113.5", "Bearer wrong").status).collect();
    assert_eq!(statuses[..20], [401; 20]);
    assert!(statuses[20..].contains(&429) && statuses.iter().all(|status| [401, 429].contains(status)));
    let limited = (0..60).map(|_| from("203.0.113.5", "Basic !!!")).find(|answer| answer.status == 429);
    let limited = limited.expect("the same client by its last address");
    let wait: u64 = limited.header("retry-after").expect("set").parse().expect("seconds");
    assert!((1..=3).contains(&wait), "{wait}");
    for _ in 0..30 {
        assert_eq!(from("203.0.113.5", &good).status, 200, "a valid token");
    }
    assert_eq!(from("203.0.113.6", "Bearer wrong").status, 401, "another client");
    // A network of IPv6 counts as one client.
    let statuses: Vec<u16> =
        (0..60).map(|n| from(&format!("2001:db8::{n:x}"), "Bearer wrong").status).collect();
    assert!(statuses.contains(&429), "{statuses:?}");
    assert_eq!(from("2001:db8:0:1::1", "Bearer wrong").status, 401);
    // Many addresses with one token.
    let revoked = token(&server, "--scope=repos:read --repos=*");
    server.rspm_stdout(&format!("revoke token --token={revoked}"));
    let revoked = bearer(&revoked);
    let statuses: Vec<u16> = (0..60).map(|n| from(&format!("198.51.100.{n}"), &revoked).status).collect();
    assert_eq!((statuses[0], statuses.contains(&429)), (401, true), "{statuses:?}");
    // Without X-Forwarded-For, the clients of a proxy cannot be distinguished, and are not limited.
    for _ in 0..60 {
        assert_eq!(get(&server, INDEX, Some("Bearer wrong")).status, 401);
    }
}

/// Sends the head of a request, and returns when the server reads its body: it has checked the permission before.
fn begin(server: &Server, request: &str, secret: &str, body: &str) -> TcpStream {
    let head = format!(
        "{request} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Expect: 100-continue\r\nAuthorization: {}\r\nConnection: close\r\n\r\n",
        server.host(),
        body.len(),
        bearer(secret)
    );
    http::begin(http::connect(server.host()), &head)
}

#[test]
fn a_request_whose_token_is_revoked_before_the_end_of_its_body_changes_nothing() {
    let server = Server::start();
    for (request, body) in [
        ("POST /__api__/admin/v1/sources", r#"{"name": "revoked-source", "type": "local"}"#),
        ("PUT /__api__/admin/v1/log/level", r#"{"level": "DEBUG"}"#),
    ] {
        let secret = token(&server, "--scope=global:admin");
        let mut stream = begin(&server, request, &secret, body);
        server.rspm_stdout(&format!("revoke token --token={secret}"));
        stream.write_all(body.as_bytes()).expect("sent");
        let answer = http::read(&mut stream, "POST");
        assert_eq!(answer.status, 401, "{request}: {}", answer.text());
    }
    assert!(!server.rspm_stdout("list sources").contains("revoked-source"), "nothing was created");
}

#[test]
fn a_source_that_gets_the_name_in_an_address_before_the_end_of_the_body_is_not_changed() {
    let server = Server::start();
    server.local_repository("team", &[Tarball::new("alpha", "1.0")]);
    let secret = token(&server, "--scope=sources:write --sources=team");
    let body = r#"{"name": "beta", "scope": "all"}"#;
    let mut stream = begin(&server, "POST /__api__/admin/v1/sources/team/packages/remove", &secret, body);
    server.rspm_stdout("edit source --name=team --new-name=crew");
    server.rspm_stdout("create source --name=team");
    server.add("team", &Tarball::new("beta", "1.0"));
    stream.write_all(body.as_bytes()).expect("sent");
    let answer = http::read(&mut stream, "POST");
    assert_eq!(answer.status, 403, "{}", answer.text());
    let packages = get(&server, "/__api__/sources/team/packages", None);
    assert!(packages.text().contains("beta"), "{}", packages.text());
}

#[test]
fn pages_of_other_sites_change_nothing() {
    let server = Server::start();
    let admin = bearer(&token(&server, "--scope=global:admin"));
    let create = |name: &str, fields: &[(&str, &str)]| {
        let mut all = vec![("Authorization", admin.as_str())];
        all.extend(fields);
        let body = format!("{{\"name\": \"{name}\"}}");
        http::request("POST", &server.url("/__api__/admin/v1/repos"), &all, body.as_bytes()).status
    };
    for (number, fields) in [
        &[("Sec-Fetch-Site", "cross-site")][..],
        &[("Sec-Fetch-Site", "same-site")],
        &[("Sec-Fetch-Site", "")],
        &[("Origin", "https://evil.example")],
        &[("Origin", "null")],
        &[("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.example")],
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(create("evil", fields), 403, "case {number}");
    }
    assert_eq!(create("typed", &[("Sec-Fetch-Site", "none")]), 201);
    assert_eq!(create("own", &[("Sec-Fetch-Site", "same-origin"), ("Origin", "http://localhost")]), 201);
    assert_eq!(create("program", &[]), 201);
    let repos = server.json("list repos");
    assert_eq!(repos.as_array().map(Vec::len), Some(3), "{repos}");
}
