//! `rspm create|list|revoke token`: output, scopes, lifetimes, and refusals.

use rstudio_pm::access::Grant;
use rstudio_pm::auth::{self, NewToken, Tokens};
use rstudio_pm::model::time::{SECOND, Timestamp};

use super::{bearer, get, private_repository, send, token};
use crate::support::backend::Backend;
use crate::support::fixtures::until;
use crate::support::http;
use crate::support::server::Server;

#[test]
fn a_token_permits_backups_only_to_places_in_the_configuration() {
    let server = Server::start();
    let authorization = bearer(&token(&server, "--scope=global:admin"));
    let folder = server.dir().join("taken").display().to_string();
    for (path, body) in [
        ("backups", serde_json::json!({ "to": folder })),
        ("scrub", serde_json::json!({ "repair": true, "from": folder })),
    ] {
        let url = server.url(&format!("/__api__/admin/v1/{path}"));
        let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
        let answer = http::request("POST", &url, &headers, body.to_string().as_bytes());
        assert_eq!(answer.status, 400, "{path}: {}", answer.text());
        assert!(
            answer.text().contains("only the folders of Server.BackupPaths"),
            "{path}: {}",
            answer.text()
        );
    }
    assert!(!std::path::Path::new(&folder).exists());
    server.rspm_stdout(&format!("backup create --to {folder}"));
}

