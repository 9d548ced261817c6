//! From the tables of operations, the calls of their handlers. The compiler checks that a handler takes the parameters, the
//! query and the body of its row, and returns the response of its row.

use http::{Response, StatusCode};
use serde::Serialize;

use crate::http::error::Failure;
use crate::http::net::body::Body;
use crate::http::response;
use api::operations::Operation;

/// The result of a handler.
pub(crate) type Answer<T> = Result<T, Failure>;

/// What the handler of an operation whose response is `T` returns: the value, or a response in another form.
pub(crate) trait Reply<T> {
    fn into_response(self) -> Response<Body>;
}

impl<T: Serialize> Reply<T> for T {
    fn into_response(self) -> Response<Body> {
        response::json(StatusCode::OK, &self)
    }
}

/// A response with another status than 200.
pub(crate) struct WithStatus<T>(pub(crate) StatusCode, pub(crate) T);

impl<T: Serialize> Reply<T> for WithStatus<T> {
    fn into_response(self) -> Response<Body> {
        response::json(self.0, &self.1)
    }
}

/// A response whose content the compiler does not check: a file, a stream, a page, or one of several formats.
pub(crate) struct Raw(pub(crate) Response<Body>);

impl Raw {
    /// JSON of a type that the row does not name.
    pub(crate) fn json<T: Serialize>(value: &T) -> Raw {
        Raw(response::json(StatusCode::OK, value))
    }
}

impl<T> Reply<T> for Raw {
    fn into_response(self) -> Response<Body> {
        self.0
    }
}

/// Defines a function that passes a request to the handler of its operation, with the values of the parameters in its
/// path, its query and its body. `operations` at the place of the call is the module of the table.
macro_rules! dispatch {
    ($dispatch:ident $Call:ident $Route:ident $Body:ident $(
        $(#[doc = $summary:literal])*
        $Name:ident $(($($parameter:ident),+))?: $method:ident [$($segment:tt),+] $action:ident $(($($object:ident)+))?
            => $handler:path {
            $(check($check:path) $(,)?)? $(query($query:ty) $(,)?)? $(body($body:ty) $(,)?)? $(limit($limit:expr) $(,)?)?
            $(accepts($accepted:literal) $(,)?)? $(response($response:ty) $(,)?)? $(sends($sent:literal))?
        }
    )+) => {
        #[allow(unused_variables, reason = "not every operation has parameters in its path, a query and a body")]
        async fn $dispatch(
            call: $Call<'_>,
            route: &$Route,
            query: &$crate::http::target::Query,
            body: $Body,
        ) -> $crate::http::api::operation::Answer<http::Response<$crate::http::net::body::Body>> {
            use api::operations::Operation;
            match route {
                $($Route::$Name $(($($parameter),+))? => {
                    let path: <operations::$Name as Operation>::Path<'_> = [$($($parameter),+)?];
                    $(
                        let query = dispatch!(@of $query, query.read::<<operations::$Name as Operation>::Query>()?);
                    )?
                    $($check(&call, path).await?;)?
                    $(
                        let body =
                            dispatch!(@of $body, call.json::<operations::$Name>(route.access(), body).await?);
                    )?
                    let reply = $handler(
                        call $($(, $parameter)+)? $(, dispatch!(@of $query, query))?
                        $(, dispatch!(@of $body, body))? $(, dispatch!(@of $accepted, body))?
                    );
                    Ok($crate::http::api::operation::into_response::<operations::$Name>(reply.await?))
                })+
            }
        }
    };
    (@of $part:tt, $value:expr) => { $value };
}
pub(crate) use dispatch;

/// Returns the response of the operation `O`.
pub(crate) fn into_response<O: Operation>(reply: impl Reply<O::Response>) -> Response<Body> {
    reply.into_response()
}

/// Checks that no text of a JSON document has the character NUL, which PostgreSQL cannot store.
///
/// # Errors
/// 400.
pub(crate) fn require_no_nul(json: &[u8]) -> Result<(), Failure> {
    let escapes = json.windows(6).enumerate().filter(|(_, window)| *window == br"\u0000");
    // A backslash after an odd number of others is itself escaped.
    let is_nul = |at: usize| json[..at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 0;
    match escapes.map(|(at, _)| at).any(is_nul) {
        true => Err(Failure::bad_request("a text in the body has the character NUL")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escaped_nul_is_found_in_every_text() {
        for (json, has_nul) in [
            (r#"{"a":"b"}"#, false),
            (r#"{"a":"\u0000"}"#, true),
            (r#"{"a\u0000":1}"#, true),
            (r#"{"a":"\\u0000"}"#, false),
            (r#"{"a":"\\\u0000"}"#, true),
            (r#"{"a":"\u00001"}"#, true),
            (r#"{"a":"\u0001 u0000"}"#, false),
        ] {
            assert_eq!(require_no_nul(json.as_bytes()).is_err(), has_nul, "{json}");
        }
    }
}
