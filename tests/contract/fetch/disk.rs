//! Storing fetched files: a full disk, and S3.

use std::time::Duration;

use rstudio_pm::fetch::FetchLimits;

use super::{Fixture, KB, read, short_limits};
use crate::support::mirror::{Entry, Mirror};
use crate::support::{rerun, s3};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_packages_are_passed_through_and_not_stored() {
    let Some(full) = rerun::small_disk() else { return };
    let (big, small) = (Entry::new("big", "2.0", 1800 * KB), Entry::new("small", "1.0", 30 * KB));
    let old = Entry::new("big", "1.0", 1500 * KB);
    let cut = Entry::new("big", "1.1", 1500 * KB);
    let cut = Entry { bytes: cut.bytes[..cut.bytes.len() - 20].to_vec(), ..cut };
    let huge = Entry::new("huge", "1.0", 4000 * KB);
    let mirror = Mirror::of(&[big.clone(), small.clone(), huge.clone()], &[old.clone(), cut.clone()]);
    let gcfg = format!("[FileStorage \"cran\"]\nLocation = {}\n", full.display());
    let limits = FetchLimits { memory: 2 << 20, ..short_limits() };
    let fixture = Fixture::with_limits(mirror, limits, &gcfg).await;

    let (one, two) = tokio::join!(fixture.get(&big), fixture.get(&big));
    assert!(one.expect("passed through") == big.bytes && two.expect("to both") == big.bytes);
    assert!(!fixture.is_stored(&big).await);
    assert!(fixture.get(&old).await.expect("archived, too") == old.bytes);
    // A file that cannot be stored is still verified.
    let end = match fixture.open(&cut, None).await {
        Ok(open) => read(open).await,
        Err(error) => (Vec::new(), Some(error)),
    };
    assert!(end.1.is_some() && end.0.len() < cut.bytes.len(), "a damaged archive is never served completely");
    // A file larger than the reserved memory is an error, which frees the memory.
    let error = fixture.get(&huge).await.expect_err("more than the memory reserved").to_string();
    assert!(error.contains("no space left for") && error.contains("free space on the disk"), "{error}");
    assert!(fixture.get(&big).await.expect("passed through") == big.bytes);

    // The disk is full to the last byte: there is no space even for the spool of a small file.
    let filler = full.join("filler");
    std::fs::write(&filler, vec![0; 2 << 20]).unwrap_err();
    assert!(fixture.get(&small).await.expect("passed through") == small.bytes);
    assert!(!fixture.is_stored(&small).await);
    std::fs::remove_file(&filler).unwrap();
    // A client that joins the fetch that found no space gets the file from it, and nothing is stored.
    let again = async {
        while !fixture.is_stored(&small).await {
            assert!(fixture.get(&small).await.expect("there is room") == small.bytes);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(90), again).await.expect("there is room");
    assert_eq!(fixture.spool_count(), 0);
    let left = super::walk(&full);
    assert_eq!(left.len(), 1, "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_unknown_size_must_leave_as_much_free_space_as_it_uses() {
    let Some(disk) = rerun::small_disk() else { return };
    let (endless, fits) = (Entry::new("endless", "1.0", 700 * KB), Entry::new("fits", "1.0", 300 * KB));
    let mirror = Mirror::start();
    for entry in [&endless, &fits] {
        mirror.put(&entry.listed(), entry.bytes.clone());
        mirror.set(&entry.listed(), |page| page.has_length = false);
    }
    mirror.index_without_meta(&[endless.clone(), fits.clone()]);
    let gcfg = format!("[FileStorage \"cran\"]\nLocation = {}\n", disk.display());
    // The body comes in two parts, so that the free space is checked before its end.
    mirror.set(&endless.listed(), |page| page.pause_at = 600 * KB);
    let fixture =
        Fixture::with_limits(mirror, FetchLimits { memory: 1 << 10, ..short_limits() }, &gcfg).await;
    let (bytes, error) = read(fixture.open(&endless, None).await.expect("it begins")).await;
    let error = error.expect("there is no room").to_string();
    assert!(error.contains("the index does not declare its size") && bytes.len() < 600 * KB, "{error}");
    assert!(fixture.get(&fits).await.expect("there is room") == fits.bytes);
    fixture.wait_stored(&fits).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_with_a_size_only_in_the_response_is_refused_before_its_first_byte_if_there_is_no_space() {
    let Some(disk) = rerun::small_disk() else { return };
    let (large, fits) = (Entry::new("large", "1.0", 700 * KB), Entry::new("fits", "1.0", 300 * KB));
    let mirror = Mirror::start();
    for entry in [&large, &fits] {
        mirror.put(&entry.listed(), entry.bytes.clone());
    }
    mirror.index_without_meta(&[large.clone(), fits.clone()]);
    let gcfg = format!("[FileStorage \"cran\"]\nLocation = {}\n", disk.display());
    let fixture =
        Fixture::with_limits(mirror, FetchLimits { memory: 1 << 10, ..short_limits() }, &gcfg).await;
    let error = match fixture.open(&large, None).await {
        Ok(open) => {
            let (bytes, error) = read(open).await;
            assert!(bytes.is_empty(), "{} bytes", bytes.len());
            error.expect("there is no room").to_string()
        }
        Err(error) => error.to_string(),
    };
    assert!(error.contains("the index does not declare its size"), "{error}");
    assert!(fixture.get(&fits).await.expect("there is room") == fits.bytes);
    fixture.wait_stored(&fits).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn for_s3_a_file_is_spooled_on_disk_and_put_once() {
    if s3::rerun_with_credentials() {
        return;
    }
    let location = s3::bucket(s3::server());
    let gcfg = format!(
        "[Storage]\nDefault = s3\n[S3Storage]\nBucket = {}\nPrefix = some/prefix\nRegion = us-east-1\n\
         Endpoint = {}\nPathStyle = true\n",
        location.bucket,
        location.endpoint.as_deref().unwrap()
    );
    let (big, small) = (Entry::new("big", "1.0", 2000 * KB), Entry::new("small", "1.0", 10 * KB));
    let fixture =
        Fixture::with_limits(Mirror::of(&[big.clone(), small.clone()], &[]), short_limits(), &gcfg).await;
    for entry in [&big, &small] {
        let (one, two) = tokio::join!(fixture.get(entry), fixture.get(entry));
        assert!(one.expect("the file") == entry.bytes && two.expect("the file") == entry.bytes);
        fixture.wait_stored(entry).await;
        assert!(fixture.get(entry).await.expect("from the bucket") == entry.bytes);
        assert_eq!(fixture.mirror.requests(&entry.listed()).len(), 1);
        let digest = fixture.locate(entry).await.unwrap().sha256.unwrap().to_string();
        let path = format!("/{}/some/prefix/cran/{}/{digest}", location.bucket, &digest[..2]);
        assert_eq!(s3::request("GET", &path), (200, entry.bytes.clone()));
    }
    assert_eq!(fixture.spool_count(), 0);
}
