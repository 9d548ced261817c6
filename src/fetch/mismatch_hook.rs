//! The hook for a mirror that disagrees with the stored index, called at most once a minute per package list.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::model::ids::TreeId;
use crate::model::point::PointTree;

/// Minimum time between two calls for one package list.
const MIN_INTERVAL: Duration = Duration::from_secs(60);

type Callback = Box<dyn Fn(PointTree) + Send + Sync>;

/// A callback that `daemon` sets to sync the source.
#[derive(Default)]
pub(super) struct MismatchHook {
    callback: OnceLock<Callback>,
    last_calls: Mutex<HashMap<TreeId, Instant>>,
}

impl MismatchHook {
    /// Sets the callback; only the first call has an effect.
    pub(super) fn set(&self, callback: Callback) {
        // A second call would be a bug in the daemon's start; the first callback is not replaced.
        let _ = self.callback.set(callback);
    }

    /// Reports that the mirror of `tree` is newer, or older, than the stored index.
    pub(super) fn call(&self, tree: PointTree) {
        let is_due = {
            let mut last_calls = self.last_calls.lock();
            let is_due = last_calls.get(&tree.tree).is_none_or(|at| at.elapsed() >= MIN_INTERVAL);
            if is_due {
                last_calls.insert(tree.tree, Instant::now());
            }
            is_due
        };
        if let Some(callback) = self.callback.get().filter(|_| is_due) {
            callback(tree);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::model::ids::{Seq, SourceId};

    fn tree(tree: i64) -> PointTree {
        PointTree { source: SourceId::CRAN, tree: TreeId(tree), seq: Seq(1), base: None, rules: None }
    }

    #[test]
    fn repeated_mismatches_of_a_tree_cause_one_call() {
        let calls = Arc::new(AtomicUsize::new(0));
        let (hook, count) = (MismatchHook::default(), calls.clone());
        hook.set(Box::new(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
        }));
        for _ in 0..10 {
            hook.call(tree(1));
        }
        hook.call(tree(9));
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }
}
