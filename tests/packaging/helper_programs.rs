//! Programs that `tests/setup` installs: one that cannot run is reported at once, with its output.

use std::process::Command;

use crate::support::helper_program::HelperProgram;
use crate::support::manager::Manager;
use crate::support::port::free_port;

fn panic_message(start: impl FnOnce() + std::panic::UnwindSafe) -> String {
    let panic = std::panic::catch_unwind(start).expect_err("it does not start");
    *panic.downcast::<String>().expect("a message")
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

#[test]
fn a_program_that_ends_before_it_listens_is_reported_with_its_output() {
    let script = "echo 'Unsupported runtime'; echo 'TypeError: x is not a function' >&2; exit 7";
    let message = panic_message(|| drop(HelperProgram::on_port(shell(script), free_port())));
    for expected in ["Unsupported runtime\n", "TypeError: x is not a function\n", "exit status: 7"] {
        assert!(message.contains(expected), "{message}");
    }
    let message = panic_message(|| drop(HelperProgram::on_free_port(|_| shell("kill -9 $$"))));
    assert!(message.contains("signal: 9"), "{message}");
    let message = panic_message(|| drop(HelperProgram::on_free_port(|_| Command::new("/no/such/program"))));
    assert!(message.contains("/no/such/program") && message.contains("run tests/setup"), "{message}");
}

#[test]
fn a_program_whose_port_is_taken_gets_another_one() {
    let mut ports = Vec::new();
    let program = "import http.server, sys; http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), None).serve_forever()";
    let (_program, port) = HelperProgram::on_free_port(|port| {
        ports.push(port);
        if ports.len() < 3 {
            return shell("echo 'bind: Address already in use'; exit 1");
        }
        let mut command = Command::new("python3");
        command.args(["-c", program, &port.to_string()]);
        command
    });
    assert_eq!((ports.len(), ports[2]), (3, port));
    assert!(ports[0] != ports[1] && ports[1] != port, "{ports:?}");
}

#[test]
fn a_server_that_ends_before_it_is_ready_is_reported_with_its_log() {
    let message = panic_message(|| {
        let mut manager = Manager::new("");
        manager.install_script("echo 'no such library' >&2; exit 3");
        manager.start();
    });
    assert!(message.contains("no notification") && message.contains("no such library"), "{message}");
}
