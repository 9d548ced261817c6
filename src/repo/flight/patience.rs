//! Limits of fetches, in one struct so that tests can set short ones.

use std::time::Duration;

/// The limits of fetches.
#[derive(Clone, Debug)]
pub struct Patience {
    /// How long a fetch continues without a waiting client, when the file is neither small nor more than half received.
    pub deserted: Duration,
    /// Files of at most this many bytes are always fetched completely.
    pub small: u64,
    /// How long an unfinished spool is kept for a client to return.
    pub kept: Duration,
    /// How long a file that upstream lacks, or has with other bytes, is not requested again.
    pub missing: Duration,
    /// Base of the retry delay: the delay after the first failure is twice this, and doubles with each further one.
    pub pause: Duration,
    /// How long upstream may send nothing, over all tries, before a fetch fails: R gives up after a minute.
    pub silence: Duration,
    /// The largest accepted file when neither the index nor the answer declares a size, in bytes.
    pub unsized_file: u64,
    /// Failures in a row, without a byte received in between, that end a fetch.
    pub tries: u32,
    /// Total bytes of all fetches that may be kept in memory while they cannot be stored; beyond that, fetches fail.
    pub memory: u64,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            deserted: Duration::from_secs(10),
            small: 8 << 20,
            kept: Duration::from_secs(600),
            missing: Duration::from_secs(60),
            pause: Duration::from_millis(100),
            silence: Duration::from_secs(30),
            unsized_file: 512 << 20,
            tries: 5,
            memory: 64 << 20,
        }
    }
}
