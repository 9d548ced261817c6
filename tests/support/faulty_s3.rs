//! A proxy in front of the S3 server with configurable faults.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The fault of a request.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The proxy answers with this status and this S3 error code, without the server.
    Answer(u16, &'static str),
    /// The server's answer is replaced by status 200 with this S3 error code.
    ErrorWithStatus200(&'static str),
    /// The connection is closed after this number of bytes of the answer's body.
    Cut(usize),
    /// The body of the answer has only this number of bytes, which its `Content-Length` states.
    Truncate(usize),
    /// The first byte of the answer's body has another value.
    Flip,
    /// The connection is reset before the request reaches the server.
    Reset,
    /// The connection is reset after the server has carried out the request.
    ResetAfterRequest,
}

/// The fault of the next `times` requests that match.
struct Rule {
    matches: Box<dyn Fn(&str) -> bool + Send>,
    fault: Fault,
    times: usize,
}

/// The proxy.
#[derive(Clone)]
pub(crate) struct FaultyProxy {
    /// The address it listens on.
    pub(crate) address: SocketAddr,
    rules: Arc<Mutex<Vec<Rule>>>,
    heads: Arc<Mutex<Vec<String>>>,
}

/// The position of the body of an answer.
fn body_start(answer: &[u8]) -> usize {
    answer.windows(4).position(|w| w == b"\r\n\r\n").map_or(0, |at| at + 4)
}

impl FaultyProxy {
    /// Starts a proxy without faults in front of `server`.
    pub(crate) async fn start(server: SocketAddr) -> FaultyProxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its number");
        let handle = FaultyProxy { address, rules: Arc::default(), heads: Arc::default() };
        let proxy = handle.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let proxy = proxy.clone();
                // A broken connection is expected.
                tokio::spawn(async move { drop(proxy.relay(client, server).await) });
            }
        });
        handle
    }

    /// Sets the fault of the next `times` requests whose head (method, path, header lines) matches.
    pub(crate) fn next(&self, times: usize, fault: Fault, matches: impl Fn(&str) -> bool + Send + 'static) {
        self.rules.lock().unwrap().push(Rule { matches: Box::new(matches), fault, times });
    }

    /// Removes all faults.
    pub(crate) fn clear_faults(&self) {
        self.rules.lock().unwrap().clear();
    }

    /// The heads of all received requests.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    fn fault(&self, head: &str) -> Option<Fault> {
        let mut rules = self.rules.lock().unwrap();
        let rule = rules.iter_mut().find(|rule| rule.times > 0 && (rule.matches)(head))?;
        rule.times -= 1;
        Some(rule.fault.clone())
    }

    /// Forwards one request and its answer.
    async fn relay(&self, mut client: TcpStream, server: SocketAddr) -> std::io::Result<()> {
        let mut request = Vec::new();
        let end = loop {
            if let Some(position) = request.windows(4).position(|w| w == b"\r\n\r\n") {
                break position + 4;
            }
            if client.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
        };
        let head = String::from_utf8_lossy(&request[..end]).into_owned();
        let length = head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .map_or(0, |(_, value)| value.trim().parse().expect("a length"));
        self.heads.lock().unwrap().push(head.clone());
        let fault = self.fault(&head);
        while request.len() < end + length {
            if client.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
        }
        if let Some(Fault::Reset) = fault {
            return reset(client);
        }
        if let Some(Fault::Answer(status, code)) = fault {
            return answer(client, status, code, head.starts_with("HEAD")).await;
        }
        let mut server_stream = TcpStream::connect(server).await?;
        let line_end = head.find("\r\n").expect("a request line") + 2;
        server_stream.write_all(&request[..line_end]).await?;
        server_stream.write_all(b"Connection: close\r\n").await?;
        server_stream.write_all(&request[line_end..]).await?;
        let mut answer_bytes = Vec::new();
        server_stream.read_to_end(&mut answer_bytes).await?;
        match fault {
            Some(Fault::ResetAfterRequest) => return reset(client),
            Some(Fault::ErrorWithStatus200(code)) => return answer(client, 200, code, false).await,
            Some(Fault::Cut(size)) => {
                let body = body_start(&answer_bytes);
                answer_bytes.truncate(body + size);
            }
            Some(Fault::Flip) => {
                let body = body_start(&answer_bytes);
                if let Some(byte) = answer_bytes.get_mut(body) {
                    *byte ^= 0xff;
                }
            }
            Some(Fault::Truncate(size)) => {
                let body = body_start(&answer_bytes);
                let head = String::from_utf8_lossy(&answer_bytes[..body]).into_owned();
                let lines = head.trim_end().lines().map(|line| match line.split_once(':') {
                    Some((name, _)) if name.eq_ignore_ascii_case("content-length") => {
                        format!("{name}: {}\r\n", size.min(answer_bytes.len() - body))
                    }
                    _ => format!("{line}\r\n"),
                });
                let rest = answer_bytes[body..].iter().copied().take(size);
                answer_bytes = format!("{}\r\n", lines.collect::<String>())
                    .into_bytes()
                    .into_iter()
                    .chain(rest)
                    .collect();
            }
            Some(Fault::Answer(..) | Fault::Reset) | None => {}
        }
        client.write_all(&answer_bytes).await?;
        client.shutdown().await
    }
}

/// Sends an error of S3 with this status; without a body if the request is HEAD.
async fn answer(mut client: TcpStream, status: u16, code: &str, is_head: bool) -> std::io::Result<()> {
    let body = format!(
        "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>set by the test</Message></Error>"
    );
    let text = format!(
        "HTTP/1.1 {status} Fault\r\nContent-Type: application/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}",
        body.len(),
        if is_head { "" } else { &body }
    );
    client.write_all(text.as_bytes()).await?;
    client.shutdown().await
}

/// Resets the connection, which is an error for the peer and not an end of file.
fn reset(client: TcpStream) -> std::io::Result<()> {
    client.set_zero_linger()
}
