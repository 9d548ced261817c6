//! Binds TCP addresses; errors state the reason and how to fix it.

use std::io::{Error, ErrorKind};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::PathBuf;

use nix::sys::socket::{Backlog, listen};

use base::config::Listen;

/// Backlog of a listening socket; the standard library uses 128, too few for a restart under load.
const BACKLOG: i32 = 4096;

#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error("Could not initialize the {section} listener: listen tcp {address}: bind: {reason}{remedy}")]
    Tcp {
        /// `HTTP`, `HTTPS`, `HTTPRedirect`, `Metrics`.
        section: &'static str,
        address: String,
        reason: String,
        /// The remedy: a sentence on a separate line, or empty.
        remedy: String,
        kind: ErrorKind,
    },
    #[error("Could not initialize the administration socket {}: {reason}", path.display())]
    Admin { path: PathBuf, reason: String },
    #[error("could not make the {name} socket non-blocking: {source}")]
    NonBlocking { name: &'static str, source: Error },
}

/// Formats an address as in the gcfg: `:4242`, `host:port`, `[::1]:443`.
pub fn display_address(listen: &Listen) -> String {
    let (host, port) = (&listen.host, listen.port);
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Binds a TCP address. An empty host means all addresses, IPv6 and IPv4.
pub fn bind(section: &'static str, listen_address: &Listen) -> Result<TcpListener, SocketError> {
    let socket_error = |error: &Error| {
        // Without the privilege to bind, the kernel does not report whether the port is free.
        let address_in_use = Error::from(ErrorKind::AddrInUse);
        let is_hidden_conflict =
            error.kind() == ErrorKind::PermissionDenied && has_listener(listen_address.port);
        let error = if is_hidden_conflict { &address_in_use } else { error };
        SocketError::Tcp {
            section,
            address: display_address(listen_address),
            reason: reason(error),
            remedy: remedy(error, listen_address.port),
            kind: error.kind(),
        }
    };
    let addresses: Vec<SocketAddr> = if listen_address.host.is_empty() {
        // A socket on :: accepts IPv4, too; machines without IPv6 need the second address.
        vec![
            (std::net::Ipv6Addr::UNSPECIFIED, listen_address.port).into(),
            ([0, 0, 0, 0], listen_address.port).into(),
        ]
    } else {
        let result = (listen_address.host.as_str(), listen_address.port).to_socket_addrs();
        result.map_err(|e| socket_error(&e))?.collect()
    };
    let mut result = Err(Error::new(ErrorKind::AddrNotAvailable, "the host has no address"));
    for address in addresses {
        result = TcpListener::bind(address);
        match &result {
            Err(error) if listen_address.host.is_empty() && lacks_ipv6(error) => {}
            Ok(_) | Err(_) => break,
        }
    }
    let socket = result.map_err(|e| socket_error(&e))?;
    // The second listen(2) only changes the backlog.
    if let Ok(backlog) = Backlog::new(BACKLOG) {
        let _ = listen(&socket, backlog);
    }
    Ok(socket)
}

/// Returns whether a process of this network namespace listens on a TCP port, by `/proc/self/net/tcp` (proc(5)).
fn has_listener(port: u16) -> bool {
    let listens = |line: &str| {
        let mut columns = line.split_ascii_whitespace().skip(1);
        let local = columns.next().and_then(|address| address.rsplit_once(':'));
        let state = columns.nth(1);
        state == Some("0A") && local.is_some_and(|(_, hex)| u16::from_str_radix(hex, 16) == Ok(port))
    };
    ["/proc/self/net/tcp", "/proc/self/net/tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .any(|table| table.lines().skip(1).any(listens))
}

fn lacks_ipv6(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::AddrNotAvailable | ErrorKind::Unsupported)
        || error.raw_os_error() == Some(nix::errno::Errno::EAFNOSUPPORT as i32)
}

/// Returns the text of a system error without its number.
fn reason(error: &Error) -> String {
    match error.kind() {
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        ErrorKind::AddrInUse => "address already in use".to_owned(),
        ErrorKind::AddrNotAvailable => "cannot assign requested address".to_owned(),
        _ => error.to_string(),
    }
}

fn remedy(error: &Error, port: u16) -> String {
    match error.kind() {
        ErrorKind::PermissionDenied => format!(
            "\nPorts below 1024 need a privilege. Either start rstudio-pm through systemd, which opens port {port} \
             for it; or run: setcap 'cap_net_bind_service=+ep' /opt/rstudio-pm/bin/rstudio-pm (again after each \
             upgrade); or choose a port from 1024 up."
        ),
        ErrorKind::AddrInUse => format!(
            "\nAnother program listens on port {port}: 'ss -ltnp sport = :{port}' shows which. Stop it, or choose \
             another port."
        ),
        ErrorKind::AddrNotAvailable => "\nNo network interface of this machine has that address.".to_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_reported_with_the_listener_and_a_remedy() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let error = bind("HTTP", &Listen { host: "127.0.0.1".to_owned(), port }).expect_err("taken");
        let text = error.to_string();
        let start = format!(
            "Could not initialize the HTTP listener: listen tcp 127.0.0.1:{port}: bind: address already in use\n"
        );
        assert!(text.starts_with(&start), "{text}");
        assert!(text.contains("ss -ltnp"), "{text}");
    }

    #[test]
    fn a_listener_is_found_in_the_tables_of_the_kernel() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let port = listener.local_addr().expect("bound").port();
            assert!(has_listener(port), "{address}");
        }
        assert!(!has_listener(0));
    }

    #[test]
    fn a_privileged_port_gets_the_documented_text_and_three_remedies() {
        let error = Error::from(ErrorKind::PermissionDenied);
        let text = SocketError::Tcp {
            section: "HTTP",
            address: display_address(&Listen { host: String::new(), port: 80 }),
            reason: reason(&error),
            remedy: remedy(&error, 80),
            kind: error.kind(),
        }
        .to_string();
        let documented = "Could not initialize the HTTP listener: listen tcp :80: bind: permission denied\n";
        assert!(text.starts_with(documented), "{text}");
        assert!(text.contains("systemd") && text.contains("setcap") && text.contains("1024 up"), "{text}");
    }
}
