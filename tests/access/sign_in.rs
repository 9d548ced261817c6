//! Sign-in with real identity providers: browsers, devices, sessions and their end.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::Digest;

use super::{basic, bearer, get, private_repository, send, token};
use crate::support::browser::{Browser, Page};
use crate::support::fixtures::{free_port, until};
use crate::support::http::{self, Answer};
use crate::support::openid_provider::{OpenIdProvider, SECRET};
use crate::support::server::{Builder, Server};

/// A server with the authenticated repository `team`, which the group `team` may read.
fn server(issuer: &str, port: u16, lines: &str) -> Server {
    let server = Builder::default()
        .env("PACKAGEMANAGER_ENCRYPTION_KEY", &"5a".repeat(512))
        .gcfg(&format!(
            "[Server]\nAddress = http://127.0.0.1:{port}\n[HTTP]\nListen = 127.0.0.1:{port}\n[OpenIDConnect]\n\
             Issuer = {issuer}\nClientId = packages\n{lines}\n\
             [GroupToScopeMapping \"team\"]\nScope = repos:read:team"
        ))
        .start();
    private_repository(&server, "team", "alpha");
    server
}

fn with_mock() -> (OpenIdProvider, Server) {
    let provider = OpenIdProvider::mock();
    provider.set_user("ann", &json!({"groups": ["team"], "preferred_username": "ann"}));
    provider.set_user("bob", &json!({"groups": "sales, <b>hr</b>", "preferred_username": "bob"}));
    let server = server(&provider.issuer(), free_port(), "ClientSecret = secret");
    (provider, server)
}

/// Begins a sign-in and enters a name at the mock.
fn sign_in(browser: &Browser, server: &Server, name: &str, path: &str) -> Page {
    let page = browser.get(&server.url(path));
    assert!(page.url.contains("/oauth2/authorize?"), "{page:?}");
    browser.post(&page.url, &[("sub", name)], "same-origin")
}

fn index(server: &Server, browser: &Browser) -> u16 {
    browser.get(&server.url("/team/latest/src/contrib/PACKAGES")).status
}

#[test]
fn a_member_of_a_group_signs_in_reads_and_signs_out() {
    let (_provider, server) = with_mock();
    let browser = Browser::new();
    assert_eq!(index(&server, &browser), 401);
    let page = sign_in(&browser, &server, "ann", "/team/latest/");
    assert_eq!((page.status, page.url.as_str()), (200, server.url("/team/latest/").as_str()), "{page:?}");
    assert_eq!(index(&server, &browser), 200);
    let session = browser.cookie("ppm").expect("a session");
    // A page of another site cannot end the session.
    assert_eq!(browser.post(&server.url("/__logout__"), &[], "cross-site").status, 403);
    assert_eq!(index(&server, &browser), 200);
    browser.post(&server.url("/__logout__"), &[], "same-origin");
    assert_eq!(index(&server, &browser), 401);
    // The secret is no session any more.
    let cookie = format!("ppm={session}");
    let path = server.url("/team/latest/src/contrib/PACKAGES");
    assert_eq!(http::request("GET", &path, &[("Cookie", cookie.as_str())], b"").status, 401);
    let trail = server.json("audit list").to_string();
    assert!(trail.contains("sign in") && trail.contains("sign out"), "{trail}");
    assert!(!trail.contains(&session) && !server.log_lines().join("\n").contains(&session));
}

#[test]
fn a_user_without_a_scope_gets_a_page_that_names_the_groups() {
    let (_provider, server) = with_mock();
    let browser = Browser::new();
    let page = sign_in(&browser, &server, "bob", "/team/latest/");
    assert_eq!(page.status, 403, "{page:?}");
    assert!(page.text.contains("sales, &lt;b&gt;hr&lt;/b&gt;"), "{}", page.text);
    assert_eq!(browser.cookie("ppm"), None);
}

