//! `[Metrics]`, `[StorageAudit]`: each property changed, and what changes with it.

use crate::support::furnish::{free_port, until};
use crate::support::http;
use crate::support::server::{Builder, Server};

/// Whether the log says that metrics are served.
fn served(server: &Server) -> bool {
    server.log_lines().iter().any(|line| line.contains("Metrics are served on"))
}

#[test]
pub(super) fn metrics_enabled_decides_whether_they_are_served() {
    assert!(served(&Server::start()));
    let port = free_port();
    let server =
        Builder::default().gcfg(&format!("[Metrics]\nListen = 127.0.0.1:{port}\nEnabled = false")).start();
    assert!(!served(&server));
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
pub(super) fn metrics_listen_is_the_address_that_answers() {
    let port = free_port();
    let server = Builder::default().gcfg(&format!("[Metrics]\nListen = 127.0.0.1:{port}")).start();
    let answer = http::get(&format!("http://127.0.0.1:{port}/metrics"));
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("\nprocess_open_fds "), "{}", answer.text());
    assert_eq!(server.get("/metrics").status, 404, "nobody else is told");
    assert!(server.urls().iter().all(|url| !url.ends_with(&format!(":{port}"))));
}

#[test]
pub(super) fn storage_audit_enabled_decides_whether_space_is_measured() {
    let used = |server: &Server| {
        let path = server.dir().join("data/cran").display().to_string();
        server.series(&format!("ppm_storage_used{{path=\"{path}\"}}"))
    };
    let off = Builder::default().gcfg("[StorageAudit]\nEnabled = false").start();
    let on = Server::start();
    until("the space is measured", || used(&on).is_some());
    assert_eq!(used(&off), None);
    assert!(!off.metrics().text().contains("ppm_storage_"));
}
