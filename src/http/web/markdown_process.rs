//! Converts Markdown in a child process, because a text may violate an assertion of the parser, which ends it.

use std::io::{Read, Write, stdin, stdout};
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use nix::sys::resource::{Resource, setrlimit};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use pages::readme::markdown_to_html;

const ARGUMENT: &str = "--convert-markdown";

/// Exit code of the child process if the text needs too much time or memory.
const TOO_MUCH: u8 = 3;

const TIME: Duration = Duration::from_secs(30);
/// Limits that the kernel enforces: seconds of CPU time and bytes of address space. The child's own limits,
/// which end it with [`TOO_MUCH`], are far below.
const LIMITS: [(Resource, u64); 2] = [(Resource::RLIMIT_CPU, 20), (Resource::RLIMIT_AS, 2 << 30)];

/// Runs the child process: converts the text from standard input.
pub fn serve() -> ExitCode {
    let limited = LIMITS.iter().try_for_each(|(resource, limit)| setrlimit(*resource, *limit, *limit));
    if limited.is_err() {
        return ExitCode::FAILURE;
    }
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
    run(command, text, TIME)
}

fn run(mut command: Command, text: &str, time: Duration) -> Option<String> {
    let failed =
        |reason: &dyn std::fmt::Display| tracing::warn!(%reason, "Markdown is displayed unconverted");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let child = command.spawn().inspect_err(|error| failed(error)).ok()?;
    let output = communicate(child, text, time).inspect_err(|error| failed(error)).ok()?;
    match output.status.code() {
        Some(0) => String::from_utf8(output.stdout).ok(),
        Some(code) if code == i32::from(TOO_MUCH) => None,
        _ => {
            failed(&format_args!("the converter ended with {}", output.status));
            None
        }
    }
}

/// Sends the text to the child process and returns its output. Ends the child process after this time.
fn communicate(mut child: Child, text: &str, time: Duration) -> std::io::Result<Output> {
    let process = match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
        Ok(process) => process,
        Err(error) => {
            child.kill()?;
            child.wait()?;
            return Err(error.into());
        }
    };
    std::thread::scope(|scope| {
        let (ended, end) = mpsc::channel::<()>();
        let timer = std::thread::Builder::new().spawn_scoped(scope, move || {
            if end.recv_timeout(time) == Err(RecvTimeoutError::Timeout) {
                // An error means that it has ended.
                let _ = pidfd_send_signal(&process, Signal::KILL);
            }
        });
        if let Err(error) = timer {
            child.kill()?;
            child.wait()?;
            return Err(error);
        }
        // The child process reads all of it before it writes. If it has ended, its exit status states the reason.
        let _ = child.stdin.take().map(|mut input| input.write_all(text.as_bytes()));
        let output = child.wait_with_output();
        drop(ended);
        output
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(script: &str) -> Option<String> {
        let mut command = Command::new("sh");
        // As the child process, it reads the whole text before it writes.
        command.args(["-c", &format!("text=$(cat); {script}")]);
        // More than a pipe holds.
        run(command, &"a".repeat(200_000), TIME)
    }

    #[test]
    fn the_end_of_the_converter_is_not_that_of_the_server() {
        assert_eq!(converted("printf %s \"$text\"").map(|html| html.len()), Some(200_000));
        for script in ["kill -ABRT $$", "echo a; kill -ABRT $$", "exit 1", "echo a; exit 3", "printf '\\377'"]
        {
            assert_eq!(converted(script), None, "{script}");
        }
        assert_eq!(run(Command::new("/nonexistent/program"), "a", TIME), None);
    }

    #[test]
    fn a_converter_that_does_not_end_is_ended() {
        let text = "a".repeat(200_000);
        // It never ends, before or after it has read the text.
        for script in ["exec sleep infinity", "cat > /dev/null; exec sleep infinity"] {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            assert_eq!(run(command, &text, Duration::from_millis(100)), None, "{script}");
        }
    }
}
