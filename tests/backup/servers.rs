//! The documented migration procedure with real servers, users and `rspm`.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::Command;

use rstudio_pm::config::Provider;

use super::installation::Installation;
use crate::support::postgres;
use crate::support::process::run_to_end;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

pub(super) const PATHS: [&str; 6] = [
    "/prod/latest/src/contrib/PACKAGES",
    "/prod/latest/src/contrib/PACKAGES.rds",
    "/prod/latest/src/contrib/Meta/archive.rds",
    "/prod/2/src/contrib/PACKAGES",
    "/prod/latest/src/contrib/greeting_1.1.tar.gz",
    "/prod/latest/src/contrib/Archive/greeting/greeting_1.0.tar.gz",
];

fn server(provider: &str) -> Server {
    let url = postgres::server().schema();
    let database = format!("[Database]\nProvider = {provider}\n[Postgres]\nURL = \"{url}\"\n");
    let server = Builder::default().gcfg(&database).start();
    server.local_repository("prod", &[Tarball::new("greeting", "1.0"), Tarball::new("other", "2.0")]);
    server.add("prod", &Tarball::new("greeting", "1.1"));
    server
}

fn set_provider(server: &Server, from: &str, to: &str) {
    let gcfg = std::fs::read_to_string(server.config_file()).expect("readable");
    let new_gcfg = gcfg.replace(&format!("Provider = {from}"), &format!("Provider = {to}"));
    assert_ne!(gcfg, new_gcfg);
    std::fs::write(server.config_file(), new_gcfg).expect("written");
}

/// Returns the status, ETag and body of each path.
pub(super) fn answers(server: &Server) -> Vec<(u16, Option<String>, Vec<u8>)> {
    let answer = |path: &&str| {
        let answer = server.get(path);
        (answer.status, answer.header("etag").map(str::to_owned), answer.body)
    };
    PATHS.iter().map(answer).collect()
}

/// Stops a server, and starts it again with its database in that of another provider. Returns the output of `migrate`.
pub(super) fn migrate(server: &mut Server, from: &str, to: &str) -> String {
    server.stop();
    let output = run_to_end(&mut server.command(env!("CARGO_BIN_EXE_migrate")));
    assert_eq!((output.code, output.err.as_str()), (Some(0), ""), "{}", output.out);
    set_provider(server, from, to);
    server.launch();
    output.out
}

fn check_procedure(from: &str, to: &str) {
    let mut server = server(from);
    let expected = answers(&server);
    assert!(expected.iter().all(|(status, ..)| *status == 200), "{expected:?}");
    // The server still runs.
    let output = run_to_end(&mut server.command(env!("CARGO_BIN_EXE_migrate")));
    assert_eq!(output.code, Some(1), "{}", output.out);
    assert!(output.err.contains("the server is running and answers on"), "{}", output.err);
    assert_eq!(answers(&server), expected);
    let output = migrate(&mut server, from, to);
    assert!(output.contains(&format!("set [Database] Provider = {to} in ")), "{output}");
    assert!(output.contains("indexes rendered from both are identical"), "{output}");
    assert_eq!(answers(&server), expected);
    server.add("prod", &Tarball::new("greeting", "1.2"));
    let index = server.get("/prod/latest/src/contrib/PACKAGES").text();
    assert!(index.contains("Version: 1.2") && !index.contains("Version: 1.1"), "{index}");
    assert_eq!(server.get(PATHS[3]).body, expected[3].2, "history");
}

#[test]
fn a_server_on_sqlite_continues_on_postgresql() {
    check_procedure("sqlite", "postgres");
}

#[test]
fn a_server_on_postgresql_continues_on_sqlite() {
    check_procedure("postgres", "sqlite");
}

#[test]
fn rspm_migrate_is_the_same_program() {
    let installation = Installation::with_data(Provider::Sqlite, 20);
    let rspm = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rspm"));
        command.arg("--config").arg(installation.config_file()).arg("migrate").args(arguments);
        run_to_end(&mut command)
    };
    let arguments = ["--to=postgres", "--dry-run"];
    assert_eq!(rspm(&arguments).out, installation.run(&arguments).out);
    let output = rspm(&["-o", "json"]);
    assert_eq!((output.code, output.err.as_str()), (Some(0), ""));
    let result: serde_json::Value = serde_json::from_str(&output.out).expect("JSON");
    assert_eq!(result["provider"], "postgres");
    assert_eq!(rspm(&[]).err, installation.run(&[]).err);
}

#[test]
fn root_gives_new_files_to_the_owner_of_the_data_and_other_users_are_refused() {
    assert!(nix::unistd::geteuid().is_root(), "this test needs root, to become another user");
    let nobody = 65_534;
    let installation = Installation::with_data(Provider::Postgres, 20);
    let data = installation.dir.path().join("data");
    std::fs::create_dir(&data).expect("created");
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700)).expect("ours");
    for path in [installation.dir.path(), &installation.config_file()] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("ours");
    }
    chown(&data, Some(nobody), Some(nobody)).expect("root may");
    let output = installation.run(&[]);
    assert_eq!(output.code, Some(0), "{}", output.err);
    for name in ["db", "db/rstudio-pm.db", "db/usage.db"] {
        let metadata = data.join(name).metadata().expect("it was created");
        let mode = if name == "db" { 0o700 } else { 0o600 };
        assert_eq!(
            (metadata.uid(), metadata.gid(), metadata.mode() & 0o777),
            (nobody, nobody, mode),
            "{name}"
        );
    }
    // Another user executes a copy of the program that is readable for all.
    let copy = installation.dir.path().join("migrate");
    std::fs::copy(env!("CARGO_BIN_EXE_migrate"), &copy).expect("copied");
    let mut command = Command::new("setpriv");
    command.args(["--reuid=12345", "--regid=12345", "--clear-groups"]).arg(copy);
    let output = run_to_end(command.arg("--config").arg(installation.config_file()));
    assert_eq!(output.code, Some(1), "{}", output.out);
    // The first path that it cannot enter is that of the encryption key.
    for part in ["user 12345 cannot enter a directory above it", "run as another user, or as root"] {
        assert!(output.err.contains(part), "{}", output.err);
    }
}
