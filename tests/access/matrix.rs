//! Every documented address, requested by every kind of client.

use std::collections::BTreeSet;

use super::{bearer, private_repository, send, token};
use crate::support::browser::Browser;
use crate::support::fixtures::until;
use crate::support::http;
use crate::support::openid_provider::OpenIdProvider;
use crate::support::port::free_port;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

/// The clients that may use an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Everyone, with any credentials.
    Health,
    /// Everyone, without credentials or with valid ones.
    Open,
    /// Browsers with a session that send a form of a page of this server.
    Form,
    /// Readers of the repository.
    ReadRepository,
    /// Readers of a repository with the source, and its publishers.
    ReadSource,
    /// Clients with any valid token.
    AnyToken,
    /// Publishers of the source.
    WriteSource,
    /// Publishers of any source.
    Upload,
    /// Clients that may promote to the repository; of these roles, only administrators.
    Promote,
    /// Readers of block rules.
    ReadBlocklist,
    /// Clients that may change block rules.
    ChangeBlocklist,
    /// Clients that may change metadata.
    Metadata,
    /// Clients with the permission of any section of a state.
    ChangeState,
    /// Administrators.
    Administer,
    /// Administrators who send a form of a page of this server, with its token.
    FormOfAdministrator,
    /// Clients of the admin socket.
    Machine,
}

/// The kinds of clients.
const ROLES: [&str; 14] = [
    "anonymous",
    "unknown token",
    "expired",
    "revoked",
    "read of another repository",
    "read",
    "session of a reader",
    "write of another source",
    "write",
    "read of block rules",
    "change of block rules",
    "change of metadata",
    "admin",
    "socket",
];

/// The statuses of requests under a rule, one letter per role: `a` is 401, `f` is 403, `y` is another status below 500.
fn expected_statuses(rule: Rule) -> &'static str {
    match rule {
        Rule::Health => "yyyyyyyyyyyyyy",
        Rule::Open => "yaaayyyyyyyyyy",
        Rule::Form => "faaaffyfffffff",
        Rule::ReadRepository => "aaaafyyfffffyy",
        Rule::ReadSource => "aaaafyyfyfffyy",
        Rule::AnyToken => "aaaayyyyyyyyyy",
        Rule::WriteSource => "aaaaffffyfffyy",
        Rule::Upload => "aaaafffyyfffyy",
        Rule::Promote | Rule::Administer => "aaaaffffffffyy",
        Rule::ReadBlocklist => "aaaafffffyyfyy",
        Rule::ChangeBlocklist => "aaaaffffffyfyy",
        Rule::Metadata => "aaaafffffffyyy",
        Rule::ChangeState => "aaaafffyyfyyyy",
        Rule::FormOfAdministrator => "aaaaffffffffff",
        Rule::Machine => "aaaafffffffffy",
    }
}

use Rule::{
    Administer, AnyToken, ChangeBlocklist, ChangeState, Form, FormOfAdministrator, Health, Machine, Metadata,
    Open, Promote, ReadBlocklist, ReadRepository, ReadSource, Upload, WriteSource,
};

/// Addresses that RFC 8628 and RFC 8693 define, so that the OpenAPI document does not list them.
const SIGN_IN: &[&str] = &["/__api__/device", "/__api__/device_access", "/__api__/token"];

