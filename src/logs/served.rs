//! The file of the package service log: opened, changed and reopened like the others.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::open::SinkError;
use super::sink::{Full, Sink};

/// The service log; cloning shares it, and [`ServiceLog::switch`] reaches every clone.
#[derive(Clone, Debug, Default)]
pub struct ServiceLog {
    sink: Arc<ArcSwapOption<Sink>>,
}

impl ServiceLog {
    /// Opens (creates with mode 0600) what shall be used from [`ServiceLog::switch`] on: the file in use when the path
    /// is its, else a new one; none when there is no path.
    ///
    /// # Errors
    /// The file cannot be opened for appending; nothing has changed.
    pub fn prepare(&self, path: Option<&Path>) -> Result<Option<Sink>, SinkError> {
        let Some(path) = path else { return Ok(None) };
        let kept = self.sink().filter(|sink| sink.path() == path);
        kept.map_or_else(|| Sink::open(path, Full::Wait), Ok).map(Some)
    }

    /// Takes a file into use, or none. The old one is written and closed.
    pub fn switch(&self, next: Option<Sink>) {
        let old = self.sink.swap(next.map(Arc::new));
        if let Some(old) = old {
            old.flush();
        }
    }

    /// The file, if it is on.
    #[must_use]
    pub fn sink(&self) -> Option<Sink> {
        self.sink.load().as_deref().cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn it_is_off_until_a_path_is_set_and_again_without_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("service.log");
        let log = ServiceLog::default();
        log.switch(log.prepare(None).expect("nothing to open"));
        assert!(log.sink().is_none());
        log.switch(log.prepare(Some(&path)).expect("opens"));
        assert_eq!(std::fs::metadata(&path).expect("is there").permissions().mode() & 0o7777, 0o600);
        assert!(log.prepare(Some(Path::new("/dev/null/s.log"))).is_err());
        log.sink().expect("on").write(b"{}\n");
        log.switch(None);
        assert_eq!(std::fs::read_to_string(&path).expect("is there"), "{}\n");
    }
}
