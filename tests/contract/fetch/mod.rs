//! Fetches on demand: one upstream request for all waiting clients, and no damaged file is served completely.

mod checksums;
mod clients;
mod disk;
mod http;
mod mirrors;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use rstudio_pm::fetch::FetchLimits;
use rstudio_pm::index::PageReads;
use rstudio_pm::model::kind::SourceKind;
use rstudio_pm::serve::located::{FileBody, LocatedFile, OpenFile};
use rstudio_pm::serve::{self, RepoError};
use rstudio_pm::sync::Sync;
use rstudio_pm::upstream::UpstreamError;

use crate::support::backend::{Backend, StoresConfig};
use crate::support::mirror::{Entry, Mirror};

const KB: usize = 1 << 10;

/// A mirror, and the core of a server (without listeners) that is synced with it.
struct Fixture {
    mirror: Mirror,
    backend: Backend,
    /// The number of reported mismatches between index and files.
    mismatches: Arc<AtomicUsize>,
}

/// Limits that are short enough for a test.
fn short_limits() -> FetchLimits {
    FetchLimits {
        unsubscribed_timeout: Duration::from_millis(50),
        small_file_bytes: 100 << 10,
        retry_delay: Duration::from_millis(5),
        failure_ttl: Duration::from_secs(2),
        ..FetchLimits::default()
    }
}

impl Fixture {
    async fn new(mirror: Mirror) -> Fixture {
        Fixture::with_limits(mirror, short_limits(), "").await
    }

    async fn with_limits(mirror: Mirror, limits: FetchLimits, gcfg: &str) -> Fixture {
        let gcfg = format!("[CRAN]\nURL = {}\n{gcfg}", mirror.url());
        let backend = Backend::with_stores(StoresConfig { gcfg }).await;
        backend.create_repository("all", &["cran"]).await;
        let backend = backend.with_limits(limits);
        let mismatches = Arc::new(AtomicUsize::new(0));
        let count = mismatches.clone();
        backend.fetches.on_mismatch(move |_, _| {
            count.fetch_add(1, Ordering::SeqCst);
        });
        let fixture = Fixture { mirror, backend, mismatches };
        fixture.sync().await;
        fixture
    }

    async fn sync(&self) -> String {
        let sync = Sync::new(PageReads::new(self.backend.state.clone()), self.backend.state.clone())
            .start(SourceKind::Cran)
            .expect("cran is synced");
        sync.job().wait_end().await.expect("a sync")
    }

    async fn locate(&self, entry: &Entry) -> Result<LocatedFile, RepoError> {
        let point =
            serve::point::resolve(&self.backend.repositories, "all", "latest".parse().expect("a snapshot"))
                .await
                .expect("a point");
        serve::file::locate(
            &self.backend.repositories,
            &point,
            &entry.package,
            &entry.version,
            &entry.file(),
            false,
        )
        .await
    }

    async fn open(&self, entry: &Entry, range: Option<Range<u64>>) -> Result<OpenFile, RepoError> {
        let located = self.locate(entry).await?;
        serve::file::open(&self.backend.repositories, &located, range).await
    }

    /// The whole file, or the error before or inside the body.
    async fn get(&self, entry: &Entry) -> Result<Vec<u8>, RepoError> {
        match read(self.open(entry, None).await?).await {
            (bytes, None) => Ok(bytes),
            (_, Some(error)) => Err(error),
        }
    }

    async fn is_stored(&self, entry: &Entry) -> bool {
        self.locate(entry).await.expect("located").stored
    }

    /// Waits until the database records that the file is in storage.
    async fn wait_stored(&self, entry: &Entry) {
        let start = Instant::now();
        while !self.is_stored(entry).await {
            assert!(start.elapsed() < Duration::from_secs(90), "{} is never stored", entry.file());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the mirror is sending exactly `wanted` responses.
    async fn wait_for_sending(&self, wanted: usize) {
        let start = Instant::now();
        while self.mirror.active_requests() != wanted {
            assert!(
                start.elapsed() < Duration::from_secs(90),
                "{} not {wanted}",
                self.mirror.active_requests()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn mismatch_count(&self) -> usize {
        self.mismatches.load(Ordering::SeqCst)
    }

    /// The number of files in the server's directory whose name begins with `spool-`.
    fn spool_count(&self) -> usize {
        walk(self.backend.folder())
            .iter()
            .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("spool-")))
            .count()
    }
}

/// All files below a directory.
fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => files.extend(walk(&path)),
            path => files.push(path),
        }
    }
    files
}

/// Reads the body; returns its bytes and the error that ended it.
async fn read(open: OpenFile) -> (Vec<u8>, Option<RepoError>) {
    let mut stream = match open.body {
        FileBody::Memory(bytes) => return (bytes.to_vec(), None),
        FileBody::Stream(stream) => stream,
    };
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        match piece {
            Ok(piece) => bytes.extend_from_slice(&piece),
            Err(error) => return (bytes, Some(error)),
        }
    }
    (bytes, None)
}

/// Reads at least `size` bytes and drops the body.
async fn read_part(open: OpenFile, size: usize) -> usize {
    let FileBody::Stream(mut stream) = open.body else { panic!("the body is no stream") };
    let mut count = 0;
    while count < size {
        count += stream.next().await.expect("more").expect("bytes").len();
    }
    count
}

fn is_refused(error: &RepoError) -> bool {
    matches!(error, RepoError::Upstream { source: UpstreamError::Refused { .. }, .. })
}

fn is_unavailable(error: &RepoError) -> bool {
    matches!(error, RepoError::Upstream { source: UpstreamError::Unavailable { .. }, .. })
}
