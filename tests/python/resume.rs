//! pip continues an interrupted download of a file.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::clients::{command, installed_version, program, request_count, run, text};
use crate::support::listener::Listener;
use crate::support::python::package::{Package, add, repository};
use crate::support::server::Server;

/// A response is cut after this many bytes.
const CUT: usize = 1 << 20;

/// Forwards connections to a server. The first response that is longer than [`CUT`] is cut there.
fn cutting_proxy(host: &str) -> (Listener, Arc<AtomicUsize>) {
    let (host, cuts) = (host.to_owned(), Arc::new(AtomicUsize::new(0)));
    let proxy_cuts = Arc::clone(&cuts);
    let listener = Listener::open(move |client: &TcpStream| {
        let server = TcpStream::connect(&host)?;
        let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from_client, &mut to_server);
            let _ = to_server.shutdown(Shutdown::Write);
        });
        let (mut from_server, mut to_client) = (&server, client);
        let (mut buffer, mut sent) = (vec![0; 64 << 10], 0);
        loop {
            let length = from_server.read(&mut buffer)?;
            if length == 0 {
                break;
            }
            to_client.write_all(&buffer[..length])?;
            sent += length;
            let is_first = || proxy_cuts.compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst).is_ok();
            if sent > CUT && is_first() {
                break;
            }
        }
        let _ = server.shutdown(Shutdown::Both);
        client.shutdown(Shutdown::Both)
    });
    (listener, cuts)
}

#[test]
fn the_newest_pip_continues_an_interrupted_download() {
    let mut server = Server::start();
    repository(&server);
    // Wheels of the tests are not compressed.
    add(&server, "team", &Package::new("large", "1.0").code(&format!("# {}\n", "x".repeat(4 << 20))));
    let (proxy, cuts) = cutting_proxy(server.host());
    let target = server.dir().join("target");
    let mut pip = command(&server, &program("pip-newest", "python"), "home-pip");
    pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-cache-dir", "--target"]);
    pip.arg(&target).args(["-i", &format!("http://{}/py/latest/simple", proxy.address), "large"]);
    pip.env("NO_PROXY", "*");
    let output = run(pip);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(cuts.load(Ordering::SeqCst), 1, "one download was interrupted");
    assert_eq!(installed_version(&target, "large").as_deref(), Some("1.0"));
    // The log is complete after the server has ended.
    server.restart();
    assert_eq!(request_count(&server, ".whl HTTP/1.1\" 206"), 1, "a part: {}", text(&output));
}
