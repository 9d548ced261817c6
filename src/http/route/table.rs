//! Tables of operations as routes: the enum of the routes of a table, their parser, their access, and the `Allow` of a 405.

use http::Method;

use crate::http::error::Failure;

/// Defines the routes of a table of operations. The path of an operation is a list of segments: a segment is a literal
/// text, or the name of a parameter whose value the route contains.
macro_rules! routes {
    ($(#[$attribute:meta])* enum $Route:ident $(
        $(#[doc = $summary:literal])*
        $Name:ident $(($($parameter:ident),+))?: $method:ident [$($segment:tt),+] $action:ident $(($object:ident $key:ident))?
            => $handler:path { $($types:tt)* }
    )+) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $Route {
            $(
                $(#[doc = $summary])*
                #[doc = concat!("`", stringify!($method), " ", $(routes!(@text $segment),)+ "`")]
                $Name $(($(routes!(@type $parameter)),+))?,
            )+
        }

        impl $Route {
            /// Returns the route of a method at an address.
            fn find(method: &http::Method, segments: &[&str]) -> Option<$Route> {
                match (method, segments) {
                    $((&http::Method::$method, [$($segment),+]) => {
                        Some($Route::$Name $(($((*$parameter).to_owned()),+))?)
                    })+
                    _ => None,
                }
            }

            /// Returns the action and the object of the route.
            #[allow(unused_variables, reason = "not every parameter is an object")]
            pub(in crate::http) fn access(&self) -> Access<'_> {
                match self {
                    $($Route::$Name $(($($parameter),+))? => Access {
                        action: Action::$action,
                        target: routes!(@target $($object $key)?),
                    },)+
                }
            }

            /// Name, method and path of each row; `{name}` is a parameter.
            #[cfg(test)]
            const ROWS: &[(&str, &str, &str)] =
                &[$((stringify!($Name), stringify!($method), concat!($(routes!(@text $segment)),+)),)+];
        }
    };
    (@text $text:literal) => { concat!("/", $text) };
    (@text $parameter:ident) => { concat!("/{", stringify!($parameter), "}") };
    (@type $parameter:ident) => { String };
    (@target) => { AccessTarget::Server };
    (@target repository $name:ident) => { AccessTarget::Repository($name) };
    (@target source $name:ident) => { AccessTarget::Source($name) };
}
pub(super) use routes;

/// The methods of all APIs, in the order of `Allow`.
const METHODS: [Method; 6] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// Returns the route of `method` at an address; `find` looks up the route of a method. Fails with 405 with the methods
/// that have a route, or `unknown` if there are none.
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
