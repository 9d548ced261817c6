//! Slow pages of an index do not use all requests that the server may send to it.

use std::sync::Arc;

use rstudio_pm::index::{IndexReads, PageError, PageReads, Priority, Validity};
use rstudio_pm::model::ids::{Seq, SourceId};
use rstudio_pm::python::name;

use super::index_history::{subscribe, sync};
use crate::support::backend::{Backend, StoresConfig};
use crate::support::pypi::Pypi;
use crate::support::sync_backend::until;

const OLD: &str = "2024-02-01T08:00:00Z";
const PROJECTS: [&str; 6] = ["one", "two", "three", "four", "five", "six"];

/// A server that has synced the list of the index.
async fn synced(index: &Pypi, concurrency: usize) -> (Backend, Arc<IndexReads>) {
    for project in PROJECTS {
        index.add(project, &format!("{project}-1.0.tar.gz"), b"x", OLD);
    }
    let gcfg = format!("[PyPI]\nURL = {}\nConcurrency = {concurrency}", index.url());
    let backend = Backend::with_stores(StoresConfig { gcfg }).await;
    subscribe(&backend).await;
    sync(&backend).await;
    let reads = PageReads::new(backend.state.clone());
    let reads = reads.of(SourceId::PYPI).unwrap().clone();
    (backend, reads)
}

async fn read(
    reads: Arc<IndexReads>,
    project: &'static str,
    priority: Priority,
) -> Result<Validity, PageError> {
    reads.at(&name::parse(project).unwrap(), Seq(0), priority).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn background_work_leaves_half_of_the_requests_to_clients() {
    let index = Pypi::start();
    let (_backend, reads) = synced(&index, 4).await;
    index.hold_pages(true);
    let [project, others @ ..] = PROJECTS;
    let background: Vec<_> = others
        .into_iter()
        .map(|project| tokio::spawn(read(reads.clone(), project, Priority::Background)))
        .collect();
    until("two requests of background work wait", async || index.max_held_pages() == 2).await;
    let client = tokio::spawn(read(reads, project, Priority::Client));
    until("the request of the client waits, too", async || index.max_held_pages() == 3).await;
    index.hold_pages(false);
    client.await.unwrap().expect("a page");
    for read in background {
        read.await.unwrap().expect("a page");
    }
    assert_eq!(index.max_held_pages(), 3, "two of background work and one of the client");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_is_requested_again_later_does_not_delay_others() {
    let index = Pypi::start();
    let (_backend, reads) = synced(&index, 1).await;
    // Older than the list: it is requested four times, with pauses of seconds.
    index.set_page_serial("one", Some(0));
    index.take_requests();
    let slow = tokio::spawn(read(reads.clone(), "one", Priority::Client));
    until("the page is requested", async || !index.take_requests().is_empty()).await;
    read(reads, "two", Priority::Client).await.expect("a page");
    assert!(!slow.is_finished(), "the other page is still to be requested again");
    assert!(matches!(slow.await.unwrap(), Ok(Validity::Outdated) | Err(PageError::Upstream(_))));
}
