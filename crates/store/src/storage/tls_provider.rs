//! The cryptography provider of every TLS connection of this process.

/// Installs *ring* as the process-wide rustls provider; calling it again does nothing.
///
/// Without a provider, reqwest (compiled without one of its own) and object_store panic on their first client, even for
/// plain `http://`. The daemon calls this function at start; modules that create a TLS client call it as well, so that
/// they also work in tests and tools.
pub fn install_tls_provider() {
    // An error only means that a provider is already installed: this one, or that of a test.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
