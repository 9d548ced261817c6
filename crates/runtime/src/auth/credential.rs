//! The credentials of a request, such as tokens, from the places where clients may send them: parts of the
//! `Authorization` header field. Pure.

use std::fmt;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use http::header::{AUTHORIZATION, HeaderMap};
use zeroize::Zeroizing;

use super::secret::{self, Prefix};
use base::model::digest::Sha256;

/// Maximum length of the field, in bytes.
const MAX_BYTES: usize = 16 << 10;

/// The credentials that a request presents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// No credential, or a user name without a password.
    None,
    /// The digest of a text with the form of a token, and its prefix.
    Token(Sha256, Prefix),
    /// A text with the form of a signed token.
    Signed(SignedText),
    /// A password or another text that does not have the form of a token of this server.
    Unusable,
}

/// The text of a signed token that has not been verified. `Debug` does not print it.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedText(Zeroizing<String>);

impl SignedText {
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SignedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignedText")
    }
}

/// A request with more than one `Authorization` field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadCredential;

/// Reads the credentials of a request. A token may be a Bearer token, a Basic password with any user name, or a Basic
/// user name with an empty password (for R, which accepts credentials only in a URL).
///
/// # Errors
/// There is more than one field: a proxy and this server could use different ones.
pub fn credential(headers: &HeaderMap) -> Result<Credential, BadCredential> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let field = match (fields.next(), fields.next()) {
        (None, _) => return Ok(Credential::None),
        (Some(field), None) => field,
        (Some(_), Some(_)) => return Err(BadCredential),
    };
    Ok(field.to_str().ok().filter(|text| text.len() <= MAX_BYTES).map_or(Credential::Unusable, parse_field))
}

fn parse_field(text: &str) -> Credential {
    let Some((scheme, value)) = text.trim().split_once(' ') else { return Credential::Unusable };
    let value = value.trim();
    if scheme.eq_ignore_ascii_case("Bearer") {
        return classify(value);
    }
    if !scheme.eq_ignore_ascii_case("Basic") {
        return Credential::Unusable;
    }
    let bytes = BASE64_STANDARD.decode(value).or_else(|_| BASE64_STANDARD_NO_PAD.decode(value));
    let Some(pair) = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok()) else {
        return Credential::Unusable;
    };
    match pair.split_once(':') {
        None => Credential::Unusable,
        Some((user, "")) if secret::is_well_formed(user) => classify(user),
        Some((_, "")) => Credential::None,
        Some((_, password)) => classify(password),
    }
}

fn classify(text: &str) -> Credential {
    match Prefix::of(text).filter(|_| secret::is_well_formed(text)) {
        Some(prefix) => Credential::Token(secret::digest(text), prefix),
        None if is_signed(text) => Credential::Signed(SignedText(Zeroizing::new(text.to_owned()))),
        None => Credential::Unusable,
    }
}

/// Returns whether a text consists of three parts in base64url and the first begins like a JSON object.
fn is_signed(text: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    text.starts_with("eyJ") && text.split('.').count() == 3 && text.split('.').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Secret;

    fn read(fields: &[&[u8]]) -> Result<Credential, BadCredential> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(AUTHORIZATION, http::HeaderValue::from_bytes(field).expect("a value"));
        }
        credential(&headers)
    }

    fn basic(pair: &[u8]) -> Vec<u8> {
        format!("Basic {}", BASE64_STANDARD.encode(pair)).into_bytes()
    }

    #[test]
    fn a_token_is_read_from_every_place_in_which_clients_send_it() {
        let secret = Secret::generate().expect("random");
        let text = secret.expose();
        let token = Ok(Credential::Token(secret.digest(), Prefix::of(text).expect("a prefix")));
        for field in [
            format!("Bearer {text}").into_bytes(),
            format!("bearer   {text} ").into_bytes(),
            basic(format!("__token__:{text}").as_bytes()),
            basic(format!("alice:{text}").as_bytes()),
            basic(format!(":{text}").as_bytes()),
            basic(format!("{text}:").as_bytes()),
            format!("BASIC {}", BASE64_STANDARD_NO_PAD.encode(format!("a:{text}"))).into_bytes(),
        ] {
            assert_eq!(read(&[&field]), token, "{}", String::from_utf8_lossy(&field).replace(text, "TOKEN"));
        }
        assert_eq!(read(&[]), Ok(Credential::None));
        assert_eq!(read(&[&basic(b"__token__:")]), Ok(Credential::None));
        assert_eq!(read(&[&basic(b":")]), Ok(Credential::None));
    }

    #[test]
    fn a_signed_token_is_a_bearer_token_or_a_password() {
        for field in [b"Bearer eyJh.eyJi.c-_1".to_vec(), basic(b"__token__:eyJh.eyJi.c-_1")] {
            let Ok(Credential::Signed(text)) = read(&[&field]) else { panic!("not a signed token") };
            assert_eq!((text.expose(), format!("{text:?}").as_str()), ("eyJh.eyJi.c-_1", "SignedText"));
        }
        for other in ["eyJh.eyJi", "eyJh.eyJi.", "eyJh.eyJi.c.d", "eyJh.eyJi.c=", "abcd.eyJi.c"] {
            assert_eq!(read(&[format!("Bearer {other}").as_bytes()]), Ok(Credential::Unusable), "{other}");
        }
    }

    #[test]
    fn anything_else_is_unusable() {
        let secret = Secret::generate().expect("random");
        let bearer = format!("Bearer {}", secret.expose());
        let long = format!("Bearer {}", "a".repeat(1 << 20));
        for field in [
            &b""[..],
            b"Bearer",
            b"Bearer ",
            b"Basic",
            b"Basic !!!",
            b"Negotiate abc",
            b"Bearer \xff\xfe",
            &bearer.as_bytes()[..bearer.len() - 1],
            format!("{bearer},Bearer x").as_bytes(),
            format!("{bearer}\tx").as_bytes(),
            long.as_bytes(),
            &basic(secret.expose().as_bytes()),
            &basic(b"a:\xff\xfe"),
            &basic(b"a:b:c"),
            &basic(format!("a:{}\0", secret.expose()).as_bytes()),
            &basic(format!("a:b:{}", secret.expose()).as_bytes()),
        ] {
            assert_eq!(read(&[field]), Ok(Credential::Unusable), "{}", String::from_utf8_lossy(field).len());
        }
        assert_eq!(read(&[bearer.as_bytes(), bearer.as_bytes()]), Err(BadCredential));
        assert_eq!(read(&[bearer.as_bytes(), b""]), Err(BadCredential));
    }
}
