//! kill -9 right after each fsync and each rename of an add, a sync, a fetch, and of the log, one run per boundary.
//!
//! `strace` stops the whole server after each such call; the test continues it up to the boundary with the given number
//! and kills it there.

use std::collections::{BTreeSet, HashMap};
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
        const CALLS: &str = "fsync,fdatasync,syncfs,rename,renameat,renameat2";
        let mut strace = Command::new("strace")
            .args(["-f", "-y", "-p", &server.to_string(), "-e", &format!("trace={CALLS}")])
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

    /// Continues the server up to the boundary of that number, of those after a call that contains `text`, and kills it
    /// there. Returns the call; `None` if the work ended first.
    fn kill_at(&mut self, number: usize, text: &str, end: &Mutex<Option<End>>) -> Option<String> {
        let mut count = 0;
        let mut is_stopping = false;
        // Its last call, of each thread.
        let mut calls: HashMap<String, String> = HashMap::new();
        loop {
            let line = match self.lines.recv_timeout(SILENCE) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => {
                    // The server exists until it is killed below, or by `at_every_boundary` after the work.
                    kill(self.server, Signal::SIGCONT).expect("the process exists");
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return None,
            };
            let (thread, event) = line.split_once("] ").unwrap_or(("", &line));
            if event.starts_with("--- SIGSTOP {") {
                let call = calls.remove(thread).unwrap_or_default();
                let is_counted = call.contains(text);
                count += usize::from(is_counted);
                is_stopping = true;
                if is_counted
                    && count == number
                    && *end.lock().unwrap().get_or_insert(End::Killed) == End::Killed
                {
                    kill(self.server, Signal::SIGKILL).expect("the process exists");
                    return Some(call);
                }
            } else if is_stopping && line.contains("--- stopped by SIGSTOP") {
                is_stopping = false;
                kill(self.server, Signal::SIGCONT).expect("the process exists");
            } else if event.starts_with(['f', 'r', 's']) {
                calls.insert(thread.to_owned(), event.to_owned());
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
/// the calls after which the server was killed.
fn at_every_boundary(test: CrashTest, work: impl Fn(&CrashTest) -> bool + Sync) -> Vec<String> {
    at_every_boundary_of(test, "", |_| (), work).1
}

/// [`at_every_boundary`] after calls that contain `text`, with a further check after each restart.
fn at_every_boundary_of(
    mut test: CrashTest,
    text: &str,
    check: impl Fn(&CrashTest),
    work: impl Fn(&CrashTest) -> bool + Sync,
) -> (CrashTest, Vec<String>) {
    let mut boundaries = Vec::new();
    for number in 1..MAX_BOUNDARIES {
        let mut traced_server = TracedServer::attach(test.server.pid());
        let strace = Pid::from_raw(i32::try_from(traced_server.strace.id()).unwrap());
        let server = traced_server.server;
        let has_finished = AtomicBool::new(false);
        let end = Mutex::new(None);
        let killed_at = std::thread::scope(|scope| {
            let killer = scope.spawn(|| traced_server.kill_at(number, text, &end));
            let done = catch_unwind(AssertUnwindSafe(|| work(&test)));
            has_finished.store(matches!(done, Ok(true)), Ordering::SeqCst);
            // Calls after the work are not counted, so strace is killed: on SIGINT it would wait for each thread in
            // turn, possibly for one that waits for another. When the server is killed, strace ends, too.
            if *end.lock().unwrap().get_or_insert(End::WorkCompleted) == End::WorkCompleted {
                kill(strace, Signal::SIGKILL).expect("our own child");
            }
            let killed_at = killer.join().expect("no panic");
            done.map(|_| killed_at).unwrap_or_else(|panic| resume_unwind(panic))
        });
        traced_server.strace.wait().expect("our own child");
        let _ = kill(server, Signal::SIGCONT);
        test.server.kill();
        test.server.launch();
        test.audit(false);
        check(&test);
        if let Some(call) = killed_at {
            boundaries.push(call);
            continue;
        }
        assert!(has_finished.load(Ordering::SeqCst), "the work failed without a kill");
        test.audit(true);
        println!("killed at {} boundaries:\n{}", boundaries.len(), boundaries.join("\n"));
        return (test, boundaries);
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
    assert!(boundaries.len() >= 4, "{boundaries:#?}");
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
    assert!(boundaries.len() >= 2, "{boundaries:#?}");
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
    assert!(boundaries.len() >= 3, "{boundaries:#?}");
}

#[test]
fn the_log_is_one_log_at_every_fsync_and_rename() {
    let test = CrashTest::of(history::builder(), "[History]\nExportPath = {dir}/copy\n");
    test.server.json("history init --origin=pm.example.org/__log__");
    test.server.signed();
    let before = Mutex::new(Vec::new());
    // Every checkpoint of the copy has its tiles, and none contradicts an earlier one.
    let copied = |test: &CrashTest| {
        let entries = history::entries_of(&test.server.dir().join("copy"));
        let mut before = before.lock().unwrap();
        assert!(entries.starts_with(&before), "{entries:#?}\n{before:#?}");
        *before = entries;
        before.len() as u64
    };
    // After a restart, the log has the entries and the tiles of every checkpoint that was published before, and is continued.
    let check = |test: &CrashTest| {
        copied(test);
        test.server.audited();
        let entries = test.server.signed();
        until("the copy is complete", || copied(test) == entries);
        test.server.audited();
    };
    let work = |test: &CrashTest| {
        let number = test.ledger.lock().unwrap().adds;
        test.ledger.lock().unwrap().adds += 1;
        let package = Tarball::new("logged", &format!("1.{number}"));
        let path = test.server.dir().join(package.file());
        std::fs::write(&path, package.bytes()).unwrap();
        let add = rspm(test, &["add", "--source=team", &format!("--path={}", path.display())]);
        let mut is_running = add.code == Some(0);
        until("the log is signed and copied, or the server is killed", || {
            let output = rspm(test, &["history", "status", "-o", "json"]);
            is_running &= output.code == Some(0);
            let status: serde_json::Value = serde_json::from_str(&output.out).unwrap_or_default();
            let copied = copied(test);
            !is_running
                || (status["waiting"] == 0
                    && status["entries"] == status["signed"]
                    && status["signed"] == copied)
        });
        is_running
    };
    let mut test = test;
    for (text, least) in [
        // The commits of the addition, of its entries, and of their signature.
        ("/rstudio-pm.db-wal>", 3),
        // The contents of the new files of the copy, and their names.
        ("/copy>", 2),
        ("/copy/tile/entries/", 1),
        ("/copy/tile/0/", 1),
        ("/copy/checkpoint\"", 1),
    ] {
        let mut calls = Vec::new();
        // A boundary is missed if the server is continued just then.
        for _ in 0..5 {
            (test, calls) = at_every_boundary_of(test, text, check, work);
            if calls.len() >= least {
                break;
            }
        }
        assert!(calls.len() >= least, "{text}: {calls:#?}");
    }
    // The audit compares the numbers of transactions, whose entries have different salts.
    let entries = before.into_inner().unwrap();
    let unique: BTreeSet<&String> = entries.iter().collect();
    assert_eq!(unique.len(), entries.len(), "no entry twice: {entries:#?}");
}
