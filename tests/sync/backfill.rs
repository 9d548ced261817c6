//! Back-fill of days before the first sync: over HTTP with and without ranges and from a folder, on both databases;
//! with faults of mirrors and with syncs at the same time. Later days do not change.

use std::time::{Duration, Instant};

use rstudio_pm::db::{backfill as backfill_rows, file, tx};
use rstudio_pm::model::ids::SourceId;

use super::on_both_databases;
use crate::support::cran_history::{CranHistory, DAY, EVENING, backfill, backfill_request, day, state};
use crate::support::db::Engine;
use crate::support::downloader::must_get_cran;
use crate::support::mirror_dir::file_url;
use crate::support::sync_backend::SyncBackend;
use crate::support::tarball::Tarball;
use crate::support::upstream::{Fault, Upstream};

fn package(package: &str, version: &str) -> Tarball {
    Tarball::new(package, version).field("Depends: R (>= 3.5)").field("NeedsCompilation: no")
}

/// Ten days in which packages are published, removed and restored.
fn cran() -> CranHistory {
    let mut cran = CranHistory::default();
    cran.publish(0, &package("alpha", "1.0"));
    cran.publish(1, &package("Beta", "0.1"));
    cran.publish(3, &package("alpha", "1.1"));
    cran.publish(3, &package("gone", "1.0"));
    cran.publish(4, &package("gone", "1.1"));
    cran.publish(5, &package("alpha", "2.0"));
    cran.archive_package(6, "gone");
    cran.archive_package(6, "Beta");
    cran.unarchive_package(8, "Beta");
    cran.publish(9, &package("alpha", "2.1"));
    cran
}

/// A server whose first sync is in the evening of the tenth day.
async fn synced_server(engine: Engine, url: &str) -> SyncBackend {
    let server = SyncBackend::new(engine, url).await;
    server.advance_clock(10 * DAY + EVENING);
    server.sync().await.expect("a valid mirror");
    server
}

async fn listed_packages(server: &SyncBackend, number: i64) -> Vec<String> {
    state(server, day(number)).await.map(|state| state.listed()).unwrap_or_default()
}

async fn assert_history_of_cran(server: &SyncBackend) {
    let expected: [&[&str]; 10] = [
        &["alpha 1.0"],
        &["alpha 1.0", "Beta 0.1"],
        &["alpha 1.0", "Beta 0.1"],
        &["alpha 1.1", "Beta 0.1", "gone 1.0"],
        &["alpha 1.1", "Beta 0.1", "gone 1.1"],
        &["alpha 2.0", "Beta 0.1", "gone 1.1"],
        &["alpha 2.0"],
        &["alpha 2.0"],
        &["alpha 2.0", "Beta 0.1"],
        &["alpha 2.1", "Beta 0.1"],
    ];
    for (number, expected) in (0..).zip(expected) {
        assert_eq!(listed_packages(server, number).await, expected, "day {number}");
    }
    let old_state = state(server, day(6)).await.expect("a state");
    let files: Vec<&str> = old_state.archive.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(
        files,
        ["Beta_0.1.tar.gz", "alpha_1.0.tar.gz", "alpha_1.1.tar.gz", "gone_1.0.tar.gz", "gone_1.1.tar.gz"]
    );
    assert_eq!(
        state(server, day(0)).await.expect("a state").index[0],
        "Package: alpha\nVersion: 1.0\nDepends: R (>= 3.5)\nLicense: MIT\nNeedsCompilation: no\n"
    );
}

