//! Cases that only a server has: refused, lost and encrypted connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rstudio_pm::config::{Config, Secret};
use rstudio_pm::db::{Db, DbError, clock};

use crate::support::db::{Engine, TestDb};
use crate::support::postgres::{DedicatedServer, PASSWORD, server};
use crate::support::postgres_proxy::{CommitFault, PostgresProxy};

fn config(url: &str) -> Config {
    let dir = tempfile::tempdir().expect("a directory");
    let settings =
        "[Database]\nProvider = postgres\nConnectionTimeout = 5s\n[Postgres]\nURL = postgres://u@h/d\n";
    let mut config =
        (*Config::example(dir.path(), settings).unwrap_or_else(|e| panic!("{e}")).config).clone();
    config.postgres.url = Some(Secret(url.to_owned()));
    config
}

fn check(url: &str) -> Result<String, DbError> {
    Db::check(&config(url))
}

/// The error of `Db::check`; `Db::open` must fail with the same variant.
fn failure(url: &str) -> DbError {
    let (error, same) = (check(url).expect_err("it fails"), Db::open(&config(url)).err().expect("it fails"));
    assert_eq!(std::mem::discriminant(&error), std::mem::discriminant(&same), "{error:?} {same:?}");
    error
}

fn password() -> String {
    utf8_percent_encode(PASSWORD, NON_ALPHANUMERIC).to_string()
}

#[test]
fn a_port_without_a_server_is_reported_as_unreachable() {
    let error = failure("postgres://pm:hunter2@127.0.0.1:1/library");
    assert!(
        matches!(&error, DbError::Unreachable { servers, .. } if servers.ends_with(", port 1")),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(text.contains("127.0.0.1") && text.contains("port 1") && text.contains("library"), "{text}");
    assert!(!text.contains("hunter2"));
}

#[test]
fn a_silent_server_is_unreachable_after_the_timeout() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("bound").port();
    let mut config = config(&format!("postgres://pm@127.0.0.1:{port}/x?sslmode=disable"));
    config.database.connection_timeout = std::time::Duration::from_millis(200);
    let error = Db::check(&config).expect_err("no answer");
    assert!(matches!(error, DbError::Unreachable { .. }), "{error:?}");
}

#[test]
fn a_wrong_password_and_an_unknown_user_are_authentication_errors() {
    let port = server().port;
    for user in ["pm:wrong", "pm", "nobody:x"] {
        let error = failure(&format!("postgres://{user}@127.0.0.1:{port}/pm"));
        assert!(matches!(error, DbError::Authentication { .. }), "{user}: {error:?}");
        assert!(!error.to_string().contains("wrong"), "{error}");
    }
}

#[test]
fn a_missing_database_is_reported_with_the_command_that_creates_it() {
    let error = failure(&format!("postgres://pm:{}@127.0.0.1:{}/nowhere", password(), server().port));
    assert!(matches!(error, DbError::DatabaseMissing { .. }), "{error:?}");
    assert!(error.to_string().contains("createdb"), "{error}");
}

#[test]
fn a_search_path_without_a_schema_is_refused() {
    let url = format!("postgres://pm:{}@127.0.0.1:{}/pm?search_path=missing", password(), server().port);
    let error = failure(&url);
    assert!(matches!(error, DbError::SearchPath { .. }), "{error:?}");
}

