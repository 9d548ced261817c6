//! Parallel work on all processors, and concurrent requests.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::task::JoinSet;

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

/// Runs `work` for each item as a task, at most `concurrency` at the same time. The results are in no particular order.
pub(super) async fn run_all<T: Send, F>(
    items: Vec<T>,
    concurrency: usize,
    work: impl Fn(T) -> F + Send,
) -> Vec<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let (mut tasks, mut items, mut results) = (JoinSet::new(), items.into_iter(), Vec::new());
    loop {
        while tasks.len() < concurrency.max(1)
            && let Some(item) = items.next()
        {
            tasks.spawn(work(item));
        }
        match tasks.join_next().await {
            None => return results,
            Some(Ok(result)) => results.push(result),
            Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // Nothing cancels the tasks.
            Some(Err(_)) => {}
        }
    }
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

    #[tokio::test]
    async fn every_item_of_concurrent_requests_is_processed_once() {
        let mut results = run_all((0..100).collect(), 7, |item: u32| async move { item + 1 }).await;
        results.sort_unstable();
        assert_eq!(results, (1..=100).collect::<Vec<u32>>());
        assert!(run_all(Vec::<u32>::new(), 0, |item| async move { item }).await.is_empty());
    }
}
