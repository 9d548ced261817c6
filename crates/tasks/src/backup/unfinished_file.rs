//! An unfinished file of a backup.

use std::fs::File;
use std::io::{self, Write};

use tempfile::NamedTempFile;

/// A file that gets its name when it is complete.
pub(super) enum UnfinishedFile {
    Directory(NamedTempFile),
    /// A temporary file of this machine.
    Bucket(File),
}

impl UnfinishedFile {
    fn file(&mut self) -> &mut File {
        match self {
            UnfinishedFile::Directory(file) => file.as_file_mut(),
            UnfinishedFile::Bucket(file) => file,
        }
    }
}

impl Write for UnfinishedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file().flush()
    }
}
