//! A value that is read beside the start of the server: requests are answered meanwhile, and those that need it wait.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::watch;

/// A value in force that can be replaced, and that may be on its way.
#[derive(Debug)]
pub struct Late<T> {
    value: ArcSwapOption<T>,
    coming: watch::Sender<bool>,
}

/// While it lives, whoever needs the value waits; see [`Late::coming`].
#[derive(Debug)]
pub struct Coming(watch::Sender<bool>);

impl<T> Default for Late<T> {
    fn default() -> Late<T> {
        Late { value: ArcSwapOption::empty(), coming: watch::Sender::new(false) }
    }
}

impl<T> Late<T> {
    /// The value at this moment: none if there is none, or none yet.
    #[must_use]
    pub fn now(&self) -> Option<Arc<T>> {
        self.value.load_full()
    }

    /// The value once nothing is on its way any more; none if there is none.
    pub async fn settled(&self) -> Option<Arc<T>> {
        // It errs only when the sender is gone, which is a part of this value.
        let _ = self.coming.subscribe().wait_for(|coming| !coming).await;
        self.now()
    }

    /// Puts a value in force.
    pub fn put(&self, value: Arc<T>) {
        self.value.store(Some(value));
    }

    /// Says that the value is on its way, until the answer is dropped, however the reading ends.
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
        assert!(late.settled().await.is_none(), "nothing is on its way");
        let coming = late.coming();
        let mut waits = Box::pin(late.settled());
        assert!((&mut waits).now_or_never().is_none());
        late.put(Arc::new(1));
        assert!((&mut waits).now_or_never().is_none(), "the reading has not ended");
        drop(coming);
        assert_eq!(waits.await.as_deref(), Some(&1));
    }

    #[tokio::test]
    async fn a_reading_that_fails_lets_everybody_go() {
        let late = Arc::new(Late::<u8>::default());
        let coming = late.coming();
        let failed = tokio::spawn(async move {
            let _coming = coming;
            panic!("a reading that fails");
        });
        assert!(late.settled().await.is_none());
        assert!(failed.await.is_err());
    }
}
