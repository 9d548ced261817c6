//! Connects each listening socket to the service that handles its requests.

use std::net::TcpListener;
use std::sync::Arc;

use super::sockets::{Kind, Sockets};
use crate::http::redirect::Redirect;
use crate::http::tls::Tls;
use crate::http::{AdminDoor, House, MetricsDoor, PublicDoor, Switch};

/// The services of all kinds of listeners. Cloning shares them.
#[derive(Clone)]
pub(super) struct Doors {
    /// Connection limits and the state of a shutdown.
    pub(super) house: House,
    /// Handles the requests.
    pub(super) switch: Switch,
    /// Certificate and key of the HTTPS listeners.
    pub(super) tls: Tls,
    /// Target port of redirects.
    pub(super) https_port: u16,
}

impl Doors {
    /// Starts accepting connections on every socket.
    pub(super) fn open(&self, sockets: Sockets) {
        let Sockets { http, https, redirect, metrics, admin, .. } = sockets;
        for (kind, listeners) in
            [(Kind::Http, http), (Kind::Https, https), (Kind::Redirect, redirect), (Kind::Metrics, metrics)]
        {
            listeners.into_iter().for_each(|socket| self.open_tcp(kind, socket));
        }
        let admin = tokio::net::UnixListener::from_std(admin).expect("a non-blocking listening socket");
        tokio::spawn(self.house.clone().serve_unix(admin, AdminDoor(self.switch.clone())));
    }

    /// Starts accepting connections on a non-blocking socket.
    pub(super) fn open_tcp(&self, kind: Kind, socket: TcpListener) {
        if let Ok(address) = socket.local_addr() {
            match kind {
                Kind::Http | Kind::Redirect => tracing::info!("Listening on http://{address}"),
                Kind::Https => tracing::info!("Listening on https://{address}"),
                Kind::Metrics => tracing::info!("Metrics are served on http://{address}/metrics"),
            }
        }
        let listener = tokio::net::TcpListener::from_std(socket).expect("a non-blocking listening socket");
        let (house, switch) = (self.house.clone(), self.switch.clone());
        match kind {
            Kind::Http => drop(tokio::spawn(house.serve_tcp(listener, None, PublicDoor(switch)))),
            Kind::Https => {
                let tls = Some(self.tls.clone());
                drop(tokio::spawn(house.serve_tcp(listener, tls, PublicDoor(switch))));
            }
            Kind::Redirect => {
                let redirect = Redirect::new(Arc::clone(&switch.porch().site), self.https_port);
                drop(tokio::spawn(house.serve_tcp(listener, None, redirect)));
            }
            Kind::Metrics => {
                let door = MetricsDoor { house: house.clone(), switch };
                drop(tokio::spawn(house.serve_tcp(listener, None, door)));
            }
        }
    }
}
