//! `[Authentication]`: one test per property, which sets it and checks its effect, at the start and by a reload.

use crate::support::http;
use crate::support::server::{Builder, Server};

/// Returns the status of the admin API on the network, with a token of an administrator.
fn network_status(server: &Server) -> u16 {
    let token = server.rspm_stdout("create token --description=test --scope=global:admin --quiet");
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
