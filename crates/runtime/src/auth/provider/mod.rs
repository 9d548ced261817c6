//! Identity providers (OpenID Connect Discovery 1.0): their documents and keys, and the verification of their tokens.
//!
//! Tokens are decoded by `jsonwebtoken`, signatures verified by `ring`. The crate openidconnect 4.1 is not used: it
//! depends on further cryptography (`rsa` 0.9 with `rand` 0.8 and `sha2` 0.10, and elliptic curves). The server's side of
//! RFC 8628 and RFC 8693, keys that outlive a failed refresh, and limits of sizes would still be written here.

mod client;
mod document;
mod providers;

pub use client::{Authentication, ProviderError, Response};
pub use document::Document;
pub use providers::{Providers, VerifyError};
