//! Every path that the daemon uses, with a wrong owner, mode, type and link: refused, mended or warned of as the table
//! says, by the real daemon running as an ordinary user.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::unistd::{User, geteuid};
use rstudio_pm::config;
use rstudio_pm::daemon::files::table::{FileType, FixedBy, OnViolation, PathKind, PathRule, RULES, paths};

use crate::support::process::end;
use crate::support::rerun;
use crate::support::server::{Builder, Server};
use crate::support::tls::Pair;

const DAEMON: &str = env!("CARGO_BIN_EXE_rstudio-pm");
const GCFG: &str = "[Server]\nAccessLog = {dir}/logs/access.log\n[Logging]\nSystemLog = {dir}/logs/server.log\n\
                    [SQLite]\nDir = {dir}/db\n[FileStorage \"packages\"]\nLocation = {dir}/packages\n\
                    [HTTPS]\nListen = 127.0.0.1:0\nCertificate = {dir}/server.crt\nKey = {dir}/server.key\n[CRAN]\nURL = https://cran.invalid";
/// nobody.
const STRANGER: u32 = 65_534;

/// What the table promises for a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Follows {
    NoStart,
    Warning,
    Mended,
}

fn otherwise(row: &PathRule) -> Follows {
    match row.on_violation {
        OnViolation::Refuse => Follows::NoStart,
        OnViolation::Warn => Follows::Warning,
    }
}

fn me() -> User {
    assert!(geteuid().is_root(), "this test needs root, to make files of several users");
    User::from_name("postgres").ok().flatten().expect("the user postgres: run tests/setup")
}

fn own(path: &Path) {
    let me = me();
    lchown(path, Some(me.uid.as_raw()), Some(me.gid.as_raw())).expect("root may give away");
}

/// Makes what a row asks for, as it should be.
fn make(path: &Path, row: &PathRule) {
    match row.file_type {
        _ if path.exists() => {}
        FileType::Directory => fs::create_dir_all(path).expect("a directory"),
        FileType::File => fs::write(path, "").expect("a file"),
        FileType::Socket => drop(UnixListener::bind(path).expect("a socket")),
    }
    own(path);
    fs::set_permissions(path, Permissions::from_mode(row.mode)).expect("ours");
}

/// A server whose paths are all there and good, and the first path of a row.
fn furnished(row: &PathRule) -> (Server, PathBuf) {
    let server = Builder::default().gcfg(GCFG).arguments(&["--user", &me().name]).prepare();
    fs::set_permissions(server.dir(), Permissions::from_mode(0o755)).expect("ours");
    Pair::new().write(server.dir());
    let config = config::load(&server.config_file(), []).expect("a good one").config;
    let mut chosen = None;
    for each in RULES {
        let found = paths(each.kind, &server.config_file(), &config);
        assert!(!found.is_empty(), "{each:?} has no path here");
        // SQLite's own files beside the database come and go.
        make(&found[0], each);
        if each.kind == row.kind {
            chosen = Some(found[0].clone());
        }
    }
    own(server.dir());
    (server, chosen.expect("one of the rows"))
}

/// For every row: makes it wrong, starts the daemon, and looks whether `follows` follows, in words that hold `text`.
fn every_path(
    what: &str,
    text: &str,
    spoil: impl Fn(&Path, &PathRule),
    follows: impl Fn(&PathRule) -> Option<Follows>,
) {
    for row in RULES {
        let Some(expected) = follows(row) else { continue };
        let (mut server, path) = furnished(row);
        spoil(&path, row);
        let words = format!("{} '{}' {text}", row.name, path.display());
        match expected {
            Follows::NoStart => {
                let ended = end(server.command(DAEMON).args(["--user", &me().name]));
                assert_eq!(ended.code, Some(1), "{what} {row:?}: {ended:?}");
                assert!(
                    ended.err.contains(&format!("Error: {words}")),
                    "{what} {row:?}: {words}\n{}",
                    ended.err
                );
            }
            Follows::Warning | Follows::Mended => {
                server.launch();
                let said = server.log_lines().into_iter().find(|line| line.contains(&words));
                let said =
                    said.unwrap_or_else(|| panic!("{what} {row:?}: {words}\n{:#?}", server.log_lines()));
                assert!(said.contains("WARN"), "{said}");
                assert_eq!(server.get("/__ping__").status, 200);
                if expected == Follows::Mended {
                    let now = fs::metadata(&path).expect("there").mode() & 0o777;
                    // The socket and the PID file are made anew.
                    let made = [PathKind::Socket, PathKind::Pid].contains(&row.kind);
                    assert_eq!(now, if made { row.mode } else { row.max_mode }, "{what} {row:?}");
                }
            }
        }
    }
}

