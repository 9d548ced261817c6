//! Sign-in with real identity providers: browsers, devices, sessions and their end.

use std::net::TcpListener;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::Digest;

use super::{basic, bearer, get, private_repository, send, token};
use crate::support::browser::{Browser, Page};
use crate::support::fixtures::until;
use crate::support::http::{self, Answer};
use crate::support::openid_provider::{OpenIdProvider, SECRET};
use crate::support::port::free_port;
use crate::support::recording_server::RecordingServer;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

/// A server with the authenticated repository `team`, which the group `team` may read.
pub(super) fn server(issuer: &str, port: u16, lines: &str) -> Server {
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
    with_mock_at("127.0.0.1")
}

/// [`with_mock`], with another name of this machine as the host of the provider.
pub(super) fn with_mock_at(host: &str) -> (OpenIdProvider, Server) {
    let provider = OpenIdProvider::mock();
    provider.set_user("ann", &json!({"groups": ["team"], "preferred_username": "ann"}));
    provider.set_user("bob", &json!({"groups": "sales, <b>hr</b>", "preferred_username": "bob"}));
    let issuer = provider.issuer().replace("127.0.0.1", host);
    let server = server(&issuer, free_port(), "ClientSecret = secret");
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
    // The secret of the session is refused.
    let cookie = format!("ppm={session}");
    let path = server.url("/team/latest/src/contrib/PACKAGES");
    assert_eq!(http::request("GET", &path, &[("Cookie", cookie.as_str())], b"").status, 401);
    let trail = server.json("audit list").to_string();
    assert!(trail.contains("sign in") && trail.contains("sign out"), "{trail}");
    assert!(trail.contains("; identity ann; "), "not only a name, which a user may have chosen: {trail}");
    assert!(!trail.contains(&session) && !server.log_lines().join("\n").contains(&session));
}

#[test]
fn browsers_store_nothing_of_a_session() {
    const GIF: &[u8] =
        b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff\x21\xf9\x04\x01\x00\x00\x00\x00\
        \x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00\x3b";
    let (_provider, server) = with_mock();
    let mut drawn = Tarball::new("drawn", "1.0").with("README.md", "![dot](man/figures/dot.gif)\n");
    drawn.files.push(("man/figures/dot.gif".to_owned(), GIF.to_vec()));
    server.add("team", &drawn);
    let browser = Browser::new();
    sign_in(&browser, &server, "ann", "/team/latest/");
    let cookie = format!("ppm={}", browser.cookie("ppm").expect("a session"));
    let get = |path: &str, headers: &[(&str, &str)]| http::request("GET", &server.url(path), headers, b"");
    for (path, media_type) in [
        ("/", "text/html"),
        ("/team/latest/", "text/html"),
        ("/team/latest/web/packages/", "text/html"),
        ("/team/latest/web/packages/?format=csv", "text/csv"),
        ("/team/latest/web/packages/alpha/", "text/html"),
        ("/team/latest/web/packages/alpha/DESCRIPTION", "text/plain"),
        ("/team/latest/web/packages/drawn/files/man/figures/dot.gif", "image/gif"),
        ("/team/latest/web/changes.atom", "application/atom+xml"),
        ("/__docs__/", "text/html"),
    ] {
        let page = get(path, &[("Cookie", cookie.as_str())]);
        assert!(page.header("content-type").is_some_and(|value| value.starts_with(media_type)), "{page:?}");
        assert_eq!((page.status, page.header("cache-control")), (200, Some("private, no-store")), "{path}");
        let etag = page.header("etag").expect("an ETag");
        let again = get(path, &[("Cookie", cookie.as_str()), ("If-None-Match", etag)]);
        assert_eq!((again.status, again.header("cache-control")), (304, Some("private, no-store")), "{path}");
    }
    for (path, status) in [
        ("/team/latest/web/packages/nothing/", 404),
        ("/team/latest/web/packages/nothing/DESCRIPTION", 404),
        ("/team/yesterday/web/packages/", 404),
        ("/team/latest/web/nothing/", 404),
    ] {
        let error = get(path, &[("Cookie", cookie.as_str())]);
        assert_eq!(
            (error.status, error.header("cache-control")),
            (status, Some("private, no-store")),
            "{path}"
        );
    }
    let reader = bearer(&token(&server, "--scope=repos:read --repos=team"));
    for (path, authorization) in [
        ("/", None),
        ("/", Some(&*reader)),
        ("/team/latest/web/packages/", Some(&*reader)),
        ("/team/latest/web/packages/alpha/DESCRIPTION", Some(&*reader)),
    ] {
        let headers: Vec<(&str, &str)> =
            authorization.map(|value| ("Authorization", value)).into_iter().collect();
        let expected = if authorization.is_some() { "private, no-cache" } else { "no-cache" };
        assert_eq!(get(path, &headers).header("cache-control"), Some(expected), "{path}");
    }
}

