//! Every limit a stranger's connection meets, in one place; tests inject shorter ones.

use std::time::Duration;

/// Time and size limits of the listeners.
#[derive(Clone, Debug)]
pub struct Limits {
    /// A complete request head must arrive within this, counted from the connection's or the last answer's end: it
    /// bounds slow heads and idle keep-alive connections alike (hyper has one timer for both).
    pub head: Duration,
    /// The TLS handshake must end within this.
    pub handshake: Duration,
    /// How long a client may keep us waiting, in sum, for each [`Limits::stall_bytes`] it takes.
    pub stall: Duration,
    /// See [`Limits::stall`]: together they are the slowest reader that is served.
    pub stall_bytes: u64,
    /// The longest pause between two pieces of a request body.
    pub body_pause: Duration,
    /// An HTTP/2 connection without an open stream is closed after this (its keep-alive pings prove only that the
    /// client lives).
    pub h2_idle: Duration,
    /// Concurrent streams of one HTTP/2 connection.
    pub h2_streams: u32,
    /// Longest request head in bytes; longer ones get 431.
    pub head_bytes: usize,
    /// Longest request target in bytes; longer ones get 414.
    pub target_bytes: usize,
    /// Connections at a time, all listeners together; further ones wait in the kernel's backlog.
    pub connections: usize,
    /// Bytes of request bodies that are held in memory at a time; what goes beyond is refused with 503.
    pub bodies: usize,
    /// The same for one client address.
    pub bodies_of_address: usize,
    /// A connection younger than this that has not asked anything yet is waited for when the server closes.
    pub fresh: Duration,
    /// After the last request that began before the stop: time for idle clients to see `Connection: close`.
    pub linger: Duration,
    /// How long a stop may wait, while it goes on accepting, for a moment without a slow answer under way.
    pub quiet: Duration,
    /// Requests still under way this long after the stop are cut. Five seconds below the unit's `TimeoutStopSec=`.
    pub drain: Duration,
    /// Requests still under way this long after another process took over are cut.
    pub handed_over: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head: Duration::from_secs(30),
            handshake: Duration::from_secs(10),
            stall: Duration::from_secs(60),
            stall_bytes: 64 << 10,
            body_pause: Duration::from_secs(60),
            h2_idle: Duration::from_secs(180),
            h2_streams: 128,
            // A `User-Agent` of 64 kB is answered with a source package, as any other that tells nothing.
            head_bytes: 80 << 10,
            target_bytes: 4096,
            connections: 8192,
            bodies: 32 << 20,
            bodies_of_address: 8 << 20,
            fresh: Duration::from_millis(250),
            linger: Duration::from_millis(500),
            quiet: Duration::from_secs(3),
            drain: Duration::from_secs(40),
            handed_over: Duration::from_secs(3600),
        }
    }
}

impl Limits {
    /// The connections of one client address: as configured, and never more than a quarter of all places.
    pub(super) fn for_address(&self, configured: Option<usize>) -> Option<usize> {
        configured.map(|most| most.min((self.connections / 4).max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_never_takes_more_than_a_quarter_of_the_places() {
        let limits = |connections| Limits { connections, ..Limits::default() };
        assert_eq!(limits(8192).for_address(Some(1024)), Some(1024));
        assert_eq!(limits(512).for_address(Some(1024)), Some(128));
        assert_eq!(limits(3).for_address(Some(1024)), Some(1));
        assert_eq!(limits(512).for_address(None), None);
    }
}
