//! Connects each listening socket to the service that handles its requests.

use std::net::TcpListener;
use std::sync::Arc;

use super::sockets::{ListenerKind, Sockets};
use crate::http::net::tls::Tls;
use crate::http::redirect::Redirect;
use crate::http::{AdminService, HttpServer, MetricsService, PublicService, Switch};

#[derive(Clone)]
pub(super) struct Services {
    /// Connection limits and the state of a shutdown.
    pub(super) server: HttpServer,
    pub(super) switch: Switch,
    pub(super) tls: Tls,
    pub(super) https_port: u16,
}

impl Services {
    pub(super) fn open(&self, sockets: Sockets) {
        let Sockets { http, https, redirect, metrics, admin, .. } = sockets;
        for (kind, listeners) in [
            (ListenerKind::Http, http),
            (ListenerKind::Https, https),
            (ListenerKind::Redirect, redirect),
            (ListenerKind::Metrics, metrics),
        ] {
            listeners.into_iter().for_each(|socket| self.open_tcp(kind, socket));
        }
        let admin = tokio::net::UnixListener::from_std(admin).expect("a non-blocking listening socket");
        tokio::spawn(self.server.clone().serve_unix(admin, AdminService(self.switch.clone())));
    }

    /// Starts accepting connections on a non-blocking socket.
    pub(super) fn open_tcp(&self, kind: ListenerKind, socket: TcpListener) {
        if let Ok(address) = socket.local_addr() {
            match kind {
                ListenerKind::Http | ListenerKind::Redirect => {
                    tracing::info!("Listening on http://{address}")
                }
                ListenerKind::Https => tracing::info!("Listening on https://{address}"),
                ListenerKind::Metrics => tracing::info!("Metrics are served on http://{address}/metrics"),
            }
        }
        let listener = tokio::net::TcpListener::from_std(socket).expect("a non-blocking listening socket");
        let (server, switch) = (self.server.clone(), self.switch.clone());
        match kind {
            ListenerKind::Http => drop(tokio::spawn(server.serve_tcp(listener, None, PublicService(switch)))),
            ListenerKind::Https => {
                let tls = Some(self.tls.clone());
                drop(tokio::spawn(server.serve_tcp(listener, tls, PublicService(switch))));
            }
            ListenerKind::Redirect => {
                let redirect = Redirect::new(Arc::clone(&switch.context().site), self.https_port);
                drop(tokio::spawn(server.serve_tcp(listener, None, redirect)));
            }
            ListenerKind::Metrics => {
                let service = MetricsService { server: server.clone(), switch };
                drop(tokio::spawn(server.serve_tcp(listener, None, service)));
            }
        }
    }
}
