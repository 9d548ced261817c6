//! A mirror over HTTP with configurable faults.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::Digest;

use super::listener::Listener;

/// The fault of one answer.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The body ends after this number of bytes, and `Content-Length` is that of the part.
    Truncate(usize),
    /// `Content-Length` is that of the whole body, the connection is closed after this number of bytes.
    CutAfter(usize),
    /// `Content-Length` is this much larger than the body.
    LengthTooLarge(usize),
    /// A web page with status 200.
    Html,
    /// A status, and a header line (`Retry-After: 1`).
    Status(u16, &'static str),
    /// A delay before the answer.
    Slow(Duration),
    /// No answer until [`Upstream::release`] of the path, or the client disconnects.
    NoAnswer,
    /// A redirect to this path (`/x`) or URL.
    Redirect(String),
    /// No `ETag`, no `Last-Modified`, no ranges.
    NoValidators,
    /// A correct answer with an additional header line.
    ExtraHeader(&'static str),
    /// 206 with the right bytes and a wrong `Content-Range`.
    WrongRange,
}

/// A received request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Without the leading slash.
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: HashMap<String, String>,
    /// Status of the answer.
    pub(crate) status: u16,
}

#[derive(Default)]
struct Shared {
    files: Mutex<HashMap<String, Vec<u8>>>,
    next_faults: Mutex<HashMap<String, Vec<Fault>>>,
    permanent_faults: Mutex<HashMap<String, Fault>>,
    requests: Mutex<Vec<Request>>,
    pending: Mutex<Vec<String>>,
}

/// A running mirror; stopped on drop.
pub(crate) struct Upstream {
    shared: Arc<Shared>,
    listener: Listener,
}

impl Upstream {
    /// Serves the current content of every file below `root`.
    pub(crate) fn of(root: &Path) -> Upstream {
        let upstream = Upstream::empty();
        upstream.add_all(root, root);
        upstream
    }

    /// Starts a mirror without files.
    pub(crate) fn empty() -> Upstream {
        let shared = Arc::new(Shared::default());
        let thread_shared = shared.clone();
        let listener = Listener::open(move |stream| serve(stream, &thread_shared));
        Upstream { shared, listener }
    }

    fn add_all(&self, root: &Path, folder: &Path) {
        for entry in std::fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path()) {
            if entry.is_dir() {
                self.add_all(root, &entry);
            } else {
                let name = entry.strip_prefix(root).expect("below").to_string_lossy().into_owned();
                self.put(&name, std::fs::read(&entry).expect("readable"));
            }
        }
    }

    /// The URL of the mirror.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.listener.address)
    }

    /// Replaces a file.
    pub(crate) fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.shared.files.lock().unwrap().insert(path.to_owned(), bytes.into());
    }

    /// The bytes of a file.
    pub(crate) fn bytes(&self, path: &str) -> Vec<u8> {
        self.shared.files.lock().unwrap()[path].clone()
    }

    /// Removes a file.
    pub(crate) fn remove(&self, path: &str) {
        self.shared.files.lock().unwrap().remove(path).expect("the file exists");
    }

    /// Sets the faults of the next answers for a path, one for each answer.
    pub(crate) fn fail(&self, path: &str, faults: impl IntoIterator<Item = Fault>) {
        self.shared.next_faults.lock().unwrap().entry(path.to_owned()).or_default().extend(faults);
    }

    /// Sets the fault of every answer for a path.
    pub(crate) fn always(&self, path: &str, fault: Fault) {
        self.shared.permanent_faults.lock().unwrap().insert(path.to_owned(), fault);
    }

    /// The requests answered since the last call.
    pub(crate) fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut *self.shared.requests.lock().unwrap())
    }

    /// Removes the permanent fault of a path, such as [`Fault::NoAnswer`]: requests that wait are answered.
    pub(crate) fn release(&self, path: &str) {
        self.shared.permanent_faults.lock().unwrap().remove(path);
    }

    /// The paths of the requests that are not yet answered.
    pub(crate) fn pending(&self) -> Vec<String> {
        self.shared.pending.lock().unwrap().clone()
    }
}

