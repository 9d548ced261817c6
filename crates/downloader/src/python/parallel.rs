//! Concurrent requests.

use tokio::task::JoinSet;

/// Runs `work` for each item, at most `concurrency` at the same time. The results are in no particular order.
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

    #[tokio::test]
    async fn every_item_is_processed_once() {
        let mut results = run_all((0..100).collect(), 7, |item: u32| async move { item + 1 }).await;
        results.sort_unstable();
        assert_eq!(results, (1..=100).collect::<Vec<u32>>());
        assert!(run_all(Vec::<u32>::new(), 0, |item| async move { item }).await.is_empty());
    }
}
