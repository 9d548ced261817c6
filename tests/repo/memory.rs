//! The indexes of many repositories are held in memory within one budget, for all kinds of requests.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use rstudio_pm::auth::Tokens;
use rstudio_pm::cluster::Cluster;
use rstudio_pm::config::DebugRegion;
use rstudio_pm::control::{Control, LogControl, Mode};
use rstudio_pm::edit::OnExisting;
use rstudio_pm::http::net::budget::ResponseBudget;
use rstudio_pm::http::net::tls::Tls;
use rstudio_pm::http::recent_requests::RecentRequests;
use rstudio_pm::http::repo::download_log::DownloadRecorder;
use rstudio_pm::http::repo::resolve_cache::ResolveCache;
use rstudio_pm::http::site::SiteSettings;
use rstudio_pm::http::{App, HttpServer, Limits, PublicService, ServerContext, Switch};
use rstudio_pm::index::PageReads;
use rstudio_pm::logs::{AccessLog, OptionalLog, ServiceLog};
use rstudio_pm::r::layout::IndexFormat;
use rstudio_pm::serve;
use rstudio_pm::serve::r::document::RDocument;
use rstudio_pm::sync::Sync;
use rstudio_pm::usage::Usage;

use super::index;
use crate::support::backend::Backend;
use crate::support::http;
use crate::support::tarball::Tarball;

/// The budget for current indexes in bytes: `NEWEST_BYTES` of the cache.
const BUDGET: usize = 24 << 20;
const REPOSITORIES: usize = 14;

struct NoLogs;

impl LogControl for NoLogs {
    fn reopen(&self) -> Result<Vec<PathBuf>, String> {
        Ok(Vec::new())
    }

    fn set_level(&self, level: &str) -> Result<String, String> {
        Ok(level.to_owned())
    }

    fn set_regions(&self, _: &[DebugRegion], _: bool) {}

    fn regions(&self) -> BTreeSet<DebugRegion> {
        BTreeSet::new()
    }
}

/// Serves `backend` on a local port; returns the URL.
async fn serve(backend: &Backend) -> String {
    let state = Arc::clone(&backend.state);
    let site = Arc::new(ArcSwap::from_pointee(SiteSettings::new(&state.config.load())));
    let (control, _orders) = Control::new(Arc::new(NoLogs));
    control.set_mode(Mode::Online);
    let limits = Limits::default();
    let recent_requests = Arc::new(RecentRequests::new((state.clock)()));
    let switch = Switch::new(ServerContext {
        cluster: Cluster::new("test".to_owned(), String::new(), None, control.clone(), state.clock.clone()),
        control,
        site: Arc::clone(&site),
        access_log: AccessLog::disabled(),
        service_log: ServiceLog::default(),
        audit_log: OptionalLog::default(),
        limits: limits.clone(),
        clock: state.clock.clone(),
        tls: Tls::default(),
        recent_requests: Arc::clone(&recent_requests),
        remark: ArcSwapOption::empty(),
    });
    let tokens = Tokens::open(&state.db, &state.catalog, None).await.expect("the database");
    let app = App {
        tokens,
        sessions: rstudio_pm::auth::Sessions::new(&state.db),
        device_logins: rstudio_pm::auth::DeviceLogins::new(&state.db),
        providers: rstudio_pm::auth::provider::Providers::new(&state.config.load().proxy).expect("no proxy"),
        builds: rstudio_pm::build::Builds::new(
            backend.uploads.clone(),
            backend.repositories.clone(),
            Arc::clone(&state),
        ),
        fetches: backend.fetches.clone(),
        repositories: backend.repositories.clone(),
        uploads: backend.uploads.clone(),
        upkeep: backend.upkeep.clone(),
        history: rstudio_pm::history::History::new(backend.repositories.clone(), Arc::clone(&state)),
        sync: Sync::new(PageReads::new(Arc::clone(&state)), Arc::clone(&state)),
        usage: Usage::default(),
        tls: Tls::default(),
        recent_requests,
        site: Arc::clone(&site),
        limits: limits.clone(),
        resolve_cache: ResolveCache::default(),
        response_budget: ResponseBudget::default(),
        recorder: DownloadRecorder::new(ServiceLog::default(), Usage::default()),
        state,
    };
    switch.set_app(Arc::new(app));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(HttpServer::new(limits, site).serve_tcp(listener, None, PublicService(switch)));
    format!("http://{address}")
}

/// A package whose index record has about 900 kB.
fn large(name: &str) -> Tarball {
    let names = (0..75_000).fold(String::new(), |mut text, n| {
        write!(text, "pkg{n:07}, ").expect("writing to a String does not fail");
        text
    });
    Tarball::new(name, "1.0").field(&format!("Suggests: {}", names.trim_end_matches(", ")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_they_are_sent_indexes_of_many_repositories_stay_within_the_budget() {
    let backend = Backend::new().await;
    backend.create_local_source("large").await;
    let packages: Vec<Tarball> = ["aa", "bb", "cc"].map(large).into();
    backend.try_add("large", &packages, OnExisting::Fail).await.expect("added");
    for number in 0..REPOSITORIES {
        let own = format!("own{number}");
        backend.create_local_source(&own).await;
        backend.add(&own, "small", &format!("1.{number}")).await;
        backend.create_repository(&format!("repo{number}"), &[&own, "large"]).await;
    }
    let base = serve(&backend).await;
    let mut total = 0;
    for number in 0..REPOSITORIES {
        let url = format!("{base}/repo{number}/latest/src/contrib/PACKAGES");
        let answer = tokio::task::spawn_blocking(move || http::get(&url)).await.expect("no panic");
        assert_eq!(answer.status, 200);
        let document =
            index(&backend, &format!("repo{number}"), "latest", RDocument::Packages(IndexFormat::Text)).await;
        assert!(document.bytes == answer.body);
        total += document.bytes.len();
    }
    assert!(total > BUDGET * 5 / 4, "{total} bytes do not exceed the budget");
    // The last answer may still be in transmission.
    let mut tries = 0;
    while serve::index::document_bytes(&backend.repositories) > BUDGET && tries < 500 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        tries += 1;
    }
    let cached_bytes = serve::index::document_bytes(&backend.repositories);
    assert!(cached_bytes <= BUDGET, "{cached_bytes} of {total} bytes are in memory");
    assert!(cached_bytes > 0, "nothing is in the cache: the test measures nothing");
}