/// The rule of each address. `private` and `alpha` stand for the authenticated repository, its source and its package.
pub(super) const ADDRESSES: &[(&str, &str, Rule)] = &[
    // Outside the APIs.
    ("GET", "/", Open),
    ("GET", "/client/", Open),
    ("GET", "/__docs__/", Open),
    ("GET", "/__docs__/access/", Open),
    ("GET", "/assets/ui.0000000000000000.css", Open),
    ("GET", "/assets/opensearch.xml", Open),
    ("GET", "/favicon.ico", Open),
    ("GET", "/robots.txt", Open),
    ("GET", "/__ping__", Health),
    ("GET", "/private", ReadRepository),
    ("GET", "/private/", ReadRepository),
    ("GET", "/private/latest", ReadRepository),
    ("GET", "/private/latest/", ReadRepository),
    ("GET", "/private/package=alpha", ReadRepository),
    ("GET", "/private/latest/package=alpha", ReadRepository),
    // RStudio asks for the list of all repositories there.
    ("GET", "/private/__linux__/__api__/repos", Open),
    ("GET", "/private/latest/web/packages/", ReadRepository),
    ("GET", "/private/latest/web/changes/", ReadRepository),
    ("GET", "/private/latest/web/changes.atom", ReadRepository),
    ("GET", "/private/latest/web/packages/alpha/", ReadRepository),
    ("GET", "/private/latest/web/packages/alpha/versions/", ReadRepository),
    ("GET", "/private/latest/web/packages/alpha/history/", ReadRepository),
    ("GET", "/private/latest/web/packages/alpha/dependents/", ReadRepository),
    ("GET", "/private/latest/web/packages/alpha/dependencies/", ReadRepository),
    ("GET", "/private/latest/web/packages/alpha/binaries/", ReadRepository),
    ("GET", "/private/latest/web/packages/alpha/why/", ReadRepository),
    ("GET", "/private/latest/web/vulnerabilities/", ReadRepository),
    ("GET", "/private/latest/web/vulnerabilities.atom", ReadRepository),
    ("GET", "/private/latest/web/lockfile/", ReadRepository),
    ("POST", "/private/latest/web/lockfile/", ReadRepository),
    ("GET", "/private/latest/web/packages/alpha/DESCRIPTION", ReadRepository),
    ("GET", "/private/latest/web/packages/alpha/versions.atom", ReadRepository),
    ("GET", "/private/latest/web/packages/alpha/downloads/", ReadRepository),
    ("GET", "/private/latest/web/packages/alpha/badge.svg", ReadRepository),
    ("GET", "/private/latest/web/packages/alpha/news/", ReadRepository),
    ("GET", "/private/latest/web/packages/alpha/license/", ReadRepository),
    ("GET", "/private/latest/web/packages/alpha/files/", ReadRepository),
    ("GET", "/private/latest/web/packages/alpha/files/DESCRIPTION", ReadRepository),
    ("GET", "/__log__/checkpoint", AnyToken),
    ("POST", "/__log__/witness/add-checkpoint", Open),
    (
        "GET",
        "/__log__/witness/0000000000000000000000000000000000000000000000000000000000000000/checkpoint",
        Open,
    ),
    ("GET", "/__log__/tile/0/000", AnyToken),
    ("GET", "/__log__/tile/entries/000", Administer),
    ("GET", "/private/2026-01-01/src/contrib/PACKAGES.proof", ReadRepository),
    ("GET", "/private/config.yaml", ReadRepository),
    ("GET", "/private/2026-01-01/config.yaml", ReadRepository),
    ("GET", "/private/latest/src/contrib/PACKAGES", ReadRepository),
    ("GET", "/private/latest/src/contrib/PACKAGES.gz", ReadRepository),
    ("HEAD", "/private/latest/src/contrib/PACKAGES.rds", ReadRepository),
    ("GET", "/private/latest/src/contrib/alpha_1.0.tar.gz", ReadRepository),
    ("GET", "/private/latest/src/contrib/Archive/alpha/alpha_0.9.tar.gz", ReadRepository),
    ("GET", "/private/latest/src/contrib/Meta/archive.rds", ReadRepository),
    ("GET", "/private/latest/bin/windows/contrib/4.4/PACKAGES", ReadRepository),
    ("GET", "/private/__linux__/noble/latest/src/contrib/PACKAGES", ReadRepository),
    ("GET", "/private/__linux__/noble/latest/src/contrib/alpha_1.0.tar.gz", ReadRepository),
    ("GET", "/private/packages/3.20/bioc/src/contrib/PACKAGES", ReadRepository),
    ("GET", "/private/5/src/contrib/PACKAGES", ReadRepository),
    ("GET", "/private/latest/simple/", ReadRepository),
    ("GET", "/private/latest/simple/alpha/", ReadRepository),
    ("GET", "/private/latest/pypi/alpha/json", ReadRepository),
    ("GET", "/private/latest/pypi/alpha/1.0/json", ReadRepository),
    (
        "GET",
        "/packages/private/latest/0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a/alpha-1.0.tar.gz",
        ReadRepository,
    ),
    ("POST", "/upload/pypi/{source}", WriteSource),
    ("GET", "/_/oidc/audience", Open),
    ("POST", "/_/oidc/mint-token", Open),
    // Sign-in, which checks secrets of its own. HEAD would begin one without a page.
    ("GET", "/__login__", Open),
    ("GET", "/__login__/callback", Open),
    ("GET", "/__login__/device", Open),
    ("POST", "/__login__/device", Form),
    ("GET", "/__logout__", Open),
    ("POST", "/__logout__", Form),
    ("POST", "/__api__/device", Open),
    ("POST", "/__api__/device_access", Open),
    ("POST", "/__api__/token", Open),
    // Pages of administrators.
    ("GET", "/__ui__/admin", Administer),
    ("GET", "/__ui__/admin/", Administer),
    ("GET", "/__ui__/admin/health/", Administer),
    ("GET", "/__ui__/admin/sources/", Administer),
    ("POST", "/__ui__/admin/sources/", FormOfAdministrator),
    ("GET", "/__ui__/admin/sources/private/", Administer),
    ("GET", "/__ui__/admin/sources/nothing/", Administer),
    ("POST", "/__ui__/admin/sources/private/", FormOfAdministrator),
    ("GET", "/__ui__/admin/repositories/", Administer),
    ("POST", "/__ui__/admin/repositories/", FormOfAdministrator),
    ("GET", "/__ui__/admin/repositories/private/", Administer),
    ("GET", "/__ui__/admin/repositories/nothing/", Administer),
    ("POST", "/__ui__/admin/repositories/private/", FormOfAdministrator),
    ("HEAD", "/__ui__/admin/jobs/", Administer),
    ("GET", "/__ui__/admin/storage/", Administer),
    ("POST", "/__ui__/admin/storage/", FormOfAdministrator),
    ("GET", "/__ui__/admin/rules/", Administer),
    ("POST", "/__ui__/admin/rules/", FormOfAdministrator),
    ("GET", "/__ui__/admin/tokens/", Administer),
    ("POST", "/__ui__/admin/tokens/", FormOfAdministrator),
    // The public API.
    ("GET", "/__api__/status", Open),
    ("GET", "/__api__/repos", Open),
    ("GET", "/__api__/repos/{repo}", ReadRepository),
    ("GET", "/__api__/repos/{repo}/sources", ReadRepository),
    ("GET", "/__api__/repos/{repo}/packages", ReadRepository),
    ("GET", "/__api__/repos/{repo}/packages/{name}", ReadRepository),
    ("GET", "/__api__/repos/{repo}/packages/{name}/builds", ReadRepository),
    ("GET", "/__api__/repos/{repo}/packages/{name}/binaries/logs", ReadRepository),
    ("GET", "/__api__/repos/{repo}/packages/{name}/sysreqs", ReadRepository),
    ("GET", "/__api__/repos/{repo}/sysreqs", ReadRepository),
    ("POST", "/__api__/repos/{repo}/sysreqs", ReadRepository),
    ("POST", "/__api__/repos/{repo}/filter/packages", ReadRepository),
    ("POST", "/__api__/filter/packages", ReadRepository),
    ("GET", "/__api__/repos/{repo}/vulns", ReadRepository),
    ("GET", "/__api__/repos/{repo}/diff", ReadRepository),
    ("GET", "/__api__/repos/{repo}/transaction-dates", ReadRepository),
    ("GET", "/__api__/repos/{repo}/first-transaction", ReadRepository),
    ("GET", "/__api__/sources", Open),
    ("GET", "/__api__/sources/{source}", ReadSource),
    ("GET", "/__api__/sources/{source}/transactions", ReadSource),
    ("GET", "/__api__/sources/{source}/packages", ReadSource),
    ("GET", "/__api__/sources/{source}/packages/{name}/releases", ReadSource),
    ("GET", "/__api__/metrics/packages", Open),
    ("POST", "/__api__/url", ReadRepository),
    ("GET", "/__api__/alerts", Open),
    // With a signature of the git server, which the handler verifies.
    ("POST", "/__api__/git-builders/{id}/poll", Open),
    // With a signature of the bootstrap key.
    ("POST", "/__api__/bootstrap", Open),
    ("GET", "/__api__/verify-auth", Open),
    ("GET", "/__api__/download", AnyToken),
    ("GET", "/__api__/swagger/", Open),
    ("GET", "/__api__/swagger/doc.json", Open),
    // The admin API: this server.
    ("GET", "/__api__/admin/v1/status", Administer),
    ("GET", "/__api__/admin/v1/health", Administer),
    ("GET", "/__api__/admin/v1/nodes", Machine),
    ("POST", "/__api__/admin/v1/nodes/online", Machine),
    ("POST", "/__api__/admin/v1/nodes/offline", Machine),
    ("POST", "/__api__/admin/v1/online", Machine),
    ("POST", "/__api__/admin/v1/offline", Machine),
    ("POST", "/__api__/admin/v1/reload", Administer),
    ("PUT", "/__api__/admin/v1/log/level", Administer),
    ("GET", "/__api__/admin/v1/log/regions", Administer),
    ("PUT", "/__api__/admin/v1/log/regions", Administer),
    ("POST", "/__api__/admin/v1/log/reopen", Machine),
    // The admin API: data.
    ("GET", "/__api__/admin/v1/sources", AnyToken),
    ("POST", "/__api__/admin/v1/sources", Administer),
    ("GET", "/__api__/admin/v1/sources/{name}", ReadSource),
    ("PATCH", "/__api__/admin/v1/sources/{name}", WriteSource),
    ("DELETE", "/__api__/admin/v1/sources/{name}", WriteSource),
    ("GET", "/__api__/admin/v1/sources/{name}/packages", ReadSource),
    ("POST", "/__api__/admin/v1/sources/{name}/packages", WriteSource),
    ("POST", "/__api__/admin/v1/sources/{name}/packages/remove", WriteSource),
    ("POST", "/__api__/admin/v1/sources/{name}/packages/yank", WriteSource),
    ("POST", "/__api__/admin/v1/sources/{name}/definition", WriteSource),
    ("GET", "/__api__/admin/v1/sources/{name}/binaries", ReadSource),
    ("POST", "/__api__/admin/v1/sources/{name}/binaries", WriteSource),
    ("POST", "/__api__/admin/v1/sources/{name}/binaries/remove", WriteSource),
    ("GET", "/__api__/admin/v1/repos", AnyToken),
    ("POST", "/__api__/admin/v1/repos", Administer),
    ("GET", "/__api__/admin/v1/repos/{name}", ReadRepository),
    ("PATCH", "/__api__/admin/v1/repos/{name}", Administer),
    ("DELETE", "/__api__/admin/v1/repos/{name}", Administer),
    ("GET", "/__api__/admin/v1/repos/{name}/packages", ReadRepository),
    ("GET", "/__api__/admin/v1/repos/{name}/explain", ReadRepository),
    ("POST", "/__api__/admin/v1/repos/{name}/sources", Administer),
    ("PUT", "/__api__/admin/v1/repos/{name}/sources", Administer),
    ("DELETE", "/__api__/admin/v1/repos/{name}/sources/{source}", Administer),
    ("POST", "/__api__/admin/v1/repos/{name}/promotions", Promote),
    ("GET", "/__api__/admin/v1/promotions", Promote),
    ("GET", "/__api__/admin/v1/promotions/{id}", Promote),
    ("POST", "/__api__/admin/v1/promotions/{id}/approve", Promote),
    ("POST", "/__api__/admin/v1/promotions/{id}/reject", Promote),
    ("POST", "/__api__/admin/v1/uploads", Upload),
    ("POST", "/__api__/admin/v1/repair/clock", Administer),
    ("POST", "/__api__/admin/v1/sync", Administer),
    ("POST", "/__api__/admin/v1/backups", Administer),
    ("POST", "/__api__/admin/v1/backups/tests", Administer),
    ("GET", "/__api__/admin/v1/git-builders", Administer),
    ("POST", "/__api__/admin/v1/sources/{name}/git-builders", WriteSource),
    ("PATCH", "/__api__/admin/v1/sources/{name}/git-builders/{builder}", WriteSource),
    ("DELETE", "/__api__/admin/v1/sources/{name}/git-builders/{builder}", WriteSource),
    ("POST", "/__api__/admin/v1/sources/{name}/git-builders/{builder}/poll", WriteSource),
    ("POST", "/__api__/admin/v1/sources/{name}/git-builders/{builder}/rerun", WriteSource),
    ("GET", "/__api__/admin/v1/git-builds", Administer),
    ("GET", "/__api__/admin/v1/git-builds/{id}", Upload),
    ("GET", "/__api__/admin/v1/git-builds/{id}/log", Upload),
    ("GET", "/__api__/admin/v1/transactions/{id}/git-build", Upload),
    ("GET", "/__api__/admin/v1/git-credentials", Administer),
    ("POST", "/__api__/admin/v1/git-credentials", Administer),
    ("PATCH", "/__api__/admin/v1/git-credentials/{kind}/{name}", Administer),
    ("DELETE", "/__api__/admin/v1/git-credentials/{kind}/{name}", Administer),
    ("POST", "/__api__/admin/v1/backfill", Administer),
    ("DELETE", "/__api__/admin/v1/backfill/{source}", Administer),
    ("GET", "/__api__/admin/v1/bioconductor/versions", AnyToken),
    ("GET", "/__api__/admin/v1/license-types", ChangeBlocklist),
    ("GET", "/__api__/admin/v1/metadata", Metadata),
    ("POST", "/__api__/admin/v1/metadata", Metadata),
    ("POST", "/__api__/admin/v1/metadata/delete", Metadata),
    ("GET", "/__api__/admin/v1/storage", Administer),
    ("POST", "/__api__/admin/v1/storage/adopt", Administer),
    ("POST", "/__api__/admin/v1/storage/sweep", Administer),
    ("POST", "/__api__/admin/v1/storage/restore", Administer),
    ("POST", "/__api__/admin/v1/repos/{name}/urls", Administer),
    ("POST", "/__api__/admin/v1/clear", Administer),
    ("POST", "/__api__/admin/v1/evict", Administer),
    ("GET", "/__api__/admin/v1/evict/{job}", Administer),
    ("POST", "/__api__/admin/v1/prefetch", Administer),
    ("GET", "/__api__/admin/v1/prefetch/{job}", Administer),
    ("POST", "/__api__/admin/v1/scrub", Administer),
    ("GET", "/__api__/admin/v1/scrub/{job}", Administer),
    ("GET", "/__api__/admin/v1/jobs", Administer),
    ("GET", "/__api__/admin/v1/jobs/{id}", Administer),
    ("GET", "/__api__/admin/v1/distributions", AnyToken),
    ("GET", "/__api__/admin/v1/blocked", ReadBlocklist),
    ("GET", "/__api__/admin/v1/block-rules", ReadBlocklist),
    ("POST", "/__api__/admin/v1/block-rules", ChangeBlocklist),
    ("PATCH", "/__api__/admin/v1/block-rules/{id}", ChangeBlocklist),
    ("POST", "/__api__/admin/v1/block-rules/delete", ChangeBlocklist),
    ("POST", "/__api__/admin/v1/block-rules/test", ReadBlocklist),
    ("GET", "/__api__/admin/v1/name-guards", Administer),
    ("POST", "/__api__/admin/v1/name-guards", Administer),
    ("PATCH", "/__api__/admin/v1/name-guards/{id}", Administer),
    ("DELETE", "/__api__/admin/v1/name-guards/{id}", Administer),
    ("GET", "/__api__/admin/v1/audit/names", Administer),
    ("GET", "/__api__/admin/v1/tokens", Administer),
    ("POST", "/__api__/admin/v1/tokens", Administer),
    ("POST", "/__api__/admin/v1/tokens/revoke", Administer),
    ("GET", "/__api__/admin/v1/verify", AnyToken),
    // The handlers require the permissions of the sections of a state.
    ("GET", "/__api__/admin/v1/state", Administer),
    ("POST", "/__api__/admin/v1/state", ChangeState),
    ("GET", "/__api__/admin/v1/audit", Administer),
    ("GET", "/__api__/admin/v1/audit/verify", Administer),
    ("GET", "/__api__/admin/v1/audit/salts", Administer),
    ("GET", "/__api__/admin/v1/history", AnyToken),
    ("POST", "/__api__/admin/v1/history", Administer),
    ("GET", "/__api__/admin/v1/history/checkpoint", AnyToken),
    ("POST", "/__api__/admin/v1/history/states", Administer),
    ("POST", "/__api__/admin/v1/history/export", Administer),
    ("POST", "/__api__/admin/v1/history/recovery", Administer),
    ("POST", "/__api__/admin/v1/history/key", Administer),
    ("POST", "/__api__/admin/v1/history/cosignatures", Administer),
    ("GET", "/__api__/admin/v1/openapi.json", AnyToken),
];

