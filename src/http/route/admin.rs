//! The routes of the admin API, `/__api__/admin/v1/…`; `docs/api/admin.json` (OpenAPI) describes them.

use http::{Method, StatusCode};

use super::access::{Access, AccessTarget};
use super::table::{self, routes};
use crate::http::error::Failure;
use api::{control_operations, data_operations};
use base::access::Action;

/// The route of a request to the admin API, or its failure, which is disclosed only to clients with a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminRoute {
    /// A route that controls the server process, served in every mode.
    Control(Result<ControlRoute, Failure>),
    /// Any other route, served only while the server is online.
    Data(Result<DataRoute, Failure>),
}

control_operations! {
    routes
    /// Routes that control the server process.
    enum ControlRoute
}

data_operations! {
    routes
    /// All other routes: sources, repositories, jobs, storage and more.
    enum DataRoute
}

impl AdminRoute {
    /// Returns the action and the object of the route.
    pub fn access(&self) -> Access<'_> {
        match self {
            AdminRoute::Control(Ok(route)) => route.access(),
            AdminRoute::Data(Ok(route)) => route.access(),
            AdminRoute::Control(Err(_)) | AdminRoute::Data(Err(_)) => {
                Access { action: Action::Inspect, target: AccessTarget::Server }
            }
        }
    }
}

/// Parses the decoded segments after `/__api__/admin/v1/`.
pub(super) fn parse(method: &Method, segments: &[&str]) -> AdminRoute {
    let segments = segments.strip_suffix(&[""]).unwrap_or(segments);
    match table::route(method, |method| ControlRoute::find(method, segments), unknown) {
        Err(failure) if failure.status == StatusCode::NOT_FOUND => {
            AdminRoute::Data(table::route(method, |method| DataRoute::find(method, segments), unknown))
        }
        control => AdminRoute::Control(control),
    }
}

fn unknown() -> Failure {
    Failure::not_found("the admin API has nothing at this address; rspm and server may differ in version")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_leads_to_its_own_operation() {
        let rows = [ControlRoute::ROWS, DataRoute::ROWS].concat();
        for (name, method, path) in &rows {
            let path = path.trim_start_matches('/').replace(['{', '}'], "");
            for path in [path.clone(), format!("{path}/")] {
                let route = match parsed(method, &path) {
                    AdminRoute::Control(route) => format!("{:?}", route.expect("a route")),
                    AdminRoute::Data(route) => format!("{:?}", route.expect("a route")),
                };
                assert_eq!(route.split('(').next(), Some(*name), "{method} {path}");
            }
        }
        let route = parsed("DELETE", "repos/x/sources/y");
        assert_eq!(route, AdminRoute::Data(Ok(DataRoute::Unsubscribe("x".to_owned(), "y".to_owned()))));
    }

    #[test]
    fn other_methods_get_the_list_of_allowed_ones() {
        for (path, allowed) in [
            ("status", "GET"),
            ("online", "POST"),
            ("log/level", "PUT"),
            ("sources", "GET, POST"),
            ("sources/x", "GET, PATCH, DELETE"),
            ("sources/x/packages", "GET, POST"),
            ("sources/x/binaries/remove", "POST"),
            ("repos/x/sources", "POST, PUT"),
            ("repos/x/sources/y", "DELETE"),
            ("backfill/x", "DELETE"),
            ("jobs/x", "GET"),
        ] {
            for method in ["HEAD", "TRACE"] {
                let (AdminRoute::Control(Err(failure)) | AdminRoute::Data(Err(failure))) =
                    parsed(method, path)
                else {
                    panic!("{method} {path} has a route");
                };
                assert_eq!(failure.allow.as_deref(), Some(allowed), "{method} {path}");
            }
        }
        for path in ["", "nothing", "sources/x/y", "repos/x/explain/y", "log"] {
            let AdminRoute::Data(Err(failure)) = parsed("GET", path) else { panic!("{path} has a route") };
            assert_eq!((failure.status, failure.allow), (StatusCode::NOT_FOUND, None), "{path}");
        }
    }

    fn parsed(method: &str, path: &str) -> AdminRoute {
        let segments: Vec<&str> = path.split('/').collect();
        parse(&method.parse().expect("a method"), &segments)
    }
}
