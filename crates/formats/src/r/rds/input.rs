//! Reads bytes and numbers from a stream of unknown length, and enforces the limits.

use super::{RdsError, RdsLimits};
use std::io::{ErrorKind, Read};

const BUFFER_SIZE: usize = 64 << 10;

/// A buffered source of big-endian values that counts bytes.
pub(super) struct Input<'a> {
    inner: Box<dyn Read + 'a>,
    buffer: Box<[u8]>,
    /// The range of the unread bytes in `buffer`.
    start: usize,
    end: usize,
    /// Bytes returned so far.
    offset: u64,
    limits: RdsLimits,
    /// Memory of the current result in bytes.
    reserved_memory: u64,
}

impl<'a> Input<'a> {
    pub(super) fn new(inner: Box<dyn Read + 'a>, limits: RdsLimits) -> Input<'a> {
        let buffer = vec![0; BUFFER_SIZE].into_boxed_slice();
        Input { inner, buffer, start: 0, end: 0, offset: 0, limits, reserved_memory: 0 }
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn format_error(&self, defect: &'static str) -> RdsError {
        RdsError::Malformed { defect, offset: self.offset }
    }

    /// Counts memory that is about to be allocated; an error if it exceeds the limit.
    pub(super) fn reserve(&mut self, bytes: usize) -> Result<(), RdsError> {
        self.reserved_memory = self.reserved_memory.saturating_add(bytes as u64);
        if self.reserved_memory > self.limits.memory {
            Err(RdsError::TooLarge(self.limits.memory))
        } else {
            Ok(())
        }
    }

    /// Returns the counted memory in bytes, for [`Input::release_to`] after dropping what was read since.
    pub(super) fn reserved_memory(&self) -> u64 {
        self.reserved_memory
    }

    /// Resets the counted memory to an earlier value of [`Input::reserved_memory`].
    pub(super) fn release_to(&mut self, earlier_value: u64) {
        self.reserved_memory = earlier_value;
    }

    /// Checks, before anything is allocated, that a vector does not exceed the limit of the stream.
    pub(super) fn check_len(&self, count: usize, item_size: u64) -> Result<(), RdsError> {
        let required_len = (count as u64).saturating_mul(item_size).saturating_add(self.offset);
        if required_len > self.limits.stream { Err(RdsError::TooLong(self.limits.stream)) } else { Ok(()) }
    }

    /// Reads more bytes into the buffer; returns `false` at the end of the stream.
    fn fill(&mut self) -> Result<bool, RdsError> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        loop {
            match self.inner.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Ok(false),
                Ok(n) => {
                    self.end += n;
                    return Ok(true);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => {
                    return Err(RdsError::Truncated { offset: self.offset });
                }
                Err(source) => return Err(RdsError::Damaged { offset: self.offset, source }),
            }
        }
    }

    /// Returns the next `n` bytes; `n` is at most the size of the buffer.
    pub(super) fn take(&mut self, n: usize) -> Result<&[u8], RdsError> {
        debug_assert!(n <= BUFFER_SIZE, "a piece fits the buffer");
        while self.end - self.start < n {
            if !self.fill()? {
                return Err(RdsError::Truncated { offset: self.offset + (self.end - self.start) as u64 });
            }
        }
        self.offset += n as u64;
        if self.offset > self.limits.stream {
            return Err(RdsError::TooLong(self.limits.stream));
        }
        let piece = &self.buffer[self.start..self.start + n];
        self.start += n;
        Ok(piece)
    }

    /// Passes the next `n` bytes to `consume`, in pieces of a multiple of `unit`, at most a buffer.
    pub(super) fn for_each_piece(
        &mut self,
        mut n: usize,
        unit: usize,
        mut consume: impl FnMut(&[u8]),
    ) -> Result<(), RdsError> {
        let max_size = BUFFER_SIZE / unit * unit;
        while n > 0 {
            let size = n.min(max_size);
            consume(self.take(size)?);
            n -= size;
        }
        Ok(())
    }

    /// Reads a big-endian integer of four bytes.
    pub(super) fn int(&mut self) -> Result<i32, RdsError> {
        let bytes = self.take(4)?;
        Ok(i32::from_be_bytes(bytes.try_into().expect("four bytes were taken")))
    }

    pub(super) fn is_at_end(&mut self) -> Result<bool, RdsError> {
        Ok(self.start == self.end && !self.fill()?)
    }
}
