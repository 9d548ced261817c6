//! Worker threads that run the closures of transactions. Interactive transactions run before those of bulk imports.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{JoinHandle, Thread};

use parking_lot::Mutex;

use super::{Conn, DbError, WriteError, author};
use base::metrics::GaugeHandle;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::db) enum TransactionKind {
    /// One consistent snapshot, no writes.
    Read,
    Write,
    /// A chunk of a long import.
    Bulk,
}

/// The body of one transaction. It may be called again after a roll-back, but not after a refusal.
pub(in crate::db) type TransactionBody<'a> = &'a mut dyn FnMut(&mut dyn Conn) -> Result<(), WriteError<()>>;

/// A connection that runs transactions, on the thread that created it.
pub(in crate::db) trait Session {
    /// Begins, calls `work`, commits on `Ok`, rolls back on `Err`.
    fn run(&mut self, kind: TransactionKind, work: TransactionBody<'_>) -> Result<(), WriteError<()>>;
}

/// Opens a session on the thread that will use it.
pub(in crate::db) type Opener = Arc<dyn Fn() -> Result<Box<dyn Session>, DbError> + Send + Sync>;

/// A transaction to run on a session, or the error that prevents it.
type Job = Box<dyn FnOnce(Result<&mut dyn Session, DbError>) + Send>;

#[derive(Default)]
struct PendingJobs {
    interactive: VecDeque<Job>,
    bulk: VecDeque<Job>,
    /// Threads that wait for a job. The last one gets it: few jobs at a time then use few sessions, each of which has a
    /// schema and a page cache in memory.
    idle: Vec<Thread>,
    is_closed: bool,
}

struct WorkQueue {
    pending: Mutex<PendingJobs>,
    /// Number of queued jobs, for the metrics.
    length: GaugeHandle,
}

/// Two job queues, served by a number of threads with one session each.
pub(in crate::db) struct WorkerPool {
    queue: Arc<WorkQueue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl WorkerPool {
    /// Starts `threads` threads; each opens its session for its first job. `length` reports the number of queued jobs.
    pub(in crate::db) fn start(
        name: &str,
        threads: usize,
        length: GaugeHandle,
        open: &Opener,
    ) -> std::io::Result<WorkerPool> {
        let queue = Arc::new(WorkQueue { pending: Mutex::default(), length });
        let pool = WorkerPool { queue: Arc::clone(&queue), threads: Mutex::new(Vec::new()) };
        for _ in 0..threads {
            let (queue, open) = (Arc::clone(&queue), Arc::clone(open));
            let thread = std::thread::Builder::new().name(format!("db-{name}"));
            pool.threads.lock().push(thread.spawn(move || run_worker(&queue, &open))?);
        }
        Ok(pool)
    }

    /// Queues a job and waits for its result.
    pub(in crate::db) async fn run<T, R, F>(&self, kind: TransactionKind, f: F) -> Result<T, WriteError<R>>
    where
        T: Send + 'static,
        R: Send + 'static,
        F: Fn(&mut dyn Conn) -> Result<T, WriteError<R>> + Send + 'static,
    {
        let (answer, result) = tokio::sync::oneshot::channel();
        let author = author::of_task();
        let job: Job = Box::new(move |session| {
            let result = session.map_err(WriteError::Db).and_then(|session| {
                let mut result = None;
                let ended = session.run(kind, &mut |c| match author::run(author.as_ref(), || f(c)) {
                    Ok(value) => {
                        result = Some(Ok(value));
                        Ok(())
                    }
                    Err(WriteError::Refused(refusal)) => {
                        result = Some(Err(WriteError::Refused(refusal)));
                        Err(WriteError::Refused(()))
                    }
                    Err(WriteError::Db(error)) => Err(error.into()),
                });
                match (ended, result) {
                    (Err(WriteError::Db(error)), _) => Err(error.into()),
                    (_, Some(result)) => result,
                    (_, None) => Err(DbError::Closed.into()),
                }
            });
            // If the caller was dropped, the result is not needed. A committed transaction remains committed.
            let _ = answer.send(result);
        });
        let idle = {
            let mut pending = self.queue.pending.lock();
            if pending.is_closed {
                return Err(DbError::Closed.into());
            }
            match kind {
                TransactionKind::Read | TransactionKind::Write => pending.interactive.push_back(job),
                TransactionKind::Bulk => pending.bulk.push_back(job),
            }
            self.queue.length.inc();
            pending.idle.pop()
        };
        if let Some(thread) = idle {
            thread.unpark();
        }
        result.await.unwrap_or(Err(WriteError::Db(DbError::Closed)))
    }

    /// Waits until the threads have finished the queued jobs and ended.
    pub(in crate::db) fn close(&self) {
        let idle = {
            let mut pending = self.queue.pending.lock();
            pending.is_closed = true;
            std::mem::take(&mut pending.idle)
        };
        idle.iter().for_each(Thread::unpark);
        let current = std::thread::current().id();
        let threads = std::mem::take(&mut *self.threads.lock());
        // The last handle may be dropped by a closure on one of these threads, which cannot wait for itself.
        for thread in threads.into_iter().filter(|t| t.thread().id() != current) {
            let _ = thread.join();
        }
    }
}

impl Drop for WorkerPool {
    fn drop(&mut self) {
        self.close();
    }
}

fn run_worker(queue: &WorkQueue, open: &Opener) {
    let mut session: Option<Box<dyn Session>> = None;
    while let Some(job) = next_job(queue) {
        if session.is_none() {
            match open() {
                Ok(open_session) => session = Some(open_session),
                Err(error) => {
                    job(Err(error));
                    continue;
                }
            }
        }
        if let Some(open_session) = &mut session {
            // A panicking closure loses its result and the session, whose transaction is rolled back with it; the
            // thread continues with the other jobs.
            if catch_unwind(AssertUnwindSafe(|| job(Ok(open_session.as_mut())))).is_err() {
                session = None;
            }
        }
    }
}

fn next_job(queue: &WorkQueue) -> Option<Job> {
    let current = std::thread::current();
    loop {
        let mut pending = queue.pending.lock();
        // The thread may have been woken without a job.
        pending.idle.retain(|thread| thread.id() != current.id());
        let interactive = pending.interactive.pop_front();
        if let Some(job) = interactive.or_else(|| pending.bulk.pop_front()) {
            queue.length.dec();
            return Some(job);
        }
        if pending.is_closed {
            return None;
        }
        pending.idle.push(current.clone());
        drop(pending);
        std::thread::park();
    }
}
