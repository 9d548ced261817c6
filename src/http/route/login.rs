//! The routes of sign-in. No I/O.

use http::Method;

use crate::http::error::Failure;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginRoute {
    /// `GET /__login__?return=`: redirects to the provider.
    Start,
    /// `GET /__login__/callback`: the browser returns from the provider.
    Callback,
    /// `GET /__logout__`: the form to end the session.
    LogoutPage,
    /// `POST /__logout__`: ends the session.
    Logout,
    /// `GET /__login__/device?user_code=`: the form to permit the sign-in of a device.
    DevicePage,
    /// `POST /__login__/device`: the decision of the user.
    DecideDevice,
    /// `POST /__api__/device`: a device begins a sign-in.
    Device,
    /// `POST /__api__/device_access`: a device polls.
    DeviceAccess,
    /// `POST /__api__/token`: exchanges a token of another issuer, or one that proves the sign-in of a device.
    Token,
}

impl LoginRoute {
    /// Returns true for routes that programs call, whose errors are JSON.
    pub fn is_api(self) -> bool {
        match self {
            LoginRoute::Device | LoginRoute::DeviceAccess | LoginRoute::Token => true,
            LoginRoute::Start
            | LoginRoute::Callback
            | LoginRoute::LogoutPage
            | LoginRoute::Logout
            | LoginRoute::DevicePage
            | LoginRoute::DecideDevice => false,
        }
    }
}

/// Returns the route of a path; `None` if it is not one of sign-in. Fails with 405.
pub(super) fn parse(method: &Method, names: &[&str]) -> Result<Option<LoginRoute>, Failure> {
    let (read, write) = match names {
        ["__login__"] => (Some(LoginRoute::Start), None),
        ["__login__", "callback"] => (Some(LoginRoute::Callback), None),
        ["__login__", "device"] => (Some(LoginRoute::DevicePage), Some(LoginRoute::DecideDevice)),
        ["__logout__"] => (Some(LoginRoute::LogoutPage), Some(LoginRoute::Logout)),
        ["__api__", "device"] => (None, Some(LoginRoute::Device)),
        ["__api__", "device_access"] => (None, Some(LoginRoute::DeviceAccess)),
        ["__api__", "token"] => (None, Some(LoginRoute::Token)),
        _ => return Ok(None),
    };
    // No HEAD: it would begin or end a sign-in without a page.
    let route = match *method {
        Method::GET => read,
        Method::POST => write,
        _ => None,
    };
    let allow = match (read, write) {
        (Some(_), Some(_)) => "GET, POST",
        (Some(_), None) => "GET",
        (None, _) => "POST",
    };
    route.map(Some).ok_or_else(|| Failure::method_not_allowed(allow))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_route_has_its_method() {
        let route = |method: Method, names: &[&str]| {
            parse(&method, names).map_err(|failure| (failure.status.as_u16(), failure.allow))
        };
        assert_eq!(route(Method::POST, &["__logout__"]), Ok(Some(LoginRoute::Logout)));
        assert_eq!(route(Method::GET, &["__logout__"]), Ok(Some(LoginRoute::LogoutPage)));
        assert_eq!(route(Method::DELETE, &["__logout__"]), Err((405, Some("GET, POST".into()))));
        assert_eq!(route(Method::HEAD, &["__login__"]), Err((405, Some("GET".into()))));
        assert_eq!(route(Method::PUT, &["__login__", "device"]), Err((405, Some("GET, POST".into()))));
        assert_eq!(route(Method::POST, &["__api__", "token"]), Ok(Some(LoginRoute::Token)));
        assert_eq!(route(Method::GET, &["__login__", "other"]), Ok(None));
        assert_eq!(route(Method::GET, &["cran"]), Ok(None));
    }
}
