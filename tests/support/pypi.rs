//! An index of Python packages like PyPI: serials, `ETag`s, files with declared digests, and faults.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};
use sha2::Digest;

use super::listener::Listener;

/// A file of a project.
#[derive(Clone)]
pub(crate) struct IndexFile {
    pub(crate) bytes: Vec<u8>,
    /// METADATA of a wheel.
    pub(crate) metadata: Option<Vec<u8>>,
    /// The bytes that are sent instead of METADATA; if they are empty, the answer is 404.
    pub(crate) sent_metadata: Option<Vec<u8>>,
    /// RFC 3339; empty if the page does not state it.
    pub(crate) uploaded: String,
    pub(crate) yanked: Option<String>,
    pub(crate) requires_python: Option<String>,
    /// The address of its provenance object.
    pub(crate) provenance: Option<String>,
    /// The bytes of its provenance object, see [`Pypi::attest`].
    pub(crate) provenance_object: Vec<u8>,
    /// The bytes that are sent, if they differ from those of the digest.
    pub(crate) sent: Option<Vec<u8>>,
    /// The digest in an earlier address of the file, at which the index also sends it.
    pub(crate) earlier_digest: Option<String>,
}

#[derive(Default)]
struct Project {
    serial: i64,
    /// The number of changes without a new serial.
    silent_changes: u32,
    /// The serial of the page, if a cache still has an older one.
    page_serial: Option<i64>,
    status: Option<&'static str>,
    /// The name on the list, if it is not the normalized one.
    display: Option<&'static str>,
    /// Whether it is missing from the list.
    is_unlisted: bool,
    /// Whether it has no page.
    has_no_page: bool,
    /// The media type and the bytes that are sent as its page.
    raw_page: Option<(&'static str, Vec<u8>)>,
    /// The status and the header fields of the response to a request for its page, which is not a page.
    fault: Option<(u16, String)>,
    files: BTreeMap<String, IndexFile>,
}

impl Project {
    fn is_quarantined(&self) -> bool {
        self.status == Some("quarantined")
    }
}

#[derive(Default)]
struct Shared {
    projects: BTreeMap<String, Project>,
    serial: i64,
    /// Whether pages are HTML without serials and upload times for every client.
    is_plain: bool,
    /// Whether pages declare the MD5 of files instead of their SHA-256.
    declares_md5: bool,
    /// The path of the list of projects, if it is not `/simple/`.
    base: Option<&'static str>,
    /// What the list of projects of a plain index has after its links.
    list_suffix: &'static str,
    /// The response for paths without a page, instead of 404.
    elsewhere: Option<(u16, String, Vec<u8>)>,
    /// Whether there is no list of projects.
    has_no_list: bool,
    /// The list that is sent instead of the current one.
    sent_list: Option<Vec<u8>>,
    /// The number of times that the list was sent, and not 304.
    sent_lists: usize,
    /// Whether every request is answered with 503.
    is_unavailable: bool,
    /// The server of the files, if it is not this one.
    file_server: Option<String>,
    requests: Vec<String>,
    /// Whether requests for pages wait until this is false.
    is_holding: bool,
    /// The number of requests for pages that wait, and its maximum.
    held: (usize, usize),
}

/// A running index; stopped on drop.
pub(crate) struct Pypi {
    shared: Arc<Mutex<Shared>>,
    listener: Listener,
}

impl Pypi {
    /// Starts an index without projects.
    pub(crate) fn start() -> Pypi {
        let shared = Arc::new(Mutex::new(Shared { serial: 100, ..Shared::default() }));
        let thread_shared = Arc::clone(&shared);
        let listener = Listener::open(move |stream| serve(stream, &thread_shared));
        Pypi { shared, listener }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("no panic holds it")
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.listener.address)
    }

    /// Changes a project, and raises its serial.
    fn change(&self, project: &str, change: impl FnOnce(&mut Project)) {
        let mut shared = self.lock();
        shared.serial += 1;
        let serial = shared.serial;
        let entry = shared.projects.entry(project.to_owned()).or_default();
        entry.serial = serial;
        change(entry);
    }

