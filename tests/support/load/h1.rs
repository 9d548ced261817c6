//! An HTTP/1.1 client without retry and pool, so that no error is hidden.

use std::sync::Arc;
use std::time::Instant;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::{BodyReader, Client, Counters, Response, Target, with_timeout};

/// Connects without TLS.
pub(super) async fn connect(host: &str) -> Result<TcpStream, String> {
    let socket = with_timeout("connecting", async {
        TcpStream::connect(host).await.map_err(|e| format!("no connection: {e}"))
    });
    let socket = socket.await?;
    socket.set_nodelay(true).map_err(|e| e.to_string())?;
    Ok(socket)
}

/// Connects with TLS and offers this ALPN protocol.
pub(super) async fn connect_tls(target: &Target, protocol: &[u8]) -> Result<TlsStream<TcpStream>, String> {
    let mut roots = RootCertStore::empty();
    roots.add(target.certificate.clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let name = ServerName::try_from("localhost").expect("a name");
    let socket = connect(&target.https).await?;
    with_timeout("the TLS handshake", async {
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        connector.connect(name, socket).await.map_err(|e| format!("the TLS handshake failed: {e}"))
    })
    .await
}

/// A connection.
pub(super) struct Connection<S> {
    stream: S,
    /// Bytes read and not yet used.
    buffer: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) fn new(stream: S) -> Connection<S> {
        Connection { stream, buffer: Vec::new() }
    }

    /// Whether the server has closed the idle connection, detected before the next request.
    pub(super) async fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        let read = std::pin::pin!(self.stream.read(&mut byte));
        matches!(futures_util::poll!(read), std::task::Poll::Ready(Ok(0)))
    }

    /// Sends one request and reads its answer. A close that was not announced by `Connection: close` is an error too.
    pub(super) async fn send(&mut self, client: &Client, counters: &Counters) -> Result<Response, String> {
        let close = if client.keep_alive { "" } else { "Connection: close\r\n" };
        let request = format!("GET {} HTTP/1.1\r\nHost: localhost\r\n{close}\r\n", client.file.path);
        with_timeout("sending", async {
            let result = self.stream.write_all(request.as_bytes()).await;
            result.and(self.stream.flush().await).map_err(|e| format!("not sent: {e}"))
        })
        .await?;
        let (head, first_byte) = with_timeout("the answer's head", self.read_head()).await?;
        let mut lines = head.lines();
        let status = lines.next().unwrap_or_default();
        if !status.starts_with("HTTP/1.1 200") {
            return Err(format!("'{status}'"));
        }
        let header = |name: &str| {
            let mut headers = head.lines().filter_map(|line| line.split_once(':'));
            headers.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
        };
        let announces_close = header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let length = header("content-length").and_then(|value| value.parse::<u64>().ok());
        let length = length.ok_or_else(|| format!("an answer without a length: {head}"))?;
        let mut reader = BodyReader::new(client.file.rate, counters);
        while reader.bytes < length {
            if self.buffer.is_empty() {
                self.read_more()
                    .await
                    .map_err(|e| format!("cut after {} of {length} bytes: {e}", reader.bytes))?;
            }
            let remaining = usize::try_from(length - reader.bytes).unwrap_or(usize::MAX);
            let rest = self.buffer.split_off(remaining.min(self.buffer.len()));
            let bytes = std::mem::replace(&mut self.buffer, rest);
            reader.add(&bytes).await;
        }
        Ok(reader.finish(first_byte, announces_close))
    }

    /// Reads the head of an answer; also returns the time of its first byte.
    async fn read_head(&mut self) -> Result<(String, Instant), String> {
        let mut first_byte = None;
        loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let rest = self.buffer.split_off(end + 4);
                let head = std::mem::replace(&mut self.buffer, rest);
                let head = String::from_utf8_lossy(&head).into_owned();
                return Ok((head, first_byte.unwrap_or_else(Instant::now)));
            }
            let received_size = self.buffer.len();
            self.read_more()
                .await
                .map_err(|e| format!("no answer, after {received_size} bytes of its head: {e}"))?;
            first_byte.get_or_insert_with(Instant::now);
        }
    }

    /// Appends the next bytes of the connection to the buffer.
    async fn read_more(&mut self) -> Result<(), String> {
        let mut chunk = [0; 32 << 10];
        with_timeout("waiting for bytes", async {
            match self.stream.read(&mut chunk).await {
                Ok(0) => Err("the server closed the connection".to_owned()),
                Ok(size) => {
                    self.buffer.extend_from_slice(&chunk[..size]);
                    Ok(())
                }
                Err(error) => Err(error.to_string()),
            }
        })
        .await
    }
}
