//! What to do when a mirror and our index disagree: somebody else's job, asked for at most once a minute.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::model::ids::SourceId;

const ONCE_IN: Duration = Duration::from_secs(60);

type Act = Box<dyn Fn(SourceId) + Send + Sync>;

/// The place where `daemon` hangs the sync of a source; cloning shares it.
#[derive(Clone, Default)]
pub(super) struct Stale {
    act: Arc<OnceLock<Act>>,
    last: Arc<Mutex<HashMap<SourceId, Instant>>>,
}

impl Stale {
    /// Says what to do; the first word counts.
    pub(super) fn set(&self, act: Act) {
        // A second registration would be a mistake of the daemon's start; the first stays.
        let _ = self.act.set(act);
    }

    /// The mirror of `source` is newer, or older, than our index.
    pub(super) fn call(&self, source: SourceId) {
        let due = {
            let mut last = self.last.lock();
            let due = last.get(&source).is_none_or(|at| at.elapsed() >= ONCE_IN);
            if due {
                last.insert(source, Instant::now());
            }
            due
        };
        if let Some(act) = self.act.get().filter(|_| due) {
            act(source);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_crowd_asks_once() {
        let asked = Arc::new(AtomicUsize::new(0));
        let (stale, count) = (Stale::default(), asked.clone());
        stale.set(Box::new(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
        }));
        for _ in 0..10 {
            stale.call(SourceId::CRAN);
        }
        stale.call(SourceId(9));
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }
}