#[test]
fn a_callback_works_once_in_the_browser_that_began() {
    let (_provider, server) = with_mock();
    let (browser, other) = (Browser::new(), Browser::new());
    let begin = browser.get_one(&server.url("/__login__?return=//evil.example/"));
    assert_eq!(begin.status, 302);
    for part in
        ["response_type=code", "code_challenge_method=S256", "scope=openid+profile+email+groups", "nonce="]
    {
        assert!(begin.url.contains(part), "{part}: {}", begin.url);
    }
    let answer = http::request(
        "POST",
        &begin.url,
        &[("Content-Type", "application/x-www-form-urlencoded")],
        b"sub=ann",
    );
    let callback = answer.header("location").expect("the callback").to_owned();
    assert_eq!(other.get_one(&callback).status, 400, "another browser");
    let wrong_state = callback.replace("state=", "state=x");
    assert_eq!(browser.get_one(&wrong_state).status, 400);
    let page = browser.get_one(&callback);
    assert_eq!((page.status, page.url), (303, server.url("/")), "only to this server");
    assert_eq!(browser.get_one(&callback).status, 400, "used");
    let refused = browser.get_one(&server.url("/__login__"));
    let state = refused.url.split("state=").nth(1).and_then(|rest| rest.split('&').next()).expect("a state");
    let path =
        format!("/__login__/callback?error=access_denied&error_description=%3Cscript%3E&state={state}");
    let page = browser.get_one(&server.url(&path));
    assert!(page.status == 403 && page.text.contains("&lt;script&gt;"), "{page:?}");
}

#[test]
fn sign_in_is_unavailable_without_the_provider_and_everything_else_works() {
    let dead = format!("http://127.0.0.1:{}", free_port());
    let server = server(&dead, free_port(), "");
    let browser = Browser::new();
    let page = browser.get(&server.url("/__login__"));
    assert!(page.status == 503 && page.text.contains("cannot be reached"), "{page:?}");
    let token = token(&server, "--scope=repos:read --repos=team");
    assert_eq!(get(&server, "/team/latest/src/contrib/PACKAGES", Some(&bearer(&token))).status, 200);
    assert_eq!(form(&server, "/__api__/device", &[]).status, 503);
    let (verdict, findings) = server.check_result("Sign-in");
    assert!(findings.join(" ").contains(&dead), "{verdict}: {findings:?}");
}

#[test]
fn a_session_changes_nothing_for_pages_of_other_sites() {
    let provider = OpenIdProvider::mock();
    let server = server(&provider.issuer(), free_port(), "ClientSecret = secret\nScope = global:admin");
    let browser = Browser::new();
    sign_in(&browser, &server, "ann", "/team/latest/");
    let cookie = format!("ppm={}", browser.cookie("ppm").expect("a session"));
    let create = |headers: &[(&str, &str)]| {
        let headers: Vec<(&str, &str)> =
            [("Cookie", cookie.as_str())].into_iter().chain(headers.iter().copied()).collect();
        let body = br#"{"name": "made", "description": ""}"#;
        http::request("POST", &server.url("/__api__/admin/v1/repos"), &headers, body).status
    };
    let json = ("Content-Type", "application/json");
    assert_eq!(create(&[json]), 403);
    assert_eq!(create(&[json, ("Sec-Fetch-Site", "cross-site")]), 403);
    assert_eq!(create(&[json, ("Origin", "http://evil.example")]), 403);
    assert_eq!(create(&[("Content-Type", "text/plain"), ("Sec-Fetch-Site", "same-origin")]), 403);
    assert_eq!(create(&[json, ("Sec-Fetch-Site", "same-origin")]), 201);
}

#[test]
fn an_administrator_ends_the_sessions_and_tokens_of_a_user() {
    let (_provider, server) = with_mock();
    let browser = Browser::new();
    sign_in(&browser, &server, "ann", "/team/latest/");
    let opaque = token(&server, "--scope=repos:read --repos=team --user=ann");
    let (device, verifier) = begin_device(&server);
    allow(&browser, &device);
    let signed = access_token(&server, &device, &verifier);
    let path = "/team/latest/src/contrib/PACKAGES";
    assert_eq!(get(&server, path, Some(&bearer(&signed))).status, 200);
    let output = server.rspm("revoke token --user=ann");
    assert_eq!(output.code, 0, "{}", output.err);
    for secret in [&opaque, &signed] {
        assert_eq!(get(&server, path, Some(&bearer(secret))).status, 401);
        assert_eq!(get(&server, path, Some(&basic("__token__", secret))).status, 401);
    }
    assert_eq!(index(&server, &browser), 401);
    sign_in(&browser, &server, "ann", "/team/latest/");
    assert_eq!(index(&server, &browser), 200, "a new sign-in is not affected");
}