on_both_databases! {
    async fn each_day_of_a_mirror_over_http_is_back_filled(engine) {
        let web = Upstream::empty();
        cran().serve(&web);
        let server = synced_server(engine, &web.url()).await;
        assert_eq!(state(&server, day(9)).await, None, "history begins with the first sync");
        let state_after_sync = state(&server, day(10)).await;
        web.take_requests();
        let message = backfill(&server, day(0)).await.expect("a valid mirror");
        assert!(message.contains("8 days of cran from 2025-10-09 to 2025-10-18, 7 releases"), "{message}");
        assert_history_of_cran(&server).await;
        assert_eq!(state(&server, day(10)).await, state_after_sync);
        let requests = web.take_requests();
        let archives: Vec<_> = requests.iter().filter(|request| request.path.contains("/Archive/")).collect();
        assert_eq!(archives.len(), 5, "each archived release is read once, and no listed one: {archives:?}");
        assert!(archives.iter().all(|request| request.status == 206 && request.headers["range"] == "bytes=0-8191"));
        // One transaction for each day, in the order of days.
        let rows = server.read(|c| tx::list(c, SourceId::CRAN, 100)).await;
        assert_eq!(rows.len(), 9);
        let days: Vec<&str> = rows.iter().rev().take(8).map(|tx| tx.comment.as_str()).collect();
        assert_eq!((days[0], days[7]), ("2025-10-09", "2025-10-18"));
        assert!(rows.windows(2).all(|pair| pair[0].at > pair[1].at));
        assert_eq!(rows[8].at.to_string(), "2025-10-09T23:59:59Z");
        assert!(server.read(|c| backfill_rows::get(c, SourceId::CRAN)).await.is_none(), "the back-fill is done");
        assert!(stored_descriptions(&server).await.is_empty(), "the descriptions are in the rows of releases");
        let message = backfill(&server, day(0)).await.expect("nothing to do");
        assert!(message.contains("begins on 2025-10-09 already"), "{message}");
    }

    async fn only_the_first_bytes_are_read_from_a_mirror_without_ranges(engine) {
        let (web, cran) = (Upstream::empty(), cran());
        cran.serve(&web);
        cran.archive.iter().for_each(|release| web.always(&release.archive_path(), Fault::NoValidators));
        let server = synced_server(engine, &web.url()).await;
        backfill(&server, day(0)).await.expect("a valid mirror");
        assert_history_of_cran(&server).await;
    }

    async fn a_folder_is_back_filled(engine) {
        let folder = tempfile::tempdir().expect("a folder");
        cran().write(folder.path());
        let server = synced_server(engine, &format!("file://{}", folder.path().display())).await;
        backfill(&server, day(0)).await.expect("a valid mirror");
        assert_history_of_cran(&server).await;
    }

    async fn older_days_are_added_before_those_of_the_first_back_fill(engine) {
        let web = Upstream::empty();
        cran().serve(&web);
        let server = synced_server(engine, &web.url()).await;
        backfill(&server, day(5)).await.expect("a valid mirror");
        assert_eq!((state(&server, day(4)).await, listed_packages(&server, 5).await.len()), (None, 3));
        let (state_before, transaction_count) = (state(&server, day(5)).await, server.transactions().await);
        let message = backfill(&server, day(0)).await.expect("a valid mirror");
        assert!(message.contains("4 days of cran from 2025-10-09 to 2025-10-13"), "{message}");
        assert_eq!(state(&server, day(5)).await, state_before);
        assert_eq!(server.transactions().await, transaction_count + 4);
        assert_history_of_cran(&server).await;
    }

    async fn later_syncs_are_the_same_with_and_without_a_back_fill(engine) {
        let (web, mut cran) = (Upstream::empty(), cran());
        cran.serve(&web);
        let server = synced_server(engine, &web.url()).await;
        let reference_server = synced_server(Engine::Sqlite, &web.url()).await;
        backfill(&server, day(2)).await.expect("a valid mirror");
        let message = server.sync().await.expect("a valid mirror");
        assert!(message.contains("nothing changed"), "{message}");
        cran.publish(11, &package("alpha", "2.2"));
        cran.unarchive_package(11, "gone");
        cran.archive_package(11, "Beta");
        cran.serve(&web);
        for server in [&server, &reference_server] {
            server.advance_clock(DAY);
            server.sync().await.expect("a valid mirror");
        }
        assert_eq!(state(&server, day(11)).await, state(&reference_server, day(11)).await);
        assert_eq!(listed_packages(&server, 11).await, ["alpha 2.2", "gone 1.1"]);
        assert_eq!(listed_packages(&server, 5).await, ["alpha 2.0", "Beta 0.1", "gone 1.1"]);
    }

    async fn missing_and_damaged_releases_are_reported_and_left_out(engine) {
        let (web, cran) = (Upstream::empty(), cran());
        cran.serve(&web);
        web.remove("src/contrib/Archive/alpha/alpha_1.1.tar.gz");
        let size = cran.archive.iter().find(|r| r.file() == "gone_1.0.tar.gz").expect("gone 1.0 is archived").bytes.len();
        web.put("src/contrib/Archive/gone/gone_1.0.tar.gz", vec![b'x'; size]);
        web.put("src/contrib/Archive/gone/gone_1.1.tar.gz", b"shorter than Meta says".to_vec());
        let server = synced_server(engine, &web.url()).await;
        let message = backfill(&server, day(0)).await.expect("the other releases are valid");
        assert!(message.contains("3 releases are left out of the index of those days: alpha_1.1.tar.gz is not on the mirror"), "{message}");
        assert!(message.contains("gone_1.0.tar.gz this is not a package archive"), "{message}");
        assert!(message.contains("gone_1.1.tar.gz has 22 bytes, but"), "{message}");
        assert_eq!(listed_packages(&server, 3).await, ["Beta 0.1"]);
        assert_eq!(listed_packages(&server, 5).await, ["alpha 2.0", "Beta 0.1"]);
        let old_state = state(&server, day(4)).await.expect("a state");
        assert!(old_state.archive.iter().any(|line| line.starts_with("alpha_1.1.tar.gz ")), "it can be requested: {old_state:?}");
    }

    async fn requests_to_a_busy_mirror_are_repeated_after_the_time_it_declares(engine) {
        let web = Upstream::empty();
        cran().serve(&web);
        let server = synced_server(engine, &web.url()).await;
        let path = "src/contrib/Archive/alpha/alpha_1.0.tar.gz";
        web.fail(path, [Fault::Status(429, "Retry-After: 2"), Fault::Status(503, "")]);
        let start = Instant::now();
        backfill(&server, day(0)).await.expect("the last answers are good");
        assert!(start.elapsed() >= Duration::from_secs(4), "{:?}", start.elapsed());
        assert_history_of_cran(&server).await;
    }

    async fn a_back_fill_that_a_mirror_delays_too_long_is_resumed_and_reads_nothing_twice(engine) {
        let web = Upstream::empty();
        cran().serve(&web);
        let server = synced_server(engine, &web.url()).await;
        let path = "src/contrib/Archive/gone/gone_1.1.tar.gz";
        web.always(path, Fault::Status(429, "Retry-After: 100000"));
        let message = backfill(&server, day(0)).await.expect_err("too long");
        assert!(message.contains("429") && message.contains("its progress is stored"), "{message}");
        assert_eq!(state(&server, day(9)).await, None, "a partial back-fill is invisible");
        let stored_files: Vec<String> = stored_descriptions(&server).await;
        web.always(path, Fault::ExtraHeader("X: y"));
        web.take_requests();
        let server = server.restart(&web.url()).await;
        // It resumes automatically.
        let sync = server.sync.clone();
        let task = tokio::spawn(async move { sync.run_backfills().await });
        let start = Instant::now();
        while state(&server, day(0)).await.is_none() {
            assert!(start.elapsed() < Duration::from_secs(90));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        task.abort();
        assert_history_of_cran(&server).await;
        let paths: Vec<String> = web.take_requests().into_iter().map(|request| request.path).collect();
        for file in &stored_files {
            assert!(!paths.iter().any(|path| path.ends_with(file)), "{file} was read before: {paths:?}");
        }
    }

    async fn a_sync_during_a_back_fill_does_not_wait(engine) {
        let (web, mut cran) = (Upstream::empty(), cran());
        cran.serve(&web);
        let server = synced_server(engine, &web.url()).await;
        web.always("src/contrib/Archive/alpha/alpha_1.0.tar.gz", Fault::Slow(Duration::from_millis(1200)));
        let job = server.sync.backfill(&backfill_request(day(0))).await.unwrap_or_else(|e| panic!("{e}"));
        server.advance_clock(DAY);
        cran.publish(11, &package("alpha", "3.0"));
        cran.unarchive_package(11, "gone");
        cran.serve(&web);
        server.sync().await.expect("a valid mirror");
        assert_eq!(state(&server, day(9)).await, None, "the back-fill is running");
        job.job().wait_end().await.expect("a valid mirror");
        assert_history_of_cran(&server).await;
        assert_eq!(listed_packages(&server, 11).await, ["alpha 3.0", "Beta 0.1", "gone 1.1"]);
        assert_eq!(listed_packages(&server, 10).await, ["alpha 2.1", "Beta 0.1"]);
    }

    async fn a_stopped_back_fill_resumes_where_it_was(engine) {
        let web = Upstream::empty();
        cran().serve(&web);
        let server = synced_server(engine, &web.url()).await;
        let path = "src/contrib/Archive/gone/gone_1.0.tar.gz";
        web.always(path, Fault::Slow(Duration::from_secs(30)));
        let job = server.sync.backfill(&backfill_request(day(0))).await.unwrap_or_else(|e| panic!("{e}"));
        let start = Instant::now();
        while stored_descriptions(&server).await.len() < 4 {
            assert!(start.elapsed() < Duration::from_secs(90));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let message = server.sync.stop_backfill().await.unwrap_or_else(|e| panic!("{e}"));
        assert!(message.contains("was stopped"), "{message}");
        assert!(job.job().wait_end().await.expect_err("stopped").contains("was stopped"));
        assert!(server.read(|c| backfill_rows::get(c, SourceId::CRAN)).await.is_none(), "it does not resume");
        let message = server.sync.stop_backfill().await.unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(message, "No back-fill of cran is under way.");
        web.always(path, Fault::ExtraHeader("X: y"));
        web.take_requests();
        backfill(&server, day(0)).await.expect("a valid mirror");
        let archives = web.take_requests().into_iter().filter(|request| request.path.contains("/Archive/")).count();
        assert_eq!(archives, 1);
        assert_history_of_cran(&server).await;
    }

    async fn a_description_after_large_files_is_found(engine) {
        let (web, mut cran) = (Upstream::empty(), CranHistory::default());
        // Incompressible, so that the DESCRIPTION begins after 300 kB.
        let mut state = 1_u64;
        let random_bytes = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        let mut large_package = package("late", "1.0");
        large_package.files.push(("A/noise".to_owned(), random_bytes.flatten().take(300_000).collect()));
        cran.publish(1, &large_package.description_last());
        cran.publish(5, &package("late", "1.1"));
        cran.serve(&web);
        let server = synced_server(engine, &web.url()).await;
        web.take_requests();
        backfill(&server, day(0)).await.expect("a valid mirror");
        assert_eq!(listed_packages(&server, 2).await, ["late 1.0"]);
        let ranges: Vec<String> =
            web.take_requests().into_iter().filter_map(|request| request.headers.get("range").cloned()).collect();
        assert_eq!(ranges, ["bytes=0-8191", "bytes=8192-65535", "bytes=65536-524287"]);
    }

    async fn a_description_after_large_files_is_found_without_ranges(engine) {
        let (web, mut cran) = (Upstream::empty(), CranHistory::default());
        let mut large_package = package("late", "1.0");
        // Incompressible: the bytes are pseudo-random.
        large_package.files.push(("A/noise".to_owned(), (0..40_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect()));
        cran.publish(1, &large_package.description_last());
        cran.publish(5, &package("late", "1.1"));
        cran.serve(&web);
        cran.archive.iter().for_each(|release| web.always(&release.archive_path(), Fault::NoValidators));
        let server = synced_server(engine, &web.url()).await;
        web.take_requests();
        backfill(&server, day(0)).await.expect("a valid mirror");
        assert_eq!(listed_packages(&server, 2).await, ["late 1.0"]);
        let requests = web.take_requests();
        let statuses: Vec<u16> =
            requests.iter().filter(|request| request.path.contains("/Archive/")).map(|request| request.status).collect();
        assert!(statuses.len() > 1 && statuses.iter().all(|status| *status == 200), "{statuses:?}");
    }

    async fn an_impossible_back_fill_is_refused_with_the_remedy(engine) {
        let (web, cran) = (Upstream::empty(), cran());
        let server = SyncBackend::new(engine, &web.url()).await;
        cran.serve(&web);
        let message = backfill(&server, day(0)).await.expect_err("never synced");
        assert!(message.contains("run `rspm sync` first"), "{message}");
        server.advance_clock(10 * DAY + EVENING);
        server.sync().await.expect("a valid mirror");
        web.put("src/contrib/Meta/archive.rds", b"<html>".to_vec());
        let message = backfill(&server, day(0)).await.expect_err("no table");
        assert!(message.contains("src/contrib/Meta/archive.rds cannot be used") && message.contains("CRAN.URL"), "{message}");
        web.remove("src/contrib/Meta/archive.rds");
        let message = backfill(&server, day(0)).await.expect_err("no table");
        assert!(message.contains("is not on the mirror"), "{message}");
        let message = backfill(&server, day(40)).await;
        assert!(message.is_err(), "the table is still missing: {message:?}");
        cran.serve(&web);
        let message = backfill(&server, day(40)).await.expect("nothing to do");
        assert!(message.contains("begins on 2025-10-19 already"), "{message}");
        assert!(server.read(|c| backfill_rows::get(c, SourceId::CRAN)).await.is_none());
    }

    async fn without_packages_in_a_package_is_removed_the_day_after_its_last_release(engine) {
        let (web, cran) = (Upstream::empty(), cran());
        cran.serve(&web);
        web.remove("src/contrib/PACKAGES.in");
        let server = synced_server(engine, &web.url()).await;
        backfill(&server, day(0)).await.expect("a valid mirror without PACKAGES.in");
        assert_eq!(listed_packages(&server, 4).await, ["alpha 1.1", "Beta 0.1", "gone 1.1"]);
        assert_eq!(listed_packages(&server, 5).await, ["alpha 2.0", "Beta 0.1"], "gone is removed; nothing shows that Beta was removed");
    }

    async fn a_dry_run_reports_and_changes_nothing(engine) {
        let web = Upstream::empty();
        cran().serve(&web);
        let server = synced_server(engine, &web.url()).await;
        web.take_requests();
        let dry_run = rstudio_pm::sync::backfill::BackfillRequest { dry_run: true, rate: 2, ..backfill_request(day(0)) };
        let job = server.sync.backfill(&dry_run).await.unwrap_or_else(|e| panic!("{e}"));
        let message = job.job().wait_end().await.expect("a valid mirror");
        assert_eq!(
            message,
            "8 days of cran from 2025-10-09 to 2025-10-18, 7 releases, would be added; 5 archives have to be \
             read, which at 2 requests a second over 4 connections takes about 0 h 01 min and reads about 1 MB"
        );
        assert_eq!((server.transactions().await, stored_descriptions(&server).await.len()), (1, 0));
        assert!(!web.take_requests().iter().any(|request| request.path.contains("/Archive/")));
        assert!(server.read(|c| backfill_rows::get(c, SourceId::CRAN)).await.is_none());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_server_on_the_same_database_is_refused_and_serves_the_result() {
    let web = Upstream::empty();
    cran().serve(&web);
    let server = synced_server(Engine::Postgres, &web.url()).await;
    let second_server = server.open_second(&web.url()).await;
    web.always("src/contrib/Archive/alpha/alpha_1.0.tar.gz", Fault::Slow(Duration::from_millis(1200)));
    let job = server.sync.backfill(&backfill_request(day(0))).await.unwrap_or_else(|e| panic!("{e}"));
    let start = Instant::now();
    while stored_descriptions(&server).await.is_empty() {
        assert!(start.elapsed() < Duration::from_secs(90));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let message = backfill(&second_server, day(0)).await.expect_err("the first server runs it");
    assert!(message.contains("another server"), "{message}");
    job.job().wait_end().await.expect("a valid mirror");
    second_server.state.catalog.refresh(&second_server.state.db).await.unwrap_or_else(|e| panic!("{e}"));
    assert_history_of_cran(&second_server).await;
}

/// The number of releases of CRAN whose digests are not known.
async fn releases_without_digest(server: &SyncBackend) -> usize {
    server.read(|c| file::files_without_digest(c, SourceId::CRAN)).await.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn digests_that_cannot_be_stored_do_not_undo_the_back_fill_and_are_stored_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mirror, bundle) = (folder.path().join("mirror"), folder.path().join("bundle"));
    cran().write(&mirror);
    must_get_cran(&file_url(&mirror), &bundle, &[]);
    // Only the bundle declares digests.
    let server = synced_server(Engine::Sqlite, &file_url(&mirror)).await.restart(&file_url(&bundle)).await;
    let refuse =
        "CREATE TRIGGER refuse BEFORE UPDATE OF sha256 ON file BEGIN SELECT RAISE(FAIL, 'refused'); END";
    server.state.db.write(move |c| c.execute(refuse, &[])).await.unwrap_or_else(|e| panic!("{e}"));
    let message = backfill(&server, day(0)).await.expect("the back-fill is published");
    assert!(message.contains("were added (transactions"), "{message}");
    assert_history_of_cran(&server).await;
    assert!(releases_without_digest(&server).await > 0);
    assert!(
        server.read(|c| backfill_rows::get(c, SourceId::CRAN)).await.is_some(),
        "the back-fill is repeated"
    );

    server.state.db.write(|c| c.execute("DROP TRIGGER refuse", &[])).await.unwrap_or_else(|e| panic!("{e}"));
    let sync = server.sync.clone();
    let task = tokio::spawn(async move { sync.run_backfills().await });
    let start = Instant::now();
    while server.read(|c| backfill_rows::get(c, SourceId::CRAN)).await.is_some() {
        assert!(start.elapsed() < Duration::from_secs(90));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    task.abort();
    assert_eq!(releases_without_digest(&server).await, 0);
}

/// Files whose descriptions are stored.
async fn stored_descriptions(server: &SyncBackend) -> Vec<String> {
    server
        .read(|c| {
            let mut files = Vec::new();
            backfill_rows::each_description(c, SourceId::CRAN, &mut |archive, _| {
                files.push(archive.file);
                Ok(())
            })?;
            Ok(files)
        })
        .await
}
