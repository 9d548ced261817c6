//! Limits of fetches, in one struct so that tests can set short ones.

use std::time::Duration;

#[derive(Clone, Debug)]
pub struct FetchLimits {
    /// Time for which a fetch continues without a waiting client, when the file is neither small nor more than half
    /// received.
    pub unsubscribed_timeout: Duration,
    /// Files of at most this many bytes are always fetched completely.
    pub small_file_bytes: u64,
    /// Time for which an unfinished fetch waits for a new client.
    pub resume_window: Duration,
    /// Time for which a file that upstream lacks, refuses, or has with different bytes is not requested again.
    pub failure_ttl: Duration,
    /// Base of the retry delay: the delay after the first failure is twice this, and doubles with each further one.
    pub retry_delay: Duration,
    /// Maximum time without data from upstream, over all tries, before a fetch fails: R times out after a minute.
    pub max_inactivity: Duration,
    /// Maximum accepted file size when neither the index nor the response declares a size, in bytes.
    pub max_unsized: u64,
    /// Number of consecutive failures, without a byte received in between, after which a fetch fails.
    pub max_tries: u32,
    /// Total bytes of all fetches that may be in memory while they cannot be stored; beyond that, fetches fail.
    pub memory: u64,
}

impl Default for FetchLimits {
    fn default() -> FetchLimits {
        FetchLimits {
            unsubscribed_timeout: Duration::from_secs(10),
            small_file_bytes: 8 << 20,
            resume_window: Duration::from_secs(600),
            failure_ttl: Duration::from_secs(60),
            retry_delay: Duration::from_millis(100),
            max_inactivity: Duration::from_secs(30),
            max_unsized: 512 << 20,
            max_tries: 5,
            memory: 64 << 20,
        }
    }
}
