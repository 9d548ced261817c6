//! The writer of a log file: one thread per file, a bounded queue, and `reopen` after a rotation has renamed the file.
//!
//! The queue is one buffer that the thread swaps for an empty one: queueing a line costs a lock and a copy, and
//! the thread is woken when the buffer becomes non-empty or large, not for every line.

use std::cell::Cell;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use parking_lot::{Condvar, Mutex};

use super::append::Appender;
use super::open::{ReplacedFile, SinkError, open};

/// Number of queued bytes at which they are written immediately.
const WAKE_THRESHOLD: usize = 256 << 10;
/// Maximum delay of a line with [`OnFull::Drop`].
const MAX_DELAY: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFull {
    /// Drop and count the line, so that a slow disk does not slow down requests. Lines are collected for up to 200 ms.
    Drop,
    /// Wait (server log). Lines are written immediately.
    Wait,
}

impl OnFull {
    /// Returns the capacity of the queue in bytes. At the maximum of 100,000 requests per second the disk may stall
    /// for seconds before a line is dropped.
    fn capacity(self) -> usize {
        match self {
            OnFull::Drop => 64 << 20,
            OnFull::Wait => 4 << 20,
        }
    }
}

/// A handle to the writer of one file; cloning shares it. Dropping the last one writes the queued lines.
#[derive(Clone, Debug)]
pub struct Sink {
    writer: Arc<WriterThread>,
}

#[derive(Debug)]
struct WriterThread {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    on_full: OnFull,
    state: Mutex<State>,
    /// Signals the thread that there is work.
    work_signal: Condvar,
    /// Signals that there is space in the queue or that a request is done.
    done_signal: Condvar,
    reopen_lock: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    queue: Vec<u8>,
    dropped_lines: u64,
    /// Number of flushes and reopenings that were requested.
    requested_count: u64,
    /// Number of these requests that are done.
    completed_count: u64,
    must_reopen: bool,
    /// The result of the last reopening, until the caller that requested it takes it.
    reopen_result: Option<Result<ReplacedFile, SinkError>>,
    is_closed: bool,
}

thread_local! {
    /// True on the thread of a sink. Its own log lines never wait for space, because only this thread frees it.
    static WRITER: Cell<bool> = const { Cell::new(false) };
}

impl Sink {
    /// Opens the file, creating it with mode 0600, and starts its thread.
    pub fn open(path: &Path, on_full: OnFull) -> Result<Sink, SinkError> {
        Sink::start(path, on_full, open(path)?)
    }

    fn start(path: &Path, on_full: OnFull, file: File) -> Result<Sink, SinkError> {
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            on_full,
            state: Mutex::default(),
            work_signal: Condvar::new(),
            done_signal: Condvar::new(),
            reopen_lock: Mutex::new(()),
        });
        let writer = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || run_writer(&writer, Appender::new(&writer.path, file)))
            .map_err(|source| SinkError { path: path.to_owned(), source })?;
        Ok(Sink { writer: Arc::new(WriterThread { shared, thread: Some(thread) }) })
    }

    /// Queues bytes that end with a line feed. They are written contiguously.
    pub fn write(&self, line: &[u8]) {
        let shared = &*self.writer.shared;
        let mut state = shared.state.lock();
        // An empty queue accepts any line: otherwise one longer than the queue would block forever.
        while !state.queue.is_empty() && state.queue.len() + line.len() > shared.on_full.capacity() {
            match shared.on_full {
                OnFull::Drop => {
                    state.dropped_lines += 1;
                    base::metrics::log_lines_dropped(1);
                    return;
                }
                OnFull::Wait if WRITER.get() => break,
                OnFull::Wait => shared.done_signal.wait(&mut state),
            }
        }
        let old_length = state.queue.len();
        state.queue.extend_from_slice(line);
        let must_wake =
            old_length == 0 || (old_length < WAKE_THRESHOLD && state.queue.len() >= WAKE_THRESHOLD);
        drop(state);
        if must_wake {
            shared.work_signal.notify_one();
        }
    }

    /// Writes the queued lines to the old file, then opens the path again; blocks until both are done.
    ///
    /// # Errors
    /// The path cannot be opened; the old file remains in use.
    pub fn reopen(&self) -> Result<ReplacedFile, SinkError> {
        let _guard = self.writer.shared.reopen_lock.lock();
        let mut state = self.request(|state| state.must_reopen = true);
        state.reopen_result.take().expect("the thread answers each request")
    }

    /// Writes the queued lines and then returns, without syncing the disk.
    pub fn flush(&self) {
        drop(self.request(|_| {}));
    }

    /// Makes a request to the thread by `change`, and waits until the thread has completed the request.
    fn request(&self, change: impl FnOnce(&mut State)) -> parking_lot::MutexGuard<'_, State> {
        let shared = &*self.writer.shared;
        let mut state = shared.state.lock();
        change(&mut state);
        state.requested_count += 1;
        let number = state.requested_count;
        shared.work_signal.notify_one();
        while state.completed_count < number {
            shared.done_signal.wait(&mut state);
        }
        state
    }

    /// Returns the number of lines dropped since the start because the queue was full or a write failed.
    pub fn dropped_lines(&self) -> u64 {
        self.writer.shared.state.lock().dropped_lines
    }

    pub fn path(&self) -> &Path {
        &self.writer.shared.path
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        self.shared.state.lock().is_closed = true;
        self.shared.work_signal.notify_one();
        // The thread itself may drop the last handle, through an event that it logs.
        let current_thread = std::thread::current().id();
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != current_thread) {
            // The thread does not panic; if it did, nothing more could be written.
            let _ = thread.join();
        }
    }
}

