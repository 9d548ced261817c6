//! Pages that lack most of the files of their project, as indexes send them while a part of them fails.

use std::sync::Arc;

use rstudio_pm::db::{package, project_file, tree};
use rstudio_pm::index::PageReads;
use rstudio_pm::model::ids::{Seq, SourceId};
use rstudio_pm::model::kind::SourceKind;
use rstudio_pm::python::accept::SimpleFormat;
use rstudio_pm::sync::Sync;

use super::index_history::{files, find_page, subscribe};
use crate::support::backend::{Backend, StoresConfig};
use crate::support::pypi::{Pypi, hex};

const OLD: &str = "2024-02-01T08:00:00Z";
const EMPTY_HTML: &str = "<!DOCTYPE html><html><head><title>Links for one</title></head><body></body></html>";

fn file(version: u32) -> String {
    format!("one-{version}.0.tar.gz")
}

/// An index of a project with four files, which a server has read.
async fn backend(index: &Pypi) -> (Backend, Arc<PageReads>) {
    for version in 1..=4 {
        index.add("one", &file(version), file(version).as_bytes(), OLD);
    }
    let backend = Backend::with_stores(StoresConfig { gcfg: format!("[PyPI]\nURL = {}", index.url()) }).await;
    subscribe(&backend).await;
    let reads = PageReads::new(backend.state.clone());
    sync(&backend, &reads).await;
    assert_eq!(count(&backend, "latest").await, 4);
    (backend, reads)
}

/// Syncs with the same handle each time, as a server does: it remembers pages.
async fn sync(backend: &Backend, page_reads: &Arc<PageReads>) {
    let sync = Sync::new(Arc::clone(page_reads), backend.state.clone());
    sync.start(SourceKind::Pypi).unwrap().job().wait_end().await.expect("an index");
}

/// The number of files of the project in a snapshot.
async fn count(backend: &Backend, snapshot: &str) -> usize {
    let page = find_page(backend, snapshot, "one", SimpleFormat::Json).await.unwrap();
    page.map_or(0, |(page, ..)| files(&page).len())
}

/// The number of lives of files, and of those that have not ended.
async fn lives(backend: &Backend) -> (usize, usize) {
    let lives = backend.state.db.read(|c| {
        let tree = tree::built_in(c, SourceId::PYPI)?.id;
        let package = package::by_name(c, SourceId::PYPI, "one")?.expect("a project");
        project_file::lives(c, tree, package)
    });
    let lives = lives.await.unwrap();
    (lives.len(), lives.iter().filter(|life| life.to == Seq::OPEN).count())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_lost_most_files_once_removes_nothing_without_serials() {
    let one_file =
        format!("<a href=\"../../packages/{0}/{1}#sha256={0}\">{1}</a>", hex(file(1).as_bytes()), file(1));
    let json = "application/vnd.pypi.simple.v1+json";
    for (media_type, body) in [
        ("text/html", EMPTY_HTML),
        (json, r#"{"meta":{"api-version":"1.1"},"name":"one","versions":[],"files":[]}"#),
        (json, "\u{feff}{\"files\":[]}"),
        ("text/html", one_file.as_str()),
    ] {
        let index = Pypi::start();
        index.set_plain();
        let (backend, reads) = backend(&index).await;
        backend.advance_to_noon("2024-03-02");
        index.set_raw_page("one", media_type, body.as_bytes());
        sync(&backend, &reads).await;
        assert_eq!(count(&backend, "latest").await, 4, "{body}");
        index.remove_raw_page("one");
        backend.advance_to_noon("2024-03-03");
        sync(&backend, &reads).await;
        assert_eq!((count(&backend, "latest").await, lives(&backend).await), (4, (4, 4)), "{body}");

        // From the second such reading on, after a time, the files are removed.
        index.set_raw_page("one", media_type, body.as_bytes());
        let left = usize::from(body.contains("sha256="));
        backend.advance_to_noon("2024-03-04");
        sync(&backend, &reads).await;
        assert_eq!(count(&backend, "latest").await, 4, "{body}");
        backend.advance_to_noon("2024-03-05");
        sync(&backend, &reads).await;
        assert_eq!((count(&backend, "latest").await, lives(&backend).await), (left, (4, left)), "{body}");
        assert_eq!(count(&backend, "2024-03-03").await, 4, "{body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_with_few_files_less_or_a_newer_serial_is_used_at_once() {
    for (is_plain, removed) in [(true, 2), (false, 3), (false, 4)] {
        let index = Pypi::start();
        if is_plain {
            index.set_plain();
        }
        let (backend, reads) = backend(&index).await;
        backend.advance_to_noon("2024-03-02");
        for version in 1..=removed {
            index.remove("one", &file(version));
        }
        sync(&backend, &reads).await;
        assert_eq!(count(&backend, "latest").await as u32, 4 - removed, "{is_plain} {removed}");
    }
    // A project that the list lacks has no files any more.
    let index = Pypi::start();
    index.set_plain();
    for number in 0..60 {
        index.add(&format!("p{number}"), "p-1.0.tar.gz", b"p", OLD);
    }
    let (backend, reads) = backend(&index).await;
    backend.advance_to_noon("2024-03-02");
    index.unlist("one");
    index.set_raw_page("one", "text/html", EMPTY_HTML.as_bytes());
    sync(&backend, &reads).await;
    assert_eq!(count(&backend, "latest").await, 0);
}
