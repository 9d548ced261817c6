//! Hostile clients: addresses, malformed requests, connections that only consume resources.

mod bodies;
mod http2;
mod slow;
mod unread;
