//! JSON Web Tokens (RFC 7519): parts, claims, and signatures by `ring`. Keys and addresses in a token are never used.

mod claims;
mod signature;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
pub use claims::{Claims, Invalid};
use jsonwebtoken::Header;
pub(super) use signature::{is_signed_by, sign};

/// Maximum length of a token, in bytes.
const MAX_BYTES: usize = 16 << 10;

pub(in crate::auth) struct UnverifiedToken<'a> {
    /// The header. SECURITY: `jku`, `jwk`, `x5u` and `x5c` are ignored.
    pub(in crate::auth) header: Header,
    pub(in crate::auth) claims: Claims,
    /// The text that is signed: header and claims in base64url.
    pub(in crate::auth) message: &'a str,
    /// The signature in base64url.
    pub(in crate::auth) signature: &'a str,
}

impl<'a> UnverifiedToken<'a> {
    /// Splits a token. Refuses base64url with padding or with non-zero bits after the last byte. Also refuses types
    /// other than `JWT`, because tokens of other kinds, such as `at+jwt` and `logout+jwt`, are signed with the same
    /// keys (RFC 8725 section 3.11). Fails if the text does not have the form of a token.
    pub(in crate::auth) fn parse(token: &'a str) -> Result<UnverifiedToken<'a>, Invalid> {
        if token.len() > MAX_BYTES {
            return Err(Invalid::TooLong);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(Invalid::Form("it has one part"))?;
        let (_, payload) = message.split_once('.').ok_or(Invalid::Form("it has two parts"))?;
        if payload.contains('.') {
            return Err(Invalid::Form("it has more than three parts"));
        }
        let header = jsonwebtoken::decode_header(token)
            .map_err(|_| Invalid::Form("its header is damaged, or names an unknown algorithm"))?;
        if header.crit.is_some() {
            return Err(Invalid::Form("its header has the field crit"));
        }
        if let Some(kind) = &header.typ {
            let kind = kind.to_ascii_lowercase();
            if kind.trim_start_matches("application/") != "jwt" {
                return Err(Invalid::Form("its type is not JWT"));
            }
        }
        let claims = BASE64_URL_SAFE_NO_PAD.decode(payload).ok().and_then(|json| Claims::parse(&json));
        let claims = claims.ok_or(Invalid::Form("its claims are damaged, or one occurs twice"))?;
        Ok(UnverifiedToken { header, claims, message, signature })
    }
}

/// Returns the issuer that a token names. SECURITY: it is not verified; the result may only select the verification.
pub fn unverified_issuer(token: &str) -> Option<String> {
    UnverifiedToken::parse(token).ok()?.claims.text("iss").map(str::to_owned)
}
