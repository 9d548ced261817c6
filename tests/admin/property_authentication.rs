//! `[Authentication]`: one test per property, which sets it and checks its effect, at the start and by a reload.

use crate::support::http;
use crate::support::server::{Builder, Server};

/// Returns the status of the admin API on the network, with a token of an administrator.
fn network_status(server: &Server) -> u16 {
    network_status_with_token(server, "")
}

/// As [`network_status`], with a token that these flags create.
fn network_status_with_token(server: &Server, flags: &str) -> u16 {
    let command = format!("create token --description=test --scope=global:admin --quiet {flags}");
    let token = server.rspm_stdout(&command);
    let authorization = format!("Bearer {}", token.trim());
    let path = "/__api__/admin/v1/status";
    http::request("GET", &server.url(path), &[("Authorization", authorization.as_str())], b"").status
}

/// Returns the status of an index for a client without a token.
fn index_status(server: &Server, repo: &str) -> u16 {
    server.get(&format!("/{repo}/latest/src/contrib/PACKAGES")).status
}

#[test]
pub(super) fn api_token_auth_decides_whether_the_admin_api_is_on_the_network() {
    assert_eq!(network_status(&Server::start()), 200);
    let server_without_tokens = Builder::default().gcfg("[Authentication]\nAPITokenAuth = false").start();
    assert_eq!(network_status(&server_without_tokens), 404);
}

#[test]
pub(super) fn new_repos_auth_by_default_decides_for_repositories_without_the_flag() {
    let server = Builder::default().gcfg("[Authentication]\nNewReposAuthByDefault = true").start();
    server.rspm_stdout("create repo --name=closed");
    server.rspm_stdout("create repo --name=open --authenticated=false");
    assert_eq!((index_status(&server, "closed"), index_status(&server, "open")), (401, 200));
}

#[test]
pub(super) fn api_token_auth_applies_to_the_next_requests() {
    let server = Server::start();
    server.hup_applies(
        "[Authentication]\nAPITokenAuth = false",
        &["Authentication.APITokenAuth is 'false' now, was 'true'"],
    );
    assert_eq!(network_status(&server), 404);
}

#[test]
pub(super) fn new_repos_auth_by_default_applies_to_the_next_repository() {
    let server = Server::start();
    server.rspm_stdout("create repo --name=before");
    server.hup_applies(
        "[Authentication]\nNewReposAuthByDefault = true",
        &["Authentication.NewReposAuthByDefault is 'true' now, was 'false'"],
    );
    server.rspm_stdout("create repo --name=after");
    assert_eq!((index_status(&server, "before"), index_status(&server, "after")), (200, 401));
}

/// Returns the exit code and the error of the creation of a token with these flags.
fn create_token(server: &Server, flags: &str) -> (i32, String) {
    let output =
        server.rspm(&format!("create token --description=test --scope=global:admin --quiet {flags}"));
    (output.code, output.err)
}

#[test]
pub(super) fn max_token_lifetime_limits_new_tokens() {
    let server = Builder::default().gcfg("[Authentication]\nMaxTokenLifetime = 48h").start();
    for flags in ["", "--expires=never", "--expires=49h", "--expires=3d"] {
        let (code, error) = create_token(&server, flags);
        assert!(
            code == 1 && error.contains("at most 2d") && error.contains("--expires=2d"),
            "{flags}: {error}"
        );
    }
    for flags in ["--expires=2d", "--expires=1h"] {
        assert_eq!(create_token(&server, flags), (0, String::new()), "{flags}");
    }
}

#[test]
pub(super) fn max_token_lifetime_applies_to_the_next_token() {
    let server = Server::start();
    assert_eq!(create_token(&server, "--expires=10d").0, 0);
    let output = server.hup("[Authentication]\nMaxTokenLifetime = 90m").join("\n");
    assert!(output.contains("configuration reloaded; 1 applied"), "{output}");
    let (code, error) = create_token(&server, "--expires=10d");
    assert!(code == 1 && error.contains("at most 90m"), "{error}");
    assert_eq!(network_status_with_token(&server, "--expires=1h"), 200);
}

#[test]
pub(super) fn require_auth_for_ui_applies_to_pages_and_lists() {
    let server = Server::start();
    server.rspm_stdout("create repo --name=open");
    let token = server.rspm_stdout("create token --description=test --scope=repos:read --repos=open --quiet");
    let authorization = format!("Bearer {}", token.trim());
    let paths = [
        "/",
        "/open/",
        "/open/latest/",
        "/open/latest/web/packages/",
        "/__api__/repos",
        "/__api__/sources",
        "/nothing/",
        "/nothing/latest/src/contrib/PACKAGES",
        "/__api__/repos/nothing",
        "/__api__/sources/nothing",
    ];
    let status =
        |path: &str, fields: &[(&str, &str)]| http::request("GET", &server.url(path), fields, b"").status;
    for path in paths {
        assert_ne!(status(path, &[]), 401, "{path}");
    }
    server.hup_applies(
        "[Authentication]\nRequireAuthForUI = true",
        &["Authentication.RequireAuthForUI is 'true' now, was 'false'"],
    );
    for path in paths {
        assert_eq!(status(path, &[]), 401, "{path}");
        assert_ne!(status(path, &[("Authorization", &authorization)]), 401, "{path}");
    }
    // Packages, and what their clients request, need no token.
    for path in [
        "/open/latest/src/contrib/PACKAGES",
        "/__api__/repos/open",
        "/__api__/status",
        "/__ping__",
        "/favicon.ico",
        "/robots.txt",
    ] {
        assert_eq!(status(path, &[]), 200, "{path}");
    }
    let answer = http::request("GET", &server.url("/"), &[("Authorization", &authorization)], b"");
    assert!(answer.header("cache-control").is_some_and(|value| value.contains("private")), "{answer:?}");
}
