//! Bodies that are too large.

use std::io::{Read, Write};

use crate::support::http;
use crate::support::server::Server;

#[test]
fn bodies_have_a_limit_before_they_are_read() {
    let server = Server::start();
    // On the public listener a body is not read, whatever its declared size.
    let mut stream = http::connect(server.host());
    let head = b"GET /__ping__ HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000000\r\n\r\n";
    stream.write_all(head).expect("sent");
    assert_eq!(http::read(&mut stream, "GET").status, 200);
    let mut rest = Vec::new();
    let result = stream.read_to_end(&mut rest);
    assert!(result.is_err() || rest.is_empty(), "the connection ends instead of waiting for the body");
    // On the admin socket JSON of more than a megabyte is refused without being read.
    let mut stream = std::os::unix::net::UnixStream::connect(server.admin_socket()).expect("connected");
    let head = "POST /__api__/admin/v1/repos HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000000\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("sent");
    assert_eq!(http::read(&mut stream, "POST").status, 413);
}
