//! `[Metrics]`, `[StorageAudit]`, `[StorageAlerts]`: one test per property, which sets it and checks its effect.

use crate::support::fixtures::until;
use crate::support::http;
use crate::support::port::free_port;
use crate::support::server::{Builder, Server};
use crate::support::statfs;

/// Whether the log reports that metrics are served.
fn serves_metrics(server: &Server) -> bool {
    server.log_lines().iter().any(|line| line.contains("Metrics are served on"))
}

#[test]
pub(super) fn metrics_enabled_decides_whether_metrics_are_served() {
    assert!(serves_metrics(&Server::start()));
    let port = free_port();
    let server =
        Builder::default().gcfg(&format!("[Metrics]\nListen = 127.0.0.1:{port}\nEnabled = false")).start();
    assert!(!serves_metrics(&server));
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
pub(super) fn metrics_listen_is_the_address_that_answers() {
    let port = free_port();
    let server = Builder::default().gcfg(&format!("[Metrics]\nListen = 127.0.0.1:{port}")).start();
    let answer = http::get(&format!("http://127.0.0.1:{port}/metrics"));
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("\nprocess_open_fds "), "{}", answer.text());
    assert_eq!(server.get("/metrics").status, 404, "the other listeners have no metrics");
    assert!(server.urls().iter().all(|url| !url.ends_with(&format!(":{port}"))));
}

#[test]
pub(super) fn storage_audit_enabled_decides_whether_space_is_measured() {
    let used_space = |server: &Server| {
        let path = server.dir().join("data/cran").display().to_string();
        server.series(&format!("ppm_storage_used{{path=\"{path}\"}}"))
    };
    let server_without_audit = Builder::default().gcfg("[StorageAudit]\nEnabled = false").start();
    let server_with_audit = Server::start();
    until("the space is measured", || used_space(&server_with_audit).is_some());
    assert_eq!(used_space(&server_without_audit), None);
    assert!(!server_without_audit.metrics().text().contains("ppm_storage_"));
}

#[test]
pub(super) fn storage_alerts_uimessagetype_decides_whether_the_api_lists_full_file_systems() {
    let dir = tempfile::tempdir().expect("a directory");
    let full_dir = dir.path().join("full");
    std::fs::create_dir(&full_dir).expect("made");
    let library = statfs::build_full_disk_library(dir.path(), &full_dir).display().to_string();
    let start = |further_lines: &str| {
        let gcfg = format!("[FileStorage \"binaries\"]\nLocation = {}\n{further_lines}", full_dir.display());
        let server = Builder::default().gcfg(&gcfg).env("LD_PRELOAD", &library).start();
        server.wait_for_log(&format!("the file system of {} is over 90 % full", full_dir.display()));
        server
    };
    // Each server has its own database, so only the first server owns the directory. The other servers also report an
    // alert about the owner.
    let alerts = |server: &Server| {
        let mut alerts = server.get("/__api__/alerts").json();
        alerts.as_array_mut().expect("a list").retain(|alert| alert["type"] == "storage");
        alerts
    };
    for further_lines in ["", "[StorageAlerts]\nUIMessageType = warning"] {
        let server = start(further_lines);
        until("the alert is listed", || alerts(&server) != serde_json::json!([]));
        let expected = serde_json::json!([{
            "type": "storage", "name": "binaries", "since": null,
            "message": "the file system of the storage classes binaries is over 90 % full"
        }]);
        assert_eq!(alerts(&server), expected, "{further_lines}");
    }
    let server_without_alerts = start("[StorageAlerts]\nUIMessageType = none");
    // The log is written shortly before the API could list it.
    for _ in 0..20 {
        assert_eq!(alerts(&server_without_alerts), serde_json::json!([]));
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
