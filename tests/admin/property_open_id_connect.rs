//! `[OpenIDConnect]`, `[GroupToScopeMapping]` and the limits of sessions. The effects of the claims are tested with
//! real providers in `tests/access/sign_in.rs`.

use serde_json::json;

use crate::support::browser::Browser;
use crate::support::fixtures::until;
use crate::support::http;
use crate::support::openid_provider::OpenIdProvider;
use crate::support::port::free_port;
use crate::support::recording_server::RecordingServer;
use crate::support::server::{Builder, Server};

/// A server with a provider that gets no sign-in.
fn with_document() -> (Server, RecordingServer, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a directory");
    let provider = RecordingServer::folder(folder.path());
    let issuer = format!("http://{}", provider.host());
    std::fs::create_dir(folder.path().join(".well-known")).expect("a directory");
    let document = json!({
        "issuer": issuer, "jwks_uri": format!("{issuer}/jwks"), "authorization_endpoint": format!("{issuer}/auth"),
        "token_endpoint": format!("{issuer}/token"),
    });
    let path = folder.path().join(".well-known/openid-configuration");
    std::fs::write(path, document.to_string()).expect("written");
    std::fs::write(folder.path().join("jwks"), r#"{"keys": []}"#).expect("written");
    let lines = format!(
        "[Server]\nAddress = http://127.0.0.1:1\n[OpenIDConnect]\nIssuer = {issuer}\nClientId = one\nScope = repos:read:*"
    );
    (Builder::default().gcfg(&lines).start(), provider, folder)
}

/// The address to which a sign-in redirects.
fn redirect(server: &Server) -> String {
    let answer = server.get("/__login__");
    assert_eq!(answer.status, 302, "{}", answer.text());
    answer.header("location").expect("an address").to_owned()
}

// All properties of the section are replaced together.
#[test]
pub(super) fn the_settings_of_a_provider_apply_to_the_next_sign_in() {
    let (server, _provider, _folder) = with_document();
    let before = redirect(&server);
    for part in ["client_id=one", "scope=openid+profile+email+groups&", "code_challenge="] {
        assert!(before.contains(part), "{part}: {before}");
    }
    assert!(!before.contains("prompt=") && !before.contains("max_age="), "{before}");
    server.hup(
        "[OpenIDConnect]\nClientId = two\nNoAutoGroupsScope = true\nCustomScope = offline_access\nRequireLogin = true\n\
         MaxAuthenticationAge = 5m\nDisablePKCE = true",
    );
    let after = redirect(&server);
    let expected =
        ["client_id=two", "scope=openid+profile+email+offline_access&", "prompt=login", "max_age=300"];
    for part in expected {
        assert!(after.contains(part), "{part}: {after}");
    }
    assert!(!after.contains("code_challenge"), "{after}");
}

/// A server with a session in a browser.
fn with_session(lines: &str) -> (Server, Browser, OpenIdProvider) {
    let (provider, port) = (OpenIdProvider::mock(), free_port());
    let server = Builder::default()
        .gcfg(&format!(
            "[Server]\nAddress = http://127.0.0.1:{port}\n[HTTP]\nListen = 127.0.0.1:{port}\n[OpenIDConnect]\n\
             Issuer = {}\nClientId = c\nClientSecret = s\nScope = repos:read:*\n{lines}",
            provider.issuer()
        ))
        .start();
    server.rspm_stdout("create repo --name=team --authenticated");
    let browser = Browser::new();
    let page = browser.get(&server.url("/__login__"));
    let page = browser.post(&page.url, &[("sub", "ann")], "same-origin");
    assert_eq!(page.status, 200, "{page:?}");
    (server, browser, provider)
}

fn status(server: &Server, browser: &Browser) -> u16 {
    browser.get_one(&server.url("/__api__/repos/team")).status
}

#[test]
pub(super) fn lifetime_is_the_maximum_duration_of_a_session() {
    let (server, browser, _provider) = with_session("[Authentication]\nLifetime = 2s");
    until("the session ends", || status(&server, &browser) == 401);
}

#[test]
pub(super) fn inactivity_ends_sessions_that_are_not_used() {
    let (server, browser, _provider) = with_session("");
    assert_eq!(status(&server, &browser), 200);
    server.hup("[Authentication]\nInactivity = 1s");
    until("the session ends", || {
        // Each request is a use of the session.
        std::thread::sleep(std::time::Duration::from_millis(1500));
        status(&server, &browser) == 401
    });
}

#[test]
pub(super) fn cookie_sweep_duration_is_the_interval_of_removals_from_the_database() {
    let (server, _browser, _provider) =
        with_session("[Authentication]\nLifetime = 2s\nCookieSweepDuration = 1s");
    let database = server.dir().join("data/db/rstudio-pm.db");
    until("the row is removed", || {
        let database = rusqlite::Connection::open(&database).expect("a database");
        let count = database.query_row("SELECT COUNT(*) FROM session", [], |row| row.get::<_, i64>(0));
        count.is_ok_and(|count| count == 0)
    });
}

#[test]
pub(super) fn device_auth_type_decides_who_issues_the_codes() {
    let (server, _provider, _folder) = with_document();
    let begin = || http::request("POST", &server.url("/__api__/device"), &[], b"");
    // The provider has no codes.
    let answer = begin();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["verification_uri"], "http://127.0.0.1:1/__login__/device");
    server.hup("[Authentication]\nDeviceAuthType = oidc");
    assert_eq!(begin().status, 503);
    server.hup("[Authentication]\nDeviceAuthType = local");
    assert_eq!(begin().status, 200);
}
