//! Tables of API addresses. A table generates the enum of its routes, their parser and the `Allow` of a 405.

use http::Method;

use crate::http::error::Failure;

/// Defines the routes of an API. A row has a method, one or several addresses, and the route. An address is a list of
/// segments: a segment is a literal text, or the name of a parameter whose value the route contains.
macro_rules! routes {
    ($(#[$attribute:meta])* $name:ident {
        $($method:ident $([$($segment:tt),+])|+ => $route:ident $(($($parameter:ident),+))?,)+
    }) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $name {
            $(
                #[doc = concat!($("`", stringify!($method), " ", $(routes!(@text $segment),)+ "` "),+)]
                $route $(($(routes!(@type $parameter)),+))?,
            )+
        }

        impl $name {
            /// Returns the route of a method at an address.
            fn find(method: &http::Method, segments: &[&str]) -> Option<$name> {
                match (method, segments) {
                    $($((&http::Method::$method, [$($segment),+]))|+ => {
                        Some($name::$route $(($((*$parameter).to_owned()),+))?)
                    })+
                    _ => None,
                }
            }

            /// Method and address of each row; `{name}` is a parameter.
            #[cfg(test)]
            pub(in crate::http) const ROWS: &[(&str, &str)] =
                &[$($((stringify!($method), concat!($(routes!(@text $segment)),+)),)+)+];
        }
    };
    (@text $text:literal) => { concat!("/", $text) };
    (@text $parameter:ident) => { concat!("/{", stringify!($parameter), "}") };
    (@type $parameter:ident) => { String };
}
pub(super) use routes;

/// The methods of all APIs, in the order of `Allow`.
const METHODS: [Method; 6] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// Returns the route of `method` at an address; `find` looks up the route of a method.
///
/// # Errors
/// 405 with the methods that have a route, or `unknown` if there are none.
pub(super) fn route<R>(
    method: &Method,
    find: impl Fn(&Method) -> Option<R>,
    unknown: fn() -> Failure,
) -> Result<R, Failure> {
    find(method).ok_or_else(|| {
        let allowed: Vec<&str> =
            METHODS.iter().filter(|method| find(method).is_some()).map(Method::as_str).collect();
        if allowed.is_empty() { unknown() } else { Failure::method_not_allowed(allowed.join(", ")) }
    })
}
