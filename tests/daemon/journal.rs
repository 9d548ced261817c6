//! What the journal gets when systemd started the server: priorities, no times, and no line twice.

use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::fixtures::until;
use crate::support::server::{Builder, Server};

/// A journal of one service: what it got, line by line.
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

/// Starts the server as systemd does: standard output and error are one stream socket, which `JOURNAL_STREAM` tells.
fn start(server: &Server) -> Journal {
    let (ours, theirs) = UnixStream::pair().expect("sockets");
    let theirs = OwnedFd::from(theirs);
    let meta = std::fs::File::from(theirs.try_clone().expect("a handle")).metadata().expect("known");
    let child = server
        .command(env!("CARGO_BIN_EXE_rstudio-pm"))
        .env("JOURNAL_STREAM", format!("{}:{}", meta.dev(), meta.ino()))
        .stdin(Stdio::null())
        .stdout(theirs.try_clone().expect("a handle"))
        .stderr(theirs)
        .spawn()
        .expect("it runs");
    Journal { read: BufReader::new(ours), child }
}

impl Journal {
    /// Stops the server and returns all that it said.
    fn lines(mut self) -> Vec<String> {
        let pid = Pid::from_raw(self.child.id().try_into().expect("a process id"));
        kill(pid, Signal::SIGTERM).expect("it runs");
        assert_eq!(self.child.wait().expect("our child").code(), Some(0));
        let lines = self.read.by_ref().lines();
        lines.map(|line| line.expect("text")).collect()
    }
}

fn prepare(lines: &str) -> Server {
    let server = Builder::default().prepare();
    let gcfg = std::fs::read_to_string(server.config_file()).expect("written before");
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
fn text_lines_have_a_priority_and_no_time_and_the_file_has_the_same_ones() {
    // STDERR too: it is the same journal.
    let server = prepare("SystemLog = STDOUT\nSystemLog = STDERR\n[Sever]\n[Logging]");
    let (journal, file) = run(&server);
    assert!(journal.iter().any(|line| line.starts_with("<6>INFO rstudio-pm ")), "{journal:#?}");
    assert!(
        journal.iter().any(|line| line.starts_with("<4>WARN ") && line.contains("Sever")),
        "{journal:#?}"
    );
    let mut said: Vec<&str> = journal.iter().map(|line| &line[3..]).collect();
    // `2026/11/20 07:54:01 `
    let mut noted: Vec<&str> = file.iter().map(|line| &line[20..]).collect();
    // Of lines that two threads write at the same time, either may be first in either place.
    said.sort_unstable();
    noted.sort_unstable();
    assert_eq!(said, noted);
}

#[test]
fn json_lines_have_a_priority_and_no_time() {
    let server = prepare("SystemLogFormat = JSON\nSystemLog = STDOUT");
    let (journal, file) = run(&server);
    assert!(!journal.is_empty() && journal.len() == file.len(), "{journal:#?}\n{file:#?}");
    for (said, noted) in journal.iter().zip(&file) {
        assert!(said.starts_with("<6>{") || said.starts_with("<4>{"), "{said}");
        let said: serde_json::Value = serde_json::from_str(said.get(3..).expect("a priority")).expect("JSON");
        let mut noted: serde_json::Value = serde_json::from_str(noted).expect("JSON");
        assert!(noted.as_object_mut().expect("an object").remove("time").is_some());
        assert_eq!(said, noted);
    }
}

#[test]
fn a_stream_that_is_not_the_journal_gets_times_and_no_priorities() {
    let server = prepare("SystemLog = STDERR");
    let mut command = server.command(env!("CARGO_BIN_EXE_rstudio-pm"));
    let err = server.dir().join("err");
    let file = std::fs::File::create(&err).expect("a file");
    // Left over from a shell that systemd started: another stream.
    let mut child = command.env("JOURNAL_STREAM", "8:1").stderr(file).spawn().expect("it runs");
    until("it answers", || server.dir().join("run/rstudio-pm.pid").exists());
    child.kill().expect("it runs");
    child.wait().expect("our child");
    let said = std::fs::read_to_string(err).expect("written");
    assert!(said.lines().count() > 0 && said.lines().all(|line| line.starts_with("20")), "{said}");
}
