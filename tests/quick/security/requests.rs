//! Malformed requests: smuggling, oversized headers, unexpected bodies, unsupported methods.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;

use crate::support::fixtures::until;
use crate::support::http;
use crate::support::server::Server;

#[test]
fn other_methods_are_refused_with_the_allowed_ones() {
    let server = Server::start();
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get", "X"] {
        for path in
            ["/", "/__ping__", "/team/latest/src/contrib/PACKAGES", "/__api__/repos", "/__api__/status"]
        {
            let answer = http::request(method, &server.url(path), &[], b"");
            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(answer.header("allow"), Some("GET, HEAD"), "{method} {path}");
        }
    }
    let answer = http::raw(server.host(), b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n");
    assert!((400..500).contains(&answer.status), "CONNECT: {}", answer.status);
}

/// The statuses of the answers on a connection that sent `bytes`.
fn answers(server: &Server, bytes: &[u8]) -> Vec<u16> {
    let mut stream = http::connect(server.host());
    stream.set_read_timeout(Some(std::time::Duration::from_millis(400))).expect("a timeout");
    // The server may close before it has read everything.
    let _ = stream.write_all(bytes);
    let mut statuses = Vec::new();
    while let Ok(answer) = http::try_read(&mut stream, "GET") {
        statuses.push(answer.status);
    }
    statuses
}

#[test]
fn an_ambiguous_request_gets_one_answer_or_none() {
    let server = Server::start();
    let second_request = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
    let heads = [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 99999999999999999999999\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: identity, chunked, identity\r\n",
        " Transfer-Encoding: chunked\r\n",
        "X: 1\r\n Transfer-Encoding: chunked\r\n",
        "Content-Length : 5\r\n",
        "X\rY: 1\r\n",
        "X\0Y: 1\r\n",
        "X: a\0b\r\n",
        ": nameless\r\n",
        "no colon\r\n",
        "Host: again\r\n\tfolded: 1\r\n",
    ];
    let mut count = 0;
    for head in heads {
        for method in ["GET", "POST"] {
            for path in ["/__ping__", "/team/latest/src/contrib/PACKAGES", "/__api__/repos"] {
                for body in ["0\r\n\r\n", "5\r\nabcde\r\n0\r\n\r\n", ""] {
                    let bytes =
                        format!("{method} {path} HTTP/1.1\r\nHost: h\r\n{head}\r\n{body}{second_request}");
                    let statuses = answers(&server, bytes.as_bytes());
                    assert!(statuses.len() <= 1, "{bytes:?}: {statuses:?}");
                    assert!(statuses.iter().all(|s| (200..500).contains(s)), "{bytes:?}: {statuses:?}");
                    count += 1;
                }
            }
        }
    }
    assert!(count >= 300);
    assert_eq!(server.get("/__ping__").status, 200, "the server still runs");
}

#[test]
fn requests_other_than_http_1_are_refused() {
    let server = Server::start();
    for bytes in [
        &b"GET /__ping__\r\n\r\n"[..],
        b"GET  /__ping__ HTTP/1.1\r\n\r\n",
        b"GET /__ping__ HTTP/1.2\r\nHost: h\r\n\r\n",
        b"GET /__ping__ HTTP/2.0\r\nHost: h\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /\xff HTTP/1.1\r\nHost: h\r\n\r\n",
        b"G\xffT / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
    ] {
        let statuses = answers(&server, bytes);
        assert!(
            statuses.iter().all(|s| (400..=505).contains(s)) && statuses.len() <= 1,
            "{bytes:?}: {statuses:?}"
        );
    }
    assert_eq!(server.get("/__ping__").status, 200, "the server still runs");
}

#[test]
fn heads_have_a_limit() {
    let server = Server::start();
    let many_lines = "X: y\r\n".repeat(200);
    let long_line = format!("X: {}\r\n", "y".repeat(200_000));
    for head in [many_lines, long_line] {
        let answer = http::raw(server.host(), format!("GET / HTTP/1.1\r\nHost: h\r\n{head}\r\n").as_bytes());
        assert_eq!(answer.status, 431);
    }
}

#[test]
fn a_request_names_one_host() {
    let server = Server::start();
    server.local_repository("team", &[]);
    for (head, status) in [
        ("GET /__ping__ HTTP/1.1\r\nHost: h", 200),
        ("GET /__ping__ HTTP/1.1\r\nHost: [::1]:80", 200),
        ("GET /__ping__ HTTP/1.0\r\nX: y", 200),
        ("GET /__ping__ HTTP/1.1\r\nX: y", 400),
        ("GET /__ping__ HTTP/1.1\r\nHost: h\r\nHost: h", 400),
        ("GET /__ping__ HTTP/1.1\r\nHost: a\r\nHost: b", 400),
        ("GET /__ping__ HTTP/1.1\r\nHost:", 400),
        ("GET /__ping__ HTTP/1.1\r\nHost: a/b", 400),
        ("GET /__ping__ HTTP/1.1\r\nHost: a, b", 400),
        ("GET /__ping__ HTTP/1.1\r\nHost: <script>", 400),
        ("GET /__ping__ HTTP/1.1\r\nHost: u@h", 400),
        ("GET http://u@h/__ping__ HTTP/1.1\r\nHost: h", 400),
        ("GET http://a.example/__ping__ HTTP/1.1\r\nHost: h", 200),
    ] {
        let answer = http::raw(server.host(), format!("{head}\r\nConnection: close\r\n\r\n").as_bytes());
        assert_eq!(answer.status, status, "{head:?}");
    }
    let head = "GET http://a.example/team/latest/ HTTP/1.1\r\nHost: b.example\r\nConnection: close\r\n\r\n";
    let page = http::raw(server.host(), head.as_bytes()).text();
    assert!(page.contains("http://a.example/team/latest") && !page.contains("b.example"), "{page}");
}

#[test]
fn bodies_being_received_have_a_memory_budget() {
    const PART: usize = 900_000;
    let server = Server::start();
    server.local_repository("team", &[]);
    let head = "POST /__api__/filter/packages HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n";
    let streams: Vec<_> = (0..48)
        .map(|_| {
            let mut stream = http::connect(server.host());
            // The server may close before it has read everything.
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&vec![b' '; PART]));
            stream.set_nonblocking(true).expect("a connection");
            stream
        })
        .collect();
    let is_waiting =
        |stream: &TcpStream| stream.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
    // 32 MB hold 37 bodies; a refused request may be reset before its answer is read.
    until("the others are refused", || streams.iter().filter(|stream| is_waiting(stream)).count() <= 37);
    let (waiting, refused): (Vec<_>, Vec<_>) = streams.into_iter().partition(is_waiting);
    assert!((20..=37).contains(&waiting.len()), "{} wait", waiting.len());
    let answers = refused.into_iter().map(|mut stream| {
        stream.set_nonblocking(false).expect("a connection");
        http::try_read(&mut stream, "POST").ok()
    });
    let refusals: Vec<_> = answers.flatten().collect();
    assert!(!refusals.is_empty());
    assert!(refusals.iter().all(|answer| answer.status == 503), "{:?}", refusals[0].status);
    assert!(refusals.iter().all(|answer| answer.header("retry-after").is_some()));
    drop(waiting);
    let body = serde_json::json!({ "repo": "team", "names": ["alpha"] }).to_string();
    let mut status = 503;
    for _ in 0..4_000 {
        status = http::request("POST", &server.url("/__api__/filter/packages"), &[], body.as_bytes()).status;
        if status != 503 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(status, 200, "the budget is released");
}
