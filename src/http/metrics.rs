//! The Prometheus service: `/metrics`, in every mode of the server.

use http::{Method, Request, Response};

use super::authority;
use super::body::Body;
use super::error::Failure;
use super::incoming::Incoming;
use super::listener::{Answer, House, Peer};
use super::response::{self, Tongue};
use super::switch::Switch;
use crate::metrics;

/// Serves the metrics of the process. Clones share it.
#[derive(Clone)]
pub struct MetricsDoor {
    /// The server whose connections and requests are exported.
    pub house: House,
    /// The switch whose app's fetches are exported.
    pub switch: Switch,
}

impl MetricsDoor {
    async fn gathered(&self, request: &Request<Incoming>) -> Response<Body> {
        match (request.uri().path(), request.method()) {
            ("/metrics", &Method::GET | &Method::HEAD) => {
                let drain = self.house.drain();
                metrics::inside(drain.connections(), drain.requests());
                metrics::flights(self.switch.app().map_or(0, |app| app.repo.fetching()));
                match tokio::task::spawn_blocking(metrics::text).await {
                    Ok(text) => response::text(metrics::MEDIA_TYPE, text),
                    Err(error) => {
                        tracing::error!("could not gather the metrics: {error}");
                        let failure = Failure::unavailable("the metrics could not be gathered", 5);
                        response::failure(&failure, Tongue::Text)
                    }
                }
            }
            ("/metrics", _) => response::failure(&Failure::method("GET, HEAD"), Tongue::Text),
            _ => response::failure(&Failure::not_found("the metrics are at /metrics"), Tongue::Text),
        }
    }
}

impl Answer for MetricsDoor {
    async fn answer(&self, _peer: Peer, mut request: Request<Incoming>) -> Response<Body> {
        let mut response = match authority::settle(&mut request) {
            Ok(()) => self.gathered(&request).await,
            Err(failure) => response::failure(&failure, Tongue::Text),
        };
        self.switch.porch().site.load().dress(false, &mut response);
        response
    }
}
