//! The scrub on real stores: its findings, its repairs, and its continuation after an interruption.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rstudio_pm::db;
use rstudio_pm::edit::OnExisting;
use rstudio_pm::jobs::JobStart;
use rstudio_pm::model::kind::StorageClass;
use rstudio_pm::r::layout::IndexFormat;
use rstudio_pm::serve::r::document::RDocument;
use rstudio_pm::storage::{Area, Key};
use rstudio_pm::upkeep::scrub::{Fault, RepairOutcome, ScrubExtent, ScrubLevel, ScrubOptions, ScrubResult};
use rstudio_pm::upkeep::{self, scrub};

use super::all_stores::{ObjectStore, package_bytes, stores};
use super::index;
use super::sweep::objects;
use crate::support::backend::{Backend, day};
use crate::support::db::Engine;
use crate::support::faulty_s3::FaultyProxy;
use crate::support::s3;
use crate::support::sync_backend::until;
use crate::support::tarball::Tarball;

const PACKAGES: StorageClass = StorageClass::Packages;

/// Runs a scrub and returns its result.
pub(super) async fn run(backend: &Backend, options: ScrubOptions) -> Arc<ScrubResult> {
    let scrub_start = scrub::start(&backend.upkeep, options);
    scrub_start.job().wait_end().await.expect("a scrub");
    scrub::result(&backend.upkeep, scrub_start.job().id).expect("a result")
}

/// Returns fault, outcome and package of each finding of a result.
pub(super) fn findings(result: &ScrubResult) -> Vec<(Fault, RepairOutcome, String)> {
    let package = |finding: &scrub::Finding| {
        finding.origin.as_ref().map(|origin| origin.package.clone()).unwrap_or_default()
    };
    result.findings.iter().map(|finding| (finding.fault, finding.outcome, package(finding))).collect()
}

/// Starts a backend with a local source `team` of `count` packages with READMEs, in the repository `all`.
async fn backend_with_readmes(stores: crate::support::backend::StoresConfig, count: usize) -> Backend {
    let backend = Backend::with_stores(stores).await;
    upkeep::ownership::claim(&backend.upkeep).await;
    backend.create_local_source("team").await;
    backend.create_repository("all", &["team"]).await;
    for number in 0..count {
        backend.try_add("team", &[package(number)], OnExisting::Fail).await.expect("added");
    }
    backend
}

fn package(number: usize) -> Tarball {
    let name = format!("alpha{number}");
    Tarball::new(&name, "1.0").with("README.md", &format!("# {name}\n"))
}

/// Flips one bit; the size does not change.
fn flip(object: &Path) {
    let mut bytes = std::fs::read(object).expect("stored");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(object, bytes).expect("written");
}

/// Returns the objects of a directory of class `packages`.
fn objects_of(backend: &Backend, directory: &str) -> Vec<PathBuf> {
    let all = objects(&backend.folder().join("data/packages"));
    all.into_iter().filter(|path| path.ancestors().any(|at| at.ends_with(directory))).collect()
}

