//! Builders of git repositories from end to end: the real server, git, R and bubblewrap.

mod booted;
mod builds;
mod git_server;
mod hostile;
mod interruption;
mod kills;
mod limits;
mod publisher;
mod python;
mod refusals;
mod remote;
mod sockets;
pub(crate) mod ssh;
mod ssh_server;
mod states;
mod submodules;
mod tags;
pub(crate) mod vignettes;

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::builder::repository::Repository;
use crate::support::server::{Builder, Server};

/// Time limit of a condition, generous for a loaded machine: builds get only the time that no other process needs.
const TIMEOUT: Duration = Duration::from_secs(200);

/// Calls `condition` until it returns a value.
fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + TIMEOUT;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < until, "{what} did not happen within {TIMEOUT:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// A server with the source `dev` of type git, and the repository `dev` that is subscribed to it.
fn server(gcfg: &str) -> Server {
    let server = builder_with(gcfg).start();
    create(&server);
    server
}

fn builder_with(gcfg: &str) -> Builder {
    // Repositories of git are below /tmp. 512 bytes of a key in hexadecimal. Builds run when no other process of the same
    // session needs the processor (autogroups of sched(7)), so that in a session of its own a build does not wait for the
    // tests beside it.
    Builder::default()
        .wrapper(&["setpriv", "--pdeathsig", "KILL", "setsid"])
        .gcfg(&format!("[Git]\nSandbox = bubblewrap\nLocalPaths = /tmp\n{gcfg}"))
        .env("PACKAGEMANAGER_ENCRYPTION_KEY", &"5a".repeat(512))
}

fn create(server: &Server) {
    server.rspm_stdout("create source --name=dev --type=git");
    server.rspm_stdout("create repo --name=dev");
    server.rspm_stdout("subscribe --repo=dev --source=dev");
}

/// A repository of git with a package that a user other than its owner may read.
fn repository(version: &str) -> Repository {
    let repository = Repository::new();
    repository.package("", version);
    repository.commit();
    repository
}

/// All builds of the server, the newest first.
fn builds(server: &Server) -> Vec<Value> {
    server.json("list git-builds").as_array().expect("a list").clone()
}

/// Waits until a build of this commit or tag has this state.
fn wait_for_build(server: &Server, key: &str, value: &str, state: &str) -> Value {
    wait_for(&format!("{state} of {value}"), || {
        builds(server).into_iter().find(|build| build[key] == value && build["state"] == state)
    })
}

/// The version that the index lists.
fn listed_version(server: &Server) -> Option<String> {
    let index = server.get("/dev/latest/src/contrib/PACKAGES").text();
    index.lines().find_map(|line| line.strip_prefix("Version: ")).map(str::to_owned)
}

/// Whether a file below the directory contains the text.
fn is_anywhere(directory: &std::path::Path, text: &str) -> bool {
    std::fs::read_dir(directory).unwrap().flatten().any(|entry| {
        let path = entry.path();
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => is_anywhere(&path, text),
            kind if kind.is_file() => {
                std::fs::read(&path).unwrap().windows(text.len()).any(|bytes| bytes == text.as_bytes())
            }
            _ => false,
        }
    })
}

/// Installs the package with R and returns its version.
fn installed_version(server: &Server) -> String {
    let code = r#"
        library <- tempfile("library"); dir.create(library)
        install.packages("tested", lib = library, repos = commandArgs(TRUE)[[1]], quiet = TRUE)
        stopifnot(identical(loadNamespace("tested", lib.loc = library)$f(), 1))
        cat(as.character(packageVersion("tested", lib.loc = library)))
    "#;
    crate::support::rscript::run(code, &[server.url("/dev/latest")])
}
