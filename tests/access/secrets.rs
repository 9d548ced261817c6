//! No file that the server writes contains a token.

use std::path::Path;

use serde_json::json;

use super::sign_in::{access_token, allow, begin_device, form, poll};
use super::{basic, bearer, get, private_repository, send, token};
use crate::support::browser::Browser;
use crate::support::fixtures::until;
use crate::support::http;
use crate::support::issuer::Issuer;
use crate::support::openid_provider::OpenIdProvider;
use crate::support::port::free_port;
use crate::support::secrets::files_with_tokens;
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
    // An upload that is never added, credentials that are not valid, and the revocation of an unknown token.
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

#[test]
fn secrets_of_sign_in_and_federation_are_in_no_log_database_or_backup() {
    let (provider, issuer, port) = (OpenIdProvider::mock(), Issuer::start(), free_port());
    provider.set_user("ann", &json!({"preferred_username": "ann"}));
    // Outside of the folders of the server.
    let folder = tempfile::tempdir().expect("a directory");
    let client_secret = "client-secret-of-packages";
    std::fs::write(folder.path().join("secret"), client_secret).expect("written");
    let key = "7b".repeat(512);
    let server = Builder::default()
        .env("PACKAGEMANAGER_ENCRYPTION_KEY", &key)
        .gcfg(&format!(
            "[Server]\nAddress = http://127.0.0.1:{port}\nServiceLog = {{dir}}/service.log\n\
             BackupPaths = {{dir}}/backups\n[HTTP]\nListen = 127.0.0.1:{port}\n\
             [Logging]\nSystemLogLevel = TRACE\nAuditLog = {{dir}}/audit.log\n\
             [OpenIDConnect]\nIssuer = {}\nClientId = packages\nClientSecretFile = {}/secret\nLogging = true\n\
             Scope = repos:read:team\n[IdentityFederation \"pods\"]\nIssuer = {}\nAudience = cluster\n\
             Subject = pod\nScope = repos:read:team",
            provider.issuer(),
            folder.path().display(),
            issuer.url()
        ))
        .start();
    private_repository(&server, "team", "alpha");
    let index = "/team/latest/src/contrib/PACKAGES";
    // A browser: the secret of the sign-in, the code, and the session.
    let browser = Browser::new();
    let begin = browser.get_one(&server.url("/__login__?return=/team/latest/"));
    let login = browser.cookie("ppm_login").expect("a sign-in");
    let kind = ("Content-Type", "application/x-www-form-urlencoded");
    let answer = http::request("POST", &begin.url, &[kind], b"sub=ann");
    let callback = answer.header("location").expect("the callback").to_owned();
    let code = callback.split("code=").nth(1).and_then(|rest| rest.split('&').next()).expect("a code");
    assert_eq!(browser.get_one(&callback).status, 303);
    assert_eq!(browser.get_one(&callback).status, 400, "used");
    let session = browser.cookie("ppm").expect("a session");
    assert_eq!(browser.get(&server.url(index)).status, 200);
    // A device: its code, its verifier, and the token of the exchange.
    let (device, verifier) = begin_device(&server);
    let device_code = device["device_code"].as_str().expect("a code").to_owned();
    assert_eq!(poll(&server, &device, "wrong-verifier-of-a-device").status, 400);
    allow(&browser, &device);
    let access = access_token(&server, &device, &verifier);
    assert_eq!(get(&server, index, Some(&bearer(&access))).status, 200);
    // A token of another issuer, accepted and refused.
    let accepted = issuer.token(&json!({"aud": "cluster", "sub": "pod"}));
    let refused = issuer.token(&json!({"aud": "elsewhere", "sub": "pod"}));
    let exchange = |token: &str| {
        let fields = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", token),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ];
        form(&server, "/__api__/token", &fields)
    };
    let answer = exchange(&accepted);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let federated = answer.json()["access_token"].as_str().expect("a token").to_owned();
    assert_eq!(exchange(&refused).status, 400);
    for wrong in [&accepted, &refused] {
        assert_eq!(get(&server, index, Some(&bearer(wrong))).status, 401);
        assert_eq!(get(&server, index, Some(&basic("__token__", wrong))).status, 401);
    }
    // A session that is unknown, and one that has ended.
    let unknown = "c3".repeat(32);
    let cookie = format!("ppm={unknown}");
    assert_eq!(http::request("GET", &server.url(index), &[("Cookie", &cookie)], b"").status, 401);
    browser.post(&server.url("/__logout__"), &[], "same-origin");
    let backups = server.dir().join("backups");
    std::fs::create_dir(&backups).expect("a writable directory");
    server.rspm_stdout(&format!("backup create --to={}", backups.display()));
    let log = server.log_lines().join("\n");
    let signature = |token: &str| token.rsplit('.').next().expect("a part").to_owned();
    let secrets = [
        key,
        client_secret.to_owned(),
        login,
        code.to_owned(),
        session,
        unknown,
        device_code,
        verifier,
        "wrong-verifier-of-a-device".to_owned(),
        signature(&access),
        signature(&federated),
        signature(&accepted),
        signature(&refused),
    ];
    for secret in &secrets {
        assert!(secret.len() > 8, "{secret}");
        assert_eq!(files_with(server.dir(), secret.as_bytes()), [""; 0], "{secret}");
        assert!(!log.contains(secret.as_str()), "the log has {secret}");
    }
    assert!(!files_with(server.dir(), b"exchange token").is_empty(), "the trail names the exchange");
}

#[test]
fn a_search_finds_tokens_of_both_forms() {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("written");
    };
    let signed = format!("eyJ{0}.eyJ{0}.{0}", "aB3_".repeat(6));
    write("data/db/a", &format!("\0rspm_{}\0", "Zq7".repeat(12)));
    write("access.log.1", &signed);
    write("netrc", &signed);
    write("data/b", "rspm_short and eyJhbGciOi");
    let mut found = files_with_tokens(directory.path());
    found.sort();
    assert_eq!(found, [directory.path().join("access.log.1"), directory.path().join("data/db/a")]);
}
