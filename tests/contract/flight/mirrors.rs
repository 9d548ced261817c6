//! Mirrors that die, forget, refuse or say little.

use std::time::Duration;

use rstudio_pm::repo::{FetchLimits, RepoError};

use super::{Field, KB, impatient, is_refused, is_unavailable, read};
use crate::support::mirror::{Entry, Mirror};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_dies_midway_is_resumed_and_the_client_sees_a_pause() {
    let big = Entry::new("big", "1.0", 800 * KB);
    let field = Field::new(Mirror::of(std::slice::from_ref(&big), &[])).await;
    field.mirror.set(&big.listed(), |page| page.cuts.extend([300 * KB, 300 * KB, 500 * KB]));
    assert!(field.get(&big).await.expect("the file") == big.bytes);
    let asked = field.mirror.asked(&big.listed());
    let ranges: Vec<Option<&str>> = asked.iter().map(|asked| asked.range.as_deref()).collect();
    assert_eq!(ranges, [None, Some("bytes=307200-"), Some("bytes=307200-"), Some("bytes=512000-")]);
    assert!(asked[1..].iter().all(|asked| asked.if_range.is_some()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_that_ignores_ranges_is_read_again_and_the_bytes_are_right() {
    let big = Entry::new("big", "1.0", 800 * KB);
    let field = Field::new(Mirror::of(std::slice::from_ref(&big), &[])).await;
    field.mirror.set(&big.listed(), |page| {
        page.ranges = false;
        page.cuts.extend([300 * KB, 100 * KB, 500 * KB]);
    });
    assert!(field.get(&big).await.expect("the file") == big.bytes);
    assert_eq!(field.mirror.asked(&big.listed()).len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_dies_for_good_drops_the_clients_and_the_next_try_starts_anew() {
    let big = Entry::new("big", "1.0", 800 * KB);
    let field = Field::new(Mirror::of(std::slice::from_ref(&big), &[])).await;
    field.mirror.set(&big.listed(), |page| page.cuts.extend([300 * KB; 5]));
    let (bytes, error) = read(field.open(&big, None).await.expect("open")).await;
    assert!(bytes == big.bytes[..300 * KB - 64 * KB]);
    assert!(is_unavailable(&error.expect("it is cut")));
    assert!(field.get(&big).await.expect("the file") == big.bytes);
    field.wait_stored(&big).await;
    assert_eq!(field.spools(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_that_is_away_gets_503_and_what_was_fetched_is_served() {
    let (had, other) = (Entry::new("had", "1.0", 10 * KB), Entry::new("other", "1.0", 10 * KB));
    let field = Field::new(Mirror::of(&[had.clone(), other.clone()], &[])).await;
    field.get(&had).await.expect("the file");
    field.wait_stored(&had).await;
    field.mirror.away();
    assert!(field.get(&had).await.expect("from storage") == had.bytes);
    let error = field.get(&other).await.expect_err("nobody has it");
    assert!(is_unavailable(&error), "{error}");
    assert_eq!(field.stale(), 0, "that says nothing about our index");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_the_mirror_does_not_have_is_looked_for_in_its_archive_and_then_remembered() {
    let (gone, moved) = (Entry::new("gone", "1.0", KB), Entry::new("moved", "1.0", KB));
    let field = Field::new(Mirror::of(&[gone.clone(), moved.clone()], &[])).await;
    field.mirror.remove(&gone.listed());
    field.mirror.remove(&moved.listed());
    field.mirror.put(&moved.archived(), moved.bytes.clone());
    assert!(field.get(&moved).await.expect("from the archive") == moved.bytes);
    for _ in 0..3 {
        assert!(matches!(field.get(&gone).await, Err(RepoError::NotFound(_))));
    }
    assert_eq!(field.mirror.asked(&gone.listed()).len(), 1);
    assert_eq!(field.mirror.asked(&gone.archived()).len(), 1);
    assert_eq!(field.stale(), 1);
    // Not for ever: the mirror may have been in the middle of its own sync.
    field.mirror.put(&gone.listed(), gone.bytes.clone());
    tokio::time::sleep(Duration::from_millis(650)).await;
    assert!(field.get(&gone).await.expect("it is there by now") == gone.bytes);
    field.wait_stored(&gone).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_says_403_for_what_it_does_not_have_is_asked_for_its_archive_too() {
    let moved = Entry::new("moved", "1.0", KB);
    let field = Field::new(Mirror::of(std::slice::from_ref(&moved), &[])).await;
    field.mirror.set(&moved.listed(), |page| page.status = Some((403, "X-Bucket: yes")));
    field.mirror.put(&moved.archived(), moved.bytes.clone());
    assert!(field.get(&moved).await.expect("from the archive") == moved.bytes);
    let shut = Entry::new("shut", "1.0", KB);
    field.mirror.publish(&[moved, shut.clone()], &[]);
    field.mirror.set(&shut.listed(), |page| page.status = Some((403, "X-Bucket: yes")));
    field.sync().await;
    let error = field.get(&shut).await.expect_err("it refuses");
    assert!(is_refused(&error) && error.to_string().contains("403"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_broken_file_keeps_nobody_from_the_others() {
    let (broken, well) = (Entry::new("broken", "1.0", KB), Entry::new("well", "1.0", KB));
    let field = Field::new(Mirror::of(&[broken.clone(), well.clone()], &[])).await;
    field.mirror.set(&broken.listed(), |page| page.status = Some((500, "X: y")));
    for _ in 0..2 {
        assert!(is_unavailable(&field.get(&broken).await.expect_err("it is broken")));
        tokio::time::sleep(Duration::from_millis(650)).await;
    }
    assert!(field.mirror.asked(&broken.listed()).len() > 5);
    assert!(field.get(&well).await.expect("the mirror has it") == well.bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_mirror_decides_when_it_is_asked_again() {
    let busy = Entry::new("busy", "1.0", KB);
    let field = Field::new(Mirror::of(std::slice::from_ref(&busy), &[])).await;
    field.mirror.set(&busy.listed(), |page| page.status = Some((503, "Retry-After: 120")));
    match field.get(&busy).await {
        Err(RepoError::Upstream { retry_after, .. }) => assert_eq!(retry_after, 120),
        other => panic!("{:?}", other.map(|bytes| bytes.len())),
    }
    assert_eq!(field.mirror.asked(&busy.listed()).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_that_accepts_and_sends_nothing_is_given_up_in_time() {
    let (mute, stuck) = (Entry::new("mute", "1.0", 200 * KB), Entry::new("stuck", "1.0", 200 * KB));
    let slow = Entry::new("slow", "1.0", 400 * KB);
    let mirror = Mirror::of(&[mute.clone(), stuck.clone(), slow.clone()], &[]);
    mirror.set(&mute.listed(), |page| page.mute = true);
    mirror.set(&stuck.listed(), |page| page.open = 0);
    mirror.set(&slow.listed(), |page| page.open = 200 * KB);
    let patience = FetchLimits { silence: Duration::from_millis(400), ..impatient() };
    let field = Field::on(mirror, patience, "").await;
    // The default limits of one request are longer than that.
    let all = async {
        for entry in [&mute, &stuck] {
            let error = field.get(entry).await.expect_err("nothing comes");
            assert!(is_unavailable(&error), "{error}");
            assert_eq!(field.mirror.asked(&entry.listed()).len(), 1);
        }
        // After some bytes the silence begins anew.
        let (bytes, error) = read(field.open(&slow, None).await.expect("a part came")).await;
        assert!(error.is_some() && !bytes.is_empty() && bytes.len() < slow.bytes.len());
    };
    tokio::time::timeout(Duration::from_secs(20), all).await.expect("long before a request times out");
    for entry in [&mute, &stuck, &slow] {
        field.mirror.set(&entry.listed(), |page| (page.mute, page.open) = (false, usize::MAX));
        assert!(field.get(entry).await.expect("the mirror is well again") == entry.bytes);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_without_a_size_is_bounded_and_one_with_a_size_is_not() {
    let (endless, sized) = (Entry::new("endless", "1.0", 900 * KB), Entry::new("sized", "1.0", 900 * KB));
    let mirror = Mirror::start();
    for entry in [&endless, &sized] {
        mirror.put(&entry.listed(), entry.bytes.clone());
    }
    mirror.bare_index(&[endless.clone(), sized.clone()]);
    mirror.set(&endless.listed(), |page| page.length = false);
    let patience = FetchLimits { max_unsized: 500 << 10, ..impatient() };
    let field = Field::on(mirror, patience, "").await;
    let (bytes, error) = read(field.open(&endless, None).await.expect("it begins")).await;
    let error = error.expect("it is too long").to_string();
    assert!(error.contains("longer than 512000 bytes") && bytes.len() < 500 << 10, "{error}");
    assert!(field.get(&sized).await.expect("the answer tells its size") == sized.bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_whose_size_nobody_declares_comes_whole() {
    let plain = Entry::new("plain", "1.0", 500 * KB);
    let mirror = Mirror::start();
    mirror.put(&plain.listed(), plain.bytes.clone());
    mirror.bare_index(std::slice::from_ref(&plain));
    mirror.set(&plain.listed(), |page| page.length = false);
    let field = Field::new(mirror).await;
    let open = field.open(&plain, None).await.expect("open");
    assert_eq!(open.size, None);
    assert!(read(open).await.0 == plain.bytes);
    field.wait_stored(&plain).await;
    assert_eq!(field.locate(&plain).await.expect("located").size, Some(plain.bytes.len() as u64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_size_that_comes_late_and_contradicts_what_came_is_an_error_and_no_crash() {
    // Without any size the first answer is cut; the second declares less than came already.
    let odd = Entry::new("odd", "1.0", 500 * KB);
    let mirror = Mirror::start();
    mirror.put(&odd.listed(), odd.bytes.clone());
    mirror.bare_index(std::slice::from_ref(&odd));
    mirror.set(&odd.listed(), |page| (page.length, page.open) = (false, 300 * KB));
    let field = Field::new(mirror).await;
    let open = field.open(&odd, None).await.expect("open");
    let (url, short) = (odd.listed(), odd.bytes[..100 * KB].to_vec());
    let held = field.mirror.asked(&url).len();
    // The page is another one when the connection is given up by its reader.
    drop(open);
    field.sending(0).await;
    field.mirror.put(&url, short);
    let (bytes, error) = match field.open(&odd, None).await {
        Ok(open) => read(open).await,
        Err(error) => (Vec::new(), Some(error)),
    };
    assert!(is_refused(error.as_ref().expect("refused")), "{} bytes, {error:?}", bytes.len());
    assert_eq!(field.mirror.asked(&url).len(), held + 1);
    field.mirror.put(&url, odd.bytes.clone());
    tokio::time::sleep(Duration::from_millis(650)).await;
    assert!(field.get(&odd).await.expect("it is right again") == odd.bytes);
}
