//! Mirrors that fail, lose files, refuse requests or declare no sizes.

use std::time::Duration;

use rstudio_pm::fetch::FetchLimits;
use rstudio_pm::serve::{self, RepoError};

use super::{Fixture, KB, is_refused, is_unavailable, read, short_limits};
use crate::support::mirror::{Entry, Mirror};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_response_of_the_upstream_is_resumed_and_the_client_gets_the_file() {
    let entry = Entry::new("big", "1.0", 800 * KB);
    let fixture = Fixture::new(Mirror::of(std::slice::from_ref(&entry), &[])).await;
    fixture.mirror.set(&entry.listed(), |page| page.cuts.extend([300 * KB, 300 * KB, 500 * KB]));
    assert!(fixture.get(&entry).await.expect("the file") == entry.bytes);
    let requests = fixture.mirror.requests(&entry.listed());
    let ranges: Vec<Option<&str>> = requests.iter().map(|request| request.range.as_deref()).collect();
    assert_eq!(ranges, [None, Some("bytes=307200-"), Some("bytes=307200-"), Some("bytes=512000-")]);
    assert!(requests[1..].iter().all(|request| request.if_range.is_some()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_that_ignores_ranges_is_read_again_from_the_beginning() {
    let entry = Entry::new("big", "1.0", 800 * KB);
    let fixture = Fixture::new(Mirror::of(std::slice::from_ref(&entry), &[])).await;
    fixture.mirror.set(&entry.listed(), |page| {
        page.supports_ranges = false;
        page.cuts.extend([300 * KB, 100 * KB, 500 * KB]);
    });
    assert!(fixture.get(&entry).await.expect("the file") == entry.bytes);
    assert_eq!(fixture.mirror.requests(&entry.listed()).len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_fails_permanently_drops_the_clients_and_the_next_request_starts_over() {
    let entry = Entry::new("big", "1.0", 800 * KB);
    let fixture = Fixture::new(Mirror::of(std::slice::from_ref(&entry), &[])).await;
    fixture.mirror.set(&entry.listed(), |page| page.cuts.extend([300 * KB; 5]));
    let (bytes, error) = read(fixture.open(&entry, None).await.expect("open")).await;
    assert!(bytes == entry.bytes[..300 * KB - 64 * KB]);
    assert!(is_unavailable(&error.expect("it is cut")));
    assert!(fixture.get(&entry).await.expect("the file") == entry.bytes);
    fixture.wait_stored(&entry).await;
    assert_eq!(fixture.spool_count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_mirror_is_unavailable_and_stored_files_are_served() {
    let (fetched, other) = (Entry::new("had", "1.0", 10 * KB), Entry::new("other", "1.0", 10 * KB));
    let fixture = Fixture::new(Mirror::of(&[fetched.clone(), other.clone()], &[])).await;
    fixture.get(&fetched).await.expect("the file");
    fixture.wait_stored(&fetched).await;
    fixture.mirror.stop();
    assert!(fixture.get(&fetched).await.expect("from storage") == fetched.bytes);
    let error = fixture.get(&other).await.expect_err("no copy is stored");
    assert!(is_unavailable(&error), "{error}");
    assert_eq!(fixture.mismatch_count(), 0, "an unreachable mirror does not mean a stale index");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_file_is_requested_from_the_archive_and_its_absence_is_cached() {
    let (gone, moved) = (Entry::new("gone", "1.0", KB), Entry::new("moved", "1.0", KB));
    let fixture = Fixture::new(Mirror::of(&[gone.clone(), moved.clone()], &[])).await;
    fixture.mirror.remove(&gone.listed());
    fixture.mirror.remove(&moved.listed());
    fixture.mirror.put(&moved.archived(), moved.bytes.clone());
    assert!(fixture.get(&moved).await.expect("from the archive") == moved.bytes);
    for _ in 0..3 {
        assert!(matches!(fixture.get(&gone).await, Err(RepoError::NotFound(_))));
    }
    assert_eq!(fixture.mirror.requests(&gone.listed()).len(), 1);
    assert_eq!(fixture.mirror.requests(&gone.archived()).len(), 1);
    assert_eq!(fixture.mismatch_count(), 1);
    // Not permanently: the mirror may have been in the middle of its own sync.
    fixture.mirror.put(&gone.listed(), gone.bytes.clone());
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert!(fixture.get(&gone).await.expect("the file is available again") == gone.bytes);
    fixture.wait_stored(&gone).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_403_of_a_bucket_for_a_missing_file_leads_to_its_archive_too() {
    let moved = Entry::new("moved", "1.0", KB);
    let fixture = Fixture::new(Mirror::of(std::slice::from_ref(&moved), &[])).await;
    fixture.mirror.set(&moved.listed(), |page| page.status = Some((403, "X-Bucket: yes")));
    fixture.mirror.put(&moved.archived(), moved.bytes.clone());
    assert!(fixture.get(&moved).await.expect("from the archive") == moved.bytes);
    let forbidden = Entry::new("shut", "1.0", KB);
    fixture.mirror.publish(&[moved, forbidden.clone()], &[]);
    fixture.mirror.set(&forbidden.listed(), |page| page.status = Some((403, "X-Bucket: yes")));
    fixture.sync().await;
    let error = fixture.get(&forbidden).await.expect_err("it refuses");
    assert!(is_refused(&error) && error.to_string().contains("403"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_broken_file_does_not_block_others() {
    let (broken, good) = (Entry::new("broken", "1.0", KB), Entry::new("well", "1.0", KB));
    let fixture = Fixture::new(Mirror::of(&[broken.clone(), good.clone()], &[])).await;
    fixture.mirror.set(&broken.listed(), |page| page.status = Some((500, "X: y")));
    for _ in 0..2 {
        assert!(is_unavailable(&fixture.get(&broken).await.expect_err("it is broken")));
        tokio::time::sleep(Duration::from_millis(2100)).await;
    }
    assert!(fixture.mirror.requests(&broken.listed()).len() > 5);
    assert!(fixture.get(&good).await.expect("the mirror has it") == good.bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_retry_after_of_a_busy_mirror_is_respected() {
    let busy = Entry::new("busy", "1.0", KB);
    let fixture = Fixture::new(Mirror::of(std::slice::from_ref(&busy), &[])).await;
    fixture.mirror.set(&busy.listed(), |page| page.status = Some((503, "Retry-After: 120")));
    match fixture.get(&busy).await {
        Err(RepoError::Upstream { retry_after, .. }) => assert_eq!(retry_after, 120),
        other => panic!("{:?}", other.map(|bytes| bytes.len())),
    }
    assert_eq!(fixture.mirror.requests(&busy.listed()).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_that_accepts_and_sends_nothing_times_out() {
    let (mute, stuck) = (Entry::new("mute", "1.0", 200 * KB), Entry::new("stuck", "1.0", 200 * KB));
    let slow = Entry::new("slow", "1.0", 400 * KB);
    let mirror = Mirror::of(&[mute.clone(), stuck.clone(), slow.clone()], &[]);
    mirror.set(&mute.listed(), |page| page.is_mute = true);
    mirror.set(&stuck.listed(), |page| page.pause_at = 0);
    mirror.set(&slow.listed(), |page| page.pause_at = 200 * KB);
    let limits = FetchLimits { max_inactivity: Duration::from_secs(2), ..short_limits() };
    let fixture = Fixture::with_limits(mirror, limits, "").await;
    // The default limits of one request are longer than `max_inactivity`.
    let all = async {
        for entry in [&mute, &stuck] {
            let error = fixture.get(entry).await.expect_err("nothing comes");
            assert!(is_unavailable(&error), "{error}");
            assert_eq!(fixture.mirror.requests(&entry.listed()).len(), 1);
        }
        // The limit of silence starts again after some bytes.
        let (bytes, error) = read(fixture.open(&slow, None).await.expect("the beginning of the body")).await;
        assert!(error.is_some() && !bytes.is_empty() && bytes.len() < slow.bytes.len());
    };
    tokio::time::timeout(Duration::from_secs(45), all).await.expect("long before a request times out");
    for entry in [&mute, &stuck, &slow] {
        fixture.mirror.set(&entry.listed(), |page| (page.is_mute, page.pause_at) = (false, usize::MAX));
        assert!(fixture.get(entry).await.expect("the mirror works again") == entry.bytes);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_without_a_size_is_bounded_and_one_with_a_size_is_not() {
    let (endless, sized) = (Entry::new("endless", "1.0", 900 * KB), Entry::new("sized", "1.0", 900 * KB));
    let mirror = Mirror::start();
    for entry in [&endless, &sized] {
        mirror.put(&entry.listed(), entry.bytes.clone());
    }
    mirror.index_without_meta(&[endless.clone(), sized.clone()]);
    mirror.set(&endless.listed(), |page| page.has_length = false);
    let limits = FetchLimits { max_unsized: 500 << 10, ..short_limits() };
    let fixture = Fixture::with_limits(mirror, limits, "").await;
    let (bytes, error) = read(fixture.open(&endless, None).await.expect("it begins")).await;
    let error = error.expect("it is too long").to_string();
    assert!(error.contains("longer than 512000 bytes") && bytes.len() < 500 << 10, "{error}");
    assert!(fixture.get(&sized).await.expect("the answer declares its size") == sized.bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_without_a_declared_size_is_served_completely() {
    let plain = Entry::new("plain", "1.0", 500 * KB);
    let mirror = Mirror::start();
    mirror.put(&plain.listed(), plain.bytes.clone());
    mirror.index_without_meta(std::slice::from_ref(&plain));
    mirror.set(&plain.listed(), |page| page.has_length = false);
    let fixture = Fixture::new(mirror).await;
    let open = fixture.open(&plain, None).await.expect("open");
    assert_eq!(open.size, None);
    assert!(read(open).await.0 == plain.bytes);
    fixture.wait_stored(&plain).await;
    assert_eq!(fixture.locate(&plain).await.expect("located").size, Some(plain.bytes.len() as u64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_size_that_is_below_the_received_bytes_is_an_error() {
    // The first answer, without a size, is interrupted; the second declares less than was received.
    let odd = Entry::new("odd", "1.0", 500 * KB);
    let mirror = Mirror::start();
    mirror.put(&odd.listed(), odd.bytes.clone());
    mirror.index_without_meta(std::slice::from_ref(&odd));
    mirror.set(&odd.listed(), |page| (page.has_length, page.pause_at) = (false, 300 * KB));
    let fixture = Fixture::new(mirror).await;
    let open = fixture.open(&odd, None).await.expect("open");
    let (url, short) = (odd.listed(), odd.bytes[..100 * KB].to_vec());
    let before = fixture.mirror.requests(&url).len();
    // The file of the mirror changes after the connection of the client is closed.
    drop(open);
    fixture.wait_for_sending(0).await;
    fixture.mirror.put(&url, short);
    let (bytes, error) = match fixture.open(&odd, None).await {
        Ok(open) => read(open).await,
        Err(error) => (Vec::new(), Some(error)),
    };
    assert!(is_refused(error.as_ref().expect("refused")), "{} bytes, {error:?}", bytes.len());
    assert_eq!(fixture.mirror.requests(&url).len(), before + 1);
    fixture.mirror.put(&url, odd.bytes.clone());
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert!(fixture.get(&odd).await.expect("the page is correct again") == odd.bytes);
}

/// Publishes an index in which each package has `File`, and the file under that name only.
fn publish_under(mirror: &Mirror, files: &[(&Entry, String)]) {
    use md5::Digest;
    let mut text = String::new();
    for (entry, file) in files {
        let Entry { package, version, bytes } = entry;
        let md5 = hex::encode(md5::Md5::digest(bytes));
        text.push_str(&format!("Package: {package}\nVersion: {version}\nMD5sum: {md5}\nFile: {file}\n\n"));
        mirror.put(&format!("src/contrib/{file}"), bytes.clone());
    }
    mirror.put("src/contrib/PACKAGES", text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_package_whose_record_names_another_file_is_fetched_from_it_and_served_under_the_usual_name() {
    use rstudio_pm::r::layout::IndexFormat;
    use rstudio_pm::serve::document::DocumentRequest;
    use rstudio_pm::serve::r::document::RDocument;
    let entries = ["alpha", "beta", "gamma", "delta"].map(|name| Entry::new(name, "1.0", KB));
    let files = |entries: &[Entry]| {
        let names = ["sha256-00ff", "beta-1.0.tar.gz", "gamma_9.9.tar.gz", "delta_1.0.tar.gz"];
        let file = |(number, name): (usize, &str)| match number {
            0 => format!("{name}{}", entries[0].version),
            _ => name.to_owned(),
        };
        names.into_iter().enumerate().map(file).collect::<Vec<String>>()
    };
    let mirror = Mirror::start();
    let pairs =
        |entries: &[Entry]| -> Vec<(Entry, String)> { entries.iter().cloned().zip(files(entries)).collect() };
    let publish = |mirror: &Mirror, entries: &[Entry]| {
        let pairs = pairs(entries);
        publish_under(mirror, &pairs.iter().map(|(entry, file)| (entry, file.clone())).collect::<Vec<_>>());
    };
    publish(&mirror, &entries);
    let fixture = Fixture::new(mirror).await;
    for (entry, file) in &pairs(&entries) {
        assert!(fixture.get(entry).await.expect("the file") == entry.bytes, "{file}");
        assert_eq!(fixture.mirror.requests(&format!("src/contrib/{file}")).len(), 1, "{file}");
        fixture.wait_stored(entry).await;
    }
    let point =
        serve::point::resolve(&fixture.backend.repositories, "all", "latest".parse().expect("a snapshot"));
    let request = DocumentRequest::new(point.await.expect("a point"), RDocument::Packages(IndexFormat::Text));
    let document = serve::index::document(&fixture.backend.repositories, &request).await.expect("an index");
    let text = String::from_utf8(document.bytes.to_vec()).expect("text");
    assert_eq!(text.matches("Package: ").count(), entries.len());
    assert_eq!(text.matches("File: ").count(), 1, "{text}");
    assert!(text.contains("File: delta_1.0.tar.gz"), "{text}");

    // A newer version supersedes the old one, which is still served from storage.
    let newer = [Entry::new("alpha", "1.1", KB), entries[1].clone(), entries[2].clone(), entries[3].clone()];
    fixture.mirror.remove("src/contrib/sha256-00ff1.0");
    publish(&fixture.mirror, &newer);
    fixture.sync().await;
    for entry in [&newer[0], &entries[0]] {
        assert!(fixture.get(entry).await.expect("the file") == entry.bytes, "{}", entry.version);
    }
}