    /// Adds a file.
    pub(crate) fn add(&self, project: &str, name: &str, bytes: &[u8], uploaded: &str) {
        let (bytes, uploaded) = (bytes.to_vec(), uploaded.to_owned());
        let file = IndexFile {
            bytes,
            metadata: None,
            sent_metadata: None,
            uploaded,
            yanked: None,
            requires_python: None,
            provenance: None,
            provenance_object: Vec::new(),
            sent: None,
            earlier_digest: None,
        };
        self.change(project, |entry| drop(entry.files.insert(name.to_owned(), file)));
    }

    /// Changes a file.
    pub(crate) fn edit(&self, project: &str, name: &str, edit: impl FnOnce(&mut IndexFile)) {
        self.change(project, |entry| edit(entry.files.get_mut(name).expect("a file")));
    }

    /// Changes a file, and sets the status of its project, without a new serial.
    pub(crate) fn edit_silently(
        &self,
        project: &str,
        status: Option<&'static str>,
        name: &str,
        edit: impl FnOnce(&mut IndexFile),
    ) {
        let mut shared = self.lock();
        let entry = shared.projects.get_mut(project).expect("a project");
        entry.silent_changes += 1;
        entry.status = status;
        edit(entry.files.get_mut(name).expect("a file"));
    }

    /// Adds the provenance object of a file.
    pub(crate) fn attest(&self, project: &str, name: &str, object: &[u8]) {
        let url = format!("{}/integrity/{project}/{name}/provenance", self.url());
        self.edit(project, name, |file| {
            file.provenance = Some(url);
            file.provenance_object = object.to_vec();
        });
    }

    /// Removes a file.
    pub(crate) fn remove(&self, project: &str, name: &str) {
        self.change(project, |entry| drop(entry.files.remove(name).expect("a file")));
    }

    /// Removes a project from the list and its page.
    pub(crate) fn remove_project(&self, project: &str) {
        let mut shared = self.lock();
        shared.serial += 1;
        shared.projects.remove(project).expect("a project");
    }

    /// Quarantines a project: it is not on the list, and its page has no files; or ends the quarantine.
    pub(crate) fn quarantine(&self, project: &str, is_quarantined: bool) {
        self.change(project, |entry| entry.status = is_quarantined.then_some("quarantined"));
    }

    /// Sets the status of a project that stays on the list.
    pub(crate) fn set_status(&self, project: &str, status: Option<&'static str>) {
        self.change(project, |entry| entry.status = status);
    }

    /// Sets the name of a project on the list.
    pub(crate) fn display(&self, project: &str, name: &'static str) {
        self.change(project, |entry| entry.display = Some(name));
    }

    /// Leaves a project out of the list; its page stays.
    pub(crate) fn unlist(&self, project: &str) {
        self.change(project, |entry| entry.is_unlisted = true);
    }

    /// Removes the page of a project, which stays on the list; or restores it.
    pub(crate) fn remove_page(&self, project: &str, has_no_page: bool) {
        self.change(project, |entry| entry.has_no_page = has_no_page);
    }

    /// Sends these bytes as the page of a project.
    pub(crate) fn set_raw_page(&self, project: &str, media_type: &'static str, body: &[u8]) {
        self.change(project, |entry| entry.raw_page = Some((media_type, body.to_vec())));
    }

    /// Sends the page of a project again instead of the bytes of [`Pypi::set_raw_page`].
    pub(crate) fn remove_raw_page(&self, project: &str) {
        self.change(project, |entry| entry.raw_page = None);
    }

    /// Answers requests for the page of a project with this status and these header fields, and no page; `None` ends
    /// this. A `Content-Length` among the fields replaces that of the response.
    pub(crate) fn set_fault(&self, project: &str, fault: Option<(u16, &str)>) {
        let fault = fault.map(|(status, head)| (status, head.to_owned()));
        self.lock().projects.get_mut(project).expect("a project").fault = fault;
    }

