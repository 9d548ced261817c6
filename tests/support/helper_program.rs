//! Programs that run beside the tests: web servers, databases, identity providers, drivers of browsers.

use std::fs::File;
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::port::free_port;

/// Timeout of a start.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A running program; killed on drop.
pub(crate) struct HelperProgram(Child);

impl HelperProgram {
    /// Starts the program that `command` prepares for a free loopback port, and waits until it accepts connections there.
    /// Returns it with the port. Another process may take the port first, so that there are five tries.
    pub(crate) fn on_free_port(mut command: impl FnMut(u16) -> Command) -> (HelperProgram, u16) {
        for _ in 0..4 {
            let port = free_port();
            match HelperProgram::listening(command(port), port) {
                Ok(program) => return (program, port),
                Err(error) if error.to_lowercase().contains("address already in use") => {}
                Err(error) => panic!("{error}"),
            }
        }
        let port = free_port();
        (HelperProgram::on_port(command(port), port), port)
    }

    /// Starts a program, and waits until it accepts connections at this loopback port.
    pub(crate) fn on_port(command: Command, port: u16) -> HelperProgram {
        HelperProgram::listening(command, port).unwrap_or_else(|error| panic!("{error}"))
    }

    fn listening(command: Command, port: u16) -> Result<HelperProgram, String> {
        let log = tempfile::tempfile().expect("a temporary file");
        HelperProgram::start(command, &log, || TcpStream::connect(("127.0.0.1", port)).is_ok())
    }

    /// Starts a program whose output goes to the end of `log`, and waits until `is_ready`. The error contains the output if
    /// the program has ended before, or is not ready in time.
    pub(crate) fn start(
        mut command: Command,
        log: &File,
        mut is_ready: impl FnMut() -> bool,
    ) -> Result<HelperProgram, String> {
        let output = || log.try_clone().expect("the file again");
        let child = command.stdin(Stdio::null()).stdout(output()).stderr(output()).spawn();
        let child = child.map_err(|error| format!("{command:?} cannot be run ({error}): run tests/setup"))?;
        let mut program = HelperProgram(child);
        let start = Instant::now();
        while !is_ready() {
            if let Some(status) = program.0.try_wait().expect("our own child") {
                return Err(format!("{command:?} has ended, {status}:\n{}", text(log)));
            }
            if start.elapsed() > TIMEOUT {
                return Err(format!("{command:?} is not ready after {TIMEOUT:?}:\n{}", text(log)));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(program)
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits until the program has ended by itself.
    pub(crate) fn wait(mut self) {
        self.0.wait().expect("our own child");
    }

    /// Leaves the program running when this process ends.
    pub(crate) fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for HelperProgram {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The text of a file. Its position, which the program shares, stays.
fn text(file: &File) -> String {
    let mut bytes = vec![0; usize::try_from(file.metadata().map_or(0, |m| m.len())).expect("a short log")];
    let size = file.read_at(&mut bytes, 0).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..size]).into_owned()
}
