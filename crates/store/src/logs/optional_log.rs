//! A log that is off unless the configuration names its file.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::open::SinkError;
use super::sink::{OnFull, Sink};

/// A log with a file, or without one; cloning shares it, and [`OptionalLog::switch`] affects all clones.
#[derive(Clone, Debug, Default)]
pub struct OptionalLog {
    sink: Arc<ArcSwapOption<Sink>>,
}

impl OptionalLog {
    /// Opens the file for [`OptionalLog::switch`], creating it with mode 0600; reuses the current one if the path is
    /// the same. Returns `None` without a path.
    ///
    /// # Errors
    /// The file cannot be opened for appending; nothing has changed.
    pub fn prepare(&self, path: Option<&Path>) -> Result<Option<Sink>, SinkError> {
        let Some(path) = path else { return Ok(None) };
        let current_sink = self.sink().filter(|sink| sink.path() == path);
        current_sink.map_or_else(|| Sink::open(path, OnFull::Drop), Ok).map(Some)
    }

    /// Switches to a file, or off. The old file is flushed and closed.
    pub fn switch(&self, next: Option<Sink>) {
        let old_sink = self.sink.swap(next.map(Arc::new));
        if let Some(old_sink) = old_sink {
            old_sink.flush();
        }
    }

    /// The file, if the log is on.
    pub fn sink(&self) -> Option<Sink> {
        self.sink.load().as_deref().cloned()
    }

    pub fn is_enabled(&self) -> bool {
        self.sink.load().is_some()
    }

    /// Calls `render` to queue a line if the log is on. Never waits for the disk: a line that does not fit in the queue
    /// is dropped and counted.
    pub(super) fn write_with(&self, render: impl FnOnce(&Sink)) {
        if let Some(sink) = self.sink.load().as_deref() {
            render(sink);
        }
    }

    /// Queues a line, with its line feed. Never waits for the disk: a line that does not fit in the queue is dropped
    /// and counted.
    pub fn write(&self, line: &[u8]) {
        self.write_with(|sink| sink.write(line));
    }
}
