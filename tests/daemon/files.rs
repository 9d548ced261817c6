//! Every path of the daemon with a wrong owner, mode, type and link: refused, fixed or reported with a warning as the
//! table `RULES` requires, by the real daemon running as an ordinary user.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::unistd::{User, geteuid};
use rstudio_pm::config::{self, key_file};
use rstudio_pm::daemon::files::table::{FileType, FixedBy, OnViolation, PathKind, PathRule, RULES, paths};

use crate::support::process::run_to_end;
use crate::support::rerun;
use crate::support::server::{Builder, Server};
use crate::support::tls::Pair;

const DAEMON: &str = env!("CARGO_BIN_EXE_rstudio-pm");
const GCFG: &str = "[Server]\nAccessLog = {dir}/logs/access.log\n[Logging]\nSystemLog = {dir}/logs/server.log\n\
                    [SQLite]\nDir = {dir}/db\n[FileStorage \"packages\"]\nLocation = {dir}/packages\n\
                    [HTTPS]\nListen = 127.0.0.1:0\nCertificate = {dir}/server.crt\nKey = {dir}/server.key\n[CRAN]\nURL = https://cran.invalid";
/// The user nobody.
const OTHER_USER: u32 = 65_534;

/// The reaction of the daemon to a wrong path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reaction {
    NoStart,
    Warning,
    Fixed,
}

fn on_violation(row: &PathRule) -> Reaction {
    match row.on_violation {
        OnViolation::Refuse => Reaction::NoStart,
        OnViolation::Warn => Reaction::Warning,
    }
}

fn service_user() -> User {
    assert!(geteuid().is_root(), "this test needs root to create files of several users");
    User::from_name("postgres").ok().flatten().expect("the user postgres: run tests/setup")
}

fn give_to_service_user(path: &Path) {
    let user = service_user();
    lchown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("root can change the owner");
}

/// Creates the path of a row with the correct type, owner and mode.
fn make(path: &Path, row: &PathRule) {
    match row.file_type {
        _ if path.exists() => {}
        FileType::Directory => fs::create_dir_all(path).expect("a directory"),
        FileType::File if row.kind == PathKind::EncryptionKey => {
            key_file::create(path, &key_file::random().expect("random numbers")).expect("a file");
        }
        FileType::File => fs::write(path, "").expect("a file"),
        FileType::Socket => drop(UnixListener::bind(path).expect("a socket")),
    }
    give_to_service_user(path);
    fs::set_permissions(path, Permissions::from_mode(row.mode)).expect("our own file");
}

/// Prepares a server whose paths all exist and conform, and returns it with the first path of `row`.
fn server_and_path(row: &PathRule) -> (Server, PathBuf) {
    let server = Builder::default().gcfg(GCFG).arguments(&["--user", &service_user().name]).prepare();
    fs::set_permissions(server.dir(), Permissions::from_mode(0o755)).expect("our own file");
    Pair::new().write(server.dir());
    let config = config::load(&server.config_file(), []).expect("a good configuration").config;
    let mut row_path = None;
    for rule in RULES {
        let paths = paths(rule.kind, &server.config_file(), &config);
        assert!(!paths.is_empty(), "{rule:?} has no path");
        // Only the first path: SQLite's own files beside the database are temporary.
        make(&paths[0], rule);
        if rule.kind == row.kind {
            row_path = Some(paths[0].clone());
        }
    }
    give_to_service_user(server.dir());
    (server, row_path.expect("one of the rows"))
}

