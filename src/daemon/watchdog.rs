//! Proof for systemd that the server answers: it is asked like any client, through its own socket.

use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::herald::Herald;

/// Asks the server at `socket` twice in each interval that systemd wants to hear of it, and says that it answers; says
/// nothing when it does not. Returns at once when nobody wants to know.
pub(super) async fn run(socket: PathBuf, herald: Herald) {
    // Checks WATCHDOG_PID too: a variable that was meant for another process is not ours.
    let Some(interval) = sd_notify::watchdog_enabled().filter(|interval| !interval.is_zero()) else { return };
    let pause = interval / 2;
    let mut next = tokio::time::interval(pause);
    next.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        next.tick().await;
        match tokio::time::timeout(pause, answers(&socket)).await {
            Ok(Ok(())) => herald.alive(),
            Ok(Err(error)) => tracing::error!("the server does not answer its own question: {error}"),
            Err(_) => tracing::error!("the server does not answer its own question in {pause:?}"),
        }
    }
}

/// Any whole answer to `/__ping__` will do: 503 is what a server that is offline has to say.
async fn answers(socket: &Path) -> std::io::Result<()> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(b"GET /__ping__ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.take(4096).read_to_end(&mut answer).await?;
    if answer.starts_with(b"HTTP/1.1 200 ") || answer.starts_with(b"HTTP/1.1 503 ") {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&answer);
    Err(std::io::Error::other(format!("it says '{}'", said.lines().next().unwrap_or_default())))
}
