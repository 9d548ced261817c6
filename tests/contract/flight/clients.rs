//! Many clients, slow ones, and those who leave.

use std::time::Duration;

use super::{Field, KB, impatient, read, sip};
use crate::support::mirror::{Entry, Mirror};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_clients_at_once_make_one_upstream_request() {
    let big = Entry::new("big", "1.0", 400 * KB);
    let field = Field::new(Mirror::of(std::slice::from_ref(&big), &[])).await;
    field.mirror.set(&big.listed(), |page| page.open = 0);
    let clients = (0..50).map(|_| field.get(&big));
    let first = async {
        field.sending(1).await;
        // Long enough for all fifty to board.
        tokio::time::sleep(Duration::from_millis(100)).await;
        field.mirror.set(&big.listed(), |page| page.open = usize::MAX);
    };
    let (got, ()) = tokio::join!(futures_util::future::join_all(clients), first);
    for bytes in got {
        assert!(bytes.expect("the file") == big.bytes);
    }
    assert_eq!(field.mirror.asked(&big.listed()).len(), 1);
    field.wait_stored(&big).await;
    assert!(field.get(&big).await.expect("from storage") == big.bytes);
    assert_eq!(field.mirror.asked(&big.listed()).len(), 1);
    assert_eq!(field.spools(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_looked_before_it_landed_and_boards_after_does_not_fetch_again() {
    let small = Entry::new("small", "1.0", 10 * KB);
    let field = Field::new(Mirror::of(std::slice::from_ref(&small), &[])).await;
    let looked = field.locate(&small).await.expect("located");
    field.get(&small).await.expect("the file");
    field.wait_stored(&small).await;
    assert!(!looked.stored);
    let (bytes, error) = read(field.repo.open(&looked, None).await.expect("open")).await;
    assert!(bytes == small.bytes && error.is_none());
    let (part, _) = read(field.repo.open(&looked, Some(100..200)).await.expect("open")).await;
    assert!(part == small.bytes[100..200]);
    assert_eq!(field.mirror.asked(&small.listed()).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_slows_nobody() {
    let big = Entry::new("big", "1.0", 3000 * KB);
    let field = Field::new(Mirror::of(std::slice::from_ref(&big), &[])).await;
    let slow = field.open(&big, None).await.expect("open");
    assert!(field.get(&big).await.expect("the file") == big.bytes);
    field.wait_stored(&big).await;
    let (bytes, error) = read(slow).await;
    assert!(bytes == big.bytes && error.is_none(), "the slow one gets it all the same");
    assert_eq!(field.mirror.asked(&big.listed()).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_file_that_everybody_left_is_stopped_and_resumed_later() {
    let big = Entry::new("big", "1.0", 1000 * KB);
    let field = Field::new(Mirror::of(std::slice::from_ref(&big), &[])).await;
    field.mirror.set(&big.listed(), |page| page.open = 300 * KB);
    assert!(sip(field.open(&big, None).await.expect("open"), 100 * KB).await < 300 * KB);
    // The connection is given back, the spool is kept.
    field.sending(0).await;
    assert!(!field.stored(&big).await);
    assert_eq!(field.spools(), 1);
    field.mirror.set(&big.listed(), |page| page.open = usize::MAX);
    assert!(field.get(&big).await.expect("the file") == big.bytes);
    let asked = field.mirror.asked(&big.listed());
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[1].range.as_deref(), Some("bytes=307200-"));
    assert!(asked[1].if_range.is_some());
    field.wait_stored(&big).await;
    assert_eq!(field.spools(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_file_that_nobody_comes_back_for_is_given_up() {
    let big = Entry::new("big", "1.0", 1000 * KB);
    let patience = rstudio_pm::repo::FetchLimits { resume_window: Duration::from_millis(50), ..impatient() };
    let field = Field::on(Mirror::of(std::slice::from_ref(&big), &[]), patience, "").await;
    field.mirror.set(&big.listed(), |page| page.open = 300 * KB);
    sip(field.open(&big, None).await.expect("open"), 100 * KB).await;
    field.sending(0).await;
    while field.spools() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    field.mirror.set(&big.listed(), |page| page.open = usize::MAX);
    assert!(field.get(&big).await.expect("from the beginning") == big.bytes);
    let asked = field.mirror.asked(&big.listed());
    assert_eq!((asked.len(), asked[1].range.as_deref()), (2, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_file_and_one_that_is_over_half_here_come_to_their_end_for_nobody() {
    let (small, big) = (Entry::new("small", "1.0", 95 * KB), Entry::new("big", "1.0", 1000 * KB));
    let field = Field::new(Mirror::of(&[small.clone(), big.clone()], &[])).await;
    field.mirror.set(&small.listed(), |page| page.open = 70 * KB);
    field.mirror.set(&big.listed(), |page| page.open = 600 * KB);
    for entry in [&small, &big] {
        sip(field.open(entry, None).await.expect("open"), 1).await;
    }
    // Several times the patience.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(field.mirror.sending(), 2);
    for entry in [&small, &big] {
        field.mirror.set(&entry.listed(), |page| page.open = usize::MAX);
        field.wait_stored(entry).await;
        assert_eq!(field.mirror.asked(&entry.listed()).len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_near_what_is_written_is_cut_from_the_flight_and_a_far_one_gets_all() {
    let big = Entry::new("big", "1.0", 4000 * KB);
    let field = Field::new(Mirror::of(std::slice::from_ref(&big), &[])).await;
    let size = big.bytes.len() as u64;
    field.mirror.set(&big.listed(), |page| page.open = 500 * KB);
    let far = field.open(&big, Some(size - 10..size)).await.expect("open");
    assert_eq!((far.range, far.size), (None, Some(size)), "the whole is sent");
    let near = field.open(&big, Some(1_000_000..1_000_100)).await.expect("open");
    assert_eq!((near.range.clone(), near.size), (Some(1_000_000..1_000_100), Some(size)));
    field.mirror.set(&big.listed(), |page| page.open = usize::MAX);
    assert!(read(near).await.0 == big.bytes[1_000_000..1_000_100]);
    field.wait_stored(&big).await;
    let stored = field.open(&big, Some(size - 10..size)).await.expect("open");
    assert_eq!(stored.range, Some(size - 10..size));
    assert_eq!(field.mirror.asked(&big.listed()).len(), 1);
}

#[test]
fn mirrors_that_dribble_use_up_no_threads() {
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
        let field = Field::new(Mirror::of(&all, &[])).await;
        let mut waiting = Vec::new();
        for entry in &slow {
            field.mirror.set(&entry.listed(), |page| page.open = 100 * KB);
            waiting.push(field.open(entry, None).await.expect("open"));
        }
        field.sending(slow.len()).await;
        let got = tokio::time::timeout(Duration::from_secs(10), field.get(&quick)).await;
        assert!(got.expect("threads are free").expect("the file") == quick.bytes);
        for (entry, open) in slow.iter().zip(waiting) {
            field.mirror.set(&entry.listed(), |page| page.open = usize::MAX);
            assert!(read(open).await.0 == entry.bytes);
        }
    });
}