#[test]
fn the_password_property_is_used() {
    let mut config = config(&format!("postgres://pm@127.0.0.1:{}/pm", server().port));
    config.postgres.password = Some(Secret(PASSWORD.to_owned()));
    Db::check(&config).unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn an_unknown_tls_mode_lists_the_known_ones() {
    let error = failure("postgres://pm@127.0.0.1/pm?sslmode=maybe");
    assert!(error.to_string().contains("verify-full"), "{error}");
}

/// Creates a role with this attribute and returns its URL of a migrated database.
fn role(attribute: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("role{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let url = server().schema();
    Db::open(&config(&url)).unwrap_or_else(|e| panic!("{e}")).close();
    let (_, schema) = url.split_once("search_path=").expect("a schema");
    server().sql(&format!(
        "DROP ROLE IF EXISTS {name}; CREATE ROLE {name} LOGIN; GRANT ALL ON SCHEMA {schema} TO {name}; \
         GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {name}; ALTER ROLE {name} {attribute}"
    ));
    url.replace("postgres://postgres@", &format!("postgres://{name}@"))
}

#[test]
fn a_read_only_database_is_refused_with_a_remedy() {
    let url = role("SET default_transaction_read_only = on");
    let text = failure(&url).to_string();
    assert!(text.contains("is read-only: default_transaction_read_only is on for user 'role"), "{text}");
    assert!(text.contains("RESET default_transaction_read_only"), "{text}");
    let usage = Db::check_usage(&config(&url)).expect_err("it is refused").to_string();
    assert_eq!(usage, text);
}

#[test]
fn a_standby_is_refused_with_a_remedy() {
    let standby = DedicatedServer::standby();
    let text = failure(&standby.url()).to_string();
    let port = standby.port;
    let expected =
        format!("the database 'postgres' at 127.0.0.1, port {port} is read-only: the server is a standby");
    assert!(text.contains(&expected) && text.contains("Postgres.URL"), "{expected}\n{text}");
}

#[test]
fn errors_have_the_code_and_the_message_of_the_server() {
    let text = failure(&role("CONNECTION LIMIT 0")).to_string();
    assert!(text.contains("too many connections for role") && text.contains("SQLSTATE 53300"), "{text}");
    let db = TestDb::new(Engine::Postgres);
    for (sql, expected) in [
        ("SELECT absent FROM clock", "column \"absent\" does not exist (SQLSTATE 42703)"),
        ("SELECT CAST(1 / tx AS BIGINT) FROM clock", "division by zero (SQLSTATE 22012)"),
        ("INSERT INTO clock SELECT * FROM clock", "(SQLSTATE 23505)"),
    ] {
        let text = db.try_write(move |c| c.query(sql, &[])).expect_err("it fails").to_string();
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    let read_only = db.try_write(|c| {
        c.execute("SET TRANSACTION READ ONLY", &[])?;
        clock::bump_catalog(c, clock::Change::Nothing)
    });
    let text = read_only.expect_err("it fails").to_string();
    let expected = "is read-only: cannot execute UPDATE in a read-only transaction (SQLSTATE 25006); ";
    assert!(text.contains(expected), "{expected}\n{text}");
    let refusal = check("postgres://pm@127.0.0.1:1/library").expect_err("no server listens").to_string();
    assert!(refusal.contains("Connection refused"), "{refusal}");
}

/// Returns true if the connection of this URL is encrypted.
fn is_encrypted(url: &str) -> Result<bool, DbError> {
    let db = Db::open(&config(url))?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    const SELECT: &str =
        "SELECT CASE WHEN ssl THEN 1 ELSE 0 END FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    runtime.block_on(db.read(|c| Ok(c.query(SELECT, &[])?[0].int(0)? == 1)))
}

#[test]
fn each_sslmode_does_what_libpq_does() {
    let server = server();
    let (authority, other_authority) = (server.authority.display(), server.other_authority.display());
    let schema = server.schema();
    let schema = schema.split_once("search_path=").expect("a schema").1;
    let url = |user: &str, host: &str, tls: &str| {
        format!("postgres://{user}@{host}:{}/postgres?search_path={schema}&{tls}", server.port)
    };
    let with_authority = |mode: &str| format!("sslmode={mode}&sslrootcert={authority}");
    let with_other_authority = |mode: &str| format!("sslmode={mode}&sslrootcert={other_authority}");
    for (user, host, tls, expected) in [
        ("postgres", "127.0.0.1", "sslmode=prefer".to_owned(), Some(true)),
        ("postgres", "127.0.0.1", "sslmode=disable".into(), Some(false)),
        ("postgres", "127.0.0.1", "sslmode=allow".into(), Some(false)),
        ("postgres", "127.0.0.1", "sslmode=require".into(), Some(true)),
        ("tlsonly", "127.0.0.1", "sslmode=allow".into(), Some(true)),
        ("tlsonly", "127.0.0.1", "sslmode=prefer".into(), Some(true)),
        ("postgres", "localhost", with_authority("verify-full"), Some(true)),
        ("postgres", "127.0.0.1", with_authority("verify-full"), None),
        ("postgres", "127.0.0.1", with_authority("verify-ca"), Some(true)),
        ("postgres", "localhost", with_other_authority("verify-full"), None),
        ("postgres", "localhost", with_other_authority("verify-ca"), None),
        ("postgres", "127.0.0.1", with_authority("require"), Some(true)),
        ("postgres", "127.0.0.1", with_other_authority("require"), None),
        ("postgres", "127.0.0.1", with_other_authority("prefer"), Some(true)),
        ("postgres", "localhost", "sslmode=verify-full".into(), None),
    ] {
        match (is_encrypted(&url(user, host, &tls)), expected) {
            (Ok(found), Some(wanted)) => assert_eq!(found, wanted, "{user} {host} {tls}"),
            (Err(DbError::Tls { .. }), None) => {}
            (other, _) => panic!("{user} {host} {tls}: {other:?}"),
        }
    }
    let error = is_encrypted(&url("tlsonly", "127.0.0.1", "sslmode=disable"));
    assert!(matches!(error, Err(DbError::Authentication { .. })), "{error:?}");
}

#[test]
fn required_tls_is_an_error_on_a_server_without_tls() {
    let plain = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = plain.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for stream in plain.incoming().flatten() {
            use std::io::{Read, Write};
            let (mut stream, mut request) = (stream, [0; 8]);
            let _ = stream.read_exact(&mut request).and_then(|()| stream.write_all(b"N"));
        }
    });
    let error = failure(&format!("postgres://pm@127.0.0.1:{port}/x?sslmode=require"));
    assert!(matches!(error, DbError::Tls { mode: "require", .. }), "{error:?}");
}

/// Ends all other sessions with an application name, as an administrator or a fail-over does.
const END_OTHERS: &str = "SELECT CAST(count(pg_terminate_backend(pid)) AS BIGINT) FROM pg_stat_activity \
    WHERE application_name = $1 AND pid <> pg_backend_pid()";

/// A database whose writing session has this application name.
fn with_application_name(name: &str) -> TestDb {
    let test_db = TestDb::new(Engine::Postgres);
    test_db.write({
        let name = name.to_owned();
        move |c| {
            c.query("SELECT set_config('application_name', $1, false)", &[name.as_str().into()]).map(drop)
        }
    });
    test_db
}

#[test]
fn a_terminated_session_is_replaced() {
    let name = format!("ended-{}", std::process::id());
    let db = with_application_name(&name);
    let result = db.read(move |c| c.query(END_OTHERS, &[name.as_str().into()]));
    assert_eq!(result[0].int(0).expect("a number"), 1);
    db.write(|c| clock::bump_catalog(c, clock::Change::Nothing));
    assert_eq!(db.read(|c| clock::get(c)).catalog, 1);
}

#[test]
fn a_session_lost_inside_a_write_commits_nothing() {
    let db = with_application_name("unused");
    let other = Arc::new(db.db.clone());
    let result = db.try_write(move |c| {
        clock::bump_catalog(c, clock::Change::Nothing)?;
        let pid = c.query("SELECT pg_backend_pid()", &[])?[0].int(0)?;
        let other = Arc::clone(&other);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            const END: &str = "SELECT CAST(count(pg_terminate_backend(CAST($1 AS INT))) AS BIGINT)";
            runtime.block_on(other.read(move |c| c.query(END, &[pid.into()]))).expect("a superuser");
        })
        .join()
        .expect("no panic");
        clock::bump_catalog(c, clock::Change::Nothing)
    });
    assert!(matches!(result, Err(DbError::Lost(_))), "{result:?}");
    assert_eq!(db.read(|c| clock::get(c)).catalog, 0);
    db.write(|c| clock::bump_catalog(c, clock::Change::Nothing));
}

