//! What strangers send: hostile addresses, malformed requests, connections that only cost.

mod requests;
mod slow;
mod urls;
