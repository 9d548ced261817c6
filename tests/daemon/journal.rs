//! Log lines for the journal under systemd: priorities, no timestamps, and no duplicate lines.

use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::fixtures::until;
use crate::support::server::{Builder, Server};

/// The journal stream of one service.
struct Journal {
    read: BufReader<UnixStream>,
    child: Child,
}

impl Drop for Journal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the server as systemd does: standard output and error are one stream socket, named by `JOURNAL_STREAM`.
fn start(server: &Server) -> Journal {
    let (reader, writer) = UnixStream::pair().expect("sockets");
    let writer = OwnedFd::from(writer);
    let meta = std::fs::File::from(writer.try_clone().expect("a handle")).metadata().expect("metadata");
    let child = server
        .command(env!("CARGO_BIN_EXE_rstudio-pm"))
        .env("JOURNAL_STREAM", format!("{}:{}", meta.dev(), meta.ino()))
        .stdin(Stdio::null())
        .stdout(writer.try_clone().expect("a handle"))
        .stderr(writer)
        .spawn()
        .expect("it runs");
    Journal { read: BufReader::new(reader), child }
}

impl Journal {
    /// Stops the server and returns all lines of its output.
    fn lines(mut self) -> Vec<String> {
        let pid = Pid::from_raw(self.child.id().try_into().expect("a process id"));
        kill(pid, Signal::SIGTERM).expect("it runs");
        assert_eq!(self.child.wait().expect("our own child").code(), Some(0));
        let lines = self.read.by_ref().lines();
        lines.map(|line| line.expect("text")).collect()
    }
}

fn prepare(lines: &str) -> Server {
    let server = Builder::default().prepare();
    let gcfg = std::fs::read_to_string(server.config_file()).expect("readable");
    let file = server.dir().join("server.log");
    let lines = format!("{lines}\nSystemLog = {}", file.display());
    std::fs::write(server.config_file(), gcfg.replace("SystemLog = STDERR", &lines)).expect("written");
    server
}

fn run(server: &Server) -> (Vec<String>, Vec<String>) {
    let journal = start(server);
    until("it answers", || server.dir().join("run/rstudio-pm.pid").exists());
    let journal = journal.lines();
    let file = std::fs::read_to_string(server.dir().join("server.log")).expect("a log");
    (journal, file.lines().map(str::to_owned).collect())
}

#[test]
fn text_lines_have_a_priority_and_no_time_and_the_file_has_the_same_lines() {
    // STDOUT and STDERR are the same journal stream: each line must be written once.
    let server = prepare("SystemLog = STDOUT\nSystemLog = STDERR\n[Sever]\n[Logging]");
    let (journal, file) = run(&server);
    assert!(journal.iter().any(|line| line.starts_with("<6>INFO rstudio-pm ")), "{journal:#?}");
    assert!(
        journal.iter().any(|line| line.starts_with("<4>WARN ") && line.contains("Sever")),
        "{journal:#?}"
    );
    let mut in_journal: Vec<&str> = journal.iter().map(|line| &line[3..]).collect();
    // The first 20 characters are the time: `2026/11/20 07:54:01 `.
    let mut in_file: Vec<&str> = file.iter().map(|line| &line[20..]).collect();
    // Lines that two threads write at the same time may differ in order.
    in_journal.sort_unstable();
    in_file.sort_unstable();
    assert_eq!(in_journal, in_file);
}

#[test]
fn json_lines_have_a_priority_and_no_time() {
    let server = prepare("SystemLogFormat = JSON\nSystemLog = STDOUT");
    let (journal, file) = run(&server);
    assert!(!journal.is_empty() && journal.len() == file.len(), "{journal:#?}\n{file:#?}");
    let in_journal = journal.iter().map(|line| {
        assert!(line.starts_with("<6>{") || line.starts_with("<4>{"), "{line}");
        serde_json::from_str(line.get(3..).expect("a priority")).expect("JSON")
    });
    let in_file = file.iter().map(|line| {
        let mut parsed: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert!(parsed.as_object_mut().expect("an object").remove("time").is_some());
        parsed
    });
    // Lines that are logged at the same time may differ in order.
    let sorted = |lines: Vec<serde_json::Value>| {
        let mut lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        lines.sort_unstable();
        lines
    };
    assert_eq!(sorted(in_journal.collect()), sorted(in_file.collect()));
}

#[test]
fn a_stream_other_than_the_journal_gets_times_and_no_priorities() {
    let server = prepare("SystemLog = STDERR");
    let mut command = server.command(env!("CARGO_BIN_EXE_rstudio-pm"));
    let err = server.dir().join("err");
    let file = std::fs::File::create(&err).expect("a file");
    // As inherited from a shell that systemd started; the variable names another stream.
    let mut child = command.env("JOURNAL_STREAM", "8:1").stderr(file).spawn().expect("it runs");
    until("it answers", || server.dir().join("run/rstudio-pm.pid").exists());
    child.kill().expect("it runs");
    child.wait().expect("our own child");
    let output = std::fs::read_to_string(err).expect("written");
    assert!(output.lines().count() > 0 && output.lines().all(|line| line.starts_with("20")), "{output}");
}
