//! Descriptors of the wrong kind, passed as listening sockets: each is reported and ignored, and the configured
//! addresses serve.

use crate::support::server::Builder;

/// Starts the server with descriptor 3 opened by `redirection` and passed as the socket `name`; returns the log line
/// about this socket.
fn log_line_for(redirection: &str, name: &str) -> String {
    let script = format!("exec 3{redirection}; LISTEN_PID=$$ exec \"$0\" \"$@\"");
    let server = Builder::default()
        .wrapper(&["bash", "-c", &script])
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDNAMES", name)
        .start();
    assert_eq!(server.get("/__ping__").status, 200);
    assert_eq!(server.admin("GET", "/repos", &serde_json::Value::Null).status, 200);
    let lines: Vec<String> =
        server.log_lines().into_iter().filter(|line| line.contains("the inherited socket 0")).collect();
    assert_eq!(lines.len(), 1, "{:#?}", server.log_lines());
    assert!(
        lines[0].contains("WARN") && lines[0].contains("could not use the inherited socket"),
        "{lines:?}"
    );
    lines.into_iter().next().expect("one line")
}

#[test]
fn a_file_is_not_a_socket() {
    let line = log_line_for("</dev/null", "http");
    assert!(line.contains("named 'http'") && line.contains("is not a socket"), "{line}");
}

#[test]
fn a_datagram_socket_is_not_a_listener() {
    for name in ["http", "https", "redirect", "admin"] {
        let line = log_line_for("<>/dev/udp/127.0.0.1/9", name);
        assert!(line.contains(&format!("named '{name}'")), "{line}");
    }
}

#[test]
fn a_connection_is_not_a_listener() {
    let peer = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = peer.local_addr().expect("bound").port();
    for name in ["http", "https", "redirect"] {
        let line = log_line_for(&format!("<>/dev/tcp/127.0.0.1/{port}"), name);
        assert!(line.contains("it does not listen: the unit must set Accept=no"), "{line}");
    }
}

#[test]
fn a_network_socket_is_not_an_admin_socket() {
    let peer = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = peer.local_addr().expect("bound").port();
    let line = log_line_for(&format!("<>/dev/tcp/127.0.0.1/{port}"), "admin");
    assert!(line.contains("named 'admin'"), "{line}");
}
