//! Fetches through the real program, over HTTP.

use std::time::{Duration, Instant};

use serde_json::json;
use sha2::Digest as _;

use super::KB;
use crate::support::http::{self, Answer};
use crate::support::mirror::{Entry, Mirror};
use crate::support::server::{Builder, Server};

/// Starts a server with a repository `all` of this mirror, and syncs it.
fn start_synced(mirror: &Mirror, gcfg: &str) -> Server {
    let server = Builder::default().gcfg(&format!("[CRAN]\nURL = {}\n{gcfg}", mirror.url())).start();
    sync(&server);
    assert_success(server.admin("POST", "/repos", &json!({"name": "all"})));
    assert_success(server.admin("POST", "/repos/all/sources", &json!({"source": "cran"})));
    server
}

fn assert_success(answer: Answer) {
    assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.text());
}

fn sync(server: &Server) {
    let job = server.admin("POST", "/sync", &json!({"type": "cran"})).json()["id"].clone();
    let start = Instant::now();
    loop {
        let now = server.admin("GET", &format!("/jobs/{job}"), &serde_json::Value::Null).json();
        match now["status"].as_str() {
            Some("done") => return,
            Some("running") => assert!(start.elapsed() < Duration::from_secs(90), "{now}"),
            _ => panic!("{now}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn path(entry: &Entry) -> String {
    format!("/all/latest/src/contrib/{}", entry.file())
}

/// The answer, or the error that ended the connection.
fn fetch(server: &Server, entry: &Entry) -> Result<Answer, std::io::Error> {
    use std::io::Write;
    let mut stream = http::connect(server.host());
    write!(stream, "GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path(entry))?;
    http::try_read(&mut stream, "GET")
}

fn damaged(entry: &Entry) -> Vec<u8> {
    let mut bytes = entry.bytes.clone();
    let position = bytes.len() - 100;
    bytes[position] ^= 1;
    bytes
}

/// Waits up to a minute until the file is in storage; false if it is not stored in that time.
fn wait_until_stored(server: &Server, entry: &Entry) -> bool {
    server.get("/__ping__");
    let before = Instant::now();
    // The file is stored shortly after its last byte is sent.
    while before.elapsed() < Duration::from_secs(60) {
        let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&entry.bytes));
        if super::walk(server.dir()).iter().any(|path| path.ends_with(&digest)) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

#[test]
fn fifty_http_clients_cause_one_upstream_request() {
    let entry = Entry::new("big", "1.0", 400 * KB);
    let mirror = Mirror::of(std::slice::from_ref(&entry), &[]);
    let server = start_synced(&mirror, "");
    mirror.set(&entry.listed(), |page| page.pause_at = 0);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..50).map(|_| scope.spawn(|| fetch(&server, &entry))).collect();
        mirror.wait_for_active_requests(1);
        std::thread::sleep(Duration::from_millis(200));
        mirror.set(&entry.listed(), |page| page.pause_at = usize::MAX);
        for client in clients {
            let answer = client.join().unwrap().expect("an answer");
            assert_eq!((answer.status, answer.body.len()), (200, entry.bytes.len()));
            assert!(answer.body == entry.bytes);
            assert_eq!(answer.header("content-length"), Some(&*entry.bytes.len().to_string()));
            assert_eq!(answer.header("transfer-encoding"), None);
        }
    });
    assert_eq!(mirror.requests(&entry.listed()).len(), 1);
    assert!(wait_until_stored(&server, &entry));
}

#[test]
fn a_damaged_file_is_a_502_if_small_and_a_closed_connection_if_large() {
    let (small, big) = (Entry::new("small", "1.0", 20 * KB), Entry::new("big", "1.0", 500 * KB));
    let mirror = Mirror::of(&[small.clone(), big.clone()], &[]);
    let server = start_synced(&mirror, "");
    mirror.put(&small.listed(), damaged(&small));
    mirror.put(&big.listed(), damaged(&big));
    let answer = fetch(&server, &small).expect("an answer");
    assert_eq!(answer.status, 502);
    let wait: u64 = answer.header("retry-after").expect("Retry-After").parse().expect("seconds");
    assert!((1..=120).contains(&wait));
    assert!(
        !answer.text().contains("127.0.0.1"),
        "the address of the mirror is not disclosed: {}",
        answer.text()
    );
    let error = fetch(&server, &big).expect_err("the body is incomplete");
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{error}");
    assert!(!has_stored_packages(&server), "nothing was stored");
    assert_eq!(server.get("/__ping__").status, 200);
}

/// Whether any package is in storage.
fn has_stored_packages(server: &Server) -> bool {
    super::walk(server.dir()).iter().any(|path| path.to_string_lossy().contains("/cran/cran/"))
}

#[tokio::test]
async fn over_http2_a_damaged_file_resets_the_stream() {
    let (good, big) = (Entry::new("good", "1.0", 20 * KB), Entry::new("big", "1.0", 500 * KB));
    let mirror = Mirror::of(&[good.clone(), big.clone()], &[]);
    let folder = tempfile::tempdir().unwrap();
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, pair.cert.pem()).unwrap();
    std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
    let gcfg = format!(
        "[HTTPS]\nListen = 127.0.0.1:0\nCertificate = {}\nKey = {}\n",
        certificate.display(),
        key.display()
    );
    let server = tokio::task::spawn_blocking({
        let gcfg = gcfg.clone();
        move || {
            let server = start_synced(&mirror, &gcfg);
            mirror.put(&big.listed(), damaged(&big));
            (server, mirror, big)
        }
    });
    let (server, _mirror, big) = server.await.unwrap();
    rstudio_pm::storage::install_tls_provider();
    let client = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).no_proxy().build().unwrap();
    let url = |entry: &Entry| format!("{}{}", server.urls()[1], path(entry));
    let answer = client.get(url(&good)).send().await.expect("an answer");
    assert_eq!((answer.status().as_u16(), answer.version()), (200, reqwest::Version::HTTP_2));
    assert!(answer.bytes().await.expect("the whole body") == good.bytes);
    let mut answer = client.get(url(&big)).send().await.expect("a head");
    assert_eq!((answer.status().as_u16(), answer.content_length()), (200, Some(big.bytes.len() as u64)));
    let mut received = 0;
    let error = loop {
        match answer.chunk().await {
            Ok(Some(piece)) => received += piece.len(),
            Ok(None) => panic!("it ended regularly after {received} bytes"),
            Err(error) => break error,
        }
    };
    assert!(received <= big.bytes.len() - 64 * KB, "{received}");
    assert!(format!("{error:?}").contains("reset") || format!("{error:?}").contains("Reset"), "{error:?}");
    // Only the stream is reset: the connection stays open.
    assert_eq!(client.get(url(&good)).send().await.expect("an answer").status().as_u16(), 200);
}

