//! Serials of a repository with a local source and an index while local packages are published in bursts: a mirror that
//! has read any list requests every project that changes afterwards.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use rstudio_pm::edit::{self, OnExisting, UploadKind};
use rstudio_pm::model::kind::{Language, SourceKind};
use rstudio_pm::python::accept::SimpleFormat;
use rstudio_pm::python::name;
use rstudio_pm::python::simple::root;
use rstudio_pm::serve;
use rstudio_pm::serve::document::DocumentRequest;
use rstudio_pm::serve::project::document::ProjectContent;

use super::index_history::{subscribe, sync};
use crate::support::backend::{Backend, StoresConfig, actor};
use crate::support::documents::project_document;
use crate::support::pypi::Pypi;
use crate::support::python::package::Package;

/// The serials of a list of projects.
#[derive(Debug, PartialEq, Eq)]
struct List {
    last: u64,
    projects: BTreeMap<String, u64>,
}

async fn list(backend: &Backend) -> List {
    let snapshot = "latest".parse().unwrap();
    let point = serve::point::resolve(&backend.repositories, "py", snapshot).await.unwrap();
    let last = serve::project::file::last_serial(&backend.state.catalog.get(), &point);
    let request = DocumentRequest::new(
        point.clone(),
        project_document(SimpleFormat::Json, ProjectContent::LatestList(last)),
    );
    let document = serve::index::document(&backend.repositories, &request).await.unwrap();
    let mut projects = BTreeMap::new();
    let read = root::read_json(&*document.bytes, |entry| {
        projects.insert(entry.name.to_string(), entry.last_serial.expect("a serial"));
    });
    assert_eq!(read.unwrap().last_serial, last);
    for (name, serial) in &projects {
        let project = name::parse(name).unwrap();
        let page = serve::project::file::locate_page(&backend.repositories, &point, &project).await.unwrap();
        assert_eq!(page.latest.serial, Some(*serial), "the page of {name}");
    }
    List { last: last.expect("a serial"), projects }
}

impl List {
    fn highest(&self) -> u64 {
        self.projects.values().copied().max().expect("a project")
    }

    /// Checks that the list states every change since `earlier`, that of `changed` among them, by a higher serial.
    fn check_after(&self, earlier: &List, changed: &str) {
        assert!(
            self.projects[changed] > earlier.highest().max(earlier.last),
            "{changed}: {self:?} {earlier:?}"
        );
        assert!(self.last >= self.highest(), "{self:?}");
        for (name, serial) in &earlier.projects {
            assert!(self.projects[name] >= *serial, "{name}: {self:?} {earlier:?}");
        }
    }
}

async fn add(backend: &Backend, name: &str) {
    let package = Package::new(name, "1.0");
    let body = futures_util::stream::iter([Ok(package.wheel().into())]).boxed();
    let file = package.wheel_name();
    let upload = edit::package::receive(
        &backend.uploads,
        &file,
        body,
        UploadKind::Project(Language::Python),
        &actor(),
    )
    .await
    .unwrap();
    edit::add::add(&backend.uploads, "team", &[upload.id], OnExisting::Fail, &actor()).await.unwrap();
}

/// The clock of the test stands still, so that transactions are one microsecond apart, as after a clock was set back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_changes_has_higher_serials_than_every_earlier_list() {
    let index = Pypi::start();
    for project in ["one", "two"] {
        index.add(project, &format!("{project}-1.0.tar.gz"), b"1.0", "2024-02-01T00:00:00Z");
    }
    let backend = Backend::with_stores(StoresConfig { gcfg: format!("[PyPI]\nURL = {}", index.url()) }).await;
    let team = "team".parse().unwrap();
    edit::source::create(&backend.state, &team, SourceKind::LocalPython, OnExisting::Fail).await.unwrap();
    subscribe(&backend).await;
    edit::subscription::subscribe(&backend.state, "py", "team", None, OnExisting::Fail, &actor())
        .await
        .unwrap();
    sync(&backend).await;
    let mut earlier = list(&backend).await;
    for day in ["2024-03-02", "2024-03-03"] {
        for number in 0..6 {
            let name = format!("own{}x{number}", &day[9..]);
            add(&backend, &name).await;
            let later = list(&backend).await;
            later.check_after(&earlier, &name);
            earlier = later;
        }
        backend.advance_to_noon(day);
        index.add("one", &format!("one-{}.0.tar.gz", &day[9..]), day.as_bytes(), "2024-03-01T00:00:00Z");
        sync(&backend).await;
        let later = list(&backend).await;
        later.check_after(&earlier, "one");
        earlier = later;
    }
    let restarted = backend.restart().await;
    assert_eq!(list(&restarted).await, earlier, "after a restart");
}
