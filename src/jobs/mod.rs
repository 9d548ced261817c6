//! Jobs under way: one of a key at a time, progress that can be watched, and the schedule.

pub mod lease;
pub mod schedule;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::model::time::Timestamp;

/// How long a job that ended can be asked for, so that a command line that polls slowly still learns how it went.
const KEPT: Duration = Duration::from_secs(3600);

/// How many of those there may be: the oldest go first.
const KEPT_AT_MOST: usize = 1000;

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done, for people: `reading the index`, `writing 12,000 of 160,000 releases`.
    pub phase: String,
    /// Steps done.
    pub done: u64,
    /// Steps in all, where known.
    pub total: Option<u64>,
}

/// Where a job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobState {
    /// Under way.
    Running(Progress),
    /// Ended well; a sentence for people.
    Done(String),
    /// Ended badly; the reason.
    Failed(String),
}

/// A job; cloning shares it.
#[derive(Clone, Debug)]
pub struct Job {
    /// Number since start of the process.
    pub id: u64,
    /// What may run once at a time: `sync:cran`.
    pub key: String,
    /// When it began.
    pub started_at: Timestamp,
    /// Changes to watch.
    pub state: watch::Receiver<JobState>,
}

impl Job {
    /// Waits for the end: the sentence for people, or the reason of the failure.
    pub async fn ended(&self) -> Result<String, String> {
        let mut state = self.state.clone();
        let end = state.wait_for(|state| !matches!(state, JobState::Running(_))).await;
        match end.as_deref() {
            Ok(JobState::Done(text)) => Ok(text.clone()),
            Ok(JobState::Failed(reason)) => Err(reason.clone()),
            // The sender is only dropped after it wrote how the job ended.
            Ok(JobState::Running(_)) | Err(_) => Err(STOPPED.to_owned()),
        }
    }
}

/// The reason of a job whose task was dropped: the runtime went down with the server.
const STOPPED: &str = "the server stopped before the job was done";

/// Handed to the work so that it can say how far it is.
#[derive(Clone)]
pub struct Reporter {
    state: Arc<watch::Sender<JobState>>,
    halt: watch::Receiver<bool>,
    stop: watch::Receiver<bool>,
}

impl Reporter {
    /// Says how far the job is. After the end it has no effect.
    pub fn progress(&self, phase: impl Into<String>, done: u64, total: Option<u64>) {
        let now = JobState::Running(Progress { phase: phase.into(), done, total });
        self.state.send_if_modified(|state| match state {
            JobState::Running(_) if *state != now => {
                *state = now;
                true
            }
            JobState::Running(_) | JobState::Done(_) | JobState::Failed(_) => false,
        });
    }

    /// True when the job shall end at the next safe point.
    #[must_use]
    pub fn is_halted(&self) -> bool {
        *self.halt.borrow() || self.is_stopped()
    }

    /// True when that was asked of this very job: it is not to begin again by itself.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Returns when the job shall end at the next safe point.
    pub async fn halted(&self) {
        tokio::select! {
            () = set(&self.halt) => {}
            () = set(&self.stop) => {}
        }
    }
}

/// Returns when the flag is set.
async fn set(flag: &watch::Receiver<bool>) {
    if flag.clone().wait_for(|set| *set).await.is_err() {
        // The registry is gone, and nobody can ask any more.
        std::future::pending::<()>().await;
    }
}

/// Whether [`Jobs::start`] began something.
pub enum Started {
    /// This call began the job.
    New(Job),
    /// One with the same key is under way: attach to it.
    Attached(Job),
}

impl Started {
    /// The job, begun by this call or not.
    #[must_use]
    pub fn job(&self) -> &Job {
        match self {
            Started::New(job) | Started::Attached(job) => job,
        }
    }
}

/// The registry; cloning shares it.
#[derive(Clone, Default)]
pub struct Jobs {
    inner: Arc<Mutex<Inner>>,
    halt: Arc<watch::Sender<bool>>,
    ended: Arc<watch::Sender<u64>>,
}

#[derive(Default)]
struct Inner {
    last: u64,
    running: HashMap<String, u64>,
    jobs: BTreeMap<u64, Entry>,
}

struct Entry {
    job: Job,
    ended: Option<Instant>,
    stop: watch::Sender<bool>,
    end: IfHalted,
}

/// What becomes of a job that is halted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfHalted {
    /// It begins again from its beginning: better to let it come to its end.
    BeginsAgain,
    /// It goes on where it was: there is nothing to wait for.
    GoesOn,
}

impl Jobs {
    /// Starts `work` unless a job of the same key is under way. The work's `Ok` text is the sentence for people.
    /// Needs a tokio runtime.
    pub fn start<F, Fut>(&self, key: &str, now: Timestamp, work: F) -> Started
    where
        F: FnOnce(Reporter) -> Fut,
        Fut: Future<Output = Result<String, String>> + Send + 'static,
    {
        self.start_as(IfHalted::BeginsAgain, key, now, work)
    }

