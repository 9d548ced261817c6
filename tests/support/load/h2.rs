//! HTTP/2: hyper's client, asked so that it cannot hide anything: a request that was sent is answered or failed.

use std::time::Instant;

use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::client::TlsStream;

use super::{Answered, Client, Taker, Tally, patiently};

/// A connection.
pub(super) struct Wire {
    sender: SendRequest<Empty<bytes::Bytes>>,
    connection: JoinHandle<Result<(), hyper::Error>>,
}

impl Wire {
    pub(super) async fn new(stream: TlsStream<TcpStream>) -> Result<Wire, String> {
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = handshake.await.map_err(|e| format!("no HTTP/2: {e}"))?;
        Ok(Wire { sender, connection: tokio::spawn(connection) })
    }

    /// `None` when the server had said goodbye (GOAWAY without an error) before the request was sent.
    pub(super) async fn ask(&mut self, client: &Client, tally: &Tally) -> Result<Option<Answered>, String> {
        if self.sender.ready().await.is_err() {
            return self.ended().await.map(|()| None);
        }
        let uri = format!("https://localhost{}", client.wanted.path);
        let request = http::Request::get(uri).body(Empty::new()).expect("a request");
        let sent = tokio::time::timeout(super::PATIENCE, self.sender.try_send_request(request)).await;
        let response = match sent.map_err(|_| "no answer".to_owned())? {
            Ok(response) => response,
            // The request came back: it never left.
            Err(mut error) if error.message().is_some() => {
                let _ = error.take_message();
                return self.ended().await.map(|()| None);
            }
            Err(error) => return Err(format!("no answer: {}", chain(error.error()))),
        };
        let first_byte = Instant::now();
        if response.status() != 200 {
            return Err(format!("status {}", response.status()));
        }
        let mut body = response.into_body();
        let mut taker = Taker::new(client.wanted.rate, tally);
        loop {
            let frame = patiently("the body", async { Ok(body.frame().await) }).await?;
            match frame {
                None => break,
                Some(Ok(frame)) => {
                    if let Some(bytes) = frame.data_ref() {
                        taker.take(bytes).await;
                    }
                }
                Some(Err(error)) => {
                    return Err(format!("cut after {} bytes: {}", taker.bytes, chain(&error)));
                }
            }
        }
        Ok(Some(taker.done(first_byte, false)))
    }

    /// Ends a connection nobody asks on any more; its end must be as clean as its life.
    pub(super) async fn close(self) -> Result<(), String> {
        drop(self.sender);
        match tokio::time::timeout(super::PATIENCE, self.connection).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => Err(format!("the connection ended badly: {}", chain(&error))),
            Ok(Err(panic)) => Err(panic.to_string()),
            Err(_) => Err("the connection does not end".to_owned()),
        }
    }

    async fn ended(&mut self) -> Result<(), String> {
        match tokio::time::timeout(super::PATIENCE, &mut self.connection).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => Err(format!("the connection ended without goodbye: {}", chain(&error))),
            Ok(Err(panic)) => Err(panic.to_string()),
            Err(_) => Err("the connection takes no requests and does not end".to_owned()),
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