    /// Removes the list of projects; their pages stay.
    pub(crate) fn remove_list(&self) {
        self.lock().has_no_list = true;
    }

    /// The current list of projects.
    pub(crate) fn list(&self) -> Vec<u8> {
        list(&self.lock())
    }

    /// Sends this list of projects instead of the current one; `None` ends this.
    pub(crate) fn send_list(&self, list: Option<Vec<u8>>) {
        self.lock().sent_list = list;
    }

    /// The number of times that the list of projects was sent as a whole.
    pub(crate) fn sent_lists(&self) -> usize {
        self.lock().sent_lists
    }

    /// Sets an older serial for the page of a project; `None` restores the current one.
    pub(crate) fn set_page_serial(&self, project: &str, serial: Option<i64>) {
        self.lock().projects.get_mut(project).expect("a project").page_serial = serial;
    }

    /// Lowers all serials.
    pub(crate) fn lower_serials(&self) {
        let mut shared = self.lock();
        shared.serial = 1;
        shared.projects.values_mut().for_each(|project| project.serial = 1);
    }

    /// Sets the path of the list of projects, below which the pages are.
    pub(crate) fn set_base(&self, base: &'static str) {
        self.lock().base = Some(base);
    }

    /// Sets what the list of projects of a plain index has after its links.
    pub(crate) fn set_list_suffix(&self, suffix: &'static str) {
        self.lock().list_suffix = suffix;
    }

    /// Sets the response for every path without a page: status, head and body.
    pub(crate) fn set_elsewhere(&self, status: u16, head: &str, body: &str) {
        self.lock().elsewhere = Some((status, format!("Content-Type: text/html\r\n{head}"), body.into()));
    }

    pub(crate) fn set_unavailable(&self, is_unavailable: bool) {
        self.lock().is_unavailable = is_unavailable;
    }

    pub(crate) fn set_plain(&self) {
        self.lock().is_plain = true;
    }

    /// Declares the MD5 of files on pages instead of their SHA-256.
    pub(crate) fn declare_md5(&self) {
        self.lock().declares_md5 = true;
    }

    pub(crate) fn set_file_server(&self, url: &str) {
        self.lock().file_server = Some(url.to_owned());
    }

    /// Makes requests for pages wait, or ends this.
    pub(crate) fn hold_pages(&self, is_holding: bool) {
        self.lock().is_holding = is_holding;
    }

    /// The highest number of requests for pages that waited at the same time.
    pub(crate) fn max_held_pages(&self) -> usize {
        self.lock().held.1
    }

    /// The paths requested since the last call.
    pub(crate) fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().requests)
    }
}

/// The algorithm and the digest that pages declare.
fn declared_digest(shared: &Shared, file: &IndexFile) -> (&'static str, String) {
    if shared.declares_md5 {
        ("md5", hex::encode(md5::Md5::digest(&file.bytes)))
    } else {
        ("sha256", hex(&file.bytes))
    }
}

/// The SHA-256 of these bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    hex::encode(sha2::Sha256::digest(bytes))
}

/// Answers one request for each connection.
fn serve(stream: &TcpStream, shared: &Mutex<Shared>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.take(64 * 1024)).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let path = percent_encoding::percent_decode_str(&path).decode_utf8_lossy().into_owned();
    let mut etag = None;
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else { break };
        if name.eq_ignore_ascii_case("if-none-match") {
            etag = Some(value.trim().to_owned());
        }
    }
    if path.starts_with("/simple/") && path != "/simple/" {
        hold(shared);
    }
    let (status, head, body) = {
        let mut shared = shared.lock().expect("no panic holds it");
        shared.requests.push(path.clone());
        let path = path_below_simple(&shared, &path);
        let answer = answer(&shared, &path, etag.as_deref());
        shared.sent_lists += usize::from(path == "/simple/" && answer.0 == 200);
        answer
    };
    let length = match head.contains("Content-Length") {
        true => String::new(),
        false => format!("Content-Length: {}\r\n", body.len()),
    };
    let head = format!("HTTP/1.1 {status} Because\r\nConnection: close\r\n{head}{length}\r\n");
    let mut out = stream;
    out.write_all(head.as_bytes())?;
    out.write_all(&body)?;
    out.flush()?;
    stream.shutdown(Shutdown::Write)
}

