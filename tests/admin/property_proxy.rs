//! `[Proxy]`: one test per property, which sets it and checks the requests to the proxy.

use crate::support::fixtures::create_mirror;
use crate::support::recording_server::RecordingServer;
use crate::support::server::Builder;

/// Returns the request heads that a proxy received during a sync of a mirror whose name only the proxy can resolve.
fn proxy_heads(lines: impl Fn(&str) -> String) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a directory");
    create_mirror(&folder.path().join("cran"));
    let proxy = RecordingServer::folder(folder.path());
    let gcfg = format!("[CRAN]\nURL = http://mirror.test/cran\n[Proxy]\n{}", lines(&proxy.host()));
    let server = Builder::default().gcfg(&gcfg).env("NO_PROXY", "").env("no_proxy", "").start();
    server.sync().expect("the proxy leads to the mirror");
    proxy.heads()
}

/// Returns the distinct values of `Proxy-Authorization` in `heads`; `None` for a head without it.
fn authorization(heads: &[String]) -> Vec<Option<&str>> {
    const NAME: &str = "proxy-authorization: ";
    let mut values: Vec<Option<&str>> = heads
        .iter()
        .map(|head| {
            head.lines()
                .find_map(|line| line.to_ascii_lowercase().starts_with(NAME).then(|| &line[NAME.len()..]))
        })
        .collect();
    values.dedup();
    values
}

#[test]
pub(super) fn url_is_the_proxy_for_requests_to_the_mirror() {
    for scheme in ["", "http://"] {
        let heads = proxy_heads(|host| format!("URL = {scheme}{host}"));
        assert!(
            heads.iter().any(|head| head.starts_with("GET http://mirror.test/cran/src/contrib/PACKAGES")),
            "{heads:?}"
        );
        assert_eq!(authorization(&heads), [None]);
    }
}

#[test]
pub(super) fn url_may_contain_user_and_password() {
    let heads = proxy_heads(|host| format!("URL = http://team:w0rd@{host}\nUser = nobody\nPassword = x"));
    assert_eq!(authorization(&heads), [Some("Basic dGVhbTp3MHJk")], "team:w0rd");
}

#[test]
pub(super) fn user_is_sent_to_the_proxy() {
    let heads = proxy_heads(|host| format!("URL = {host}\nUser = team"));
    assert_eq!(authorization(&heads), [Some("Basic dGVhbTo=")], "team:");
}

#[test]
pub(super) fn password_is_sent_to_the_proxy() {
    let heads = proxy_heads(|host| format!("URL = {host}\nUser = team\nPassword = \"p@ss;/w\""));
    assert_eq!(authorization(&heads), [Some("Basic dGVhbTpwQHNzOy93")], "team:p@ss;/w");
}

#[test]
pub(super) fn no_proxy_of_the_environment_is_honoured() {
    let folder = tempfile::tempdir().expect("a directory");
    create_mirror(folder.path());
    let (web, proxy) = (RecordingServer::folder(folder.path()), RecordingServer::with_answer(502, ""));
    let gcfg = format!("[CRAN]\nURL = http://{}\n[Proxy]\nURL = {}", web.host(), proxy.host());
    let server = Builder::default().gcfg(&gcfg).env("NO_PROXY", "127.0.0.1").start();
    server.sync().expect("the mirror is reached directly");
    assert_eq!(proxy.heads().len(), 0);
}
