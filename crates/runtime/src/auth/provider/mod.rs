//! Identity providers (OpenID Connect Discovery 1.0): their documents and keys, and the verification of their tokens.

mod client;
mod document;
mod keys;
mod providers;

pub use client::{Authentication, ProviderError, Response};
pub use document::Document;
pub use providers::{Providers, VerifyError};
