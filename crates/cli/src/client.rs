//! HTTP client of the admin API, with one JSON value in each direction: over the server's unix socket, or over the
//! network with a token.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::Frame;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use indicatif::{ProgressBar, ProgressStyle};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use tokio_util::io::ReaderStream;
use zeroize::Zeroizing;

use super::error::CliError;
use super::output::shortened;
use super::remote::Remote;
use api::{ADMIN_PREFIX, error::Error, upload::Upload};
use base::config::{self, Config};
use base::model::visible::for_terminal;

/// Minimum size of a file whose upload shows its progress, in bytes.
const MIN_PROGRESS: u64 = 4 << 20;

/// Maximum length of a message of a server: lines, and characters in each.
const MAX_MESSAGE: (usize, usize) = (1_000, 10_000);

type Body = BoxBody<Bytes, std::io::Error>;

/// Maximum number of connections per request: the process of the server may be replaced twice in succession.
const MAX_CONNECTIONS: usize = 3;

/// A connection to the admin API.
pub struct Client {
    transport: Transport,
}

enum Transport {
    /// The socket of the server of this machine.
    Socket(Socket),
    /// A server on the network.
    Network(Remote),
}

/// A connection to the socket.
struct Socket {
    path: PathBuf,
    sender: Mutex<SendRequest<Body>>,
}

/// The strictness with which the configuration that names the socket is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseMode {
    /// The configuration must be valid.
    Strict,
    /// The valid part of the configuration is enough.
    Lenient,
}

/// Percent-encodes one segment of a path or one value of a query, so that no name can extend beyond it.
#[must_use]
pub fn segment(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

impl Client {
    /// Connects to the socket that the configuration names.
    ///
    /// # Errors
    /// The configuration cannot be used, or the server is not reachable.
    pub async fn connect(file: Option<&Path>, parse_mode: ParseMode) -> Result<Client, CliError> {
        Client::open(socket_path(file, parse_mode)?).await
    }

    /// Opens a second connection to the same server.
    ///
    /// # Errors
    /// The server is no longer reachable.
    pub async fn reconnect(&self) -> Result<Client, CliError> {
        match &self.transport {
            Transport::Socket(socket) => Client::open(socket.path.clone()).await,
            Transport::Network(remote) => Ok(Client { transport: Transport::Network(remote.duplicate()) }),
        }
    }

    async fn open(path: PathBuf) -> Result<Client, CliError> {
        let sender = Mutex::new(connect(&path).await?);
        Ok(Client { transport: Transport::Socket(Socket { path, sender }) })
    }

    /// Returns a client of a server on the network. It connects with the first request.
    ///
    /// # Errors
    /// The address is not that of a server.
    pub fn of_address(
        address: &str,
        token: Zeroizing<String>,
        verifies_tls: bool,
    ) -> Result<Client, CliError> {
        Ok(Client { transport: Transport::Network(Remote::new(address, token, verifies_tls)?) })
    }

    /// Returns the path of the server's socket, or the address of the server.
    #[must_use]
    pub fn server(&self) -> String {
        match &self.transport {
            Transport::Socket(socket) => socket.path.display().to_string(),
            Transport::Network(remote) => remote.address().to_owned(),
        }
    }

    /// Returns the error for a server that sends no usable response.
    fn no_answer(&self, reason: String) -> CliError {
        match &self.transport {
            Transport::Socket(socket) => CliError::NoAnswer { path: socket.path.clone(), reason },
            Transport::Network(remote) => {
                CliError::Unreachable { address: remote.address().to_owned(), reason }
            }
        }
    }

    /// Sends a `GET` request.
    ///
    /// # Errors
    /// The server refuses the request, or stops responding.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        self.call(Method::GET, path, empty()).await
    }

    /// Sends a request of any other method with a JSON body.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn send<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &B,
    ) -> Result<T, CliError> {
        let json = serde_json::to_vec(body).map_err(|e| self.no_answer(e.to_string()))?;
        self.call(method, path, Full::new(json.into()).map_err(|e| match e {}).boxed()).await
    }

    /// Sends a `DELETE` request.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        self.call(Method::DELETE, path, empty()).await
    }

    /// Uploads a package file; `kind` is `source`, `binary` or `python`. On a terminal, the progress of a large
    /// file is shown.
    ///
    /// # Errors
    /// The file cannot be read, or the server refuses it.
    pub async fn upload(&self, file: &Path, kind: &str) -> Result<Upload, CliError> {
        let local_error = |e| CliError::Local { operation: format!("read {}", file.display()), source: e };
        let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let handle = tokio::fs::File::open(file).await.map_err(local_error)?;
        let metadata = handle.metadata().await.map_err(local_error)?;
        if metadata.is_dir() {
            return Err(local_error(std::io::Error::from(std::io::ErrorKind::IsADirectory)));
        }
        let path = format!("/uploads?type={kind}&file={}", segment(&name));
        let bar = upload_bar(&name, metadata.len());
        let body = |file: tokio::fs::File| {
            let bar = bar.clone();
            bar.reset();
            let pieces = ReaderStream::with_capacity(file, 256 << 10);
            let pieces = pieces.inspect_ok(move |piece: &Bytes| bar.inc(piece.len() as u64));
            BodyExt::boxed(StreamBody::new(pieces.map_ok(Frame::data)))
        };
        let result = match self.call(Method::POST, &path, body(handle)).await {
            // The upload may be repeated: the server drops uploads that are not used.
            Err(CliError::Interrupted { .. }) => {
                let handle = tokio::fs::File::open(file).await.map_err(local_error)?;
                self.call(Method::POST, &path, body(handle)).await
            }
            result => result,
        };
        bar.finish_and_clear();
        result
    }

    async fn call<T: DeserializeOwned>(&self, method: Method, path: &str, body: Body) -> Result<T, CliError> {
        let target = format!("{method} {ADMIN_PREFIX}{path}");
        let (status, body) = match &self.transport {
            Transport::Socket(socket) => socket.call(method, path, body).await?,
            Transport::Network(remote) => remote.call(method, path, reqwest::Body::wrap(body)).await?,
        };
        tracing::debug!("{target}: {status}");
        if status.is_success() {
            let json: &[u8] = if body.is_empty() { b"null" } else { &body };
            return serde_json::from_slice(json).map_err(|e| {
                self.no_answer(format!(
                    "its response is not one that this rspm ({}) understands: {e}",
                    env!("CARGO_PKG_VERSION")
                ))
            });
        }
        match serde_json::from_slice::<Error>(&body) {
            Ok(error) => Err(CliError::Refused { code: Some(error.code), reason: message(&error.error) }),
            Err(_) => {
                Err(CliError::refused(format!("{status}: {}", message(&String::from_utf8_lossy(&body)))))
            }
        }
    }
}

