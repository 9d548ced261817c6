//! Addresses of this machine, to which secrets may be sent without encryption.

use std::net::IpAddr;

use url::{Host, Url};

/// Returns whether the host of a URL is this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Returns whether a name or an address, an IPv6 address without brackets, is this machine.
pub fn is_loopback_host(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Returns whether an address is that of a secure origin: its scheme is `https`, or its host is this machine.
pub fn is_https_or_loopback(address: &str) -> bool {
    Url::parse(address).is_ok_and(|url| url.scheme() == "https" || is_loopback(&url))
}