/// For every row: applies `spoil`, starts the daemon, and expects `reaction` with a message that contains `text`.
fn every_path(
    case: &str,
    text: &str,
    spoil: impl Fn(&Path, &PathRule),
    reaction: impl Fn(&PathRule) -> Option<Reaction>,
) {
    for row in RULES {
        let Some(expected) = reaction(row) else { continue };
        let (mut server, path) = server_and_path(row);
        spoil(&path, row);
        let words = format!("{} '{}' {text}", row.name, path.display());
        match expected {
            Reaction::NoStart => {
                let output = run_to_end(server.command(DAEMON).args(["--user", &service_user().name]));
                assert_eq!(output.code, Some(1), "{case} {row:?}: {output:?}");
                assert!(
                    output.err.contains(&format!("Error: {words}")),
                    "{case} {row:?}: {words}\n{}",
                    output.err
                );
            }
            Reaction::Warning | Reaction::Fixed => {
                server.launch();
                let warning = server.log_lines().into_iter().find(|line| line.contains(&words));
                let warning =
                    warning.unwrap_or_else(|| panic!("{case} {row:?}: {words}\n{:#?}", server.log_lines()));
                assert!(warning.contains("WARN"), "{warning}");
                assert_eq!(server.get("/__ping__").status, 200);
                if expected == Reaction::Fixed {
                    let mode = fs::metadata(&path).expect("it exists").mode() & 0o777;
                    // The socket and the PID file are created again.
                    let is_created_again = [PathKind::Socket, PathKind::Pid].contains(&row.kind);
                    assert_eq!(
                        mode,
                        if is_created_again { row.mode } else { row.max_mode },
                        "{case} {row:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn every_path_of_another_owner() {
    let spoil = |path: &Path, _: &PathRule| {
        lchown(path, Some(OTHER_USER), Some(OTHER_USER)).expect("root can change the owner");
        // Readable for all users, so that only the owner is wrong.
        let mode = if path.is_dir() { 0o777 } else { 0o666 };
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("root can change it");
    };
    every_path("owner", "belongs to user nobody, not to postgres; fix it with: chown ", spoil, |row| {
        Some(match (row.kind, row.fixed_by) {
            (PathKind::SockFileDir | PathKind::Socket, _) | (_, FixedBy::Administrator) => Reaction::Warning,
            (_, FixedBy::Daemon) => on_violation(row),
        })
    });
}

#[test]
fn every_path_that_all_users_can_write() {
    let spoil = |path: &Path, _: &PathRule| {
        fs::set_permissions(path, Permissions::from_mode(0o777)).expect("root can change it")
    };
    every_path("mode", "had mode 0777; changed to 0", spoil, |row| {
        (row.fixed_by == FixedBy::Daemon).then_some(Reaction::Fixed)
    });
    every_path("mode", "is writable by all users (mode 0777); fix it with: chmod ", spoil, |row| {
        (row.fixed_by == FixedBy::Administrator).then_some(on_violation(row))
    });
}

#[test]
fn every_path_of_another_type() {
    let spoil = |path: &Path, row: &PathRule| match row.file_type {
        FileType::Directory => {
            fs::remove_dir_all(path).expect("removed");
            fs::write(path, "").expect("a file");
            give_to_service_user(path);
        }
        FileType::File | FileType::Socket => {
            fs::remove_file(path).expect("removed");
            fs::create_dir(path).expect("a directory");
            give_to_service_user(path);
        }
    };
    // The configuration file and the key, which is read with it, have their own errors.
    let separate_errors = [PathKind::Gcfg, PathKind::EncryptionKey];
    every_path("type", "is not a ", spoil, |row| {
        (!separate_errors.contains(&row.kind)).then_some(on_violation(row))
    });
    let (server, path) = server_and_path(&RULES[0]);
    spoil(&path, &RULES[0]);
    let output = run_to_end(server.command(DAEMON).args(["--user", &service_user().name]));
    let words = format!("cannot read the configuration file {}: Is a directory", path.display());
    assert!(output.code == Some(1) && output.err.contains(&words), "{output:?}");
}

#[test]
fn every_path_that_is_a_link_of_another_user() {
    let spoil = |path: &Path, _: &PathRule| {
        let real = path.with_extension("real");
        fs::rename(path, &real).expect("moved");
        symlink(&real, path).expect("a link");
        lchown(path, Some(OTHER_USER), Some(OTHER_USER)).expect("root can change the owner");
    };
    let text = "is a symbolic link of user nobody, who can redirect it; fix it with: chown -h postgres ";
    every_path("link", text, spoil, |row| Some(on_violation(row)));
}

#[test]
fn a_link_of_the_same_user_or_of_root_is_followed() {
    for kind in [
        PathKind::DataDir,
        PathKind::SqliteDir,
        PathKind::Storage,
        PathKind::LogDir,
        PathKind::Certificate,
        PathKind::Key,
    ] {
        let row = RULES.iter().find(|row| row.kind == kind).expect("a row");
        for of_root in [true, false] {
            let (mut server, path) = server_and_path(row);
            let real = path.with_extension("real");
            fs::rename(&path, &real).expect("moved");
            symlink(&real, &path).expect("a link");
            if !of_root {
                give_to_service_user(&path);
            }
            server.launch();
            assert_eq!(server.get("/__ping__").status, 200);
            assert!(!server.log_lines().iter().any(|line| line.contains("is a symbolic link")), "{row:?}");
        }
    }
}

#[test]
fn a_database_directory_without_write_permission_for_its_owner_is_fixed() {
    let row = RULES.iter().find(|row| row.kind == PathKind::SqliteDir).expect("a row");
    let (mut server, path) = server_and_path(row);
    fs::set_permissions(&path, Permissions::from_mode(0o500)).expect("root can change it");
    server.launch();
    server.wait_for_log("had mode 0500; changed to 0700");
}

#[test]
fn a_configuration_file_with_a_password_that_others_can_read_causes_a_warning() {
    let gcfg = "[Proxy]\nUser = u\nPassword = secret";
    let mut server = Builder::default().gcfg(gcfg).arguments(&["--user", "root"]).prepare();
    fs::set_permissions(server.config_file(), Permissions::from_mode(0o644)).expect("our own file");
    server.launch();
    let path = server.config_file().display().to_string();
    server.wait_for_log(&format!(
        "the configuration file '{path}' is open to others (mode 0644); fix it with: chmod 0640 '{path}'"
    ));
    fs::set_permissions(server.config_file(), Permissions::from_mode(0o640)).expect("our own file");
    server.restart();
    assert!(!server.log_lines().iter().any(|line| line.contains("is open to others")));
}

#[test]
fn a_key_that_others_can_read_causes_a_warning_with_the_command() {
    let row = RULES.iter().find(|row| row.kind == PathKind::Key).expect("a row");
    let (mut server, path) = server_and_path(row);
    fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("root can change it");
    server.launch();
    let path = path.display();
    server.wait_for_log(&format!(
        "HTTPS.Key '{path}' is open to others (mode 0644); fix it with: chmod 0600 '{path}'"
    ));
}

#[test]
fn check_config_reports_what_a_start_would_refuse() {
    let row = RULES.iter().find(|row| row.kind == PathKind::SqliteDir).expect("a row");
    let (server, path) = server_and_path(row);
    lchown(&path, Some(OTHER_USER), None).expect("root can change the owner");
    // Run by root, the check applies to the owner of the configuration file, which is the user of the daemon.
    let (code, text) = server.check_config();
    let words = format!("SQLite.Dir '{}' belongs to user nobody, not to postgres", path.display());
    assert!(code == 1 && text.contains(&words), "{text}");
    give_to_service_user(&path);
    let (code, text) = server.check_config();
    assert_eq!(code, 0, "{text}");
    // If root owns the configuration file, the check cannot know the user of the daemon.
    lchown(server.config_file(), Some(0), Some(0)).expect("our own file");
    let (code, text) = server.check_config();
    assert_eq!(code, 0, "{text}");
}

/// Starts the daemon with a read-only directory, as in a sandbox; returns its exit code (-1: a signal) and its standard
/// error.
fn read_only(gcfg: &str, directory: &str) -> (i32, String) {
    service_user();
    let server = Builder::default().gcfg(gcfg).prepare();
    let path = server.dir().join(directory);
    fs::create_dir_all(&path).expect("a directory");
    let script = format!(
        "mount --bind '{0}' '{0}' && mount -o remount,ro,bind '{0}' && \"$0\" \"$@\"; code=$?; umount -l '{0}'; exit $code",
        path.display()
    );
    let daemon = server.command(DAEMON);
    let words = rerun::with_mounts(&script);
    let mut command = std::process::Command::new(&words[0]);
    command.args(&words[1..]);
    let output = run_to_end(command.arg(daemon.get_program()).args(daemon.get_args()));
    (output.code.unwrap_or(-1), output.err)
}

#[test]
fn a_read_only_file_system_is_reported_with_the_two_commands() {
    for (gcfg, directory, name) in [
        ("[Server]\nDataDir = {dir}/ro/data", "ro", "Server.DataDir"),
        ("[SQLite]\nDir = {dir}/ro", "ro", "SQLite.Dir"),
        ("[SQLite]\nDir = {dir}/ro/db", "ro", "SQLite.Dir"),
        ("[FileStorage \"packages\"]\nLocation = {dir}/ro", "ro", "storage class 'packages'"),
        ("[FileStorage \"packages\"]\nLocation = {dir}/ro/packages", "ro", "storage class 'packages'"),
        ("[Server]\nSockFileDir = {dir}/ro/run", "ro", "Server.SockFileDir"),
    ] {
        let (code, output) = read_only(gcfg, directory);
        assert_eq!(code, 1, "{gcfg}: {output}");
        assert!(output.contains("Read-only file system") && output.contains(name), "{gcfg}: {output}");
        assert!(output.contains("systemctl restart rstudio-pm"), "{gcfg}: {output}");
    }
}

#[test]
fn a_log_on_a_read_only_file_system_is_reported_and_does_not_stop_the_server() {
    service_user();
    // The mount is removed when the server, which has the process id of the shell, has ended.
    let script = "d=$(dirname \"$2\")/ro && mkdir \"$d\" && mount --bind \"$d\" \"$d\" && \
                  mount -o remount,ro,bind \"$d\" && \
                  { (while kill -0 $$; do sleep 0.1; done; umount -l \"$d\") >/dev/null 2>&1 & } && exec \"$0\" \"$@\"";
    let words = rerun::with_mounts(script);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let server = Builder::default().gcfg("[Server]\nAccessLog = {dir}/ro/access.log").wrapper(&words).start();
    let lines = server.log_lines();
    let line = lines.iter().find(|line| line.contains("/ro/access.log")).expect("a log line");
    assert!(line.contains("systemctl restart rstudio-pm"), "{line}");
    assert_eq!(server.get("/__ping__").status, 200);
}
