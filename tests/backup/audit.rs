//! The audit trail in backups: it is restored, and continues.

use serde_json::Value;

use super::machines::{back_up, blank, database, folder, repositories, server};
use crate::support::fixtures::until;
use crate::support::http;
use crate::support::server::{Builder, Server};

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

/// Creates a token of a user; returns its text and its GUID.
fn token(server: &Server, user: &str) -> (String, String) {
    let flags = format!("--scope=repos:read --repos=prod --user={user} --description={user}");
    let token = server.rspm_stdout(&format!("create token {flags} --quiet")).trim().to_owned();
    let tokens = server.json("list tokens");
    let row = tokens.as_array().expect("tokens").iter().find(|row| row["description"] == user).cloned();
    (token, row.expect("the token")["guid"].as_str().expect("a GUID").to_owned())
}

/// Whether the server accepts each token.
fn accepts(server: &Server, tokens: &[&str]) -> Vec<bool> {
    let status = |token: &&str| {
        let authorization = format!("Bearer {token}");
        let fields = [("Authorization", authorization.as_str())];
        http::request("GET", &server.url("/__api__/verify-auth"), &fields, b"").status
    };
    tokens.iter().map(|token| status(token) == 200).collect()
}

/// The commands that the output of a restore asks for.
fn commands(output: &str) -> Vec<String> {
    let lines = output.lines().filter_map(|line| line.trim_start().strip_prefix("rspm revoke token "));
    lines.map(|line| line.split("  # ").next().unwrap_or_default().replace('\'', "")).collect()
}

#[test]
fn a_restore_names_the_revocations_that_the_backup_lacks() {
    let directory = tempfile::tempdir().expect("a directory");
    let audit_log = directory.path().join("audit.log");
    let lines = format!("[Logging]\nAuditLog = {}\n", audit_log.display());
    let mut server = Builder::default().gcfg(&format!("{}{lines}", database("sqlite"))).start();
    repositories(&server);
    let (early, early_guid) = token(&server, "early");
    let ((by_guid, guid), (by_user, _), (valid, _)) =
        (token(&server, "late"), token(&server, "ann"), token(&server, "bob"));
    server.rspm_stdout(&format!("revoke token --guid={early_guid}"));
    back_up(&server);
    let tokens = [early.as_str(), &by_guid, &by_user, &valid];
    server.rspm_stdout(&format!("revoke token --guid={guid}"));
    server.rspm_stdout("revoke token --user=ann");
    assert_eq!(accepts(&server, &tokens), [false, false, false, true]);
    until("the file has the rows", || {
        std::fs::read_to_string(&audit_log).is_ok_and(|text| text.contains("revoke all tokens"))
    });
    server.stop();
    let folder = folder(&server).display().to_string();
    let expected = [format!("--guid={guid}"), "--user=ann".to_owned()];

    // The previous database has them.
    let output = server.rspm_stdout(&format!("backup restore --from {folder} --force"));
    assert!(output.contains("which the previous database has"), "{output}");
    assert_eq!(commands(&output), expected, "{output}");
    server.launch();
    assert_eq!(accepts(&server, &tokens), [false, true, true, true], "a restore makes them valid again");
    for command in commands(&output) {
        server.rspm_stdout(&format!("revoke token {command}"));
    }
    assert_eq!(accepts(&server, &tokens), [false, false, false, true]);

    for provider in ["sqlite", "postgres"] {
        // Only the file of the audit trail has them.
        let other = Builder::default().gcfg(&format!("{}{lines}", database(provider))).prepare();
        let output = other.json(&format!("backup restore --from {folder}"));
        let newer = &output["revocations"]["newer"];
        let names: Vec<&Value> = newer.as_array().expect("rows").iter().map(|row| &row["name"]).collect();
        assert_eq!(names, [&Value::from(guid.as_str()), &Value::from("ann")], "{provider}: {output}");
        assert_eq!(output["revocations"]["origin"], audit_log.display().to_string(), "{provider}");
        // Nothing has them.
        let output = blank(provider).rspm_stdout(&format!("backup restore --from {folder}"));
        assert!(output.contains("Which these are is not known here"), "{provider}: {output}");
        assert_eq!(commands(&output), [""; 0], "{provider}");
    }
}