fn form(server: &Server, path: &str, fields: &[(&str, &str)]) -> Answer {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    http::request("POST", &server.url(path), &form, body.as_bytes())
}

/// Begins the sign-in of a device as pak does; returns the response and the verifier.
fn begin_device(server: &Server) -> (Value, String) {
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned();
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(verifier.as_bytes()));
    let fields = [("code_challenge", challenge.as_str()), ("code_challenge_method", "S256")];
    let answer = form(server, "/__api__/device", &fields);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("application/json")));
    (answer.json(), verifier)
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name}"))
}

fn poll(server: &Server, device: &Value, verifier: &str) -> Answer {
    let fields = [("device_code", text(device, "device_code")), ("code_verifier", verifier)];
    form(server, "/__api__/device_access", &fields)
}

/// Allows a device on the page of this server.
fn allow(browser: &Browser, device: &Value) {
    let page = browser.get(text(device, "verification_uri_complete"));
    assert!(page.text.contains(text(device, "user_code")), "{page:?}");
    let page = browser.submit(&page, &[("decision", "allow")]);
    assert!(page.text.contains("is signed in"), "{page:?}");
}

/// Polls until the sign-in is allowed, and exchanges the id token as pak does.
fn access_token(server: &Server, device: &Value, verifier: &str) -> String {
    let mut id_token = String::new();
    until("the device is signed in", || {
        let answer = poll(server, device, verifier);
        match answer.status {
            200 => id_token = text(&answer.json(), "id_token").to_owned(),
            400 => {
                let json = answer.json();
                assert!(["authorization_pending", "slow_down"].contains(&text(&json, "error")), "{json}");
            }
            status => panic!("{status}: {}", answer.text()),
        }
        !id_token.is_empty()
    });
    let answer = exchange(server, &id_token);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let json = answer.json();
    assert_eq!(text(&json, "issued_token_type"), "urn:ietf:params:oauth:token-type:access_token");
    assert_eq!((text(&json, "token_type"), json["expires_in"].as_i64()), ("Bearer", Some(3_600)));
    text(&json, "access_token").to_owned()
}

fn exchange(server: &Server, id_token: &str) -> Answer {
    let fields = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", id_token),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
    ];
    form(server, "/__api__/token", &fields)
}

#[test]
fn a_device_signs_in_with_a_code_of_this_server() {
    let (_provider, server) = with_mock();
    let (device, verifier) = begin_device(&server);
    assert!(text(&device, "verification_uri").ends_with("/__login__/device"), "{device}");
    let answer = poll(&server, &device, &verifier);
    assert_eq!((answer.status, text(&answer.json(), "error")), (400, "authorization_pending"));
    let answer = poll(&server, &device, &verifier);
    assert_eq!((answer.status, text(&answer.json(), "error")), (400, "slow_down"));
    let answer = poll(&server, &device, "another verifier");
    assert_eq!((answer.status, text(&answer.json(), "error")), (400, "invalid_grant"));
    let browser = Browser::new();
    sign_in(&browser, &server, "ann", "/team/latest/");
    let page = browser.get(&server.url("/__login__/device?user_code=BBBB-BBBB"));
    assert!(page.text.contains("There is no sign-in with this code"), "{page:?}");
    // A page of another site cannot allow a device.
    let fields = [("user_code", text(&device, "user_code")), ("decision", "allow")];
    assert_eq!(browser.post(&server.url("/__login__/device"), &fields, "cross-site").status, 403);
    allow(&browser, &device);
    let answer = poll(&server, &device, &verifier);
    let id_token = text(&answer.json(), "id_token").to_owned();
    assert_eq!(text(&poll(&server, &device, &verifier).json(), "error"), "expired_token", "used");
    let path = "/team/latest/src/contrib/PACKAGES";
    assert_eq!(get(&server, path, Some(&bearer(&id_token))).status, 401, "no access token");
    let answer = exchange(&server, &id_token);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let access = text(&answer.json(), "access_token").to_owned();
    assert_eq!(text(&exchange(&server, &id_token).json(), "error"), "invalid_grant", "used");
    let claims: Vec<u8> =
        BASE64_URL_SAFE_NO_PAD.decode(access.split('.').nth(1).expect("claims")).expect("base64");
    let claims: Value = serde_json::from_slice(&claims).expect("JSON");
    assert_eq!((text(&claims, "aud"), text(&claims, "name")), ("packagemanager", "ann"));
    assert!(claims["exp"].is_i64() && claims["iat"].is_i64() && claims["sub"] == "ann", "{claims}");
    for credential in [bearer(&access), basic("__token__", &access)] {
        assert_eq!(get(&server, path, Some(&credential)).status, 200);
        assert_eq!(get(&server, "/", Some(&credential)).status, 200);
    }
    let changed = format!("{}AAAA", &access[..access.len() - 4]);
    assert_eq!(get(&server, "/", Some(&bearer(&changed))).status, 401);
    assert_eq!(send(&server, "POST", "/__api__/admin/v1/repos", Some(&bearer(&access)), "{}").status, 403);
    let log = server.log_lines().join("\n");
    assert!(!log.contains(&access) && !log.contains(&id_token));
}

