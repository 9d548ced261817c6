//! Cookies of sign-in (RFC 6265).

use http::HeaderMap;
use http::header::{COOKIE, HeaderValue};

use crate::http::response;
use runtime::auth;

pub(in crate::http) const SESSION: &str = "ppm";
pub(super) const LOGIN: &str = "ppm_login";

pub(in crate::http) fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| value.trim_matches('"'))
        .find(|value| auth::is_well_formed(value))
}

/// Returns `Set-Cookie`, hidden from scripts; `max_age` in seconds, 0 removes the cookie. Browsers send it
/// only over TLS if `address` is `https`, and with requests of other sites only for links: a `Strict` cookie
/// would be missing on the return from the provider.
pub(super) fn set(address: &str, name: &str, value: &str, path: &str, max_age: u64) -> HeaderValue {
    let secure = if address.starts_with("https://") { "; Secure" } else { "" };
    let prefix = prefix(address);
    response::header_value(format!(
        "{name}={value}; Path={prefix}{path}; Max-Age={max_age}; HttpOnly; SameSite=Lax{secure}"
    ))
}

/// Returns the path of `Server.Address`, without a slash at the end.
pub(super) fn prefix(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.find('/').map_or("", |start| rest[start..].trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others() {
        let secret = "0a".repeat(32);
        let mut headers = HeaderMap::new();
        assert_eq!(find(&headers, SESSION), None);
        let field = format!("a=b; ppm_login=x; ppm=short;ppm={secret}; c");
        headers.append(COOKIE, HeaderValue::from_str(&field).expect("a value"));
        assert_eq!(find(&headers, SESSION), Some(secret.as_str()));
        assert_eq!(find(&headers, LOGIN), None);
    }

    #[test]
    fn a_cookie_is_for_this_server_only() {
        let cookie = set("https://h.example/rspm", SESSION, "v", "/", 60);
        assert_eq!(cookie, "ppm=v; Path=/rspm/; Max-Age=60; HttpOnly; SameSite=Lax; Secure");
        let cookie = set("http://127.0.0.1:4242", LOGIN, "v", "/__login__", 0);
        assert_eq!(cookie, "ppm_login=v; Path=/__login__; Max-Age=0; HttpOnly; SameSite=Lax");
    }
}
