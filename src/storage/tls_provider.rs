//! Which cryptography every TLS connection of this process uses.

/// Makes *ring* the process-wide rustls provider; calling it again does nothing.
///
/// reqwest (built without a provider of its own) and object_store panic on their first client if nobody did this,
/// also for plain `http://`. The daemon calls it at start; rooms that build a TLS client call it too, so that
/// they also work alone.
pub fn install_tls_provider() {
    // An error only says that a provider is installed already: ours, or one a test chose.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
