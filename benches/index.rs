//! CPU time of the index of 23,000 packages for a snapshot that is not cached, relative to libdeflate -6 on the same
//! bytes.

use std::process::Command;
use std::sync::Arc;

use rstudio_pm::catalog::CatalogHandle;
use rstudio_pm::config;
use rstudio_pm::db::{self, Db};
use rstudio_pm::edit::{self, Actor, OnExisting};
use rstudio_pm::fetch::Fetches;
use rstudio_pm::index::PageReads;
use rstudio_pm::jobs::{JobState, Jobs};
use rstudio_pm::model::ids::Identity;
use rstudio_pm::model::kind::{RepoKind, SourceKind};
use rstudio_pm::model::snapshot::Snapshot;
use rstudio_pm::model::time::{Clock, Timestamp};
use rstudio_pm::r::layout::IndexFormat;
use rstudio_pm::serve::document::DocumentRequest;
use rstudio_pm::serve::r::document::RDocument;
use rstudio_pm::serve::{self, Repositories};
use rstudio_pm::state::{Handles, State};
use rstudio_pm::storage::{Storage, install_tls_provider};
use rstudio_pm::sync::Sync;
use rstudio_pm::upstream::Upstream;

use super::cpu;
use super::mirror::Mirror;
use super::report::{Report, median};

const ROUNDS: usize = 7;

pub(crate) fn run(report: &mut Report) {
    let mirror = Mirror::write();
    measure(report, "SQLite", "", &mirror);
    let url = super::postgres::server().schema();
    measure(
        report,
        "PostgreSQL",
        &format!("[Database]\nProvider = postgres\n[Postgres]\nURL = {url}\n"),
        &mirror,
    );
}

fn measure(report: &mut Report, engine: &str, gcfg: &str, mirror: &Mirror) {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    // `Fetches` spawns a task.
    let _runtime_guard = runtime.enter();
    let state = runtime.block_on(open(folder.path(), gcfg, mirror, system_clock()));
    for (format_name, document, uncompressed) in [
        ("gz", RDocument::Packages(IndexFormat::Gz), RDocument::Packages(IndexFormat::Text)),
        ("rds", RDocument::Packages(IndexFormat::Rds), RDocument::Packages(IndexFormat::Rds)),
    ] {
        let point = runtime
            .block_on(serve::point::resolve(&repositories(&state), "bench", Snapshot::Latest))
            .expect("a point");
        let index = runtime
            .block_on(serve::index::document(
                &repositories(&state),
                &DocumentRequest::new(point.clone(), uncompressed.clone()),
            ))
            .expect("an index");
        let file = folder.path().join("raw");
        std::fs::write(&file, inflate(&index.bytes)).expect("written");
        let (mut ratios, mut index_times, mut libdeflate_times, mut query_times) =
            (vec![], vec![], vec![], vec![]);
        for _ in 0..ROUNDS {
            // New `Repositories` have empty caches.
            let repositories = repositories(&state);
            let (index_time, _) = cpu::seconds_of(|| {
                runtime
                    .block_on(serve::index::document(
                        &repositories,
                        &DocumentRequest::new(point.clone(), document.clone()),
                    ))
                    .expect("an index")
            });
            let tree = point.trees[0];
            let (query_time, _) = cpu::seconds_of(|| {
                runtime
                    .block_on(state.db.read(move |c| db::life::listed(c, tree.tree, tree.seq)))
                    .expect("rows")
            });
            let libdeflate_time =
                cpu::seconds_of_command(Command::new("libdeflate-gzip").args(["-6", "-c"]).arg(&file));
            ratios.push((index_time - query_time) / libdeflate_time);
            index_times.push(index_time);
            libdeflate_times.push(libdeflate_time);
            query_times.push(query_time);
        }
        report.row(
            format!("cold {format_name} index of 23,000 packages, {engine}, CPU without the query"),
            format!(
                "{:.0} ms + query {:.0} ms",
                1e3 * (median(index_times) - median(query_times.clone())),
                1e3 * median(query_times)
            ),
            format!("libdeflate -6 {:.0} ms", 1e3 * median(libdeflate_times)),
            format!("{:.2}", median(ratios)),
            if format_name == "rds" { "≤ 1.2" } else { "≤ 1.35" },
        );
    }
    let db = state.db.clone();
    drop(_runtime_guard);
    drop((state, runtime));
    db.close();
}

fn system_clock() -> Clock {
    Arc::new(|| {
        let elapsed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        Timestamp(elapsed.as_micros() as i64)
    })
}

/// Opens a server without HTTP, syncs the mirror and creates the repository `bench` of it.
pub(crate) async fn open(folder: &std::path::Path, gcfg: &str, mirror: &Mirror, clock: Clock) -> Arc<State> {
    install_tls_provider();
    std::fs::create_dir_all(folder.join("tmp")).expect("a folder");
    let text = format!(
        "[Server]\nDataDir = {0}/data\nTempDir = {0}/tmp\nSockFileDir = {0}/run\nAccessLog = {0}/access.log\n\
         [CRAN]\nURL = {1}\n{gcfg}",
        folder.display(),
        mirror.url()
    );
    let config = config::parse("bench.gcfg", text.as_bytes(), []).expect("a configuration").config;
    let database_config = config.clone();
    let db = tokio::task::spawn_blocking(move || Db::open(&database_config))
        .await
        .expect("no panic")
        .expect("a database");
    let storage = Storage::open(&config.storage).await.expect("storage");
    let upstream = Upstream::new(&config.proxy).expect("a client");
    let catalog = CatalogHandle::open(&db).await.expect("a catalog");
    let state = Arc::new(State::new(Handles {
        config,
        db,
        storage,
        upstream,
        catalog,
        jobs: Jobs::default(),
        clock,
        node: Identity(rand::random()),
    }));
    sync(&state).await;
    create_repository(&state, "bench").await;
    state
}

/// Syncs the mirror.
pub(crate) async fn sync(state: &Arc<State>) {
    let started =
        Sync::new(PageReads::new(state.clone()), state.clone()).start(SourceKind::Cran).expect("a sync");
    let mut progress = started.job().state.clone();
    let job_state = progress.wait_for(|s| !matches!(s, JobState::Running(_))).await.expect("an end").clone();
    assert!(matches!(job_state, JobState::Done(_)), "{job_state:?}");
}

/// Creates a repository of the mirror.
pub(crate) async fn create_repository(state: &Arc<State>, name: &str) {
    let actor = Actor("bench".to_owned());
    let repo = edit::NewRepo::open(&name.parse().expect("a name"), RepoKind::R, "");
    edit::repo::create(state, repo, OnExisting::Fail, &actor).await.expect("a repository");
    edit::subscription::subscribe(state, name, "cran", None, OnExisting::Fail, &actor)
        .await
        .expect("a subscription");
}

/// Repositories with empty caches.
pub(crate) fn repositories(state: &Arc<State>) -> Arc<Repositories> {
    Repositories::new(Fetches::new(state.clone()), PageReads::new(state.clone()), state.clone())
}

/// Decodes a gzip stream; returns other bytes unchanged.
fn inflate(bytes: &[u8]) -> Vec<u8> {
    use std::io::Read;
    if !bytes.starts_with(b"\x1f\x8b") {
        return bytes.to_vec();
    }
    let mut decoded_bytes = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut decoded_bytes).expect("our own gzip");
    decoded_bytes
}