/// Returns a message of a server, of limited length.
fn message(text: &str) -> String {
    let lines = text.trim().lines().take(MAX_MESSAGE.0);
    lines.map(|line| shortened(line, MAX_MESSAGE.1)).collect::<Vec<_>>().join("\n")
}

/// Returns the progress bar of an upload, on standard error. It is hidden for a small file, and if standard error
/// is not a terminal.
fn upload_bar(name: &str, size: u64) -> ProgressBar {
    if size < MIN_PROGRESS {
        return ProgressBar::hidden();
    }
    // The template is a constant that indicatif accepts; its default style is the fallback.
    let style = ProgressStyle::with_template("{msg}  [{bar:30}] {bytes}/{total_bytes}  {eta} left");
    let bar = ProgressBar::new(size).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.with_message(for_terminal(name))
}

impl Socket {
    async fn call(&self, method: Method, path: &str, body: Body) -> Result<(StatusCode, Bytes), CliError> {
        let no_answer = |reason: String| CliError::NoAnswer { path: self.path.clone(), reason };
        let request = |body| {
            Request::builder()
                .method(method.clone())
                .uri(format!("{ADMIN_PREFIX}{path}"))
                .header("host", "localhost")
                .header("user-agent", concat!("rspm/", env!("CARGO_PKG_VERSION")))
                .body(body)
                .map_err(|e| no_answer(e.to_string()))
        };
        let mut next_request = request(body)?;
        let mut sender = self.sender.lock().await;
        let mut connections = 1;
        loop {
            let (retry, error) = match exchange(&mut sender, next_request).await {
                Ok(answer) => return Ok(answer),
                Err(TransportError::Unsent(request, error)) => (*request, error),
                Err(TransportError::Lost(error)) if method == Method::GET => (request(empty())?, error),
                Err(TransportError::Lost(error)) => {
                    let reason = error.to_string();
                    return Err(CliError::Interrupted { path: self.path.clone(), reason });
                }
            };
            if connections == MAX_CONNECTIONS {
                return Err(no_answer(error.to_string()));
            }
            connections += 1;
            // A server that is replaced by a new process closes its connections after a response; the new process
            // accepts the next one.
            *sender = connect(&self.path).await?;
            next_request = retry;
        }
    }
}

/// The reason why there is no response.
enum TransportError {
    /// No part of the request was sent.
    Unsent(Box<Request<Body>>, hyper::Error),
    /// The request was sent, as a whole or in part.
    Lost(hyper::Error),
}

/// Sends one request and reads its whole response.
async fn exchange(
    sender: &mut SendRequest<Body>,
    request: Request<Body>,
) -> Result<(StatusCode, Bytes), TransportError> {
    if let Err(error) = sender.ready().await {
        return Err(TransportError::Unsent(Box::new(request), error));
    }
    let response = match sender.try_send_request(request).await {
        Ok(response) => response,
        Err(mut error) => {
            return Err(match error.take_message() {
                Some(request) => TransportError::Unsent(Box::new(request), error.into_error()),
                None => TransportError::Lost(error.into_error()),
            });
        }
    };
    let status = response.status();
    let body = response.into_body().collect().await.map_err(TransportError::Lost)?;
    Ok((status, body.to_bytes()))
}

