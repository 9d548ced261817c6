//! Settings for all requests and responses: common headers, path prefix, trusted proxies, the address of a client.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;

use http::Response;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::http::net::body::Body;
use crate::http::net::{Client, Peer, client_network};
use base::config::Config;

/// An element of `X-Forwarded-For`; some proxies add the port.
fn forwarded_address(text: &str) -> Option<IpAddr> {
    let address = text.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    address.ok().or_else(bracketed).map(|address| address.to_canonical())
}

/// Clients recognize a package manager by it.
const X_REPOSITORY_TYPE: HeaderName = HeaderName::from_static("x-repository-type");
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
/// The value of `Strict-Transport-Security`: 30 days.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=2592000");

#[derive(Clone, Debug)]
pub struct SiteSettings {
    server: HeaderValue,
    sends_nosniff: bool,
    sends_hsts: bool,
    /// `Server.Address` without a trailing slash.
    pub address: Option<String>,
    /// The path of `Server.Address`: empty or `/prefix`.
    prefix: String,
    /// `Server.TrustedProxy`.
    proxies: Vec<IpNet>,
    /// `Server.ConnectionsPerAddress`.
    connections_per_address: Option<usize>,
}

impl SiteSettings {
    pub fn new(config: &Config) -> SiteSettings {
        let address = config.server.address.clone();
        let prefix = address.as_deref().map(url_path).unwrap_or_default();
        SiteSettings {
            server: HeaderValue::from_static(concat!("rstudio-pm/", env!("CARGO_PKG_VERSION"))),
            sends_nosniff: !config.server.content_type_sniffing,
            sends_hsts: config.https.permanent,
            address,
            prefix,
            proxies: config.server.trusted_proxies.clone(),
            connections_per_address: config.server.connections_per_address,
        }
    }

    /// Returns whether the peer is a trusted proxy, whose `X-Forwarded-*` and `X-RSPM-Request` headers are used.
    pub fn is_trusted_proxy(&self, peer: Peer) -> bool {
        match peer {
            Peer::Tcp { address, .. } => self.is_proxy(address.ip()),
            Peer::Unix { .. } => false,
        }
    }

    /// Returns whether many clients may share an address: that of a trusted proxy, or a loopback address.
    fn is_shared(&self, address: IpAddr) -> bool {
        address.to_canonical().is_loopback() || self.is_proxy(address)
    }

    fn is_proxy(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.proxies.iter().any(|network| network.contains(&address))
    }

    /// Returns the client that limits count. All clients of a proxy, or of a tunnel to a loopback address, are one.
    pub fn client(&self, peer: Peer) -> Client {
        match peer {
            Peer::Unix { .. } => Client::Admin,
            Peer::Tcp { address, .. } => {
                let address = address.ip();
                if self.is_shared(address) { Client::Shared } else { Client::Address(address) }
            }
        }
    }

    /// Returns the address of the client; `None` on the admin socket. Behind trusted proxies, the last
    /// address of `X-Forwarded-For` that is no proxy: a client can forge earlier ones.
    pub fn client_address(&self, peer: Peer, headers: &HeaderMap) -> Option<IpAddr> {
        let Peer::Tcp { address, .. } = peer else { return None };
        let mut client = address.ip().to_canonical();
        let fields = headers.get_all("x-forwarded-for").iter().rev();
        // SECURITY: bytes are split, because a client may put non-ASCII bytes before the address that a proxy appends.
        let mut hops = fields.flat_map(|field| field.as_bytes().rsplit(|byte| *byte == b','));
        while self.is_proxy(client) {
            let hop = hops.next().and_then(|hop| std::str::from_utf8(hop).ok());
            let Some(hop) = hop.and_then(|hop| forwarded_address(hop.trim())) else { break };
            client = hop;
        }
        Some(client)
    }

    /// Returns the network to which limits of credentials and sign-ins apply; `None` if clients may share its address.
    pub fn client_network(&self, peer: Peer, headers: &HeaderMap) -> Option<IpAddr> {
        let address = self.client_address(peer, headers)?;
        (!self.is_shared(address)).then(|| client_network(address))
    }

    pub fn connection_limit(&self, client: Client) -> Option<usize> {
        self.connections_per_address.filter(|_| matches!(client, Client::Address(_)))
    }

    /// Returns the raw path without the prefix of `Server.Address`, which proxies may have removed already.
    pub fn strip_prefix<'a>(&self, path: &'a str) -> &'a str {
        match path.strip_prefix(self.prefix.as_str()) {
            Some("") if !self.prefix.is_empty() => "/",
            Some(rest) if rest.starts_with('/') => rest,
            Some(_) | None => path,
        }
    }

    pub fn apply(&self, tls: bool, response: &mut Response<Body>) {
        let headers = response.headers_mut();
        headers.insert(header::SERVER, self.server.clone());
        headers.insert(X_REPOSITORY_TYPE, HeaderValue::from_static("RSPM"));
        headers.insert(REQUEST_ID, request_id());
        headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        if self.sends_nosniff {
            headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        }
        // RFC 6797, 7.2: never over plain HTTP.
        if self.sends_hsts && tls {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, HSTS);
        }
    }
}

