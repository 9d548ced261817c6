//! Errors of the command line: their messages and exit codes.

use std::path::PathBuf;
use std::process::ExitCode;

use api::error::Code;
use base::model::documentation::Page;
use base::model::errors::refused_rows;

/// An error of the command line.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error("{0}\nTo list all problems of the configuration: rspm check-config")]
    Config(String),
    #[error(
        "the server cannot be reached: there is no socket {}\nStart it with: sudo systemctl start rstudio-pm\n\
         If it runs with another configuration file, name it: rspm --config FILE …",
        .0.display()
    )]
    NoSocket(PathBuf),
    #[error("user {user} may not connect to the server: {} belongs to group {group}\n{}", .path.display(), access_advice(group, user))]
    NoAccess {
        path: PathBuf,
        group: String,
        /// The user who runs the command.
        user: String,
    },
    /// The socket exists, but the server does not respond.
    #[error(
        "the server does not respond on {}: {reason}\nSee its state: systemctl status rstudio-pm",
        .path.display()
    )]
    NoAnswer { path: PathBuf, reason: String },
    /// The caller named the server of another machine, but has no token.
    #[error(
        "--address {0} is not the address of this machine's server, and other servers require a token: run \
         rspm login, or set PACKAGEMANAGER_TOKEN\nTo create a token, on the server: rspm create token\nSee {page}",
        page = Page::ACCESS
    )]
    NoToken(String),
    #[error("'{0}' is not the address of a server: write a URL, such as https://packages.example.org")]
    BadAddress(String),
    #[error("the server {address} cannot be reached: {reason}")]
    Unreachable { address: String, reason: String },
    /// The response is JSON, with other words or fields than those of this version.
    #[error(
        "the server {server} is of another version than this rspm ({version}), which does not understand its response: {reason}\n\
         Update rspm to the version of the server; {remedy}",
        version = env!("CARGO_PKG_VERSION")
    )]
    OtherVersion {
        /// The socket or the address.
        server: String,
        /// The unknown word, or the other difference.
        reason: String,
        /// How to get the same version, as a clause.
        remedy: String,
    },
    /// The connection broke between a request that changes something and its response.
    #[error(
        "the connection to {} was lost before the response: {reason}\nThe command may have been carried out: check \
         with rspm list before you repeat it",
        .path.display()
    )]
    Interrupted {
        /// The socket or the address.
        path: PathBuf,
        /// The error of the connection.
        reason: String,
    },
    #[error("{reason}")]
    Refused {
        /// The server's error code, see [`api::error::Code`]; `None` when this program refused.
        code: Option<u16>,
        reason: String,
    },
    /// The command was carried out in part, which a flag of the command permits.
    #[error("{0}")]
    Incomplete(String),
    /// The server differs from state files, which a flag of the command does not expect.
    #[error("{0}")]
    Different(String),
    #[error("could not {operation}: {source}")]
    Local {
        /// The operation, with the path: `read a.tar.gz`.
        operation: String,
        /// The error of the system.
        source: std::io::Error,
    },
    #[error("could not write the output: {0}")]
    Output(std::io::Error),
}

/// A value that cannot be written as JSON.
impl From<serde_json::Error> for CliError {
    fn from(error: serde_json::Error) -> CliError {
        CliError::Output(error.into())
    }
}

/// Returns advice on how to get access; it never suggests joining the group of root.
fn access_advice(group: &str, user: &str) -> String {
    if group == "root" {
        return "Use sudo.".to_owned();
    }
    format!("Use sudo, or join the group and log in again: sudo usermod -aG {group} {user}")
}

impl CliError {
    /// Returns the error for a refusal by this program, not by the server.
    pub(super) fn refused(reason: impl Into<String>) -> CliError {
        CliError::Refused { code: None, reason: reason.into() }
    }

    /// Returns the error with the number of a row of a file, if the server refused the content of a request with that row
    /// only.
    pub(super) fn of_row(self, noun: &str, number: usize) -> CliError {
        let codes = [Code::Invalid, Code::NotFound, Code::Conflict, Code::Unconfirmed];
        let is_about_content = codes.into_iter().any(|code| self.has_code(code));
        match self {
            CliError::Refused { code, reason } if is_about_content => {
                CliError::Refused { code, reason: refused_rows(noun, [(number, reason.as_str())]) }
            }
            other => other,
        }
    }

    /// Returns whether the server refused the command with this code.
    pub(super) fn has_code(&self, code: Code) -> bool {
        matches!(self, CliError::Refused { code: Some(actual), .. } if *actual == code as u16)
    }

    /// Returns 3 when the server is not reachable, 2 for wrong usage, 4 for an incomplete result, 5 for
    /// unexpected differences, otherwise 1.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            CliError::NoSocket(_)
            | CliError::NoAccess { .. }
            | CliError::NoAnswer { .. }
            | CliError::Unreachable { .. } => ExitCode::from(3),
            CliError::NoToken(_) | CliError::BadAddress(_) => ExitCode::from(2),
            CliError::Incomplete(_) => ExitCode::from(4),
            CliError::Different(_) => ExitCode::from(5),
            CliError::Config(_)
            | CliError::OtherVersion { .. }
            | CliError::Interrupted { .. }
            | CliError::Refused { .. }
            | CliError::Local { .. }
            | CliError::Output(_) => ExitCode::from(1),
        }
    }
}
