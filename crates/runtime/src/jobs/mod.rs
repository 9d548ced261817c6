//! Registry of running and recently ended jobs, one per key at a time, with progress reports.

pub mod lease;
pub mod schedule;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

use base::model::time::Timestamp;

/// Time for which the result of a job can be queried after its end, for clients that poll slowly.
const RETENTION: Duration = Duration::from_secs(3600);

/// Maximum number of ended jobs; the oldest are removed first.
const MAX_ENDED_JOBS: usize = 1000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The current phase, for people: `reading the index`, `writing 12,000 of 160,000 releases`.
    pub phase: String,
    pub done: u64,
    /// Total number of steps, if known.
    pub total: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobState {
    Running(Progress),
    /// Succeeded, with a message for people.
    Done(String),
    Failed(String),
}

/// A job; cloning shares it.
#[derive(Clone, Debug)]
pub struct Job {
    /// Number, counted from the start of the process.
    pub id: u64,
    /// Key (`sync:cran`). At most one job with a key runs at a time.
    pub key: String,
    pub started_at: Timestamp,
    pub state: watch::Receiver<JobState>,
}

impl Job {
    /// Waits for the end and returns the message, or the reason for the failure.
    pub async fn wait_end(&self) -> Result<String, String> {
        let mut state = self.state.clone();
        let end = state.wait_for(|state| !matches!(state, JobState::Running(_))).await;
        match end.as_deref() {
            Ok(JobState::Done(text)) => Ok(text.clone()),
            Ok(JobState::Failed(reason)) => Err(reason.clone()),
            // The sender is dropped only after it has sent the final state.
            Ok(JobState::Running(_)) | Err(_) => Err(SERVER_STOPPED.to_owned()),
        }
    }
}

/// The failure of a job whose task was dropped at the end of the runtime.
const SERVER_STOPPED: &str = "the server stopped before the job was done";

/// The handle with which the work of a job reports its progress and checks whether it is to end.
#[derive(Clone)]
pub struct Reporter {
    state: Arc<watch::Sender<JobState>>,
    /// Set while all jobs are to end at their next safe point.
    halt: watch::Receiver<bool>,
    /// Set when this job is to end at its next safe point.
    stop: watch::Receiver<bool>,
}

impl Reporter {
    /// Reports progress. Has no effect after the end of the job.
    pub fn progress(&self, phase: impl Into<String>, done: u64, total: Option<u64>) {
        let new_state = JobState::Running(Progress { phase: phase.into(), done, total });
        self.state.send_if_modified(|state| match state {
            JobState::Running(_) if *state != new_state => {
                *state = new_state;
                true
            }
            JobState::Running(_) | JobState::Done(_) | JobState::Failed(_) => false,
        });
    }

    /// Returns whether the job must end at the next safe point.
    pub fn is_halted(&self) -> bool {
        *self.halt.borrow() || self.is_stopped()
    }

    /// Returns whether a request stopped this job: then it must not be resumed automatically.
    pub fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Completes when the job must end at the next safe point.
    pub async fn wait_halted(&self) {
        tokio::select! {
            () = wait_set(&self.halt) => {}
            () = wait_set(&self.stop) => {}
        }
    }
}

/// Completes when the flag is set.
async fn wait_set(flag: &watch::Receiver<bool>) {
    if flag.clone().wait_for(|is_set| *is_set).await.is_err() {
        // The registry is dropped: the flag can no longer change.
        std::future::pending::<()>().await;
    }
}

pub enum JobStart {
    /// This call started the job.
    New(Job),
    /// A job with the same key and the same options is already running.
    Attached(Job),
    /// A job with the same key and other options is running; nothing was started.
    Conflicting(Job),
}

impl JobStart {
    /// Returns the job that this call started, or that was running before.
    pub fn job(&self) -> &Job {
        match self {
            JobStart::New(job) | JobStart::Attached(job) | JobStart::Conflicting(job) => job,
        }
    }
}

/// The registry of jobs; cloning shares it.
#[derive(Clone, Default)]
pub struct Jobs {
    inner: Arc<Mutex<JobList>>,
    halt: Arc<watch::Sender<bool>>,
    end_count: Arc<watch::Sender<u64>>,
}

