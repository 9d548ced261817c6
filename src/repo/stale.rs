//! What to do when a mirror and our index disagree: somebody else's job, asked for at most once a minute.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::model::ids::TreeId;
use crate::model::point::PointTree;

const ONCE_IN: Duration = Duration::from_secs(60);

type Act = Box<dyn Fn(PointTree) + Send + Sync>;

/// The place where `daemon` hangs the sync of a source; cloning shares it.
#[derive(Clone, Default)]
pub(super) struct Stale {
    act: Arc<OnceLock<Act>>,
    last: Arc<Mutex<HashMap<TreeId, Instant>>>,
}

impl Stale {
    /// Says what to do; the first word counts.
    pub(super) fn set(&self, act: Act) {
        // A second registration would be a mistake of the daemon's start; the first stays.
        let _ = self.act.set(act);
    }

    /// The mirror of `tree` is newer, or older, than our index.
    pub(super) fn call(&self, tree: PointTree) {
        let due = {
            let mut last = self.last.lock();
            let due = last.get(&tree.tree).is_none_or(|at| at.elapsed() >= ONCE_IN);
            if due {
                last.insert(tree.tree, Instant::now());
            }
            due
        };
        if let Some(act) = self.act.get().filter(|_| due) {
            act(tree);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::model::ids::{Seq, SourceId};

    fn tree(tree: i64) -> PointTree {
        PointTree { source: SourceId::CRAN, tree: TreeId(tree), seq: Seq(1) }
    }

    #[test]
    fn a_crowd_asks_once() {
        let asked = Arc::new(AtomicUsize::new(0));
        let (stale, count) = (Stale::default(), asked.clone());
        stale.set(Box::new(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
        }));
        for _ in 0..10 {
            stale.call(tree(1));
        }
        stale.call(tree(9));
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }
}
