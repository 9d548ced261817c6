//! A CRAN-like mirror over HTTP where a test controls how many bytes of a file are sent.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rstudio_pm::model::time::{SECOND, Timestamp};
use rstudio_pm::r::rds::archive_meta::{MetaRow, write_archive_meta, write_current_meta};
use sha2::Digest;

use super::listener::Listener;
use super::tarball::Tarball;

/// A file of the mirror with the options for its transfer.
#[derive(Clone, Debug)]
pub(crate) struct MirrorFile {
    pub(crate) bytes: Arc<Vec<u8>>,
    /// Whether `Content-Length` is sent.
    pub(crate) has_length: bool,
    /// Whether `Range` is supported.
    pub(crate) supports_ranges: bool,
    /// Offset at which sending pauses until it is raised; the connection stays open.
    pub(crate) pause_at: usize,
    /// Offsets at which the next answers are cut off, one for each answer.
    pub(crate) cuts: VecDeque<usize>,
    /// Whether requests stay unanswered on an open connection.
    pub(crate) is_mute: bool,
    /// A status in place of 200, and a header line.
    pub(crate) status: Option<(u16, &'static str)>,
}

/// A received request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) if_range: Option<String>,
}

#[derive(Default)]
struct Shared {
    files: Mutex<HashMap<String, MirrorFile>>,
    changed: Condvar,
    requests: Mutex<Vec<Request>>,
    active_requests: AtomicUsize,
    is_stopped: AtomicBool,
}

/// A running mirror; stopped on drop.
pub(crate) struct Mirror {
    shared: Arc<Shared>,
    listener: Listener,
}

/// A package of the mirror's index.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) package: String,
    pub(crate) version: String,
    pub(crate) bytes: Vec<u8>,
}

impl Entry {
    /// A package of about `size` incompressible bytes.
    pub(crate) fn new(package: &str, version: &str, size: usize) -> Entry {
        let mut tarball = Tarball::new(package, version);
        tarball.files.push(Entry::noise(&format!("{package}{version}"), size));
        Entry { package: package.to_owned(), version: version.to_owned(), bytes: tarball.bytes() }
    }

    /// A file of `size` incompressible bytes for a package: different for each seed, equal in each run.
    pub(crate) fn noise(seed: &str, size: usize) -> (String, Vec<u8>) {
        // xorshift.
        let mut state = seed
            .bytes()
            .fold(0x9e37_79b9_7f4a_7c15_u64, |a, b| (a ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        let noise = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        ("data/noise".to_owned(), noise.flatten().take(size).collect())
    }

    pub(crate) fn file(&self) -> String {
        format!("{}_{}.tar.gz", self.package, self.version)
    }

    /// Its path as a listed package.
    pub(crate) fn listed(&self) -> String {
        format!("src/contrib/{}", self.file())
    }

    /// Its path in the archive.
    pub(crate) fn archived(&self) -> String {
        format!("src/contrib/Archive/{}/{}", self.package, self.file())
    }

    fn row(&self) -> MetaRow<String> {
        // 2024-01-01.
        let mtime = Timestamp(1_704_067_200 * SECOND);
        MetaRow { package: self.package.clone(), file: self.file(), size: self.bytes.len() as u64, mtime }
    }
}

impl Mirror {
    pub(crate) fn start() -> Mirror {
        let shared = Arc::new(Shared::default());
        let thread_shared = shared.clone();
        let listener = Listener::open(move |stream| serve(stream, &thread_shared));
        Mirror { shared, listener }
    }

    /// Starts a mirror with these packages and all metadata of CRAN.
    pub(crate) fn of(listed: &[Entry], archived: &[Entry]) -> Mirror {
        let mirror = Mirror::start();
        mirror.publish(listed, archived);
        mirror
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.listener.address)
    }

    /// Adds packages, index and `Meta/`. Other files stay.
    pub(crate) fn publish(&self, listed: &[Entry], archived: &[Entry]) {
        for (path, entry) in listed
            .iter()
            .map(|entry| (entry.listed(), entry))
            .chain(archived.iter().map(|entry| (entry.archived(), entry)))
        {
            self.put(&path, entry.bytes.clone());
        }
        self.index(listed, archived);
    }

    /// Adds the index and `Meta/` of packages without their files.
    pub(crate) fn index(&self, listed: &[Entry], archived: &[Entry]) {
        let (mut current, mut archive) = (Vec::new(), Vec::new());
        let rows = |entries: &[Entry]| entries.iter().map(Entry::row).collect::<Vec<_>>();
        write_current_meta(&mut current, &rows(listed)).expect("memory");
        write_archive_meta(&mut archive, &rows(archived)).expect("memory");
        self.put("src/contrib/Meta/current.rds", current);
        self.put("src/contrib/Meta/archive.rds", archive);
        self.index_without_meta(listed);
    }

    /// Adds an index without `Meta/`, and so without sizes.
    pub(crate) fn index_without_meta(&self, listed: &[Entry]) {
        let mut text = String::new();
        for Entry { package, version, bytes } in listed {
            let md5 = hex::encode(md5::Md5::digest(bytes));
            text.push_str(&format!("Package: {package}\nVersion: {version}\nMD5sum: {md5}\n\n"));
        }
        self.put("src/contrib/PACKAGES", text);
    }

    /// Adds a file, which is sent normally.
    pub(crate) fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        let bytes = Arc::new(bytes.into());
        let file = MirrorFile {
            bytes,
            has_length: true,
            supports_ranges: true,
            pause_at: usize::MAX,
            cuts: VecDeque::new(),
            is_mute: false,
            status: None,
        };
        self.shared.files.lock().unwrap().insert(path.to_owned(), file);
    }

