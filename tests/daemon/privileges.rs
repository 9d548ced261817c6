//! Started as root without systemd, the real daemon binds a privileged port and switches to an ordinary user, with
//! every thread and every file that it creates.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use nix::unistd::{User, geteuid};

use crate::support::process::run_to_end;
use crate::support::server::{Builder, Server};

const DAEMON: &str = env!("CARGO_BIN_EXE_rstudio-pm");

/// A user with supplementary groups: that of PostgreSQL, which other tests need as well.
fn ordinary_user() -> User {
    assert!(geteuid().is_root(), "these tests need root to drop it");
    User::from_name("postgres").ok().flatten().expect("the user postgres: run tests/setup")
}

/// The numbers in the line `Name:` of a thread's status.
fn status(thread: &Path, name: &str) -> Vec<String> {
    let text = fs::read_to_string(thread.join("status")).expect("the thread runs");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name}")).split_whitespace().map(str::to_owned).collect()
}

fn threads(server: &Server) -> Vec<PathBuf> {
    let all = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("it runs");
    all.map(|entry| entry.expect("readable").path()).collect()
}

/// Asserts that every thread runs as that user, in its groups, without capabilities and without a way to get them.
fn assert_runs_as(server: &Server, user: &User) {
    let groups = run_to_end(std::process::Command::new("id").args(["-G", &user.name])).out;
    let groups: BTreeSet<String> = groups.split_whitespace().map(str::to_owned).collect();
    assert!(groups.len() > 1, "a user with supplementary groups");
    let threads = threads(server);
    assert!(threads.len() > 3, "{threads:?}");
    for thread in threads {
        assert_eq!(status(&thread, "Uid"), vec![user.uid.to_string(); 4], "{thread:?}");
        assert_eq!(status(&thread, "Gid"), vec![user.gid.to_string(); 4], "{thread:?}");
        assert_eq!(status(&thread, "Groups").into_iter().collect::<BTreeSet<_>>(), groups, "{thread:?}");
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(status(&thread, set), ["0000000000000000"], "{set} of {thread:?}");
        }
        assert_eq!(status(&thread, "NoNewPrivs"), ["1"], "{thread:?}");
    }
}

/// Adds all paths below a directory.
fn collect_paths(dir: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("readable").map(|entry| entry.expect("readable").path()) {
        if entry.is_dir() {
            collect_paths(&entry, paths);
        }
        paths.push(entry);
    }
}

/// Makes `user` the owner of a prepared server's directory and configuration.
fn change_owner(server: &Server, user: &User) {
    fs::set_permissions(server.dir(), fs::Permissions::from_mode(0o755)).expect("our own file");
    for path in [server.dir().to_owned(), server.dir().join("tmp"), server.config_file()] {
        chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("root can change the owner");
    }
}

#[test]
fn root_binds_a_privileged_port_and_switches_to_the_owner_of_the_gcfg() {
    let user = ordinary_user();
    let gcfg = "[HTTP]\nListen = :80\n[Logging]\nSystemLog = {dir}/logs/server.log\n\
                [SQLite]\nDir = {dir}/db";
    // In its own network namespace the port is free.
    let mut server = Builder::default().gcfg(gcfg).wrapper(&["unshare", "--net"]).prepare();
    change_owner(&server, &user);
    server.launch();
    server.wait_for_log("Listening on http://[::]:80");
    assert_eq!(server.admin("GET", "/repos", &serde_json::Value::Null).status, 200);
    assert_runs_as(&server, &user);
    let mut paths = Vec::new();
    collect_paths(server.dir(), &mut paths);
    for name in
        ["db/rstudio-pm.db", "logs/server.log", "access.log", "run/rstudio-pm.sock", "run/rstudio-pm.pid"]
    {
        assert!(paths.contains(&server.dir().join(name)), "{name} is missing: {paths:?}");
    }
    for path in paths {
        let metadata = match path.symlink_metadata() {
            // A temporary file that the running server has removed.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            metadata => metadata.expect("our own file"),
        };
        assert_eq!((metadata.uid(), metadata.gid()), (user.uid.as_raw(), user.gid.as_raw()), "{path:?}");
    }
    assert!(!server.log_lines().iter().any(|line| line.contains("as root")), "{:?}", server.log_lines());
    // The server can reload its configuration and stop as that user.
    let answer = server.admin("POST", "/reload", &serde_json::Value::Null);
    assert!(answer.status < 300, "{} {}", answer.status, answer.text());
    assert_eq!(server.stop().code(), Some(0));
    assert!(!server.admin_socket().exists());
}

