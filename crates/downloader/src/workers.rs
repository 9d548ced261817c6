//! Parallel work on all processors.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

pub(super) fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Applies `work` to each of `items`; the results are in no particular order. The items are started in order:
/// sorted paths are read nearly sequentially from a copied bundle.
pub(super) fn parallel_map<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let run_worker = || {
        let mut results = Vec::new();
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            results.push(work(item));
        }
        results
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (1..processors().min(items.len())).map(|_| scope.spawn(run_worker)).collect();
        let mut results = run_worker();
        for thread in threads {
            match thread.join() {
                Ok(thread_results) => results.extend(thread_results),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        results
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_processed_once() {
        let items: Vec<usize> = (0..10_000).collect();
        let mut results = parallel_map(&items, |item| item + 1);
        results.sort_unstable();
        assert_eq!(results, (1..=10_000).collect::<Vec<_>>());
        assert_eq!(parallel_map(&[0; 0], |_| ()).len(), 0);
    }
}
