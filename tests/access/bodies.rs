//! Request bodies that a handler does not read.

use std::io::Write;
use std::time::Duration;

use super::matrix::{ADDRESSES, path_of};
use super::{bearer, private_repository, token};
use crate::support::http;
use crate::support::server::Server;

/// Size of a request body in bytes: more than the server and the kernel buffer.
const BODY_SIZE: usize = 8 << 20;
const PIECE: usize = 64 << 10;

/// Sends the head of a request, and its body when the response may have been sent already. Returns the status of the
/// response, if there is one.
fn send_slowly(server: &Server, method: &str, path: &str, authorization: Option<&str>) -> Option<u16> {
    let mut stream = http::connect(server.host());
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", server.host());
    if let Some(authorization) = authorization {
        head.push_str(&format!("Authorization: {authorization}\r\n"));
    }
    head.push_str(&format!("Content-Type: application/json\r\nContent-Length: {BODY_SIZE}\r\n\r\n"));
    stream.write_all(head.as_bytes()).ok()?;
    std::thread::sleep(Duration::from_millis(20));
    let piece = vec![b'{'; PIECE];
    for _ in 0..BODY_SIZE / PIECE {
        // As most clients do, the response is read only after the whole body has been sent.
        stream.write_all(&piece).ok()?;
    }
    http::try_read(&mut stream, method).ok().map(|answer| answer.status)
}

#[test]
fn a_client_that_sends_its_whole_body_first_receives_every_response() {
    let server = Server::start();
    private_repository(&server, "private", "alpha");
    let administrator = bearer(&token(&server, "--scope=global:admin"));
    let mut lost = Vec::new();
    for (method, address, _) in ADDRESSES.iter().filter(|(method, ..)| matches!(*method, "POST" | "PUT")) {
        for authorization in [None, Some(administrator.as_str())] {
            let path = path_of(method, address);
            if send_slowly(&server, method, &path, authorization).is_none() {
                lost.push(format!("{method} {path}, administrator: {}", authorization.is_some()));
            }
        }
    }
    assert!(lost.is_empty(), "without a response:\n{}", lost.join("\n"));
}
