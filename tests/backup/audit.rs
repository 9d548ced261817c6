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
    let saved_rows: Vec<Value> = rows(&server)
        .into_iter()
        .filter(|row| row["action"] != "backup" && row["action"] != "start job")
        .collect();
    assert!(saved_rows.iter().any(|row| row["object"] == "audited"));
    for provider in ["sqlite", "postgres"] {
        let mut other = blank(provider);
        other.rspm_stdout(&format!("backup restore --from {}", folder(&server).display()));
        other.launch();
        let restored_rows = rows(&other);
        assert!(saved_rows.iter().all(|row| restored_rows.contains(row)), "{provider}: {restored_rows:?}");
        let restore =
            restored_rows.iter().find(|row| row["action"] == "restore").expect("the restore is recorded");
        assert_eq!(restore["actor"], "rspm backup restore", "{provider}");
        other.rspm_stdout("create source --name=later");
        let verification = other.json("audit verify");
        assert_eq!(verification["problems"], serde_json::json!([]), "{provider}");
        assert_eq!(verification["rows"], restored_rows.len() + 1, "{provider}");
    }
}
