//! A small blocking HTTP/1.1 client that sends its input unchanged, over TCP or the admin socket.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Timeout of an answer.
const TIMEOUT: Duration = Duration::from_secs(90);

/// A complete answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// Status code.
    pub(crate) status: u16,
    /// Names in lower case, in order.
    pub(crate) headers: Vec<(String, String)>,
    /// Decoded if it was chunked.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The first value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Asserts that this is an HTML page that runs no scripts and loads nothing from other sites.
    pub(crate) fn assert_page(&self, path: &str) {
        let status_and_type = (self.status, self.header("content-type"));
        assert_eq!(status_and_type, (200, Some("text/html; charset=utf-8")), "{path}");
        let policy = self.header("content-security-policy");
        assert!(policy.is_some_and(|policy| policy.contains("default-src 'none'")), "{path}: {policy:?}");
    }

    /// The body as JSON; panics with the body if it is not JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("no JSON ({e}): {}", self.text()))
    }
}

/// A byte stream in both directions.
pub(crate) trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// GET of a complete `http://host:port/path` URL.
pub(crate) fn get(url: &str) -> Answer {
    request("GET", url, &[], b"")
}

/// Sends a request with `Connection: close`; the target is sent exactly as it is written in the URL.
pub(crate) fn request(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let rest = url.strip_prefix("http://").expect("an http:// URL");
    let (host, target) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let mut stream = connect(host);
    send(&mut stream, host, method, target, headers, body);
    read(&mut BufReader::new(stream), method)
}

/// Sends a request with a JSON body to the admin socket.
pub(crate) fn admin(socket: &Path, method: &str, target: &str, body: &[u8]) -> Answer {
    let mut stream = UnixStream::connect(socket).expect("the admin socket answers");
    stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
    let json = [("Content-Type", "application/json")];
    send(&mut stream, "localhost", method, target, &json, body);
    read(&mut BufReader::new(stream), method)
}

/// Connects to `host:port`.
pub(crate) fn connect(host: &str) -> TcpStream {
    let stream = TcpStream::connect(host).unwrap_or_else(|e| panic!("{host} does not answer: {e}"));
    stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
    stream.set_nodelay(true).expect("no delay");
    stream
}

/// Sends the head of a request with `Expect: 100-continue`, and returns when the server reads the body: it has checked the
/// head before.
pub(crate) fn begin<S: Stream>(mut stream: S, head: &str) -> S {
    stream.write_all(head.as_bytes()).expect("sent");
    let mut line = [0; 25];
    stream.read_exact(&mut line).expect("an interim response");
    assert_eq!(String::from_utf8_lossy(&line), "HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

fn send(
    stream: &mut dyn Stream,
    host: &str,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) {
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() || method == "POST" || method == "PUT" {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    // The server may answer and close before it has read the whole request: the write may fail.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

/// Sends raw bytes and reads one answer.
pub(crate) fn raw(host: &str, bytes: &[u8]) -> Answer {
    let mut stream = connect(host);
    let _ = stream.write_all(bytes);
    read(&mut BufReader::new(stream), "GET")
}

/// Reads one answer; panics if the connection ends before its end.
pub(crate) fn read(stream: &mut dyn Read, method: &str) -> Answer {
    try_read(stream, method).unwrap_or_else(|e| panic!("no complete answer: {e}"))
}

/// Reads one answer.
pub(crate) fn try_read(stream: &mut dyn Read, method: &str) -> std::io::Result<Answer> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        bytes.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut answer = Answer { status: status.expect("a status line"), headers, body: Vec::new() };
    if method == "HEAD" || answer.status == 304 || answer.status == 204 {
        return Ok(answer);
    }
    if answer.header("transfer-encoding") == Some("chunked") {
        loop {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                stream.read_exact(&mut byte)?;
                line.push(byte[0]);
            }
            let size =
                usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).expect("a chunk size");
            let mut chunk = vec![0; size + 2];
            stream.read_exact(&mut chunk)?;
            answer.body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                return Ok(answer);
            }
        }
    }
    match answer.header("content-length").map(|n| n.parse::<usize>().expect("a number")) {
        Some(size) => {
            answer.body = vec![0; size];
            stream.read_exact(&mut answer.body)?;
        }
        None => {
            stream.read_to_end(&mut answer.body)?;
        }
    }
    Ok(answer)
}