    /// As [`Jobs::start`], of a job that may be long.
    pub fn start_as<F, Fut>(&self, end: IfHalted, key: &str, now: Timestamp, work: F) -> Started
    where
        F: FnOnce(Reporter) -> Fut,
        Fut: Future<Output = Result<String, String>> + Send + 'static,
    {
        let mut inner = self.inner.lock();
        inner.forget_old(Instant::now());
        if let Some(entry) = inner.running.get(key).and_then(|id| inner.jobs.get(id)) {
            return Started::Attached(entry.job.clone());
        }
        inner.last += 1;
        let id = inner.last;
        let begun = Progress { phase: "starting".to_owned(), done: 0, total: None };
        let (sender, state) = watch::channel(JobState::Running(begun));
        let sender = Arc::new(sender);
        let job = Job { id, key: key.to_owned(), started_at: now, state };
        inner.running.insert(job.key.clone(), id);
        let (stop, stopped) = watch::channel(false);
        inner.jobs.insert(id, Entry { job: job.clone(), ended: None, stop, end });
        drop(inner);
        let guard = End { jobs: self.clone(), id, sender: sender.clone(), outcome: None };
        let work = work(Reporter { state: sender, halt: self.halt.subscribe(), stop: stopped });
        tokio::spawn(async move {
            // Moved in whole: captured field by field, it would be dropped before the task begins.
            let mut guard = guard;
            guard.outcome = Some(work.await);
        });
        Started::New(job)
    }

    /// Asks jobs to end at their next safe point, also those that start from now on; or no more.
    pub fn halt(&self, halt: bool) {
        self.halt.send_replace(halt);
    }

    /// Asks the job of a key to end at its next safe point; `None` when there is none under way.
    #[must_use]
    pub fn stop(&self, key: &str) -> Option<Job> {
        let inner = self.inner.lock();
        let entry = inner.running.get(key).and_then(|id| inner.jobs.get(id))?;
        entry.stop.send_replace(true);
        Some(entry.job.clone())
    }

    /// Returns when no job is under way.
    pub async fn idle(&self) {
        let mut ended = self.ended.subscribe();
        // The sender lives in `self`.
        let _ = ended.wait_for(|_| self.running().is_empty()).await;
    }

    /// How many jobs have ended; it can be watched.
    #[must_use]
    pub fn ends(&self) -> watch::Receiver<u64> {
        self.ended.subscribe()
    }

    /// A job by its number, also one that ended within the last hour.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<Job> {
        let mut inner = self.inner.lock();
        inner.forget_old(Instant::now());
        inner.jobs.get(&id).map(|entry| entry.job.clone())
    }

    /// Jobs under way and those that ended within the last hour, the oldest first.
    #[must_use]
    pub fn known(&self) -> Vec<Job> {
        let mut inner = self.inner.lock();
        inner.forget_old(Instant::now());
        inner.jobs.values().map(|entry| entry.job.clone()).collect()
    }

    /// Whether a job is under way that is better not halted.
    #[must_use]
    pub fn is_worth_waiting(&self) -> bool {
        let inner = self.inner.lock();
        inner.jobs.values().any(|entry| entry.ended.is_none() && entry.end == IfHalted::BeginsAgain)
    }

    /// Jobs under way, the oldest first.
    #[must_use]
    pub fn running(&self) -> Vec<Job> {
        let inner = self.inner.lock();
        inner.jobs.values().filter(|entry| entry.ended.is_none()).map(|entry| entry.job.clone()).collect()
    }
}

impl Inner {
    fn forget_old(&mut self, now: Instant) {
        let recent = |ended| now.saturating_duration_since(ended) < KEPT;
        self.jobs.retain(|_, entry| entry.ended.is_none_or(recent));
        let ended = self.jobs.values().filter(|entry| entry.ended.is_some()).count();
        let mut surplus = ended.saturating_sub(KEPT_AT_MOST);
        self.jobs.retain(|_, entry| {
            let goes = surplus > 0 && entry.ended.is_some();
            surplus -= usize::from(goes);
            !goes
        });
    }
}

/// Writes the end of a job when its task is over, also when the task was dropped or panicked on its way: whoever
/// waits must never wait for ever, and the key must be free again.
struct End {
    jobs: Jobs,
    id: u64,
    sender: Arc<watch::Sender<JobState>>,
    outcome: Option<Result<String, String>>,
}

