//! Tokens of other issuers: the exchange for a token of this server, and trusted publishing of Python packages.

use std::net::TcpListener;

use serde_json::{Value, json};
use url::form_urlencoded::Serializer;

use super::{basic, bearer, get, private_repository, send};
use crate::support::cluster::Shared;
use crate::support::fixtures::until;
use crate::support::http::{self, Answer};
use crate::support::issuer::Issuer;
use crate::support::openid_provider::OpenIdProvider;
use crate::support::recording_server::RecordingServer;
use crate::support::server::{Builder, Server};

const SUBJECT: &str = "repo:org/name:ref:refs/heads/main";
const INDEX: &str = "/team/latest/src/contrib/PACKAGES";

/// Sections for CI jobs, which publish, and for pods, which read.
fn sections(issuer: &str) -> String {
    format!(
        "[IdentityFederation \"ci\"]\nIssuer = {issuer}\nAudience = packages\nSubject = repo:org/name:.*\n\
         Claim = \"event_name = push|release\"\nScope = sources:write:team\n\
         [IdentityFederation \"pods\"]\nIssuer = {issuer}\nAudience = cluster\nSubject = system:serviceaccount:ns:.*\n\
         Scope = repos:read:team\nTokenLifetime = 30m"
    )
}

fn builder(issuer: &str) -> Builder {
    Builder::default().env("PACKAGEMANAGER_ENCRYPTION_KEY", &"5a".repeat(512)).gcfg(&sections(issuer))
}

/// The claims of a job that may publish.
fn job(id: &str) -> Value {
    json!({"aud": "packages", "sub": SUBJECT, "event_name": "push", "jti": id})
}

fn mint(server: &Server, token: &str) -> Answer {
    let body = json!({"token": token}).to_string();
    http::request(
        "POST",
        &server.url("/_/oidc/mint-token"),
        &[("Content-Type", "application/json")],
        body.as_bytes(),
    )
}

fn exchange(server: &Server, token: &str) -> Answer {
    let body = format!(
        "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token={token}&\
         subject_token_type=urn:ietf:params:oauth:token-type:id_token"
    );
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    http::request("POST", &server.url("/__api__/token"), &form, body.as_bytes())
}

/// Status and text of an upload of no file: 401 and 403 show that the token has no right to publish.
fn upload(server: &Server, source: &str, authorization: &str) -> u16 {
    send(server, "POST", &format!("/upload/pypi/{source}/"), Some(authorization), "").status
}

#[test]
fn a_job_publishes_without_a_stored_password() {
    let issuer = Issuer::start();
    let server = builder(&issuer.url()).start();
    private_repository(&server, "team", "alpha");
    private_repository(&server, "other", "beta");
    // As uv and the action for GitHub do.
    let audience = server.get("/_/oidc/audience");
    assert_eq!((audience.status, audience.json()), (200, json!({"audience": "packages"})));
    // A proxy on this machine may have received the token unencrypted.
    let body = json!({"token": issuer.token(&job("1"))}).to_string();
    let forwarded = [("X-Forwarded-For", "203.0.113.5")];
    let refusal = http::request("POST", &server.url("/_/oidc/mint-token"), &forwarded, body.as_bytes());
    assert!(refusal.status == 400 && refusal.text().contains("unencrypted"), "{}", refusal.text());
    let mint_answer = mint(&server, &issuer.token(&job("1")));
    assert_eq!(mint_answer.status, 200, "{}", mint_answer.text());
    assert!(mint_answer.header("cache-control").is_some_and(|value| value.contains("no-store")));
    let mint_answer = mint_answer.json();
    assert_eq!(mint_answer["success"], true);
    let token = mint_answer["token"].as_str().expect("a token");
    assert_eq!(token.split('.').count(), 3);
    let lifetime = mint_answer["expires"].as_i64().expect("seconds") - jiff::Timestamp::now().as_second();
    assert!((600..=900).contains(&lifetime), "{lifetime}");
    let password = basic("__token__", token);
    assert!(![401, 403].contains(&upload(&server, "team", &password)));
    assert_eq!(upload(&server, "other", &password), 403);
    assert_eq!(get(&server, "/other/latest/src/contrib/PACKAGES", Some(&password)).status, 403);
    let row = server.json("audit list");
    let row = row.as_array().expect("rows").iter().find(|row| row["action"] == "exchange token");
    let row = row.expect("a row of the exchange").to_string();
    assert!(
        row.contains(SUBJECT) && row.contains("sources:write:team") && row.contains("(federation ci)"),
        "{row}"
    );
}