/// Returns the path to request. A request that could delete an object names one that does not exist, if the rule does not
/// depend on the object; `DELETE` of the source is refused because a repository subscribes to it.
pub(super) fn path_of(method: &str, address: &str) -> String {
    let is_admin = address.starts_with("/__api__/admin/");
    let deletes_repository = method == "DELETE" && address.contains("/repos/");
    let object = if deletes_repository { "nothing" } else { "private" };
    address
        .replace("{repo}", object)
        .replace("{source}", object)
        .replace("{name}", if is_admin { object } else { "alpha" })
        .replace("{builder}", object)
        .replace("{kind}", "https")
        .replace("{job}", "1")
        .replace("{id}", "1")
}

/// Returns the body, which names the repository if the address does not, and is invalid for every change.
fn body_of(address: &str) -> &'static str {
    match address {
        "/__api__/filter/packages" => r#"{"repo": "private", "names": []}"#,
        "/__api__/url" => r#"{"repo": "private", "snapshot": "2026-01-01"}"#,
        _ => "{",
    }
}

/// Returns method and path of each operation in the OpenAPI documents of the server.
fn documented_operations(server: &Server) -> BTreeSet<(String, String)> {
    let admin = http::admin(&server.admin_socket(), "GET", "/__api__/admin/v1/openapi.json", b"").json();
    let public = server.get("/__api__/swagger/doc.json").json();
    let mut operations = BTreeSet::new();
    for document in [admin, public] {
        for (path, item) in document["paths"].as_object().expect("paths") {
            for method in item.as_object().expect("operations").keys() {
                operations.insert((method.to_uppercase(), path.clone()));
            }
        }
    }
    operations
}

