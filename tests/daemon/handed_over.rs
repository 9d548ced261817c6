//! Descriptors of the wrong kind, handed over as if they were listening sockets: each is said and left alone, and the
//! configured addresses serve.

use crate::support::server::Builder;

/// Starts it with what `redirection` makes of descriptor 3, under that name; what it logged about it.
fn handed(redirection: &str, name: &str) -> String {
    let script = format!("exec 3{redirection}; LISTEN_PID=$$ exec \"$0\" \"$@\"");
    let server = Builder::default()
        .through(&["bash", "-c", &script])
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDNAMES", name)
        .start();
    assert_eq!(server.get("/__ping__").status, 200);
    assert_eq!(server.admin("GET", "/repos", &serde_json::Value::Null).status, 200);
    let said: Vec<String> =
        server.log_lines().into_iter().filter(|line| line.contains("the inherited socket 0")).collect();
    assert_eq!(said.len(), 1, "{:#?}", server.log_lines());
    assert!(said[0].contains("WARN") && said[0].contains("cannot be used and is left alone"), "{said:?}");
    said.into_iter().next().expect("one")
}

#[test]
fn a_file_is_no_socket() {
    let said = handed("</dev/null", "http");
    assert!(said.contains("named 'http'") && said.contains("is not a socket"), "{said}");
}

#[test]
fn a_datagram_socket_is_no_listener() {
    for name in ["http", "https", "redirect", "admin"] {
        let said = handed("<>/dev/udp/127.0.0.1/9", name);
        assert!(said.contains(&format!("named '{name}'")), "{said}");
    }
}

#[test]
fn a_connection_is_no_listener() {
    let peer = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = peer.local_addr().expect("bound").port();
    for name in ["http", "https", "redirect"] {
        let said = handed(&format!("<>/dev/tcp/127.0.0.1/{port}"), name);
        assert!(said.contains("it does not listen: the unit must say Accept=no"), "{said}");
    }
}

#[test]
fn a_network_socket_is_not_for_administrators() {
    let peer = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = peer.local_addr().expect("bound").port();
    let said = handed(&format!("<>/dev/tcp/127.0.0.1/{port}"), "admin");
    assert!(said.contains("named 'admin'"), "{said}");
}
