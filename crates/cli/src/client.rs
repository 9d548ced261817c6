//! HTTP client of the admin API, with one JSON value in each direction: over the server's unix socket, or over the
//! network with a token.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use hyper::{Method, StatusCode};
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Body;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio_util::io::ReaderStream;
use zeroize::Zeroizing;

use super::error::CliError;
use super::output::shortened;
use super::remote::{RemoteServer, client_builder};
use api::ADMIN_PREFIX;
use api::error::Error;
use api::operations::{Operation, address, admin as operations};
use api::package::{Upload, UploadFile};
use base::config::{self, Config};
use base::model::errors::error_chain;
use base::model::kind::Layout;
use base::model::visible::for_terminal;

/// Minimum size of a file whose upload shows its progress, in bytes.
const MIN_PROGRESS: u64 = 4 << 20;

/// Size of the pieces in which a large file is uploaded, in bytes.
const PIECE: usize = 256 << 10;

/// Maximum length of a message of a server: lines, and characters in each.
const MAX_MESSAGE: (usize, usize) = (1_000, 10_000);

/// Maximum number of attempts of a request: the process of the server may be replaced twice in succession.
const MAX_ATTEMPTS: usize = 3;

/// A connection to the admin API.
pub struct Client {
    transport: Transport,
}

enum Transport {
    /// The socket of the server of this machine.
    Socket(Socket),
    /// A server on the network.
    Network(RemoteServer),
}

/// The socket of a server.
struct Socket {
    path: PathBuf,
    client: reqwest::Client,
}

/// The strictness with which the configuration that names the socket is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseMode {
    /// The configuration must be valid.
    Strict,
    /// The valid part of the configuration is enough.
    Lenient,
}

impl Client {
    /// Connects to the socket that the configuration names.
    pub async fn connect(file: Option<&Path>, parse_mode: ParseMode) -> Result<Client, CliError> {
        let path = socket_path(file, parse_mode)?;
        // A command whose server is not reachable ends before it does anything else.
        UnixStream::connect(&path).await.map_err(|error| connect_error(path.clone(), &error))?;
        Client::open(path)
    }

    fn open(path: PathBuf) -> Result<Client, CliError> {
        // Nothing is encrypted on the socket: without this, the certificates of the system would be read.
        let builder =
            client_builder().unix_socket(path.clone()).no_proxy().tls_danger_accept_invalid_certs(true);
        let client = builder
            .build()
            .map_err(|error| CliError::NoAnswer { path: path.clone(), reason: error.to_string() })?;
        Ok(Client { transport: Transport::Socket(Socket { path, client }) })
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
        Ok(Client { transport: Transport::Network(RemoteServer::new(address, token, verifies_tls)?) })
    }

    /// Returns the path of the server's socket, or the address of the server.
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

    /// Returns the error for a response that is not of the expected type. JSON with an unknown word or without a field is
    /// that of another version of the server; anything else is not from a server of packages.
    pub(super) fn unexpected(&self, error: &serde_json::Error) -> CliError {
        if error.is_data() {
            let remedy = match &self.transport {
                Transport::Socket(_) => {
                    "after an upgrade, restart it: sudo systemctl restart rstudio-pm".to_owned()
                }
                Transport::Network(remote) => {
                    format!("download it from {}/__api__/download?os=linux", remote.address())
                }
            };
            return CliError::OtherVersion { server: self.server(), reason: error.to_string(), remedy };
        }
        self.no_answer(format!("its response is not that of a server of packages: {error}"))
    }

