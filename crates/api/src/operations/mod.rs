//! The operations of both APIs, from which the server derives its routes, the permission of each, the calls of the handlers
//! and the documents of OpenAPI, and `rspm` its requests.
//!
//! A row of a table declares an operation:
//!
//! ```text
//! /// Summary for the documents
//! Name(parameters): METHOD ["path", parameter] Action(object) => module::handler { query(…), body(…), response(…) }
//! ```
//!
//! The action and the object of the permission are in `base::access` and `http::route::access`, the handler in `http`. In the
//! braces are, in this order: `check`, a function of the server that refuses a request before its body is read; `query`; `body`
//! of JSON; `limit`, its maximum size; `accepts`, the media type of a body that the handler reads itself; `response`; `sends`, the
//! media type of a response that is not JSON or has no type. An operation without a summary is not in the documents.

use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use utoipa::openapi::schema::Array;
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::query::{Parameter, Parameters};

/// Media type of bodies and responses, unless the row names another one.
pub const JSON: &str = "application/json";

/// Maximum size of a body, in bytes, unless the row names another one.
pub const BODY_LIMIT: usize = 1 << 20;

pub trait Operation {
    const METHOD: Method;
    /// Its path below the prefix of the API; `{name}` is a parameter.
    const PATH: &'static str;
    /// Maximum size of its body, in bytes.
    const BODY_LIMIT: usize;
    /// The values of the parameters of its path.
    type Path<'a>: AsRef<[&'a str]>;
    /// The parameters of its query.
    type Query: Parameters;
    /// Its JSON body; `()` if it has none.
    type Body;
    type Response;

    /// Returns its description, and adds the schemas of its types to `schemas`. `None` if it is not documented.
    fn describe(schemas: &mut Vec<NamedSchema>) -> Option<Description>;
}

/// Returns the address of an operation below the prefix of its API, with its query.
#[must_use]
pub fn address<O: Operation>(path: O::Path<'_>, query: &O::Query) -> String {
    let mut values = path.as_ref().iter();
    let segments = O::PATH.split('/').map(|segment| match segment.starts_with('{') {
        true => values.next().map(|value| encode(value)).unwrap_or_default(),
        false => segment.to_owned(),
    });
    let address = segments.collect::<Vec<_>>().join("/");
    let pairs = query.pairs().into_iter().map(|(name, value)| format!("{name}={}", encode(&value)));
    let query = pairs.collect::<Vec<_>>().join("&");
    if query.is_empty() { address } else { format!("{address}?{query}") }
}

/// Percent-encodes one segment of a path or one value of a query, so that no name can extend beyond it.
fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A schema with its name.
pub type NamedSchema = (String, RefOr<Schema>);

/// The description of an operation in the documents of OpenAPI.
pub struct Description {
    pub method: Method,
    /// Its path below the prefix of the API; `{name}` is a parameter.
    pub path: &'static str,
    pub summary: &'static str,
    /// The parameters of its query.
    pub query: &'static [Parameter],
    pub body: Option<Content>,
    pub response: Option<Content>,
}

/// The content of a body or of a response.
pub struct Content {
    pub media: &'static str,
    /// The schema; `None` for content without one.
    pub schema: Option<RefOr<Schema>>,
}

/// A type in a table: that of a value, or `[T]` for an array.
pub trait Wire {
    /// The type of the value.
    type Value;

    /// Returns a reference to its schema, and adds this and those of its fields to `schemas`.
    fn reference(schemas: &mut Vec<NamedSchema>) -> RefOr<Schema>;
}

impl<T: ToSchema> Wire for T {
    type Value = T;

    fn reference(schemas: &mut Vec<NamedSchema>) -> RefOr<Schema> {
        RefOr::Ref(named::<T>(schemas))
    }
}

impl<T: ToSchema> Wire for [T] {
    type Value = Vec<T>;

    fn reference(schemas: &mut Vec<NamedSchema>) -> RefOr<Schema> {
        RefOr::T(Schema::Array(Array::new(named::<T>(schemas))))
    }
}

fn named<T: ToSchema>(schemas: &mut Vec<NamedSchema>) -> Ref {
    schemas.push((T::name().into_owned(), <T as PartialSchema>::schema()));
    T::schemas(schemas);
    Ref::from_schema_name(T::name())
}

