//! Builders in bubblewrap, the sandbox where systemd does not run.

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::attempts::Targets;
use super::hostile::all_attempts_fail;
use super::job::{build, builder, fetch, run};
use super::repository::Repository;
use rstudio_pm::builder::message::{Job, Limits};
use rstudio_pm::builder::sandbox::{Choice, Kind, Paths, Sandbox, detect};

/// Returns a sandbox that runs bubblewrap as a user without privileges, because the server's user has none.
fn sandbox() -> (tempfile::TempDir, Sandbox) {
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    let mode = || PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(directory.path(), mode()).unwrap();
    let (program, script) = (directory.path().join("rstudio-pm-builder"), directory.path().join("bwrap"));
    std::fs::copy(builder(), &program).unwrap();
    let user_command = if rustix::process::getuid().is_root() {
        "/usr/bin/setpriv --reuid=65534 --regid=65534 --clear-groups "
    } else {
        ""
    };
    std::fs::write(&script, format!("#!/bin/sh\nexec {user_command}/usr/bin/bwrap \"$@\"\n")).unwrap();
    std::fs::set_permissions(&script, mode()).unwrap();
    let paths = Paths { builder: program, bubblewrap: script, ..Paths::default() };
    let sandbox = detect(Choice::Bubblewrap, false, None, &paths).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(sandbox.kind, Kind::Bubblewrap);
    (directory, sandbox)
}

#[test]
fn a_local_repository_is_fetched_and_built() {
    let (_directory, sandbox) = sandbox();
    let repository = Repository::new();
    repository.package("", "1.0");
    let commit = repository.commit();
    let readable = [repository.path().to_owned()];
    let fetch_outcome =
        run(&sandbox, Job::FetchCommit(fetch(&repository.url())), Limits::default(), &readable, &[]);
    assert_eq!(fetch_outcome.success().commit, Some(commit));
    let build_outcome = build(&sandbox, &fetch_outcome.content, Limits::default());
    assert_eq!(build_outcome.success().file.as_deref(), Some("tested_1.0.tar.gz"));
    // A repository that was not passed is not visible.
    let outcome = run(&sandbox, Job::FetchCommit(fetch(&repository.url())), Limits::default(), &[], &[]);
    assert!(outcome.failure().0.is_temporary(), "{:?}", outcome.failure());
}

#[test]
fn descriptors_that_the_server_inherited_are_closed() {
    let (directory, sandbox) = sandbox();
    let script = directory.path().join("bwrap");
    let text = std::fs::read_to_string(&script).unwrap();
    std::fs::write(&script, text.replace("exec ", "exec 9< /etc/passwd\nexec ")).unwrap();
    let repository = Repository::new();
    repository.package("", "1.0");
    repository.run_in_build("test -e /proc/self/fd/0 && ! test -e /proc/self/fd/9");
    repository.commit();
    let readable = [repository.path().to_owned()];
    let fetch_outcome =
        run(&sandbox, Job::FetchCommit(fetch(&repository.url())), Limits::default(), &readable, &[]);
    build(&sandbox, &fetch_outcome.content, Limits::default()).success();
}

#[test]
fn hostile_code_reaches_nothing() {
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::write(directory.path().join("secret"), "5e0f1c").unwrap();
    let _socket = UnixListener::bind(path("socket")).unwrap();
    let name = format!("rspm-test-{}", std::process::id());
    let _abstract_socket = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut process = Command::new("sleep").arg("86404").spawn().unwrap();
    let targets = Targets {
        files: vec![path("secret"), "/var/lib/dpkg/status".to_owned(), "/etc/ssl/openssl.cnf".to_owned()],
        sockets: vec![path("socket"), format!("@{name}")],
        packet_sockets: Vec::new(),
        addresses: vec![("127.0.0.1".to_owned(), listener.local_addr().unwrap().port())],
        process: "86404".to_owned(),
        other_build: None,
    };
    for file in targets.files.iter().chain(&targets.sockets[..1]).map(PathBuf::from) {
        assert!(Path::new(&file).exists(), "{}", file.display());
    }
    let (_directory, sandbox) = sandbox();
    all_attempts_fail(&sandbox, &targets);
    process.kill().unwrap();
    process.wait().unwrap();
}
