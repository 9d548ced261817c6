//! `POST /__api__/bootstrap`: a token for the owner of the key in `Bootstrap.PublicKey`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