#[test]
fn every_path_of_another_owner() {
    let spoil = |path: &Path, _: &PathRule| {
        lchown(path, Some(STRANGER), Some(STRANGER)).expect("root may give away");
        // Readable all the same: the owner is the fault.
        let mode = if path.is_dir() { 0o777 } else { 0o666 };
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("root may");
    };
    every_path("owner", "belongs to user nobody, not to postgres; fix it with: chown ", spoil, |row| {
        Some(match (row.kind, row.fixed_by) {
            (PathKind::SockFileDir | PathKind::Socket, _) | (_, FixedBy::Administrator) => Follows::Warning,
            (_, FixedBy::Daemon) => otherwise(row),
        })
    });
}

#[test]
fn every_path_that_everybody_may_write() {
    let spoil = |path: &Path, _: &PathRule| {
        fs::set_permissions(path, Permissions::from_mode(0o777)).expect("root may")
    };
    every_path("mode", "had mode 0777; changed to 0", spoil, |row| {
        (row.fixed_by == FixedBy::Daemon).then_some(Follows::Mended)
    });
    every_path("mode", "is writable by everybody (mode 0777); fix it with: chmod ", spoil, |row| {
        (row.fixed_by == FixedBy::Administrator).then_some(otherwise(row))
    });
}

#[test]
fn every_path_of_another_type() {
    let spoil = |path: &Path, row: &PathRule| match row.file_type {
        FileType::Directory => {
            fs::remove_dir_all(path).expect("removed");
            fs::write(path, "").expect("a file");
            own(path);
        }
        FileType::File | FileType::Socket => {
            fs::remove_file(path).expect("removed");
            fs::create_dir(path).expect("a directory");
            own(path);
        }
    };
    // The configuration itself is told by who reads it.
    every_path("type", "is not a ", spoil, |row| (row.kind != PathKind::Gcfg).then_some(otherwise(row)));
    let (server, path) = furnished(&RULES[0]);
    spoil(&path, &RULES[0]);
    let ended = end(server.command(DAEMON).args(["--user", &me().name]));
    let words = format!("cannot read the configuration file {}: Is a directory", path.display());
    assert!(ended.code == Some(1) && ended.err.contains(&words), "{ended:?}");
}

#[test]
fn every_path_that_is_a_link_of_somebody_else() {
    let spoil = |path: &Path, _: &PathRule| {
        let real = path.with_extension("real");
        fs::rename(path, &real).expect("moved");
        symlink(&real, path).expect("a link");
        lchown(path, Some(STRANGER), Some(STRANGER)).expect("root may give away");
    };
    let text = "is a symbolic link of user nobody, who can redirect it; fix it with: chown -h postgres ";
    every_path("link", text, spoil, |row| Some(otherwise(row)));
}

#[test]
fn a_link_of_ones_own_or_of_root_is_followed() {
    for what in [
        PathKind::DataDir,
        PathKind::SqliteDir,
        PathKind::Storage,
        PathKind::LogDir,
        PathKind::Certificate,
        PathKind::Key,
    ] {
        let row = RULES.iter().find(|row| row.kind == what).expect("a row");
        for of_root in [true, false] {
            let (mut server, path) = furnished(row);
            let real = path.with_extension("real");
            fs::rename(&path, &real).expect("moved");
            symlink(&real, &path).expect("a link");
            if !of_root {
                own(&path);
            }
            server.launch();
            assert_eq!(server.get("/__ping__").status, 200);
            assert!(!server.log_lines().iter().any(|line| line.contains("is a symbolic link")), "{row:?}");
        }
    }
}

#[test]
fn a_database_directory_that_is_closed_to_its_own_user_is_opened() {
    let row = RULES.iter().find(|row| row.kind == PathKind::SqliteDir).expect("a row");
    let (mut server, path) = furnished(row);
    fs::set_permissions(&path, Permissions::from_mode(0o500)).expect("root may");
    server.launch();
    server.wait_for_log("had mode 0500; changed to 0700");
}

#[test]
fn a_configuration_file_with_a_password_that_everybody_may_read_is_warned_of() {
    let gcfg = "[Proxy]\nUser = u\nPassword = secret";
    let mut server = Builder::default().gcfg(gcfg).arguments(&["--user", "root"]).prepare();
    fs::set_permissions(server.config_file(), Permissions::from_mode(0o644)).expect("ours");
    server.launch();
    let path = server.config_file().display().to_string();
    server.wait_for_log(&format!(
        "the configuration file '{path}' is open to others (mode 0644); fix it with: chmod 0640 '{path}'"
    ));
    fs::set_permissions(server.config_file(), Permissions::from_mode(0o640)).expect("ours");
    server.restart();
    assert!(!server.log_lines().iter().any(|line| line.contains("is open to others")));
}