fn quoted(digest: impl std::fmt::Display) -> String {
    format!("\"{digest}\"")
}

/// Waits for an answer to HEAD with this ETag: the result of a fetch is recorded asynchronously.
fn wait_for_etag(url: &str, tag: &str) -> Answer {
    let start = Instant::now();
    loop {
        let head = http::request("HEAD", url, &[], b"");
        if head.header("etag") == Some(tag) {
            return head;
        }
        assert!(start.elapsed() < Duration::from_secs(90), "no ETag {tag}: {:?}", head.headers);
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_etag_is_the_md5_of_the_index_until_the_sha256_is_known_and_stays_valid() {
    let entry = Entry::new("big", "1.0", 300 * KB);
    let mirror = Mirror::of(std::slice::from_ref(&entry), &[]);
    let server = start_synced(&mirror, "");
    let url = server.url(&path(&entry));
    let head = http::request("HEAD", &url, &[], b"");
    let declared = quoted(hex::encode(md5::Md5::digest(&entry.bytes)));
    assert_eq!(head.header("etag"), Some(&*declared));
    assert_eq!((head.status, head.header("content-length")), (200, Some(&*entry.bytes.len().to_string())));
    let unchanged = http::request("GET", &url, &[("If-None-Match", &declared)], b"");
    assert_eq!((unchanged.status, unchanged.header("etag")), (304, Some(&*declared)));
    assert_eq!(mirror.requests(&entry.listed()).len(), 0, "neither request fetches the file");
    let first = http::get(&url);
    assert!(first.body == entry.bytes && wait_until_stored(&server, &entry));
    assert_eq!(first.header("etag"), Some(&*declared));
    let digest = quoted(hex::encode(sha2::Sha256::digest(&entry.bytes)));
    let after = wait_for_etag(&url, &digest);
    assert_eq!(after.header("last-modified"), head.header("last-modified"));
    for known in [&declared, &digest] {
        assert_eq!(http::request("GET", &url, &[("If-None-Match", known)], b"").status, 304, "{known}");
        let resumed = http::request("GET", &url, &[("If-Range", known), ("Range", "bytes=9-")], b"");
        assert_eq!((resumed.status, resumed.body == entry.bytes[9..]), (206, true), "{known}");
    }
}

#[test]
fn a_file_without_a_declared_digest_gets_its_etag_with_the_first_fetch() {
    let old = Entry::new("old", "0.9", 20 * KB);
    let mirror = Mirror::of(&[Entry::new("old", "1.0", 20 * KB)], std::slice::from_ref(&old));
    let server = start_synced(&mirror, "");
    let url = server.url(&format!("/all/latest/src/contrib/Archive/old/{}", old.file()));
    let head = http::request("HEAD", &url, &[("If-None-Match", "\"x\"")], b"");
    assert_eq!((head.status, head.header("etag")), (200, None));
    assert_eq!(http::get(&url).header("etag"), None);
    let digest = quoted(hex::encode(sha2::Sha256::digest(&old.bytes)));
    wait_for_etag(&url, &digest);
}

#[test]
fn a_changed_mirror_is_synced_automatically() {
    let old = Entry::new("moving", "1.0", 20 * KB);
    let mirror = Mirror::of(std::slice::from_ref(&old), &[]);
    let server = start_synced(&mirror, "");
    let last_sync = || {
        let cran = server.admin("GET", "/sources/cran", &serde_json::Value::Null).json();
        cran["last_transaction"]["id"].as_i64().expect("a number")
    };
    let first_sync = last_sync();
    // The same version with other bytes, in the index as well.
    let new = Entry { bytes: Entry::new("moving", "1.0", 30 * KB).bytes, ..old.clone() };
    mirror.publish(std::slice::from_ref(&new), &[]);
    let first = fetch(&server, &old).expect("an answer");
    assert_eq!(first.status, 502);
    let start = Instant::now();
    loop {
        let answer = fetch(&server, &new).expect("an answer");
        if answer.status == 200 {
            assert!(answer.body == new.bytes);
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(90), "{} {}", answer.status, answer.text());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(last_sync() > first_sync);
}

#[test]
fn without_its_mirror_a_server_serves_stored_files_and_answers_503_for_others() {
    let (fetched, other) = (Entry::new("had", "1.0", 200 * KB), Entry::new("other", "1.0", 20 * KB));
    let mirror = Mirror::of(&[fetched.clone(), other.clone()], &[]);
    let mut server = start_synced(&mirror, "");
    assert_eq!(fetch(&server, &fetched).expect("an answer").status, 200);
    assert!(wait_until_stored(&server, &fetched));
    mirror.stop();
    server.restart();
    let answer = fetch(&server, &fetched).expect("an answer");
    assert!(answer.status == 200 && answer.body == fetched.bytes);
    let answer = fetch(&server, &other).expect("an answer");
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").expect("Retry-After").parse::<u64>().expect("seconds") >= 1);
}

#[test]
fn a_stop_during_a_fetch_is_quick_and_leaves_no_files() {
    let entry = Entry::new("big", "1.0", 9 << 20);
    let mirror = Mirror::of(std::slice::from_ref(&entry), &[]);
    let mut server = start_synced(&mirror, "");
    mirror.set(&entry.listed(), |page| page.pause_at = 1 << 20);
    // A client that disconnects: the fetch continues without clients for a while.
    let mut stream = http::connect(server.host());
    std::io::Write::write_all(
        &mut stream,
        format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", path(&entry)).as_bytes(),
    )
    .unwrap();
    std::io::Read::read_exact(&mut stream, &mut [0; 1000]).unwrap();
    drop(stream);
    assert_eq!(mirror.active_requests(), 1);
    let start = Instant::now();
    assert_eq!(server.stop().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    server.launch();
    let spools = || {
        let all = super::walk(server.dir());
        all.into_iter().filter(|path| path.to_string_lossy().contains("spool-")).collect::<Vec<_>>()
    };
    assert_eq!(spools(), Vec::<std::path::PathBuf>::new());
    mirror.set(&entry.listed(), |page| page.pause_at = usize::MAX);
    assert!(fetch(&server, &entry).expect("an answer").body == entry.bytes);
}

#[test]
fn head_answers_like_get_if_the_mirror_is_known_to_be_unreachable() {
    let files: Vec<Entry> = (0..6).map(|n| Entry::new(&format!("file{n}"), "1.0", 20_000)).collect();
    let stored = Entry::new("stored", "1.0", 20_000);
    let listed: Vec<Entry> = files.iter().chain([&stored]).cloned().collect();
    let mirror = Mirror::of(&listed, &[]);
    let server = start_synced(&mirror, "");
    assert_eq!(fetch(&server, &stored).expect("an answer").status, 200);
    let head = |entry: &Entry| http::request("HEAD", &server.url(&path(entry)), &[], b"");
    assert_eq!(head(&files[5]).status, 200);
    mirror.stop();
    // There was no request to the mirror since.
    assert_eq!(head(&files[5]).status, 200);
    for entry in &files[..5] {
        assert_eq!(fetch(&server, entry).expect("an answer").status, 503);
        // This file's fetch failed, before enough others did to pause requests to the mirror.
        let unavailable = head(entry);
        assert_eq!(unavailable.status, 503);
        assert!(unavailable.header("retry-after").is_some());
    }
    let (unavailable, get) = (head(&files[5]), fetch(&server, &files[5]).expect("an answer"));
    assert_eq!((unavailable.status, get.status), (503, 503));
    assert!(unavailable.header("retry-after").is_some());
    assert_eq!(head(&stored).status, 200);
}

#[test]
fn a_lost_local_package_is_not_logged_as_fetched_again() {
    let mut server = Server::start();
    server.local_repository("team", &[crate::support::tarball::Tarball::new("own", "1.0")]);
    let path = "/team/latest/src/contrib/own_1.0.tar.gz";
    let digest = server.get(path).header("etag").expect("a digest").trim_matches('"').to_owned();
    let blobs: Vec<_> = super::walk(server.dir())
        .into_iter()
        .filter(|path| path.to_string_lossy().contains(&digest))
        .collect();
    assert!(!blobs.is_empty());
    blobs.iter().for_each(|blob| std::fs::remove_file(blob).expect("an object"));
    server.restart();
    let answer = server.get(path);
    assert!(answer.status >= 500, "{}", answer.status);
    server.wait_for_log("is not in storage");
    let log = server.log_lines();
    assert!(!log.iter().any(|line| line.contains("fetching it again")), "{log:?}");
}
