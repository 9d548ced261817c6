//! Shared code of the commands that run without a server: progress, output, errors, and the check that no server runs.

use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use indicatif::ProgressBar;

use super::sockets;
use base::config::Config;
use base::model::visible::{for_terminal, in_json, styled_for_terminal};

#[derive(Debug, thiserror::Error)]
pub(super) enum RunningServerError {
    #[error("the server is running and answers on {0}; stop it first: systemctl stop rstudio-pm")]
    Answer(String),
    #[error("could not determine whether the server is running: {path}: {source}; run the command as root")]
    Inaccessible { path: String, source: std::io::Error },
}

/// Returns an error if a server answers on the admin socket, in any mode.
pub(super) fn refuse_running(config: &Config) -> Result<(), RunningServerError> {
    match sockets::answering_server(config) {
        Ok(None) => Ok(()),
        Ok(Some(path)) => Err(RunningServerError::Answer(path.display().to_string())),
        Err((path, source)) => {
            Err(RunningServerError::Inaccessible { path: path.display().to_string(), source })
        }
    }
}

/// Prints the result of a command, with its hidden characters visible. A closed pipe is not an error.
pub(super) fn print(text: &str) -> std::io::Result<()> {
    write(&for_terminal(text))
}

pub(super) fn print_json(text: &str) -> std::io::Result<()> {
    write(&in_json(text))
}

fn write(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

pub(super) fn exit_code(result: Result<ExitCode, impl Display>) -> ExitCode {
    result.unwrap_or_else(|error| {
        let red = anstyle::AnsiColor::Red.on_default().bold();
        note(format!("{red}Error:{red:#} {error}"));
        ExitCode::FAILURE
    })
}

/// Prints a line to standard error, with its hidden characters visible. A failed write cannot be reported.
pub(super) fn note(text: impl Display) {
    let _ = writeln!(anstream::stderr().lock(), "{}", styled_for_terminal(&text.to_string()));
}

pub(super) struct Spinner(Option<ProgressBar>);

impl Spinner {
    /// Shows steps if `is_wanted` and standard error is a terminal.
    pub(super) fn new(is_wanted: bool) -> Spinner {
        Spinner((is_wanted && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new_spinner();
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        }))
    }

    pub(super) fn show(&self, step: impl Display) {
        self.0.iter().for_each(|bar| bar.set_message(for_terminal(&step.to_string())));
    }

    pub(super) fn clear(&self) {
        self.0.iter().for_each(ProgressBar::finish_and_clear);
    }
}