#[derive(Default)]
struct JobList {
    last_id: u64,
    running: HashMap<String, u64>,
    jobs: BTreeMap<u64, Entry>,
    /// Ended jobs that [`Jobs::take_ended`] has not returned, the oldest first.
    ended: VecDeque<EndedJob>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedJob {
    pub key: String,
    pub started_at: Timestamp,
    /// The message for people, or the reason for the failure.
    pub result: Result<String, String>,
}

struct Entry {
    job: Job,
    /// The options, in any form that is equal for equal options.
    options: String,
    ended_at: Option<Instant>,
    stop: watch::Sender<bool>,
    after_halt: AfterHalt,
}

/// The behavior of a job after a halt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterHalt {
    /// Restarts from the beginning, so it is better to wait for its end.
    Restarts,
    /// Resumes where it was halted, so it is not necessary to wait for its end.
    Resumes,
}

impl Jobs {
    /// Starts `work` unless a job with the key is running. Its `Ok` is a message for people. Needs a tokio runtime.
    pub fn start<F, Fut>(&self, key: &str, now: Timestamp, work: F) -> JobStart
    where
        F: FnOnce(Reporter) -> Fut,
        Fut: Future<Output = Result<String, String>> + Send + 'static,
    {
        self.start_with(AfterHalt::Restarts, key, "", now, work)
    }

    /// Like [`Jobs::start`], and defines what the job does after a halt. A running job with the same key is attached to
    /// only if its options are equal, in the form that the caller chooses.
    pub fn start_with<F, Fut>(
        &self,
        after_halt: AfterHalt,
        key: &str,
        options: &str,
        now: Timestamp,
        work: F,
    ) -> JobStart
    where
        F: FnOnce(Reporter) -> Fut,
        Fut: Future<Output = Result<String, String>> + Send + 'static,
    {
        let mut inner = self.inner.lock();
        inner.remove_old(Instant::now());
        if let Some(entry) = inner.running.get(key).and_then(|id| inner.jobs.get(id)) {
            let job = entry.job.clone();
            return if entry.options == options {
                JobStart::Attached(job)
            } else {
                JobStart::Conflicting(job)
            };
        }
        inner.last_id += 1;
        let id = inner.last_id;
        let progress = Progress { phase: "starting".to_owned(), done: 0, total: None };
        let (sender, state) = watch::channel(JobState::Running(progress));
        let sender = Arc::new(sender);
        let job = Job { id, key: key.to_owned(), started_at: now, state };
        inner.running.insert(job.key.clone(), id);
        tracing::debug!(job = id, key, "started a job");
        let (stop, stop_receiver) = watch::channel(false);
        let options = options.to_owned();
        inner.jobs.insert(id, Entry { job: job.clone(), options, ended_at: None, stop, after_halt });
        drop(inner);
        let guard = EndGuard { jobs: self.clone(), id, sender: sender.clone(), result: None };
        let work = work(Reporter { state: sender, halt: self.halt.subscribe(), stop: stop_receiver });
        tokio::spawn(async move {
            // Moved as a whole: captured field by field, it would be dropped before the task starts.
            let mut guard = guard;
            guard.result = Some(work.await);
        });
        JobStart::New(job)
    }

    /// Requests that all jobs, also those started later, end at their next safe point; `false` revokes it.
    pub fn halt(&self, halt: bool) {
        self.halt.send_replace(halt);
    }

    /// Requests that the job with this key ends at its next safe point; `None` if none is running.
    pub fn stop(&self, key: &str) -> Option<Job> {
        let inner = self.inner.lock();
        let entry = inner.running.get(key).and_then(|id| inner.jobs.get(id))?;
        entry.stop.send_replace(true);
        Some(entry.job.clone())
    }

    pub async fn wait_idle(&self) {
        let mut end_count = self.end_count.subscribe();
        // `self` owns the sender, so the channel is open.
        let _ = end_count.wait_for(|_| self.running().is_empty()).await;
    }

