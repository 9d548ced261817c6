//! kill -9, at any moment and at every boundary: acknowledged changes are present, no change is partial, no temporary
//! file is left.

mod boundaries;
mod moments;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, Read, Result, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rstudio_pm::r::rds::{RdsLimits, archive_meta::read_archive_meta};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::http::{self, Answer};
use crate::support::mirror::{Entry, Mirror};
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// A package file: package, version.
type Release = (String, String);

fn file((package, version): &Release) -> String {
    format!("{package}_{version}.tar.gz")
}

/// The content that the server must serve, and the states of the mirror.
#[derive(Default)]
struct Ledger {
    /// Acknowledged: the digest of the bytes that must be served.
    added_packages: BTreeMap<Release, String>,
    /// Uploaded since the last audit, in groups of one transaction each.
    upload_groups: Vec<Vec<Release>>,
    /// Acknowledged since the last audit.
    new_packages: Vec<Release>,
    /// Number of adds started.
    adds: usize,
    /// The packages listed by each state of the mirror.
    states: Vec<BTreeMap<String, String>>,
    /// The newest state whose sync was acknowledged.
    synced_state: usize,
    /// All files the mirror has had.
    entries: BTreeMap<Release, Entry>,
}

/// A server that is killed repeatedly, and its mirror.
struct CrashTest {
    server: Server,
    mirror: Mirror,
    ledger: Mutex<Ledger>,
}

/// The addresses of the server between two restarts.
#[derive(Clone)]
struct Addresses {
    host: String,
    socket: PathBuf,
}

impl Addresses {
    fn get(&self, target: &str) -> Result<Answer> {
        let mut stream = std::net::TcpStream::connect(&self.host)?;
        stream.set_read_timeout(Some(Duration::from_secs(90)))?;
        write!(stream, "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        http::try_read(&mut stream, "GET")
    }

    fn admin(&self, method: &str, path: &str, body: &[u8]) -> Result<Answer> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(90)))?;
        let size = body.len();
        write!(
            stream,
            "{method} /__api__/admin/v1{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
        )?;
        stream.write_all(body)?;
        http::try_read(&mut stream, method)
    }

    /// Sends a request that must succeed if it is answered.
    fn call(&self, method: &str, path: &str, body: &[u8]) -> Result<Value> {
        let answer = self.admin(method, path, body)?;
        assert!((200..300).contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.text());
        Ok(answer.json())
    }
}

impl CrashTest {
    /// Creates a server that is synced with the first state of the mirror and has a repository `all` of `team` and
    /// CRAN.
    fn new(gcfg: &str) -> CrashTest {
        CrashTest::of(Builder::default(), gcfg)
    }

    fn of(builder: Builder, gcfg: &str) -> CrashTest {
        let mirror = Mirror::start();
        let builder = builder.gcfg(&format!("[CRAN]\nURL = {}\n{gcfg}", mirror.url()));
        let test = CrashTest { mirror, server: builder.prepare(), ledger: Mutex::default() };
        test.next_state();
        let mut test = test;
        test.server.launch();
        let addresses = test.addresses();
        addresses.call("POST", "/sources", &json!({"name": "team"}).to_string().into_bytes()).unwrap();
        addresses.call("POST", "/repos", &json!({"name": "all"}).to_string().into_bytes()).unwrap();
        for source in ["team", "cran"] {
            let body = json!({"source": source}).to_string();
            addresses.call("POST", "/repos/all/sources", body.as_bytes()).unwrap();
        }
        test.sync(&addresses).unwrap();
        test
    }

    fn addresses(&self) -> Addresses {
        Addresses { host: self.server.host().to_owned(), socket: self.server.admin_socket() }
    }

    /// Changes the mirror: one package gets a new version, one is added or removed, and one counts the states.
    fn next_state(&self) {
        let mut ledger = self.ledger.lock().unwrap();
        let number = ledger.states.len();
        let mut state: BTreeMap<String, String> = match ledger.states.last() {
            None => (0..8).map(|n| (format!("package{n}"), "1.0".to_owned())).collect(),
            Some(last) => last.clone(),
        };
        state.insert("counter".to_owned(), format!("0.{number}"));
        state.insert(format!("package{}", number % 8), format!("1.{number}"));
        if number % 2 == 1 {
            state.insert("visitor".to_owned(), format!("2.{number}"));
        } else {
            state.remove("visitor");
        }
        for (package, version) in &state {
            let release = (package.clone(), version.clone());
            ledger.entries.entry(release).or_insert_with(|| {
                let entry = Entry::new(package, version, 100 << 10);
                self.mirror.put(&entry.listed(), entry.bytes.clone());
                entry
            });
        }
        // No file is ever missing: a superseded one is in the archive before it is removed from the list.
        let (listed, archived): (Vec<_>, Vec<_>) =
            ledger.entries.iter().partition(|((package, version), _)| state.get(package) == Some(version));
        let to_entries =
            |of: Vec<(&Release, &Entry)>| of.into_iter().map(|(_, e)| e.clone()).collect::<Vec<_>>();
        let (listed, archived) = (to_entries(listed), to_entries(archived));
        if let Some(last) = ledger.states.last() {
            for entry in archived.iter().filter(|entry| last.get(&entry.package) == Some(&entry.version)) {
                self.mirror.put(&entry.archived(), entry.bytes.clone());
                self.mirror.remove(&entry.listed());
            }
        }
        self.mirror.index(&listed, &archived);
        ledger.states.push(state);
    }

