//! Many clients, slow clients, and clients that disconnect.

use std::time::Duration;

use super::{Fixture, KB, read, read_part, short_limits};
use crate::support::mirror::{Entry, Mirror};
use rstudio_pm::serve;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_clients_at_once_make_one_upstream_request() {
    let entry = Entry::new("big", "1.0", 400 * KB);
    let fixture = Fixture::new(Mirror::of(std::slice::from_ref(&entry), &[])).await;
    fixture.mirror.set(&entry.listed(), |page| page.pause_at = 0);
    let clients = (0..50).map(|_| fixture.get(&entry));
    let first = async {
        fixture.wait_for_sending(1).await;
        // Time for all fifty clients to join the fetch.
        tokio::time::sleep(Duration::from_millis(100)).await;
        fixture.mirror.set(&entry.listed(), |page| page.pause_at = usize::MAX);
    };
    let (got, ()) = tokio::join!(futures_util::future::join_all(clients), first);
    for bytes in got {
        assert!(bytes.expect("the file") == entry.bytes);
    }
    assert_eq!(fixture.mirror.requests(&entry.listed()).len(), 1);
    fixture.wait_stored(&entry).await;
    assert!(fixture.get(&entry).await.expect("from storage") == entry.bytes);
    assert_eq!(fixture.mirror.requests(&entry.listed()).len(), 1);
    assert_eq!(fixture.spool_count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_located_a_file_before_it_was_stored_does_not_fetch_it_again() {
    let small = Entry::new("small", "1.0", 10 * KB);
    let fixture = Fixture::new(Mirror::of(std::slice::from_ref(&small), &[])).await;
    let located = fixture.locate(&small).await.expect("located");
    fixture.get(&small).await.expect("the file");
    fixture.wait_stored(&small).await;
    assert!(!located.stored);
    let (bytes, error) =
        read(serve::file::open(&fixture.backend.repositories, &located, None).await.expect("open")).await;
    assert!(bytes == small.bytes && error.is_none());
    let (part, _) =
        read(serve::file::open(&fixture.backend.repositories, &located, Some(100..200)).await.expect("open"))
            .await;
    assert!(part == small.bytes[100..200]);
    assert_eq!(fixture.mirror.requests(&small.listed()).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_does_not_slow_others() {
    let entry = Entry::new("big", "1.0", 3000 * KB);
    let fixture = Fixture::new(Mirror::of(std::slice::from_ref(&entry), &[])).await;
    let slow = fixture.open(&entry, None).await.expect("open");
    assert!(fixture.get(&entry).await.expect("the file") == entry.bytes);
    fixture.wait_stored(&entry).await;
    let (bytes, error) = read(slow).await;
    assert!(bytes == entry.bytes && error.is_none(), "the slow client gets the file too");
    assert_eq!(fixture.mirror.requests(&entry.listed()).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_of_a_large_file_without_clients_is_stopped_and_resumed_later() {
    let entry = Entry::new("big", "1.0", 1000 * KB);
    let fixture = Fixture::new(Mirror::of(std::slice::from_ref(&entry), &[])).await;
    fixture.mirror.set(&entry.listed(), |page| page.pause_at = 300 * KB);
    assert!(read_part(fixture.open(&entry, None).await.expect("open"), 100 * KB).await < 300 * KB);
    // The connection is closed; the spool remains.
    fixture.wait_for_sending(0).await;
    assert!(!fixture.is_stored(&entry).await);
    assert_eq!(fixture.spool_count(), 1);
    fixture.mirror.set(&entry.listed(), |page| page.pause_at = usize::MAX);
    assert!(fixture.get(&entry).await.expect("the file") == entry.bytes);
    let requests = fixture.mirror.requests(&entry.listed());
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[1].range.as_deref(), Some("bytes=307200-"));
    assert!(requests[1].if_range.is_some());
    fixture.wait_stored(&entry).await;
    assert_eq!(fixture.spool_count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_fetch_that_is_not_resumed_is_discarded() {
    let entry = Entry::new("big", "1.0", 1000 * KB);
    let limits =
        rstudio_pm::fetch::FetchLimits { resume_window: Duration::from_millis(50), ..short_limits() };
    let fixture = Fixture::with_limits(Mirror::of(std::slice::from_ref(&entry), &[]), limits, "").await;
    fixture.mirror.set(&entry.listed(), |page| page.pause_at = 300 * KB);
    read_part(fixture.open(&entry, None).await.expect("open"), 100 * KB).await;
    fixture.wait_for_sending(0).await;
    while fixture.spool_count() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    fixture.mirror.set(&entry.listed(), |page| page.pause_at = usize::MAX);
    assert!(fixture.get(&entry).await.expect("from the beginning") == entry.bytes);
    let requests = fixture.mirror.requests(&entry.listed());
    assert_eq!((requests.len(), requests[1].range.as_deref()), (2, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_of_a_small_or_more_than_half_fetched_file_finishes_without_clients() {
    let (small, big) = (Entry::new("small", "1.0", 95 * KB), Entry::new("big", "1.0", 1000 * KB));
    let fixture = Fixture::new(Mirror::of(&[small.clone(), big.clone()], &[])).await;
    fixture.mirror.set(&small.listed(), |page| page.pause_at = 70 * KB);
    fixture.mirror.set(&big.listed(), |page| page.pause_at = 600 * KB);
    for entry in [&small, &big] {
        read_part(fixture.open(entry, None).await.expect("open"), 1).await;
    }
    // Several times the limit without clients.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(fixture.mirror.active_requests(), 2);
    for entry in [&small, &big] {
        fixture.mirror.set(&entry.listed(), |page| page.pause_at = usize::MAX);
        fixture.wait_stored(entry).await;
        assert_eq!(fixture.mirror.requests(&entry.listed()).len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_near_the_written_bytes_is_served_from_the_fetch_and_a_distant_one_gets_the_whole_file() {
    let entry = Entry::new("big", "1.0", 4000 * KB);
    let fixture = Fixture::new(Mirror::of(std::slice::from_ref(&entry), &[])).await;
    let size = entry.bytes.len() as u64;
    fixture.mirror.set(&entry.listed(), |page| page.pause_at = 500 * KB);
    let far = fixture.open(&entry, Some(size - 10..size)).await.expect("open");
    assert_eq!((far.range, far.size), (None, Some(size)), "the whole file is sent");
    let near = fixture.open(&entry, Some(1_000_000..1_000_100)).await.expect("open");
    assert_eq!((near.range.clone(), near.size), (Some(1_000_000..1_000_100), Some(size)));
    fixture.mirror.set(&entry.listed(), |page| page.pause_at = usize::MAX);
    assert!(read(near).await.0 == entry.bytes[1_000_000..1_000_100]);
    fixture.wait_stored(&entry).await;
    let stored = fixture.open(&entry, Some(size - 10..size)).await.expect("open");
    assert_eq!(stored.range, Some(size - 10..size));
    assert_eq!(fixture.mirror.requests(&entry.listed()).len(), 1);
}

#[test]
fn slow_mirrors_do_not_exhaust_the_threads() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(4)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let slow: Vec<Entry> = (0..12).map(|n| Entry::new(&format!("slow{n}"), "1.0", 200 * KB)).collect();
        let quick = Entry::new("quick", "1.0", 10 * KB);
        let all: Vec<Entry> = slow.iter().chain([&quick]).cloned().collect();
        let fixture = Fixture::new(Mirror::of(&all, &[])).await;
        let mut waiting = Vec::new();
        for entry in &slow {
            fixture.mirror.set(&entry.listed(), |page| page.pause_at = 100 * KB);
            waiting.push(fixture.open(entry, None).await.expect("open"));
        }
        fixture.wait_for_sending(slow.len()).await;
        let result = tokio::time::timeout(Duration::from_secs(90), fixture.get(&quick)).await;
        assert!(result.expect("threads are free").expect("the file") == quick.bytes);
        for (entry, open) in slow.iter().zip(waiting) {
            fixture.mirror.set(&entry.listed(), |page| page.pause_at = usize::MAX);
            assert!(read(open).await.0 == entry.bytes);
        }
    });
}
