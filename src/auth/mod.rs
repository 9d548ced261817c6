//! Tokens: their text, the credentials of a request, the tokens of the database in memory, and their creation.

mod credential;
mod failures;
mod issue;
mod jwt;
pub mod provider;
mod secret;
mod session;
mod signed;
mod signing_key;
mod tokens;

pub use credential::{BadCredential, Credential, credential};
pub use issue::{NewToken, create, find, list, revoke};
pub use jwt::{Claims, Invalid, unverified_issuer};
pub use secret::Secret;
pub use tokens::{Token, Tokens};
