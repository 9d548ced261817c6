//! Days and transactions of a local source after random edits and restarts, compared with a model.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use rstudio_pm::db::invariants;
use rstudio_pm::edit::{self, OnExisting, RemoveScope, UploadKind};
use rstudio_pm::model::kind::{Language, RepoKind, SourceKind};
use rstudio_pm::model::project_path::FilePart;
use rstudio_pm::model::snapshot::Snapshot;
use rstudio_pm::python::accept::SimpleFormat;
use rstudio_pm::python::name;
use rstudio_pm::python::simple::read;
use rstudio_pm::serve::document::DocumentRequest;
use rstudio_pm::serve::project::document::ProjectContent;
use rstudio_pm::upkeep::sweep::{self, SweepOptions};
use rstudio_pm::{serve, upkeep};

use crate::support::backend::{Backend, StoresConfig, actor};
use crate::support::db;
use crate::support::documents::project_document;
use crate::support::python::package::Package;

/// The names of files, with the reason for their yank.
type Files = BTreeMap<String, Option<String>>;

const PROJECT: &str = "one";

async fn add(backend: &Backend, name: &str, bytes: Vec<u8>) {
    let body = futures_util::stream::iter([Ok(bytes.into())]).boxed();
    let upload =
        edit::package::receive(&backend.uploads, name, body, UploadKind::Project(Language::Python), &actor())
            .await
            .unwrap();
    edit::add::add(&backend.uploads, "team", &[upload.id], OnExisting::Fail, &actor()).await.unwrap();
}

async fn yank(backend: &Backend, file: &str, reason: Option<&str>) {
    let scope = RemoveScope::Version(file.to_owned());
    edit::project::yank::set(&backend.state, "team", PROJECT, scope, reason, &actor()).await.unwrap();
}

async fn remove(backend: &Backend, file: &str) {
    let scope = RemoveScope::Version(file.to_owned());
    edit::package::remove(&backend.repositories, &backend.state, "team", PROJECT, scope, "", &actor())
        .await
        .unwrap();
}

/// Returns the files of the page and its bytes in a format; `None` if there is no page.
async fn page(backend: &Backend, snapshot: &str, format: SimpleFormat) -> Option<(Files, Vec<u8>)> {
    let snapshot: Snapshot = snapshot.parse().unwrap();
    let point = serve::point::resolve(&backend.repositories, "py", snapshot).await.ok()?;
    let project = name::parse(PROJECT).unwrap();
    let owned = serve::project::file::locate_page(&backend.repositories, &point, &project).await;
    let request = DocumentRequest::new(
        owned.ok()?.point,
        project_document(format, ProjectContent::Page(project.clone(), None)),
    );
    let document = serve::index::document(&backend.repositories, &request).await.unwrap();
    let url = "http://h/simple/one/".parse().unwrap();
    let page = read::read(format, &document.bytes, &url, &project).unwrap().page;
    let files =
        page.files.into_iter().map(|file| (file.name.to_string(), file.yanked.map(|yank| yank.reason)));
    Some((files.collect(), document.bytes.to_vec()))
}

