//! A server with a different key than the one its database was written with does not start.

use super::{key_path, write_key};
use crate::support::cluster::Shared;
use crate::support::db::{Engine, settings};
use crate::support::server::Builder;

fn another_key_is_refused(engine: Engine) {
    let mut server = Builder::default().gcfg(&settings(engine)).prepare();
    let path = key_path(&server);
    let first = write_key(&path);
    server.launch();
    let log_text = format!("recorded the encryption key {} ({first}) in the database", path.display());
    assert!(server.log_lines().iter().any(|line| line.contains(&log_text)), "{:#?}", server.log_lines());
    server.stop();
    let backup_path = path.with_extension("aside");
    std::fs::rename(&path, &backup_path).unwrap();
    let second = write_key(&path);
    let expected =
        format!("the encryption key {} ({second}) is not the key of this database ({first})", path.display());
    let output = server.start_refused();
    assert!(output.contains(&expected), "{output}");
    let (result, findings) = server.check_result("Encryption key");
    assert!(result == "fail" && findings.len() == 1 && findings[0].starts_with(&expected), "{findings:?}");
    // Without a key the server starts, because nothing in the database is encrypted.
    std::fs::remove_file(&path).unwrap();
    server.launch();
    let warning =
        format!("there is no encryption key at {}, but the database uses the key {first}", path.display());
    assert!(server.log_lines().iter().any(|line| line.contains(&warning)), "{:#?}", server.log_lines());
    server.stop();
    std::fs::rename(&backup_path, &path).unwrap();
    server.launch();
    let (result, findings) = server.check_result("Encryption key");
    assert_eq!(
        (result.as_str(), findings),
        ("info", vec![format!("{} ({first}), the key of this database", path.display())])
    );
}

#[test]
fn another_key_is_refused_with_sqlite() {
    another_key_is_refused(Engine::Sqlite);
}

#[test]
fn another_key_is_refused_with_postgres() {
    another_key_is_refused(Engine::Postgres);
}

#[test]
fn a_second_server_of_a_cluster_with_its_own_key_is_refused() {
    let shared = Shared::new();
    let first_path = shared.data().join("rstudio-pm.key");
    let key = write_key(&first_path);
    let _first = shared.start("pm1");
    let dir = tempfile::tempdir().expect("a directory");
    let second_path = dir.path().join("own.key");
    let other = write_key(&second_path);
    let lines = format!("[Server]\nEncryptionKeyPath = {}\n", second_path.display());
    let mut second = shared.builder("pm2").gcfg(&lines).prepare();
    let output = second.start_refused();
    let expected = format!("({other}) is not the key of this database ({key})");
    assert!(output.contains(&expected), "{output}");
    std::fs::copy(&first_path, &second_path).unwrap();
    second.launch();
    assert_eq!(second.get("/__ping__").status, 200);
}
