//! `[Proxy]`: a reload of each property, as shown by the requests to the proxy.

use crate::support::fixtures::{create_mirror, until};
use crate::support::recording_server::RecordingServer;
use crate::support::server::{Builder, Server};

/// Starts a server with a mirror that only the proxy can resolve; returns it, the proxy and the folder of the mirror.
fn start(further_lines: &str) -> (Server, RecordingServer, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a directory");
    create_mirror(&folder.path().join("cran"));
    let proxy = RecordingServer::folder(folder.path());
    let gcfg =
        format!("[CRAN]\nURL = http://mirror.test/cran\n{}", further_lines.replace("PROXY", &proxy.host()));
    let server = Builder::default().gcfg(&gcfg).env("NO_PROXY", "").env("no_proxy", "").start();
    (server, proxy, folder)
}

fn has_authorization(heads: &[String], value: &str) -> bool {
    let line = format!("proxy-authorization: {value}").to_lowercase();
    heads.iter().any(|head| head.to_lowercase().contains(&line))
}

#[test]
pub(super) fn url_is_the_proxy_of_the_next_requests() {
    let (server, proxy, _folder) = start("[Proxy]\nURL = 127.0.0.1:9");
    assert!(server.sync().is_err(), "no proxy listens on that port");
    let host = proxy.host();
    server.hup_applies(
        &format!("[Proxy]\nURL = {host}"),
        &[&format!("Proxy.URL is '{host}' now, was '127.0.0.1:9'")],
    );
    server.sync().expect("the proxy leads to the mirror");
    let heads = proxy.heads();
    assert!(heads.iter().any(|head| head.starts_with("GET http://mirror.test/cran/src/contrib/PACKAGES")));
}

#[test]
fn requests_to_identity_providers_use_the_new_proxy() {
    let proxy = RecordingServer::with_answer(502, "");
    let server = Builder::default()
        .gcfg(
            "[Server]\nAddress = http://127.0.0.1:1\n[OpenIDConnect]\nIssuer = https://login.test\nClientId = c\n\
             Scope = repos:read:*\n[Proxy]\nURL = 127.0.0.1:9",
        )
        .env("NO_PROXY", "")
        .env("no_proxy", "")
        .start();
    assert_eq!(server.get("/__login__").status, 503);
    server.hup(&format!("[Proxy]\nURL = {}", proxy.host()));
    // After a failure, no request is sent to the provider for five seconds.
    until("the new proxy gets a request", || {
        assert_eq!(server.get("/__login__").status, 503);
        proxy.heads().iter().any(|head| head.starts_with("CONNECT login.test:443"))
    });
}

#[test]
pub(super) fn user_and_password_are_sent_with_the_next_requests() {
    let (server, proxy, _folder) = start("[Proxy]\nURL = PROXY");
    server.sync().expect("the proxy leads to the mirror");
    assert!(!proxy.heads().iter().any(|head| head.to_lowercase().contains("proxy-authorization")));
    server.hup_applies("[Proxy]\nUser = team", &["Proxy.User is 'team' now, was ''"]);
    server.sync().expect("again");
    assert!(has_authorization(&proxy.heads(), "Basic dGVhbTo="), "team:");
    server.hup_applies("[Proxy]\nPassword = w0rd", &["Proxy.Password is '***' now, was ''"]);
    server.sync().expect("again");
    assert!(has_authorization(&proxy.heads(), "Basic dGVhbTp3MHJk"), "team:w0rd");
}
