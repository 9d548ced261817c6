//! `[CRAN]`: a reload of each reloadable property; running syncs and downloads continue.

use std::io::{Read, Write};
use std::time::Duration;

use crate::support::binary_server;
use crate::support::fixtures::{create_mirror, until};
use crate::support::http;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;
use crate::support::upstream::{Fault, Upstream};

#[test]
pub(super) fn url_is_the_mirror_of_the_next_sync() {
    let server = Server::start();
    assert!(server.sync().is_err(), "there is no mirror");
    create_mirror(&server.dir().join("other"));
    server.hup_applies(
        "[CRAN]\nURL = file://{dir}/other",
        &["CRAN.URL is 'file://{dir}/other' now, was 'file://{dir}/no-mirror'"],
    );
    server.sync().expect("the new mirror");
    server.repository("r", "cran");
    assert_eq!(server.get("/r/latest/src/contrib/alpha_1.0.tar.gz").status, 200);
}

#[test]
pub(super) fn binary_url_is_the_binary_server_of_the_next_sync() {
    let server = Builder::default().env("NO_PROXY", "*").start();
    create_mirror(&server.dir().join("no-mirror"));
    server.sync().expect("a valid mirror");
    let upstream = binary_server::start(&["alpha"]);
    let url = binary_server::url(&upstream);
    server.hup_applies(&format!("[CRAN]\nBinaryURL = {url}"), &[&format!("CRAN.BinaryURL is '{url}' now")]);
    assert!(server.sync().expect("a valid mirror").contains("binaries were synced (transaction 2): 1 new"));
}

#[test]
pub(super) fn sync_schedule_replaces_the_time_of_the_next_sync() {
    let server = Builder::default().gcfg("[CRAN]\nSyncSchedule = 0 0 30 2 *").start();
    server.hup_applies(
        "[CRAN]\nSyncSchedule = 17 3 * * *",
        &["CRAN.SyncSchedule is '17 3 * * *' now, was '0 0 30 2 *'"],
    );
    let is_logged = |text: &str| server.log_lines().iter().any(|line| line.contains(text));
    until("the next sync is scheduled", || {
        is_logged("the next scheduled sync is at ") && is_logged("T03:17:00Z")
    });
    server.hup_applies("[CRAN]\nSyncSchedule = 0 0 30 2 *", &["CRAN.SyncSchedule is '0 0 30 2 *' now"]);
    until("no sync is scheduled", || is_logged("no sync is scheduled any more"));
}

#[test]
fn a_running_sync_continues_with_its_mirror() {
    let folder = tempfile::tempdir().expect("a directory");
    create_mirror(folder.path());
    let upstream = Upstream::of(folder.path());
    upstream.always("src/contrib/PACKAGES", Fault::Slow(Duration::from_secs(1)));
    let gcfg = format!("[CRAN]\nURL = {}", upstream.url());
    let server = Builder::default().gcfg(&gcfg).env("NO_PROXY", "*").start();
    std::thread::scope(|scope| {
        let sync = scope.spawn(|| server.sync());
        until("the mirror gets a request", || !upstream.take_requests().is_empty());
        server.hup_applies(
            "[CRAN]\nURL = file:///nowhere\n[Proxy]\nURL = 127.0.0.1:9",
            &["CRAN.URL is 'file:///nowhere' now", "Proxy.URL is '127.0.0.1:9' now"],
        );
        let output = sync.join().expect("no panic").expect("the sync continues");
        assert!(output.contains("1 package added"), "{output}");
    });
    assert!(server.sync().is_err(), "the next sync uses the new mirror");
}

#[test]
fn a_running_download_continues() {
    let server = Server::start();
    let (random_bytes, _) = crate::support::storage::bytes(8 << 20, 3);
    let mut package = Tarball::new("large", "1.0");
    package.files.push(("data/noise".to_owned(), random_bytes));
    let size = server.store("local", &package);
    server.repository("r", "local");
    let mut stream = http::connect(server.host());
    let request =
        "GET /r/latest/src/contrib/large_1.0.tar.gz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = vec![0; 1 << 16];
    stream.read_exact(&mut answer).expect("the beginning of the file");
    let changes = "[Server]\nAddress = https://elsewhere.example\nAccessLog = {dir}/other.log\n\
                   [CRAN]\nURL = file:///nowhere\n[Proxy]\nURL = 127.0.0.1:9\n[Logging]\nSystemLogLevel = DEBUG";
    let output = server.hup(changes).join("\n");
    assert!(output.contains("configuration reloaded; 5 applied"), "{output}");
    stream.read_to_end(&mut answer).expect("its end");
    let body = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("the end of the head") + 4;
    assert_eq!((answer.len() - body) as u64, size);
}
