//! Separate tasks: their results, and the error of those that a stop of the server cancels.

use tokio::task::JoinHandle;

use store::storage::StorageError;

/// Runs work that needs milliseconds or more outside the async threads. A panic of the work continues in the caller.
pub async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StorageError> {
    join(tokio::task::spawn_blocking(work)).await
}

/// Returns the result of a task. A panic of the task continues in the caller.
pub(super) async fn join<T>(task: JoinHandle<T>) -> Result<T, StorageError> {
    match task.await {
        Ok(result) => Ok(result),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(stopping()),
    }
}

/// Returns the error of a task that the stop of the server cancelled.
pub fn stopping() -> StorageError {
    StorageError::Other("the server is stopping".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_of_the_work_continues_in_the_caller() {
        let caller = tokio::spawn(run_blocking(|| -> u8 { panic!("broken") }));
        let panic = caller.await.expect_err("a panic").into_panic();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"broken"));
    }
}