/// Declares a type for each row of a table, and `$all`, which describes the rows.
macro_rules! declare {
    ($all:ident $(
        $(#[doc = $summary:literal])*
        $Name:ident $(($($parameter:ident),+))?: $method:ident [$($segment:tt),+] $action:ident $(($($object:ident)+))?
            => $handler:path {
            $(check($check:path) $(,)?)? $(query($query:ty) $(,)?)? $(body($body:ty) $(,)?)? $(limit($limit:expr) $(,)?)?
            $(accepts($accepted:literal) $(,)?)? $(response($response:ty) $(,)?)? $(sends($sent:literal))?
        }
    )+) => {
        $(
            #[doc = concat!("`", stringify!($method), " ", $(declare!(@text $segment)),+, "`")]
            pub struct $Name;

            impl super::Operation for $Name {
                const METHOD: http::Method = http::Method::$method;
                const PATH: &'static str = concat!($(declare!(@text $segment)),+);
                const BODY_LIMIT: usize = declare!(@or super::BODY_LIMIT, $($limit)?);
                type Path<'a> = [&'a str; <[&str]>::len(&[$($(stringify!($parameter)),+)?])];
                type Query = declare!(@type (), $($query)?);
                type Body = declare!(@type (), $($body)?);
                type Response = <declare!(@type serde_json::Value, $($response)?) as super::Wire>::Value;

                #[allow(unused_variables, reason = "not every operation has types")]
                fn describe(schemas: &mut Vec<super::NamedSchema>) -> Option<super::Description> {
                    let summary = concat!($($summary),*);
                    let body = declare!(@content schemas, [$($body)?] [$($accepted)?]);
                    let response = declare!(@content schemas, [$($response)?] [$($sent)?]);
                    (!summary.is_empty()).then(|| super::Description {
                        method: <$Name as super::Operation>::METHOD,
                        path: <$Name as super::Operation>::PATH,
                        summary: summary.trim_start(),
                        query: <<$Name as super::Operation>::Query as crate::query::Parameters>::PARAMETERS,
                        body,
                        response,
                    })
                }
            }
        )+

        /// Returns the descriptions of the operations of the table, and adds their schemas to `schemas`.
        #[must_use]
        pub fn $all(schemas: &mut Vec<super::NamedSchema>) -> Vec<super::Description> {
            // Called one after the other: all descriptions at once would fill the stack of a thread.
            let rows: &[fn(&mut Vec<super::NamedSchema>) -> Option<super::Description>] =
                &[$(<$Name as super::Operation>::describe),+];
            rows.iter().filter_map(|describe| describe(schemas)).collect()
        }
    };
    (@text $text:literal) => { concat!("/", $text) };
    (@text $parameter:ident) => { concat!("/{", stringify!($parameter), "}") };
    (@or $default:expr,) => { $default };
    (@or $default:expr, $value:expr) => { $value };
    (@type $default:ty,) => { $default };
    (@type $default:ty, $type:ty) => { $type };
    (@content $schemas:ident, [] []) => { None };
    (@content $schemas:ident, [] [$media:literal]) => {
        Some(super::Content { media: $media, schema: None })
    };
    (@content $schemas:ident, [$type:ty] []) => {
        declare!(@content $schemas, [$type] [super::JSON])
    };
    (@content $schemas:ident, [$type:ty] [$media:expr]) => {
        Some(super::Content { media: $media, schema: Some(<$type as super::Wire>::reference($schemas)) })
    };
}

pub mod admin;
pub mod public;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::Unsubscribe;

    #[test]
    fn a_name_cannot_leave_its_segment() {
        let query = Unsubscribe { version: Some("3.20&x=1".to_owned()) };
        let address = address::<admin::Unsubscribe>(["../x?y=z&é", "cran"], &query);
        assert_eq!(address, "/repos/%2E%2E%2Fx%3Fy%3Dz%26%C3%A9/sources/cran?version=3%2E20%26x%3D1");
        assert_eq!(super::address::<admin::Repos>([], &Default::default()), "/repos");
    }
}