    /// Syncs with the current state of the mirror; returns when the server reports the job as done.
    fn sync(&self, addresses: &Addresses) -> Result<()> {
        let state = self.ledger.lock().unwrap().states.len() - 1;
        loop {
            let response = addresses.call("POST", "/sync", br#"{"type": "cran"}"#)?;
            let mut job = response.clone();
            while job["status"] == "running" {
                std::thread::sleep(Duration::from_millis(3));
                job = addresses.call("GET", &format!("/jobs/{}", response["id"]), b"")?;
            }
            assert_eq!(job["status"], "done", "{job}");
            // A job that was already running may have read the previous state.
            if response["attached"] == false {
                self.ledger.lock().unwrap().synced_state = state;
                return Ok(());
            }
        }
    }

    /// The next packages to be added: a plain one, one with a README and C code, or two, the second of which depends on
    /// the first.
    fn next_group(&self) -> Vec<Tarball> {
        let mut ledger = self.ledger.lock().unwrap();
        let number = ledger.adds;
        ledger.adds += 1;
        let version = format!("1.{number}");
        let group = match number % 3 {
            0 => vec![Tarball::new("plain", &version)],
            1 => vec![
                Tarball::new("compiled", &version)
                    .with("README.md", &format!("# Compiled {number}\n"))
                    .with("src/one.c", "int one(void) { return 1; }\n"),
            ],
            _ => vec![Tarball::new("left", &version), Tarball::new("right", &version).field("Depends: left")],
        };
        let releases = group.iter().map(|t| (t.package.clone(), t.version.clone())).collect();
        ledger.upload_groups.push(releases);
        group
    }

    /// Records the packages that the server acknowledged.
    fn acknowledge(&self, packages: &Value) {
        let mut ledger = self.ledger.lock().unwrap();
        for package in packages.as_array().expect("a list") {
            let text = |name: &str| package[name].as_str().expect("text").to_owned();
            let release = (text("name"), text("version"));
            ledger.added_packages.insert(release.clone(), text("sha256"));
            ledger.new_packages.push(release);
        }
    }

    fn add(&self, addresses: &Addresses) -> Result<()> {
        let mut uploads = Vec::new();
        for tarball in self.next_group() {
            let path = format!("/uploads?file={}", tarball.file());
            uploads.push(addresses.call("POST", &path, &tarball.bytes())?["id"].clone());
        }
        let body = json!({"uploads": uploads}).to_string();
        let added_packages = addresses.call("POST", "/sources/team/packages", body.as_bytes())?;
        self.acknowledge(&added_packages["packages"]);
        Ok(())
    }

    /// Fetches a file of the mirror; a complete answer must have the right bytes.
    fn fetch(&self, addresses: &Addresses, choice: usize) -> Result<String> {
        let (release, bytes) = {
            let ledger = self.ledger.lock().unwrap();
            let synced_state = &ledger.states[ledger.synced_state];
            let (package, version) = synced_state.iter().nth(choice % synced_state.len()).expect("a package");
            let release = (package.clone(), version.clone());
            let bytes = ledger.entries[&release].bytes.clone();
            (release, bytes)
        };
        let answer = addresses.get(&format!("/all/latest/src/contrib/{}", file(&release)))?;
        assert_eq!(answer.status, 200, "{release:?}: {}", answer.text());
        assert!(answer.body == bytes, "{release:?} is wrong");
        Ok(file(&release))
    }

    /// Checks the state after a start. With `all`, checks every acknowledged package and every stored object, otherwise
    /// only the packages acknowledged since the last audit.
    fn audit(&self, all: bool) {
        // A start rewrites the markers of the storage classes, each through a temporary file.
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            let left = leftovers(self.server.dir());
            if left.is_empty() {
                break;
            }
            assert!(Instant::now() < deadline, "left over: {left:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
        let addresses = self.addresses();
        let get = |path: &str| addresses.get(&format!("/all/latest/src/contrib/{path}")).expect("an answer");
        let mut ledger = self.ledger.lock().unwrap();
        let index = records(&get("PACKAGES").text());
        let is_of_cran = |name: &str| name == "counter" || name == "visitor" || name.starts_with("package");
        let version = |name: &str| index.get(name).map(|(version, _)| version.as_str());

        // A sync is complete: exactly one state of the mirror, and none older than the acknowledged one.
        let count: usize =
            version("counter").and_then(|v| v.strip_prefix("0.")?.parse().ok()).expect("a state");
        let listed_cran: BTreeMap<String, String> = index
            .iter()
            .filter(|(name, _)| is_of_cran(name))
            .map(|(name, (version, _))| (name.clone(), version.clone()))
            .collect();
        assert_eq!(listed_cran, ledger.states[count], "not a state of the mirror");
        assert!(count >= ledger.synced_state, "state {count} is older than {}", ledger.synced_state);
        ledger.synced_state = count;

        // An add is complete.
        assert_eq!(version("left"), version("right"), "half a transaction");
        let archive = get("Meta/archive.rds").body;
        let rows = read_archive_meta(archive.as_slice(), RdsLimits::META).expect("a table");
        let archived: BTreeSet<String> = rows.into_iter().map(|row| row.file).collect();
        let expected: Vec<Release> = match all {
            true => ledger.added_packages.keys().cloned().collect(),
            false => std::mem::take(&mut ledger.new_packages),
        };
        for release in &expected {
            let name = file(release);
            let listed = version(&release.0) == Some(&release.1);
            assert!(listed != archived.contains(&name), "{name} is acknowledged: listed {listed}");
            let answer = get(&if listed { name.clone() } else { format!("Archive/{}/{name}", release.0) });
            assert_eq!(
                (answer.status, sha256(&answer.body)),
                (200, ledger.added_packages[release].clone()),
                "{name}"
            );
        }
        for group in std::mem::take(&mut ledger.upload_groups) {
            let present: Vec<bool> = group
                .iter()
                .map(|release| {
                    let name = file(release);
                    let is_listed = version(&release.0) == Some(&release.1) || archived.contains(&name);
                    let answer = get(&name);
                    assert_eq!(answer.status, if is_listed { 200 } else { 404 }, "{name}: {}", answer.text());
                    is_listed
                })
                .collect();
            assert!(present.iter().all(|t| *t == present[0]), "half of {group:?}: {present:?}");
        }
        // A listed package is served with its listed digest, acknowledged or not.
        for (name, (version, listed_sha256)) in index.iter().filter(|(name, _)| !is_of_cran(name)) {
            let answer = get(&format!("{name}_{version}.tar.gz"));
            assert_eq!(
                (answer.status, &sha256(&answer.body)),
                (200, listed_sha256.as_ref().expect("SHA256"))
            );
        }
        if all {
            for name in archived {
                let package = name.split('_').next().expect("a name").to_owned();
                let answer = get(&format!("Archive/{package}/{name}"));
                assert_eq!(answer.status, 200, "{name} is in Meta/archive.rds: {}", answer.text());
            }
            for release in &listed_cran {
                let release = (release.0.clone(), release.1.clone());
                let answer = get(&file(&release));
                assert!(answer.status == 200 && answer.body == ledger.entries[&release].bytes, "{release:?}");
            }
            // No row has the state `stored` without an object.
            let log = self.server.log_lines();
            assert!(!log.iter().any(|line| line.contains("gone from storage")), "{}", log.join("\n"));
            for path in walk(&self.server.dir().join("data")) {
                let name = path.file_name().expect("a file").to_string_lossy().into_owned();
                if name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit()) {
                    let mut bytes = Vec::new();
                    std::fs::File::open(&path).unwrap().read_to_end(&mut bytes).unwrap();
                    assert_eq!(sha256(&bytes), name, "{} is damaged", path.display());
                }
            }
        }
    }
}

/// Packages of an index: version and SHA256.
fn records(text: &str) -> BTreeMap<String, (String, Option<String>)> {
    let field = |record: &str, tag: &str| {
        record.lines().find_map(|line| line.strip_prefix(tag)?.strip_prefix(": ")).map(str::to_owned)
    };
    let records = text.split("\n\n").filter(|record| !record.trim().is_empty());
    let rows = records.map(|record| {
        let name = field(record, "Package").expect("a name");
        (name, (field(record, "Version").expect("a version"), field(record, "SHA256")))
    });
    rows.collect()
}

/// The temporary files below `dir`, recognized by their names.
fn leftovers(dir: &Path) -> Vec<PathBuf> {
    let is_temporary = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name.starts_with("spool-")
            || name.starts_with("probe-")
            || name.contains("tmp")
            || path.starts_with(dir.join("tmp"))
    };
    walk(dir).into_iter().filter(is_temporary).collect()
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => files.extend(walk(&path)),
            path => files.push(path),
        }
    }
    files
}

/// Whether an error is one that a client gets when the server is killed.
fn is_cut(error: &Error) -> bool {
    use std::io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, NotFound, UnexpectedEof,
    };
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionRefused | ConnectionReset | NotFound | UnexpectedEof
    )
}
