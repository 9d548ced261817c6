//! The servers that a PostgreSQL URL names, each with its own configuration of the driver. Pure.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// Host name, address or socket directory, and port.
pub(in crate::db) type Server = (String, u16);

/// Encodes a host for a parameter of a URL.
pub(in crate::db) fn encode(host: &str) -> String {
    utf8_percent_encode(host, NON_ALPHANUMERIC).to_string()
}

/// Returns a URL without its hosts, which are between the first `@` and the path, as the driver parses it.
pub(in crate::db) fn remove_hosts(base: &str) -> String {
    let (scheme, rest) = base.split_once("://").unwrap_or(("", base));
    let (credentials, rest) = rest.split_once('@').unwrap_or(("", rest));
    let path = rest.find('/').map_or("", |start| &rest[start..]);
    format!("{scheme}://{credentials}@{path}")
}

/// Returns the servers that `all` names, and for each of them a copy of `common` that names only this server. `common`
/// names none. The error is the problem, as a clause about the URL.
pub(in crate::db) fn split(all: &Config, common: &Config) -> Result<(Vec<Server>, Vec<Config>), String> {
    let (hosts, ports, addresses) = (all.get_hosts(), all.get_ports(), all.get_hostaddrs());
    if hosts.is_empty() {
        return Err("names no host".to_owned());
    }
    if (ports.len() > 1 && ports.len() != hosts.len())
        || (!addresses.is_empty() && addresses.len() != hosts.len())
    {
        return Err(format!(
            "names {} hosts, {} ports and {} addresses; give one port for all hosts or one for each, and one address for each",
            hosts.len(),
            ports.len(),
            addresses.len()
        ));
    }
    let is_socket = |host: &Host| matches!(host, Host::Unix(_));
    if hosts.iter().any(is_socket) && !hosts.iter().all(is_socket) {
        return Err("names sockets and hosts; name either sockets or hosts".to_owned());
    }
    let (mut servers, mut configs) = (Vec::with_capacity(hosts.len()), Vec::with_capacity(hosts.len()));
    for (index, host) in hosts.iter().enumerate() {
        let mut config = common.clone();
        let name = match host {
            Host::Tcp(name) => {
                // SECURITY: a password with an unescaped '@' or ':' ends up in the host, so the host is not printed.
                let is_invalid = name.is_empty() || name.contains(['@', ':', '/', '#']);
                if is_invalid && name.parse::<std::net::Ipv6Addr>().is_err() {
                    return Err(
                        "names no valid host; URL-encode special characters of the user and the password"
                            .to_owned(),
                    );
                }
                config.host(name);
                name.clone()
            }
            Host::Unix(path) => {
                config.host_path(path);
                path.display().to_string()
            }
        };
        let port = ports.get(index).or_else(|| ports.first()).copied().unwrap_or(5432);
        config.port(port);
        if let Some(address) = addresses.get(index) {
            config.hostaddr(*address);
        }
        servers.push((name, port));
        configs.push(config);
    }
    Ok((servers, configs))
}
