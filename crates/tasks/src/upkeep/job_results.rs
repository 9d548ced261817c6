//! The results of the last jobs of one kind, by the number of the job.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

/// Maximum number of stored results.
const MAX_RESULTS: usize = 8;

/// The number of a job, known only after its start.
pub(super) type JobNumber = Arc<OnceLock<u64>>;

/// The results of jobs that have ended.
pub(super) struct JobResults<T>(Mutex<VecDeque<(JobNumber, Arc<T>)>>);

impl<T> Default for JobResults<T> {
    fn default() -> JobResults<T> {
        JobResults(Mutex::default())
    }
}

impl<T> JobResults<T> {
    /// Adds the result of a job, and removes the oldest of too many.
    pub(super) fn add(&self, job: JobNumber, result: T) {
        let mut results = self.0.lock();
        if results.len() == MAX_RESULTS {
            results.pop_front();
        }
        results.push_back((job, Arc::new(result)));
    }

    pub(super) fn get(&self, job: u64) -> Option<Arc<T>> {
        let results = self.0.lock();
        results.iter().find(|(number, _)| number.get() == Some(&job)).map(|(_, result)| Arc::clone(result))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_eight_results_are_kept() {
        let results = JobResults::default();
        for job in 0..10 {
            results.add(Arc::new(OnceLock::from(job)), job);
        }
        assert_eq!(results.get(9).as_deref(), Some(&9));
        assert_eq!((results.get(2).as_deref(), results.get(1)), (Some(&2), None));
        results.add(JobNumber::default(), 7);
        assert_eq!(results.get(2), None, "a result whose number is not known yet is stored, too");
    }
}
