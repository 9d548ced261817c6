//! Hostile repositories on a booted system with the installed package. `tests/packaging/git` runs these from outside, one at
//! a time, and names the first process of the system in `RSPM_LEADER` and its root directory in `RSPM_ROOT`.

use std::path::PathBuf;
use std::process::Command;

use super::hostile::{Host, builds_reach_nothing, repositories_reach_nothing};
use crate::builder::attempts::Targets;

/// The booted system.
struct System {
    leader: String,
    root: PathBuf,
}

impl System {
    fn new() -> System {
        let variable = |name: &str| std::env::var(name).expect("run by tests/packaging/git");
        System { leader: variable("RSPM_LEADER"), root: PathBuf::from(variable("RSPM_ROOT")) }
    }

    /// Runs a command in the system; returns whether it succeeded, its standard output, and its messages.
    fn run(&self, words: &[&str]) -> (bool, Vec<u8>, String) {
        let mut command = Command::new("nsenter");
        command.args([
            "-a",
            "-r",
            "-w",
            "-t",
            &self.leader,
            "env",
            "-i",
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG=C.UTF-8",
        ]);
        let output = command.args(words).output().unwrap();
        (output.status.success(), output.stdout, String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

impl Host for System {
    fn rspm(&self, line: &str) -> (bool, String) {
        let words: Vec<&str> = std::iter::once("rspm").chain(line.split(' ')).collect();
        let (is_success, out, messages) = self.run(&words);
        (is_success, String::from_utf8_lossy(&out).into_owned() + &messages)
    }

    fn get(&self, path: &str) -> Vec<u8> {
        let (is_success, body, messages) =
            self.run(&["curl", "-fsS", &format!("http://localhost:4242{path}")]);
        assert!(is_success, "{path}: {messages}");
        body
    }

    fn repositories(&self) -> PathBuf {
        self.root.join("srv/git")
    }

    fn visible_repositories(&self) -> PathBuf {
        PathBuf::from("/srv/git")
    }
}

/// What exists on the booted system outside of the sandboxes: `tests/packaging/git` makes all of it readable for every user.
pub(super) fn targets() -> Targets {
    let list = |values: &[&str]| values.iter().map(|&value| value.to_owned()).collect();
    Targets {
        files: list(&[
            "/etc/rstudio-pm/rstudio-pm.gcfg",
            "/var/lib/rstudio-pm/rstudio-pm.key",
            "/var/lib/rstudio-pm/db/rstudio-pm.db",
            "/var/lib/rstudio-pm/readable",
            "/root/readable",
            "/home/administrator/readable",
            "/srv/git/secret/HEAD",
            "/var/log/rstudio/rstudio-pm/readable",
        ]),
        sockets: list(&[
            "/run/rstudio-pm/rstudio-pm.sock",
            "/run/dbus/system_bus_socket",
            "/run/docker.sock",
            "/run/postgresql/.s.PGSQL.5432",
            "/run/systemd/private",
            "/run/systemd/journal/stdout",
            "@canary",
        ]),
        packet_sockets: list(&["/run/rstudio-pm-build.sock", "/run/rstudio-pm-fetch.sock"]),
        addresses: vec![("127.0.0.1".to_owned(), 4242), ("10.77.0.1".to_owned(), 443)],
        process: "86405".to_owned(),
        other_build: Some("86406".to_owned()),
    }
}

#[test]
#[ignore = "needs a booted system"]
fn hostile_repositories_reach_nothing() {
    repositories_reach_nothing(&System::new());
}

#[test]
#[ignore = "needs a booted system"]
fn hostile_builds_reach_nothing() {
    let system = System::new();
    let targets = targets();
    for path in targets.files.iter().chain(targets.sockets.iter().filter(|path| path.starts_with('/'))) {
        assert!(
            system.run(&["test", "-e", path]).0,
            "{path} does not exist: the attempt would prove nothing"
        );
    }
    for process in [Some(&targets.process), targets.other_build.as_ref()].into_iter().flatten() {
        assert!(system.run(&["pgrep", "-f", &format!("^sleep {process}$")]).0, "no process {process}");
    }
    builds_reach_nothing(&system, &targets);
}