    /// Changes the options for the transfer of a file, also for current readers.
    pub(crate) fn set(&self, path: &str, change: impl FnOnce(&mut MirrorFile)) {
        change(self.shared.files.lock().unwrap().get_mut(path).expect("the file exists"));
        self.shared.changed.notify_all();
    }

    pub(crate) fn remove(&self, path: &str) {
        self.shared.files.lock().unwrap().remove(path).expect("the file exists");
    }

    /// The requests for a path, in order.
    pub(crate) fn requests(&self, path: &str) -> Vec<Request> {
        self.shared.requests.lock().unwrap().iter().filter(|request| request.path == path).cloned().collect()
    }

    /// The number of requests that are being answered.
    pub(crate) fn active_requests(&self) -> usize {
        self.shared.active_requests.load(Ordering::SeqCst)
    }

    /// Waits until exactly `count` requests are being answered.
    pub(crate) fn wait_for_active_requests(&self, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(90);
        while self.active_requests() != count {
            assert!(
                Instant::now() < deadline,
                "{} requests are answered, not {count}",
                self.active_requests()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops the mirror: connections are refused.
    pub(crate) fn stop(&self) {
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        self.listener.close();
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        self.shared.changed.notify_all();
    }
}

struct ActiveRequest<'a>(&'a AtomicUsize);

impl Drop for ActiveRequest<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn serve(stream: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.take(64 * 1024)).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let path = first.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
    let mut headers = HashMap::new();
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let header = |name: &str| headers.get(name).cloned();
    let request = Request { path: path.clone(), range: header("range"), if_range: header("if-range") };
    shared.requests.lock().unwrap().push(request);
    shared.active_requests.fetch_add(1, Ordering::SeqCst);
    let _active_request = ActiveRequest(&shared.active_requests);
    let (file, cut) = {
        let mut files = shared.files.lock().unwrap();
        let cut = files.get_mut(&path).and_then(|file| file.cuts.pop_front());
        (files.get(&path).cloned(), cut)
    };
    let mut out = stream;
    let Some(file) = file else {
        out.write_all(b"HTTP/1.1 404 No\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")?;
        return stream.shutdown(Shutdown::Write);
    };
    if file.is_mute {
        while !is_closed(stream)? && !shared.is_stopped.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        return Ok(());
    }
    if let Some((status, header_line)) = file.status {
        let head = format!(
            "HTTP/1.1 {status} No\r\nConnection: close\r\n{header_line}\r\nContent-Length: 2\r\n\r\nno"
        );
        out.write_all(head.as_bytes())?;
        return stream.shutdown(Shutdown::Write);
    }
    let size = file.bytes.len();
    let etag = format!("\"{}\"", &hex::encode(sha2::Sha256::digest(&*file.bytes))[..16]);
    if header("if-none-match").as_ref() == Some(&etag) {
        out.write_all(format!("HTTP/1.1 304 Same\r\nConnection: close\r\nETag: {etag}\r\n\r\n").as_bytes())?;
        return stream.shutdown(Shutdown::Write);
    }
    let range =
        header("range").and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    let from = range.filter(|from| {
        file.supports_ranges && *from < size && header("if-range").is_none_or(|tag| tag == etag)
    });
    let mut head = match from {
        Some(from) => format!("HTTP/1.1 206 Part\r\nContent-Range: bytes {from}-{}/{size}\r\n", size - 1),
        None => "HTTP/1.1 200 OK\r\n".to_owned(),
    };
    let mut offset = from.unwrap_or(0);
    if file.has_length {
        head.push_str(&format!("Content-Length: {}\r\n", size - offset));
    }
    head.push_str(&format!("ETag: {etag}\r\nConnection: close\r\n\r\n"));
    out.write_all(head.as_bytes())?;
    let end = cut.unwrap_or(size).min(size);
    while offset < end {
        let pause_at = {
            let files = shared.files.lock().unwrap();
            let pause_at = files.get(&path).map_or(usize::MAX, |file| file.pause_at);
            if pause_at <= offset && !shared.is_stopped.load(Ordering::SeqCst) {
                drop(shared.changed.wait_timeout(files, Duration::from_millis(5)).unwrap());
            }
            pause_at
        };
        if pause_at <= offset {
            if is_closed(stream)? || shared.is_stopped.load(Ordering::SeqCst) {
                return Ok(());
            }
            continue;
        }
        let piece = &file.bytes[offset..end.min(pause_at).min(offset + (64 << 10))];
        out.write_all(piece)?;
        offset += piece.len();
    }
    out.flush()?;
    stream.shutdown(Shutdown::Write)
}

/// Whether the client has closed the connection.
fn is_closed(stream: &TcpStream) -> std::io::Result<bool> {
    stream.set_nonblocking(true)?;
    let result = stream.peek(&mut [0]);
    stream.set_nonblocking(false)?;
    Ok(match result {
        Ok(n) => n == 0,
        Err(e) => e.kind() != ErrorKind::WouldBlock,
    })
}
