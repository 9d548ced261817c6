//! Tokens: their text, the credentials of a request, the in-memory table of valid tokens, and their creation. Sign-in
//! with an identity provider: the provider's tokens, users, sessions, and the tokens that this server signs.

mod bootstrap;
mod credential;
mod device;
mod failures;
pub mod federation;
mod issue;
mod jwt;
mod named_grant;
pub mod provider;
mod secret;
mod session;
mod sign_in;
mod signed;
mod signing_key;
mod tokens;
mod trusted_publisher;

pub use bootstrap::{BootstrapRefusal, BootstrapRequest, KeyProblem, create_first_token, public_key};
pub use credential::{BadCredential, Credential, SignedText, credential};
pub use device::{DeviceDecision, DeviceLogins, DevicePoll, NewDeviceLogin, PendingDevice};
pub use issue::{CreateTokenError, NewToken, create, find, list, revoke, revoke_signed, revoke_user};
pub use jwt::{Claims, Invalid, unverified_issuer};
pub use named_grant::{named_grant, scope_names};
pub use secret::{Secret, digest};
pub use session::{SessionLimits, Sessions, is_well_formed, new_secret};
pub use sign_in::SignedIn;
pub use signed::{NewSignedToken, NoKey, Purpose, SignInKind, SignedToken, check_newer, issue, verify};
pub use tokens::{Token, TokenKind, Tokens};
