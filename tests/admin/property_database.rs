//! `[Database]`, `[SQLite]`, `[Postgres]`: one test per property, which sets it and checks its effect.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::support::fixtures::until;
use crate::support::postgres::{self, DedicatedServer, PASSWORD};
use crate::support::postgres_proxy::PostgresProxy;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

/// Returns a builder with `[Database]` and `[Postgres]` for a URL, and further lines of `[Postgres]`.
pub(super) fn on_postgres(url: &str, lines: &str) -> Builder {
    let gcfg = format!("[Database]\nProvider = postgres\n[Postgres]\nURL = \"{url}\"\n{lines}");
    // A password in the environment must not be used.
    Builder::default().gcfg(&gcfg).env("PGPASSWORD", "")
}

/// Stops a server, so that a server with another data directory may use its database at once.
fn stop(mut server: Server) {
    assert!(server.stop().success());
}

/// Creates a schema; returns its name and its URL over loopback for a role, with further parameters.
pub(super) fn schema_over_tcp(role: &str, parameters: &str) -> (String, String) {
    let server = postgres::server();
    let url = server.schema();
    let schema = url.rsplit_once("search_path=").expect("a schema").1.to_owned();
    server.sql(&format!("GRANT ALL ON SCHEMA {schema} TO PUBLIC"));
    let url =
        format!("postgres://{role}@localhost:{}/postgres?search_path={schema}{parameters}", server.port);
    (schema, url)
}

/// Asserts that the schema has our tables.
pub(super) fn assert_tables(schema: &str) {
    postgres::server().sql(&format!("SELECT count(*) FROM {schema}.migration"));
}

#[test]
pub(super) fn provider_chooses_between_a_file_and_a_server() {
    let sqlite = Builder::default().gcfg("[Database]\nProvider = sqlite").start();
    assert!(sqlite.dir().join("data/db/rstudio-pm.db").is_file());
    let (schema, url) = schema_over_tcp("postgres", "");
    let server = on_postgres(&url, "").start();
    assert!(!server.dir().join("data/db").exists());
    assert_tables(&schema);
    server.store("local", &Tarball::new("alpha", "1.0"));
    server.repository("r", "local");
    assert_eq!(server.get("/r/latest/src/contrib/PACKAGES").status, 200);
}

#[test]
pub(super) fn connection_timeout_ends_the_wait_for_a_database_that_does_not_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("its number").port();
    let url = format!("postgres://pm@127.0.0.1:{port}/pm?sslmode=disable");
    let server = on_postgres(&url, "[Database]\nConnectionTimeout = 500ms").prepare();
    let start = Instant::now();
    let output = server.start_refused();
    // The default is 30 s.
    assert!(start.elapsed() < Duration::from_secs(25), "{:?}", start.elapsed());
    assert!(
        output.contains("Unable to connect to the database: cannot reach PostgreSQL at 127.0.0.1"),
        "{output}"
    );
    drop(listener);
}

#[test]
pub(super) fn sqlite_dir_contains_the_database_file() {
    let server = Builder::default().gcfg("[SQLite]\nDir = {dir}/metadata").start();
    assert!(server.dir().join("metadata/rstudio-pm.db").is_file());
    assert!(!server.dir().join("data/db").exists());
}

#[test]
pub(super) fn postgres_url_search_path_chooses_the_schema() {
    let (first, url) = schema_over_tcp("postgres", "");
    let first_server = on_postgres(&url, "").start();
    first_server.repository("only-here", "cran");
    let (second, url) = schema_over_tcp("postgres", "");
    let second_server = on_postgres(&url, "").start();
    assert_tables(&first);
    assert_tables(&second);
    assert_eq!(
        second_server
            .call("GET", "/repos", &serde_json::Value::Null)
            .to_string()
            .matches("only-here")
            .count(),
        0
    );
}

#[test]
pub(super) fn postgres_url_sslmode_decides_whether_and_how_tls_is_used() {
    // The role is admitted over TLS only.
    let (schema, url) = schema_over_tcp("tlsonly", "&sslmode=require");
    stop(on_postgres(&url, "").start());
    assert_tables(&schema);
    let output = on_postgres(&url.replace("require", "disable"), "").prepare().start_refused();
    assert!(output.contains("refused user 'tlsonly'"), "{output}");
    let authority = |file: &std::path::Path| {
        url.replace("require", &format!("verify-full&sslrootcert={}", file.display()))
    };
    stop(on_postgres(&authority(&postgres::server().authority), "").start());
    let output = on_postgres(&authority(&postgres::server().other_authority), "").prepare().start_refused();
    assert!(
        output.contains("no TLS connection to PostgreSQL") && output.contains("sslmode=verify-full"),
        "{output}"
    );
}

#[test]
pub(super) fn postgres_url_may_contain_the_password_url_encoded() {
    let (schema, url) = schema_over_tcp("pm:s3cret%3A%40", "");
    stop(on_postgres(&url, "").start());
    assert_tables(&schema);
}

#[test]
pub(super) fn postgres_password_is_used_when_the_url_contains_none() {
    let (schema, url) = schema_over_tcp("pm", "");
    stop(on_postgres(&url, &format!("Password = \"{PASSWORD}\"")).start());
    assert_tables(&schema);
    let output = on_postgres(&url, "").prepare().start_refused();
    assert!(output.contains("user 'pm'"), "{output}");
}

#[test]
pub(super) fn postgres_listen_url_is_a_direct_address_for_notifications() {
    let database = DedicatedServer::start();
    let pooler = PostgresProxy::to(database.port);
    pooler.drop_notifications();
    let pooler_url = format!("postgres://postgres@{}/postgres?sslmode=disable", pooler.address);
    let has_warning =
        |server: &Server| server.rspm_stdout("status").contains("notifications of PostgreSQL do not arrive");
    let server = on_postgres(&pooler_url, &format!("ListenURL = \"{}\"", database.url())).start();
    std::thread::sleep(Duration::from_secs(5));
    assert!(!has_warning(&server));
    stop(server);
    let server = on_postgres(&pooler_url, "").start();
    until("a warning", || has_warning(&server));
}
