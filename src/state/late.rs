//! A value loaded concurrently with startup: only requests that need it wait for it.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::watch;

/// A replaceable value that may still be loading.
#[derive(Debug)]
pub struct Late<T> {
    value: ArcSwapOption<T>,
    coming: watch::Sender<bool>,
}

/// Marks the value as loading until it is dropped; see [`Late::coming`].
#[derive(Debug)]
pub struct Coming(watch::Sender<bool>);

impl<T> Default for Late<T> {
    fn default() -> Late<T> {
        Late { value: ArcSwapOption::empty(), coming: watch::Sender::new(false) }
    }
}

impl<T> Late<T> {
    /// Returns the current value; `None` if there is none or it is still loading.
    #[must_use]
    pub fn now(&self) -> Option<Arc<T>> {
        self.value.load_full()
    }

    /// Waits until no load is in progress, then returns the value, if there is one.
    pub async fn settled(&self) -> Option<Arc<T>> {
        // This fails only if the sender is dropped; it is a field of `self`.
        let _ = self.coming.subscribe().wait_for(|coming| !coming).await;
        self.now()
    }

    /// Replaces the value.
    pub fn put(&self, value: Arc<T>) {
        self.value.store(Some(value));
    }

    /// Marks the value as loading until the returned guard is dropped, whether the load succeeds or fails.
    #[must_use]
    pub fn coming(&self) -> Coming {
        self.coming.send_replace(true);
        Coming(self.coming.clone())
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn who_needs_a_value_that_is_on_its_way_waits_for_it() {
        let late = Late::default();
        assert!(late.settled().await.is_none(), "nothing is loading");
        let coming = late.coming();
        let mut waits = Box::pin(late.settled());
        assert!((&mut waits).now_or_never().is_none());
        late.put(Arc::new(1));
        assert!((&mut waits).now_or_never().is_none(), "the load has not ended");
        drop(coming);
        assert_eq!(waits.await.as_deref(), Some(&1));
    }

    #[tokio::test]
    async fn a_reading_that_fails_lets_everybody_go() {
        let late = Arc::new(Late::<u8>::default());
        let coming = late.coming();
        let failed = tokio::spawn(async move {
            let _coming = coming;
            panic!("a load that fails");
        });
        assert!(late.settled().await.is_none());
        assert!(failed.await.is_err());
    }
}
