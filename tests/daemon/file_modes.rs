//! Every file that the daemon creates has its final mode from the first byte: `strace` reports each creation with its
//! mode, under a umask of 0, and no later change of a mode or owner.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use crate::support::fixtures::{create_mirror, until};
use crate::support::server::Builder;
use crate::support::tarball::Tarball;

/// The mode with which a path below the server's directory must be created.
fn expected_mode(path: &Path, root: &Path) -> u32 {
    let name = path.strip_prefix(root).expect("a path below the root").to_str().expect("text");
    match name {
        "run" => 0o755,
        "logs" => 0o750,
        "run/rstudio-pm.sock" => 0o660,
        _ if path.is_dir() => 0o700,
        _ => 0o600,
    }
}

/// A traced system call that creates a file or changes a mode.
#[derive(Debug, PartialEq)]
enum Call {
    Umask(u32),
    Create { path: PathBuf, mode: u32 },
    Change,
}

fn octal(text: &str) -> u32 {
    let digits: String = text.trim_start().chars().take_while(|c| c.is_digit(8)).collect();
    u32::from_str_radix(&digits, 8).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// The path in quotes, and the rest of the text.
fn quoted_path(text: &str) -> (PathBuf, &str) {
    let (_, rest) = text.split_once('"').unwrap_or_else(|| panic!("no path: {text}"));
    let (path, rest) = rest.split_once('"').unwrap_or_else(|| panic!("no path: {text}"));
    (PathBuf::from(path), rest)
}

/// Reads `12345 openat(AT_FDCWD, "/x", O_WRONLY|O_CREAT|O_EXCL, 0600) = 3`.
fn call(line: &str) -> Option<Call> {
    let (_, line) = line.split_once(' ')?;
    let line = line.trim_start();
    let (name, arguments) = line.split_once('(')?;
    match name {
        "umask" => Some(Call::Umask(octal(arguments))),
        "open" | "openat" if arguments.contains("O_CREAT") || arguments.contains("O_TMPFILE") => {
            let (path, rest) = quoted_path(arguments);
            let mode = rest.rsplit_once(", ").unwrap_or_else(|| panic!("no mode: {line}")).1;
            Some(Call::Create { path, mode: octal(mode) })
        }
        "creat" | "mkdir" | "mkdirat" | "mknod" | "mknodat" => {
            let (path, rest) = quoted_path(arguments);
            Some(Call::Create { path, mode: octal(rest.trim_start_matches(", ")) })
        }
        "bind" if arguments.contains("sun_path=\"") => {
            let (path, _) = quoted_path(arguments);
            Some(Call::Create { path, mode: 0o777 })
        }
        "chmod" | "fchmod" | "fchmodat" | "chown" | "lchown" | "fchown" | "fchownat" => Some(Call::Change),
        _ => None,
    }
}

#[test]
fn a_trace_is_parsed() {
    let create = |path: &str, mode| Some(Call::Create { path: path.into(), mode });
    assert_eq!(call("7 openat(AT_FDCWD, \"/a\", O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 5"), create("/a", 0o600));
    assert_eq!(call("7 openat(AT_FDCWD, \"/a\", O_RDWR|O_CREAT, 0644 <unfinished ...>"), create("/a", 0o644));
    assert_eq!(call("7 openat(AT_FDCWD, \"/a\", O_RDONLY) = 5"), None);
    assert_eq!(call("7 mkdir(\"/b\", 0701) = 0"), create("/b", 0o701));
    assert_eq!(call("7 bind(3, {sa_family=AF_UNIX, sun_path=\"/s\"}, 5) = 0"), create("/s", 0o777));
    assert_eq!(call("7 umask(077) = 000"), Some(Call::Umask(0o077)));
    assert_eq!(call("7 fchmod(4, 0600) = 0"), Some(Call::Change));
}

#[test]
fn every_file_has_its_mode_from_the_first_byte() {
    let folder = tempfile::tempdir().expect("a directory");
    let trace = folder.path().join("trace");
    let script = format!(
        "umask 0; exec strace -D -f -q -s 4096 -o '{}' -e trace=%file,umask,bind,fchmod,fchown \"$0\" \"$@\"",
        trace.display()
    );
    let gcfg = "[Server]\nAccessLog = {dir}/logs/access.log\n[Logging]\nSystemLog = {dir}/logs/server.log\n\
                [SQLite]\nDir = {dir}/db\n[CRAN]\nURL = file://{dir}/mirror";
    // As an ordinary user, because as root SQLite gives each of its files the owner of the database.
    assert!(nix::unistd::geteuid().is_root(), "this test needs root to switch to another user");
    let wrapper = ["sh", "-c", &script];
    let mut server =
        Builder::default().gcfg(gcfg).wrapper(&wrapper).arguments(&["--user", "postgres"]).prepare();
    let user = nix::unistd::User::from_name("postgres").ok().flatten().expect("run tests/setup");
    for path in [server.dir().to_owned(), server.dir().join("tmp"), server.config_file()] {
        chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("root can change the owner");
    }
    create_mirror(&server.dir().join("mirror"));
    let before: Vec<PathBuf> = all_paths(server.dir());
    server.launch();
    server.store("local", &Tarball::new("beta", "1.0"));
    server.sync().expect("a valid mirror");
    server.repository("r", "cran");
    assert_eq!(server.get("/r/latest/src/contrib/alpha_1.0.tar.gz").status, 200);
    assert_eq!(server.get("/r/latest/src/contrib/PACKAGES.gz").status, 200);
    // A log rotation, and a changed path of a log.
    fs::rename(server.dir().join("logs/server.log"), server.dir().join("logs/server.log.1")).expect("moved");
    server.signal(Signal::SIGUSR1);
    until("the log is reopened", || server.dir().join("logs/server.log").exists());
    server.hup_applies(
        "[Server]\nAccessLog = {dir}/logs/other.log",
        &["Server.AccessLog is '{dir}/logs/other.log'"],
    );
    server.get("/__ping__");

    let root = server.dir().to_owned();
    for path in all_paths(&root).into_iter().filter(|path| !before.contains(path)) {
        let mode = path.symlink_metadata().expect("it exists").mode() & 0o7777;
        assert_eq!(mode, expected_mode(&path, &root), "{path:?}");
    }
    server.stop();

    let trace = fs::read_to_string(&trace).expect("strace writes it: install strace");
    let (mut umask, mut created_paths) = (0, Vec::new());
    for line in trace.lines() {
        match call(line) {
            None => {}
            Some(Call::Umask(mask)) => umask = mask,
            Some(Call::Change) => panic!("a mode or owner is changed after the creation: {line}"),
            Some(Call::Create { path, mode }) if path.starts_with(&root) => {
                let mode = mode & !umask;
                let name = path.strip_prefix(&root).expect("a path below the root").to_owned();
                // A path that no longer exists was a file: no directory is removed.
                assert_eq!(mode, expected_mode(&path, &root), "{name:?}: {line}");
                created_paths.push(name);
            }
            Some(Call::Create { .. }) => {}
        }
    }
    for name in [
        "db/rstudio-pm.db",
        "logs/server.log",
        "logs/access.log",
        "logs/other.log",
        "run/rstudio-pm.sock",
        "run/rstudio-pm.pid",
        "data",
    ] {
        assert!(
            created_paths.contains(&PathBuf::from(name)),
            "{name} is not in the trace: {created_paths:?}"
        );
    }
    let spools = created_paths.iter().filter(|name| name.to_string_lossy().contains(".spool/")).count();
    assert!(spools > 1, "packages are written to spools: {created_paths:?}");
}

fn all_paths(dir: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).expect("readable").map(|entry| entry.expect("readable").path()) {
        if entry.is_dir() {
            paths.extend(all_paths(&entry));
        }
        paths.push(entry);
    }
    paths
}
