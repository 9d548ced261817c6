//! The first `rspm encrypt` creates the key, unless the configuration or the database uses another key.

use std::os::unix::fs::PermissionsExt;

use rstudio_pm::config::Config;

use super::{append, encrypt, encrypt_lines, fingerprint, key_path, write_key};
use crate::support::db::{Engine, settings};
use crate::support::port::free_port;
use crate::support::server::{Builder, Server};

fn entries(server: &Server) -> Vec<String> {
    let directory = std::fs::read_dir(server.dir().join("data")).unwrap();
    directory.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn the_first_value_creates_a_private_key_and_only_the_encrypted_value_is_printed() {
    let server = Builder::default().prepare();
    let output = encrypt_lines(&server, "s3cret\n");
    assert_eq!(output.code, 0, "{}", output.err);
    let path = key_path(&server);
    let expected = format!("Created the encryption key {} ({}).\n", path.display(), fingerprint(&path));
    assert_eq!(output.err, expected);
    assert!(
        output.out.ends_with('\n') && !output.out.trim_end().contains(char::is_whitespace),
        "{}",
        output.out
    );
    assert_eq!(entries(&server), ["rstudio-pm.key"]);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.len() == 1024 && text.bytes().all(|byte| byte.is_ascii_hexdigit()), "{text}");

    let second_output = encrypt_lines(&server, "s3cret");
    assert_eq!((second_output.code, second_output.err.as_str()), (0, ""), "the key is used again");
    assert_ne!(second_output.out, output.out, "each value has its own nonce");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn several_processes_at_once_create_one_key() {
    let server = Builder::default().prepare();
    let values: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| encrypt(&server, "s3cret"))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert_eq!(entries(&server), ["rstudio-pm.key"]);
    let key = rstudio_pm::config::key_file::read(&key_path(&server)).unwrap().expect("a key").key;
    for value in values {
        let plain = rstudio_pm::encryption::value::decrypt(&key, &value).expect("of that key");
        assert_eq!(plain.as_str(), "s3cret");
    }
}

#[test]
fn no_key_is_created_while_the_configuration_contains_encrypted_values() {
    let other = Builder::default().prepare();
    let value = encrypt(&other, "s3cret");
    let server = Builder::default().gcfg(&format!("[Proxy]\nPassword = {value}")).prepare();
    let output = encrypt_lines(&server, "another");
    assert_eq!((output.code, output.out.as_str()), (1, ""));
    let place = format!("{}:17:12: [Proxy] Password", server.config_file().display());
    assert!(output.err.contains("no key was created") && output.err.contains(&place), "{}", output.err);
    assert!(!output.err.contains(&value), "{}", output.err);
    assert!(!key_path(&server).exists());
}

fn no_key_is_created_beside_a_database_with_another(engine: Engine) {
    let mut server = Builder::default().gcfg(&settings(engine)).prepare();
    let path = key_path(&server);
    let first = write_key(&path);
    server.launch();
    server.stop();
    std::fs::rename(&path, server.dir().join("elsewhere")).unwrap();
    let output = encrypt_lines(&server, "s3cret");
    assert_eq!((output.code, output.out.as_str()), (1, ""));
    let expected =
        format!("the database uses the encryption key {first}, but there is no key at {}", path.display());
    assert!(output.err.contains(&expected), "{}", output.err);
    assert!(!path.exists());
}

#[test]
fn no_key_is_created_beside_a_sqlite_database_with_another() {
    no_key_is_created_beside_a_database_with_another(Engine::Sqlite);
}

#[test]
fn no_key_is_created_beside_a_postgres_database_with_another() {
    no_key_is_created_beside_a_database_with_another(Engine::Postgres);
}

#[test]
fn the_password_of_a_database_that_needs_it_can_be_the_first_value() {
    let closed_port = free_port();
    let gcfg = format!(
        "[Database]\nProvider = postgres\nConnectionTimeout = 1s\n[Postgres]\nURL = postgres://pm@127.0.0.1:{closed_port}/pm"
    );
    let server = Builder::default().gcfg(&gcfg).prepare();
    let output = encrypt_lines(&server, "s3cret");
    assert_eq!(output.code, 0, "{}", output.err);
    assert!(
        output.err.starts_with("Warning: could not compare the new key with the database: "),
        "{}",
        output.err
    );
    assert!(key_path(&server).exists());
    // An error elsewhere in the file does not prevent the encryption of further values.
    append(&server, "[HTTP]\nListen = x");
    encrypt(&server, "s3cret");
}

#[test]
fn a_key_in_another_place_is_created_there() {
    let server = Builder::default().gcfg("[Server]\nEncryptionKeyPath = {dir}/secret.key").prepare();
    encrypt(&server, "s3cret");
    assert!(server.dir().join("secret.key").is_file() && !key_path(&server).exists());
    let defaults = Config::example(server.dir(), "").unwrap().config;
    assert_eq!(defaults.server.encryption_key_path, key_path(&server));
}