/// Runs the thread until the last [`Sink`] is dropped and everything is written.
fn run_writer(shared: &Shared, mut file: Appender<'_>) {
    WRITER.set(true);
    let mut buffer = Vec::new();
    let mut state = shared.state.lock();
    loop {
        let is_urgent = |state: &State| state.is_closed || state.requested_count > state.completed_count;
        while state.queue.is_empty() && !is_urgent(&state) {
            shared.work_signal.wait(&mut state);
        }
        if shared.on_full == OnFull::Drop {
            let deadline = Instant::now() + MAX_DELAY;
            while state.queue.len() < WAKE_THRESHOLD && !is_urgent(&state) {
                if shared.work_signal.wait_until(&mut state, deadline).timed_out() {
                    break;
                }
            }
        }
        let (requested_count, must_reopen, is_closed) =
            (state.requested_count, std::mem::take(&mut state.must_reopen), state.is_closed);
        let old_dropped_lines = state.dropped_lines;
        std::mem::swap(&mut state.queue, &mut buffer);
        drop(state);

        // Callers that wait for space in the queue can continue before the lines are written.
        shared.done_signal.notify_all();
        let mut failed_lines = file.append(&buffer);
        buffer.clear();
        // Releases the memory of a burst.
        buffer.shrink_to(WAKE_THRESHOLD);
        if is_closed {
            failed_lines += file.finish();
        }
        let reopen_result = must_reopen.then(|| {
            let new_file = open(&shared.path)?;
            failed_lines += file.finish();
            Ok(file.replace_file(new_file))
        });

        state = shared.state.lock();
        state.dropped_lines += failed_lines;
        base::metrics::log_lines_dropped(failed_lines);
        if reopen_result.is_some() {
            state.reopen_result = reopen_result;
        }
        if state.completed_count < requested_count {
            state.completed_count = requested_count;
            shared.done_signal.notify_all();
        }
        let total = state.dropped_lines;
        if is_closed && state.queue.is_empty() {
            return;
        }
        // Without the lock: the report is logged, possibly through this sink.
        parking_lot::MutexGuard::unlocked(&mut state, || file.report(total, total > old_dropped_lines));
    }
}

/// A log with a file, or without one; cloning shares it, and [`OptionalLog::switch`] affects all clones.
#[derive(Clone, Debug, Default)]
pub struct OptionalLog {
    sink: Arc<ArcSwapOption<Sink>>,
}

impl OptionalLog {
    /// Opens the file for [`OptionalLog::switch`], creating it with mode 0600; reuses the current one if the path is
    /// the same. Returns `None` without a path.
    ///
    /// # Errors
    /// The file cannot be opened for appending; nothing has changed.
    pub fn prepare(&self, path: Option<&Path>) -> Result<Option<Sink>, SinkError> {
        let Some(path) = path else { return Ok(None) };
        let current_sink = self.sink().filter(|sink| sink.path() == path);
        current_sink.map_or_else(|| Sink::open(path, OnFull::Drop), Ok).map(Some)
    }

    /// Switches to a file, or off. The old file is flushed and closed.
    pub fn switch(&self, next: Option<Sink>) {
        let old_sink = self.sink.swap(next.map(Arc::new));
        if let Some(old_sink) = old_sink {
            old_sink.flush();
        }
    }

    /// The file, if the log is on.
    pub fn sink(&self) -> Option<Sink> {
        self.sink.load().as_deref().cloned()
    }

    pub fn is_enabled(&self) -> bool {
        self.sink.load().is_some()
    }

    /// Calls `render` to queue a line if the log is on. Never waits for the disk: see [`Sink::write`].
    pub(super) fn write_with(&self, render: impl FnOnce(&Sink)) {
        if let Some(sink) = self.sink.load().as_deref() {
            render(sink);
        }
    }