/// Answers one request for each connection, so that a fault affects this request alone.
fn serve(stream: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.take(64 * 1024)).lines();
    let request_line = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let path = request_line.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
    let path = percent_encoding::percent_decode_str(&path).decode_utf8_lossy().into_owned();
    let mut headers = HashMap::new();
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let fault = {
        let mut next_faults = shared.next_faults.lock().unwrap();
        let next =
            next_faults.get_mut(&path).filter(|faults| !faults.is_empty()).map(|faults| faults.remove(0));
        next.or_else(|| shared.permanent_faults.lock().unwrap().get(&path).cloned())
    };
    let file = shared.files.lock().unwrap().get(&path).cloned();
    shared.pending.lock().unwrap().push(path.clone());
    let has_no_answer =
        || matches!(shared.permanent_faults.lock().unwrap().get(&path), Some(Fault::NoAnswer));
    let mut is_open = true;
    while matches!(fault, Some(Fault::NoAnswer)) && is_open && has_no_answer() {
        std::thread::sleep(Duration::from_millis(5));
        is_open = !is_closed(stream)?;
    }
    let (status, head, body, declared_length) = answer(&headers, fault, file);
    {
        let mut pending = shared.pending.lock().unwrap();
        let position = pending.iter().position(|other| *other == path).expect("it was added");
        pending.swap_remove(position);
    }
    if !is_open {
        return Ok(());
    }
    shared.requests.lock().unwrap().push(Request { path, headers, status });
    let mut out = stream;
    let text = format!(
        "HTTP/1.1 {status} Because\r\nConnection: close\r\n{head}Content-Length: {declared_length}\r\n\r\n"
    );
    out.write_all(text.as_bytes())?;
    out.write_all(&body)?;
    out.flush()?;
    stream.shutdown(Shutdown::Write)
}

/// Whether the client has closed the connection.
fn is_closed(stream: &TcpStream) -> std::io::Result<bool> {
    stream.set_nonblocking(true)?;
    let is_closed = match stream.peek(&mut [0]) {
        Ok(size) => size == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    };
    stream.set_nonblocking(false)?;
    Ok(is_closed)
}

/// Status, further header lines, body, value of `Content-Length`.
fn answer(
    headers: &HashMap<String, String>,
    fault: Option<Fault>,
    file: Option<Vec<u8>>,
) -> (u16, String, Vec<u8>, usize) {
    let mut has_no_validators = false;
    let mut has_wrong_range = false;
    match &fault {
        Some(Fault::Html) => {
            let page = b"<!DOCTYPE html><html><body>Sign in to the network</body></html>".to_vec();
            let length = page.len();
            return (200, "Content-Type: text/html\r\n".to_owned(), page, length);
        }
        Some(Fault::Status(status, header_line)) => {
            let header = if header_line.is_empty() { String::new() } else { format!("{header_line}\r\n") };
            return (*status, header, b"no".to_vec(), 2);
        }
        Some(Fault::Redirect(to)) => return (302, format!("Location: {to}\r\n"), Vec::new(), 0),
        Some(Fault::Slow(time)) => std::thread::sleep(*time),
        Some(Fault::NoValidators) => has_no_validators = true,
        Some(Fault::WrongRange) => has_wrong_range = true,
        Some(
            Fault::Truncate(_)
            | Fault::CutAfter(_)
            | Fault::LengthTooLarge(_)
            | Fault::ExtraHeader(_)
            | Fault::NoAnswer,
        )
        | None => {}
    }
    let Some(mut body) = file else { return (404, String::new(), b"no such file".to_vec(), 12) };
    let etag = format!("\"{}\"", &hex::encode(sha2::Sha256::digest(&body))[..16]);
    let mut head = if has_no_validators { String::new() } else { format!("ETag: {etag}\r\n") };
    if let Some(Fault::ExtraHeader(header_line)) = &fault {
        head.push_str(&format!("{header_line}\r\n"));
    }
    if !has_no_validators && headers.get("if-none-match") == Some(&etag) {
        return (304, head, Vec::new(), 0);
    }
    let range = headers.get("range").and_then(|r| {
        let (from, to) = r.strip_prefix("bytes=")?.split_once('-')?;
        Some((from.parse::<usize>().ok()?, to.parse::<usize>().unwrap_or(usize::MAX)))
    });
    let range =
        range.filter(|_| !has_no_validators && headers.get("if-range").is_none_or(|tag| *tag == etag));
    let mut status = 200;
    if let Some((from, to)) = range {
        if from >= body.len() {
            return (416, head, Vec::new(), 0);
        }
        let (first, last, size) = (from - usize::from(has_wrong_range), to.min(body.len() - 1), body.len());
        body.truncate(last + 1);
        head.push_str(&format!("Content-Range: bytes {first}-{last}/{size}\r\n"));
        body.drain(..from);
        status = 206;
    }
    let declared_length = match fault {
        Some(Fault::Truncate(size)) => {
            body.truncate(size);
            body.len()
        }
        Some(Fault::CutAfter(size)) => {
            let declared_length = body.len();
            body.truncate(size);
            declared_length
        }
        Some(Fault::LengthTooLarge(excess)) => body.len() + excess,
        _ => body.len(),
    };
    (status, head, body, declared_length)
}
