//! `rspm evict` on a running server: files of mirrors are removed and fetched again with the same bytes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::fixtures::until;
use crate::support::http;
use crate::support::mirror::{Entry, Mirror};
use crate::support::mirror_dir::MirrorDir;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

const LOCAL: &str = "/team/latest/src/contrib/alpha_1.0.tar.gz";
const MIRRORED: &str = "/r/latest/src/contrib/gamma_1.0.tar.gz";

/// The object of a package file of class `class`.
fn object(server: &Server, class: &str, address: &str) -> PathBuf {
    let sum = hex::encode(Sha256::digest(server.get(address).body));
    server.dir().join(format!("data/{class}/{class}/{}/{sum}", &sum[..2]))
}

/// A local repository `team`, and a repository `r` of a mirror in a directory, with one package each. The package of the
/// mirror is stored.
fn server() -> (Server, MirrorDir) {
    let server = Server::start();
    let mut mirror = MirrorDir::new(server.dir().join("no-mirror"));
    mirror.simple("gamma", "1.0", "2025-01-01");
    mirror.write();
    server.sync().expect("a valid mirror");
    server.repository("r", "cran");
    server.local_repository("team", &[Tarball::new("alpha", "1.0")]);
    wait_until_claimed(&server);
    until("the package is stored", || {
        server.get(MIRRORED);
        object(&server, "cran", MIRRORED).exists()
    });
    until("the row of the package is written", || evict(&server, "--type=clear --dry-run")["files"] == 1);
    (server, mirror)
}

fn wait_until_claimed(server: &Server) {
    until("the storage is claimed", || {
        let listed = server.json("storage list");
        listed["classes"].as_array().expect("a list").iter().all(|class| class["owner"] == "own")
    });
}

fn evict(server: &Server, flags: &str) -> Value {
    server.json(&format!("evict {flags}"))
}

fn head(server: &Server, fields: &[(&str, &str)]) -> http::Answer {
    http::request("HEAD", &server.url(MIRRORED), fields, b"")
}

#[test]
fn an_evicted_file_is_fetched_again_with_the_same_bytes_and_entity_tag() {
    let (server, _mirror) = server();
    let (mirrored, local) = (object(&server, "cran", MIRRORED), object(&server, "packages", LOCAL));
    let before = server.get(MIRRORED);
    let tag = before.header("etag").expect("an entity tag").to_owned();

    let unused = evict(&server, "");
    assert_eq!((&unused["kind"], &unused["files"]), (&Value::from("normal"), &Value::from(0)), "{unused}");
    let dry = evict(&server, "--type=clear --dry-run");
    assert_eq!((&dry["dry_run"], &dry["files"]), (&Value::from(true), &Value::from(1)), "{dry}");
    assert!(mirrored.exists(), "a dry run removes nothing");

    let stored = |class: &str| {
        let report = server.json("list storage");
        let classes = report["classes"].as_array().expect("classes").clone();
        let row = classes.into_iter().find(|row| row["class"] == class).expect("a class");
        (row["files"].as_u64(), row["bytes"].as_u64())
    };
    assert_eq!(stored("cran"), (Some(1), Some(before.body.len() as u64)));
    assert_eq!(stored("packages").0, Some(1));
    let evicted = evict(&server, "--type=clear");
    assert_eq!(stored("cran"), (Some(0), Some(0)));
    assert_eq!(evicted["files"], 1, "{evicted}");
    assert_eq!(evicted["bytes"], before.body.len(), "{evicted}");
    assert!(!mirrored.exists() && local.exists());
    assert_eq!(server.rspm_stdout("evict --type=clear"), "0 files (0 bytes) removed.\n");
    assert_eq!(server.rspm("scrub --quick").code, 0, "no row refers to the removed object");

    assert_eq!(head(&server, &[]).header("etag"), Some(tag.as_str()));
    assert_eq!(head(&server, &[("If-None-Match", &tag)]).status, 304);
    assert!(!mirrored.exists(), "HEAD fetches nothing");
    let after = server.get(MIRRORED);
    assert!(after.status == 200 && after.body == before.body);
    assert_eq!(after.header("etag"), Some(tag.as_str()));
    until("it is stored again", || mirrored.exists());
    assert_eq!(server.get(LOCAL).status, 200);
    let errors: Vec<String> = server.log_lines().into_iter().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(errors, [""; 0]);
    let trail = server.rspm_stdout("audit list");
    assert!(trail.contains("start job") && trail.contains("evict"), "{trail}");
}

