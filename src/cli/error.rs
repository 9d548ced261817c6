//! What ends a command early, the sentence it prints and its exit code.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::api::error::Code;

/// An error of the command line.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The configuration that names the socket cannot be used.
    #[error("{0}\nTo see all that is wrong with it: rspm check-config")]
    Config(String),
    /// There is no socket.
    #[error(
        "the server cannot be reached: there is no socket {}\nStart it with: sudo systemctl start rstudio-pm\n\
         If it runs with another configuration file, name it: rspm --config FILE …",
        .0.display()
    )]
    NoSocket(PathBuf),
    /// The socket belongs to others.
    #[error("user {user} may not talk to the server: {} belongs to group {group}\n{}", .path.display(), join(group, user))]
    NoAccess {
        /// The socket.
        path: PathBuf,
        /// Its group.
        group: String,
        /// Who asked.
        user: String,
    },
    /// The socket is there, but nobody answers.
    #[error(
        "the server does not answer on {}: {reason}\nSee its state: systemctl status rstudio-pm",
        .path.display()
    )]
    NoAnswer {
        /// The socket.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Another machine's server was named.
    #[error(
        "--address {0}: this version talks to the server of its own machine alone, over its socket; run rspm there, \
         without --address and PACKAGEMANAGER_ADDRESS\nSee docs/compatibility.md"
    )]
    Remote(String),
    /// The connection broke after a request that changes something, and before its answer.
    #[error(
        "the connection to {} broke before the answer: {reason}\nThe command may have been carried out: look at what is \
         there (rspm list) before you repeat it",
        .path.display()
    )]
    Interrupted {
        /// The socket.
        path: PathBuf,
        /// How.
        reason: String,
    },
    /// Not to be done.
    #[error("{reason}")]
    Refused {
        /// Of the server: see [`crate::api::error::Code`].
        code: Option<u16>,
        /// The sentence of who refused.
        reason: String,
    },
    /// A file of the caller.
    #[error("{doing}: {source}")]
    Local {
        /// What was being done, with the path.
        doing: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Our own output.
    #[error("writing the output: {0}")]
    Output(std::io::Error),
}

/// The way to get access. Nobody should join the group of root for it.
fn join(group: &str, user: &str) -> String {
    if group == "root" {
        return "Use sudo.".to_owned();
    }
    format!("Use sudo, or join the group and log in again: sudo usermod -aG {group} {user}")
}

impl CliError {
    /// Refused by this program.
    pub(super) fn refused(reason: impl Into<String>) -> CliError {
        CliError::Refused { code: None, reason: reason.into() }
    }

    /// Whether the server refused with this code.
    pub(super) fn is(&self, code: Code) -> bool {
        matches!(self, CliError::Refused { code: Some(found), .. } if *found == code as u16)
    }

    /// 3 when there was no server to talk to, else 1.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            CliError::NoSocket(_) | CliError::NoAccess { .. } | CliError::NoAnswer { .. } => {
                ExitCode::from(3)
            }
            CliError::Remote(_) => ExitCode::from(2),
            CliError::Config(_)
            | CliError::Interrupted { .. }
            | CliError::Refused { .. }
            | CliError::Local { .. }
            | CliError::Output(_) => ExitCode::from(1),
        }
    }
}
