//! An HTTP/2 client based on hyper's, without retries: a request that was sent and not answered is an error.

use std::time::Instant;

use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rstudio_pm::model::errors::error_chain;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::client::TlsStream;

use super::{BodyReader, Client, Counters, Response, with_timeout};

/// A connection.
pub(super) struct Connection {
    sender: SendRequest<Empty<bytes::Bytes>>,
    connection: JoinHandle<Result<(), hyper::Error>>,
}

impl Connection {
    pub(super) async fn new(stream: TlsStream<TcpStream>) -> Result<Connection, String> {
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = handshake.await.map_err(|e| format!("no HTTP/2: {e}"))?;
        Ok(Connection { sender, connection: tokio::spawn(connection) })
    }

    /// Sends one request and reads its answer; `None` if the server sent GOAWAY without an error before the request.
    pub(super) async fn send(
        &mut self,
        client: &Client,
        counters: &Counters,
    ) -> Result<Option<Response>, String> {
        if self.sender.ready().await.is_err() {
            return self.wait_for_end().await.map(|()| None);
        }
        let uri = format!("https://localhost{}", client.file.path);
        let request = http::Request::get(uri).body(Empty::new()).expect("a request");
        let response = tokio::time::timeout(super::TIMEOUT, self.sender.try_send_request(request)).await;
        let response = match response.map_err(|_| "no answer".to_owned())? {
            Ok(response) => response,
            // hyper returns the request: it was not sent.
            Err(mut error) if error.message().is_some() => {
                let _ = error.take_message();
                return self.wait_for_end().await.map(|()| None);
            }
            Err(error) => return Err(format!("no answer: {}", error_chain(error.error()))),
        };
        let first_byte = Instant::now();
        if response.status() != 200 {
            return Err(format!("status {}", response.status()));
        }
        let mut body = response.into_body();
        let mut reader = BodyReader::new(client.file.rate, counters);
        loop {
            let frame = with_timeout("the body", async { Ok(body.frame().await) }).await?;
            match frame {
                None => break,
                Some(Ok(frame)) => {
                    if let Some(bytes) = frame.data_ref() {
                        reader.add(bytes).await;
                    }
                }
                Some(Err(error)) => {
                    return Err(format!("cut after {} bytes: {}", reader.bytes, error_chain(&error)));
                }
            }
        }
        Ok(Some(reader.finish(first_byte, false)))
    }

    /// Closes an idle connection, which must end without an error.
    pub(super) async fn close(self) -> Result<(), String> {
        drop(self.sender);
        match tokio::time::timeout(super::TIMEOUT, self.connection).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => Err(format!("the connection ended with an error: {}", error_chain(&error))),
            Ok(Err(panic)) => Err(panic.to_string()),
            Err(_) => Err("the connection does not end".to_owned()),
        }
    }

    /// Waits for the end of the connection; an end without GOAWAY is an error.
    async fn wait_for_end(&mut self) -> Result<(), String> {
        match tokio::time::timeout(super::TIMEOUT, &mut self.connection).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => {
                Err(format!("the connection ended without GOAWAY: {}", error_chain(&error)))
            }
            Ok(Err(panic)) => Err(panic.to_string()),
            Err(_) => Err("the connection accepts no requests and does not end".to_owned()),
        }
    }
}
