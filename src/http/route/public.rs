//! The routes of the public API, `/__api__/…`; `docs/api/public.json` (OpenAPI) describes them.

use http::Method;

use super::access::{Access, AccessTarget};
use super::table::{self, routes};
use crate::http::error::Failure;
use api::public_operations;
use base::access::Action;

public_operations! {
    routes
    /// Routes of the public API.
    enum PublicRoute
}

/// Parses the decoded segments after `/__api__/`. Fails with 404 for an unknown address, 405 for another method.
pub(super) fn parse(method: &Method, segments: &[&str]) -> Result<PublicRoute, Failure> {
    let segments = segments.strip_suffix(&[""]).unwrap_or(segments);
    let find = |method: &Method| match method {
        &Method::HEAD => PublicRoute::find(&Method::GET, segments),
        method => PublicRoute::find(method, segments),
    };
    table::route(method, find, Failure::no_such_address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_leads_to_its_own_operation() {
        for (name, method, path) in PublicRoute::ROWS {
            let path = path.trim_start_matches('/').replace(['{', '}'], "");
            for path in [path.clone(), format!("{path}/")] {
                let route = format!("{:?}", parsed(method, &path).expect("a route"));
                assert_eq!(route.split('(').next(), Some(*name), "{method} {path}");
            }
        }
        let s = str::to_owned;
        for (method, path, expected) in [
            ("GET", "repos/cran/packages/A3", PublicRoute::Package(s("cran"), s("A3"))),
            ("HEAD", "repos/1/sysreqs", PublicRoute::Sysreqs(s("1"))),
        ] {
            assert_eq!(parsed(method, path), Ok(expected), "{method} {path}");
        }
    }

    #[test]
    fn other_methods_get_the_list_of_allowed_ones() {
        for (method, path, status, allowed) in [
            ("PUT", "repos", 405, Some("GET, HEAD")),
            ("PUT", "repos/1/sysreqs", 405, Some("GET, HEAD, POST")),
            ("GET", "filter/packages", 405, Some("POST")),
            ("PUT", "repos/cran/filter/packages", 405, Some("POST")),
            ("DELETE", "url", 405, Some("POST")),
            ("POST", "filter", 404, None),
            ("GET", "repos/a/b", 404, None),
            ("GET", "", 404, None),
        ] {
            let expected = Err((status, allowed.map(Box::from)));
            assert_eq!(parsed(method, path), expected, "{method} {path}");
        }
    }

    fn parsed(method: &str, path: &str) -> Result<PublicRoute, (u16, Option<Box<str>>)> {
        let segments: Vec<&str> = path.split('/').collect();
        let method = method.parse().expect("a method");
        parse(&method, &segments).map_err(|failure| (failure.status.as_u16(), failure.allow))
    }
}