    /// Calls an operation that has no body. `path` are the values of the parameters in its path.
    pub async fn call<O>(&self, path: O::Path<'_>, query: &O::Query) -> Result<O::Response, CliError>
    where
        O: Operation<Body = (), Response: DeserializeOwned>,
    {
        self.request(O::METHOD, &address::<O>(path, query), Body::default()).await
    }

    /// Calls an operation with a body.
    pub async fn send<O>(&self, path: O::Path<'_>, body: &O::Body) -> Result<O::Response, CliError>
    where
        O: Operation<Query = (), Body: Serialize, Response: DeserializeOwned>,
    {
        let json = serde_json::to_vec(body).map_err(|e| self.no_answer(e.to_string()))?;
        self.request(O::METHOD, &address::<O>(path, &()), json.into()).await
    }

    /// Returns the kind of the uploads for a source, as the admin API names it.
    pub(super) async fn upload_kind(&self, source: &str) -> Result<&'static str, CliError> {
        let source = self.call::<operations::Source>([source], &()).await?;
        Ok(match source.kind.layout() {
            Layout::Lists => "source",
            Layout::Projects => source.kind.language().as_str(),
        })
    }

    /// Uploads a package file; `kind` is `source`, `binary` or a language. On a terminal, the progress of a large
    /// file is shown.
    pub async fn upload(&self, file: &Path, kind: &str) -> Result<Upload, CliError> {
        let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        self.upload_as(file, &name, kind).await
    }

    /// Like [`Client::upload`], with a name for the file.
    pub(super) async fn upload_as(&self, file: &Path, name: &str, kind: &str) -> Result<Upload, CliError> {
        let local_error = |e| CliError::Local { operation: format!("read {}", file.display()), source: e };
        let open = || std::fs::File::open(file).map_err(local_error);
        let handle = open()?;
        let size = handle.metadata().map_err(local_error)?.len();
        let query = UploadFile { file: Some(name.to_owned()), kind: Some(kind.to_owned()) };
        let path = address::<operations::Upload>([], &query);
        let bar = upload_bar(name, size);
        let body = |file| upload_body(file, &bar).map_err(local_error);
        let result = match self.request(Method::POST, &path, body(handle)?).await {
            // The upload may be repeated: the server drops uploads that are not used.
            Err(CliError::Interrupted { .. }) => self.request(Method::POST, &path, body(open()?)?).await,
            result => result,
        };
        bar.finish_and_clear();
        result
    }

    /// Reads the resource at a path outside of the API. The inner error is the message of a server without it.
    pub(super) async fn read(&self, path: &str) -> Result<Result<Bytes, String>, CliError> {
        let (status, body) = self.exchange(Method::GET, path, Body::default()).await?;
        let text = || message(&String::from_utf8_lossy(&body));
        match status {
            StatusCode::NOT_FOUND => Ok(Err(text())),
            status if status.is_success() => Ok(Ok(body)),
            status => Err(CliError::refused(format!("{path}: {status}: {}", text()))),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<(StatusCode, Bytes), CliError> {
        let target = format!("{method} {path}");
        let answer = match &self.transport {
            Transport::Socket(socket) => socket.call(method, path, body).await?,
            Transport::Network(remote) => remote.call(method, path, body).await?,
        };
        tracing::debug!("{target}: {}", answer.0);
        Ok(answer)
    }

    async fn request<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<T, CliError> {
        let (status, body) = self.exchange(method, &format!("{ADMIN_PREFIX}{path}"), body).await?;
        if status.is_success() {
            let json: &[u8] = if body.is_empty() { b"null" } else { &body };
            return serde_json::from_slice(json).map_err(|error| self.unexpected(&error));
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

/// Returns the body of an upload. A small file is read here: threads that read it would take longer to start.
fn upload_body(mut file: std::fs::File, bar: &ProgressBar) -> std::io::Result<Body> {
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(std::io::ErrorKind::IsADirectory.into());
    }
    if metadata.is_file() && metadata.len() <= PIECE as u64 {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        return Ok(bytes.into());
    }
    let bar = bar.clone();
    bar.reset();
    let pieces = ReaderStream::with_capacity(tokio::fs::File::from_std(file), PIECE);
    Ok(Body::wrap_stream(pieces.inspect_ok(move |piece: &Bytes| bar.inc(piece.len() as u64))))
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
        let address = format!("http://localhost{path}");
        let mut request = self.client.request(method.clone(), address).body(body);
        let mut attempts = 0;
        loop {
            attempts += 1;
            // `None` if the body is that of an upload.
            let retry = request.try_clone();
            let error = match exchange(request).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if error.is_connect()
                && let Some(source) = source_of::<std::io::Error>(&error)
            {
                return Err(connect_error(self.path.clone(), source));
            }
            let reason = std::error::Error::source(&error).map_or_else(|| error.to_string(), error_chain);
            // A server that is replaced by a new process closes its connections after a response; the new process
            // accepts the next one.
            let is_unsent = source_of::<hyper::Error>(&error).is_some_and(hyper::Error::is_canceled);
            request = match retry.filter(|_| is_unsent || method == Method::GET) {
                Some(retry) if attempts < MAX_ATTEMPTS => retry,
                Some(_) => return Err(CliError::NoAnswer { path: self.path.clone(), reason }),
                None => return Err(CliError::Interrupted { path: self.path.clone(), reason }),
            };
        }
    }
}

/// Sends one request and reads its whole response.
async fn exchange(request: reqwest::RequestBuilder) -> Result<(StatusCode, Bytes), reqwest::Error> {
    let response = request.send().await?;
    Ok((response.status(), response.bytes().await?))
}

/// Returns the cause of an error that has this type.
fn source_of<T: std::error::Error + 'static>(error: &reqwest::Error) -> Option<&T> {
    let first = std::error::Error::source(error);
    std::iter::successors(first, |error| error.source()).find_map(|error| error.downcast_ref())
}

/// Returns the socket path from the configuration `file`, or from the default file if `file` is `None`; the
/// default path if the default file does not exist.
pub(super) fn socket_path(file: Option<&Path>, parse_mode: ParseMode) -> Result<PathBuf, CliError> {
    Ok(server_config(file, parse_mode)?.server.sock_file_dir.join("rstudio-pm.sock"))
}

/// Returns the configuration of the server from `file`, or from the default file if `file` is `None`; the defaults
/// if the default file does not exist.
pub(super) fn server_config(file: Option<&Path>, parse_mode: ParseMode) -> Result<Arc<Config>, CliError> {
    let env = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    config_in(file, env, parse_mode)
}

/// As [`server_config`], with the variables of an environment.
pub(super) fn config_in(
    file: Option<&Path>,
    env: impl IntoIterator<Item = (String, String)>,
    parse_mode: ParseMode,
) -> Result<Arc<Config>, CliError> {
    let path = file.unwrap_or(Path::new(config::DEFAULT_FILE));
    let name = path.display().to_string();
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
    use base::model::kind::ChangePolicy;

    #[test]
    fn a_message_of_a_server_has_a_limited_number_of_lines() {
        assert_eq!(message(" first\nsecond \r\n"), "first\nsecond");
        assert_eq!(message(&"x\n".repeat(5_000)).lines().count(), MAX_MESSAGE.0);
    }

    #[tokio::test]
    async fn only_a_large_file_is_read_by_other_threads() {
        let dir = tempfile::tempdir().unwrap();
        let body = |path: &Path| upload_body(std::fs::File::open(path).unwrap(), &ProgressBar::hidden());
        let path = dir.path().join("a.tar.gz");
        std::fs::write(&path, "bytes").unwrap();
        assert_eq!(body(&path).unwrap().as_bytes(), Some(&b"bytes"[..]));
        std::fs::write(&path, vec![0; PIECE + 1]).unwrap();
        assert_eq!(body(&path).unwrap().as_bytes(), None);
        assert_eq!(body(dir.path()).unwrap_err().kind(), std::io::ErrorKind::IsADirectory);
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
        work(Client::open(socket).unwrap()).await;
        server.await.unwrap()
    }

    const CLOSING_RESPONSE: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nnull";

    #[tokio::test]
    async fn after_connection_close_the_next_request_uses_a_new_connection() {
        let methods = with_server(&[CLOSING_RESPONSE, CLOSING_RESPONSE], async |client| {
            client.request::<()>(Method::GET, "/a", Body::default()).await.unwrap();
            client.request::<()>(Method::POST, "/b", "null".into()).await.unwrap();
        });
        assert_eq!(methods.await, ["GET", "POST"]);
    }

    #[tokio::test]
    async fn an_unknown_word_is_that_of_another_version_of_the_server() {
        let responses = [
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 8\r\n\r\n\"paused\"",
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6\r\n\r\n<html>",
        ];
        with_server(&responses, async |client| {
            let mut errors = Vec::new();
            for _ in responses {
                let response = client.request::<ChangePolicy>(Method::GET, "/a", Body::default()).await;
                errors.push(response.unwrap_err().to_string());
            }
            let [other_version, no_server] = errors.try_into().unwrap();
            assert!(other_version.contains("of another version than this rspm"), "{other_version}");
            assert!(other_version.contains("'paused'"), "{other_version}");
            assert!(other_version.contains("Update rspm to the version of the server"), "{other_version}");
            assert!(no_server.contains("not that of a server of packages"), "{no_server}");
        })
        .await;
    }

    #[tokio::test]
    async fn a_request_without_an_answer_is_repeated_only_if_it_changes_nothing() {
        let methods = with_server(&["", CLOSING_RESPONSE], async |client| {
            client.request::<()>(Method::GET, "/a", Body::default()).await.unwrap()
        });
        assert_eq!(methods.await, ["GET", "GET"]);
        let methods = with_server(&["", CLOSING_RESPONSE], async |client| {
            let error = client.request::<()>(Method::POST, "/a", "null".into()).await.unwrap_err();
            assert!(error.to_string().contains("may have been carried out"), "{error}");
            client.request::<()>(Method::GET, "/state", Body::default()).await.unwrap();
        });
        assert_eq!(methods.await, ["POST", "GET"]);
    }
}
