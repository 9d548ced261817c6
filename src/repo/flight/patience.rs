//! How long flights wait, and for what: one place, so that tests can be impatient.

use std::time::Duration;

/// The limits of lazy fetches.
#[derive(Clone, Debug)]
pub struct Patience {
    /// How long a flight goes on for nobody, when the file is neither small nor more than half here.
    pub deserted: Duration,
    /// A file of at most this many bytes is fetched to its end, whoever leaves.
    pub small: u64,
    /// How long an unfinished spool is kept for somebody to come back.
    pub kept: Duration,
    /// How long a file that upstream does not have, or has with other bytes, is not asked for again.
    pub missing: Duration,
    /// Twice the pause after the first failure of upstream; each following one is twice as long.
    pub pause: Duration,
    /// How long upstream may send nothing, over all tries, before a flight fails: R gives up after a minute.
    pub silence: Duration,
    /// The largest file that is taken when neither the index nor the answer tells a size, in bytes.
    pub unsized_file: u64,
    /// Failures in a row, without one byte between them, that end a flight.
    pub tries: u32,
    /// Bytes of all flights together that are kept in memory while the disk is full; beyond, flights fail.
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