/// The path that an index with the pages below `/simple/` would have.
fn path_below_simple(shared: &Shared, path: &str) -> String {
    let Some(base) = shared.base else { return path.to_owned() };
    match (path.find("/packages/"), path.strip_prefix(base)) {
        (Some(at), _) => path[at..].to_owned(),
        (None, Some(rest)) => format!("/simple/{rest}"),
        (None, None) => "/none".to_owned(),
    }
}

/// Waits as long as pages are held.
fn hold(shared: &Mutex<Shared>) {
    let change = |waiting: bool| {
        let mut shared = shared.lock().expect("no panic holds it");
        let (now, most) = shared.held;
        let now = if waiting { now + 1 } else { now - 1 };
        shared.held = (now, most.max(now));
    };
    if !shared.lock().expect("no panic holds it").is_holding {
        return;
    }
    change(true);
    while shared.lock().expect("no panic holds it").is_holding {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    change(false);
}

fn answer(shared: &Shared, path: &str, etag: Option<&str>) -> (u16, String, Vec<u8>) {
    const JSON: &str = "Content-Type: application/vnd.pypi.simple.v1+json\r\n";
    const HTML: &str = "Content-Type: text/html\r\n";
    let missing = || shared.elsewhere.clone().unwrap_or_else(|| (404, HTML.to_owned(), b"404".to_vec()));
    if shared.is_unavailable {
        return (503, HTML.to_owned(), b"503".to_vec());
    }
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match segments[..] {
        ["simple", ""] if shared.has_no_list => missing(),
        ["simple", ""] => {
            if shared.is_plain {
                let links: String =
                    listed(shared).map(|(name, _)| format!("<a href=\"{name}/\">{name}</a>\n")).collect();
                return (
                    200,
                    HTML.to_owned(),
                    format!("<!DOCTYPE html><html>{links}{}</html>", shared.list_suffix).into_bytes(),
                );
            }
            let list = shared.sent_list.clone().unwrap_or_else(|| list(shared));
            let validator = format!("\"{}\"", hex(&list));
            let head = format!("{JSON}ETag: {validator}\r\n");
            if etag == Some(validator.as_str()) {
                return (304, head, Vec::new());
            }
            (200, head, list)
        }
        ["simple", name, ""] => {
            let Some(project) = shared.projects.get(name).filter(|project| !project.has_no_page) else {
                return missing();
            };
            if let Some((status, head)) = &project.fault {
                return (*status, head.clone(), b"fault".to_vec());
            }
            if let Some((media_type, body)) = &project.raw_page {
                return (200, format!("Content-Type: {media_type}\r\n"), body.clone());
            }
            if shared.is_plain {
                let page = format!("<!DOCTYPE html><html>{}</html>", links(shared, project));
                return (200, HTML.to_owned(), page.into_bytes());
            }
            let serial = project.page_serial.unwrap_or(project.serial);
            let validator = format!("\"{serial}-{}\"", project.silent_changes);
            let head = format!("{JSON}ETag: {validator}\r\nX-PyPI-Last-Serial: {serial}\r\n");
            if etag == Some(validator.as_str()) {
                return (304, head, Vec::new());
            }
            (200, head, page(shared, name, project, serial).to_string().into_bytes())
        }
        ["integrity", project, name, "provenance"] => {
            let file = shared.projects.get(project).and_then(|project| project.files.get(name));
            let head = "Content-Type: application/vnd.pypi.integrity.v1+json\r\n".to_owned();
            file.map_or_else(missing, |file| (200, head, file.provenance_object.clone()))
        }
        ["packages", sha256, name] => {
            let (file, is_metadata) = match name.strip_suffix(".metadata") {
                Some(file) => (file, true),
                None => (name, false),
            };
            let mut files = shared.projects.values().filter_map(|project| project.files.get(file));
            let has_digest = |digest: &String| digest == sha256;
            let found = files.find(|file| {
                has_digest(&hex(&file.bytes)) || file.earlier_digest.as_ref().is_some_and(has_digest)
            });
            let bytes = found.and_then(|file| match is_metadata {
                true => file
                    .sent_metadata
                    .clone()
                    .or_else(|| file.metadata.clone())
                    .filter(|bytes| !bytes.is_empty()),
                false => Some(file.sent.clone().unwrap_or_else(|| file.bytes.clone())),
            });
            let head = "Content-Type: application/octet-stream\r\n".to_owned();
            bytes.map_or_else(missing, |bytes| (200, head, bytes))
        }
        _ => missing(),
    }
}

/// The projects on the list.
fn listed(shared: &Shared) -> impl Iterator<Item = (&String, &Project)> {
    shared.projects.iter().filter(|(_, project)| !project.is_quarantined() && !project.is_unlisted)
}

/// The list of projects as JSON.
fn list(shared: &Shared) -> Vec<u8> {
    let projects: Vec<Value> = listed(shared)
        .map(|(name, project)| {
            json!({ "name": project.display.unwrap_or(name.as_str()), "_last-serial": project.serial })
        })
        .collect();
    let meta = json!({ "api-version": "1.4", "_last-serial": shared.serial });
    json!({ "meta": meta, "projects": projects }).to_string().into_bytes()
}

fn address(shared: &Shared, name: &str, file: &IndexFile) -> String {
    let server = shared.file_server.as_deref().unwrap_or("../..");
    format!("{server}/packages/{}/{}", hex(&file.bytes), name.replace('+', "%2B"))
}

/// The files that the page offers.
fn offered_files(project: &Project) -> impl Iterator<Item = (&String, &IndexFile)> {
    project.files.iter().filter(move |_| !project.is_quarantined())
}

fn links(shared: &Shared, project: &Project) -> String {
    let mut text = String::new();
    for (name, file) in offered_files(project) {
        let yanked =
            file.yanked.as_ref().map(|reason| format!(" data-yanked=\"{reason}\"")).unwrap_or_default();
        let provenance =
            file.provenance.as_ref().map(|url| format!(" data-provenance=\"{url}\"")).unwrap_or_default();
        let address = address(shared, name, file);
        let (algorithm, digest) = declared_digest(shared, file);
        writeln!(text, "<a href=\"{address}#{algorithm}={digest}\"{yanked}{provenance}>{name}</a>")
            .expect("memory");
    }
    text
}

fn page(shared: &Shared, name: &str, project: &Project, serial: i64) -> Value {
    let entries = offered_files(project).map(|(name, file)| {
        let (algorithm, digest) = declared_digest(shared, file);
        let mut entry = json!({
            "filename": name,
            "url": address(shared, name, file),
            "hashes": { algorithm: digest },
            "size": file.bytes.len(),
            "requires-python": file.requires_python,
            "yanked": file.yanked.as_ref().map_or(json!(false), |reason| match &**reason {
                "" => json!(true),
                reason => json!(reason),
            }),
        });
        if !file.uploaded.is_empty() {
            entry["upload-time"] = json!(file.uploaded);
        }
        if let Some(url) = &file.provenance {
            entry["provenance"] = json!(url);
        }
        if let Some(metadata) = &file.metadata {
            entry["core-metadata"] = json!({ "sha256": hex(metadata) });
        }
        entry
    });
    let files: Vec<Value> = entries.collect();
    json!({
        "meta": { "api-version": "1.4", "_last-serial": serial },
        "name": name,
        "project-status": { "status": project.status.unwrap_or("active") },
        "files": files,
    })
}
