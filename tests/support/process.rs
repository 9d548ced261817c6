//! Programs that run to completion: a refused start, a configuration check, as this user or as `nobody`.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::server::Server;

/// Timeout for a program to end.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The exit code and output of a program.
#[derive(Debug)]
pub(crate) struct ProcessOutput {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs a command to completion; panics with its output after the timeout.
pub(crate) fn run_to_end(command: &mut Command) -> ProcessOutput {
    let (mut out, mut err) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(err.try_clone().unwrap());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?} cannot be run: {e}"));
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("our own child") {
            break Some(status);
        }
        if start.elapsed() > TIMEOUT {
            child.kill().expect("it runs");
            child.wait().expect("our own child");
            break None;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let text = |file: &mut File| {
        let mut bytes = Vec::new();
        file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("our own file");
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let (out, err) = (text(&mut out), text(&mut err));
    let status = status.unwrap_or_else(|| panic!("{command:?} does not end:\n{out}\n{err}"));
    ProcessOutput { code: status.code(), out, err }
}

impl Server {
    /// Starts the server, which must fail with exit code 1; returns its standard error.
    pub(crate) fn start_refused(&self) -> String {
        let output = run_to_end(&mut self.command(&self.program().path()));
        assert_eq!(output.code, Some(1), "{}\n{}", output.out, output.err);
        output.err
    }

    /// Runs `rspm check-config`; returns the exit code and the output.
    pub(crate) fn check_config(&self) -> (i32, String) {
        let output = run_to_end(self.command(env!("CARGO_BIN_EXE_rspm")).arg("check-config"));
        (output.code.expect("no signal"), output.out + &output.err)
    }

    /// The result and the findings of the check with this title in `rspm check-config -o json`; the exit code must
    /// match the results.
    pub(crate) fn check_result(&self, title: &str) -> (String, Vec<String>) {
        let output =
            run_to_end(self.command(env!("CARGO_BIN_EXE_rspm")).args(["check-config", "-o", "json"]));
        let json: serde_json::Value =
            serde_json::from_str(&output.out).unwrap_or_else(|e| panic!("{e}: {}{}", output.out, output.err));
        let checks = json["checks"].as_array().expect("checks");
        let failed = checks.iter().any(|check| check["result"] == "fail");
        assert_eq!(
            (json["passed"].as_bool(), output.code),
            (Some(!failed), Some(i32::from(failed))),
            "{json}"
        );
        let check_row = checks.iter().find(|check| check["check"] == title);
        let check_row = check_row.unwrap_or_else(|| panic!("no check '{title}': {json}"));
        let findings = check_row["findings"].as_array().expect("findings").iter();
        let findings = findings.map(|line| line.as_str().expect("a line").to_owned()).collect();
        (check_row["result"].as_str().expect("a result").to_owned(), findings)
    }

    /// The finding of the check with this title, which must have failed with exactly one.
    pub(crate) fn failed_check(&self, title: &str) -> String {
        let (result, findings) = self.check_result(title);
        assert_eq!((result.as_str(), findings.len()), ("fail", 1), "{title}: {findings:?}");
        findings.into_iter().next().expect("one")
    }

    /// File, line and column of the last occurrence of `text` in the configuration file, in the form of findings.
    pub(crate) fn position_of(&self, text: &str) -> String {
        let gcfg = std::fs::read_to_string(self.config_file()).expect("readable");
        let at = gcfg.rfind(text).unwrap_or_else(|| panic!("no '{text}' in\n{gcfg}"));
        let line = gcfg[..at].matches('\n').count() + 1;
        let column = at - gcfg[..at].rfind('\n').map_or(0, |end| end + 1) + 1;
        format!("{}:{line}:{column}", self.config_file().display())
    }

    /// A program as user `nobody`, who may read this server's configuration but none of its other files.
    pub(crate) fn as_nobody(&self, program: &str) -> Command {
        assert!(nix::unistd::geteuid().is_root(), "this test needs root, to become another user");
        let set_mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("changed");
        };
        set_mode(self.dir(), 0o755);
        set_mode(&self.config_file(), 0o644);
        set_mode(&self.dir().join("tmp"), 0o1777);
        let program = self.accessible_program(Path::new(program));
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all"]);
        command.arg(program).arg("--config").arg(self.config_file());
        command
    }

    /// The program, or a copy of it if `nobody` has no access to a directory above it.
    fn accessible_program(&self, program: &Path) -> PathBuf {
        let is_accessible = |dir: &Path| dir.metadata().is_ok_and(|metadata| metadata.mode() & 0o001 != 0);
        if program.ancestors().skip(1).all(is_accessible) {
            return program.to_owned();
        }
        let copy = self.dir().join(program.file_name().expect("a file"));
        if !copy.exists() {
            std::fs::copy(program, &copy).expect("room for a copy");
        }
        copy
    }
}