#[test]
fn a_key_that_others_may_read_is_warned_of_with_the_command() {
    let row = RULES.iter().find(|row| row.kind == PathKind::Key).expect("a row");
    let (mut server, path) = furnished(row);
    fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("root may");
    server.launch();
    let path = path.display();
    server.wait_for_log(&format!(
        "HTTPS.Key '{path}' is open to others (mode 0644); fix it with: chmod 0600 '{path}'"
    ));
}

#[test]
fn check_config_tells_what_a_start_would_refuse() {
    let row = RULES.iter().find(|row| row.kind == PathKind::SqliteDir).expect("a row");
    let (server, path) = furnished(row);
    lchown(&path, Some(STRANGER), None).expect("root may give away");
    // As root it answers for the owner of the file, whom the daemon would become.
    let (code, text) = server.check_config();
    let words = format!("SQLite.Dir '{}' belongs to user nobody, not to postgres", path.display());
    assert!(code == 1 && text.contains(&words), "{text}");
    own(&path);
    let (code, text) = server.check_config();
    assert_eq!(code, 0, "{text}");
    // Of a file of root it cannot know who will serve.
    lchown(server.config_file(), Some(0), Some(0)).expect("ours");
    let (code, text) = server.check_config();
    assert_eq!(code, 0, "{text}");
}

/// Starts it where a directory cannot be written by anybody, as a sandbox makes it.
fn read_only(gcfg: &str, directory: &str) -> (i32, String) {
    me();
    let server = Builder::default().gcfg(gcfg).prepare();
    let at = server.dir().join(directory);
    fs::create_dir_all(&at).expect("a directory");
    let script = format!(
        "mount --bind '{0}' '{0}' && mount -o remount,ro,bind '{0}' && \"$0\" \"$@\"; code=$?; umount -l '{0}'; exit $code",
        at.display()
    );
    let plain = server.command(DAEMON);
    let words = rerun::with_mounts(&script);
    let mut command = std::process::Command::new(&words[0]);
    command.args(&words[1..]);
    let ended = end(command.arg(plain.get_program()).args(plain.get_args()));
    (ended.code.unwrap_or(-1), ended.err)
}

#[test]
fn a_read_only_file_system_is_told_with_the_two_commands() {
    for (gcfg, directory, named) in [
        ("[Server]\nDataDir = {dir}/ro/data", "ro", "Server.DataDir"),
        ("[SQLite]\nDir = {dir}/ro", "ro", "SQLite.Dir"),
        ("[SQLite]\nDir = {dir}/ro/db", "ro", "SQLite.Dir"),
        ("[FileStorage \"packages\"]\nLocation = {dir}/ro", "ro", "storage class 'packages'"),
        ("[FileStorage \"packages\"]\nLocation = {dir}/ro/packages", "ro", "storage class 'packages'"),
        ("[Server]\nSockFileDir = {dir}/ro/run", "ro", "Server.SockFileDir"),
    ] {
        let (code, said) = read_only(gcfg, directory);
        assert_eq!(code, 1, "{gcfg}: {said}");
        assert!(said.contains("Read-only file system") && said.contains(named), "{gcfg}: {said}");
        assert!(said.contains("systemctl daemon-reload && systemctl restart rstudio-pm"), "{gcfg}: {said}");
    }
}

#[test]
fn a_log_on_a_read_only_file_system_is_told_and_stops_nothing() {
    me();
    // What is mounted is taken away when the server, which has the number of the shell, is gone.
    let script = "d=$(dirname \"$2\")/ro && mkdir \"$d\" && mount --bind \"$d\" \"$d\" && \
                  mount -o remount,ro,bind \"$d\" && \
                  { (while kill -0 $$; do sleep 0.1; done; umount -l \"$d\") >/dev/null 2>&1 & } && exec \"$0\" \"$@\"";
    let words = rerun::with_mounts(script);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let server = Builder::default().gcfg("[Server]\nAccessLog = {dir}/ro/access.log").through(&words).start();
    let said = server.log_lines();
    let line = said.iter().find(|line| line.contains("/ro/access.log")).expect("told");
    assert!(line.contains("systemctl daemon-reload && systemctl restart rstudio-pm"), "{line}");
    assert_eq!(server.get("/__ping__").status, 200);
}
