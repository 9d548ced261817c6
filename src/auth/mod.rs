//! Tokens: their text, the credentials of a request, the tokens of the database in memory, and their creation.

mod bootstrap;
mod credential;
mod failures;
pub mod federation;
mod issue;
mod jwt;
mod named_grant;
pub mod provider;
mod secret;
mod session;
mod signed;
mod signing_key;
mod tokens;

pub use bootstrap::{BootstrapRefusal, BootstrapRequest, KeyProblem, create_first_token, public_key};
pub use credential::{BadCredential, Credential, credential};
pub use issue::{NewToken, create, find, list, revoke};
pub use named_grant::named_grant;
pub use jwt::{Claims, Invalid, unverified_issuer};
pub use secret::Secret;
pub use tokens::{Token, Tokens};
