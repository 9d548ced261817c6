//! Writes the result of a job into the server's file, limits its size, and computes its digest.

use std::fs::File;
use std::io::{Error, ErrorKind, Result, Write};

use sha2::{Digest, Sha256};

pub(super) struct ResultFile {
    file: File,
    digest: Sha256,
    size: u64,
    limit: u64,
}

impl ResultFile {
    /// Creates a result of at most `limit` bytes.
    pub(super) fn new(file: File, limit: u64) -> ResultFile {
        ResultFile { file, digest: Sha256::new(), size: 0, limit }
    }

    /// Returns the size in bytes and the SHA-256 of the written bytes.
    pub(super) fn finish(self) -> (u64, String) {
        (self.size, hex::encode(self.digest.finalize()))
    }
}

impl Write for ResultFile {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        // The size is checked before the write, because the kernel would end the builder at the limit of the
        // process.
        if self.size + bytes.len() as u64 > self.limit {
            let reason = format!("the result is larger than {} bytes", self.limit);
            return Err(Error::new(ErrorKind::FileTooLarge, reason));
        }
        let count = self.file.write(bytes).map_err(|error| match error.kind() {
            // This is not reported as a limit that the build reached, because another attempt may succeed.
            ErrorKind::StorageFull => {
                Error::other(format!("the server has no space for the result: {error}"))
            }
            _ => error,
        })?;
        self.digest.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_of_the_server_is_not_a_limit_of_the_build() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let error = ResultFile::new(full, 10).write(b"x").unwrap_err();
        assert!(error.kind() == ErrorKind::Other && error.to_string().contains("no space"), "{error}");
        let limited = ResultFile::new(tempfile::tempfile().unwrap(), 1).write(b"xx").unwrap_err();
        assert_eq!(limited.kind(), ErrorKind::FileTooLarge);
    }
}
