//! Days of the source `pypi` after random uploads, yanks, removals, syncs and restarts: final pages never change, and
//! `latest` is the state of the index. A mirror in a directory is compared with its own pages.

use std::collections::{BTreeMap, HashMap};

use rstudio_pm::db::project::{self, ListChange, ListInstants};
use rstudio_pm::db::project_file::{self, ListedFile};
use rstudio_pm::db::{Conn, invariants, package, tree};
use rstudio_pm::edit::{self, OnExisting};
use rstudio_pm::index::PageReads;
use rstudio_pm::model::ids::{Seq, SourceId};
use rstudio_pm::model::kind::{RepoKind, SourceKind};
use rstudio_pm::model::project_page::ProjectStatus;
use rstudio_pm::model::snapshot::Snapshot;
use rstudio_pm::model::time::{Day, Timestamp};
use rstudio_pm::python::accept::SimpleFormat;
use rstudio_pm::python::facts::FileFacts;
use rstudio_pm::python::name;
use rstudio_pm::python::simple::page::ProjectPage;
use rstudio_pm::python::simple::read;
use rstudio_pm::serve::document::DocumentRequest;
use rstudio_pm::serve::project::document::ProjectContent;
use rstudio_pm::serve::{self, RepoError};
use rstudio_pm::sync::Sync;

use crate::support::backend::{Backend, StoresConfig, actor};
use crate::support::documents::project_document;
use crate::support::pypi::Pypi;
use crate::support::python::index::wheel;
use crate::support::python::package::Package;
use crate::support::{data, db};

/// The names of files, with the reason for their yank.
pub(super) type Files = BTreeMap<String, Option<String>>;

pub(super) async fn subscribe(backend: &Backend) {
    let repository = edit::NewRepo::open(&"py".parse().unwrap(), RepoKind::Python, "");
    edit::repo::create(&backend.state, repository, OnExisting::Fail, &actor()).await.unwrap();
    edit::subscription::subscribe(&backend.state, "py", "pypi", None, OnExisting::Fail, &actor())
        .await
        .unwrap();
}

pub(super) async fn sync(backend: &Backend) {
    let sync = Sync::new(PageReads::new(backend.state.clone()), backend.state.clone());
    let message = sync.start(SourceKind::Pypi).unwrap().job().wait_end().await;
    message.unwrap_or_else(|error| panic!("{error}"));
}

/// A page, its bytes, and whether it is final.
pub(super) async fn page(
    backend: &Backend,
    snapshot: &str,
    project: &str,
    format: SimpleFormat,
) -> (ProjectPage, Vec<u8>, bool) {
    let page = find_page(backend, snapshot, project, format).await.unwrap();
    page.unwrap_or_else(|| panic!("{project} is not in {snapshot}"))
}

/// As [`page`]; `None` for a project that the snapshot does not have.
pub(super) async fn find_page(
    backend: &Backend,
    snapshot: &str,
    project: &str,
    format: SimpleFormat,
) -> Result<Option<(ProjectPage, Vec<u8>, bool)>, RepoError> {
    let snapshot: Snapshot = snapshot.parse().unwrap();
    let point = serve::point::resolve(&backend.repositories, "py", snapshot).await?;
    let project = name::parse(project).unwrap();
    let located = match serve::project::file::locate_page(&backend.repositories, &point, &project).await {
        Err(RepoError::NotFound(_)) => return Ok(None),
        located => located?,
    };
    let is_final = located.is_cacheable && !located.point.open;
    let request = DocumentRequest::new(
        located.point,
        project_document(format, ProjectContent::Page(project.clone(), None)),
    );
    let document = serve::index::document(&backend.repositories, &request).await?;
    let url = format!("http://h/simple/{project}/").parse().unwrap();
    let page = read::read(format, &document.bytes, &url, &project).unwrap().page;
    Ok(Some((page, document.bytes.to_vec(), is_final)))
}

pub(super) fn files(page: &ProjectPage) -> Files {
    page.files
        .iter()
        .map(|file| (file.name.to_string(), file.yanked.as_ref().map(|yank| yank.reason.clone())))
        .collect()
}