/// Returns the number of objects of a class that were moved to the directory `damaged`.
async fn damaged_count(backend: &Backend, class: StorageClass) -> usize {
    backend.state.storage.list_in(Area::Damaged, class, None, 100).await.expect("a listing").len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_readme_is_extracted_again_and_a_damaged_package_is_lost() {
    let backend = backend_with_readmes(crate::support::backend::StoresConfig::default(), 3).await;
    let result = run(&backend, ScrubOptions { sample: 1, ..ScrubOptions::full() }).await;
    assert_eq!((result.objects, result.bad, result.repaired), (6, 0, 0), "{result:?}");
    assert!(result.is_complete && !result.is_continued && result.bytes > 0);

    let readmes = objects_of(&backend, "packages/readmes");
    assert_eq!(readmes.len(), 3);
    let bytes = std::fs::read(&readmes[0]).expect("stored");
    flip(&readmes[0]);
    let report = run(&backend, ScrubOptions::full()).await;
    assert_eq!((report.bad, report.repaired), (1, 0));
    assert!(matches!(findings(&report)[..], [(Fault::Damaged, RepairOutcome::Obtainable, _)]), "{report:?}");
    assert!(!readmes[0].exists());
    assert_eq!(damaged_count(&backend, PACKAGES).await, 1);
    let repair_result = run(&backend, ScrubOptions { repair: true, ..ScrubOptions::full() }).await;
    assert_eq!((repair_result.bad, repair_result.repaired), (0, 1), "{repair_result:?}");
    assert_eq!(std::fs::read(&readmes[0]).expect("stored again"), bytes);
    assert_eq!(damaged_count(&backend, PACKAGES).await, 1, "the damaged object stays for its grace period");

    let archives = objects_of(&backend, "packages/packages");
    let bytes = std::fs::read(&archives[1]).expect("stored");
    flip(&archives[1]);
    let result = run(&backend, ScrubOptions { repair: true, ..ScrubOptions::full() }).await;
    assert_eq!((result.bad, result.repaired), (1, 0));
    let [finding] = &result.findings[..] else { panic!("{result:?}") };
    let origin = finding.origin.as_ref().expect("a package");
    assert_eq!((finding.fault, finding.outcome), (Fault::Damaged, RepairOutcome::Lost));
    assert_eq!((origin.source.as_str(), origin.version.as_str()), ("team", "1.0"));
    let (actor, at) = origin.published.as_ref().expect("a transaction");
    assert_eq!((actor.as_str(), at.day()), ("test", day("2024-03-01")));
    assert_eq!(backend.state.storage.bad_object_count(), 1);
    // It is reported until it is stored again.
    assert_eq!(run(&backend, ScrubOptions::full()).await.bad, 1);
    let number = origin.package.trim_start_matches("alpha").parse().expect("a number");
    let second_add = backend.try_add("team", &[package(number)], OnExisting::Replace).await;
    second_add.expect("added");
    assert_eq!(std::fs::read(&archives[1]).expect("stored again"), bytes);
    assert_eq!(
        (run(&backend, ScrubOptions::full()).await.bad, backend.state.storage.bad_object_count()),
        (0, 0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_index_of_a_closed_day_is_moved_to_damaged_and_generated_again() {
    let backend = backend_with_readmes(crate::support::backend::StoresConfig::default(), 1).await;
    backend.advance_to_noon("2024-03-02");
    let document = RDocument::Packages(IndexFormat::Gz);
    let bytes = index(&backend, "all", "2024-03-01", document.clone()).await.bytes;
    let [object] = objects(&backend.folder().join("data/persistent")).try_into().expect("one object");
    flip(&object);
    let result = run(&backend, ScrubOptions::full()).await;
    assert_eq!((result.bad, result.repaired), (0, 1), "{result:?}");
    assert!(matches!(findings(&result)[..], [(Fault::Damaged, RepairOutcome::Generated, _)]));
    assert!(!object.exists());
    let backend = backend.restart().await;
    upkeep::ownership::claim(&backend.upkeep).await;
    assert!(index(&backend, "all", "2024-03-01", document).await.bytes == bytes);
    assert!(object.exists());
    assert_eq!(run(&backend, ScrubOptions::full()).await.repaired, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_quick_level_finds_other_sizes_missing_and_unknown_objects() {
    let backend = backend_with_readmes(crate::support::backend::StoresConfig::default(), 4).await;
    let quick = || ScrubOptions { level: ScrubLevel::Quick, ..ScrubOptions::full() };
    let result = run(&backend, quick()).await;
    assert_eq!((result.objects, result.bad, result.unknown), (8, 0, 0));
    let archives = objects_of(&backend, "packages/packages");
    flip(&archives[0]);
    assert_eq!(run(&backend, quick()).await.bad, 0, "the size is the same");
    let file = std::fs::File::options().write(true).open(&archives[1]).expect("stored");
    file.set_len(10).expect("shorter");
    std::fs::remove_file(&archives[2]).expect("removed");
    let unknown_key = Key::Package(PACKAGES, rstudio_pm::model::digest::Sha256([7; 32]));
    backend.state.storage.put(&unknown_key, "unknown".into()).await.expect("stored");
    let result = run(&backend, quick()).await;
    let mut faults: Vec<&str> = result.findings.iter().map(|finding| finding.fault.as_str()).collect();
    faults.sort_unstable();
    assert_eq!((faults, result.unknown), (vec!["damaged", "missing"], 1), "{result:?}");
    assert!(!archives[1].exists(), "moved to the directory damaged");
    assert_eq!(damaged_count(&backend, PACKAGES).await, 1);
    // The full level finds the rest.
    assert_eq!(run(&backend, ScrubOptions::full()).await.bad, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_quick_level_lists_a_bucket_with_few_requests() {
    if s3::rerun_with_credentials() {
        return;
    }
    let server = tokio::task::spawn_blocking(s3::server).await.expect("no panic");
    let proxy = FaultyProxy::start(server).await;
    let address = proxy.address;
    let lines = tokio::task::spawn_blocking(move || s3::lines(&s3::bucket(address))).await.expect("no panic");
    let gcfg = format!("[Storage]\nDefault = s3\n{lines}");
    let backend = backend_with_readmes(crate::support::backend::StoresConfig { gcfg }, 5).await;
    let list_requests = || proxy.heads().iter().filter(|head| head.contains("list-type=2")).count();
    let before = list_requests();
    let quick = ScrubOptions { level: ScrubLevel::Quick, ..ScrubOptions::full() };
    let result = run(&backend, quick).await;
    assert_eq!((result.objects, result.bad, result.unknown), (10, 0, 0), "{result:?}");
    // One for each storage directory with rows, instead of one for each first byte of a digest.
    let count = list_requests() - before;
    assert!((2..=12).contains(&count), "{count} list requests for 10 objects");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn facts_that_contradict_the_archive_are_found() {
    let backend = backend_with_readmes(crate::support::backend::StoresConfig::default(), 2).await;
    let all = || ScrubOptions { sample: 1, ..ScrubOptions::full() };
    assert_eq!(run(&backend, all()).await.bad, 0);
    let change = |c: &mut dyn db::Conn| {
        c.execute("UPDATE release SET version = '9.9' WHERE id = (SELECT min(id) FROM release)", &[])
    };
    assert_eq!(backend.state.db.write(change).await.expect("written"), 1);
    let result = run(&backend, all()).await;
    let [finding] = &result.findings[..] else { panic!("{result:?}") };
    assert_eq!((finding.fault, finding.outcome), (Fault::Facts, RepairOutcome::Lost));
    assert!(
        finding.detail.contains("1.0, but its row in the database names") && finding.detail.ends_with("9.9"),
        "{finding:?}"
    );
    assert_eq!(objects_of(&backend, "packages/packages").len(), 2, "the object stays in service");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_scrub_continues_and_the_next_one_reads_everything() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let backend = backend_with_readmes(stores(engine, ObjectStore::Disk).await, 12).await;
        let total: u64 = objects(&backend.folder().join("data/packages")).len() as u64;
        assert_eq!(total, 24);
        // At this rate the scrub takes about six seconds.
        let size: u64 = objects(&backend.folder().join("data/packages"))
            .iter()
            .map(|object| object.metadata().expect("stored").len())
            .sum();
        let slow = ScrubOptions { rate: size / 6, ..ScrubOptions::full() };
        let scrub_start = scrub::start(&backend.upkeep, slow);
        let other = scrub::start(&backend.upkeep, ScrubOptions { repair: true, ..ScrubOptions::full() });
        assert!(matches!(other, JobStart::Conflicting(running) if running.id == scrub_start.job().id));
        let state = backend.state.clone();
        until("the progress is recorded", async || {
            let ranges = state.db.read(db::scrub::ranges).await.expect("rows");
            ranges.iter().any(|range| range.objects > 0)
        })
        .await;
        assert!(backend.state.jobs.stop("scrub").is_some());
        let error = scrub_start.job().wait_end().await.expect_err("it was stopped");
        assert!(error.contains("continues from there"), "{error}");

        let backend = backend.restart().await;
        upkeep::ownership::claim(&backend.upkeep).await;
        let continuation = run(&backend, ScrubOptions::full()).await;
        assert!(continuation.is_continued && continuation.is_complete, "{continuation:?}");
        assert!(continuation.objects > 0 && continuation.objects < total, "{continuation:?}");
        let full_result = run(&backend, ScrubOptions::full()).await;
        assert_eq!((full_result.is_continued, full_result.objects), (false, total));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrub_that_reached_its_maximum_duration_is_continued() {
    let backend = backend_with_readmes(crate::support::backend::StoresConfig::default(), 6).await;
    let options =
        |duration| ScrubOptions { rate: 1000, max_duration: Some(duration), ..ScrubOptions::full() };
    let first_result = run(&backend, options(Duration::from_millis(500))).await;
    assert!(!first_result.is_complete && first_result.objects < 12, "{first_result:?}");
    let second_result = run(&backend, ScrubOptions::full()).await;
    assert!(second_result.is_complete && second_result.is_continued);
    assert_eq!(first_result.objects + second_result.objects, 12);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_and_classes_divide_the_objects() {
    let backend = backend_with_readmes(crate::support::backend::StoresConfig::default(), 8).await;
    let mut objects = 0;
    for number in 1..=4 {
        let part = ScrubOptions { extent: ScrubExtent::Part { number, total: 4 }, ..ScrubOptions::full() };
        objects += run(&backend, part).await.objects;
    }
    assert_eq!(objects, 16);
    for (class, expected) in [(PACKAGES, 16), (StorageClass::Cran, 0)] {
        let options = ScrubOptions { classes: vec![class], ..ScrubOptions::full() };
        assert_eq!(run(&backend, options).await.objects, expected, "{class:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_read_in_eight_weeks_of_nights() {
    let backend = backend_with_readmes(crate::support::backend::StoresConfig::default(), 10).await;
    let mut today = day("2024-03-01");
    let (mut read_count, mut max_per_night) = (0, 0);
    for _ in 0..56 {
        today = rstudio_pm::model::time::Timestamp(today.end().0).day();
        backend.advance_to_noon(&today.to_string());
        let night = run(&backend, ScrubOptions::nightly()).await;
        assert!(night.is_complete && night.bad == 0);
        read_count += night.objects;
        max_per_night = max_per_night.max(night.objects);
    }
    // The last night begins a new round.
    assert!(read_count >= 20, "{read_count}");
    assert!(max_per_night < 10, "{max_per_night} objects in one night");
    let ranges = backend.state.db.read(db::scrub::ranges).await.expect("rows");
    assert!(ranges.iter().all(|range| range.read_at.is_some() && range.position.is_none()));
    assert_eq!(ranges.iter().map(|range| range.objects).sum::<i64>(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_in_a_bucket_are_read_and_moved_to_damaged() {
    if s3::rerun_with_credentials() {
        return;
    }
    let stores = stores(Engine::Sqlite, ObjectStore::S3).await;
    let place = |name: &str| {
        let line = stores.gcfg.lines().find_map(|line| line.strip_prefix(&format!("{name} = ")));
        line.expect("a setting").to_owned()
    };
    let (bucket, prefix) = (place("Bucket"), place("Prefix"));
    let backend = backend_with_readmes(stores, 3).await;
    assert_eq!(run(&backend, ScrubOptions::full()).await.objects, 6);
    let listing = backend.state.storage.list(PACKAGES, None, 100).await.expect("a listing");
    let archive = listing.iter().find(|object| matches!(object.key, Key::Package(..))).expect("one").key;
    // An empty object replaces the archive.
    let path = format!("/{bucket}/{}/{}", prefix.trim_matches('/'), archive.path());
    let status = tokio::task::spawn_blocking(move || s3::request("PUT", &path).0).await.expect("no panic");
    assert_eq!(status, 200);
    let quick = ScrubOptions { level: ScrubLevel::Quick, ..ScrubOptions::full() };
    let result = run(&backend, quick).await;
    assert_eq!((result.objects, result.bad), (6, 1), "{result:?}");
    assert!(matches!(findings(&result)[..], [(Fault::Damaged, RepairOutcome::Lost, _)]));
    assert_eq!(damaged_count(&backend, PACKAGES).await, 1);
    assert_eq!(backend.state.storage.size(&archive).await.expect("an answer"), None);
    let number = findings(&result)[0].2.trim_start_matches("alpha").parse().expect("a number");
    backend.try_add("team", &[package(number)], OnExisting::Replace).await.expect("added");
    let full_result = run(&backend, ScrubOptions::full()).await;
    assert_eq!((full_result.objects, full_result.bad), (6, 0));
    assert!(package_bytes(&backend, "latest", &format!("alpha{number}"), "1.0").await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_examination_of_the_database_reports_its_defects() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let backend = backend_with_readmes(stores(engine, ObjectStore::Disk).await, 2).await;
        let examine = || ScrubOptions { level: ScrubLevel::Database, ..ScrubOptions::full() };
        let result = run(&backend, examine()).await;
        assert_eq!(result.findings, [], "{engine:?}");
        assert!(!result.notes.is_empty());
        let change = |c: &mut dyn db::Conn| c.execute("UPDATE clock SET tx = tx + 1", &[]);
        backend.state.db.write(change).await.expect("written");
        let result = run(&backend, examine()).await;
        let [finding] = &result.findings[..] else { panic!("{result:?}") };
        assert!(finding.fault == Fault::Database && finding.detail.contains("the newest transaction"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_cannot_be_moved_to_damaged_does_not_end_the_scrub() {
    let backend = backend_with_readmes(crate::support::backend::StoresConfig::default(), 4).await;
    let packages = objects_of(&backend, "packages/packages");
    flip(&packages[0]);
    flip(&packages[2]);
    // The directory for damaged objects cannot be created.
    let damaged_directory = backend.folder().join("data/packages/damaged");
    let _ = std::fs::remove_dir_all(&damaged_directory);
    std::fs::write(&damaged_directory, "a file").expect("written");
    let result = run(&backend, ScrubOptions::full()).await;
    assert_eq!((result.bad, result.objects, result.is_complete), (2, 8, true), "{result:?}");
    assert!(
        result
            .findings
            .iter()
            .all(|finding| finding.detail.contains("it was not moved to the directory 'damaged'")),
        "{result:?}"
    );
    std::fs::remove_file(&damaged_directory).expect("removed");
    let second_result = run(&backend, ScrubOptions::full()).await;
    assert_eq!(second_result.bad, 2, "{second_result:?}");
    assert_eq!(damaged_count(&backend, PACKAGES).await, 2);
}
