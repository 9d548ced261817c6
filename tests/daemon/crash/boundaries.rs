//! kill -9 right after each fsync and each rename of an add, a sync and a fetch, one run per boundary.
//!
//! `strace` stops the whole server after each such call; the test continues it up to the boundary with the given number
//! and kills it there.

use std::io::{BufRead, BufReader};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rusqlite::{Connection, OpenFlags};

use super::CrashTest;
use crate::support::fixtures::until;
use crate::support::history;
use crate::support::process::{ProcessOutput, run_to_end};
use crate::support::tarball::Tarball;

/// Limit of the number of boundaries; more than any of the operations has.
const MAX_BOUNDARIES: usize = 80;
/// If strace reports nothing for this time, the server gets another `SIGCONT`: two threads at a boundary stop the
/// server twice, and the second stop can follow the first `SIGCONT`.
const SILENCE: Duration = Duration::from_millis(500);

/// A server under `strace`.
struct TracedServer {
    strace: Child,
    lines: Receiver<String>,
    server: Pid,
}

impl TracedServer {
    fn attach(server: u32) -> TracedServer {
        const CALLS: &str = "fsync,fdatasync,rename,renameat,renameat2";
        let mut strace = Command::new("strace")
            .args(["-f", "-p", &server.to_string(), "-e", &format!("trace={CALLS}")])
            .args(["-e", &format!("inject={CALLS}:signal=STOP")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("strace cannot be run ({e}): install strace"));
        let mut lines = BufReader::new(strace.stderr.take().expect("piped")).lines();
        let first = lines.next().expect("strace reports that it is attached").expect("text");
        assert!(first.contains("attached"), "strace may not trace a process of its own user: {first}");
        let (send, receive) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| send.send(line)));
        TracedServer { strace, lines: receive, server: Pid::from_raw(i32::try_from(server).unwrap()) }
    }

    /// Continues the server up to the boundary of that number and kills it there. False if the work ended first.
    fn kill_at(&mut self, number: usize, end: &Mutex<Option<End>>) -> bool {
        let mut count = 0;
        let mut is_stopping = false;
        loop {
            let line = match self.lines.recv_timeout(SILENCE) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => {
                    // The server exists until it is killed below, or by `at_every_boundary` after the work.
                    kill(self.server, Signal::SIGCONT).expect("the process exists");
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return false,
            };
            if line.contains("--- SIGSTOP {") {
                count += 1;
                is_stopping = true;
                if count == number && *end.lock().unwrap().get_or_insert(End::Killed) == End::Killed {
                    kill(self.server, Signal::SIGKILL).expect("the process exists");
                    return true;
                }
            } else if is_stopping && line.contains("--- stopped by SIGSTOP") {
                is_stopping = false;
                kill(self.server, Signal::SIGCONT).expect("the process exists");
            }
        }
    }
}

/// The first event: the kill or the end of the work.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Killed,
    WorkCompleted,
}

/// Runs `work` with a kill at its first boundary, then again with a kill at the second, until a run completes. Returns
/// the number of boundaries.
fn at_every_boundary(mut test: CrashTest, work: impl Fn(&CrashTest) -> bool + Sync) -> usize {
    for number in 1..MAX_BOUNDARIES {
        let mut traced_server = TracedServer::attach(test.server.pid());
        let strace = Pid::from_raw(i32::try_from(traced_server.strace.id()).unwrap());
        let server = traced_server.server;
        let has_finished = AtomicBool::new(false);
        let end = Mutex::new(None);
        let is_killed = std::thread::scope(|scope| {
            let killer = scope.spawn(|| traced_server.kill_at(number, &end));
            let done = catch_unwind(AssertUnwindSafe(|| work(&test)));
            has_finished.store(matches!(done, Ok(true)), Ordering::SeqCst);
            // Calls after the work are not counted, so strace is killed: on SIGINT it would wait for each thread in
            // turn, possibly for one that waits for another. When the server is killed, strace ends, too.
            if *end.lock().unwrap().get_or_insert(End::WorkCompleted) == End::WorkCompleted {
                kill(strace, Signal::SIGKILL).expect("our own child");
            }
            let is_killed = killer.join().expect("no panic");
            done.map(|_| is_killed).unwrap_or_else(|panic| resume_unwind(panic))
        });
        traced_server.strace.wait().expect("our own child");
        let _ = kill(server, Signal::SIGCONT);
        test.server.kill();
        test.server.launch();
        test.audit(false);
        if !is_killed {
            assert!(has_finished.load(Ordering::SeqCst), "the work failed without a kill");
            test.audit(true);
            println!("killed at {} boundaries", number - 1);
            return number - 1;
        }
    }
    panic!("there are more than {MAX_BOUNDARIES} boundaries");
}

fn rspm(test: &CrashTest, args: &[&str]) -> ProcessOutput {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rspm"));
    run_to_end(command.arg("--config").arg(test.server.config_file()).args(args))
}

