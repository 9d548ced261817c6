//! Jobs under way: one of a key at a time, progress that can be watched, and the schedule.

use std::sync::Arc;

use tokio::sync::watch;

use crate::model::time::Timestamp;

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

/// Handed to the work so that it can say how far it is.
#[derive(Clone)]
pub struct Reporter {
    state: Arc<watch::Sender<JobState>>,
}

impl Reporter {
    /// Says how far the job is.
    pub fn progress(&self, phase: impl Into<String>, done: u64, total: Option<u64>) {
        let _ = (phase.into(), done, total, &self.state);
        todo!()
    }
}

/// Whether [`Jobs::start`] began something.
pub enum Started {
    /// This call began the job.
    New(Job),
    /// One with the same key is under way: attach to it.
    Attached(Job),
}

/// The registry; cloning shares it.
#[derive(Clone, Default)]
pub struct Jobs {}

impl Jobs {
    /// Starts `work` unless a job of the same key is under way. The work's `Ok` text is the sentence for people.
    pub fn start<F, Fut>(&self, key: &str, now: Timestamp, work: F) -> Started
    where
        F: FnOnce(Reporter) -> Fut,
        Fut: Future<Output = Result<String, String>> + Send + 'static,
    {
        let _ = (key, now, work);
        todo!()
    }

    /// A job by its number, also one that ended within the last hour.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<Job> {
        let _ = id;
        todo!()
    }

    /// Jobs under way.
    #[must_use]
    pub fn running(&self) -> Vec<Job> {
        todo!()
    }
}
