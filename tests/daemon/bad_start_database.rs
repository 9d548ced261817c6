//! Unusable databases: the start fails with the remedy, and `rspm check-config` reports the same.

use crate::support::listener::ClosedPort;
use crate::support::process::run_to_end;
use crate::support::server::{Builder, Server};
use crate::support::{fuse, postgres, statfs};

const DAEMON: &str = env!("CARGO_BIN_EXE_rstudio-pm");

/// Asserts that the start fails with `text`, and that the check prints `text` after the position of `value`.
fn assert_refused(server: &Server, value: &str, text: &str) {
    let output = server.start_refused();
    assert!(
        output.contains(&format!("Error: Unable to connect to the database: {text}")),
        "{text}\n{output}"
    );
    let finding = server.failed_check("Database");
    let expected = format!("{}: {text}", server.position_of(value));
    assert!(finding.starts_with(&expected), "{expected}\n{finding}");
}

/// A server on SQLite in `{dir}/db`, stopped after one run, and its database file.
fn stopped_server() -> (Server, std::path::PathBuf) {
    let mut server = Builder::default().gcfg("[SQLite]\nDir = {dir}/db").start();
    assert_eq!(server.stop().code(), Some(0));
    let file = server.dir().join("db/rstudio-pm.db");
    (server, file)
}

#[test]
fn a_database_that_another_daemon_uses_is_locked() {
    let mut first = Builder::default().gcfg("[SQLite]\nDir = {dir}/db").start();
    let db = first.dir().join("db");
    let second = Builder::default().gcfg(&format!("[SQLite]\nDir = {}", db.display())).prepare();
    let output = second.start_refused();
    let expected = format!(
        "Error: Unable to connect to the database: the database {} is locked by another process; stop the other",
        db.join("rstudio-pm.db").display()
    );
    assert!(output.contains(&expected), "{output}");
    assert_eq!(first.get("/__ping__").status, 200, "the first server is not affected");
    // A running server has the lock, so the check passes.
    assert_eq!(second.check_result("Database").0, "pass");
    assert_eq!(first.stop().code(), Some(0));
}

#[test]
fn a_database_of_a_newer_version_is_refused_and_not_changed() {
    let (server, file) = stopped_server();
    let database = rusqlite::Connection::open(&file).expect("a database");
    let new_migration =
        "INSERT INTO migration (number, name, at, expand_only, version) VALUES (900, 'x', 0, 0, '9.9.9')";
    database.execute(new_migration, []).expect("written");
    drop(database);
    let before = std::fs::read(&file).expect("readable");
    let text = format!(
        "the database {} was made by version 9.9.9 (schema 900; this version supports",
        file.display()
    );
    let dir = server.dir().join("db").display().to_string();
    assert_refused(&server, &dir, &text);
    assert_eq!(std::fs::read(&file).expect("readable"), before);
}

#[test]
fn a_corrupt_database_file_is_refused() {
    let (server, file) = stopped_server();
    for damage in [b"not a database ".repeat(600), vec![0; 100]] {
        std::fs::write(&file, &damage).expect("written");
        let text = format!("{} is not a SQLite database or is damaged; restore it", file.display());
        let dir = server.dir().join("db").display().to_string();
        assert_refused(&server, &dir, &text);
        assert_eq!(std::fs::read(&file).expect("readable"), damage, "the file is unchanged");
    }
}

#[test]
fn a_sqlite_dir_that_is_a_file_is_refused_with_the_command() {
    let server = Builder::default().gcfg("[SQLite]\nDir = {dir}/db").prepare();
    std::fs::write(server.dir().join("db"), "").expect("written");
    let dir = server.dir().join("db").display().to_string();
    let output = server.start_refused();
    assert!(
        output.contains(&format!("Error: SQLite.Dir '{dir}' is not a directory; move it away")),
        "{output}"
    );
    let finding = server.failed_check("Database");
    let expected = format!("{}: cannot write SQLite.Dir {dir} as user ", server.position_of(&dir));
    assert!(finding.starts_with(&expected), "{expected}\n{finding}");
}

#[test]
fn a_sqlite_dir_on_tmpfs_is_used() {
    let shm = tempfile::tempdir_in("/dev/shm").expect("a tmpfs");
    let server = Builder::default().gcfg(&format!("[SQLite]\nDir = {}/db", shm.path().display())).start();
    assert!(shm.path().join("db/rstudio-pm.db").exists());
    assert_eq!(server.get("/__ping__").status, 200);
}

