//! A back-fill that is killed at any moment resumes to the same bytes, and requests nothing twice.

use std::collections::BTreeSet;
use std::time::Duration;

use rstudio_pm::db::{backfill as backfill_rows, backfill_write, import, life, tree};
use rstudio_pm::model::change::{LifeState, NewRelease};
use rstudio_pm::model::ids::{Seq, SourceId};

use super::on_both_databases;
use crate::support::cran_history::{CranHistory, DAY, EVENING, backfill, backfill_request, day, state};
use crate::support::db::Engine;
use crate::support::sync_backend::{SyncBackend, until, wait_for_phase};
use crate::support::tarball::Tarball;
use crate::support::upstream::{Fault, Upstream};

const DAYS: i64 = 12;
const PACKAGES: i64 = 120;

fn cran() -> CranHistory {
    let mut cran = CranHistory::default();
    for day_number in 0..DAYS {
        for number in 0..PACKAGES {
            let tarball =
                Tarball::new(&format!("p{number}"), &format!("1.{day_number}")).field("NeedsCompilation: no");
            cran.publish(day_number, &tarball);
        }
    }
    cran
}

/// The state of a server on each day, as text.
async fn history(server: &SyncBackend) -> Vec<String> {
    let mut history = Vec::new();
    for day_number in 0..=DAYS {
        history.push(format!("{:?}", state(server, day(day_number)).await));
    }
    let catalog = server.state.catalog.get();
    let tree = catalog.source_package_trees(SourceId::CRAN).next().expect("a tree");
    history.push(format!("{:?}", tree.steps.iter().map(|step| (step.seq, step.at)).collect::<Vec<_>>()));
    history
}

async fn synced_server(engine: Engine, url: &str) -> SyncBackend {
    let server = SyncBackend::new(engine, url).await;
    server.advance_clock(DAYS * DAY + EVENING);
    server.sync().await.expect("a valid mirror");
    server
}

