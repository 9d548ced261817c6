//! The standard streams as places of the server log: which of them is the journal, and whether both are one.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::stat::fstat;

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Stdout,
    Stderr,
}

/// A standard stream that lines go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    which: Which,
    /// Device and inode behind it.
    identity: Option<(u64, u64)>,
    /// Lines carry their priority, and the journal notes the time.
    pub(super) journal: bool,
}

impl Stream {
    /// Looks at what the stream is now.
    pub(super) fn of(which: Which) -> Stream {
        let identity = match which {
            Which::Stdout => identity(io::stdout().as_fd()),
            Which::Stderr => identity(io::stderr().as_fd()),
        };
        let told = std::env::var("JOURNAL_STREAM").ok().and_then(|text| journal_stream(&text));
        Stream { which, identity, journal: identity.is_some() && identity == told }
    }

    /// True when a line that went to the other has also been seen by who reads this one.
    pub(super) fn is(&self, other: &Stream) -> bool {
        self.which == other.which || (self.identity.is_some() && self.identity == other.identity)
    }

    /// A closed terminal or pipe is no reason to stop serving, and there is nowhere to say so.
    pub(super) fn write(&self, line: &[u8]) {
        let _ = match self.which {
            Which::Stdout => io::stdout().lock().write_all(line),
            Which::Stderr => io::stderr().lock().write_all(line),
        };
    }
}

fn identity(stream: BorrowedFd<'_>) -> Option<(u64, u64)> {
    // Field types differ between platforms.
    #[allow(clippy::useless_conversion)]
    fstat(stream).ok().map(|stat| (stat.st_dev.into(), stat.st_ino.into()))
}

/// `$JOURNAL_STREAM`, as systemd sets it: device and inode in decimal, `8:1234`.
fn journal_stream(text: &str) -> Option<(u64, u64)> {
    let (device, inode) = text.split_once(':')?;
    Some((device.parse().ok()?, inode.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_told_by_device_and_inode() {
        assert_eq!(journal_stream("8:1234"), Some((8, 1234)));
        for bad in ["", "8", "8:", ":1", "a:b", "8:1:2", "-1:4"] {
            assert_eq!(journal_stream(bad), None, "{bad}");
        }
    }
}
