//! A value loaded concurrently with startup: only requests that need it wait for it.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::watch;

/// A replaceable value that may still be loading.
#[derive(Debug)]
pub struct Deferred<T> {
    value: ArcSwapOption<T>,
    loading: watch::Sender<bool>,
}

/// Marks the value as loading until this guard is dropped; see [`Deferred::begin_load`].
#[derive(Debug)]
pub struct LoadGuard(watch::Sender<bool>);

impl<T> Default for Deferred<T> {
    fn default() -> Deferred<T> {
        Deferred { value: ArcSwapOption::empty(), loading: watch::Sender::new(false) }
    }
}

impl<T> Deferred<T> {
    /// Returns the current value; `None` before the first one is set.
    pub fn get(&self) -> Option<Arc<T>> {
        self.value.load_full()
    }

    /// Returns the current value for a short read, such as a comparison. Unlike [`Deferred::get`], this does not write to
    /// memory that all threads share.
    pub fn load(&self) -> arc_swap::Guard<Option<Arc<T>>> {
        self.value.load()
    }

    /// Waits until no load is in progress, then returns the value, if there is one.
    pub async fn wait(&self) -> Option<Arc<T>> {
        // This fails only if the sender is dropped; it is a field of `self`.
        let _ = self.loading.subscribe().wait_for(|is_loading| !is_loading).await;
        self.get()
    }

    pub fn set(&self, value: Arc<T>) {
        self.value.store(Some(value));
    }

    /// Marks the value as loading until the returned guard is dropped, whether the load succeeds or fails.
    pub fn begin_load(&self) -> LoadGuard {
        self.loading.send_replace(true);
        LoadGuard(self.loading.clone())
    }
}

impl Drop for LoadGuard {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn readers_wait_for_a_value_that_is_loading() {
        let deferred = Deferred::default();
        assert!(deferred.wait().await.is_none(), "nothing is loading");
        let loading = deferred.begin_load();
        let mut waiting = Box::pin(deferred.wait());
        assert!((&mut waiting).now_or_never().is_none());
        deferred.set(Arc::new(1));
        assert!((&mut waiting).now_or_never().is_none(), "the load has not ended");
        drop(loading);
        assert_eq!(waiting.await.as_deref(), Some(&1));
    }

    #[tokio::test]
    async fn a_failed_load_ends_the_wait() {
        let deferred = Arc::new(Deferred::<u8>::default());
        let loading = deferred.begin_load();
        let load = tokio::spawn(async move {
            let _guard = loading;
            panic!("a load that fails");
        });
        assert!(deferred.wait().await.is_none());
        assert!(load.await.is_err());
    }
}