    /// Queues a line with its line feed. Never waits for the disk: a line that does not fit is dropped and counted.
    pub fn write(&self, line: &[u8]) {
        self.write_with(|sink| sink.write(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn lines(path: &Path) -> Vec<String> {
        std::fs::read_to_string(path).expect("readable").lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_file_is_created_with_mode_0600_and_appended_to() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.log");
        for line in ["one\n", "two\n"] {
            Sink::open(&path, OnFull::Drop).expect("opens").write(line.as_bytes());
        }
        assert_eq!(lines(&path), ["one", "two"]);
        assert_eq!(std::fs::metadata(&path).expect("readable").permissions().mode() & 0o7777, 0o600);
    }

    #[test]
    fn lines_are_flushed_automatically() {
        for on_full in [OnFull::Drop, OnFull::Wait] {
            let dir = tempfile::tempdir().expect("a directory");
            let path = dir.path().join("a.log");
            let sink = Sink::open(&path, on_full).expect("opens");
            sink.write(b"one\n");
            while lines(&path).is_empty() {
                std::thread::sleep(Duration::from_millis(5));
            }
            assert_eq!(lines(&path), ["one"]);
        }
    }

    #[test]
    fn renaming_and_reopening_under_load_loses_and_splits_no_line() {
        const EACH: usize = 5000;
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.log");
        let sink = Sink::open(&path, OnFull::Wait).expect("opens");
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let sink = sink.clone();
                std::thread::spawn(move || {
                    for number in 0..EACH {
                        sink.write(format!("{writer} {number}\n").as_bytes());
                    }
                })
            })
            .collect();
        let rotated_files: Vec<PathBuf> = (0..20)
            .map(|rotation| {
                let to = dir.path().join(format!("a.log.{rotation}"));
                std::fs::rename(&path, &to).expect("renamed");
                sink.reopen().expect("reopens");
                to
            })
            .collect();
        for writer in writers {
            writer.join().expect("wrote");
        }
        sink.flush();
        let mut next_numbers = [0; 4];
        for line in rotated_files.iter().chain([&path]).flat_map(|path| lines(path)) {
            let (writer, number) = line.split_once(' ').expect("two numbers");
            let writer: usize = writer.parse().expect("a number");
            assert_eq!(number, next_numbers[writer].to_string(), "lines of one writer stay in order");
            next_numbers[writer] += 1;
        }
        assert_eq!(next_numbers, [EACH; 4]);
        assert_eq!(std::fs::metadata(&path).expect("readable").permissions().mode() & 0o7777, 0o600);
        assert_eq!(sink.dropped_lines(), 0);
    }

    #[test]
    fn after_a_reopen_lines_go_to_the_new_file_only() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, old) = (dir.path().join("a.log"), dir.path().join("a.log.1"));
        let sink = Sink::open(&path, OnFull::Drop).expect("opens");
        sink.write(b"before\n");
        std::fs::rename(&path, &old).expect("renamed");
        sink.write(b"between\n");
        sink.reopen().expect("reopens");
        sink.write(b"after\n");
        sink.flush();
        assert_eq!(lines(&old), ["before", "between"]);
        assert_eq!(lines(&path), ["after"]);
    }

    #[test]
    fn a_failed_reopen_keeps_the_old_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let (folder, other) = (dir.path().join("logs"), dir.path().join("moved"));
        std::fs::create_dir(&folder).expect("created");
        let sink = Sink::open(&folder.join("a.log"), OnFull::Drop).expect("opens");
        std::fs::rename(&folder, &other).expect("renamed");
        let message = sink.reopen().expect_err("the directory is missing").to_string();
        assert!(message.contains("its directory must exist"), "{message}");
        sink.write(b"still\n");
        sink.flush();
        assert_eq!(lines(&other.join("a.log")), ["still"]);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_reported_with_its_path() {
        let error = Sink::open(Path::new("/dev/null/a.log"), OnFull::Drop).expect_err("no directory");
        assert!(error.to_string().contains("/dev/null/a.log"), "{error}");
    }

    /// A pipe that is not read simulates a stalled disk: the queue fills, then lines are dropped and counted.
    #[test]
    fn a_full_queue_drops_and_counts_instead_of_waiting() {
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        let file = File::from(std::os::fd::OwnedFd::from(writer));
        let sink = Sink::start(Path::new("pipe"), OnFull::Drop, file).expect("starts");
        let line = [&[b'x'; 65_535][..], b"\n"].concat();
        for _ in 0..(2 * OnFull::Drop.capacity() / line.len()) {
            sink.write(&line);
        }
        assert!(sink.dropped_lines() > 0);
        // Lets the thread finish.
        let drain = std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
        sink.flush();
        drop(sink);
        assert!(drain.join().expect("drained").expect("read") >= 1 << 20);
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        let sink = Sink::open(Path::new("/dev/full"), OnFull::Wait).expect("opens");
        sink.write(b"one\ntwo\n");
        sink.flush();
        assert_eq!(sink.dropped_lines(), 2);
    }
}
