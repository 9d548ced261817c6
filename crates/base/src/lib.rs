//! The basic types, access control, encryption, configuration and metrics.

/// Access control: scopes of tokens, and the decision about an actor, an action and an object.
pub mod access;
/// The configuration file `rstudio-pm.gcfg`: as written, merged, validated.
pub mod config;
/// The format of encryption keys and of encrypted values.
pub mod encryption;
/// Prometheus metrics: one function per series.
pub mod metrics;
/// The basic types: names, digests, times, sources, repositories, snapshots.
pub mod model;
