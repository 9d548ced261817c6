//! The places of the key (the environment, a credential of systemd, its file), and the modes of the file.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rstudio_pm::config::key_file;

use super::{append, encrypt, fingerprint, key_path, write_key};
use crate::support::manager::Manager;
use crate::support::postgres::{self, PASSWORD};
use crate::support::server::{Builder, Server};

/// Place and fingerprint of the key in `rspm status`; `None` without a key.
fn status(server: &Server) -> Option<String> {
    let text = server.rspm_stdout("status");
    text.lines().find_map(|line| line.strip_prefix("Encryption key: ")).map(str::to_owned)
}

fn text_of(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn the_environment_precedes_a_credential_and_a_credential_precedes_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let (credential, other) = (dir.path().join("rstudio-pm.key"), dir.path().join("other"));
    let (credential_key, variable_key) = (write_key(&credential), write_key(&other));
    let credentials = dir.path().display().to_string();
    let server = |environment: bool| {
        let builder = Builder::default().env("CREDENTIALS_DIRECTORY", &credentials);
        let server = match environment {
            true => builder.env("PACKAGEMANAGER_ENCRYPTION_KEY", &text_of(&other)),
            false => builder,
        };
        let mut server = server.prepare();
        write_key(&key_path(&server));
        let value = encrypt(&server, "s3cret");
        append(&server, &format!("[Proxy]\nURL = http://127.0.0.1:9\nPassword = {value}"));
        server.launch();
        server
    };
    assert_eq!(status(&server(false)), Some(format!("{} ({credential_key})", credential.display())));
    let server = server(true);
    assert_eq!(status(&server), Some(format!("PACKAGEMANAGER_ENCRYPTION_KEY ({variable_key})")));
    // The key of the running server is used by commands that are started without its environment.
    let output = server.rspm("check-config");
    assert!(
        output
            .out
            .contains(&format!("PACKAGEMANAGER_ENCRYPTION_KEY ({variable_key}), the key of this database")),
        "{}",
        output.out
    );
    let value = server.rspm("encrypt s3cret").out;
    let key = key_file::read(&other).unwrap().expect("a key").key;
    assert!(rstudio_pm::encryption::value::decrypt(&key, value.trim_end()).is_some());
}

#[test]
fn a_key_in_the_environment_is_passed_on_at_an_upgrade() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let key = write_key(&path);
    let mut manager = Manager::new("");
    manager.env("PACKAGEMANAGER_ENCRYPTION_KEY", &text_of(&path));
    manager.start();
    let expected = Some(format!("PACKAGEMANAGER_ENCRYPTION_KEY ({key})"));
    assert_eq!(status(&manager.server), expected);
    manager.upgrade().expect("an upgrade");
    assert_eq!(status(&manager.server), expected);
}

#[test]
fn a_key_that_cannot_be_used_prevents_the_start_and_is_not_printed() {
    let server = Builder::default().prepare();
    let path = key_path(&server);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, "0123456789abcdef").unwrap();
    let output = server.start_refused();
    let expected = format!("{} is not an encryption key: it has 8 bytes when decoded", path.display());
    assert!(output.contains(&expected) && !output.contains("0123456789abcdef"), "{output}");
    let (code, check) = server.check_config();
    assert!(code == 1 && check.contains(&expected), "{check}");
    // Commands that need no key work.
    assert_eq!(server.rspm("list").code, 3);
}

#[test]
fn a_key_that_others_can_read_causes_a_warning_with_the_command_that_fixes_it() {
    let mut server = Builder::default().prepare();
    let path = key_path(&server);
    write_key(&path);
    for (mode, has_warning) in [(0o600, false), (0o640, false), (0o644, true), (0o660, true)] {
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        server.launch();
        let log = server.log_lines().join("\n");
        let fix = format!("fix it with: chmod 0600 '{}'", path.display());
        assert_eq!(log.contains(&fix), has_warning, "{mode:o}\n{log}");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, mode);
        server.stop();
    }
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
    let output = server.start_refused();
    assert!(output.contains("is writable by all users (mode 0666)"), "{output}");
}

#[test]
fn a_key_that_appears_is_used_after_a_reload() {
    let (server, mirror) = (Server::start(), tempfile::tempdir().unwrap());
    assert_eq!(status(&server), None);
    let value = encrypt(&server, "s3cret");
    let url = format!("file://{}", mirror.path().display());
    server.hup_applies(
        &format!("[Proxy]\nPassword = {value}\n[CRAN]\nURL = {url}"),
        &["CRAN.URL is", "Proxy.Password is '***'"],
    );
    let key = fingerprint(&key_path(&server));
    assert_eq!(status(&server), Some(format!("{} ({key})", key_path(&server).display())));
    // Another key is refused, and nothing changes.
    write_key(&key_path(&server));
    let refusal = server.hup_refused("[CRAN]\nURL = http://127.0.0.1:9/");
    assert!(refusal.contains("cannot be decrypted with the encryption key"), "{refusal}");
    assert_eq!(status(&server), Some(format!("{} ({key})", key_path(&server).display())));
}

#[test]
fn systemd_style_credentials_contain_the_password_of_the_database() {
    let dir = tempfile::tempdir().unwrap();
    write_key(&dir.path().join("rstudio-pm.key"));
    let server = postgres::server();
    let url = server.schema();
    let schema = url.rsplit_once("search_path=").expect("a schema").1.to_owned();
    server.sql(&format!("GRANT ALL ON SCHEMA {schema} TO PUBLIC"));
    let gcfg = format!(
        "[Database]\nProvider = postgres\n[Postgres]\nURL = \"postgres://pm@localhost:{}/postgres?search_path={schema}\"",
        server.port
    );
    let credentials = dir.path().display().to_string();
    let builder = Builder::default().env("CREDENTIALS_DIRECTORY", &credentials).env("PGPASSWORD", "");
    let mut server = builder.gcfg(&gcfg).prepare();
    let value = encrypt(&server, PASSWORD);
    append(&server, &format!("Password = {value}"));
    server.launch();
    assert_eq!(server.get("/__ping__").status, 200);
    assert!(!key_path(&server).exists());
}