    /// Takes the jobs that ended since the last call, oldest first; at most the newest [`MAX_ENDED_JOBS`].
    pub fn take_ended(&self) -> Vec<EndedJob> {
        self.inner.lock().ended.drain(..).collect()
    }

    /// Returns the number of ended jobs, as a watch channel.
    pub fn end_count(&self) -> watch::Receiver<u64> {
        self.end_count.subscribe()
    }

    /// Returns a job by its number, if it is running or ended within the last hour.
    pub fn get(&self, id: u64) -> Option<Job> {
        let mut inner = self.inner.lock();
        inner.remove_old(Instant::now());
        inner.jobs.get(&id).map(|entry| entry.job.clone())
    }

    /// Returns running jobs and those that ended within the last hour, the oldest first.
    pub fn list(&self) -> Vec<Job> {
        let mut inner = self.inner.lock();
        inner.remove_old(Instant::now());
        inner.jobs.values().map(|entry| entry.job.clone()).collect()
    }

    /// Returns whether a job is running that would restart from the beginning after a halt.
    pub fn has_restarting(&self) -> bool {
        let inner = self.inner.lock();
        inner.jobs.values().any(|entry| entry.ended_at.is_none() && entry.after_halt == AfterHalt::Restarts)
    }

    /// Returns running jobs, the oldest first.
    pub fn running(&self) -> Vec<Job> {
        let inner = self.inner.lock();
        inner.jobs.values().filter(|entry| entry.ended_at.is_none()).map(|entry| entry.job.clone()).collect()
    }
}

impl JobList {
    fn remove_old(&mut self, now: Instant) {
        let is_recent = |ended_at| now.saturating_duration_since(ended_at) < RETENTION;
        self.jobs.retain(|_, entry| entry.ended_at.is_none_or(is_recent));
        let ended_count = self.jobs.values().filter(|entry| entry.ended_at.is_some()).count();
        let mut surplus = ended_count.saturating_sub(MAX_ENDED_JOBS);
        self.jobs.retain(|_, entry| {
            let is_surplus = surplus > 0 && entry.ended_at.is_some();
            surplus -= usize::from(is_surplus);
            !is_surplus
        });
    }
}