async fn scenario(engine: db::Engine) {
    let gcfg = tokio::task::spawn_blocking(move || db::settings(engine)).await.unwrap();
    let mut backend = Backend::with_stores(StoresConfig { gcfg }).await;
    let name = |text: &str| text.parse().unwrap();
    let kind = SourceKind::LocalPython;
    edit::source::create(&backend.state, &name("team"), kind, OnExisting::Fail).await.unwrap();
    let repository = edit::NewRepo::open(&name("py"), RepoKind::Python, "");
    edit::repo::create(&backend.state, repository, OnExisting::Fail, &actor()).await.unwrap();
    edit::subscription::subscribe(&backend.state, "py", "team", None, OnExisting::Fail, &actor())
        .await
        .unwrap();

    let seed: u32 = rand::random();
    let mut random = seed;
    let mut next = |limit: u32| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 16) % limit
    };
    let mut model = Files::new();
    let mut days: Vec<(String, Files)> = Vec::new();
    for day in 2..22 {
        for _ in 0..next(4) {
            let package = Package::new(PROJECT, &format!("1.{}", next(4)));
            let (file, bytes) = match next(2) {
                0 => (package.wheel_name(), package.wheel()),
                _ => (package.sdist_name(), package.sdist()),
            };
            match (next(4), model.contains_key(&file)) {
                (0 | 1, false) => {
                    let of_version = |name: &&String| name.starts_with(&format!("one-{}", package.version));
                    let siblings: Vec<&Option<String>> =
                        model.iter().filter(|(name, _)| of_version(name)).map(|(_, yank)| yank).collect();
                    // A new file of a version whose files are all yanked is yanked, for the reason for the first file.
                    let yank = siblings.first().filter(|_| siblings.iter().all(|yank| yank.is_some()));
                    let yank = yank.copied().cloned().flatten();
                    add(&backend, &file, bytes).await;
                    model.insert(file, yank);
                }
                (0, true) => {
                    add(&backend, &file, bytes).await;
                }
                (1, true) => {
                    yank(&backend, &file, Some("bad")).await;
                    model.insert(file, Some("bad".to_owned()));
                }
                (2, true) => {
                    yank(&backend, &file, None).await;
                    model.insert(file, None);
                }
                (_, true) => {
                    remove(&backend, &file).await;
                    model.remove(&file);
                }
                (_, false) => {}
            }
        }
        days.push((format!("2024-03-{:02}", day - 1), model.clone()));
        if next(5) == 0 {
            backend = backend.restart().await;
        }
        backend.advance_to_noon(&format!("2024-03-{day:02}"));
    }
    let mut pages: Vec<Option<Vec<u8>>> = Vec::new();
    for round in 0..2 {
        for (number, (day, expected)) in days.iter().enumerate() {
            let json = page(&backend, day, SimpleFormat::Json).await;
            let html = page(&backend, day, SimpleFormat::Html).await;
            let empty = Files::new();
            assert_eq!(json.as_ref().map_or(&empty, |page| &page.0), expected, "{day}, seed {seed}");
            assert_eq!(html.as_ref().map_or(&empty, |page| &page.0), expected, "{day}, seed {seed}");
            let bytes = json.map(|page| page.1);
            if round == 0 {
                pages.push(bytes);
            } else {
                assert_eq!(pages[number], bytes, "a past day never changes: {day}, seed {seed}");
            }
        }
        // Later edits, a sweep and a restart change no past day.
        for file in model.clone().into_keys() {
            remove(&backend, &file).await;
        }
        add(&backend, "one-9.0.tar.gz", Package::new(PROJECT, "9.0").sdist()).await;
        model = Files::from([("one-9.0.tar.gz".to_owned(), None)]);
        backend.advance_to_noon(&format!("2024-04-{:02}", 10 + round));
        sweep::sweep(&backend.upkeep, &SweepOptions::default()).await.unwrap();
        backend = backend.restart().await;
    }
    let violations = backend.state.db.read(invariants::violations).await.unwrap();
    assert_eq!(violations, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_day_has_the_files_and_yanks_of_that_day_on_sqlite() {
    scenario(db::Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_day_has_the_files_and_yanks_of_that_day_on_postgres() {
    scenario(db::Engine::Postgres).await;
}

/// Whether a snapshot of the repository gives this file by its digest.
async fn has_file(backend: &Backend, snapshot: &str, (name, bytes): (&str, &[u8])) -> bool {
    use sha2::Digest;
    let sha256 = rstudio_pm::model::digest::Sha256(sha2::Sha256::digest(bytes).into());
    let point = serve::point::resolve(&backend.repositories, "py", snapshot.parse().unwrap()).await.unwrap();
    serve::project::file::locate(&backend.repositories, &point, sha256, name, FilePart::Distribution)
        .await
        .is_ok()
}

/// A repository that no longer subscribes to a source serves only the files of its snapshots: the source may have
/// become private.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_snapshot_has_no_other_files_of_a_source_that_was_unsubscribed() {
    let backend = Backend::with_stores(StoresConfig { gcfg: String::new() }).await;
    let name = |text: &str| text.parse().unwrap();
    edit::source::create(&backend.state, &name("team"), SourceKind::LocalPython, OnExisting::Fail)
        .await
        .unwrap();
    let repository = edit::NewRepo::open(&name("py"), RepoKind::Python, "");
    edit::repo::create(&backend.state, repository, OnExisting::Fail, &actor()).await.unwrap();
    let files: Vec<(String, Vec<u8>)> = ["1.0", "2.0", "3.0"]
        .iter()
        .map(|version| {
            let package = Package::new(PROJECT, version);
            (package.wheel_name(), package.wheel())
        })
        .collect();
    let file = |index: usize| (files[index].0.as_str(), files[index].1.as_slice());
    // The first file was removed before the repository subscribed.
    add(&backend, file(0).0, files[0].1.clone()).await;
    remove(&backend, file(0).0).await;
    edit::subscription::subscribe(&backend.state, "py", "team", None, OnExisting::Fail, &actor())
        .await
        .unwrap();
    add(&backend, file(1).0, files[1].1.clone()).await;
    backend.advance_to_noon("2024-03-02");
    add(&backend, file(2).0, files[2].1.clone()).await;
    let day = "2024-03-01";
    for index in 0..3 {
        assert!(has_file(&backend, day, file(index)).await, "{index}: lock files refer to it");
    }
    edit::subscription::unsubscribe(&backend.state, "py", "team", None, &actor()).await.unwrap();
    assert!(!has_file(&backend, day, file(0)).await, "removed before");
    assert!(has_file(&backend, day, file(1)).await, "the snapshot lists it");
    assert!(!has_file(&backend, day, file(2)).await, "published later");
}

async fn upload_times_after_a_repair(engine: db::Engine) {
    let gcfg = tokio::task::spawn_blocking(move || db::settings(engine)).await.unwrap();
    let backend = Backend::with_stores(StoresConfig { gcfg }).await;
    let name = |text: &str| text.parse().unwrap();
    let kind = SourceKind::LocalPython;
    edit::source::create(&backend.state, &name("team"), kind, OnExisting::Fail).await.unwrap();
    let repository = edit::NewRepo::open(&name("py"), RepoKind::Python, "");
    edit::repo::create(&backend.state, repository, OnExisting::Fail, &actor()).await.unwrap();
    edit::subscription::subscribe(&backend.state, "py", "team", None, OnExisting::Fail, &actor())
        .await
        .unwrap();
    let (first, second) = (Package::new(PROJECT, "1.0"), Package::new(PROJECT, "2.0"));
    let uploaded = async |version: &str| {
        let latest: Snapshot = "latest".parse().unwrap();
        let point = serve::point::resolve(&backend.repositories, "py", latest).await.unwrap();
        let detail =
            serve::project::detail::project(&backend.repositories, &point, PROJECT, Some(version)).await;
        detail.unwrap().release.uploaded_at().expect("an upload time")
    };
    add(&backend, &first.wheel_name(), first.wheel()).await;
    let before = uploaded("1.0").await;
    backend.advance_to_noon("2024-03-21");
    add(&backend, &second.wheel_name(), second.wheel()).await;
    yank(&backend, &first.wheel_name(), Some("bad")).await;
    yank(&backend, &second.wheel_name(), Some("bad")).await;
    backend.set_back_to_noon("2024-03-02");
    let now = (backend.state.clock)();
    assert!(uploaded("2.0").await > now);
    let today = now.day();
    let planned = upkeep::clock::repair(&backend.state, today, true).await.unwrap();
    assert!(uploaded("2.0").await > now, "a dry run changes nothing");
    let repair = upkeep::clock::repair(&backend.state, today, false).await.unwrap();
    assert_eq!(planned, repair);
    let transactions = repair.expect("something to do").transactions;
    assert_eq!(transactions.len(), 3);
    assert_eq!(uploaded("2.0").await, transactions[0].2, "the time of the transaction");
    assert_eq!(uploaded("1.0").await, before, "the file is older");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repair_of_the_clock_sets_upload_times_on_sqlite() {
    upload_times_after_a_repair(db::Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repair_of_the_clock_sets_upload_times_on_postgres() {
    upload_times_after_a_repair(db::Engine::Postgres).await;
}