#[test]
fn a_pod_exchanges_one_token_many_times_for_tokens_that_read() {
    let issuer = Issuer::start();
    let server = builder(&issuer.url()).start();
    private_repository(&server, "team", "alpha");
    let pod = json!({"aud": ["cluster"], "sub": "system:serviceaccount:ns:main-connect", "jti": "1"});
    let token = issuer.token(&pod);
    for _ in 0..3 {
        let answer = exchange(&server, &token);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        assert_eq!(answer["issued_token_type"], "urn:ietf:params:oauth:token-type:access_token");
        assert_eq!((&answer["token_type"], &answer["expires_in"]), (&json!("Bearer"), &json!(1_800)));
        let access_token = answer["access_token"].as_str().expect("a token");
        assert_eq!(get(&server, INDEX, Some(&bearer(access_token))).status, 200);
        assert_eq!(get(&server, INDEX, Some(&basic("__token__", access_token))).status, 200);
        assert_eq!(upload(&server, "team", &bearer(access_token)), 403);
    }
    assert_eq!(mint(&server, &token).status, 422, "it may not publish");
}

#[test]
fn a_token_that_a_provider_signed_is_exchanged() {
    let provider = OpenIdProvider::mock();
    let server = Builder::default()
        .env("PACKAGEMANAGER_ENCRYPTION_KEY", &"5a".repeat(512))
        .gcfg(&format!(
            "[IdentityFederation \"jobs\"]\nIssuer = {}\nAudience = ci\nSubject = job-[0-9]+\nScope = repos:read:team",
            provider.issuer()
        ))
        .start();
    private_repository(&server, "team", "alpha");
    // The code flow of another application.
    let id_token = |client: &str, user: &str| {
        let redirect = "http://127.0.0.1:1/callback";
        let encode = |fields: &[(&str, &str)]| Serializer::new(String::new()).extend_pairs(fields).finish();
        let send = |path: &str, form: &[(&str, &str)]| {
            let authorization = basic(client, "secret");
            let fields = [
                ("Content-Type", "application/x-www-form-urlencoded"),
                ("Authorization", authorization.as_str()),
            ];
            let url = format!("{}/oauth2/{path}", provider.issuer());
            http::request("POST", &url, &fields, encode(form).as_bytes())
        };
        let request = [
            ("response_type", "code"),
            ("client_id", client),
            ("redirect_uri", redirect),
            ("scope", "openid"),
        ];
        let answer = send(&format!("authorize?{}", encode(&request)), &[("sub", user)]);
        let location = answer.header("location").expect("the callback").to_owned();
        let code = location.split_once("code=").expect("a code").1;
        let form = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", redirect)];
        send("token", &form).json()["id_token"].as_str().expect("a token").to_owned()
    };
    let answer = exchange(&server, &id_token("ci", "job-7"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let access_token = answer.json()["access_token"].as_str().expect("a token").to_owned();
    assert_eq!(get(&server, INDEX, Some(&bearer(&access_token))).status, 200);
    for (client, user) in [("web", "job-7"), ("ci", "ann")] {
        let refusal = exchange(&server, &id_token(client, user));
        assert_eq!(refusal.status, 400, "{client}, {user}: {}", refusal.text());
    }
}

#[test]
fn a_token_that_was_issued_before_a_revocation_is_not_exchanged_again() {
    let issuer = Issuer::start();
    let server = builder(&issuer.url()).start();
    private_repository(&server, "team", "alpha");
    let pod = |seconds: i64| {
        let issued_at = jiff::Timestamp::now().as_second() + seconds;
        issuer.token(&json!({"aud": "cluster", "sub": "system:serviceaccount:ns:a", "iat": issued_at}))
    };
    let old_token = pod(0);
    assert_eq!(exchange(&server, &old_token).status, 200);
    // The server does not know how many tokens it has signed for this user.
    assert_eq!(server.rspm("revoke token --user=system:serviceaccount:ns:a").code, 0);
    let refusal = exchange(&server, &old_token);
    assert!(refusal.status == 400 && refusal.text().contains("was revoked"), "{}", refusal.text());
    let other_user = json!({"aud": "cluster", "sub": "system:serviceaccount:ns:b"});
    assert_eq!(exchange(&server, &issuer.token(&other_user)).status, 200, "another user");
    // Within the accepted difference of the clocks.
    let answer = exchange(&server, &pod(5));
    assert_eq!(answer.status, 200, "a new token: {}", answer.text());
    let access_token = answer.json()["access_token"].as_str().expect("a token").to_owned();
    assert_eq!(get(&server, INDEX, Some(&bearer(&access_token))).status, 200);
}

#[test]
fn a_restored_database_accepts_no_token_that_was_signed_before() {
    let issuer = Issuer::start();
    let server = builder(&issuer.url()).start();
    private_repository(&server, "team", "alpha");
    let pod = issuer.token(&json!({"aud": "cluster", "sub": "system:serviceaccount:ns:a", "jti": "1"}));
    let access_token = |server: &Server| {
        let answer = exchange(server, &pod);
        assert_eq!(answer.status, 200, "{}", answer.text());
        bearer(answer.json()["access_token"].as_str().expect("a token"))
    };
    let old_token = access_token(&server);
    assert_eq!(get(&server, INDEX, Some(&old_token)).status, 200);
    let folder = server.dir().join("backups").display().to_string();
    server.rspm_stdout(&format!("backup create --to {folder}"));
    let mut restored = builder(&issuer.url()).prepare();
    restored.rspm_stdout(&format!("backup restore --from {folder}"));
    restored.launch();
    // The restored database assigns numbers of repositories again: the token could name another one.
    assert_eq!(get(&restored, INDEX, Some(&old_token)).status, 401);
    assert_eq!(get(&restored, INDEX, Some(&access_token(&restored))).status, 200);
}

#[test]
fn a_token_that_matches_no_section_or_is_not_valid_is_refused_with_the_reason() {
    let issuer = Issuer::start();
    let server = builder(&issuer.url()).start();
    private_repository(&server, "team", "alpha");
    let now = jiff::Timestamp::now().as_second();
    let token_with = |changes: Value| {
        let mut claims = job("1");
        for (name, value) in changes.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        issuer.token(&claims)
    };
    let url = issuer.url();
    let valid = token_with(json!({}));
    let (message, _) = valid.rsplit_once('.').expect("three parts");
    for (token, code, words) in [
        (token_with(json!({"aud": "pypi"})), "invalid-publisher", format!("issuer {url}, audience pypi")),
        (token_with(json!({"sub": "repo:org/name2:ref:refs/heads/main"})), "invalid-publisher", url.clone()),
        (token_with(json!({"event_name": "pull_request_target"})), "invalid-publisher", url.clone()),
        (
            token_with(json!({"iss": "https://issuer.invalid"})),
            "invalid-publisher",
            "https://issuer.invalid".to_owned(),
        ),
        (token_with(json!({"exp": now - 61})), "invalid-token", "expired".to_owned()),
        (
            token_with(json!({"iat": now + 86_400, "nbf": now + 86_400, "exp": now + 90_000})),
            "invalid-token",
            "clocks".to_owned(),
        ),
        (
            token_with(json!({"iat": now - 90_000, "nbf": now - 90_000, "exp": now - 86_400})),
            "invalid-token",
            "expired".to_owned(),
        ),
        (
            Issuer::start().token(&{
                let mut claims = job("1");
                claims["iss"] = json!(url);
                claims
            }),
            "invalid-token",
            "signature".to_owned(),
        ),
        (format!("{message}."), "invalid-token", "not valid".to_owned()),
        (String::new(), "invalid-token", "not valid".to_owned()),
        ("x".repeat(20_000), "invalid-token", "16 kB".to_owned()),
    ] {
        let answer = mint(&server, &token);
        assert_eq!(answer.status, 422, "{code} {words}: {}", answer.text());
        let error = &answer.json()["errors"][0];
        assert_eq!(error["code"], code, "{error}");
        assert!(error["description"].as_str().is_some_and(|text| text.contains(&words)), "{words}: {error}");
        assert!(!answer.text().contains("repo:org"), "no subject: {}", answer.text());
    }
    server.wait_for_log("event_name does not match Claim");
    for body in ["", "[]", "{}", "{\"token\": 5}"] {
        let answer = http::request("POST", &server.url("/_/oidc/mint-token"), &[], body.as_bytes());
        assert_eq!(
            (answer.status, &answer.json()["errors"][0]["code"]),
            (422, &json!("invalid-payload")),
            "{body}"
        );
    }
    let long = json!({"token": "x".repeat(1 << 20)}).to_string();
    assert_eq!(http::request("POST", &server.url("/_/oidc/mint-token"), &[], long.as_bytes()).status, 413);
    assert_eq!(mint(&server, &valid).status, 200, "the server is fine");
}

#[test]
fn a_server_without_sections_has_no_trusted_publishing() {
    let server = Server::start();
    assert_eq!(server.get("/_/oidc/audience").status, 404);
    assert_eq!(mint(&server, "a.b.c").status, 404);
    let get = http::request("GET", &server.url("/_/oidc/mint-token"), &[], b"");
    assert_eq!((get.status, get.header("allow")), (405, Some("POST")));
}

#[test]
fn a_token_that_may_publish_is_exchanged_once_on_all_servers() {
    let issuer = Issuer::start();
    let shared = Shared::new();
    let start = |name: &str| {
        let key = "5a".repeat(512);
        shared.builder(name).env("PACKAGEMANAGER_ENCRYPTION_KEY", &key).gcfg(&sections(&issuer.url())).start()
    };
    let (pm1, pm2) = (start("pm1"), start("pm2"));
    private_repository(&pm1, "team", "alpha");
    until("the other server has the repository", || get(&pm2, INDEX, None).status == 401);
    let token = issuer.token(&job("1"));
    let mint_answer = mint(&pm1, &token);
    assert_eq!(mint_answer.status, 200, "{}", mint_answer.text());
    for server in [&pm1, &pm2] {
        let answer = mint(server, &token);
        assert_eq!(
            (answer.status, &answer.json()["errors"][0]["code"]),
            (422, &json!("invalid-reuse-token"))
        );
    }
    let mint_answer = mint_answer.json();
    let password = basic("__token__", mint_answer["token"].as_str().expect("a token"));
    until("the token is valid there", || ![401, 403].contains(&upload(&pm2, "team", &password)));
    assert_eq!(mint(&pm2, &issuer.token(&job("2"))).status, 200, "another token of the job");
}

#[test]
fn an_issuer_that_cannot_be_used_is_a_temporary_failure() {
    let silent_listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let large_answer: &'static str = Box::leak("x".repeat(1 << 20).into_boxed_str());
    let issuers = [
        RecordingServer::with_answer(500, "").host(),
        RecordingServer::with_answer(200, large_answer).host(),
        RecordingServer::with_answer(200, "{\"issuer\": \"https://other\", \"jwks_uri\": \"https://other\"}")
            .host(),
        silent_listener.local_addr().expect("bound").to_string(),
    ];
    for host in issuers {
        let url = format!("http://{host}");
        let server = builder(&url).start();
        let token = Issuer::start().token(&json!({
            "iss": url, "aud": "packages", "sub": SUBJECT, "event_name": "push",
        }));
        let answer = mint(&server, &token);
        assert_eq!(answer.status, 503, "{host}: {}", answer.text());
        assert!(
            answer.header("retry-after").is_some() && !answer.text().contains(&host),
            "{}",
            answer.text()
        );
        server.wait_for_log(&format!("could not verify a federated token of {url}"));
        assert_eq!(server.get("/__ping__").status, 200);
    }
}

#[test]
fn tokens_with_unknown_keys_cause_few_requests_of_the_keys() {
    let mut issuer = Issuer::start();
    let server = builder(&issuer.url()).start();
    private_repository(&server, "team", "alpha");
    assert_eq!(mint(&server, &issuer.token(&job("1"))).status, 200);
    issuer.replace_key("second");
    for number in 0..10 {
        // Refused until the keys are a minute old.
        let status = mint(&server, &issuer.token(&job(&format!("again {number}")))).status;
        assert!([200, 422].contains(&status), "{status}");
    }
    assert!(issuer.key_requests() <= 3, "{}", issuer.key_requests());
}

#[test]
fn check_config_loads_the_keys_of_every_issuer() {
    let issuer = Issuer::start();
    let check = |url: &str| builder(url).start().rspm("check-config");
    let output = check(&issuer.url());
    assert!(output.out.contains("[PASS] Identity federation"), "{}{}", output.out, output.err);
    let unavailable_host = RecordingServer::with_answer(404, "").host();
    let output = check(&format!("http://{unavailable_host}"));
    assert_eq!(output.code, 1, "{}", output.out);
    assert!(
        output.out.contains("[FAIL] Identity federation") && output.out.contains(&unavailable_host),
        "{}",
        output.out
    );
}
