//! Counts the fetches that use each file of the destination, because packages with equal bytes share one file.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

/// The claims on fetched files, by path. Clones share the same table.
#[derive(Clone, Default)]
pub(super) struct Claims(Arc<Mutex<HashMap<PathBuf, Claim>>>);

#[derive(Default)]
struct Claim {
    /// Number of fetches that use the file.
    count: usize,
    /// Whether the destination did not have the file before.
    is_new: bool,
}

impl Claims {
    /// Adds a fetch that uses a file.
    pub(super) fn claim(&self, path: &Path) {
        self.0.lock().entry(path.to_owned()).or_default().count += 1;
    }

    /// Records that the destination did not have the file before.
    pub(super) fn set_new(&self, path: &Path) {
        self.0.lock().entry(path.to_owned()).or_default().is_new = true;
    }

    /// Removes a fetch that uses a file, and the file if it was new and no other fetch uses it.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub(super) fn release(&self, path: &Path) -> io::Result<()> {
        // Locked until the file is removed: a fetch that claims the file meanwhile waits, and then writes the file
        // again.
        let mut claims = self.0.lock();
        let Some(claim) = claims.get_mut(path) else { return Ok(()) };
        claim.count = claim.count.saturating_sub(1);
        if claim.count > 0 || !claim.is_new {
            return Ok(());
        }
        claims.remove(path);
        std::fs::remove_file(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_new_file_that_no_other_fetch_uses_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (new, old) = (folder.path().join("new"), folder.path().join("old"));
        std::fs::write(&new, "x").unwrap();
        std::fs::write(&old, "x").unwrap();
        let claims = Claims::default();
        claims.claim(&new);
        claims.set_new(&new);
        claims.claim(&new);
        claims.release(&new).unwrap();
        assert!(new.exists(), "the other fetch uses it");
        claims.release(&new).unwrap();
        assert!(!new.exists());
        claims.claim(&old);
        claims.release(&old).unwrap();
        assert!(old.exists(), "the destination had it before");
        claims.release(&folder.path().join("unknown")).unwrap();
    }
}
