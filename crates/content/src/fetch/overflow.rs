//! Bytes of a fetch that cannot be stored: in memory for the waiting clients, within one budget for all fetches.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::{Buf, Bytes};
use parking_lot::Mutex;

/// The budget of memory of all fetches together; clones share it.
#[derive(Clone, Default)]
pub(super) struct OverflowBudget {
    used_bytes: Arc<AtomicU64>,
    is_disk_full_logged: Arc<AtomicBool>,
}

impl OverflowBudget {
    /// Logs that the disk is full: once, until a file was stored again.
    pub(super) fn log_disk_full(&self, detail: &str) {
        if !self.is_disk_full_logged.swap(true, Ordering::SeqCst) {
            tracing::error!("{detail}: fetched packages are sent to clients and not stored");
        }
    }

    /// Logs, after a full disk, that a file was stored again.
    pub(super) fn log_disk_space(&self) {
        if self.is_disk_full_logged.load(Ordering::Relaxed)
            && self.is_disk_full_logged.swap(false, Ordering::SeqCst)
        {
            tracing::info!("the disk has space again: fetched packages are stored");
        }
    }
}

/// The bytes of one file that are not in the spool; their share of the budget is released when this is dropped.
pub(super) struct Overflow {
    budget: OverflowBudget,
    chunks: Mutex<Vec<Bytes>>,
}

impl Overflow {
    pub(super) fn new(budget: OverflowBudget) -> Overflow {
        Overflow { budget, chunks: Mutex::default() }
    }

    /// Appends a chunk; returns false when the budget of `limit` bytes is used up.
    pub(super) fn push(&self, chunk: Bytes, limit: u64) -> bool {
        let size = chunk.len() as u64;
        let previous = self.budget.used_bytes.fetch_add(size, Ordering::SeqCst);
        if previous + size > limit {
            self.budget.used_bytes.fetch_sub(size, Ordering::SeqCst);
            return false;
        }
        self.chunks.lock().push(chunk);
        true
    }

    pub(super) fn clear(&self) {
        let chunks = std::mem::take(&mut *self.chunks.lock());
        let size: u64 = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        self.budget.used_bytes.fetch_sub(size, Ordering::SeqCst);
    }

    /// Returns at most `length` bytes from `offset` on; empty only at the end.
    pub(super) fn piece(&self, mut offset: u64, length: u64) -> Bytes {
        for chunk in self.chunks.lock().iter() {
            let size = chunk.len() as u64;
            if offset < size {
                let start = usize::try_from(offset).unwrap_or(0);
                let end = usize::try_from((offset + length).min(size)).unwrap_or(chunk.len());
                return chunk.slice(start..end);
            }
            offset -= size;
        }
        Bytes::new()
    }

    pub(super) fn reader(&self) -> impl Read + Send + 'static {
        ChunkReader(self.chunks.lock().clone().into_iter())
    }
}

impl Drop for Overflow {
    fn drop(&mut self) {
        self.clear();
    }
}

struct ChunkReader(std::vec::IntoIter<Bytes>);

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while let Some(chunk) = self.0.as_mut_slice().first_mut() {
            if !chunk.is_empty() {
                let size = chunk.len().min(buffer.len());
                chunk.copy_to_slice(&mut buffer[..size]);
                return Ok(size);
            }
            self.0.next();
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_overflows_share_one_budget_and_return_it() {
        let budget = OverflowBudget::default();
        let (first, second) = (Overflow::new(budget.clone()), Overflow::new(budget));
        assert!(first.push(Bytes::from_static(b"abcdef"), 10) && second.push(Bytes::from_static(b"ghi"), 10));
        assert!(!second.push(Bytes::from_static(b"jk"), 10));
        drop(first);
        assert!(second.push(Bytes::from_static(b"jk"), 10));
        assert_eq!(&second.piece(1, 9)[..], b"hi");
        assert_eq!(&second.piece(3, 1)[..], b"j");
        assert!(second.piece(5, 1).is_empty());
        let mut bytes = Vec::new();
        second.reader().read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"ghijk");
    }
}