impl Drop for End {
    fn drop(&mut self) {
        let mut inner = self.jobs.inner.lock();
        if let Some(entry) = inner.jobs.get_mut(&self.id) {
            entry.ended = Some(Instant::now());
            let key = entry.job.key.clone();
            inner.running.remove(&key);
        }
        // Under the lock: whoever sees the end may start the next job of the key.
        self.sender.send_replace(match self.outcome.take() {
            Some(Ok(text)) => JobState::Done(text),
            Some(Err(reason)) => JobState::Failed(reason),
            None => JobState::Failed(STOPPED.to_owned()),
        });
        drop(inner);
        self.jobs.ended.send_modify(|ended| *ended += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(started: &Started) -> (bool, u64) {
        (matches!(started, Started::New(_)), started.job().id)
    }

    #[tokio::test]
    async fn the_second_of_a_key_attaches_until_the_first_ended() {
        let jobs = Jobs::default();
        let (go, wait) = tokio::sync::oneshot::channel::<()>();
        let first = jobs.start("sync:cran", Timestamp(1), |report| async move {
            report.progress("reading", 1, Some(2));
            let _ = wait.await;
            Ok("done".to_owned())
        });
        let second = jobs.start("sync:cran", Timestamp(2), |_| async { Ok(String::new()) });
        let other = jobs.start("sync:pypi", Timestamp(2), |_| async { Err("no".to_owned()) });
        assert_eq!((id(&first), id(&second), id(&other)), ((true, 1), (false, 1), (true, 2)));
        assert_eq!(other.job().ended().await, Err("no".to_owned()));
        assert_eq!(jobs.running().len(), 1);
        go.send(()).expect("the job waits");
        assert_eq!(second.job().ended().await, Ok("done".to_owned()));
        assert!(jobs.running().is_empty() && jobs.get(1).is_some());
        assert_eq!(id(&jobs.start("sync:cran", Timestamp(3), |_| async { Ok(String::new()) })), (true, 3));
    }

    #[tokio::test]
    async fn jobs_can_be_asked_to_end_and_be_waited_for() {
        let jobs = Jobs::default();
        jobs.idle().await;
        let job = jobs.start("k", Timestamp(1), |report| async move {
            report.halted().await;
            Err(format!("halted: {}", report.is_halted()))
        });
        assert_eq!(jobs.running().len(), 1);
        jobs.halt(true);
        jobs.idle().await;
        assert_eq!(job.job().ended().await, Err("halted: true".to_owned()));
        assert_eq!(*jobs.ends().borrow(), 1);
        jobs.halt(false);
        let next = jobs.start("k", Timestamp(2), |report| async move { Ok(report.is_halted().to_string()) });
        assert_eq!(next.job().ended().await, Ok("false".to_owned()));
    }

    #[tokio::test]
    async fn one_job_can_be_stopped_and_the_others_go_on() {
        let jobs = Jobs::default();
        let work = |report: Reporter| async move {
            report.halted().await;
            Err(format!("{} {}", report.is_halted(), report.is_stopped()))
        };
        let one = jobs.start("one", Timestamp(1), work);
        let other = jobs.start_as(IfHalted::GoesOn, "other", Timestamp(1), work);
        assert!(jobs.is_worth_waiting());
        assert_eq!(jobs.stop("one").map(|job| job.id), Some(one.job().id));
        assert_eq!(one.job().ended().await, Err("true true".to_owned()));
        assert_eq!(jobs.stop("one").map(|job| job.id), None);
        assert_eq!((jobs.running().len(), jobs.is_worth_waiting()), (1, false));
        jobs.halt(true);
        assert_eq!(other.job().ended().await, Err("true false".to_owned()));
    }

    #[tokio::test]
    async fn progress_can_be_watched() {
        let jobs = Jobs::default();
        let (go, wait) = tokio::sync::oneshot::channel::<()>();
        let started = jobs.start("k", Timestamp(1), |report| async move {
            report.progress("writing", 2, Some(5));
            let _ = wait.await;
            Ok(String::new())
        });
        let mut state = started.job().state.clone();
        let want = JobState::Running(Progress { phase: "writing".to_owned(), done: 2, total: Some(5) });
        state.wait_for(|now| *now == want).await.expect("it runs");
        go.send(()).expect("it waits");
        assert!(started.job().ended().await.is_ok());
    }

    #[tokio::test]
    async fn a_job_that_panics_or_is_dropped_has_failed_and_frees_its_key() {
        let jobs = Jobs::default();
        let job = jobs.start("k", Timestamp(1), |_| async { panic!("a bug") }).job().clone();
        assert_eq!(job.ended().await, Err(STOPPED.to_owned()));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
        let job = {
            let _inside = runtime.enter();
            jobs.start("k", Timestamp(2), |_| std::future::pending()).job().clone()
        };
        runtime.shutdown_background();
        assert_eq!(job.ended().await, Err(STOPPED.to_owned()));
        assert!(jobs.running().is_empty());
    }

    #[tokio::test]
    async fn what_ended_is_kept_for_an_hour_and_is_bounded() {
        let jobs = Jobs::default();
        for n in 0..1500 {
            let job = jobs.start(&n.to_string(), Timestamp(n), |_| async { Ok(String::new()) }).job().clone();
            job.ended().await.expect("it ends");
        }
        assert!(jobs.get(1).is_none() && jobs.get(1500).is_some());
        jobs.inner.lock().forget_old(Instant::now() + KEPT);
        assert!(jobs.get(1500).is_none());
    }
}