#[test]
fn a_denied_device_gets_nothing() {
    let (_provider, server) = with_mock();
    let (device, verifier) = begin_device(&server);
    let browser = Browser::new();
    sign_in(&browser, &server, "ann", "/team/latest/");
    let page = browser.get(text(&device, "verification_uri_complete"));
    browser.submit(&page, &[("decision", "deny")]);
    let answer = poll(&server, &device, &verifier);
    assert_eq!((answer.status, text(&answer.json(), "error")), (400, "access_denied"));
    let plain = [("code_challenge", "x"), ("code_challenge_method", "plain")];
    assert_eq!(form(&server, "/__api__/device", &plain).status, 400);
    assert_eq!(form(&server, "/__api__/token", &[("grant_type", "password")]).status, 400);
    assert_eq!(text(&exchange(&server, "x.y.z").json(), "error"), "invalid_grant");
}

/// Fills in the forms of `oidc-provider` until it asks no more.
fn confirm(browser: &Browser, mut page: Page, issuer: &str) -> Page {
    for _ in 0..8 {
        if !page.url.starts_with(issuer) || !page.text.contains("<form") {
            break;
        }
        let fields: &[(&str, &str)] =
            if page.text.contains("name=\"login\"") { &[("login", "ann"), ("password", "any")] } else { &[] };
        page = browser.submit(&page, fields);
    }
    page
}

#[test]
fn browsers_and_devices_sign_in_with_a_certified_provider() {
    let port = free_port();
    let provider = OpenIdProvider::node(&format!("http://127.0.0.1:{port}/__login__/callback"));
    let issuer = provider.issuer();
    let server = server(&issuer, port, &format!("ClientSecret = \"{SECRET}\""));
    let (verdict, findings) = server.check_result("Sign-in");
    assert_eq!(verdict, "pass", "{findings:?}");
    let browser = Browser::new();
    let page = browser.get(&server.url("/team/latest/"));
    let page = confirm(&browser, page, &issuer);
    assert_eq!((page.status, page.url.as_str()), (200, server.url("/team/latest/").as_str()), "{page:?}");
    assert_eq!(index(&server, &browser), 200);
    let (device, verifier) = begin_device(&server);
    assert!(text(&device, "verification_uri").starts_with(&issuer), "{device}");
    let answer = poll(&server, &device, &verifier);
    assert_eq!((answer.status, text(&answer.json(), "error")), (400, "authorization_pending"));
    let page = browser.get(text(&device, "verification_uri_complete"));
    confirm(&browser, page, &issuer);
    let access = access_token(&server, &device, &verifier);
    assert_eq!(get(&server, "/team/latest/src/contrib/PACKAGES", Some(&bearer(&access))).status, 200);
}
