//! kill -9 right after every fsync and every rename of an add and of a sync, one after the other.
//!
//! `strace` stops the whole server after each such call; it is told to go on as often as the boundary's number
//! says, and killed there.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Victim;

/// More boundaries than any of the operations has.
const MANY: usize = 80;
/// A server that is silent for so long may stand still: two threads at a boundary stop it twice, and the second stop can
/// come after the word to go on.
const SILENCE: Duration = Duration::from_millis(500);

/// A server under `strace`.
struct Traced {
    strace: Child,
    lines: Receiver<String>,
    server: Pid,
}

impl Traced {
    fn attach(server: u32) -> Traced {
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
        let first = lines.next().expect("strace says that it is attached").expect("text");
        assert!(first.contains("attached"), "strace may not trace a process of its own user: {first}");
        let (send, receive) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| send.send(line)));
        Traced { strace, lines: receive, server: Pid::from_raw(i32::try_from(server).unwrap()) }
    }

    /// Lets the server go on until its boundary of that number, and kills it there; false when the work was over
    /// before.
    fn kill_at(&mut self, number: usize, end: &Mutex<Option<End>>) -> bool {
        let mut seen = 0;
        let mut stopping = false;
        loop {
            let line = match self.lines.recv_timeout(SILENCE) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => {
                    // It is there until this function, or the end of the work, kills it.
                    kill(self.server, Signal::SIGCONT).expect("it is there");
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return false,
            };
            if line.contains("--- SIGSTOP {") {
                seen += 1;
                stopping = true;
                if seen == number && *end.lock().unwrap().get_or_insert(End::Killed) == End::Killed {
                    kill(self.server, Signal::SIGKILL).expect("it is there");
                    return true;
                }
            } else if stopping && line.contains("--- stopped by SIGSTOP") {
                stopping = false;
                kill(self.server, Signal::SIGCONT).expect("it is there");
            }
        }
    }
}

/// What came first.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Killed,
    WorkOver,
}

/// Runs `work` with a kill at its first boundary, then again with a kill at the second, until it comes to its end.
fn at_every_boundary(mut victim: Victim, work: impl Fn(&Victim) -> bool + Sync) -> usize {
    for number in 1..MANY {
        let mut traced = Traced::attach(victim.server.pid());
        let strace = Pid::from_raw(i32::try_from(traced.strace.id()).unwrap());
        let server = traced.server;
        let finished = AtomicBool::new(false);
        let end = Mutex::new(None);
        let killed = std::thread::scope(|scope| {
            let killer = scope.spawn(|| traced.kill_at(number, &end));
            let done = work(&victim);
            finished.store(done, Ordering::SeqCst);
            // Whatever is still to come does not belong to the work. Only told to let go, strace waits for each thread
            // in turn, and may wait for one that waits for another. After a kill it ends by itself.
            if *end.lock().unwrap().get_or_insert(End::WorkOver) == End::WorkOver {
                kill(strace, Signal::SIGKILL).expect("our own child");
            }
            killer.join().expect("no panic")
        });
        traced.strace.wait().expect("our own child");
        let _ = kill(server, Signal::SIGCONT);
        victim.server.kill();
        victim.server.launch();
        victim.audit(false);
        if !killed {
            assert!(finished.load(Ordering::SeqCst), "the work failed without a kill");
            victim.audit(true);
            println!("killed at {} boundaries", number - 1);
            return number - 1;
        }
    }
    panic!("there are more than {MANY} boundaries");
}

fn rspm(victim: &Victim, args: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_rspm"))
        .arg("--config")
        .arg(victim.server.config_file())
        .args(args)
        .output()
        .expect("rspm runs")
}

#[test]
fn an_add_is_whole_or_absent_at_every_fsync_and_rename() {
    let boundaries = at_every_boundary(Victim::new(""), |victim| {
        let folder = tempfile::tempdir().unwrap();
        let mut args = vec!["--output-format=json".to_owned(), "add".to_owned(), "--source=team".to_owned()];
        for tarball in victim.next_group() {
            let path = folder.path().join(tarball.file());
            std::fs::write(&path, tarball.bytes()).unwrap();
            args.push(format!("--path={}", path.display()));
        }
        let output = rspm(victim, &args.iter().map(String::as_str).collect::<Vec<_>>());
        if output.status.success() {
            let added: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
            victim.acknowledge(&added["packages"]);
        }
        output.status.success()
    });
    assert!(boundaries >= 4, "only {boundaries} boundaries were seen");
}

#[test]
fn a_sync_is_whole_or_absent_at_every_fsync_and_rename() {
    let boundaries = at_every_boundary(Victim::new(""), |victim| {
        victim.next_state();
        let state = victim.ledger.lock().unwrap().states.len() - 1;
        let output = rspm(victim, &["sync", "--type=cran"]);
        if output.status.success() {
            victim.ledger.lock().unwrap().synced = state;
        }
        output.status.success()
    });
    assert!(boundaries >= 2, "only {boundaries} boundaries were seen");
}

#[test]
fn a_lazy_fetch_is_whole_or_absent_at_every_fsync_and_rename() {
    let choice = std::sync::atomic::AtomicUsize::new(0);
    let boundaries = at_every_boundary(Victim::new(""), |victim| {
        let doors = victim.doors();
        let choice = choice.fetch_add(1, Ordering::SeqCst);
        // The client has its bytes before the row is written: a second package waits for that.
        victim.fetch(&doors, choice).is_ok() && {
            std::thread::sleep(std::time::Duration::from_millis(300));
            doors.get("/__ping__").is_ok()
        }
    });
    assert!(boundaries >= 3, "only {boundaries} boundaries were seen");
}
