//! Environment variables override the file, in the daemon and in the check, also in sections with a subsection name.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};

use rustls::version::TLS13;

use super::property_database::{assert_tables, on_postgres, schema_over_tcp};
use crate::support::fixtures::until;
use crate::support::postgres::PASSWORD;
use crate::support::server::{Builder, Server};
use crate::support::tls::Pair;

#[test]
fn a_variable_overrides_the_file() {
    let server = Builder::default()
        .gcfg("[Server]\nAddress = https://file.example.org/one")
        .env("PACKAGEMANAGER_SERVER_ADDRESS", "https://environment.example.org/two")
        .start();
    assert_eq!(server.get("/two/__ping__").status, 200);
    assert_eq!(server.get("/one/__ping__").status, 404);
}

#[test]
fn a_variable_sets_the_location_of_a_storage_class() {
    let dir = tempfile::tempdir().expect("a directory");
    let location = dir.path().join("elsewhere");
    let server = Builder::default()
        .gcfg("[FileStorage \"packages\"]\nLocation = {dir}/from-the-file")
        .env("PACKAGEMANAGER_FILESTORAGE_PACKAGES_LOCATION", &location.display().to_string())
        .env("PACKAGEMANAGER_STORAGE_CACHE", "file")
        .start();
    assert!(location.is_dir());
    assert!(!server.dir().join("from-the-file").exists());
}

#[test]
fn a_variable_of_a_repeatable_property_is_a_list() {
    let logs = tempfile::tempdir().expect("a directory");
    let (first_log, second_log) = (logs.path().join("one.log"), logs.path().join("two.log"));
    let value = format!("STDERR, {}, {}", first_log.display(), second_log.display());
    let _server = Builder::default().env("PACKAGEMANAGER_LOGGING_SYSTEMLOG", &value).start();
    for log in [first_log, second_log] {
        until("the log is written", || {
            std::fs::read_to_string(&log).is_ok_and(|text| text.contains("is ready after"))
        });
    }
}

#[test]
fn a_variable_of_an_unknown_property_causes_a_warning_and_fails_the_check() {
    let server = Builder::default().env("PACKAGEMANAGER_SERVER_DATADRI", "/x").start();
    let expected = "environment PACKAGEMANAGER_SERVER_DATADRI: ";
    let is_warning =
        |line: &String| line.contains("WARN") && line.contains(expected) && line.contains("DataDir");
    assert!(server.log_lines().iter().any(is_warning), "{:?}", server.log_lines());
    let finding = server.failed_check("Unknown sections and properties");
    assert!(finding.starts_with(expected) && finding.contains("DataDir"), "{finding}");
}

#[test]
fn a_wrong_value_is_reported_with_the_name_of_the_variable() {
    let server = Builder::default().env("PACKAGEMANAGER_HTTP_LISTEN", "nowhere").prepare();
    let expected = "environment PACKAGEMANAGER_HTTP_LISTEN: [HTTP] Listen = \"nowhere\": ";
    assert!(server.start_refused().contains(expected));
    assert!(server.failed_check("Configuration file syntax").starts_with(expected));
}

/// Creates a credential like `LoadCredential=` of systemd: a file in a read-only directory that only the server's user
/// can enter.
fn create_credential(server: &Server, name: &str, content: &str) -> String {
    let dir = server.dir().join("credentials");
    let file = dir.join(name);
    fs::create_dir(&dir).expect("a directory");
    fs::write(&file, content).expect("written");
    let user = nix::unistd::User::from_name("postgres").ok().flatten().expect("run tests/setup");
    for (path, mode) in [(&file, 0o400), (&dir, 0o500)] {
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("ours");
        chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("root may change the owner");
    }
    for path in [server.dir(), &server.dir().join("tmp")] {
        chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("root may change the owner");
    }
    file.display().to_string()
}

#[test]
fn a_key_is_read_from_a_credential() {
    let dir = tempfile::tempdir().expect("a directory");
    let key = dir.path().join("key").display().to_string();
    let gcfg = "[HTTPS]\nListen = 127.0.0.1:0\nCertificate = {dir}/server.crt";
    let mut server = Builder::default()
        .gcfg(gcfg)
        // Environment=PACKAGEMANAGER_HTTPS_KEY=%d/key
        .env("PACKAGEMANAGER_HTTPS_KEY", &key)
        .arguments(&["--user", "postgres"])
        .prepare();
    let pair = Pair::new();
    fs::write(server.dir().join("server.crt"), &pair.certificate).expect("written");
    std::os::unix::fs::symlink(create_credential(&server, "key", &pair.key), &key).expect("a link");
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("ours");
    server.launch();
    let host = server.urls().iter().find_map(|url| url.strip_prefix("https://")).expect("HTTPS");
    assert_eq!(pair.get(host, &[&TLS13], "/__ping__").expect("an answer").status, 200);
    assert!(!server.log_lines().iter().any(|line| line.contains("HTTPS.Key")), "{:?}", server.log_lines());
}

#[test]
fn a_password_is_read_from_a_credential_and_again_by_a_reload() {
    let (schema, url) = schema_over_tcp("pm", "");
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("password");
    let mut server = on_postgres(&url, "")
        // Environment=PACKAGEMANAGER_POSTGRES_PASSWORD_FILE=%d/password
        .env("PACKAGEMANAGER_POSTGRES_PASSWORD_FILE", &file.display().to_string())
        .arguments(&["--user", "postgres"])
        .prepare();
    let output = server.start_refused();
    let expected = format!(
        "environment PACKAGEMANAGER_POSTGRES_PASSWORD_FILE: Password = \"{}\": cannot read the file with the value",
        file.display()
    );
    assert!(output.contains(&expected), "{output}");
    std::os::unix::fs::symlink(create_credential(&server, "password", &format!("{PASSWORD}\n")), &file)
        .expect("a link");
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("ours");
    chown(server.config_file(), Some(nix::unistd::geteuid().as_raw()), None).expect("ours");
    fs::set_permissions(server.config_file(), Permissions::from_mode(0o644)).expect("ours");
    server.launch();
    assert_tables(&schema);
    assert!(server.log_lines().iter().all(|line| !line.contains(PASSWORD)));
    server.hup_applies("", &[]);
}