/// Records the end of a job when its task ends, is dropped or panics: clients return and the key is free.
struct EndGuard {
    jobs: Jobs,
    id: u64,
    sender: Arc<watch::Sender<JobState>>,
    result: Option<Result<String, String>>,
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        let mut inner = self.jobs.inner.lock();
        let result = self.result.take().unwrap_or_else(|| Err(SERVER_STOPPED.to_owned()));
        if let Some(entry) = inner.jobs.get_mut(&self.id) {
            entry.ended_at = Some(Instant::now());
            let (key, started_at) = (entry.job.key.clone(), entry.job.started_at);
            inner.running.remove(&key);
            tracing::debug!(job = self.id, key, succeeded = result.is_ok(), "a job ended");
            inner.ended.push_back(EndedJob { key, started_at, result: result.clone() });
            if inner.ended.len() > MAX_ENDED_JOBS {
                inner.ended.pop_front();
            }
        }
        // Under the lock: after the end a client may start the next job with the key.
        self.sender.send_replace(match result {
            Ok(text) => JobState::Done(text),
            Err(reason) => JobState::Failed(reason),
        });
        drop(inner);
        self.jobs.end_count.send_modify(|count| *count += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(started: &JobStart) -> (bool, u64) {
        (matches!(started, JobStart::New(_)), started.job().id)
    }

    #[tokio::test]
    async fn a_second_job_of_a_key_attaches_to_the_running_one() {
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
        assert_eq!(other.job().wait_end().await, Err("no".to_owned()));
        assert_eq!(jobs.running().len(), 1);
        go.send(()).expect("the job waits");
        assert_eq!(second.job().wait_end().await, Ok("done".to_owned()));
        assert!(jobs.running().is_empty() && jobs.get(1).is_some());
        let ended: Vec<_> = jobs.take_ended().into_iter().map(|job| (job.key, job.started_at.0)).collect();
        assert_eq!(ended, [("sync:pypi".to_owned(), 2), ("sync:cran".to_owned(), 1)]);
        assert!(jobs.take_ended().is_empty());
        assert_eq!(id(&jobs.start("sync:cran", Timestamp(3), |_| async { Ok(String::new()) })), (true, 3));
    }

    #[tokio::test]
    async fn a_job_with_other_options_is_not_attached_to() {
        let jobs = Jobs::default();
        let start = |options: &str| {
            jobs.start_with(AfterHalt::Restarts, "scrub", options, Timestamp(1), |report| async move {
                report.wait_halted().await;
                Ok(String::new())
            })
        };
        assert!(matches!(start("quick"), JobStart::New(_)));
        assert!(matches!(start("quick"), JobStart::Attached(job) if job.id == 1));
        assert!(matches!(start("full"), JobStart::Conflicting(job) if job.id == 1));
        assert_eq!(jobs.running().len(), 1);
    }

    #[tokio::test]
    async fn jobs_can_be_cancelled_and_awaited() {
        let jobs = Jobs::default();
        jobs.wait_idle().await;
        let job = jobs.start("k", Timestamp(1), |report| async move {
            report.wait_halted().await;
            Err(format!("halted: {}", report.is_halted()))
        });
        assert_eq!(jobs.running().len(), 1);
        jobs.halt(true);
        jobs.wait_idle().await;
        assert_eq!(job.job().wait_end().await, Err("halted: true".to_owned()));
        assert_eq!(*jobs.end_count().borrow(), 1);
        jobs.halt(false);
        let next = jobs.start("k", Timestamp(2), |report| async move { Ok(report.is_halted().to_string()) });
        assert_eq!(next.job().wait_end().await, Ok("false".to_owned()));
    }

    #[tokio::test]
    async fn one_job_can_be_stopped_and_the_others_continue() {
        let jobs = Jobs::default();
        let work = |report: Reporter| async move {
            report.wait_halted().await;
            Err(format!("{} {}", report.is_halted(), report.is_stopped()))
        };
        let one = jobs.start("one", Timestamp(1), work);
        let other = jobs.start_with(AfterHalt::Resumes, "other", "", Timestamp(1), work);
        assert!(jobs.has_restarting());
        assert_eq!(jobs.stop("one").map(|job| job.id), Some(one.job().id));
        assert_eq!(one.job().wait_end().await, Err("true true".to_owned()));
        assert_eq!(jobs.stop("one").map(|job| job.id), None);
        assert_eq!((jobs.running().len(), jobs.has_restarting()), (1, false));
        jobs.halt(true);
        assert_eq!(other.job().wait_end().await, Err("true false".to_owned()));
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
        let expected = JobState::Running(Progress { phase: "writing".to_owned(), done: 2, total: Some(5) });
        state.wait_for(|now| *now == expected).await.expect("it runs");
        go.send(()).expect("it waits");
        assert!(started.job().wait_end().await.is_ok());
    }

    #[tokio::test]
    async fn a_job_that_panics_or_is_dropped_has_failed_and_frees_its_key() {
        let jobs = Jobs::default();
        let job = jobs.start("k", Timestamp(1), |_| async { panic!("a bug") }).job().clone();
        assert_eq!(job.wait_end().await, Err(SERVER_STOPPED.to_owned()));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
        let job = {
            let _runtime_guard = runtime.enter();
            jobs.start("k", Timestamp(2), |_| std::future::pending()).job().clone()
        };
        runtime.shutdown_background();
        assert_eq!(job.wait_end().await, Err(SERVER_STOPPED.to_owned()));
        assert!(jobs.running().is_empty());
    }

    #[tokio::test]
    async fn ended_jobs_can_be_queried_for_an_hour_in_a_limited_number() {
        let jobs = Jobs::default();
        for n in 0..1500 {
            let job = jobs.start(&n.to_string(), Timestamp(n), |_| async { Ok(String::new()) }).job().clone();
            job.wait_end().await.expect("it ends");
        }
        assert!(jobs.get(1).is_none() && jobs.get(1500).is_some());
        jobs.inner.lock().remove_old(Instant::now() + RETENTION);
        assert!(jobs.get(1500).is_none());
    }
}
