//! The last backup and the last test of a backup, as `rspm status`, the alerts and the metrics show them.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::machines::{back_up, copy_folder, folder, server};
use crate::support::fixtures::until;
use crate::support::server::Server;

/// Returns the last result of a command in the backup folder of the server.
fn last_result(server: &Server, command: &str) -> Option<Value> {
    let status = server.json("status");
    let place = folder(server).display().to_string();
    let results = status["backups"].as_array().expect("a list").iter();
    results.into_iter().find(|row| row["command"] == command && row["place"] == *place).cloned()
}

/// Returns the names of the alerts about backups.
fn alerts(server: &Server) -> Vec<Value> {
    let alerts = server.get("/__api__/alerts").json();
    let rows = alerts.as_array().expect("a list").iter();
    let backups: Vec<Value> = rows.filter(|alert| alert["type"] == "backup").cloned().collect();
    assert!(!alerts.to_string().contains("/backups"), "folders are not public: {alerts}");
    backups.into_iter().map(|alert| alert["name"].clone()).collect()
}

/// Returns the path of the dump of the newest backup.
fn newest_dump(server: &Server) -> PathBuf {
    let manifests = super::machines::manifests(server);
    let sha256 = manifests.last().expect("a backup")["manifest"]["dump"]["sha256"].clone();
    folder(server).join(format!("db/{}.dump", sha256.as_str().expect("a digest")))
}

fn check_results(provider: &str) {
    let mut server = server(provider);
    assert_eq!(server.json("status")["backups"], json!([]));
    assert_eq!(server.series("ppm_backup_last_result{command=\"create\"}"), None);
    let test = format!("backup test --from {}", folder(&server).display());

    back_up(&server);
    server.rspm_stdout(&test);
    for (command, series) in [
        ("create", "ppm_backup_last_success_timestamp_seconds"),
        ("test", "ppm_backup_test_last_success_timestamp_seconds"),
    ] {
        let result = last_result(&server, command).expect("recorded");
        assert!(result["error"].is_null() && result["last_success"] == result["at"], "{result}");
        assert!(server.series(series).is_some_and(|at| at > 1_700_000_000.0), "{series}");
        assert_eq!(server.series(&format!("ppm_backup_last_result{{command=\"{command}\"}}")), Some(1.0));
    }
    let text = server.rspm_stdout("status");
    let place = folder(&server).display().to_string();
    for line in ["Last backup: ", "Last test of a backup: "] {
        let line = text.lines().find(|shown| shown.starts_with(line)).unwrap_or_else(|| panic!("{text}"));
        assert!(line.ends_with(&format!("UTC in {place}")), "{line}");
    }
    assert_eq!(alerts(&server), [""; 0]);

    // A damaged backup: the test fails, also according to the status after a restart.
    let success = last_result(&server, "test").expect("recorded")["last_success"].clone();
    let dump = newest_dump(&server);
    let bytes = std::fs::read(&dump).expect("readable");
    std::fs::write(&dump, &bytes[..bytes.len() / 2]).expect("written");
    assert_eq!(server.rspm(&test).code, 1);
    for _ in 0..2 {
        let result = last_result(&server, "test").expect("recorded");
        assert!(result["error"].as_str().is_some_and(|error| error.contains(".dump")), "{result}");
        assert_eq!(result["last_success"], success);
        assert_eq!(alerts(&server), ["test"]);
        until("the metric follows", || {
            server.series("ppm_backup_last_result{command=\"test\"}") == Some(0.0)
        });
        let text = server.rspm_stdout("status");
        assert!(
            text.contains("Warning: the test of a backup in ") && text.contains(", failed; the last"),
            "{text}"
        );
        server.restart();
    }

    // A test of a folder without recorded backups is not recorded.
    let copy = server.dir().join("copy");
    copy_folder(&folder(&server), &copy);
    assert_eq!(server.rspm(&format!("backup test --from {}", copy.display())).code, 1);
    assert!(!server.json("status")["backups"].to_string().contains("/copy"));

    back_up(&server);
    server.rspm_stdout(&test);
    assert_eq!(alerts(&server), [""; 0]);
}

#[test]
fn results_are_shown_with_sqlite() {
    check_results("sqlite");
}

#[test]
fn results_are_shown_with_postgresql() {
    check_results("postgres");
}

#[test]
fn a_backup_that_failed_is_an_alert_until_one_succeeds() {
    let mut server = server("sqlite");
    back_up(&server);
    let blobs = folder(&server).join("blobs");
    std::fs::rename(&blobs, folder(&server).join("moved")).expect("moved");
    std::os::unix::fs::symlink("moved", &blobs).expect("a link");
    let error = server.refused(&format!("backup create --to {}", folder(&server).display()));
    assert!(error.contains("blobs: is a symbolic link"), "{error}");
    server.restart();
    let result = last_result(&server, "create").expect("recorded");
    assert!(result["error"].as_str().is_some_and(|error| error.contains("symbolic link")), "{result}");
    assert!(result["last_success"].is_string(), "{result}");
    assert_eq!(alerts(&server), ["create"]);
    std::fs::remove_file(&blobs).expect("removed");
    std::fs::rename(folder(&server).join("moved"), &blobs).expect("moved");
    back_up(&server);
    assert_eq!(alerts(&server), [""; 0]);
}

#[test]
fn a_test_without_a_server_is_not_recorded_and_succeeds() {
    let mut server = server("sqlite");
    back_up(&server);
    server.stop();
    let output = server.rspm(&format!("backup test --from {}", folder(&server).display()));
    assert_eq!((output.code, output.err.as_str()), (0, ""), "{output:?}");
    server.launch();
    assert_eq!(last_result(&server, "test"), None);
}
