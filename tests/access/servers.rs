//! Two servers of a PostgreSQL database: a token that one creates or revokes is valid or revoked on the other.

use serde_json::json;

use super::sign_in::{access_token, allow, begin_device};
use super::{bearer, get, private_repository, token};
use crate::support::browser::Browser;
use crate::support::cluster::Shared;
use crate::support::fixtures::until;
use crate::support::http;
use crate::support::openid_provider::OpenIdProvider;
use crate::support::port::free_port;
use crate::support::server::Server;

const INDEX: &str = "/team/latest/src/contrib/PACKAGES";

#[test]
fn a_token_is_valid_and_revoked_on_every_server() {
    let shared = Shared::new();
    let (pm1, pm2) = (shared.start("pm1"), shared.start("pm2"));
    private_repository(&pm1, "team", "alpha");
    let reader = bearer(&token(&pm1, "--scope=repos:read --repos=team"));
    until("the other server has the repository", || get(&pm2, INDEX, None).status == 401);
    // The other server reads the database before it refuses a token that it does not know.
    until("the token is valid there", || get(&pm2, INDEX, Some(&reader)).status == 200);
    for _ in 0..3 {
        assert_eq!(get(&pm2, INDEX, Some(&reader)).status, 200, "cached now");
    }
    pm2.rspm_stdout(&format!("revoke token --token={}", &reader["Bearer ".len()..]));
    assert_eq!(get(&pm2, INDEX, Some(&reader)).status, 401);
    until("revoked on the first", || get(&pm1, INDEX, Some(&reader)).status == 401);
}

#[test]
fn a_revoked_user_is_refused_on_every_server() {
    let (provider, shared, port) = (OpenIdProvider::mock(), Shared::new(), free_port());
    provider.set_user("ann", &json!({"preferred_username": "ann"}));
    let start = |name: &str, lines: &str| {
        let gcfg = format!(
            "[Server]\nAddress = http://127.0.0.1:{port}\n{lines}\n[OpenIDConnect]\nIssuer = {}\nClientId = packages\n\
             ClientSecret = secret\nScope = repos:read:team",
            provider.issuer()
        );
        shared.builder(name).env("PACKAGEMANAGER_ENCRYPTION_KEY", &"5a".repeat(512)).gcfg(&gcfg).start()
    };
    let pm1 = start("pm1", &format!("[HTTP]\nListen = 127.0.0.1:{port}"));
    let pm2 = start("pm2", "");
    private_repository(&pm1, "team", "alpha");
    let browser = Browser::new();
    let page = browser.get(&pm1.url("/__login__"));
    browser.post(&page.url, &[("sub", "ann")], "same-origin");
    let session = format!("ppm={}", browser.cookie("ppm").expect("a session"));
    let opaque = bearer(&token(&pm1, "--scope=repos:read --repos=team --user=ann"));
    let (device, verifier) = begin_device(&pm1);
    allow(&browser, &device);
    let signed = bearer(&access_token(&pm1, &device, &verifier));
    let credentials = [("Cookie", session), ("Authorization", opaque), ("Authorization", signed)];
    let statuses = |server: &Server| {
        let status = |(name, value): &(&str, String)| {
            http::request("GET", &server.url(INDEX), &[(*name, value.as_str())], b"").status
        };
        credentials.iter().map(status).collect::<Vec<_>>()
    };
    assert_eq!(statuses(&pm1), [200; 3]);
    until("the other server accepts them", || statuses(&pm2) == [200; 3]);
    pm2.rspm_stdout("revoke token --user=ann");
    assert_eq!(statuses(&pm2), [401; 3]);
    until("refused on the first", || statuses(&pm1) == [401; 3]);
}

#[test]
fn a_request_waits_until_its_server_has_the_state_in_its_header() {
    let shared = Shared::new();
    let (pm1, pm2) = (shared.start("pm1"), shared.start("pm2"));
    let admin = bearer(&token(&pm1, "--scope=global:admin"));
    until("the token is valid on both", || get(&pm2, "/__api__/admin/v1/verify", Some(&admin)).status == 200);
    let post = |path: &str, body: &str| {
        http::request("POST", &pm1.url(path), &[("Authorization", &admin)], body.as_bytes())
    };
    for round in 0..10 {
        let response = post("/__api__/admin/v1/repos", &format!(r#"{{"name": "r{round}"}}"#));
        assert_eq!(response.status, 201, "{}", response.text());
        let state = response.header("x-catalog").expect("the state of the write").to_owned();
        let headers = [("Authorization", &*admin), ("X-Catalog", &*state)];
        let path = format!("/__api__/admin/v1/repos/r{round}");
        let response = http::request("GET", &pm2.url(&path), &headers, b"");
        assert_eq!(response.status, 200, "round {round}: {}", response.text());
    }
    let future_state_headers = [("Authorization", &*admin), ("X-Catalog", "999999999999")];
    let response = http::request("GET", &pm2.url("/__api__/admin/v1/repos"), &future_state_headers, b"");
    assert_eq!((response.status, response.header("retry-after")), (503, Some("2")));
    let malformed_state_headers = [("Authorization", &*admin), ("X-Catalog", "-1e9")];
    assert_eq!(
        http::request("GET", &pm2.url("/__api__/admin/v1/repos"), &malformed_state_headers, b"").status,
        200
    );
}
