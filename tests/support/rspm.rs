//! The real `rspm` as a client of a started server.

use std::process::{Command, Output};

use super::server::Server;

/// The exit code and output of a command.
#[derive(Debug)]
pub(crate) struct RspmOutput {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for RspmOutput {
    fn from(output: Output) -> RspmOutput {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        RspmOutput {
            code: output.status.code().expect("no signal ended it"),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }
}

/// Splits a line at spaces; `~` inside a word stands for a space.
fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(|word| word.replace('~', " ")).collect()
}

/// `rspm` without a server's configuration.
pub(crate) fn rspm_without_server(line: &str) -> RspmOutput {
    Command::new(env!("CARGO_BIN_EXE_rspm")).args(words(line)).output().expect("rspm runs").into()
}

impl Server {
    /// The command `rspm --config … LINE`.
    pub(crate) fn rspm_command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rspm"));
        command.arg("--config").arg(self.config_file()).args(words(line));
        command
    }

    /// Runs `rspm` with this server's configuration.
    pub(crate) fn rspm(&self, line: &str) -> RspmOutput {
        self.rspm_command(line).output().expect("rspm runs").into()
    }

    /// Runs `rspm` and returns its standard output; panics if it fails.
    pub(crate) fn rspm_stdout(&self, line: &str) -> String {
        let output = self.rspm(line);
        assert_eq!((output.code, output.err.as_str()), (0, ""), "rspm {line}: {}", output.out);
        output.out
    }

    /// Runs `rspm` with `-o json`.
    pub(crate) fn json(&self, line: &str) -> serde_json::Value {
        let out = self.rspm_stdout(&format!("{line} -o json"));
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("rspm {line}: no JSON ({e}): {out}"))
    }

    /// Runs `rspm` and returns the error after `Error: `; panics unless it fails with exit code 1.
    pub(crate) fn refused(&self, line: &str) -> String {
        let output = self.rspm(line);
        assert_eq!((output.code, output.out.as_str()), (1, ""), "rspm {line}: {}", output.err);
        output.err.trim_end().strip_prefix("Error: ").unwrap_or_else(|| panic!("{}", output.err)).to_owned()
    }
}