#[test]
fn an_add_is_whole_or_absent_at_every_fsync_and_rename() {
    let boundaries = at_every_boundary(CrashTest::new(""), |test| {
        let folder = tempfile::tempdir().unwrap();
        let mut args = vec!["--output-format=json".to_owned(), "add".to_owned(), "--source=team".to_owned()];
        for tarball in test.next_group() {
            let path = folder.path().join(tarball.file());
            std::fs::write(&path, tarball.bytes()).unwrap();
            args.push(format!("--path={}", path.display()));
        }
        let output = rspm(test, &args.iter().map(String::as_str).collect::<Vec<_>>());
        if output.code == Some(0) {
            let added: serde_json::Value = serde_json::from_str(&output.out).expect("JSON");
            test.acknowledge(&added["packages"]);
        }
        output.code == Some(0)
    });
    assert!(boundaries >= 4, "only {boundaries} boundaries were reached");
}

#[test]
fn a_sync_is_whole_or_absent_at_every_fsync_and_rename() {
    let boundaries = at_every_boundary(CrashTest::new(""), |test| {
        test.next_state();
        let state = test.ledger.lock().unwrap().states.len() - 1;
        let output = rspm(test, &["sync", "--type=cran"]);
        if output.code == Some(0) {
            test.ledger.lock().unwrap().synced_state = state;
        }
        output.code == Some(0)
    });
    assert!(boundaries >= 2, "only {boundaries} boundaries were reached");
}

#[test]
fn a_lazy_fetch_is_whole_or_absent_at_every_fsync_and_rename() {
    let choice = std::sync::atomic::AtomicUsize::new(0);
    let boundaries = at_every_boundary(CrashTest::new(""), |test| {
        let addresses = test.addresses();
        let choice = choice.fetch_add(1, Ordering::SeqCst);
        let Ok(file) = test.fetch(&addresses, choice) else { return false };
        // The client has all bytes before the row is written.
        let database = test.server.dir().join("data/db/rstudio-pm.db");
        let is_stored = || {
            let database = Connection::open_with_flags(&database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            let rows = "SELECT COUNT(*) FROM file WHERE name = ?1 AND state = 1";
            database.query_row(rows, [&file], |row| row.get::<_, i64>(0)).map(|count| count > 0)
        };
        let mut is_running = true;
        until("the row is written, or the server is killed", || {
            is_running = addresses.get("/__ping__").is_ok();
            // The database may be locked at this moment.
            !is_running || is_stored().unwrap_or(false)
        });
        is_running
    });
    assert!(boundaries >= 3, "only {boundaries} boundaries were reached");
}

#[test]
fn the_log_is_one_log_at_every_fsync_and_rename() {
    let test = CrashTest::of(history::builder(), "[History]\nExportPath = {dir}/copy\n");
    test.server.json("history init --origin=pm.example.org/__log__");
    test.server.signed();
    let before = Mutex::new(Vec::new());
    let boundaries = at_every_boundary(test, |test| {
        // Every published checkpoint has its tiles, and none contradicts an earlier one.
        let copy = test.server.dir().join("copy");
        let check = || {
            let entries = history::entries_of(&copy);
            let mut before = before.lock().unwrap();
            assert!(entries.starts_with(&before), "{entries:#?}\n{before:#?}");
            *before = entries;
            before.len() as u64
        };
        check();
        let path = test.server.dir().join("logged_1.0.tar.gz");
        let number = test.ledger.lock().unwrap().adds;
        test.ledger.lock().unwrap().adds += 1;
        std::fs::write(&path, Tarball::new("logged", &format!("1.{number}")).bytes()).unwrap();
        let add = rspm(test, &["add", "--source=team", &format!("--path={}", path.display())]);
        let mut is_running = add.code == Some(0);
        until("the log is signed and copied, or the server is killed", || {
            let output = rspm(test, &["history", "status", "-o", "json"]);
            is_running = output.code == Some(0);
            let status: serde_json::Value = serde_json::from_str(&output.out).unwrap_or_default();
            let copied = check();
            !is_running
                || (status["waiting"] == 0
                    && status["entries"] == status["signed"]
                    && status["signed"] == copied)
        });
        is_running
    });
    assert!(boundaries >= 4, "only {boundaries} boundaries were reached");
    let entries = before.into_inner().unwrap();
    let transactions = entries.iter().filter(|entry| entry.starts_with("rspm-log/1 publish\n"));
    let transactions =
        transactions.map(|entry| entry.lines().find(|line| line.starts_with("transaction ")).unwrap());
    let transactions: Vec<&str> = transactions.collect();
    let unique: std::collections::BTreeSet<&&str> = transactions.iter().collect();
    assert_eq!(unique.len(), transactions.len(), "no entry twice: {transactions:?}");
}
