//! JSON Web Tokens (RFC 7519): their parts, claims, and signatures by `ring`. Keys and addresses in a token are never
//! used.

mod claims;
mod signature;
mod text;

pub use claims::{Claims, Invalid};
pub(super) use signature::{is_signed_by, sign};
pub(super) use text::UnverifiedToken;
pub use text::unverified_issuer;
