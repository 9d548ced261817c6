//! `rspm create|list|revoke token`: output, scopes, lifetimes and errors.

use super::{bearer, get, private_repository, send, token};
use crate::support::fixtures::until;
use crate::support::server::Server;

#[test]
fn a_token_is_shown_once_listed_and_revoked() {
    let server = Server::start();
    private_repository(&server, "team", "alpha");
    let index = "/team/latest/src/contrib/PACKAGES";
    let created = server
        .rspm("create token --scope=repos:read --repos=team --description=laptop~of~ann --user=ann@x.org");
    assert_eq!(created.code, 0, "{}", created.err);
    assert_eq!(
        created.err,
        "Generated an access token. Be sure to record this token immediately since you will not be able to retrieve it later.\n"
    );
    let secret = created.out.trim();
    assert_eq!(get(&server, index, Some(&bearer(secret))).status, 200);
    let listed = server.json("list tokens");
    let row = &listed[0];
    assert_eq!(row["user"], "ann@x.org");
    assert_eq!(row["description"], "laptop of ann");
    assert_eq!(row["scopes"], serde_json::json!([{ "scope": "repos:read", "objects": ["team"] }]));
    assert_eq!(
        (&row["expired"], row["revoked"].is_null(), row["expires"].is_null()),
        (&false.into(), true, true)
    );
    assert!(!listed.to_string().contains(secret), "the token is not listed");
    let guid = row["guid"].as_str().expect("a text").to_owned();
    let table = server.rspm_stdout("list tokens");
    assert!(table.contains(&guid) && table.contains("repos:read:team") && table.contains("valid"), "{table}");
    let revoked = server.rspm_stdout(&format!("revoke token --guid={guid}"));
    assert!(revoked.starts_with(&format!("Revoked token {guid}.")), "{revoked}");
    assert_eq!(get(&server, index, Some(&bearer(secret))).status, 401);
    assert_eq!(server.json("list tokens --revoked=no"), serde_json::json!([]));
    assert_eq!(server.json("list tokens --revoked=yes")[0]["guid"], guid);
    let revocation_time = server.json("list tokens")[0]["revoked"].clone();
    server.rspm_stdout(&format!("revoke token --guid={guid}"));
    assert_eq!(server.json("list tokens")[0]["revoked"], revocation_time, "the first revocation counts");
    let json = server.json("create token --scope=global:admin --description=x --expires=1d --quiet");
    assert!(
        json["token"].as_str().is_some_and(|token| token.starts_with("rspm_")),
        "the object has the token"
    );
    assert!(json["expires"].is_string() && json["guid"].is_string());
    server.rspm_stdout(&format!("revoke token --token={}", json["token"].as_str().expect("a text")));
    let admin = bearer(json["token"].as_str().expect("a text"));
    assert_eq!(get(&server, "/__api__/admin/v1/verify", Some(&admin)).status, 401);
}

#[test]
fn an_expired_token_is_refused_except_by_the_health_check() {
    let server = Server::start();
    let short = bearer(&token(&server, "--scope=repos:read --repos=* --expires=1s"));
    until("it expires", || get(&server, "/", Some(&short)).status == 401);
    for path in ["/", "/__api__/status", "/__api__/verify-auth", "/nothing/latest/src/contrib/PACKAGES"] {
        assert_eq!(get(&server, path, Some(&short)).status, 401, "{path}");
    }
    assert_eq!(get(&server, "/__ping__", Some(&short)).status, 200);
    assert_eq!(server.json("list tokens --expired=yes")[0]["expired"], true);
    assert_eq!(server.json("list tokens --expired=no"), serde_json::json!([]));
}

#[test]
fn tokens_refer_to_objects_by_number_not_by_name() {
    let server = Server::start();
    private_repository(&server, "team", "alpha");
    let reader = bearer(&token(&server, "--scope=repos:read --repos=team"));
    server.rspm_stdout("edit repo --name=team --new-name=crew");
    assert_eq!(get(&server, "/crew/latest/src/contrib/PACKAGES", Some(&reader)).status, 200);
    server.rspm_stdout("create repo --name=team --authenticated");
    assert_eq!(get(&server, "/team/latest/src/contrib/PACKAGES", Some(&reader)).status, 403);
    assert_eq!(server.json("list tokens")[0]["scopes"][0]["objects"][0], "crew");
    server.rspm_stdout("delete repo --name=crew");
    let objects = &server.json("list tokens")[0]["scopes"][0]["objects"][0];
    assert!(objects.as_str().is_some_and(|name| name.ends_with("(deleted)")), "{objects}");
}

#[test]
fn a_token_survives_a_restart() {
    let mut server = Server::start();
    private_repository(&server, "team", "alpha");
    let (reader, revoked) =
        (token(&server, "--scope=repos:read --repos=*"), token(&server, "--scope=repos:read --repos=*"));
    server.rspm_stdout(&format!("revoke token --token={revoked}"));
    server.restart();
    let index = "/team/latest/src/contrib/PACKAGES";
    assert_eq!(get(&server, index, Some(&bearer(&reader))).status, 200);
    assert_eq!(get(&server, index, Some(&bearer(&revoked))).status, 401);
}

#[test]
fn invalid_tokens_are_refused_with_the_remedy() {
    let server = Server::start();
    for (flags, words) in [
        ("--scope=repos:write --description=x", "the scopes are repos:read"),
        (
            "--scope=blocklist:admin --description=x",
            "this version has nothing that the scope blocklist:admin",
        ),
        ("--scope=repos:read --description=x", "--repos with names"),
        ("--scope=sources:write --description=x", "--sources with names"),
        ("--scope=repos:read --repos=nothing --description=x", "there is no repository 'nothing'"),
        (
            "--scope=repos:read --sources=cran --repos=* --description=x",
            "--sources belongs to the scope sources:write",
        ),
        ("--scope=global:admin --description=~", "needs a description"),
        ("--scope=global:admin --description=a\u{7}b", "without control characters"),
        ("--scope=global:admin --description=x --expires=9999999d", "before the year 10000"),
    ] {
        let refused = server.refused(&format!("create token {flags}"));
        assert!(refused.contains(words), "{flags}: {refused}");
    }
    let long = format!("create token --scope=global:admin --description={}", "é".repeat(501));
    assert!(server.refused(&long).contains("at most 500 characters"));
    assert!(server.refused("revoke token --guid=00").contains("there is no such token"));
    let mistyped = "rspm_000000000000000000000000000000000000";
    let refused = server.refused(&format!("revoke token --token={mistyped}"));
    assert!(refused.contains("there is no such token") && !refused.contains(mistyped), "{refused}");
    assert_eq!(server.json("list tokens"), serde_json::json!([]), "nothing was created");
}

#[test]
fn only_an_administrator_token_creates_tokens() {
    let server = Server::start();
    let writer = bearer(&token(&server, "--scope=sources:write --sources=*"));
    let body = r#"{"scopes": [{"scope": "global:admin"}], "description": "x"}"#;
    let refused = send(&server, "POST", "/__api__/admin/v1/tokens", Some(&writer), body);
    assert_eq!((refused.status, refused.json()["code"].as_i64()), (403, Some(12)));
    let admin = bearer(&token(&server, "--scope=global:admin --user=ops"));
    let created = send(&server, "POST", "/__api__/admin/v1/tokens", Some(&admin), body);
    assert_eq!(created.status, 201, "{}", created.text());
    let creator = server.json("list tokens")[2]["created_by"].as_str().expect("a text").to_owned();
    assert!(creator.starts_with("ops (token "), "{creator}");
}
