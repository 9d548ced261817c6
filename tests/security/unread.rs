//! Memory for files that do not come from storage and are not read by the client: from a bundle, and while they are
//! fetched from a mirror.

use futures_util::future::join_all;

use super::http2::{
    HTTPS, STREAMS, assert_memory_grows_by_less, client, connect, memory, request, request_and_never_read,
};
use crate::support::mirror::{Entry, Mirror};
use crate::support::mirror_dir::{MirrorDir, file_url};
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;
use crate::support::tls::Pair;

const CONNECTIONS: usize = 4;
/// The growth that is accepted: the limits of whole objects and of chunks, and 50 MB for streams and allocator.
const GROWTH: usize = (64 + 48 + 50) << 20;

/// A server with a synchronized mirror of `cran`, the key pair of its certificate, and its HTTPS address.
fn start(cran: &str) -> (Server, Pair, String) {
    let mut server = Builder::default().gcfg(&format!("{HTTPS}\n[CRAN]\nURL = {cran}")).prepare();
    let pair = Pair::new();
    pair.write(server.dir());
    server.launch();
    server.sync().expect("a mirror");
    server.repository("prod", "cran");
    let address = server.urls()[1].strip_prefix("https://").unwrap().to_owned();
    (server, pair, address)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

#[test]
fn small_files_of_a_bundle_that_are_never_read_take_little_memory() {
    const FILES: usize = 24;
    let dir = tempfile::tempdir().unwrap();
    let mut mirror = MirrorDir::new(dir.path().join("mirror"));
    let names: Vec<String> = (0..FILES).map(|number| format!("noise{number}")).collect();
    for name in &names {
        let mut tarball = Tarball::new(name, "1.0");
        tarball.files.push(Entry::noise(name, 900 << 10));
        mirror.publish(&tarball, "2020-01-01");
    }
    mirror.write();
    let bundle = dir.path().join("bundle");
    crate::support::downloader::must_get_cran(&mirror.url(), &bundle, &[]);
    let (server, pair, address) = start(&file_url(&bundle));
    let path = |number: usize| format!("/prod/latest/src/contrib/{}_1.0.tar.gz", names[number % FILES]);
    let size = server.get(&path(0)).body.len();
    assert!(size * CONNECTIONS * STREAMS > 2 * GROWTH && size < 1 << 20, "{size} bytes");
    let memory_before = memory(&server);
    runtime().block_on(async {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            let (mut sender, window_sender) = client(connect(&address, pair.der()).await, 0).await;
            let answers = join_all((0..STREAMS).map(|number| request(&mut sender, &path(number)))).await;
            assert!(answers.iter().all(|answer| answer.as_ref().unwrap().status() == 200));
            connections.push((sender, window_sender, answers));
            let memory_now = memory(&server);
            assert!(
                memory_now < memory_before + GROWTH,
                "{memory_before} bytes before, {memory_now} with {} connections",
                connections.len()
            );
        }
        // The files are still served whole.
        assert!(server.get(&path(1)).body.len() > 900 << 10);
    });
}

#[test]
fn a_file_that_is_being_fetched_and_never_read_takes_little_memory() {
    let entry = Entry::new("large", "1.0", 8 << 20);
    let mirror = Mirror::of(std::slice::from_ref(&entry), &[]);
    // The mirror pauses before the end, so the fetch does not end.
    mirror.set(&entry.listed(), |file| file.pause_at = 7 << 20);
    let (server, pair, address) = start(&mirror.url());
    let path = format!("/prod/latest/{}", entry.listed());
    let memory_before = memory(&server);
    runtime().block_on(async {
        let _connections = request_and_never_read(&address, &pair, &path, 2 * CONNECTIONS).await;
        assert_memory_grows_by_less(&server, memory_before, GROWTH).await;
        assert_eq!(server.get("/__ping__").status, 200);
    });
    mirror.stop();
}
