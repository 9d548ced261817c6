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
