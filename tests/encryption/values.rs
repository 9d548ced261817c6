//! Encrypted values in the configuration.

use std::os::unix::fs::PermissionsExt;

use super::{append, encrypt, fingerprint, key_path, write_key};
use crate::support::postgres::{self, PASSWORD};
use crate::support::server::{Builder, Server};

/// A server on a new schema for the role `pm`, whose password is missing at the end of the configuration.
fn server_without_password() -> Server {
    let postgres = postgres::server();
    let url = postgres.schema();
    let schema = url.rsplit_once("search_path=").expect("a schema").1.to_owned();
    postgres.sql(&format!("GRANT ALL ON SCHEMA {schema} TO PUBLIC"));
    let url = format!("postgres://pm@localhost:{}/postgres?search_path={schema}", postgres.port);
    let gcfg = format!("[Database]\nProvider = postgres\n[Postgres]\nURL = \"{url}\"");
    Builder::default().env("PGPASSWORD", "").gcfg(&gcfg).prepare()
}

#[test]
fn an_encrypted_password_connects_to_postgres_and_is_never_printed() {
    let mut server = server_without_password();
    let value = encrypt(&server, PASSWORD);
    append(&server, &format!("Password = \"{value}\"\n[Logging]\nSystemLogLevel = TRACE"));
    server.launch();
    assert_eq!(server.get("/__ping__").status, 200);
    let key = std::fs::read_to_string(key_path(&server)).unwrap();
    let reload = server.hup("[Server]\nContentTypeSniffing = true").join("\n");
    let (_, check) = server.check_config();
    assert!(check.contains("[PASS] Database"), "{check}");
    let status = server.rspm_stdout("status");
    for text in [server.log_lines().join("\n"), reload, check, status] {
        for secret in [PASSWORD, "s3cret", &value, &value[..30], &key[..40]] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

#[test]
fn a_whole_url_may_be_encrypted() {
    let mut server = server_without_password();
    let gcfg = std::fs::read_to_string(server.config_file()).unwrap();
    let (before, url) = gcfg.trim_end().rsplit_once("URL = ").expect("a URL");
    let value = encrypt(&server, &url.trim_matches('"').replace("pm@", "pm:s3cret%3A%40@"));
    std::fs::write(server.config_file(), format!("{before}URL = {value}\n")).unwrap();
    server.launch();
    assert_eq!(server.get("/__ping__").status, 200);
    // Commands of other users cannot read the key, and need not.
    std::fs::set_permissions(server.config_file(), PermissionsExt::from_mode(0o644)).unwrap();
    assert_eq!(server.rspm("list").code, 0);
}

#[test]
fn a_value_that_cannot_be_decrypted_is_an_error_with_its_place_and_the_key() {
    let server = server_without_password();
    let value = encrypt(&server, PASSWORD);
    let other = Builder::default().prepare();
    let foreign_value = encrypt(&other, PASSWORD);
    let mut damaged_value = value.clone().into_bytes();
    damaged_value[40] = if damaged_value[40] == b'A' { b'B' } else { b'A' };
    let damaged_value = String::from_utf8(damaged_value).unwrap();
    let gcfg = std::fs::read_to_string(server.config_file()).unwrap();
    let key = format!("{} ({})", key_path(&server).display(), fingerprint(&key_path(&server)));
    let line = gcfg.lines().count() + 1;
    let place = format!("{}:{line}:12: [Postgres] Password: ", server.config_file().display());
    for bad_value in [&foreign_value, &damaged_value, &value[..value.len() - 4], &value[..value.len() - 3]] {
        std::fs::write(server.config_file(), format!("{gcfg}Password = {bad_value}\n")).unwrap();
        let output = server.start_refused();
        let expected = format!("{place}cannot be decrypted with the encryption key {key}");
        assert!(output.contains(&expected) && output.contains("rspm encrypt"), "{output}");
        assert!(!output.contains(&bad_value[..20]), "{output}");
        let (code, check) = server.check_config();
        assert!(code == 1 && check.contains(&expected), "{check}");
    }
    std::fs::remove_file(key_path(&server)).unwrap();
    let output = server.start_refused();
    let expected =
        format!("{place}is encrypted, but there is no encryption key at {}", key_path(&server).display());
    assert!(output.contains(&expected), "{output}");
}

#[test]
fn an_encrypted_password_allows_a_configuration_that_others_can_read() {
    let mut server = Builder::default().prepare();
    let value = encrypt(&server, "s3cret");
    append(&server, &format!("[Proxy]\nURL = http://127.0.0.1:9\nPassword = {value}"));
    let has_warning =
        |server: &Server| server.log_lines().iter().any(|line| line.contains("the configuration file '"));
    std::fs::set_permissions(server.config_file(), PermissionsExt::from_mode(0o644)).unwrap();
    server.launch();
    assert!(!has_warning(&server), "{:#?}", server.log_lines());
    server.stop();
    append(&server, "Password = s3cret");
    server.launch();
    assert!(has_warning(&server), "{:#?}", server.log_lines());
}

#[test]
fn a_value_of_the_original_with_a_version_is_accepted() {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let mut server = server_without_password();
    write_key(&key_path(&server));
    let box_bytes = STANDARD.decode(encrypt(&server, PASSWORD)).unwrap();
    let value_with_version = STANDARD.encode([&[1][..], &box_bytes].concat());
    append(&server, &format!("Password = {value_with_version}"));
    server.launch();
    assert_eq!(server.get("/__ping__").status, 200);
}

#[test]
fn an_encrypted_value_in_the_environment_is_decrypted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    write_key(&path);
    let key = rstudio_pm::config::key_file::read(&path).unwrap().expect("a key").key;
    let value = rstudio_pm::config::key_file::encrypt(&key, PASSWORD).unwrap();
    let postgres = postgres::server();
    let url = postgres.schema();
    let schema = url.rsplit_once("search_path=").expect("a schema").1.to_owned();
    postgres.sql(&format!("GRANT ALL ON SCHEMA {schema} TO PUBLIC"));
    let server = Builder::default()
        .gcfg("[Database]\nProvider = postgres\n[Server]")
        .gcfg(&format!("EncryptionKeyPath = {}", path.display()))
        .gcfg(&format!(
            "[Postgres]\nURL = \"postgres://pm@localhost:{}/postgres?search_path={schema}\"",
            postgres.port
        ))
        .env("PGPASSWORD", "")
        .env("PACKAGEMANAGER_POSTGRES_PASSWORD", &value)
        .start();
    assert_eq!(server.get("/__ping__").status, 200);
}
