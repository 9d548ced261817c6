//! Clients that disconnect before the response, or in the middle of their request.

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::fixtures::until;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

#[test]
fn an_edit_whose_client_disconnects_is_visible_if_it_was_committed() {
    let server = Server::start();
    let is_listed = |name: &str| {
        let repos = server.admin("GET", "/repos", &Value::Null).json();
        repos.as_array().expect("a list").iter().any(|repo| repo["name"] == name)
    };
    let mut visible_count = 0;
    for number in 0..20 {
        let name = format!("repo{number}");
        let body = json!({ "name": name }).to_string();
        let request = format!(
            "POST /__api__/admin/v1/repos HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = UnixStream::connect(server.admin_socket()).expect("it answers");
        stream.write_all(request.as_bytes()).expect("sent");
        // Some clients disconnect at once, the others during the write.
        std::thread::sleep(Duration::from_micros(200 * number));
        drop(stream);
        let start = Instant::now();
        while !is_listed(&name) && start.elapsed() < Duration::from_secs(2) {
            std::thread::sleep(Duration::from_millis(20));
        }
        // A request that is handled later, on a slow machine, is visible later.
        let exists = server.admin("POST", "/repos", &json!({ "name": name })).status == 409;
        if exists {
            until("the committed edit is visible", || is_listed(&name));
        }
        visible_count += usize::from(exists);
    }
    assert!(visible_count > 0, "no request was handled");
}

#[test]
fn details_are_read_from_an_archive_after_a_client_that_disconnected() {
    let server = Builder::default().gcfg("[CRAN]\nURL = file://{dir}/mirror").start();
    let contrib = server.dir().join("mirror/src/contrib");
    std::fs::create_dir_all(&contrib).expect("a directory");
    let names: Vec<String> = (0..8).map(|number| format!("pkg{number}")).collect();
    let mut index = String::new();
    for name in &names {
        let package = Tarball::new(name, "1.0").with("README.md", "# Read me");
        std::fs::write(contrib.join(package.file()), package.bytes()).expect("written");
        index.push_str(&format!("Package: {name}\nVersion: 1.0\n\n"));
    }
    std::fs::write(contrib.join("PACKAGES"), index).expect("written");
    server.sync().expect("a mirror");
    server.repository("team", "cran");
    for (number, name) in names.iter().enumerate() {
        assert_eq!(server.get(&format!("/team/latest/src/contrib/{name}_1.0.tar.gz")).status, 200);
        let address = server.url("").replace("http://", "");
        for _ in 0..3 {
            let mut stream = TcpStream::connect(address.trim_end_matches('/')).expect("it answers");
            let request = format!("GET /__api__/repos/team/packages/{name} HTTP/1.1\r\nHost: h\r\n\r\n");
            stream.write_all(request.as_bytes()).expect("sent");
            std::thread::sleep(Duration::from_millis(number as u64));
        }
        until("the archive is read", || {
            server.get(&format!("/__api__/repos/team/packages/{name}")).json()["readme_data"] == "# Read me"
        });
    }
}

#[test]
fn clients_that_do_not_finish_their_request_do_not_block_others() {
    let server = Server::start();
    let address = server.url("").replace("http://", "");
    let request = "POST /__api__/filter/packages HTTP/1.1\r\nHost: h\r\nContent-Length: 99\r\n\r\n{";
    let unfinished: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut stream = TcpStream::connect(address.trim_end_matches('/')).expect("it answers");
            stream.write_all(request.as_bytes()).expect("sent");
            stream
        })
        .collect();
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(server.get("/__api__/status").status, 200);
    }
    drop(unfinished);
}
