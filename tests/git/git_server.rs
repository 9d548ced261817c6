//! A git server over HTTP with a password: `git http-backend` behind a small server of the tests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The server; its thread ends with the process.
pub(super) struct GitServer {
    port: u16,
    /// The heads of all requests.
    pub(super) requests: Arc<Mutex<Vec<String>>>,
    /// Holds the next answer to the package server itself: sends a message when it is complete, and waits for one.
    pub(super) hold: Hold,
}

pub(super) type Hold = Arc<Mutex<Option<(Sender<()>, Receiver<()>)>>>;

impl GitServer {
    /// Serves the repositories of a directory to one user; with an empty password, to everyone.
    pub(super) fn start(root: PathBuf, user: &str, password: &str) -> GitServer {
        GitServer::start_with(root, user, password, true)
    }

    /// The same without version 2 of git's protocol.
    pub(super) fn start_old(root: PathBuf, user: &str, password: &str) -> GitServer {
        GitServer::start_with(root, user, password, false)
    }

    fn start_with(root: PathBuf, user: &str, password: &str, has_version_2: bool) -> GitServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = Arc::clone(&requests);
        let hold = Hold::default();
        let next = Arc::clone(&hold);
        let authorization = match password {
            "" => None,
            _ => Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))),
        };
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (root, authorization, log) = (root.clone(), authorization.clone(), Arc::clone(&log));
                let next = Arc::clone(&next);
                // A client that disconnects is no failure of the server.
                std::thread::spawn(move || {
                    drop(answer(client, &root, authorization.as_deref(), &log, has_version_2, &next))
                });
            }
        });
        GitServer { port, requests, hold }
    }

    pub(super) fn url(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}/{name}", self.port)
    }
}

fn answer(
    client: TcpStream,
    root: &std::path::Path,
    authorization: Option<&str>,
    log: &Mutex<Vec<String>>,
    has_version_2: bool,
    hold: &Hold,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if line.trim_end().is_empty() {
            break;
        }
        head.push(line.trim_end().to_owned());
    }
    log.lock().unwrap().push(head.join("\n"));
    let header = |name: &str| {
        let pairs = head.iter().skip(1).filter_map(|line| line.split_once(": "));
        pairs.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
    };
    let mut client = client;
    if authorization.is_some_and(|expected| header("authorization").as_deref() != Some(expected)) {
        return client.write_all(
            b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"git\"\r\nContent-Length: 0\r\n\
              Connection: close\r\n\r\n",
        );
    }
    let mut words = head[0].split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let length = header("content-length").unwrap_or_default();
    let mut body = vec![0; length.parse().unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let mut command = Command::new("git");
    command.args(["-c", "safe.directory=*", "http-backend"]).env("GIT_PROJECT_ROOT", root);
    for (name, value) in [
        ("GIT_HTTP_EXPORT_ALL", "1".to_owned()),
        ("GIT_CONFIG_COUNT", "1".to_owned()),
        ("GIT_CONFIG_KEY_0", "safe.directory".to_owned()),
        ("GIT_CONFIG_VALUE_0", "*".to_owned()),
        ("REQUEST_METHOD", method.to_owned()),
        ("PATH_INFO", path.to_owned()),
        ("QUERY_STRING", query.to_owned()),
        ("CONTENT_TYPE", header("content-type").unwrap_or_default()),
        ("CONTENT_LENGTH", length),
        ("HTTP_CONTENT_ENCODING", header("content-encoding").unwrap_or_default()),
        ("GIT_PROTOCOL", header("git-protocol").filter(|_| has_version_2).unwrap_or_default()),
        ("REMOTE_USER", "user".to_owned()),
    ] {
        command.env(name, value);
    }
    let mut backend = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    backend.stdin.take().expect("piped").write_all(&body)?;
    let output = backend.wait_with_output()?.stdout;
    if header("user-agent").is_some_and(|agent| agent.contains("rstudio-pm/")) {
        let held = hold.lock().unwrap().take();
        if let Some((complete, release)) = held {
            let _ = complete.send(());
            let _ = release.recv();
        }
    }
    let end = output.windows(4).position(|bytes| bytes == b"\r\n\r\n").map_or(output.len(), |at| at + 4);
    let (fields, content) = output.split_at(end);
    let fields = String::from_utf8_lossy(fields);
    let status = fields.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK");
    let fields: String = fields
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with("Status"))
        .map(|l| format!("{l}\r\n"))
        .collect();
    let head = format!(
        "HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\nConnection: close\r\n\r\n",
        content.len()
    );
    client.write_all(head.as_bytes())?;
    client.write_all(content)
}
