//! The hook for a mirror that disagrees with the stored index: called at most once a minute for a package
//! list, and once an hour for a project of an index, whose page states the digests of its files.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use base::model::ids::TreeId;
use base::model::point::PointTree;

const MIN_INTERVAL: Duration = Duration::from_secs(60);
/// A file that stays wrong must not cause a request for the page with each attempt to fetch it.
const MIN_PROJECT_INTERVAL: Duration = Duration::from_secs(3600);
/// Records that no longer delay a call are removed whenever their number reaches a multiple of this number.
const PURGE_EVERY: usize = 256;

type Callback = Box<dyn Fn(PointTree, &str) + Send + Sync>;

/// What disagrees with the stored index: a package list, or the page of a project of an index.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Subject {
    tree: TreeId,
    /// The project; `None` for a package list.
    project: Option<Box<str>>,
}

impl Subject {
    fn min_interval(&self) -> Duration {
        if self.project.is_some() { MIN_PROJECT_INTERVAL } else { MIN_INTERVAL }
    }
}

/// A callback that `daemon` sets to read the package list, or the page of the project, again.
#[derive(Default)]
pub(super) struct MismatchHook {
    callback: OnceLock<Callback>,
    last_calls: Mutex<HashMap<Subject, Instant>>,
}

impl MismatchHook {
    /// Sets the callback; only the first call has an effect.
    pub(super) fn set(&self, callback: Callback) {
        // A second call would be a bug in the daemon's start; the first callback is not replaced.
        let _ = self.callback.set(callback);
    }

    /// Reports that the mirror has a file of this package that is newer, or older, than the stored index of `tree`.
    pub(super) fn call(&self, tree: PointTree, package: &str) {
        let project = tree.source.is_project_index().then(|| package.into());
        if self.is_due(Subject { tree: tree.tree, project })
            && let Some(callback) = self.callback.get()
        {
            callback(tree, package);
        }
    }

    /// Returns true, and records the call, if the last call for this subject was long enough ago.
    fn is_due(&self, subject: Subject) -> bool {
        let mut last_calls = self.last_calls.lock();
        let interval = subject.min_interval();
        if last_calls.get(&subject).is_some_and(|at| at.elapsed() < interval) {
            return false;
        }
        if last_calls.len() % PURGE_EVERY == PURGE_EVERY - 1 {
            last_calls.retain(|subject, at| at.elapsed() < subject.min_interval());
        }
        last_calls.insert(subject, Instant::now());
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use base::model::ids::{Seq, SourceId};

    fn tree(source: SourceId, tree: i64) -> PointTree {
        PointTree { source, tree: TreeId(tree), seq: Seq(1), base: None, rules: None }
    }

    /// A hook that appends the package of each call to a list.
    fn recording_hook() -> (MismatchHook, Arc<Mutex<Vec<String>>>) {
        let calls: Arc<Mutex<Vec<String>>> = Arc::default();
        let (hook, recorded) = (MismatchHook::default(), Arc::clone(&calls));
        hook.set(Box::new(move |_, package| recorded.lock().push(package.to_owned())));
        (hook, calls)
    }

    #[test]
    fn repeated_mismatches_of_a_package_list_cause_one_call() {
        let (hook, calls) = recording_hook();
        for number in 0..10 {
            hook.call(tree(SourceId::CRAN, 1), &format!("p{number}"));
        }
        hook.call(tree(SourceId::CRAN, 9), "other");
        assert_eq!(*calls.lock(), ["p0", "other"]);
    }

    #[test]
    fn each_project_of_an_index_causes_one_call() {
        let (hook, calls) = recording_hook();
        for _ in 0..10 {
            for project in ["one", "two"] {
                hook.call(tree(SourceId::PYPI, 1), project);
            }
        }
        assert_eq!(*calls.lock(), ["one", "two"]);
    }
}