/// Files whose descriptions are stored.
async fn stored_descriptions(server: &SyncBackend) -> BTreeSet<String> {
    server
        .read(|c| {
            let mut files = BTreeSet::new();
            backfill_rows::each_description(c, SourceId::CRAN, &mut |archive, _| {
                files.insert(archive.file);
                Ok(())
            })?;
            Ok(files)
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_back_fill_killed_at_twenty_points_resumes_to_equal_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    cran().write(folder.path());
    let url = format!("file://{}", folder.path().display());
    let reference_server = synced_server(Engine::Sqlite, &url).await;
    backfill(&reference_server, day(0)).await.expect("a valid mirror");
    let expected = history(&reference_server).await;
    const READING: &str = "reading DESCRIPTION of archived releases";
    const WAITING: &str = "waiting for the running sync";
    const WRITING: &str = "writing old releases";
    const PUBLISHING: &str = "publishing";
    let phases = [READING, WAITING, WRITING, PUBLISHING];
    let archived_count = u64::try_from((DAYS - 1) * PACKAGES).expect("a number");
    let mut points = vec![None];
    points.extend((0..14).map(|part| Some((READING, archived_count * part / 15))));
    points.extend([(WAITING, 0), (WRITING, 0), (WRITING, 1), (PUBLISHING, 0), (PUBLISHING, 1)].map(Some));
    assert_eq!(points.len(), 20);
    let (mut killed_while_reading, mut invisible_count) = (0, 0);
    for point in points {
        let server = synced_server(Engine::Sqlite, &url).await;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let sync = server.sync.clone();
        let job = runtime.spawn(async move { sync.backfill(&backfill_request(day(0))).await });
        if let Some((phase, done)) = point {
            let job = job.await.expect("no panic").unwrap_or_else(|e| panic!("{e}"));
            wait_for_phase(job.job(), &phases, phase, done).await;
        }
        runtime.shutdown_background();
        let server = server.restart(&url).await;
        server.sync.recover().await.expect("undone");
        let is_visible = state(&server, day(0)).await.is_some();
        invisible_count += usize::from(!is_visible);
        assert!(
            !is_visible || history(&server).await == expected,
            "everything or nothing is visible, at point {point:?}"
        );
        let stored_files = stored_descriptions(&server).await;
        killed_while_reading += usize::from(!is_visible && !stored_files.is_empty());
        // Files that were read are not read again: the mirror no longer has them.
        let hidden_folder = tempfile::tempdir().expect("a folder");
        for file in stored_files.iter().filter(|_| !is_visible) {
            let package = file.split('_').next().unwrap_or_default();
            let path = folder.path().join("src/contrib/Archive").join(package).join(file);
            std::fs::rename(path, hidden_folder.path().join(file)).expect("moved");
        }
        let result = backfill(&server, day(0)).await;
        for file in stored_files.iter().filter(|_| !is_visible) {
            let package = file.split('_').next().unwrap_or_default();
            let path = folder.path().join("src/contrib/Archive").join(package).join(file);
            std::fs::rename(hidden_folder.path().join(file), path).expect("moved");
        }
        let result = result.unwrap_or_else(|e| panic!("point {point:?}: {e}"));
        assert!(!result.contains("left out"), "point {point:?}: {result}");
        assert!(history(&server).await == expected, "point {point:?}");
    }
    assert!(
        killed_while_reading >= 3,
        "{killed_while_reading} of {invisible_count} were killed while reading"
    );
}

on_both_databases! {
    async fn rows_of_a_killed_back_fill_are_removed(engine) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut cran = CranHistory::default();
        cran.publish(1, &Tarball::new("alpha", "1.0"));
        cran.publish(4, &Tarball::new("alpha", "1.1"));
        cran.write(folder.path());
        let server = synced_server(engine, &format!("file://{}", folder.path().display())).await;
        // Lives of a back-fill that was never published, of a known release and of a new one.
        let write = server.state.db.write(|c| {
            let row = tree::of_source(c, SourceId::CRAN)?.remove(0);
            let first = row.first.expect("synced");
            let known_lives = life::current_of(c, row.id, first, rstudio_pm::model::ids::PackageId(1))?;
            let target =
                import::ImportTarget { tree: row.id, pending: first, origin: SourceId::CRAN };
            let release_history = backfill_write::ReleaseHistory {
                release: backfill_write::PastRelease::Known {
                    package: known_lives[0].key.package,
                    release: known_lives[0].key.release,
                    variant: known_lives[0].variant,
                    record: None,
                },
                lives: vec![backfill_write::PastLife { state: LifeState::Listed, from: Seq(-9), to: first }],
            };
            let new_release = NewRelease {
                package: "beta".to_owned(),
                version: "0.1".to_owned(),
                revision: 0,
                published_at: None,
                stanza: None,
                description: None,
                readme: None,
                files: Vec::new(),
            };
            let new_history = backfill_write::ReleaseHistory {
                release: backfill_write::PastRelease::New(new_release),
                ..release_history.clone()
            };
            backfill_write::write(c, &target, &[release_history, new_history])
        });
        write.await.unwrap_or_else(|e| panic!("{e}"));
        let history_before = history(&server).await;
        backfill(&server, day(0)).await.expect("a valid mirror");
        assert_ne!(history(&server).await, history_before);
        let rows = server.read(|c| c.query("SELECT from_seq FROM life WHERE from_seq < $1", &[(-1).into()])).await;
        assert!(rows.is_empty(), "{rows:?}");
        // Otherwise the removal of unused releases would delete `beta` while the next back-fill uses it.
        let beta = server.read(|c| c.query("SELECT id FROM release WHERE version = $1", &["0.1".into()])).await;
        assert!(beta.is_empty(), "{beta:?}");
        assert_eq!(state(&server, day(2)).await.expect("a state").listed(), ["alpha 1.0"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_halted_back_fill_ends_without_the_pending_response_and_resumes() {
    let (web, mut cran) = (Upstream::empty(), CranHistory::default());
    for day_number in 0..10 {
        cran.publish(
            day_number,
            &Tarball::new("alpha", &format!("1.{day_number}")).field("NeedsCompilation: no"),
        );
    }
    cran.serve(&web);
    let server = synced_server(Engine::Sqlite, &web.url()).await;
    let slow_path = cran.archive[0].archive_path();
    web.always(&slow_path, Fault::Slow(Duration::from_secs(600)));
    let job = server.sync.backfill(&backfill_request(day(0))).await.unwrap_or_else(|e| panic!("{e}"));
    let other_count = cran.archive.len() - 1;
    until("all others are read", async || stored_descriptions(&server).await.len() == other_count).await;
    server.state.jobs.halt(true);
    let result = tokio::time::timeout(Duration::from_secs(120), job.job().wait_end())
        .await
        .expect("it does not wait for the mirror");
    assert!(result.expect_err("halted").contains("resumes when the server is online again"));
    server.state.jobs.halt(false);
    assert!(server.read(|c| backfill_rows::get(c, SourceId::CRAN)).await.is_some());
    web.always(&slow_path, Fault::ExtraHeader("X: y"));
    web.take_requests();
    backfill(&server, day(0)).await.expect("a valid mirror");
    let archives =
        web.take_requests().into_iter().map(|request| request.path).filter(|path| path.contains("/Archive/"));
    assert_eq!(archives.collect::<Vec<_>>(), [slow_path], "what was read is not read again");
}
