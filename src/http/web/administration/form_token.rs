//! Protects forms against requests of other sites' pages (cross-site request forgery): the browser must state
//! that a page of this server sends the form, with a token that only pages for this client have.

use std::sync::LazyLock;

use http::StatusCode;
use http::header::{AUTHORIZATION, HeaderMap};
use zeroize::Zeroizing;

use crate::http::app::App;
use crate::http::base_url::{RequestHead, base_url};
use crate::http::error::Failure;
use crate::http::login::{cookie, origin};
use crate::http::target::Query;
use api::error::Code;
use pages::administration::form::TOKEN;
use runtime::auth;

/// The secret used for clients of the admin socket, which send none.
static SOCKET_SECRET: LazyLock<Zeroizing<String>> = LazyLock::new(auth::new_secret);

/// Returns the token of a client: a digest of its session or password, invalid with them. SECURITY: pages with a token
/// are not compressed: their size would disclose it piece by piece to anyone who can choose another part of the page.
pub(super) fn of(headers: &HeaderMap) -> String {
    let field = |value: Option<&http::HeaderValue>| {
        value.map(|value| hex::encode(value.as_bytes())).unwrap_or_default()
    };
    let authorization = field(headers.get(AUTHORIZATION));
    let session = cookie::find(headers, cookie::SESSION).unwrap_or_default();
    let secret = match (authorization.as_str(), session) {
        ("", "") => SOCKET_SECRET.as_str(),
        _ => session,
    };
    auth::digest(&format!("form {authorization} {secret}")).to_string()
}

/// Checks that a form has the token of the client; 403.
pub(super) fn require(headers: &HeaderMap, form: &Query) -> Result<(), Failure> {
    // Digests are compared, so that the time of the comparison does not depend on the token.
    let sent_token = form.get(TOKEN).unwrap_or_default();
    if auth::digest(sent_token) == auth::digest(&of(headers)) {
        return Ok(());
    }
    Err(refusal("the form belongs to another session or has expired; open the page again"))
}

/// Checks that a page of this server sends a form; 403 also for a body that is not a form.
pub(super) fn require_own_page(app: &App, head: &RequestHead<'_>) -> Result<(), Failure> {
    let headers = &head.parts.headers;
    if !origin::has_media_type(headers, "application/x-www-form-urlencoded") {
        return Err(refusal(
            "this address accepts only the forms of its page; programs use /__api__/admin/v1/",
        ));
    }
    if origin::is_own(Some(&base_url(&app.site.load(), head)), headers) {
        return Ok(());
    }
    Err(refusal("the form must be sent from a page of this server"))
}

fn refusal(phrase: &str) -> Failure {
    Failure::new(StatusCode::FORBIDDEN, Code::Forbidden, phrase)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.insert(*name, value.parse().expect("a value"));
        }
        headers
    }

    #[test]
    fn a_token_belongs_to_one_session_or_password() {
        let session = |digit: &str| format!("ppm={}", digit.repeat(64));
        let client_headers = headers(&[("cookie", &session("1"))]);
        let token = of(&client_headers);
        assert_eq!(token, of(&headers(&[("cookie", &format!("a=b; {}", session("1")))])));
        for other_headers in [
            headers(&[]),
            headers(&[("cookie", &session("2"))]),
            headers(&[("authorization", "Bearer x")]),
            headers(&[("authorization", "Bearer x"), ("cookie", &session("1"))]),
        ] {
            assert_ne!(token, of(&other_headers));
            let form = Query::parse(Some(&format!("{TOKEN}={token}")), 4096).expect("a form");
            assert!(require(&client_headers, &form).is_ok());
            assert_eq!(
                require(&other_headers, &form).expect_err("another client").status,
                StatusCode::FORBIDDEN
            );
        }
        assert!(require(&client_headers, &Query::default()).is_err());
    }
}