#[test]
fn closed_pages_lead_to_the_sign_in_and_back() {
    let provider = OpenIdProvider::mock();
    let lines = "ClientSecret = secret\nScope = repos:read:team\n[Authentication]\nRequireAuthForUI = true";
    let server = server(&provider.issuer(), free_port(), lines);
    let browser = Browser::new();
    for path in ["/", "/team/latest/web/packages/", "/nothing/latest/"] {
        let page = browser.get_one(&server.url(path));
        assert_eq!(page.status, 302, "{page:?}");
        assert!(page.url.starts_with(&server.url("/__login__?return=%2F")), "{page:?}");
    }
    let page = sign_in(&browser, &server, "ann", "/?q=alpha");
    assert_eq!((page.status, page.url.as_str()), (200, server.url("/?q=alpha").as_str()), "{page:?}");
    assert!(page.text.contains("Sign out") && page.text.contains("alpha"), "{page:?}");
    assert_eq!(browser.get_one(&server.url("/nothing/latest/")).status, 404);
}

#[test]
fn a_user_without_a_scope_gets_a_page_that_names_the_groups() {
    let (_provider, server) = with_mock();
    let browser = Browser::new();
    let page = sign_in(&browser, &server, "bob", "/team/latest/");
    assert_eq!(page.status, 403, "{page:?}");
    assert!(page.text.contains("sales, &lt;b&gt;hr&lt;/b&gt;"), "{}", page.text);
    assert_eq!(browser.cookie("ppm"), None);
    let rows = server.json("audit list");
    let row = rows.as_array().expect("rows").iter().find(|row| row["action"] == "sign in").expect("a row");
    assert_eq!((&row["outcome"], &row["object"]), (&json!("refused"), &json!("bob")), "{row}");
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

/// RFC 9207: a browser that two providers have sent back must not mix up their codes.
#[test]
fn a_response_of_another_issuer_is_refused() {
    let (provider, server) = with_mock();
    for (issuer, is_accepted) in [("http://evil.example", false), (provider.issuer().as_str(), true)] {
        let browser = Browser::new();
        let begin = browser.get_one(&server.url("/__login__"));
        let form = [("Content-Type", "application/x-www-form-urlencoded")];
        let answer = http::request("POST", &begin.url, &form, b"sub=ann");
        let issuer: String = url::form_urlencoded::byte_serialize(issuer.as_bytes()).collect();
        let callback = format!("{}&iss={issuer}", answer.header("location").expect("the callback"));
        let page = browser.get_one(&callback);
        assert_eq!(
            (page.status == 303, browser.cookie("ppm").is_some()),
            (is_accepted, is_accepted),
            "{page:?}"
        );
    }
    server.wait_for_log("another issuer");
}

/// RFC 6749 section 3.1.
#[test]
fn a_response_with_a_repeated_parameter_is_refused() {
    let (_provider, server) = with_mock();
    for parameter in ["state", "code", "iss"] {
        let browser = Browser::new();
        let begin = browser.get_one(&server.url("/__login__"));
        let form = [("Content-Type", "application/x-www-form-urlencoded")];
        let answer = http::request("POST", &begin.url, &form, b"sub=ann");
        let callback = answer.header("location").expect("the callback").to_owned();
        let page = browser.get_one(&format!("{callback}&{parameter}=a&{parameter}=a"));
        assert!(page.status == 400 && page.text.contains("is repeated"), "{parameter}: {page:?}");
        assert_eq!(browser.cookie("ppm"), None);
        assert_eq!(browser.get_one(&callback).status, 303, "the response of the provider itself");
    }
}

#[test]
fn a_second_sign_in_of_a_browser_ends_the_first_session() {
    let (_provider, server) = with_mock();
    let browser = Browser::new();
    sign_in(&browser, &server, "ann", "/team/latest/");
    let first = format!("ppm={}", browser.cookie("ppm").expect("a session"));
    let path = server.url("/team/latest/src/contrib/PACKAGES");
    let status = |cookie: &str| http::request("GET", &path, &[("Cookie", cookie)], b"").status;
    assert_eq!(status(&first), 200);
    sign_in(&browser, &server, "ann", "/__login__");
    let second = format!("ppm={}", browser.cookie("ppm").expect("a session"));
    assert_ne!(first, second);
    assert_eq!((status(&first), status(&second)), (401, 200));
}

#[test]
fn one_signed_token_is_revoked_alone() {
    let (_provider, mut server) = with_mock();
    let browser = Browser::new();
    sign_in(&browser, &server, "ann", "/team/latest/");
    let signed: Vec<String> = (0..2)
        .map(|_| {
            let (device, verifier) = begin_device(&server);
            allow(&browser, &device);
            access_token(&server, &device, &verifier)
        })
        .collect();
    let path = "/team/latest/src/contrib/PACKAGES";
    let statuses = |server: &Server| {
        let status = |secret: &String| get(server, path, Some(&bearer(secret))).status;
        signed.iter().map(status).collect::<Vec<_>>()
    };
    assert_eq!(statuses(&server), [200, 200]);
    server.rspm_stdout(&format!("revoke token --token={}", signed[0]));
    assert_eq!(statuses(&server), [401, 200]);
    assert_eq!(index(&server, &browser), 200, "the session stays");
    assert_eq!(
        server.rspm(&format!("revoke token --token={}", signed[0])).code,
        1,
        "it is not valid any more"
    );
    server.restart();
    assert_eq!(statuses(&server), [401, 200], "after a restart");
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
fn a_provider_that_is_silent_or_sends_a_megabyte_makes_sign_in_unavailable() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let large: &'static str = Box::leak("x".repeat(1 << 20).into_boxed_str());
    let hosts = [
        (silent.local_addr().expect("bound").to_string(), "timed out"),
        (RecordingServer::with_answer(200, large).host(), "larger than 256 kB"),
    ];
    for (host, reason) in hosts {
        let server = server(&format!("http://{host}"), free_port(), "");
        let page = Browser::new().get(&server.url("/__login__"));
        assert!(page.status == 503 && page.text.contains("cannot be reached"), "{page:?}");
        assert!(!page.text.contains(&host), "{page:?}");
        server.wait_for_log(reason);
        let token = token(&server, "--scope=repos:read --repos=team");
        assert_eq!(get(&server, "/team/latest/src/contrib/PACKAGES", Some(&bearer(&token))).status, 200);
    }
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
    assert_eq!(create(&[json, ("Origin", "null")]), 403);
    assert_eq!(create(&[("Content-Type", "text/plain"), ("Sec-Fetch-Site", "same-origin")]), 403);
    assert_eq!(create(&[json, ("Sec-Fetch-Site", "same-origin")]), 201);
    // A browser that sends no Sec-Fetch-Site.
    let own = server.url("");
    assert_ne!(create(&[json, ("Origin", &own)]), 403, "permitted, and the name exists");
}

#[test]
fn a_password_beside_the_session_does_not_replace_the_check_of_the_page() {
    let (_provider, server) = with_mock();
    let browser = Browser::new();
    sign_in(&browser, &server, "ann", "/team/latest/");
    let (device, verifier) = begin_device(&server);
    let cookie = format!("ppm={}", browser.cookie("ppm").expect("a session"));
    let password = basic("__token__", &token(&server, "--scope=repos:read --repos=team --user=eve"));
    let post = |path: &str, body: &str, site: &str| {
        let headers = [
            ("Cookie", cookie.as_str()),
            ("Authorization", password.as_str()),
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Sec-Fetch-Site", site),
        ];
        http::request("POST", &server.url(path), &headers, body.as_bytes()).status
    };
    let allow = format!("user_code={}&decision=allow", text(&device, "user_code"));
    assert_eq!(post("/__login__/device", &allow, "cross-site"), 403);
    assert_eq!(text(&poll(&server, &device, &verifier).json(), "error"), "authorization_pending");
    assert_eq!(post("/__logout__", "", "cross-site"), 403);
    assert_eq!(index(&server, &browser), 200);
    assert_eq!(post("/__logout__", "", "same-origin"), 303);
    assert_eq!(index(&server, &browser), 401);
    let rows = server.json("audit list");
    let row = rows.as_array().expect("rows").iter().find(|row| row["action"] == "sign out").expect("a row");
    assert_eq!(row["object"], "ann", "the user of the session: {row}");
}

#[test]
fn one_client_cannot_begin_all_sign_ins_and_one_user_cannot_try_all_codes() {
    let (_provider, server) = with_mock();
    for (method, path, expected) in [("GET", "/__login__", 302), ("POST", "/__api__/device", 200)] {
        let begin = |address: &str| {
            http::request(method, &server.url(path), &[("X-Forwarded-For", address)], b"").status
        };
        let statuses: Vec<u16> = (0..60).map(|_| begin("203.0.113.5")).collect();
        assert_eq!(statuses[..20], [expected; 20], "{path}");
        assert!(statuses.contains(&429), "{path}: {statuses:?}");
        assert_eq!(begin("203.0.113.6"), expected, "{path}: another client");
    }
    let browser = Browser::new();
    sign_in(&browser, &server, "ann", "/team/latest/");
    let (device, _) = begin_device(&server);
    let cookie = format!("ppm={}", browser.cookie("ppm").expect("a session"));
    // Also a code that exists is counted: a guess is not known to be wrong before it is looked up.
    let page = text(&device, "verification_uri_complete");
    let show = || http::request("GET", page, &[("Cookie", cookie.as_str())], b"").status;
    let statuses: Vec<u16> = (0..60).map(|_| show()).collect();
    assert_eq!(statuses[..20], [200; 20]);
    assert!(statuses.contains(&429), "{statuses:?}");
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

pub(super) fn form(server: &Server, path: &str, fields: &[(&str, &str)]) -> Answer {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    http::request("POST", &server.url(path), &form, body.as_bytes())
}

/// Begins the sign-in of a device as pak does; returns the response and the verifier.
pub(super) fn begin_device(server: &Server) -> (Value, String) {
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

pub(super) fn poll(server: &Server, device: &Value, verifier: &str) -> Answer {
    let fields = [("device_code", text(device, "device_code")), ("code_verifier", verifier)];
    form(server, "/__api__/device_access", &fields)
}

/// Signs in at the mock and allows the device at this address.
pub(super) fn confirm_device(browser: &Browser, server: &Server, name: &str, address: &str) {
    sign_in(browser, server, name, "/__login__");
    let page = browser.submit(&browser.get(address), &[("decision", "allow")]);
    assert!(page.text.contains("is signed in"), "{page:?}");
}

/// Allows a device on the page of this server.
pub(super) fn allow(browser: &Browser, device: &Value) {
    let page = browser.get(text(device, "verification_uri_complete"));
    assert!(page.text.contains(text(device, "user_code")), "{page:?}");
    let page = browser.submit(&page, &[("decision", "allow")]);
    assert!(page.text.contains("is signed in"), "{page:?}");
}

/// Polls until the sign-in is allowed, and exchanges the id token as pak does.
pub(super) fn access_token(server: &Server, device: &Value, verifier: &str) -> String {
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
fn ten_wrong_codes_of_devices_are_accepted_in_a_minute() {
    let provider = OpenIdProvider::mock();
    let lines = "ClientSecret = secret\nScope = repos:read:team\n[Server]\nTrustedProxy = 127.0.0.1";
    let server = server(&provider.issuer(), free_port(), lines);
    let browser = Browser::new();
    sign_in(&browser, &server, "ann", "/team/latest/");
    let cookie = format!("ppm={}", browser.cookie("ppm").expect("a session"));
    let enter = |address: &str| {
        let fields = [("Cookie", cookie.as_str()), ("X-Forwarded-For", address)];
        let url = server.url("/__login__/device?user_code=BBBB-BBBB");
        http::request("GET", &url, &fields, b"").status
    };
    // Fewer than the codes of one user.
    let statuses: Vec<u16> = (0..18).map(|_| enter("203.0.113.7")).collect();
    let (accepted, refused) = statuses.split_at(10);
    assert_eq!(accepted, [200; 10]);
    assert!(refused.contains(&429), "{refused:?}");
    assert_eq!(enter("203.0.113.8"), 200, "another client");
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

/// Fills in the forms of `oidc-provider` until the page is not one of its forms.
pub(super) fn confirm(browser: &Browser, mut page: Page, issuer: &str) -> Page {
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

#[test]
fn two_sessions_of_one_identity_are_one_person() {
    let provider = OpenIdProvider::mock();
    let server = server(
        &provider.issuer(),
        free_port(),
        "ClientSecret = secret\nScope = repos:promote:*, repos:read:*",
    );
    server.rspm_stdout("create repo --name=prod --authenticated --changes=two-persons");
    let session = |subject: &str, name: &str| {
        provider.set_user(subject, &json!({"preferred_username": name}));
        let browser = Browser::new();
        sign_in(&browser, &server, subject, "/__login__");
        format!("ppm={}", browser.cookie("ppm").expect("a session"))
    };
    let post = |cookie: &str, path: &str, body: &str| {
        let fields =
            [("Cookie", cookie), ("Sec-Fetch-Site", "same-origin"), ("Content-Type", "application/json")];
        http::request("POST", &server.url(&format!("/__api__/admin/v1{path}")), &fields, body.as_bytes())
    };
    let (ann, maria, bob) = (session("s7", "ann"), session("s7", "maria"), session("s8", "bob"));
    let requested = post(&ann, "/repos/prod/promotions", r#"{"from": "team", "comment": "release 1"}"#);
    assert_eq!(requested.status, 201, "{}", requested.text());
    let refused = post(&maria, "/promotions/1/approve", "{}");
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert!(refused.text().contains("another person must approve it"), "{}", refused.text());
    let approved = post(&bob, "/promotions/1/approve", "{}");
    assert_eq!(approved.status, 200, "{}", approved.text());
}
