//! Limits of connections and requests; tests use shorter ones.

use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Limits {
    /// Timeout for a complete request head, from the start of the connection or the last response. Limits
    /// slow heads and idle keep-alive connections alike.
    pub head_timeout: Duration,
    pub handshake_timeout: Duration,
    /// Cumulative time that writes may wait for a client, per [`Limits::stall_bytes`] it reads.
    pub stall_timeout: Duration,
    /// Number of bytes that a client must read within [`Limits::stall_timeout`].
    pub stall_bytes: u64,
    pub body_timeout: Duration,
    /// Timeout of an HTTP/2 connection without an open stream; answers to keep-alive pings do not extend it.
    pub h2_idle_timeout: Duration,
    pub h2_streams: u32,
    /// Maximum size of a request head in bytes; larger ones get 431.
    pub head_bytes: usize,
    /// Maximum length of a request target in bytes; longer ones get 414.
    pub target_bytes: usize,
    /// Maximum number of open connections of all listeners; further ones wait in the kernel's backlog.
    pub connections: usize,
    /// Maximum number of bytes of request bodies in memory; beyond it requests get 503.
    pub body_bytes: usize,
    pub body_bytes_per_address: usize,
    /// Time that a closing server waits for the first request of a new connection, from the end of its handshake.
    pub first_request_wait: Duration,
    /// Time for idle clients to receive `Connection: close`, after the last request that began before the stop.
    pub linger: Duration,
    /// Maximum time that a stop waits, while it still accepts connections, until no slow response is in progress.
    pub quiet_wait: Duration,
    /// Timeout of requests in progress after a stop began; five seconds below the unit's `TimeoutStopSec=`.
    pub drain_timeout: Duration,
    /// Timeout of requests in progress after another process took over.
    pub hand_over_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(60),
            stall_bytes: 64 << 10,
            body_timeout: Duration::from_secs(60),
            h2_idle_timeout: Duration::from_secs(180),
            h2_streams: 128,
            // Allows a `User-Agent` of 64 kB, which gets a source package like any other unknown `User-Agent`.
            head_bytes: 80 << 10,
            target_bytes: 4096,
            connections: 8192,
            body_bytes: 32 << 20,
            body_bytes_per_address: 8 << 20,
            first_request_wait: Duration::from_secs(2),
            linger: Duration::from_millis(500),
            quiet_wait: Duration::from_secs(3),
            drain_timeout: Duration::from_secs(40),
            hand_over_timeout: Duration::from_secs(3600),
        }
    }
}

impl Limits {
    /// Returns the connection limit of one client address: as configured, at most a quarter of [`Limits::connections`].
    pub(crate) fn connections_per_address(&self, configured: Option<usize>) -> Option<usize> {
        configured.map(|limit| limit.min((self.connections / 4).max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_never_uses_more_than_a_quarter_of_the_connections() {
        let limits = |connections| Limits { connections, ..Limits::default() };
        assert_eq!(limits(8192).connections_per_address(Some(1024)), Some(1024));
        assert_eq!(limits(512).connections_per_address(Some(1024)), Some(128));
        assert_eq!(limits(3).connections_per_address(Some(1024)), Some(1));
        assert_eq!(limits(512).connections_per_address(None), None);
    }
}
