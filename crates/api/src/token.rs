//! Access tokens: on the admin API, and the first one for the owner of the key in `Bootstrap.PublicKey`.

use clap::Args;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::flag_values::{lifetime, yes_or_no};
use crate::query::query;

query! {
    /// The query of `GET /tokens`.
    #[derive(Args)]
    ListTokens {
        /// true: only expired tokens; false: only others
        #[arg(long, value_parser = yes_or_no(), help = "Only expired tokens (yes) or only others (no)")]
        expired: Option<bool>,
        /// true: only revoked tokens; false: only others
        #[arg(long, value_parser = yes_or_no(), help = "Only revoked tokens (yes) or only others (no)")]
        revoked: Option<bool>,
    }
}

/// A scope and its objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Scope {
    /// `repos:read`, `repos:promote`, `sources:write`, `blocklist:read`, `blocklist:admin`, `metadata:admin` or
    /// `global:admin`.
    pub scope: String,
    /// Names of repositories or sources, `*` for all; empty for a scope without objects. The id replaces the name of a
    /// deleted object.
    #[serde(default)]
    pub objects: Vec<String>,
}

#[derive(Args, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
pub struct CreateToken {
    /// Its scopes, at least one.
    #[arg(skip)]
    pub scopes: Vec<Scope>,
    /// Its purpose, at most 500 characters.
    #[arg(long, help = "Purpose of the token, at most 500 characters")]
    pub description: String,
    /// The person or service that uses it.
    #[serde(default)]
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        help = "The person or service that uses it: an e-mail address or a name"
    )]
    pub user: String,
    /// Validity in seconds; absent if the token does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    // The path makes the whole type that of the flag, whose value `never` is `None`.
    #[arg(long = "expires", default_value = "never", value_name = "EXPIRES", value_parser = lifetime, help = "Lifetime: a number with s, m, h or d, or never")]
    pub expires_in: std::option::Option<i64>,
}

/// Response to `POST /tokens`. The token cannot be read again.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreatedToken {
    /// The identifier of the token, for `revoke`.
    pub guid: String,
    pub token: String,
    pub scopes: Vec<Scope>,
    /// Expiration time, RFC 3339; absent if the token does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

// SECURITY: the output omits the token.
impl std::fmt::Debug for CreatedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedToken").field("guid", &self.guid).finish_non_exhaustive()
    }
}

/// A token in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// Its identifier.
    pub guid: String,
    /// The first and last characters of the token.
    pub excerpt: String,
    /// The person or service that uses it; may be empty.
    pub user: String,
    /// Its purpose.
    pub description: String,
    pub scopes: Vec<Scope>,
    /// Its creator.
    pub created_by: String,
    /// Creation time, RFC 3339.
    pub created: String,
    /// Expiration time, RFC 3339; absent if the token does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Whether the expiration time has passed.
    pub expired: bool,
    /// The last day on which it was used, in UTC; absent if it was never used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<String>,
    /// Time of the revocation, RFC 3339; absent if the token is not revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<String>,
}

/// `POST /tokens/revoke`: exactly one of the three fields.
#[derive(Args, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
#[command(group = clap::ArgGroup::new("named").required(true).args(["guid", "token", "user"]))]
pub struct RevokeToken {
    /// The identifier of the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(long, help = "GUID of the token, from `rspm list tokens`")]
    pub guid: Option<String>,
    /// The token itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(long, help = "The token itself; - reads it from standard input")]
    pub token: Option<String>,
    /// A user: all tokens of the user are revoked, and all sessions end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(long, help = "User whose tokens are all revoked and whose browser sessions all end")]
    pub user: Option<String>,
}

/// The response to a revocation by user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RevokedUser {
    /// The user, as in the request: names are compared exactly.
    pub revoked_user: String,
    /// Number of tokens of `rspm create token` that were valid or expired.
    pub tokens: u64,
    /// Number of sessions that ended. Tokens of sign-ins and exchanges are revoked too, but not counted.
    pub sessions: u64,
    /// Other users with tokens or sessions whose names look the same, such as in another case; theirs stay valid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub similar_users: Vec<String>,
}

// SECURITY: the output omits the token.
impl std::fmt::Debug for RevokeToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RevokeToken").field("guid", &self.guid).finish_non_exhaustive()
    }
}

/// Response to `GET /verify`: the server, and the client of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Verification {
    /// Version of the server.
    pub version: String,
    /// The user of the token; absent on the administration socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The scopes of the token; empty on the administration socket, where everything is permitted.
    pub scopes: Vec<Scope>,
    /// Expiration time of the token, RFC 3339; absent if it does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

/// A request for the first token. The signed text (RSASSA-PSS, SHA-256, salt of 32 bytes) has four lines, each with a
/// line feed: `rstudio-pm bootstrap 1`, `time`, `nonce`, and `expires_in` or `never`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BootstrapRequest {
    /// The time of the request, RFC 3339; it may differ by at most 10 minutes from the clock of the server.
    pub time: String,
    /// A random text: 16 to 128 letters, digits, `-` and `_`. It can be used once.
    pub nonce: String,
    /// Validity of the token in seconds; absent if it does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<i64>,
    /// The signature in base64.
    pub signature: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BootstrapToken {
    /// The identifier of the token, for `revoke`.
    pub guid: String,
    /// The token, with the scope `global:admin`: encrypted for the key (RSAES-OAEP, SHA-256, no label), in base64.
    pub token: String,
    /// Expiration time, RFC 3339; absent if the token does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}
