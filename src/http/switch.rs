//! The switch, which refers to the app that serves requests; without an app, requests get 503.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::http::app::App;
use crate::http::error::Failure;
use crate::http::login::permission::Principal;
use crate::http::net::limits::Limits;
use crate::http::net::tls::Tls;
use crate::http::recent_requests::RecentRequests;
use crate::http::site::SiteSettings;
use base::model::time::Clock;
use runtime::cluster::Cluster;
use runtime::control::{Control, Mode};
use store::logs::{AccessLog, OptionalLog, ServiceLog};

/// `Retry-After` in seconds while the server starts; a start takes a short time.
const STARTING_RETRY_AFTER: u64 = 5;
/// `Retry-After` in seconds: until an administrator acts.
const OFFLINE_RETRY_AFTER: u64 = 60;
/// `Retry-After` in seconds: until an administrator acts.
const BROKEN_RETRY_AFTER: u64 = 30;

pub struct ServerContext {
    pub control: Control,
    pub cluster: Cluster,
    pub site: Arc<ArcSwap<SiteSettings>>,
    pub access_log: AccessLog,
    /// The service log, of requests for packages.
    pub service_log: ServiceLog,
    /// `Logging.AuditLog`.
    pub audit_log: OptionalLog,
    pub limits: Limits,
    pub clock: Clock,
    /// The HTTPS certificate in use.
    pub tls: Tls,
    pub recent_requests: Arc<RecentRequests>,
    /// A remark for administrators that is part of every summary, in every mode.
    pub remark: ArcSwapOption<String>,
}

/// A reference to the app that serves requests, which may be absent. Clones share it.
#[derive(Clone)]
pub struct Switch(Arc<SwitchState>);

struct SwitchState {
    app: ArcSwapOption<App>,
    context: ServerContext,
}

impl Switch {
    pub fn new(context: ServerContext) -> Switch {
        Switch(Arc::new(SwitchState { app: ArcSwapOption::empty(), context }))
    }

    pub fn context(&self) -> &ServerContext {
        &self.0.context
    }

    pub fn app(&self) -> Option<Arc<App>> {
        self.0.app.load_full()
    }

    pub fn set_app(&self, app: Arc<App>) {
        self.0.app.store(Some(app));
    }

    /// Answers every request with 503 and the phrase of the mode. Requests in progress hold the returned app.
    pub fn take_app(&self) -> Option<Arc<App>> {
        self.0.app.swap(None)
    }
}

pub(super) fn unavailable(mode: &Mode, principal: &Principal) -> Failure {
    match mode {
        Mode::Offline => {
            let hint = match principal {
                Principal::Anonymous | Principal::Token(_) => "",
                Principal::Administrator => "; to serve again, run: rspm online",
            };
            Failure::unavailable(format!("the server is offline{hint}"), OFFLINE_RETRY_AFTER)
        }
        Mode::Broken(reason) => match principal {
            // SECURITY: paths, hosts and other details of an error are not disclosed on the network.
            Principal::Anonymous | Principal::Token(_) => Failure::unavailable(
                format!("the server cannot serve: {}", reason.phrase),
                BROKEN_RETRY_AFTER,
            ),
            Principal::Administrator => Failure::unavailable(
                format!("the server cannot serve: {}", reason.detail),
                BROKEN_RETRY_AFTER,
            ),
        },
        Mode::Starting(operation) => {
            Failure::unavailable(format!("the server is starting: {operation}"), STARTING_RETRY_AFTER)
        }
        // Reached only while the mode changes.
        Mode::Online | Mode::Draining => {
            Failure::unavailable("the server is changing its mode", STARTING_RETRY_AFTER)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::control::BrokenReason;

    #[test]
    fn clients_get_a_phrase_and_administrators_the_error() {
        let reason = BrokenReason {
            phrase: "the database (Postgres.URL) cannot be used".to_owned(),
            detail: "postgres://db.internal refuses".to_owned(),
            has_listener: true,
        };
        let mode = Mode::Broken(reason);
        let (anonymous, administrator) =
            (unavailable(&mode, &Principal::Anonymous), unavailable(&mode, &Principal::Administrator));
        assert!(anonymous.phrase.contains("Postgres.URL") && !anonymous.phrase.contains("internal"));
        assert!(administrator.phrase.contains("db.internal"));
        for mode in [mode, Mode::Starting("opening the database"), Mode::Offline] {
            let failure = unavailable(&mode, &Principal::Anonymous);
            assert_eq!(failure.status, http::StatusCode::SERVICE_UNAVAILABLE);
            assert!(failure.retry_after.is_some());
        }
    }
}
