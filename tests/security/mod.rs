//! What strangers send: hostile addresses, malformed requests, connections that only cost.

mod http2;
mod requests;
mod slow;
mod urls;
