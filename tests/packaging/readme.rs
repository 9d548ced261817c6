//! "A first repository" of the README, as printed, in the demo: only the port is replaced.

use std::path::Path;
use std::process::Command;

use crate::python::clients::program;
use crate::support::fixtures::create_mirror;
use crate::support::helper_program::HelperProgram;
use crate::support::port::free_port;
use crate::support::python::package::Package;

/// The code blocks of the section with their languages.
fn blocks() -> Vec<(String, String)> {
    let readme =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("readable");
    let (_, section) = readme.split_once("\n## A first repository\n").expect("the section");
    let (section, _) = section.split_once("\n## ").expect("a further section");
    let block = |text: &str| {
        let (language, lines) = text.split_once('\n').expect("a line with the language");
        (language.to_owned(), lines.to_owned())
    };
    section.split("\n```").skip(1).step_by(2).map(block).collect()
}

/// A command in the folder of the demo, without the settings of this machine.
fn command(program: &str, folder: &Path) -> Command {
    let clients = ["pip-newest/bin/pip", "twine/bin/twine"].map(|path| {
        let (client, name) = path.split_once("/bin/").expect("a program");
        let folder = program_folder(client, name);
        folder.display().to_string()
    });
    let mut command = Command::new(program);
    command.env_clear().current_dir(folder);
    command.env("PATH", format!("{}:{}", std::env::var("PATH").expect("a PATH"), clients.join(":")));
    command.env("HOME", folder).env("LANG", "C.UTF-8").env("NO_PROXY", "*");
    command.env("R_LIBS_USER", folder.join("library")).env("PIP_TARGET", folder.join("site"));
    command.env("PIP_CONFIG_FILE", "/dev/null").env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    command
}

fn program_folder(client: &str, name: &str) -> std::path::PathBuf {
    program(client, name).parent().expect("a folder").to_owned()
}

/// Starts `make demo` without its build; the demo serves when this returns.
fn demo(folder: &Path, port: u16) -> HelperProgram {
    let mirror = folder.join("mirror");
    create_mirror(&mirror);
    let mut demo = command(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/demo"), folder);
    demo.env("BIN", Path::new(env!("CARGO_BIN_EXE_rspm")).parent().expect("a folder"));
    demo.env("PORT", port.to_string()).env("CRAN_URL", format!("file://{}", mirror.display()));
    let path = folder.join("demo.log");
    let log = std::fs::File::options().read(true).append(true).create(true).open(&path).expect("a file");
    let is_serving = || std::fs::read_to_string(&path).is_ok_and(|text| text.contains("Stop with Ctrl-C"));
    HelperProgram::start(demo, &log, is_serving).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_first_repository_continues_the_demo_line_by_line() {
    let folder = tempfile::tempdir().expect("a directory");
    let folder = folder.path();
    for name in ["library", "dist"] {
        std::fs::create_dir(folder.join(name)).expect("a directory");
    }
    let package = Package::new("app", "1.0");
    std::fs::write(folder.join("dist").join(package.wheel_name()), package.wheel()).expect("written");
    let port = free_port();
    let demo = demo(folder, port);
    // The lines are pasted into one shell: a command that reads its input takes the lines after it.
    let (mut input, mut expected_lines) = ("set -eu\n".to_owned(), Vec::new());
    for (number, (language, lines)) in blocks().into_iter().enumerate() {
        let lines = lines.replace("localhost:4242", &format!("localhost:{port}"));
        expected_lines.extend(lines.lines().filter_map(|line| line.strip_prefix("# ")).map(str::to_owned));
        match language.as_str() {
            "sh" => input += &lines,
            "r" => {
                let file = folder.join(format!("block{number}.R"));
                std::fs::write(&file, lines).expect("written");
                input += &format!("Rscript --vanilla {}\n", file.display());
            }
            other => panic!("a block in {other}"),
        }
        input += &format!("\necho 'end of block {number}'\n");
        expected_lines.push(format!("end of block {number}"));
    }
    let file = folder.join("pasted");
    std::fs::write(&file, &input).expect("written");
    let mut shell = command("sh", folder);
    shell.stdin(std::fs::File::open(&file).expect("a file"));
    let output = shell.output().expect("sh runs");
    // As by `kill`: the demo stops its server.
    let pid = nix::unistd::Pid::from_raw(demo.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it runs");
    demo.wait();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}\n{error}");
    let mut lines = text.lines();
    for expected in &expected_lines {
        assert!(
            lines.any(|line| line == expected),
            "'{expected}' is not printed in its place:\n{text}\n{error}"
        );
    }
    assert!(expected_lines.len() > blocks().len() + 4, "the outputs of commands: {expected_lines:?}");
    assert!(folder.join("library/greeting/DESCRIPTION").exists(), "{text}\n{error}");
    assert!(folder.join("site/app-1.0.dist-info").exists(), "{text}\n{error}");
}
