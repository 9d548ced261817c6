//! The sockets of the builders' units: what a running server reports if they are disabled, and that it finds them
//! again.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen, socket_with,
};

use super::{create, repository, wait_for_build};
use crate::support::server::{Builder, Server};

/// A replacement for a socket unit with `Accept=yes`: starts a builder for each connection, without a sandbox.
struct Socket {
    path: PathBuf,
    is_stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

fn socket() -> OwnedFd {
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
}

impl Socket {
    fn listen(path: &Path, role: &'static str) -> Socket {
        let listener = socket();
        bind(&listener, &SocketAddrUnix::new(path).unwrap()).unwrap();
        listen(&listener, 16).unwrap();
        let is_stopped = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&is_stopped);
        let thread = std::thread::spawn(move || {
            let mut builders = Vec::new();
            loop {
                let connection = accept_with(&listener, SocketFlags::CLOEXEC).unwrap();
                if flag.load(Ordering::Relaxed) {
                    break;
                }
                let workspace = tempfile::Builder::new().prefix("build.").tempdir_in("/tmp").unwrap();
                let mut command = Command::new(env!("CARGO_BIN_EXE_rstudio-pm-builder"));
                command.arg(role).arg(workspace.path()).env_clear().stdin(Stdio::from(connection));
                builders.push((command.spawn().unwrap(), workspace));
            }
            for (mut builder, _workspace) in builders {
                builder.wait().unwrap();
            }
        });
        Socket { path: path.to_owned(), is_stopped, thread: Some(thread) }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        // Wakes the thread.
        let _ = connect(socket(), &SocketAddrUnix::new(&self.path).unwrap());
        let _ = self.thread.take().unwrap().join();
        // As RemoveOnStop= does.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The number of lines of the server's log with this text.
fn count(server: &Server, text: &str) -> usize {
    server.log_lines().iter().filter(|line| line.contains(text)).count()
}

#[test]
fn a_running_server_names_a_disabled_socket_with_its_remedy_and_detects_it_again() {
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    let path = |role: &str| directory.path().join(role);
    // The links are in a file system that only this server sees.
    let links = format!(
        "mount -t tmpfs none /run && for role in fetch build; do ln -s {}/$role /run/rstudio-pm-$role.sock; done && \
         exec \"$@\"",
        directory.path().display()
    );
    let _fetch = Socket::listen(&path("fetch"), "fetch");
    let build_socket = Socket::listen(&path("build"), "build");
    let server = Builder::default()
        .gcfg("[Git]\nSandbox = systemd\nLocalPaths = /tmp\nPollInterval = 1h\nBuildRetries = 1")
        .wrapper(&["unshare", "--mount", "sh", "-c", &links, "sh"])
        .start();
    create(&server);
    let repository = repository("1.0");
    let create_output = server.rspm(&format!("create git-builder --source=dev --url={}", repository.url()));
    assert_eq!(create_output.code, 0, "{}\n{}", create_output.out, create_output.err);
    let detection_count = count(&server, "Detected R version ");
    assert_eq!(detection_count, 1);

    drop(build_socket);
    repository.package("", "1.1");
    let commit = repository.commit();
    let failed_run = server.rspm("run git-builder --source=dev --name=tested");
    assert_eq!(failed_run.code, 1, "{}", failed_run.out);
    let build = wait_for_build(&server, "commit", &commit, "failed");
    let reason = build["reason"].as_str().unwrap();
    let remedy = "systemctl enable --now rstudio-pm-fetch.socket rstudio-pm-build.socket";
    for part in ["/run/rstudio-pm-build.sock: No such file or directory", remedy] {
        assert!(reason.contains(part), "{part}: {reason}");
        assert!(failed_run.out.contains(part), "the log: {part}: {}", failed_run.out);
    }
    // Everyone may read this answer.
    let public_log = server.get("/__api__/repos/dev/packages/tested/binaries/logs").text();
    assert!(!public_log.contains("/run/"), "{public_log}");

    // The next build detects the sandbox again, and reports why there is none.
    repository.package("", "1.2");
    let commit = repository.commit();
    let failed_run = server.rspm("run git-builder --source=dev --name=tested");
    assert_eq!(failed_run.code, 1, "{}", failed_run.out);
    for part in ["Unable to use R on this system", "/run/rstudio-pm-build.sock: No such file", remedy] {
        assert!(
            failed_run.err.contains(part) || failed_run.out.contains(part),
            "{part}: {} {}",
            failed_run.out,
            failed_run.err
        );
    }

    let _build = Socket::listen(&path("build"), "build");
    let repeated_run = server.rspm("run git-builder --source=dev --name=tested");
    assert_eq!(repeated_run.code, 0, "{}\n{}", repeated_run.out, repeated_run.err);
    wait_for_build(&server, "commit", &commit, "published");
    assert_eq!(count(&server, "Detected R version "), 2);
    assert_eq!(super::listed_version(&server).as_deref(), Some("1.2"));
}
