//! Requests to the admin API on its socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;

use super::server::Server;

/// A connection to the admin socket.
pub(crate) struct Admin(BufReader<UnixStream>);

impl Admin {
    pub(crate) fn connect(server: &Server) -> Admin {
        let socket =
            UnixStream::connect(server.path().join("run/rstudio-pm.sock")).expect("the admin socket");
        Admin(BufReader::new(socket))
    }

    /// Sends a request, which must succeed; returns the body of the response.
    pub(crate) fn send(&mut self, method: &str, path: &str, body: &[u8]) -> String {
        let head = format!(
            "{method} /__api__/admin/v1{path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.0.get_mut().write_all(&[head.as_bytes(), body].concat()).expect("sent");
        let (mut status, mut length) = (String::new(), 0);
        self.0.read_line(&mut status).expect("an answer");
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).expect("a header");
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(number) = line.strip_prefix("content-length:") {
                length = number.trim().parse().expect("a number");
            }
        }
        let mut text = vec![0; length];
        self.0.read_exact(&mut text).expect("a body");
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(status.starts_with("HTTP/1.1 20"), "{path}: {status}{text}");
        text
    }
}
