//! The standard streams as destinations of the server log. Detects whether a stream is the journal, and whether
//! both streams are the same file.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::stat::fstat;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StandardStream {
    Stdout,
    Stderr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    kind: StandardStream,
    /// Device and inode of the file of the stream, if known.
    identity: Option<(u64, u64)>,
    /// Whether the stream is the journal, for which lines have a priority prefix and no time.
    pub(super) is_journal: bool,
}

impl Stream {
    pub(super) fn of(kind: StandardStream) -> Stream {
        let identity = match kind {
            StandardStream::Stdout => identity(io::stdout().as_fd()),
            StandardStream::Stderr => identity(io::stderr().as_fd()),
        };
        let journal = std::env::var("JOURNAL_STREAM").ok().and_then(|text| journal_stream(&text));
        Stream { kind, identity, is_journal: identity.is_some() && identity == journal }
    }

    /// Returns true if both streams write to the same file.
    pub(super) fn is_same(&self, other: &Stream) -> bool {
        self.kind == other.kind || (self.identity.is_some() && self.identity == other.identity)
    }

    /// Writes a line. Ignores errors: a closed terminal or pipe must not stop the server, and cannot be reported.
    pub(super) fn write(&self, line: &[u8]) {
        let _ = match self.kind {
            StandardStream::Stdout => io::stdout().lock().write_all(line),
            StandardStream::Stderr => io::stderr().lock().write_all(line),
        };
    }
}

fn identity(stream: BorrowedFd<'_>) -> Option<(u64, u64)> {
    #[allow(clippy::useless_conversion, reason = "the types of the fields differ between platforms")]
    fstat(stream).ok().map(|stat| (stat.st_dev.into(), stat.st_ino.into()))
}

/// Parses `$JOURNAL_STREAM` of systemd: device and inode in decimal, `8:1234`.
// libsystemd 0.7.2 can do this, but needs a second version of nix, which deny.toml does not allow.
fn journal_stream(text: &str) -> Option<(u64, u64)> {
    let (device, inode) = text.split_once(':')?;
    Some((device.parse().ok()?, inode.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_recognized_by_device_and_inode() {
        assert_eq!(journal_stream("8:1234"), Some((8, 1234)));
        for bad in ["", "8", "8:", ":1", "a:b", "8:1:2", "-1:4"] {
            assert_eq!(journal_stream(bad), None, "{bad}");
        }
    }
}