async fn scenario(engine: db::Engine) {
    let pypi = Pypi::start();
    let settings = tokio::task::spawn_blocking(move || db::settings(engine)).await.unwrap();
    let gcfg = format!("{settings}\n[PyPI]\nURL = {}", pypi.url());
    let mut backend = Backend::with_stores(StoresConfig { gcfg }).await;
    subscribe(&backend).await;
    let seed: u32 = rand::random();
    let mut random = seed;
    let mut next = |limit: u32| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 16) % limit
    };
    let mut model = Files::new();
    let mut finals: HashMap<(String, bool), Vec<u8>> = HashMap::new();
    pypi.add("one", "one-0.1.tar.gz", b"first", "2024-02-01T00:00:00Z");
    model.insert("one-0.1.tar.gz".to_owned(), None);
    let mut last_added = 0;
    for day in 2..20 {
        for _ in 0..next(4) {
            let existing = model.keys().nth(next(8) as usize).cloned();
            match (next(4), existing) {
                (0 | 1, _) | (_, None) => {
                    last_added += 1;
                    let name = format!("one-1.{last_added}.tar.gz");
                    // Some become visible long after their upload.
                    let uploaded = if next(3) == 0 { 1 } else { day };
                    pypi.add("one", &name, name.as_bytes(), &format!("2024-03-{uploaded:02}T08:00:00Z"));
                    model.insert(name, None);
                }
                (2, Some(name)) => {
                    let reason =
                        [None, Some(String::new()), Some("bad".to_owned())][next(3) as usize].clone();
                    pypi.edit("one", &name, |file| file.yanked = reason.clone());
                    model.insert(name, reason);
                }
                (_, Some(name)) => {
                    pypi.remove("one", &name);
                    model.remove(&name);
                }
            }
        }
        backend.advance_to_noon(&format!("2024-03-{day:02}"));
        sync(&backend).await;
        if next(3) == 0 {
            backend = backend.restart().await;
        }
        if next(4) > 0 {
            let (latest, ..) = page(&backend, "latest", "one", SimpleFormat::Json).await;
            assert_eq!(files(&latest), model, "day {day}, seed {seed}");
        }
        for _ in 0..next(4) {
            let requested = format!("2024-03-{:02}", 1 + next(day));
            let end = requested.parse::<Day>().unwrap().end();
            let (json, json_bytes, is_final) = page(&backend, &requested, "one", SimpleFormat::Json).await;
            let (html, html_bytes, _) = page(&backend, &requested, "one", SimpleFormat::Html).await;
            assert_eq!(files(&json), files(&html), "{requested}, seed {seed}");
            let is_before = |time: Option<Timestamp>| time.is_none_or(|time| time < end);
            assert!(json.files.iter().all(|file| is_before(file.upload_time)), "{requested}, seed {seed}");
            for (is_json, bytes) in [(true, json_bytes), (false, html_bytes)] {
                let key = (requested.clone(), is_json);
                if let Some(known) = finals.get(&key) {
                    assert_eq!(*known, bytes, "{requested} was final, day {day}, seed {seed}");
                } else if is_final {
                    finals.insert(key, bytes);
                }
            }
        }
    }
    assert!(!finals.is_empty(), "seed {seed}");
    let violations = backend.state.db.read(invariants::violations).await.unwrap();
    assert_eq!(violations, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn final_pages_never_change_on_sqlite() {
    scenario(db::Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn final_pages_never_change_on_postgres() {
    scenario(db::Engine::Postgres).await;
}

/// The shorter query for projects of an index finds the same files, whose METADATA is in their facts.
async fn queries_agree(engine: db::Engine) {
    let pypi = Pypi::start();
    wheel(&pypi, &Package::new("one", "1.0"), "2021-01-01T00:00:00Z");
    pypi.add("one", "one-1.1.tar.gz", b"source", "2021-01-02T00:00:00Z");
    let settings = tokio::task::spawn_blocking(move || db::settings(engine)).await.unwrap();
    let gcfg = format!("{settings}\n[PyPI]\nURL = {}", pypi.url());
    let backend = Backend::with_stores(StoresConfig { gcfg }).await;
    subscribe(&backend).await;
    backend.advance_to_noon("2024-03-02");
    sync(&backend).await;
    page(&backend, "latest", "one", SimpleFormat::Json).await;
    let files = backend.state.db.read(|c| {
        let tree = tree::built_in(c, SourceId::PYPI)?;
        let package = package::by_name(c, SourceId::PYPI, "one")?.expect("its page was read");
        let seq = Seq(tree.head.expect("a sync").0 - 1);
        let mut all = project_file::of_project(c, tree.id, seq, package)?;
        let mut of_index = project_file::of_index_project(c, tree.id, seq, package)?;
        for files in [&mut all, &mut of_index] {
            files.sort_by_key(|file| file.key.file.0);
        }
        Ok((all, of_index))
    });
    let (all, of_index) = files.await.unwrap();
    assert_eq!(all, of_index);
    let has_metadata = |file: &ListedFile| FileFacts::read(&file.facts).metadata().is_some();
    assert_eq!((of_index.len(), of_index.iter().filter(|file| has_metadata(file)).count()), (2, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_queries_for_files_of_an_index_agree_on_sqlite() {
    queries_agree(db::Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_queries_for_files_of_an_index_agree_on_postgres() {
    queries_agree(db::Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_without_a_time_of_upload_state_when_they_were_listed_first() {
    let index = Pypi::start();
    index.set_plain();
    index.add("one", "one-1.0.tar.gz", b"first", "");
    let backend = Backend::with_stores(StoresConfig { gcfg: format!("[PyPI]\nURL = {}", index.url()) }).await;
    subscribe(&backend).await;
    backend.advance_to_noon("2024-03-02");
    sync(&backend).await;
    let times = async |snapshot: &str| {
        let (page, ..) = page(&backend, snapshot, "one", SimpleFormat::Json).await;
        page.files.iter().map(|file| file.upload_time.expect("a time").to_string()).collect::<Vec<_>>()
    };
    let first = times("latest").await;
    // The state of `latest` is 15 minutes before the sync.
    assert!(first.len() == 1 && first[0].starts_with("2024-03-02T11:44:59"), "{first:?}");
    index.add("one", "one-2.0.tar.gz", b"second", "");
    index.edit("one", "one-1.0.tar.gz", |file| file.yanked = Some("bad".to_owned()));
    backend.advance_to_noon("2024-03-03");
    sync(&backend).await;
    let both = times("latest").await;
    assert_eq!((both.len(), &both[0]), (2, &first[0]), "a yank does not change it");
    assert!(both[1].starts_with("2024-03-03T11:44:59"), "{both:?}");
    backend.advance_to_noon("2024-03-04");
    sync(&backend).await;
    // Each day lists what a limit at its end selects.
    for (day, expected) in [("2024-03-02", 1), ("2024-03-03", 2), ("latest", 2)] {
        assert_eq!(times(day).await, both[..expected], "{day}");
    }
}

/// A project that is removed from the list and added again, with a file from before, and a sync that did not end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_that_returns_does_not_change_the_days_before_its_removal() {
    let index = Pypi::start();
    let backend = Backend::with_stores(StoresConfig { gcfg: format!("[PyPI]\nURL = {}", index.url()) }).await;
    subscribe(&backend).await;
    index.add("one", "one-0.1.tar.gz", b"first", "2024-02-01T00:00:00Z");
    // A list that loses more than a twentieth of its projects is refused.
    for number in 0..40 {
        index.add(&format!("p{number}"), &format!("p{number}-1.tar.gz"), b"x", "2024-02-01T00:00:00Z");
    }
    backend.advance_to_noon("2024-03-02");
    sync(&backend).await;
    let (first, ..) = page(&backend, "latest", "one", SimpleFormat::Json).await;
    assert_eq!(first.files.len(), 1);
    let unpublished = |c: &mut dyn Conn| {
        let known = project::known(c, SourceId::PYPI, "one")?.expect("it is listed");
        let instants = ListInstants { old_head: known.head, head: known.head + 10 };
        let removed =
            ListChange::Removed { normalized_name: "one".to_owned(), from_at: known.project.from_at };
        // As a sync that is interrupted: it removes the validators before it writes.
        c.execute("DELETE FROM upstream WHERE etag IS NOT NULL", &[])?;
        project::apply(c, SourceId::PYPI, instants, &[removed])
    };
    backend.state.db.write(unpublished).await.unwrap();
    sync(&backend).await;
    let (listed, ..) = page(&backend, "latest", "one", SimpleFormat::Json).await;
    assert_eq!(files(&listed), files(&first));

    index.remove_project("one");
    backend.advance_to_noon("2024-03-03");
    sync(&backend).await;
    let (_, before, is_final) = page(&backend, "2024-03-02", "one", SimpleFormat::Json).await;
    assert!(is_final);
    index.add("one", "one-0.1.tar.gz", b"first", "2024-02-01T00:00:00Z");
    index.add("one", "one-1.0.tar.gz", b"second", "2024-03-02T20:00:00Z");
    backend.advance_to_noon("2024-03-04");
    sync(&backend).await;
    // HTML was not rendered before, so it is not in storage.
    for format in [SimpleFormat::Json, SimpleFormat::Html] {
        let (day, bytes, _) = page(&backend, "2024-03-02", "one", format).await;
        assert_eq!(files(&day), files(&first), "{format:?}");
        assert!(format != SimpleFormat::Json || bytes == before);
    }
    let (latest, ..) = page(&backend, "latest", "one", SimpleFormat::Json).await;
    assert_eq!(latest.files.len(), 2);
    // The list of projects is one document for all days between two changes.
    let mut lists = Vec::new();
    for day in ["2015-01-01", "2016-01-01", "2024-03-02", "2024-03-03"] {
        let point = serve::point::resolve(&backend.repositories, "py", day.parse().unwrap()).await.unwrap();
        lists.push(serve::project::file::list_point(&backend.repositories, point).await.unwrap().trees);
    }
    assert!(lists[0] == lists[1] && lists[1] == lists[2] && lists[2] != lists[3], "{lists:?}");
    let violations = backend.state.db.read(invariants::violations).await.unwrap();
    assert_eq!(violations, Vec::<String>::new());
}

/// Facts that an index adds without a new serial: the page is requested again after a month.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_page_is_requested_again_although_its_serial_is_the_same() {
    let index = Pypi::start();
    let backend = Backend::with_stores(StoresConfig { gcfg: format!("[PyPI]\nURL = {}", index.url()) }).await;
    subscribe(&backend).await;
    let name = "one-0.1.tar.gz";
    index.add("one", name, b"first", "2024-02-01T00:00:00Z");
    index.add("other", "other-1.tar.gz", b"x", "2024-02-01T00:00:00Z");
    backend.advance_to_noon("2024-03-02");
    sync(&backend).await;
    let requires_python = |page: &ProjectPage| page.files[0].requires_python.clone();
    let (first, ..) = page(&backend, "latest", "one", SimpleFormat::Json).await;
    assert_eq!((requires_python(&first), first.status), (None, ProjectStatus::Active));
    index
        .edit_silently("one", Some("archived"), name, |file| file.requires_python = Some(">=3.9".to_owned()));
    index.take_requests();
    backend.advance_to_noon("2024-03-31");
    sync(&backend).await;
    assert_eq!(index.take_requests(), ["/simple/"], "the serial is the same");
    backend.advance_to_noon("2024-04-02");
    sync(&backend).await;
    assert_eq!(index.take_requests(), ["/simple/", "/simple/one/"], "only the page that was read");
    let (_, before, _) = page(&backend, "2024-03-31", "one", SimpleFormat::Json).await;
    backend.advance_to_noon("2024-04-03");
    sync(&backend).await;
    assert_eq!(index.take_requests(), ["/simple/"], "the page was read a day ago");
    let (latest, ..) = page(&backend, "latest", "one", SimpleFormat::Json).await;
    assert_eq!(requires_python(&latest).as_deref(), Some(">=3.9"));
    let (past, after, _) = page(&backend, "2024-03-31", "one", SimpleFormat::Json).await;
    assert_eq!((requires_python(&past), after), (None, before), "past days stay");
    let point = serve::point::resolve(&backend.repositories, "py", Snapshot::Latest).await.unwrap();
    let project = name::parse("one").unwrap();
    let located = serve::project::file::locate_page(&backend.repositories, &point, &project).await.unwrap();
    assert_eq!(located.latest.status, ProjectStatus::Archived);
}

/// Every project of a mirror in a directory: `latest` has the files of its page, and a past day those that were uploaded
/// before its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_in_a_directory_is_served_at_every_day() {
    let web = data::path("pypi-mirror/web");
    let backend =
        Backend::with_stores(StoresConfig { gcfg: format!("[PyPI]\nURL = file://{}", web.display()) }).await;
    // Later than every upload of the mirror.
    backend.advance_to_noon("2027-01-01");
    subscribe(&backend).await;
    // The day of the first subscription, which decides about all days before it, is over.
    backend.advance_to_noon("2027-01-02");
    sync(&backend).await;
    let mut compared_count = 0;
    for project in data::files(&web.join("simple"), "") {
        let Ok(bytes) = std::fs::read(web.join("simple").join(&project).join("index.v1_json")) else {
            continue;
        };
        let name = name::parse(&project).unwrap();
        let url = "http://h/simple/x/".parse().unwrap();
        let upstream = read::read(SimpleFormat::Json, &bytes, &url, &name).unwrap().page;
        if upstream.files.is_empty() {
            continue;
        }
        for snapshot in ["latest", "2015-06-30", "2020-06-30", "2023-12-31"] {
            let end = snapshot.parse::<Day>().map_or(Timestamp(i64::MAX), Day::end);
            let expected: Vec<&str> = upstream
                .files
                .iter()
                .filter(|file| file.upload_time.is_none_or(|time| time < end))
                .map(|file| file.name.as_str())
                .collect();
            let (page, _, is_final) = page(&backend, snapshot, &project, SimpleFormat::Json).await;
            let mut names: Vec<&str> = page.files.iter().map(|file| file.name.as_str()).collect();
            let mut expected = expected;
            names.sort_unstable();
            expected.sort_unstable();
            assert_eq!(names, expected, "{project} at {snapshot}");
            assert_eq!(is_final, snapshot != "latest", "{project} at {snapshot}");
            compared_count += 1;
        }
    }
    assert!(compared_count > 4, "{compared_count}");
}
