//! A small HTTP server that records every request: a proxy, a reverse proxy, or a mirror.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// The answers to requests.
#[derive(Clone)]
enum Behavior {
    /// The answers of this server, for every requested host; the first label of a host below `s3.test` becomes the
    /// first segment of the path.
    Forward(SocketAddr),
    /// The files of this directory.
    Folder(PathBuf),
    /// This status and body.
    Answer(u16, &'static str),
}

/// The server; it runs until the test process ends.
pub(crate) struct RecordingServer {
    /// The address it listens on.
    pub(crate) address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl RecordingServer {
    /// Starts a proxy in front of a server.
    pub(crate) fn to(server: SocketAddr) -> RecordingServer {
        RecordingServer::start(Behavior::Forward(server), None)
    }

    /// Starts a mirror of a directory.
    pub(crate) fn folder(folder: &Path) -> RecordingServer {
        RecordingServer::start(Behavior::Folder(folder.to_owned()), None)
    }

    /// Starts a mirror of a directory over TLS.
    pub(crate) fn folder_over_tls(folder: &Path, config: ServerConfig) -> RecordingServer {
        RecordingServer::start(Behavior::Folder(folder.to_owned()), Some(Arc::new(config)))
    }

    /// Starts a server that always sends the same answer.
    pub(crate) fn with_answer(status: u16, body: &'static str) -> RecordingServer {
        RecordingServer::start(Behavior::Answer(status, body), None)
    }

    fn start(behavior: Behavior, tls: Option<Arc<ServerConfig>>) -> RecordingServer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let server = RecordingServer { address, heads: Arc::clone(&heads) };
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (behavior, heads, tls) = (behavior.clone(), Arc::clone(&heads), tls.clone());
                // A client may disconnect.
                std::thread::spawn(move || {
                    let _ = client.set_read_timeout(Some(Duration::from_secs(90)));
                    let _ = match tls {
                        None => serve(client, &behavior, &heads),
                        Some(config) => {
                            let connection = ServerConnection::new(config).expect("a server's side");
                            serve(StreamOwned::new(connection, client), &behavior, &heads)
                        }
                    };
                });
            }
        });
        server
    }

    /// The heads of all received requests: request line and header lines.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }
}

/// Answers one request of a connection.
fn serve<S: Read + Write>(stream: S, behavior: &Behavior, heads: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let field = |name: &str| {
        head.lines().filter_map(|line| line.split_once(':')).find(|(n, _)| n.eq_ignore_ascii_case(name))
    };
    let size = field("content-length").and_then(|(_, n)| n.trim().parse().ok()).unwrap_or(0);
    let mut body = vec![0; size];
    stream.read_exact(&mut body)?;
    heads.lock().unwrap().push(head.clone());

    let mut words = head.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (host, path) = match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or((rest, "/"), |at| rest.split_at(at)),
        None => (field("host").map_or("", |(_, host)| host.trim()), target),
    };
    let answer = match behavior {
        Behavior::Answer(status, body) => format!(
            "HTTP/1.1 {status} Test\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
        .into_bytes(),
        Behavior::Folder(folder) => {
            let result = std::fs::read(folder.join(path.trim_start_matches('/')));
            let status = if result.is_ok() { "200 OK" } else { "404 Not Found" };
            let content = result.unwrap_or_default();
            let length = content.len();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            let body = if method == "HEAD" { Vec::new() } else { content };
            [head.into_bytes(), body].concat()
        }
        Behavior::Forward(server) => {
            let name = host.split(':').next().unwrap_or_default();
            let path = match name.strip_suffix(".s3.test") {
                // The path of the bucket itself does not end with a slash.
                Some(bucket) => match path.strip_prefix("/?") {
                    Some(query) => format!("/{bucket}?{query}"),
                    None => format!("/{bucket}{path}"),
                },
                None => path.to_owned(),
            };
            let mut server_stream = TcpStream::connect(server)?;
            // An S3 server would take the bucket from an unknown host.
            let mut fields = format!("Host: {server}\r\nConnection: close\r\n");
            for line in head.lines().skip(1).filter(|line| !line.is_empty()) {
                let name = line.split(':').next().unwrap_or_default();
                if !["host", "connection"].iter().any(|field| name.eq_ignore_ascii_case(field)) {
                    fields.push_str(&format!("{line}\r\n"));
                }
            }
            let head = format!("{method} {path} HTTP/1.1\r\n{fields}\r\n");
            server_stream.write_all(head.as_bytes())?;
            server_stream.write_all(&body)?;
            let mut answer = Vec::new();
            server_stream.read_to_end(&mut answer)?;
            answer
        }
    };
    stream.get_mut().write_all(&answer)?;
    stream.get_mut().flush()
}