#[test]
fn a_token_is_shown_once_listed_and_revoked() {
    let server = Server::start();
    private_repository(&server, "team", "alpha");
    let index = "/team/latest/src/contrib/PACKAGES";
    let output = server
        .rspm("create token --scope=repos:read --repos=team --description=laptop~of~ann --user=ann@x.org");
    assert_eq!(output.code, 0, "{}", output.err);
    assert_eq!(
        output.err,
        "Generated an access token. Be sure to record this token immediately since you will not be able to retrieve it later.\n"
    );
    let secret = output.out.trim();
    assert_eq!(get(&server, index, Some(&bearer(secret))).status, 200);
    let rows = server.json("list tokens");
    let row = &rows[0];
    assert_eq!(row["user"], "ann@x.org");
    assert_eq!(row["description"], "laptop of ann");
    assert_eq!(row["scopes"], serde_json::json!([{ "scope": "repos:read", "objects": ["team"] }]));
    assert_eq!(
        (&row["expired"], row["revoked"].is_null(), row["expires"].is_null()),
        (&false.into(), true, true)
    );
    assert!(!rows.to_string().contains(secret), "the token is not listed");
    let guid = row["guid"].as_str().expect("a text").to_owned();
    let table = server.rspm_stdout("list tokens");
    assert!(table.contains(&guid) && table.contains("repos:read:team") && table.contains("valid"), "{table}");
    // The first and last characters of the token, which identify a leaked token.
    let excerpt = format!("{}…{}", &secret[..9], &secret[37..]);
    let lines = format!("- {guid}\n    Token: {excerpt}\n    User: ann@x.org\n    Scopes: repos:read:team\n");
    assert!(row["excerpt"] == excerpt.as_str() && table.starts_with(&lines), "{lines}: {row}{table}");
    let created = server.rspm_stdout("audit list --action=create~token -o json");
    assert!(created.contains("repos:read:#1; for ann@x.org; laptop of ann; expires: never"), "{created}");
    let message = server.rspm_stdout(&format!("revoke token --guid={guid}"));
    assert!(message.starts_with(&format!("Revoked token {guid}.")), "{message}");
    assert_eq!(get(&server, index, Some(&bearer(secret))).status, 401);
    assert_eq!(server.json("list tokens --revoked=no"), serde_json::json!([]));
    assert_eq!(server.rspm_stdout("list tokens --revoked=no"), "There is no such token.\n");
    assert_eq!(server.json("list tokens --revoked=yes")[0]["guid"], guid);
    let first_revocation = server.json("list tokens")[0]["revoked"].clone();
    server.rspm_stdout(&format!("revoke token --guid={guid}"));
    assert_eq!(server.json("list tokens")[0]["revoked"], first_revocation, "the first time stays");
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
    let expired_token = bearer(&token(&server, "--scope=repos:read --repos=* --expires=1s"));
    until("it expires", || get(&server, "/", Some(&expired_token)).status == 401);
    for path in ["/", "/__api__/status", "/__api__/verify-auth", "/nothing/latest/src/contrib/PACKAGES"] {
        assert_eq!(get(&server, path, Some(&expired_token)).status, 401, "{path}");
    }
    assert_eq!(get(&server, "/__ping__", Some(&expired_token)).status, 200);
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
fn invalid_properties_of_a_token_are_refused_with_the_remedy() {
    let server = Server::start();
    for (flags, words) in [
        ("--scope=repos:write --description=x", "use repos:read"),
        ("--scope=blocklist:write --description=x", "blocklist:read, blocklist:admin, metadata:admin"),
        (
            "--scope=blocklist:admin --repos=* --description=x",
            "--repos belongs to the scopes repos:read and repos:promote",
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
        let error = server.refused(&format!("create token {flags}"));
        assert!(error.contains(words), "{flags}: {error}");
    }
    let command = format!("create token --scope=global:admin --description={}", "é".repeat(501));
    assert!(server.refused(&command).contains("at most 500 characters"));
    assert!(server.refused("revoke token --guid=00").contains("there is no such token"));
    let unknown_token = "rspm_000000000000000000000000000000000000";
    let error = server.refused(&format!("revoke token --token={unknown_token}"));
    assert!(error.contains("there is no such token") && !error.contains(unknown_token), "{error}");
    assert_eq!(server.json("list tokens"), serde_json::json!([]), "nothing was created");
}

#[test]
fn only_an_administrator_token_creates_tokens() {
    let server = Server::start();
    let writer = bearer(&token(&server, "--scope=sources:write --sources=*"));
    let body = r#"{"scopes": [{"scope": "global:admin"}], "description": "x"}"#;
    let response = send(&server, "POST", "/__api__/admin/v1/tokens", Some(&writer), body);
    assert_eq!((response.status, response.json()["code"].as_i64()), (403, Some(12)));
    let admin = bearer(&token(&server, "--scope=global:admin --user=ops"));
    let response = send(&server, "POST", "/__api__/admin/v1/tokens", Some(&admin), body);
    assert_eq!(response.status, 201, "{}", response.text());
    // The answer to a client of a proxy on this machine, which may not have encrypted the request.
    let fields = [("Authorization", admin.as_str()), ("X-Forwarded-For", "203.0.113.5")];
    let url = server.url("/__api__/admin/v1/tokens");
    let refused = http::request("POST", &url, &fields, body.as_bytes());
    assert!(refused.status == 400 && refused.text().contains("use https"), "{}", refused.text());
    let creator = server.json("list tokens")[2]["created_by"].as_str().expect("a text").to_owned();
    assert!(creator.starts_with("ops (token "), "{creator}");
}

#[test]
fn the_log_names_a_token_without_a_user_by_its_identity() {
    let server = Server::start();
    let tokens = ["", "--user=ops"].map(|user| token(&server, &format!("--scope=global:admin {user}")));
    let rows = server.json("list tokens");
    for (at, token) in tokens.iter().enumerate() {
        let body = r#"{"scopes": [{"scope": "global:admin"}], "description": "x"}"#;
        let response = send(&server, "POST", "/__api__/admin/v1/tokens", Some(&bearer(token)), body);
        assert_eq!(response.status, 201, "{}", response.text());
        let guid = rows[at]["guid"].as_str().expect("a guid");
        server.wait_for_log(&match at {
            0 => format!("by=\"token {guid}\""),
            _ => format!("by=\"ops (token {guid})\""),
        });
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_revives_no_token() {
    let backend = Backend::new().await;
    backend.create_local_source("team").await;
    let tokens = Tokens::open(&backend.state.db, &backend.state.catalog, None).await.expect("the database");
    let now = (backend.state.clock)();
    let create = |expires_at: Option<Timestamp>| {
        let properties = NewToken {
            user: String::new(),
            description: "test".to_owned(),
            created_by: "test".to_owned(),
            grant: Grant::default(),
            expires_at,
        };
        auth::create(&backend.state, &tokens, properties)
    };
    let (short, _) = create(Some(Timestamp(now.0 + 3600 * SECOND))).await.expect("a token");
    let (permanent, _) = create(None).await.expect("a token");
    assert!(tokens.get(&short.digest(), now).is_some());
    backend.advance_to_noon("2024-03-02");
    assert!(tokens.get(&short.digest(), (backend.state.clock)()).is_none(), "expired");
    backend.add("team", "alpha", "1.0").await;
    assert!(tokens.get(&short.digest(), now).is_none(), "the clock is set back, after a publish");
    assert!(tokens.get(&permanent.digest(), now).is_some());
}

#[test]
fn a_revocation_by_user_says_what_it_ended() {
    let server = Server::start();
    private_repository(&server, "team", "alpha");
    let path = "/team/latest/src/contrib/PACKAGES";
    let secret = token(&server, "--scope=repos:read --repos=team --user=zed");
    token(&server, "--scope=repos:read --repos=team --user=zed --expires=1d");
    let misspelt = server.rspm("revoke token --user=ZED");
    assert_eq!(misspelt.code, 0);
    assert!(misspelt.out.contains("Revoked 0 tokens of ZED and ended 0 sessions"), "{}", misspelt.out);
    assert!(misspelt.err.contains("there are some of: zed"), "{}", misspelt.err);
    assert_eq!(get(&server, path, Some(&bearer(&secret))).status, 200);
    let unknown = server.rspm("revoke token --user=nosuchuser");
    assert!(unknown.err.contains("no token and no session of 'nosuchuser' was found"), "{}", unknown.err);
    token(&server, "--scope=repos:read --repos=team --user=Zed");
    let revoked = server.rspm("revoke token --user=zed");
    assert!(revoked.out.contains("Revoked 2 tokens of zed and ended 0 sessions"), "{}", revoked.out);
    assert!(revoked.err.contains("are still valid: Zed"), "{}", revoked.err);
    assert_eq!(get(&server, path, Some(&bearer(&secret))).status, 401);
    let json = server.json("revoke token --user=Zed");
    assert_eq!(
        (&json["tokens"], &json["sessions"], &json["revoked_user"]),
        (&1.into(), &0.into(), &"Zed".into())
    );
    assert_eq!(server.rspm("revoke token --user=Zed").err.lines().count(), 1, "revoked already: a warning");
    // The lists for the time before a restore have all revocations.
    let rows = server.json("audit list --action=revoke~all~tokens");
    assert_eq!(rows.as_array().expect("rows").len(), 5, "{rows}");
    assert!(rows.to_string().contains("2 tokens, 0 sessions"), "{rows}");
}

#[test]
fn users_with_invisible_characters_get_no_tokens() {
    let server = Server::start();
    for (name, code) in [("ann\u{200b}", "200B"), ("\u{202e}nna", "202E"), ("a\u{ad}nn", "00AD")] {
        let output = server.rspm(&format!("create token --scope=global:admin --description=x --user={name}"));
        assert_eq!(output.code, 1, "{code}: {output:?}");
        assert!(output.err.contains(&format!("the invisible character U+{code}")), "{}", output.err);
    }
    assert_eq!(server.rspm("create token --scope=global:admin --description=x --user=ren\u{e9}").code, 0);
}