async fn connect(socket: &Path) -> Result<SendRequest<Body>, CliError> {
    let stream = UnixStream::connect(socket).await.map_err(|e| connect_error(socket.to_owned(), &e))?;
    let (sender, connection) = handshake(TokioIo::new(stream))
        .await
        .map_err(|e| CliError::NoAnswer { path: socket.to_owned(), reason: e.to_string() })?;
    tokio::spawn(connection);
    Ok(sender)
}

fn empty() -> Body {
    Full::new(Bytes::new()).map_err(|e| match e {}).boxed()
}

/// Returns the socket path from the configuration `file`, or from the default file if `file` is `None`; the
/// default path if the default file does not exist.
pub(super) fn socket_path(file: Option<&Path>, parse_mode: ParseMode) -> Result<PathBuf, CliError> {
    Ok(server_config(file, parse_mode)?.server.sock_file_dir.join("rstudio-pm.sock"))
}

/// Returns the configuration of the server from `file`, or from the default file if `file` is `None`; the defaults
/// if the default file does not exist.
pub(super) fn server_config(file: Option<&Path>, parse_mode: ParseMode) -> Result<Arc<Config>, CliError> {
    let path = file.unwrap_or(Path::new(config::DEFAULT_FILE));
    let name = path.display().to_string();
    let env = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    if file.is_none() && !path.exists() {
        return Ok(Arc::new(config::parse_valid_part(&name, b"").0));
    }
    match (config::load_encrypted(path, env), parse_mode) {
        (Ok(loaded), _) => Ok(loaded.config),
        (Err(error), ParseMode::Strict) => Err(CliError::Config(error.to_string())),
        (Err(error), ParseMode::Lenient) => {
            let text = config::read(path).map_err(|_| CliError::Config(error.to_string()))?;
            Ok(Arc::new(config::parse_valid_part(&name, &text).0))
        }
    }
}

fn connect_error(socket: PathBuf, error: &std::io::Error) -> CliError {
    match error.kind() {
        std::io::ErrorKind::NotFound => CliError::NoSocket(socket),
        std::io::ErrorKind::PermissionDenied => {
            let gid =
                std::fs::metadata(&socket).or_else(|_| std::fs::metadata(socket.parent().unwrap_or(&socket)));
            let group = gid.ok().and_then(|m| nix::unistd::Group::from_gid(m.gid().into()).ok().flatten());
            let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
            CliError::NoAccess {
                path: socket,
                group: group.map_or_else(|| "rstudio-pm".to_owned(), |g| g.name),
                user: user.map_or_else(|| nix::unistd::geteuid().to_string(), |u| u.name),
            }
        }
        std::io::ErrorKind::ConnectionRefused => CliError::NoAnswer {
            path: socket,
            reason: "the socket is there, but no server listens on it".to_owned(),
        },
        _ => CliError::NoAnswer { path: socket, reason: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    use super::*;

    #[test]
    fn a_message_of_a_server_has_a_limited_number_of_lines() {
        assert_eq!(message(" first\nsecond \r\n"), "first\nsecond");
        assert_eq!(message(&"x\n".repeat(5_000)).lines().count(), MAX_MESSAGE.0);
    }

    /// Runs a server that sends each connection one of these responses; returns the methods of the requests.
    async fn with_server(responses: &[&'static str], work: impl AsyncFnOnce(Client)) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let responses = responses.to_vec();
        let server = tokio::spawn(async move {
            let mut methods = Vec::new();
            for response in responses {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
                stream.read_exact(&mut body).await.unwrap();
                methods.push(head.lines().next().unwrap().split(' ').next().unwrap().to_owned());
                stream.write_all(response.as_bytes()).await.unwrap();
            }
            methods
        });
        work(Client::open(socket).await.unwrap()).await;
        server.await.unwrap()
    }

    const CLOSING_RESPONSE: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nnull";

    #[tokio::test]
    async fn after_connection_close_the_next_request_uses_a_new_connection() {
        let methods = with_server(&[CLOSING_RESPONSE, CLOSING_RESPONSE], async |client| {
            client.get::<()>("/a").await.unwrap();
            client.send::<_, ()>(Method::POST, "/b", &()).await.unwrap();
        });
        assert_eq!(methods.await, ["GET", "POST"]);
    }

    #[tokio::test]
    async fn a_request_without_an_answer_is_repeated_only_if_it_changes_nothing() {
        let methods =
            with_server(&["", CLOSING_RESPONSE], async |client| client.get::<()>("/a").await.unwrap());
        assert_eq!(methods.await, ["GET", "GET"]);
        let methods = with_server(&["", CLOSING_RESPONSE], async |client| {
            let error = client.send::<_, ()>(Method::POST, "/a", &()).await.unwrap_err();
            assert!(error.to_string().contains("may have been carried out"), "{error}");
            client.get::<()>("/state").await.unwrap();
        });
        assert_eq!(methods.await, ["POST", "GET"]);
    }

    #[test]
    fn a_name_cannot_leave_its_segment() {
        assert_eq!(segment("../x?y=z&é"), "%2E%2E%2Fx%3Fy%3Dz%26%C3%A9");
    }
}
