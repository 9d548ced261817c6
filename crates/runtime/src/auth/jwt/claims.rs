//! The claims of a token, and the checks that are the same for all tokens.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};

use base::model::members::Members;
use base::model::time::Timestamp;

/// Accepted difference between the clocks of a provider and of this server.
const LEEWAY: Duration = Duration::from_secs(60);
/// The last second of the year 9999.
const MAX_SECONDS: f64 = 253_402_300_799.0;

/// The reason why a token is refused. The texts contain no part of the token except names of claims, and values of
/// claims that are not secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("it is longer than 16 kB")]
    TooLong,
    /// The token does not consist of three parts in base64url with JSON objects, has an algorithm that is not accepted,
    /// or has a header field that is critical (`crit`) but not supported.
    #[error("it is not a JSON Web Token that can be accepted: {0}")]
    Form(&'static str),
    #[error("its signature is not valid for any key of the issuer")]
    Signature,
    #[error("it has no claim '{0}'")]
    Missing(&'static str),
    #[error("its claim '{0}' has the wrong type")]
    Type(&'static str),
    #[error("its claim 'iss' is not exactly the configured issuer")]
    Issuer,
    #[error("its claim 'aud' has none of the accepted audiences")]
    Audience,
    #[error("it is expired")]
    Expired,
    #[error("it was issued before all access of its user was revoked; request a new one")]
    Revoked,
    #[error("its claim '{0}' is in the future; compare the clocks")]
    Future(&'static str),
    /// A claim, such as the nonce or the authorized party, does not have the value that the sign-in requires.
    #[error("its claim '{0}' does not have the value that the sign-in requires")]
    Value(&'static str),
}

/// The claims of a token, by name. `Debug` prints only the names.
#[derive(Clone, PartialEq, Default)]
pub struct Claims(Map<String, Value>);

impl Claims {
    pub fn new(map: Map<String, Value>) -> Claims {
        Claims(map)
    }

    /// Parses a JSON object in which no name occurs twice. SECURITY: JSON parsers differ in which of two values they use.
    pub(super) fn parse(json: &[u8]) -> Option<Claims> {
        serde_json::from_slice::<Members<Value>>(json).ok()?.into_map().ok().map(Claims)
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// Returns the texts of a claim that is a text or an array of texts; omits other elements.
    pub fn texts(&self, name: &str) -> Vec<&str> {
        match self.0.get(name) {
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// Returns a claim that is a time (RFC 7519 section 2, `NumericDate`); `None` if it is absent.
    ///
    /// # Errors
    /// It is not a number of seconds between the years 1970 and 9999.
    pub fn time(&self, name: &'static str) -> Result<Option<Timestamp>, Invalid> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let seconds = value.as_f64().filter(|seconds| (0.0..=MAX_SECONDS).contains(seconds));
        seconds.and_then(Timestamp::from_r_seconds).map(Some).ok_or(Invalid::Type(name))
    }

    /// Adds the claims of `other` that are absent here.
    pub fn complete(&mut self, other: Claims) {
        for (name, value) in other.0 {
            self.0.entry(name).or_insert(value);
        }
    }

    /// Checks `exp`, which is required, `nbf` and `iat`; accepts a difference of 60 seconds between the clocks. Fails
    /// if a claim is missing or has a wrong type, or the token is not valid at `now`.
    pub(in crate::auth) fn check_times(&self, now: Timestamp) -> Result<(), Invalid> {
        let end = self.time("exp")?.ok_or(Invalid::Missing("exp"))?;
        if end + LEEWAY <= now {
            return Err(Invalid::Expired);
        }
        for name in ["nbf", "iat"] {
            if self.time(name)?.is_some_and(|start| start > now + LEEWAY) {
                return Err(Invalid::Future(name));
            }
        }
        Ok(())
    }

    /// Checks `iss` and `aud`, which is a text or an array. Fails if one of them is missing or differs.
    pub(in crate::auth) fn check_parties(&self, issuer: &str, audience: &[String]) -> Result<(), Invalid> {
        if self.get("iss").ok_or(Invalid::Missing("iss"))?.as_str() != Some(issuer) {
            return Err(Invalid::Issuer);
        }
        self.get("aud").ok_or(Invalid::Missing("aud"))?;
        let audiences = self.texts("aud");
        let is_accepted = audience.iter().any(|accepted| audiences.contains(&accepted.as_str()));
        if is_accepted { Ok(()) } else { Err(Invalid::Audience) }
    }
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use base::model::time::SECOND;

    const NOW: Timestamp = Timestamp(1_790_000_000 * SECOND);

    fn claims(value: &Value) -> Claims {
        Claims::parse(value.to_string().as_bytes()).expect("an object")
    }

    #[test]
    fn times_are_numbers_with_a_minute_of_leeway() {
        let now = NOW.seconds();
        let valid = [
            json!({"exp": now + 1}),
            json!({"exp": now - 59}),
            json!({"exp": 1_790_000_001.75, "iat": now + 59}),
        ];
        for value in valid {
            assert_eq!(claims(&value).check_times(NOW), Ok(()), "{value}");
        }
        for (value, expected) in [
            (json!({}), Invalid::Missing("exp")),
            (json!({"exp": now - 60}), Invalid::Expired),
            (json!({"exp": 0}), Invalid::Expired),
            (json!({"exp": -1}), Invalid::Type("exp")),
            (json!({"exp": now.to_string()}), Invalid::Type("exp")),
            (json!({"exp": null}), Invalid::Type("exp")),
            (json!({"exp": 9_223_372_036_854_775_808_u64}), Invalid::Type("exp")),
            (json!({"exp": 1e300}), Invalid::Type("exp")),
            (json!({"exp": now + 10, "nbf": now + 61}), Invalid::Future("nbf")),
            (json!({"exp": now + 100, "iat": now + 61}), Invalid::Future("iat")),
            (json!({"exp": now + 10, "nbf": "soon"}), Invalid::Type("nbf")),
        ] {
            assert_eq!(claims(&value).check_times(NOW), Err(expected), "{value}");
        }
    }

    #[test]
    fn the_issuer_is_compared_byte_for_byte_and_the_audience_is_a_text_or_an_array() {
        let accepted = ["a".to_owned(), "b".to_owned()];
        let check = |value: &Value| claims(value).check_parties("https://i", &accepted);
        assert_eq!(check(&json!({"iss": "https://i", "aud": "b"})), Ok(()));
        assert_eq!(check(&json!({"iss": "https://i", "aud": ["c", "a"]})), Ok(()));
        assert_eq!(check(&json!({"iss": "https://i/", "aud": "a"})), Err(Invalid::Issuer));
        assert_eq!(check(&json!({"iss": "HTTPS://i", "aud": "a"})), Err(Invalid::Issuer));
        assert_eq!(check(&json!({"iss": ["https://i"], "aud": "a"})), Err(Invalid::Issuer));
        assert_eq!(check(&json!({"aud": "a"})), Err(Invalid::Missing("iss")));
        assert_eq!(check(&json!({"iss": "https://i"})), Err(Invalid::Missing("aud")));
        assert_eq!(check(&json!({"iss": "https://i", "aud": []})), Err(Invalid::Audience));
        assert_eq!(check(&json!({"iss": "https://i", "aud": "c"})), Err(Invalid::Audience));
        assert_eq!(check(&json!({"iss": "https://i", "aud": 7})), Err(Invalid::Audience));
    }

    #[test]
    fn a_claim_that_occurs_twice_is_refused_and_values_are_not_printed() {
        assert!(Claims::parse(br#"{"sub": "a", "sub": "b"}"#).is_none());
        assert!(Claims::parse(b"[]").is_none() && Claims::parse(b"").is_none());
        assert_eq!(format!("{:?}", claims(&json!({"sub": "secret"}))), r#"{"sub"}"#);
        assert_eq!(claims(&json!({"g": ["a", 1, "b"]})).texts("g"), ["a", "b"]);
    }
}
