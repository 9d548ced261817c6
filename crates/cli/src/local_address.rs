//! Decides whether `--address` names the server of this machine, which `rspm` reaches over its socket.

use std::net::IpAddr;

use url::{Host, Url};

use base::config::{Config, Listen};

/// Returns whether an address refers to the server with this configuration: it is `Server.Address`, or a name of
/// this machine with the port of a listener.
pub(super) fn is_local(address: &str, config: &Config, host_name: &str) -> bool {
    let full_address = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let Ok(url) = Url::parse(&full_address) else { return false };
    if !matches!(url.scheme(), "http" | "https") {
        return false;
    }
    let is_same =
        |text: &str| Url::parse(text).is_ok_and(|other_url| without_slash(&other_url) == without_slash(&url));
    if config.server.address.as_deref().is_some_and(is_same) {
        return true;
    }
    let listeners = [&config.http.listen, &config.https.listen, &config.http_redirect.listen];
    listeners.into_iter().flatten().any(|listen| {
        url.port_or_known_default() == Some(listen.port) && names_this_machine(&url, listen, host_name)
    })
}

fn names_this_machine(url: &Url, listen: &Listen, host_name: &str) -> bool {
    let is_listening_address = |address: IpAddr| listen.host.parse() == Ok(address);
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback() || is_listening_address(address.into()),
        Some(Host::Ipv6(address)) => address.is_loopback() || is_listening_address(address.into()),
        Some(Host::Domain(name)) => {
            let short_name = host_name.split('.').next().unwrap_or_default();
            ["localhost", host_name, short_name, &listen.host]
                .iter()
                .any(|own_name| !own_name.is_empty() && name.eq_ignore_ascii_case(own_name))
        }
        None => false,
    }
}

fn without_slash(url: &Url) -> &str {
    url.as_str().trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::config::parse;

    #[test]
    fn an_address_of_this_machine_needs_the_port_of_a_listener() {
        let gcfg = "[HTTP]\nListen = :4242\n[HTTPS]\nListen = 192.0.2.7:443\nCertificate = /c\nKey = /k\n\
                    [Server]\nAddress = https://packages.example.org/pm\n";
        let config = parse("f", gcfg.as_bytes(), []).expect("valid").config;
        for (address, expected) in [
            ("http://localhost:4242", true),
            ("localhost:4242", true),
            ("http://127.0.0.1:4242/", true),
            ("http://[::1]:4242", true),
            ("http://node1:4242", true),
            ("http://NODE1.example.org:4242", true),
            ("https://192.0.2.7", true),
            ("https://packages.example.org/pm/", true),
            ("https://packages.example.org", false),
            ("http://localhost", false),
            ("http://localhost:4243", false),
            ("http://node2:4242", false),
            ("http://192.0.2.8:4242", false),
            ("ftp://localhost:4242", false),
            ("", false),
        ] {
            assert_eq!(is_local(address, &config, "node1.example.org"), expected, "{address}");
        }
    }
}
