//! Notifications of publishes by other nodes: LISTEN on a separate connection, and regular polling.

use std::convert::Infallible;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::target::Target;
use super::{DbError, pgconnect, pgerror};

/// Polling interval, used besides notifications, which a connection pooler may drop.
const POLL_INTERVAL: Duration = Duration::from_secs(30);
/// First pause before a lost connection is opened again; doubled up to [`POLL_INTERVAL`].
const FIRST_RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The thread that listens.
pub(super) struct Listener {
    changed: Arc<Notify>,
    closing: CancellationToken,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Listener {
    pub(super) fn start(target: Arc<Target>) -> std::io::Result<Listener> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (news, closing) = (Arc::new(Notify::new()), CancellationToken::new());
        let (ring, end) = (Arc::clone(&news), closing.clone());
        let thread = std::thread::Builder::new().name("db-listen".to_owned()).spawn(move || {
            runtime.block_on(end.run_until_cancelled(serve(&target, &ring)));
        })?;
        Ok(Listener { changed: news, closing, thread: Mutex::new(Some(thread)) })
    }

    /// Waits until another node may have published, [`POLL_INTERVAL`] at most. Spurious returns are possible.
    pub(super) async fn wait(&self) {
        self.changed.notified().await;
    }

    /// Stops the thread.
    pub(super) fn close(&self) {
        self.closing.cancel();
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.close();
    }
}

/// Waits for the next poll where there is no listener.
pub(super) async fn poll_interval() {
    tokio::time::sleep(POLL_INTERVAL).await;
}

async fn serve(target: &Target, news: &Notify) -> Infallible {
    let mut pause = FIRST_RETRY_PAUSE;
    loop {
        let start = tokio::time::Instant::now();
        let Err(error) = listen(target, news).await;
        if start.elapsed() > POLL_INTERVAL {
            pause = FIRST_RETRY_PAUSE;
        }
        tracing::warn!(
            "LISTEN connection lost; polling other nodes every {} s: {error}",
            POLL_INTERVAL.as_secs()
        );
        tokio::time::sleep(pause).await;
        pause = POLL_INTERVAL.min(pause * 2);
        news.notify_one();
    }
}

/// Listens until the connection is lost.
async fn listen(target: &Target, news: &Notify) -> Result<Infallible, DbError> {
    let (sender, mut notifications) = mpsc::unbounded_channel();
    let client = pgconnect::open(target, Some(sender)).await?;
    let failed = |error| pgerror::map(target, error);
    let row = client.query_one("SELECT current_schema()", &[]).await.map_err(failed)?;
    let database: Option<String> = row.try_get(0).map_err(failed)?;
    client.batch_execute("LISTEN rspm_catalog").await.map_err(failed)?;
    // Publishes before LISTEN were not notified.
    news.notify_one();
    let mut poll = tokio::time::interval_at(tokio::time::Instant::now() + POLL_INTERVAL, POLL_INTERVAL);
    loop {
        tokio::select! {
            schema = notifications.recv() => match schema {
                None => {
                    let closed = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
                    return Err(DbError::Lost(closed.into()));
                }
                // A database may hold several installations, each in its own schema.
                Some(schema) if Some(&schema) == database.as_ref() => news.notify_one(),
                Some(_) => {}
            },
            _ = poll.tick() => {
                news.notify_one();
                // A query detects a connection that broke silently.
                let answer = tokio::time::timeout(POLL_INTERVAL, client.batch_execute("SELECT 1")).await;
                answer.map_err(|elapsed| DbError::Lost(elapsed.into()))?.map_err(failed)?;
            }
        }
    }
}
