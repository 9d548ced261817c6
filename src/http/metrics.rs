//! The Prometheus service: `/metrics`, and `/-/live` for liveness probes, in every mode of the server.

use http::{Method, Request, Response};

use crate::http::error::Failure;
use crate::http::host_header;
use crate::http::net::body::Body;
use crate::http::net::listener::HttpServer;
use crate::http::net::request_body::Incoming;
use crate::http::net::{Peer, Service};
use crate::http::response::{self, ErrorFormat};
use crate::http::switch::Switch;
use base::metrics;

#[derive(Clone)]
pub struct MetricsService {
    pub server: HttpServer,
    pub switch: Switch,
}

impl MetricsService {
    async fn metrics_response(&self, request: &Request<Incoming>) -> Response<Body> {
        match (request.uri().path(), request.method()) {
            ("/metrics", &Method::GET | &Method::HEAD) => {
                let drain = self.server.drain();
                metrics::set_requests_in_progress(drain.connections(), drain.requests());
                let context = self.switch.context();
                metrics::set_certificate_end(context.tls.end());
                if !context.cluster.is_leader() {
                    metrics::set_unfinished_builds(0);
                }
                if let Some(app) = self.switch.app() {
                    metrics::set_fetches(app.fetches.count());
                    metrics::set_running_jobs(app.state.jobs.running().len());
                    metrics::scrub_bad_objects(app.state.storage.bad_object_count());
                } else {
                    metrics::set_fetches(0);
                    metrics::set_running_jobs(0);
                }
                match tokio::task::spawn_blocking(metrics::text).await {
                    Ok(text) => response::text(metrics::MEDIA_TYPE, text),
                    Err(error) => {
                        tracing::error!("could not gather the metrics: {error}");
                        let failure = Failure::unavailable("the metrics could not be gathered", 5);
                        response::failure(&failure, ErrorFormat::Text)
                    }
                }
            }
            ("/-/live", &Method::GET | &Method::HEAD) => {
                response::text("text/plain; charset=utf-8", b"alive\n".to_vec())
            }
            ("/metrics" | "/-/live", _) => {
                response::failure(&Failure::method_not_allowed("GET, HEAD"), ErrorFormat::Text)
            }
            _ => response::failure(&Failure::not_found("the metrics are at /metrics"), ErrorFormat::Text),
        }
    }
}

impl Service for MetricsService {
    async fn handle(&self, _peer: Peer, mut request: Request<Incoming>) -> Response<Body> {
        let mut response = match host_header::normalize_host(&mut request) {
            Ok(()) => self.metrics_response(&request).await,
            Err(failure) => response::failure(&failure, ErrorFormat::Text),
        };
        self.switch.context().site.load().apply(false, &mut response);
        response
    }
}