fn url_path(address: &str) -> String {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.find('/').map(|at| rest[at..].trim_end_matches('/').to_owned()).unwrap_or_default()
}

/// Returns a version 4 UUID that identifies a request in logs: a counter, mixed with a random number. Not a secret.
fn request_id() -> HeaderValue {
    static PROCESS: OnceLock<u64> = OnceLock::new();
    thread_local!(static NEXT: Cell<u64> = Cell::new(rand::random()));
    let count = NEXT.with(|next| next.replace(next.get().wrapping_add(0x9e37_79b9_7f4a_7c15)));
    let mix = |mut z: u64| {
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let process = *PROCESS.get_or_init(rand::random);
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&mix(count).to_be_bytes());
    bytes[8..].copy_from_slice(&mix(count ^ process).to_be_bytes());
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = [b'-'; 36];
    for (i, at) in [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34].into_iter().enumerate() {
        text[at] = b"0123456789abcdef"[usize::from(bytes[i] >> 4)];
        text[at + 1] = b"0123456789abcdef"[usize::from(bytes[i] & 15)];
    }
    HeaderValue::from_bytes(&text).expect("hexadecimal digits and hyphens")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_uuids_and_differ() {
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| request_id()).collect();
        assert_eq!(ids.len(), 1000);
        let text = request_id();
        let text = text.to_str().expect("text");
        let shape: String = text.chars().map(|c| if c == '-' { '-' } else { 'x' }).collect();
        assert_eq!(shape, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx");
        assert_eq!(&text[14..15], "4");
        assert!("89ab".contains(&text[19..20]));
        assert!(text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit()));
    }

    #[test]
    fn clients_behind_proxies_and_loopback_addresses_share_their_limits() {
        let site = SiteSettings {
            server: HeaderValue::from_static("x"),
            sends_nosniff: true,
            sends_hsts: false,
            address: None,
            prefix: String::new(),
            proxies: vec!["198.51.100.0/24".parse().unwrap()],
            connections_per_address: Some(7),
        };
        let peer = |ip: &str| Peer::Tcp { address: (ip.parse::<IpAddr>().unwrap(), 1).into(), tls: true };
        for ip in ["127.0.0.9", "::1", "::ffff:127.0.0.1", "198.51.100.3", "::ffff:198.51.100.3"] {
            assert_eq!(site.client(peer(ip)), Client::Shared, "{ip}");
        }
        let client = site.client(peer("203.0.113.5"));
        assert_eq!(client, Client::Address("203.0.113.5".parse().unwrap()));
        assert_eq!((site.connection_limit(client), site.connection_limit(Client::Shared)), (Some(7), None));
        assert_eq!(site.client(Peer::Unix { uid: 0, gid: 0, pid: None }), Client::Admin);
    }

    #[test]
    fn the_client_of_a_proxy_is_the_last_address_whatever_the_client_sends_before_it() {
        let site = SiteSettings {
            server: HeaderValue::from_static("x"),
            sends_nosniff: true,
            sends_hsts: false,
            address: None,
            prefix: String::new(),
            proxies: vec!["198.51.100.0/24".parse().unwrap()],
            connections_per_address: None,
        };
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let client = |peer: &str, fields: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append("x-forwarded-for", HeaderValue::from_bytes(field).unwrap());
            }
            site.client_address(Peer::Tcp { address: (ip(peer), 1).into(), tls: true }, &headers)
        };
        let (proxy, real) = ("198.51.100.3", Some(ip("203.0.113.5")));
        assert_eq!(client(proxy, &[b"192.0.2.1, 203.0.113.5, 198.51.100.4"]), real);
        assert_eq!(client(proxy, &[b"\xff, 203.0.113.5"]), real, "bytes that are not UTF-8");
        assert_eq!(client(proxy, &[b"192.0.2.1", b"\xc3\xa9, 203.0.113.5"]), real);
        assert_eq!(
            client(proxy, &[b"192.0.2.1", b"\xff"]),
            Some(ip(proxy)),
            "not the one that the client chose"
        );
        assert_eq!(client("203.0.113.5", &[b"192.0.2.1"]), real, "no proxy");
        assert_eq!(client(proxy, &[]), Some(ip(proxy)));
    }

    #[test]
    fn the_prefix_of_the_address_is_removed_once() {
        assert_eq!(url_path("https://h.example/rspm"), "/rspm");
        assert_eq!(url_path("https://h.example/"), "");
        assert_eq!(url_path("https://h.example"), "");
        let site = SiteSettings {
            server: HeaderValue::from_static("x"),
            sends_nosniff: true,
            sends_hsts: false,
            address: None,
            prefix: "/rspm".to_owned(),
            proxies: Vec::new(),
            connections_per_address: None,
        };
        assert_eq!(site.strip_prefix("/rspm/cran/latest"), "/cran/latest");
        assert_eq!(site.strip_prefix("/rspm"), "/");
        assert_eq!(site.strip_prefix("/rspmx/latest"), "/rspmx/latest");
        assert_eq!(site.strip_prefix("/cran/latest"), "/cran/latest");
    }
}
