//! Puts doors on the listening sockets.

use std::net::TcpListener;
use std::sync::Arc;

use super::sockets::Sockets;
use crate::http::redirect::Redirect;
use crate::http::tls::Tls;
use crate::http::{AdminDoor, House, MetricsDoor, PublicDoor, Switch};

/// Begins to accept on every socket. Returns the URLs.
pub(super) fn open(
    house: &House,
    switch: &Switch,
    sockets: Sockets,
    tls: &Tls,
    https_port: u16,
) -> Vec<String> {
    let mut urls = Vec::new();
    for socket in sockets.http {
        let listener = adopt(socket, "http", &mut urls);
        tokio::spawn(house.clone().serve_tcp(listener, None, PublicDoor(switch.clone())));
    }
    for socket in sockets.https {
        let listener = adopt(socket, "https", &mut urls);
        tokio::spawn(house.clone().serve_tcp(listener, Some(tls.clone()), PublicDoor(switch.clone())));
    }
    for socket in sockets.redirect {
        let listener = adopt(socket, "http", &mut urls);
        let redirect = Redirect::new(Arc::clone(&switch.porch().site), https_port);
        tokio::spawn(house.clone().serve_tcp(listener, None, redirect));
    }
    for socket in sockets.metrics {
        if let Ok(address) = socket.local_addr() {
            tracing::info!("Metrics are served on http://{address}/metrics");
        }
        let listener = tokio_listener(socket);
        let door = MetricsDoor { house: house.clone(), switch: switch.clone() };
        tokio::spawn(house.clone().serve_tcp(listener, None, door));
    }
    let admin = tokio::net::UnixListener::from_std(sockets.admin).expect("a non-blocking listening socket");
    tokio::spawn(house.clone().serve_unix(admin, AdminDoor(switch.clone())));
    urls
}

fn adopt(socket: TcpListener, scheme: &str, urls: &mut Vec<String>) -> tokio::net::TcpListener {
    if let Ok(address) = socket.local_addr() {
        let url = format!("{scheme}://{address}");
        tracing::info!("Listening on {url}");
        urls.push(url);
    }
    tokio_listener(socket)
}

fn tokio_listener(socket: TcpListener) -> tokio::net::TcpListener {
    tokio::net::TcpListener::from_std(socket).expect("a non-blocking listening socket")
}
