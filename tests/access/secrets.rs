//! No file that the server writes has a token.

use std::path::Path;

use super::{basic, bearer, get, private_repository, send, token};
use crate::support::fixtures::until;
use crate::support::http;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

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
        .gcfg("[Server]\nServiceLog = {dir}/service.log\nBackupPaths = {dir}/backups\n[Logging]\nSystemLogLevel = TRACE\nAuditLog = {dir}/audit.log")
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
    // An upload that nobody adds, credentials that are not valid, and a token in the place of an address or a name.
    let package = Tarball::new("beta", "1.0");
    let path = format!("/__api__/admin/v1/uploads?file={}&type=source", package.file());
    let uploaded =
        http::request("POST", &server.url(&path), &[("Authorization", &bearer(&admin))], &package.bytes());
    assert_eq!(uploaded.status, 201, "{}", uploaded.text());
    let (wrong, password) = (format!("rspm_{}", "Zq7".repeat(12)), "hunter2-is-a-password".to_owned());
    for authorization in [bearer(&wrong), basic("ann", &password), format!("{} x", bearer(&wrong))] {
        assert_eq!(get(&server, "/", Some(&authorization)).status, 401);
    }
    assert_eq!(server.rspm(&format!("revoke token --token={wrong}")).code, 1);
    server.rspm_stdout("config log --level=TRACE");
    until("the trail is copied", || !files_with(server.dir(), b"\"action\":\"set log level\"").is_empty());
    let backups = server.dir().join("backups");
    std::fs::create_dir(&backups).expect("a writable directory");
    server.rspm_stdout(&format!("backup create --to={}", backups.display()));
    let log = server.log_lines().join("\n");
    let encoded = |user: &str, password: &str| basic(user, password)["Basic ".len()..].to_owned();
    let (valid_pair, wrong_pair) = (encoded("__token__", &reader), encoded("ann", &password));
    for secret in [&reader, &admin, &third, &wrong, &password, &valid_pair, &wrong_pair] {
        assert_eq!(files_with(server.dir(), secret.as_bytes()), [""; 0]);
        assert!(!log.contains(secret.as_str()), "the log has a token");
    }
    assert!(
        !files_with(server.dir(), b"alpha_1.0.tar.gz").is_empty(),
        "the search finds a text that the files contain"
    );
}