#[test]
fn an_eviction_leaves_a_file_that_is_being_downloaded() {
    const SIZE: usize = 24 << 20;
    let mirror = Mirror::of(&[Entry::new("large", "1.0", SIZE)], &[]);
    let gcfg = format!("[CRAN]\nURL = {}", mirror.url());
    let server = Builder::default().gcfg(&gcfg).env("NO_PROXY", "*").start();
    server.sync().expect("a mirror");
    server.repository("r", "cran");
    let path = "/r/latest/src/contrib/large_1.0.tar.gz";
    let whole = server.get(path).body;
    let stored = object(&server, "cran", path);
    wait_until_claimed(&server);
    until("the package is stored", || stored.exists());
    until("its row is written", || evict(&server, "--type=clear --dry-run")["files"] == 1);
    // Most of the file is still to be sent: it is larger than all buffers of the connections.
    let mut readers: Vec<(TcpStream, Vec<u8>)> = ["", "Range: bytes=1000-\r\n"]
        .map(|range| {
            let mut stream = TcpStream::connect(server.host()).expect("a connection");
            let host = server.host();
            let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{range}Connection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).expect("sent");
            let mut response = vec![0; 100_000];
            stream.read_exact(&mut response).expect("the beginning");
            (stream, response)
        })
        .into();
    let before = mirror.requests("src/contrib/large_1.0.tar.gz").len();
    let evicted = evict(&server, "--type=clear");
    assert_eq!((&evicted["files"], &evicted["in_use"]), (&Value::from(0), &Value::from(1)), "{evicted}");
    assert!(stored.exists());
    for ((stream, response), from) in readers.iter_mut().zip([0, 1000]) {
        stream.read_to_end(response).expect("the rest");
        assert!(response.ends_with(&whole[from..]), "{} of {} bytes", response.len(), whole.len() - from);
    }
    assert_eq!(
        mirror.requests("src/contrib/large_1.0.tar.gz").len(),
        before,
        "nothing was fetched again for them"
    );
    until("the downloads have ended", || evict(&server, "--type=clear")["files"] == 1);
    assert!(!stored.exists());
    assert!(server.get(path).body == whole, "the next request fetches the file again");
    assert_eq!(mirror.requests("src/contrib/large_1.0.tar.gz").len(), before + 1);
}

#[test]
fn a_file_that_the_mirror_changed_is_never_sent_in_place_of_an_evicted_one() {
    let (server, mirror) = server();
    assert_eq!(evict(&server, "--type=clear")["files"], 1);
    let other = Tarball::new("gamma", "1.0").with("README.md", "# other\n").bytes();
    std::fs::write(mirror.root.join("src/contrib/gamma_1.0.tar.gz"), &other).expect("written");
    let answer = server.get(MIRRORED);
    assert!(answer.status >= 400, "{}", answer.status);
    assert!(answer.body != other);
}

#[test]
fn the_only_copy_of_a_file_stays() {
    let (server, _mirror) = server();
    let stored = object(&server, "cran", MIRRORED);
    let before = server.get(MIRRORED).body;
    let snapshot =
        server.json("url create --repo=r --lock")["snapshot"].as_str().expect("a snapshot").to_owned();
    // The mirror replaces the bytes of the version.
    let mut mirror = MirrorDir::new(server.dir().join("no-mirror"));
    mirror.publish(&Tarball::new("gamma", "1.0").with("README.md", "# other\n"), "2025-02-01");
    mirror.write();
    server.sync().expect("a valid mirror");
    assert_eq!(evict(&server, "--type=clear")["files"], 0);
    assert!(stored.exists());
    assert!(server.get(&MIRRORED.replace("latest", &snapshot)).body == before);
}

#[test]
fn objects_without_a_row_are_moved_to_the_trash() {
    let (server, _mirror) = server();
    for (class, kind) in [("cran", "sweep"), ("packages", "packages")] {
        let bytes = b"abandoned";
        let sum = hex::encode(Sha256::digest(bytes));
        let folder = server.dir().join(format!("data/{class}/{class}/{}", &sum[..2]));
        std::fs::create_dir_all(&folder).expect("a directory");
        let abandoned = folder.join(&sum);
        std::fs::write(&abandoned, bytes).expect("written");
        let time = std::time::SystemTime::now() - std::time::Duration::from_secs(3 * 3600);
        std::fs::File::options()
            .write(true)
            .open(&abandoned)
            .and_then(|file| file.set_modified(time))
            .expect("a time");
        let other = if kind == "sweep" { "packages" } else { "sweep" };
        assert_eq!(evict(&server, &format!("--type={other}"))["files"], 0, "another class");
        let dry = evict(&server, &format!("--type={kind} --dry-run"));
        assert_eq!((&dry["files"], &dry["bytes"]), (&Value::from(1), &Value::from(9)), "{dry}");
        assert!(abandoned.exists());
        let swept = evict(&server, &format!("--type={kind}"));
        assert_eq!((&swept["files"], &swept["bytes"]), (&Value::from(1), &Value::from(9)), "{swept}");
        assert!(!abandoned.exists());
        assert!(server.dir().join(format!("data/{class}/trash/{class}/{}/{sum}", &sum[..2])).exists());
    }
    assert_eq!(server.get(LOCAL).status, 200);
    assert_eq!(server.get(MIRRORED).status, 200);
}