#[test]
fn a_sqlite_dir_on_nfs_cifs_smb_or_fuse_is_refused() {
    let kinds = [("NFS", 0x6969), ("CIFS", 0xff53_4d42), ("SMB2", 0xfe53_4d42), ("FUSE", 0x6573_5546_u32)];
    for (kind, magic) in kinds {
        let server = Builder::default().gcfg("[SQLite]\nDir = {dir}/remote/db").prepare();
        let remote = server.dir().join("remote");
        std::fs::create_dir(&remote).expect("a directory");
        let library = statfs::build_type_library(server.dir(), &remote, magic);
        let text = format!(
            "SQLite.Dir {}/db is on {kind}, where unreliable file locks can corrupt",
            remote.display()
        );
        let output = run_to_end(server.command(DAEMON).env("LD_PRELOAD", &library));
        assert!(output.code == Some(1) && output.err.contains(&text), "{kind}: {output:?}");
        let output = run_to_end(server.command(DAEMON).env("LD_PRELOAD", &library).arg("--check-config"));
        assert!(output.code == Some(1) && output.out.contains("[FAIL] Database"), "{kind}: {output:?}");
        let location = server.position_of(&format!("{}/db", remote.display()));
        assert!(output.out.contains(&format!("{location}: {text}")), "{kind}: {output:?}");
        assert!(!remote.join("db").exists(), "{kind}: nothing was created there");
    }
}

#[test]
fn a_sqlite_dir_on_a_mounted_fuse_is_refused() {
    let server = Builder::default().gcfg("[SQLite]\nDir = {dir}/remote/db").prepare();
    let remote = server.dir().join("remote");
    std::fs::create_dir(&remote).expect("a directory");
    let _mounted = fuse::mount(&remote);
    let dir = remote.join("db").display().to_string();
    assert_refused(
        &server,
        &dir,
        &format!("SQLite.Dir {dir} is on FUSE, where unreliable file locks can corrupt a database"),
    );
}

/// A server on PostgreSQL.
fn on_postgres(url: &str, further_lines: &str) -> Server {
    let lines = format!(
        "[Database]\nProvider = postgres\nConnectionTimeout = 5s\n[Postgres]\nURL = {url}\n{further_lines}"
    );
    Builder::default().gcfg(&lines).env("PGPASSWORD", "").prepare()
}

#[test]
fn an_unreachable_postgres_is_reported() {
    let closed_port = ClosedPort::open();
    let port = closed_port.port;
    let url = format!("postgres://pm:w0rd@127.0.0.1:{port}/pm");
    let server = on_postgres(&url, "");
    let text =
        format!("cannot reach PostgreSQL at 127.0.0.1, port {port} (database 'pm'); check Postgres.URL");
    assert_refused(&server, &url, &text);
    assert!(!server.start_refused().contains("w0rd") && !server.check_config().1.contains("w0rd"));
}

#[test]
fn a_wrong_password_is_reported() {
    let port = postgres::server().port;
    let server = on_postgres(&format!("postgres://pm@localhost:{port}/pm"), "Password = wr0ng");
    assert_refused(
        &server,
        "wr0ng",
        &format!("PostgreSQL refused user 'pm' at localhost, port {port}; check the user"),
    );
    assert!(!server.start_refused().contains("wr0ng") && !server.check_config().1.contains("wr0ng"));
}

#[test]
fn a_missing_database_is_reported_with_the_command() {
    let port = postgres::server().port;
    let url = format!("postgres://postgres@localhost:{port}/nowhere");
    let text = format!(
        "database 'nowhere' does not exist on PostgreSQL at localhost, port {port}; create it first: createdb -h localhost"
    );
    assert_refused(&on_postgres(&url, ""), &url, &text);
}

#[test]
fn a_missing_schema_is_reported_with_the_command() {
    let port = postgres::server().port;
    let url = format!("postgres://postgres@localhost:{port}/postgres?search_path=not_there");
    assert_refused(&on_postgres(&url, ""), &url, "search_path 'not_there' of Postgres.URL names no schema");
}

#[test]
fn a_standby_is_reported_with_the_remedy() {
    let standby = postgres::DedicatedServer::standby();
    let url = standby.url();
    let text = format!(
        "the database 'postgres' at 127.0.0.1, port {} is read-only: the server is a standby; set Postgres.URL",
        standby.port
    );
    assert_refused(&on_postgres(&url, ""), &url, &text);
}

#[test]
fn an_unknown_sslmode_is_reported() {
    let url = format!("postgres://postgres@localhost:{}/postgres?sslmode=maybe", postgres::server().port);
    assert_refused(
        &on_postgres(&url, ""),
        &url,
        "Postgres.URL: sslmode 'maybe' is unknown; known modes are disable, allow",
    );
}