#[test]
fn the_user_option_replaces_the_owner_of_the_gcfg() {
    let user = ordinary_user();
    let mut server = Builder::default().arguments(&["--user", &user.name]).prepare();
    change_owner(&server, &user);
    chown(server.config_file(), Some(0), Some(0)).expect("our own file");
    fs::set_permissions(server.config_file(), fs::Permissions::from_mode(0o600)).expect("our own file");
    server.launch();
    assert_runs_as(&server, &user);
    let path = server.config_file().display().to_string();
    server.wait_for_log(&format!(
        "user postgres cannot read {path}: reloads will fail; fix it with: chown postgres"
    ));
}

#[test]
fn with_a_gcfg_of_root_the_server_stays_root_with_one_warning() {
    let user = ordinary_user();
    let server = Server::start();
    let warnings: Vec<_> =
        server.log_lines().into_iter().filter(|line| line.contains("running as root")).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("WARN") && warnings[0].contains("--user"), "{warnings:?}");
    assert_ne!(status(&threads(&server)[0], "Uid")[0], user.uid.to_string());
}

#[test]
fn paths_that_only_root_can_create_are_created_for_the_user() {
    let user = ordinary_user();
    let folder = tempfile::tempdir_in("/var/lib").expect("a directory of root");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("our own file");
    let root = folder.path().display();
    let mut server = Builder::default()
        .gcfg(&format!(
            "[Server]\nDataDir = {root}/a/data\nAccessLog = {root}/access.log\nSockFileDir = {root}/run\n\
             [Logging]\nSystemLog = {root}/logs/b/server.log\n"
        ))
        .prepare();
    change_owner(&server, &user);
    server.launch();
    let owner_and_mode = |name: &str| {
        let metadata = folder.path().join(name).symlink_metadata().unwrap_or_else(|e| panic!("{name}: {e}"));
        (metadata.uid() == user.uid.as_raw(), metadata.mode() & 0o777)
    };
    for (name, mode) in [
        ("a/data", 0o700),
        ("a/data/db/rstudio-pm.db", 0o600),
        ("access.log", 0o600),
        ("run", 0o755),
        ("run/rstudio-pm.sock", 0o660),
        ("logs/b", 0o750),
        ("logs/b/server.log", 0o600),
    ] {
        assert_eq!(owner_and_mode(name), (true, mode), "{name}");
    }
    // The directories above them belong to root.
    assert_eq!((owner_and_mode("a"), owner_and_mode("logs")), ((false, 0o755), (false, 0o755)));
    assert_runs_as(&server, &user);
    server.stop();
}

#[test]
fn nothing_is_created_where_another_user_could_have_placed_a_link() {
    let user = ordinary_user();
    let folder = tempfile::tempdir_in("/var/lib").expect("a directory of root");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("our own file");
    std::os::unix::fs::symlink("/var/lib/rstudio-pm-nothing", folder.path().join("log")).expect("a link");
    let root = folder.path().display();
    let mut server = Builder::default().gcfg(&format!("[Server]\nAccessLog = {root}/log")).prepare();
    change_owner(&server, &user);
    server.launch();
    assert!(!Path::new("/var/lib/rstudio-pm-nothing").exists());
    server.stop();
}

#[test]
fn an_unknown_user_is_refused() {
    ordinary_user();
    let server = Builder::default().prepare();
    let output = run_to_end(server.command(DAEMON).args(["--user", "nobody-at-all"]));
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.err.contains("Error: --user nobody-at-all: there is no such user"), "{output:?}");
    assert!(!server.dir().join("data").exists(), "nothing was created");
}

#[test]
fn an_ordinary_user_cannot_switch_to_another_user() {
    ordinary_user();
    let server = Builder::default().prepare();
    let output = run_to_end(server.as_nobody(DAEMON).args(["--user", "postgres"]));
    assert_eq!(output.code, Some(1), "{output:?}");
    let expected = "Error: --user postgres: only root can switch to another user, and this is nobody";
    assert!(output.err.contains(expected), "{output:?}");
}

#[test]
fn a_privileged_port_that_is_refused_is_in_the_server_log_too() {
    ordinary_user();
    let server = Builder::default()
        .gcfg("[HTTP]\nListen = :80\n[Logging]\nSystemLog = {dir}/logs/server.log")
        .prepare();
    let nobody = User::from_name("nobody").ok().flatten().expect("the user nobody");
    let inner = server.as_nobody(DAEMON);
    change_owner(&server, &nobody);
    let mut command = std::process::Command::new("unshare");
    let output = run_to_end(command.arg("--net").arg(inner.get_program()).args(inner.get_args()));
    assert_eq!(output.code, Some(1), "{output:?}");
    let documented = "Could not initialize the HTTP listener: listen tcp :80: bind: permission denied";
    assert!(output.err.contains(&format!("Error: {documented}\n")), "{output:?}");
    let log = fs::read_to_string(server.dir().join("logs/server.log")).expect("a log");
    for text in [documented, "start rstudio-pm through systemd", "setcap", "1024 up"] {
        assert!(log.contains(text), "{text}: {log}");
    }
}