#[test]
fn every_documented_address_has_a_row() {
    let server = Server::start();
    let operations = documented_operations(&server);
    assert!(operations.len() > 50, "{}", operations.len());
    let rows: BTreeSet<(String, String)> =
        ADDRESSES.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
    let missing: Vec<_> = operations.difference(&rows).collect();
    assert!(
        missing.is_empty(),
        "addresses without a row in tests/access/matrix.rs: {missing:#?}\nAdd a row to ADDRESSES with the rule that \
         src/http/route/access.rs declares for the route: Open for Action::ReadPublic and Action::Notify, \
         ReadRepository or ReadSource for Action::Read and Action::Inspect with a repository or a source, AnyToken for Action::Inspect without one, \
         WriteSource, Upload, Promote, ReadBlocklist, ChangeBlocklist, Metadata, Administer, or Machine for Action::ControlProcess; a new action needs a new rule. If the \
         body names the repository, give one in body_of."
    );
    let extra: Vec<_> = rows
        .difference(&operations)
        .filter(|(_, path)| path.starts_with("/__api__/") && !path.ends_with("/openapi.json"))
        .filter(|(_, path)| !path.contains("/swagger") && !SIGN_IN.contains(&path.as_str()))
        .collect();
    assert!(extra.is_empty(), "rows of addresses that do not exist: {extra:#?}");
}

