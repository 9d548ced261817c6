//! Bodies that are too large, and texts that no database stores.

use std::io::{Read, Write};

use serde_json::json;

use crate::support::db::{self, Engine};
use crate::support::http;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

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

#[test]
fn a_text_with_a_nul_character_is_refused_with_the_reason() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let server = Builder::default().gcfg(&db::settings(engine)).start();
        server.local_repository("team", &[Tarball::new("alpha", "1.0")]);
        for (name, comment) in [("a\0b", ""), ("alpha", "a\0b")] {
            let body = json!({ "name": name, "scope": "all", "comment": comment });
            let answer = server.admin("POST", "/sources/team/packages/remove", &body);
            assert_eq!(answer.status, 400, "{engine:?}: {}", answer.text());
            let error = answer.json()["error"].as_str().unwrap_or_default().to_owned();
            assert!(error.starts_with("the text 'a\\0b' contains a NUL character"), "{engine:?}: {error}");
        }
        let index = server.get("/team/latest/src/contrib/PACKAGES").text();
        assert!(index.contains("Package: alpha\n"), "{engine:?}: nothing was removed: {index}");
    }
}
