//! Converts Markdown in a child process: the parser has assertions that a text of a package may violate, and a panic ends
//! the process.

use std::io::{Read, Write, stdin, stdout};
use std::process::{Command, ExitCode, Stdio};

use crate::web::readme::markdown_to_html;

/// The argument with which the server starts itself as the child process.
const ARGUMENT: &str = "--convert-markdown";

/// Exit code of the child process if the text needs too much time or memory.
const TOO_MUCH: u8 = 3;

/// Runs the child process: converts the text from standard input.
#[must_use]
pub fn serve() -> ExitCode {
    let mut text = String::new();
    if stdin().read_to_string(&mut text).is_err() {
        return ExitCode::FAILURE;
    }
    match markdown_to_html(&text) {
        None => ExitCode::from(TOO_MUCH),
        Some(html) if stdout().write_all(html.as_bytes()).is_ok() => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
    }
}

/// Converts a text as [`markdown_to_html`] does, or returns `None` if that fails. Blocks.
pub(super) fn to_html(text: &str) -> Option<String> {
    // The running program, also if its file has been replaced.
    let mut command = Command::new("/proc/self/exe");
    command.arg(ARGUMENT).env_clear();
    run(command, text)
}

fn run(mut command: Command, text: &str) -> Option<String> {
    let failed =
        |reason: &dyn std::fmt::Display| tracing::warn!(%reason, "Markdown is displayed unconverted");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().inspect_err(|error| failed(error)).ok()?;
    // The child process reads all of it before it writes. If it has ended, its exit status states the reason.
    let _ = child.stdin.take().map(|mut input| input.write_all(text.as_bytes()));
    let output = child.wait_with_output().inspect_err(|error| failed(error)).ok()?;
    match output.status.code() {
        Some(0) => String::from_utf8(output.stdout).ok(),
        Some(code) if code == i32::from(TOO_MUCH) => None,
        _ => {
            failed(&format_args!("the converter ended with {}", output.status));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(script: &str) -> Option<String> {
        let mut command = Command::new("sh");
        // As the child process, it reads the whole text before it writes.
        command.args(["-c", &format!("text=$(cat); {script}")]);
        // More than a pipe holds.
        run(command, &"a".repeat(200_000))
    }

    #[test]
    fn the_end_of_the_converter_is_not_that_of_the_server() {
        assert_eq!(converted("printf %s \"$text\"").map(|html| html.len()), Some(200_000));
        for script in ["kill -ABRT $$", "echo a; kill -ABRT $$", "exit 1", "echo a; exit 3", "printf '\\377'"]
        {
            assert_eq!(converted(script), None, "{script}");
        }
        assert_eq!(run(Command::new("/nonexistent/program"), "a"), None);
    }
}
