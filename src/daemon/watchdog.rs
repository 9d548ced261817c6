//! Watchdog: checks that the server responds, as a client of its own sockets, and notifies systemd.

use std::io::{Error, Result};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::notify::Notifier;

pub(super) struct ProbeAddresses {
    /// The admin socket, which accepts connections even if network clients have reached the connection limit.
    pub(super) admin: PathBuf,
    /// HTTP and redirect listeners; the first is checked if the admin socket, perhaps removed, does not respond.
    pub(super) plain: Vec<SocketAddr>,
}

/// Checks the server twice per watchdog interval, if systemd has one configured, and notifies systemd if it responds.
pub(super) async fn run(addresses: ProbeAddresses, notifier: Notifier) {
    // This function also checks WATCHDOG_PID: the variables may be meant for another process.
    let Some(interval) = sd_notify::watchdog_enabled().filter(|interval| !interval.is_zero()) else { return };
    let mut ticks = tokio::time::interval(interval / 2);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match probe(&addresses, interval / 4).await {
            Ok(()) => notifier.watchdog(),
            Err(error) => tracing::error!("watchdog: self-check failed: {error}"),
        }
    }
}

/// Tries the admin socket, then the first plain listener, each with a timeout. Fails if neither responds.
async fn probe(addresses: &ProbeAddresses, timeout: Duration) -> Result<()> {
    let admin = async { ping(UnixStream::connect(&addresses.admin).await?).await };
    let Err(mut error) = with_timeout(timeout, admin).await else { return Ok(()) };
    for address in addresses.plain.iter().take(1) {
        let plain = async { ping(TcpStream::connect(address).await?).await };
        match with_timeout(timeout, plain).await {
            Ok(()) => return Ok(()),
            Err(plain_error) => error = plain_error,
        }
    }
    Err(error)
}

async fn with_timeout(timeout: Duration, check: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::time::timeout(timeout, check).await?
}

/// Succeeds on each expected response to `/__ping__`: 200, 503 of an offline server, 301 of a redirect listener.
async fn ping(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<()> {
    stream.write_all(b"GET /__ping__ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.take(4096).read_to_end(&mut answer).await?;
    if ["200", "301", "503"].iter().any(|code| answer.starts_with(format!("HTTP/1.1 {code} ").as_bytes())) {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&answer);
    Err(Error::other(format!("unexpected response '{}'", text.lines().next().unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, UnixListener};

    const TIMEOUT: Duration = Duration::from_secs(60);

    /// Sends an answer to the next client; `None` sends nothing until the client closes the connection.
    async fn respond(listener: &UnixListener, answer: Option<&str>) {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut request = [0; 512];
        let _ = stream.read(&mut request).await.expect("a request");
        match answer {
            None => assert_eq!(stream.read(&mut request).await.expect("the end"), 0),
            Some(text) => stream.write_all(text.as_bytes()).await.expect("the client reads"),
        }
    }

    #[tokio::test]
    async fn a_probe_fails_on_status_500_other_bytes_and_silence() {
        let dir = tempfile::tempdir().expect("a directory");
        let admin = dir.path().join("sock");
        let listener = UnixListener::bind(&admin).expect("bound");
        let addresses = ProbeAddresses { admin, plain: Vec::new() };
        for (answer, is_success) in [
            (Some("HTTP/1.1 200 OK\r\n\r\n{}"), true),
            (Some("HTTP/1.1 503 Service Unavailable\r\n\r\n"), true),
            (Some("HTTP/1.1 500 Internal Server Error\r\n\r\n"), false),
            (Some("hello"), false),
            (Some(""), false),
            (None, false),
        ] {
            let timeout = if answer.is_some() { TIMEOUT } else { Duration::from_millis(200) };
            let (result, ()) = tokio::join!(probe(&addresses, timeout), respond(&listener, answer));
            assert_eq!(result.is_ok(), is_success, "{answer:?}: {result:?}");
        }
    }

    #[tokio::test]
    async fn without_the_admin_socket_the_network_listener_is_checked() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let plain = vec![listener.local_addr().expect("bound")];
        let addresses = ProbeAddresses { admin: PathBuf::from("/nonexistent/sock"), plain };
        let serve = async {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut request = [0; 512];
            let _ = stream.read(&mut request).await.expect("a request");
            stream.write_all(b"HTTP/1.1 301 Moved Permanently\r\n\r\n").await.expect("the client reads");
        };
        let (result, ()) = tokio::join!(probe(&addresses, TIMEOUT), serve);
        assert!(result.is_ok(), "{result:?}");
        assert!(probe(&ProbeAddresses { plain: Vec::new(), ..addresses }, TIMEOUT).await.is_err());
    }
}
