//! The audit trail in backups: it is restored, and continues.

use serde_json::Value;

use super::machines::{back_up, blank, folder, server};
use crate::support::server::Server;

fn rows(server: &Server) -> Vec<Value> {
    let lines = server.rspm_stdout("audit export");
    lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn the_trail_is_restored_into_both_databases_and_continues() {
    let server = server("sqlite");
    server.rspm_stdout("create source --name=audited");
    back_up(&server);
    let before: Vec<Value> = rows(&server)
        .into_iter()
        .filter(|row| row["action"] != "backup" && row["action"] != "start job")
        .collect();
    assert!(before.iter().any(|row| row["object"] == "audited"));
    for provider in ["sqlite", "postgres"] {
        let mut other = blank(provider);
        other.rspm_stdout(&format!("backup restore --from {}", folder(&server).display()));
        other.launch();
        let after = rows(&other);
        let has = |row: &Value| after.iter().any(|other| other == row);
        assert!(before.iter().all(has), "{provider}: {after:?}");
        let restore = after.iter().find(|row| row["action"] == "restore").expect("the restore is recorded");
        assert_eq!(restore["actor"], "rspm backup restore", "{provider}");
        other.rspm_stdout("create source --name=later");
        let verified = other.json("audit verify");
        assert_eq!(verified["problems"], serde_json::json!([]), "{provider}");
        assert_eq!(verified["rows"], after.len() + 1, "{provider}");
    }
}