#[test]
fn deadlocked_transactions_are_retried() {
    let db = TestDb::new(Engine::Postgres);
    db.write(|c| {
        rstudio_pm::db::ids::reserve(c, rstudio_pm::db::ids::Sequence::File, 1)?;
        Ok(())
    });
    // A bulk chunk and a write lock the same two rows in opposite order: PostgreSQL aborts one of them.
    let lock = |first: &'static str, second: &'static str| {
        move |c: &mut dyn rstudio_pm::db::Conn| {
            for name in [first, second] {
                c.execute("UPDATE sequence SET next = next + 1 WHERE name = $1", &[name.into()])?;
                std::thread::sleep(std::time::Duration::from_millis(150));
            }
            Ok(())
        }
    };
    let (a, b) = db.block(async {
        tokio::join!(db.db.bulk(lock("file", "release")), db.db.write(lock("release", "file")))
    });
    a.expect("it was retried");
    b.expect("it was retried");
    let next = |name: &'static str| {
        db.read(move |c| c.query("SELECT next FROM sequence WHERE name = $1", &[name.into()]))[0]
            .int(0)
            .expect("a number")
    };
    assert_eq!((next("file"), next("release")), (4, 3), "each is applied once");
}

#[test]
fn a_commit_without_a_response_is_neither_lost_nor_applied_twice() {
    for (fault, expected) in [(CommitFault::CloseAfterCommit, 1), (CommitFault::CloseBeforeCommit, 2)] {
        let proxy = PostgresProxy::to(server().port);
        let schema = server().schema();
        let schema = schema.split_once("search_path=").expect("a schema").1;
        let url = format!(
            "postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable&search_path={schema}",
            proxy.address.port()
        );
        let db = Db::open(&config(&url)).unwrap_or_else(|e| panic!("{e}"));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let runs = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&runs);
        proxy.fail_next_commit(fault);
        let written = runtime.block_on(db.write(move |c| {
            counter.fetch_add(1, Ordering::SeqCst);
            clock::bump_catalog(c, clock::Change::Nothing)
        }));
        assert!(written.is_ok() && proxy.has_failed_commit(), "{fault:?}: {written:?}");
        assert_eq!(runs.load(Ordering::SeqCst), expected, "{fault:?}");
        let now = runtime.block_on(db.read(|c| clock::get(c))).expect("the connection works again");
        assert_eq!(now.catalog, 1, "{fault:?}");
    }
}