/// Signs in, and returns the cookie of the session.
fn sign_in(server: &Server) -> String {
    let browser = Browser::new();
    let page = browser.get(&server.url("/__login__"));
    browser.post(&page.url, &[("sub", "ann")], "same-origin");
    format!("ppm={}", browser.cookie("ppm").expect("a session"))
}

/// The status of a request as a page of the server sends it.
fn send_with_session(server: &Server, cookie: &str, method: &str, path: &str, body: &str) -> u16 {
    let fields =
        [("Cookie", cookie), ("Sec-Fetch-Site", "same-origin"), ("Content-Type", "application/json")];
    http::request(method, &server.url(path), &fields, body.as_bytes()).status
}

#[test]
fn every_client_gets_the_status_of_its_permission_at_every_address() {
    let (provider, port) = (OpenIdProvider::mock(), free_port());
    let server = Builder::default()
        .gcfg(&format!(
            "[Server]\nAddress = http://127.0.0.1:{port}\n[HTTP]\nListen = 127.0.0.1:{port}\n[OpenIDConnect]\n\
             Issuer = {}\nClientId = packages\nClientSecret = secret\nScope = repos:read:private",
            provider.issuer()
        ))
        .start();
    server.local_repository("open", &[Tarball::new("beta", "1.0")]);
    private_repository(&server, "private", "alpha");
    private_repository(&server, "other", "gamma");
    let revoked = token(&server, "--scope=global:admin");
    server.rspm_stdout(&format!("revoke token --token={revoked}"));
    let expired = token(&server, "--scope=global:admin --expires=1s");
    until("it expires", || super::get(&server, "/", Some(&bearer(&expired))).status == 401);
    let tokens = [
        None,
        Some("rspm_000000000000000000000000000000000000".to_owned()),
        Some(expired),
        Some(revoked),
        Some(token(&server, "--scope=repos:read --repos=other")),
        Some(token(&server, "--scope=repos:read --repos=private")),
        Some(token(&server, "--scope=sources:write --sources=other")),
        Some(token(&server, "--scope=sources:write --sources=private")),
        Some(token(&server, "--scope=blocklist:read")),
        Some(token(&server, "--scope=blocklist:admin")),
        Some(token(&server, "--scope=metadata:admin")),
        Some(token(&server, "--scope=global:admin")),
    ];
    let mut session = sign_in(&server);
    let authorizations = tokens.map(|token| token.map(|token| bearer(&token)));
    let mut mismatches = Vec::new();
    for (method, address, rule) in ADDRESSES {
        let (path, body) = (path_of(method, address), body_of(address));
        let mut statuses: Vec<u16> = authorizations
            .iter()
            .map(|authorization| send(&server, method, &path, authorization.as_deref(), body).status)
            .collect();
        statuses.insert(6, send_with_session(&server, &session, method, path.as_str(), body));
        if *address == "/__logout__" {
            session = sign_in(&server);
        }
        statuses.push(http::admin(&server.admin_socket(), method, &path, body.as_bytes()).status);
        for ((role, expected), status) in ROLES.iter().zip(expected_statuses(*rule).chars()).zip(statuses) {
            let actual = match status {
                401 => 'a',
                403 => 'f',
                // A 5xx status does not show the permission.
                200..=499 => 'y',
                _ => '?',
            };
            if actual != expected {
                mismatches.push(format!("{method} {path} ({rule:?}), {role}: {status}, expected {expected}"));
            }
        }
    }
    assert!(mismatches.is_empty(), "{}", mismatches.join("\n"));
    assert_eq!(server.json("list repos").as_array().map(Vec::len), Some(3), "nothing was changed");
}

