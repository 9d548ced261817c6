//! No file that the server writes has a token.

use std::path::Path;

use super::{basic, bearer, get, private_repository, send, token};
use crate::support::server::{Builder, Server};

/// The files below a directory that contain `text`.
fn files_with(directory: &Path, text: &[u8]) -> Vec<String> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(files_with(&path, text));
        } else if let Ok(bytes) = std::fs::read(&path)
            && memchr::memmem::find(&bytes, text).is_some()
        {
            files.push(path.display().to_string());
        }
    }
    files
}

#[test]
fn tokens_are_in_no_log_database_or_backup() {
    let server: Server = Builder::default()
        .gcfg("[Server]\nServiceLog = {dir}/service.log\nBackupPaths = {dir}/backups\n[Logging]\nSystemLogLevel = TRACE")
        .start();
    private_repository(&server, "team", "alpha");
    let reader = token(&server, "--scope=repos:read --repos=team");
    let admin = token(&server, "--scope=global:admin");
    let file = "/team/latest/src/contrib/alpha_1.0.tar.gz";
    for authorization in [bearer(&reader), basic("__token__", &reader), basic(&reader, "")] {
        assert_eq!(get(&server, file, Some(&authorization)).status, 200);
    }
    let body = r#"{"scopes": [{"scope": "global:admin"}], "description": "x"}"#;
    let response = send(&server, "POST", "/__api__/admin/v1/tokens", Some(&bearer(&admin)), body).json();
    let third = response["token"].as_str().expect("a token").to_owned();
    server.rspm_stdout(&format!("revoke token --token={reader}"));
    assert_eq!(get(&server, file, Some(&bearer(&reader))).status, 401);
    let backups = server.dir().join("backups");
    std::fs::create_dir(&backups).expect("a writable directory");
    server.rspm_stdout(&format!("backup create --to={}", backups.display()));
    let log = server.log_lines().join("\n");
    let encoded = basic("__token__", &reader);
    for secret in [&reader, &admin, &third, &encoded["Basic ".len()..].to_owned()] {
        assert_eq!(files_with(server.dir(), secret.as_bytes()), [""; 0]);
        assert!(!log.contains(secret.as_str()), "the log has a token");
    }
    assert!(
        !files_with(server.dir(), b"alpha_1.0.tar.gz").is_empty(),
        "the search finds a text that the files contain"
    );
}
