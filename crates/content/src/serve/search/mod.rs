//! Search for packages by what they do: title, description, keywords, authors and maintainers besides names.
//!
//! The texts are those of the newest state of each source. They only propose packages: a search finds those that the
//! point lists, so nothing that rules, guards, subscriptions or permissions leave out is found or counted.

mod contents;
pub mod matches;
pub mod update;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use store::search::PackageTexts;

/// The searchable texts, and whether all sources have been read.
pub(in crate::serve) struct SearchTexts {
    texts: Arc<PackageTexts>,
    /// Searches wait here for their turn, not on threads.
    turn: tokio::sync::Mutex<()>,
    is_complete: AtomicBool,
}

impl SearchTexts {
    /// Creates an empty collection, whose file will be in `directory`.
    pub(in crate::serve) fn new(directory: &Path) -> SearchTexts {
        SearchTexts {
            texts: Arc::new(PackageTexts::new(directory.to_owned())),
            turn: tokio::sync::Mutex::default(),
            is_complete: AtomicBool::new(false),
        }
    }

    fn is_complete(&self) -> bool {
        self.is_complete.load(Ordering::Relaxed)
    }
}