/// Addresses that are not well-formed, or that no route has.
const MALFORMED: &[&str] = &[
    "/private/latest/%zz",
    "/private/latest/src/contrib/%2e%2e/x",
    "/private/nosuchsnapshot/src/contrib/PACKAGES",
    "/__api__/repos/private/nothing/here",
    "/__api__/sources/private/nothing/here",
];

#[test]
fn with_require_auth_for_ui_private_and_unknown_names_get_the_same_answer() {
    let server = Builder::default().gcfg("[Authentication]\nRequireAuthForUI = true").start();
    private_repository(&server, "private", "alpha");
    server.rspm_stdout("create repo --name=secluded");
    server.rspm_stdout("edit repo --name=secluded --hide");
    let id = |kind: &str, name: &str| {
        let list =
            http::admin(&server.admin_socket(), "GET", &format!("/__api__/admin/v1/{kind}"), b"").json();
        let row = list.as_array().and_then(|rows| rows.iter().find(|row| row["name"] == name)).cloned();
        row.expect("an object")["id"].as_i64().expect("a number").to_string()
    };
    let (private, secluded, source) =
        (id("repos", "private"), id("repos", "secluded"), id("sources", "private"));
    let unused = |number: &str| "9".repeat(number.len().max(3));
    // Names and numbers of objects that exist, each with one that does not.
    let pairs = [
        ("private".to_owned(), "unheard".to_owned()),
        (private.clone(), unused(&private)),
        (secluded.clone(), unused(&secluded)),
        (source.clone(), unused(&source)),
    ];
    // The answer, with the text `replaced` in place of the requested name.
    let answer = |method: &str, path: &str, body: &str, (name, replaced): (&str, &str)| {
        let (path, body) = (&path.replace("private", name), &body.replace("private", name));
        let answer = send(&server, method, path, None, body);
        let differs = |name: &str| ["date", "content-length", "request-id"].contains(&name);
        let headers = answer.headers.iter().filter(|(field, _)| !differs(field));
        let headers: Vec<(String, String)> =
            headers.map(|(field, value)| (field.clone(), value.replace(name, replaced))).collect();
        (answer.status, headers, answer.text().replace(name, replaced))
    };
    let addresses =
        ADDRESSES.iter().map(|(method, address, _)| (*method, path_of(method, address), body_of(address)));
    let malformed = MALFORMED.iter().map(|path| ("GET", (*path).to_owned(), ""));
    let (mut oracles, mut compared_count) = (Vec::new(), 0);
    for (method, path, body) in addresses.chain(malformed) {
        if !format!("{path}{body}").contains("private") {
            continue;
        }
        for (index, (existing, unknown)) in pairs.iter().enumerate() {
            // The last number is that of a source, the others are those of repositories.
            if index > 0 && (index == 3) != path.contains("/sources/private") {
                continue;
            }
            let [first, second] = [existing, unknown]
                .map(|name| answer(method, &path, body, (name.as_str(), existing.as_str())));
            compared_count += 1;
            if first != second {
                oracles.push(format!("{method} {path} {body}: {existing} {first:?}, {unknown} {second:?}"));
            }
        }
    }
    assert!(oracles.is_empty(), "{}", oracles.join("\n"));
    assert!(compared_count > 150, "{compared_count}");
}
