//! Malformed and hostile credentials.

use super::{basic, bearer, get, private_repository, token};
use crate::support::http;
use crate::support::server::Server;

const INDEX: &str = "/team/latest/src/contrib/PACKAGES";

#[test]
fn malformed_credentials_are_refused_and_the_server_keeps_serving() {
    let server = Server::start();
    private_repository(&server, "team", "alpha");
    let good = token(&server, "--scope=repos:read --repos=team");
    let mut changed = good.clone().into_bytes();
    changed[20] = if changed[20] == b'x' { b'y' } else { b'x' };
    let changed = String::from_utf8(changed).expect("ASCII");
    let refused = [
        bearer(&changed),
        bearer(&good[..40]),
        bearer(&format!("{good}0")),
        bearer(&good.to_lowercase()),
        bearer(&format!("{good} {good}")),
        bearer(&format!("{good},{good}")),
        bearer(&"a".repeat(20_000)),
        bearer(""),
        "Bearer".to_owned(),
        "Basic".to_owned(),
        "Basic !!!".to_owned(),
        "Basic YWxpY2U=".to_owned(),
        "Digest username=\"a\"".to_owned(),
        good.clone(),
        basic("__token__", &format!("{good}\0")),
        basic("__token__", &format!("{good}\n")),
        basic(&changed, "wrong"),
        basic("__token__", "' OR 1=1 --"),
        "Basic //79OnNlY3JldA==".to_owned(),
    ];
    for path in [INDEX, "/", "/__api__/repos"] {
        for (number, authorization) in refused.iter().enumerate() {
            let answer = get(&server, path, Some(authorization));
            assert_eq!(answer.status, 401, "{path}, case {number}");
            assert!(!answer.text().contains(&good), "{path}, case {number}");
        }
    }
    let valid = bearer(&good);
    let twice = [("Authorization", valid.as_str()), ("Authorization", valid.as_str())];
    assert_eq!(http::request("GET", &server.url(INDEX), &twice, b"").status, 400);
    let mixed = [("Authorization", valid.as_str()), ("authorization", "Basic x")];
    assert_eq!(http::request("GET", &server.url("/"), &mixed, b"").status, 400);
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
    assert_eq!(get(&server, INDEX, Some(&bearer(&good))).status, 200);
}

#[test]
fn unknown_expired_and_revoked_tokens_get_the_same_response() {
    let server = Server::start();
    let (revoked, short) = (
        token(&server, "--scope=repos:read --repos=*"),
        token(&server, "--scope=repos:read --repos=* --expires=1s"),
    );
    server.rspm_stdout(&format!("revoke token --token={revoked}"));
    crate::support::fixtures::until("it expires", || get(&server, "/", Some(&bearer(&short))).status == 401);
    let other = token(&Server::start(), "--scope=repos:read --repos=*");
    let texts: Vec<String> =
        [revoked, short, other].iter().map(|token| get(&server, "/", Some(&bearer(token))).text()).collect();
    assert!(texts[0].contains("is not valid"), "{}", texts[0]);
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
}
