//! Where the bytes go: a full disk, and S3.

use std::time::Duration;

use rstudio_pm::repo::FetchLimits;

use super::{Field, KB, impatient, read};
use crate::support::mirror::{Entry, Mirror};
use crate::support::{rerun, s3};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_packages_pass_through_and_nothing_is_stored() {
    let Some(full) = rerun::small_disk() else { return };
    let (big, small) = (Entry::new("big", "2.0", 1800 * KB), Entry::new("small", "1.0", 30 * KB));
    let old = Entry::new("big", "1.0", 1500 * KB);
    let cut = Entry::new("big", "1.1", 1500 * KB);
    let cut = Entry { bytes: cut.bytes[..cut.bytes.len() - 20].to_vec(), ..cut };
    let huge = Entry::new("huge", "1.0", 4000 * KB);
    let mirror = Mirror::of(&[big.clone(), small.clone(), huge.clone()], &[old.clone(), cut.clone()]);
    let gcfg = format!("[FileStorage \"cran\"]\nLocation = {}\n", full.display());
    let patience = FetchLimits { memory: 2 << 20, ..impatient() };
    let field = Field::on(mirror, patience, &gcfg).await;

    let (one, two) = tokio::join!(field.get(&big), field.get(&big));
    assert!(one.expect("passed through") == big.bytes && two.expect("to both") == big.bytes);
    assert!(!field.stored(&big).await);
    assert!(field.get(&old).await.expect("archived, too") == old.bytes);
    // What cannot be stored is verified all the same.
    let end = match field.open(&cut, None).await {
        Ok(open) => read(open).await,
        Err(error) => (Vec::new(), Some(error)),
    };
    assert!(end.1.is_some() && end.0.len() < cut.bytes.len(), "a damaged archive is never whole");
    // More than the memory set aside: an error, and the memory is free again.
    let why = field.get(&huge).await.expect_err("more than the memory reserved").to_string();
    assert!(why.contains("no space left for") && why.contains("make room on the disk"), "{why}");
    assert!(field.get(&big).await.expect("passed through") == big.bytes);

    // To the last byte: not even the spool of a small file finds room.
    let filler = full.join("filler");
    std::fs::write(&filler, vec![0; 2 << 20]).unwrap_err();
    assert!(field.get(&small).await.expect("passed through") == small.bytes);
    assert!(!field.stored(&small).await);
    std::fs::remove_file(&filler).unwrap();
    // Whoever still meets the flight that found no room is given the file by it, and nothing is stored.
    let again = async {
        while !field.stored(&small).await {
            assert!(field.get(&small).await.expect("there is room") == small.bytes);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), again).await.expect("there is room");
    assert_eq!(field.spools(), 0);
    let left = super::walk(&full);
    assert_eq!(left.len(), 1, "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_without_a_size_leaves_as_much_room_as_it_takes() {
    let Some(disk) = rerun::small_disk() else { return };
    let (endless, fits) = (Entry::new("endless", "1.0", 700 * KB), Entry::new("fits", "1.0", 300 * KB));
    let mirror = Mirror::start();
    for entry in [&endless, &fits] {
        mirror.put(&entry.listed(), entry.bytes.clone());
        mirror.set(&entry.listed(), |page| page.length = false);
    }
    mirror.bare_index(&[endless.clone(), fits.clone()]);
    let gcfg = format!("[FileStorage \"cran\"]\nLocation = {}\n", disk.display());
    // Piece by piece, so that the room is looked at before the end.
    mirror.set(&endless.listed(), |page| page.open = 600 * KB);
    let field = Field::on(mirror, FetchLimits { memory: 1 << 10, ..impatient() }, &gcfg).await;
    let (bytes, error) = read(field.open(&endless, None).await.expect("it begins")).await;
    let error = error.expect("there is no room").to_string();
    assert!(error.contains("the index does not declare its size") && bytes.len() < 600 * KB, "{error}");
    assert!(field.get(&fits).await.expect("there is room") == fits.bytes);
    field.wait_stored(&fits).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_whose_size_the_answer_alone_tells_is_refused_before_its_first_byte_when_there_is_no_room() {
    let Some(disk) = rerun::small_disk() else { return };
    let (large, fits) = (Entry::new("large", "1.0", 700 * KB), Entry::new("fits", "1.0", 300 * KB));
    let mirror = Mirror::start();
    for entry in [&large, &fits] {
        mirror.put(&entry.listed(), entry.bytes.clone());
    }
    mirror.bare_index(&[large.clone(), fits.clone()]);
    let gcfg = format!("[FileStorage \"cran\"]\nLocation = {}\n", disk.display());
    let field = Field::on(mirror, FetchLimits { memory: 1 << 10, ..impatient() }, &gcfg).await;
    let error = match field.open(&large, None).await {
        Ok(open) => {
            let (bytes, error) = read(open).await;
            assert!(bytes.is_empty(), "{} bytes", bytes.len());
            error.expect("there is no room").to_string()
        }
        Err(error) => error.to_string(),
    };
    assert!(error.contains("the index does not declare its size"), "{error}");
    assert!(field.get(&fits).await.expect("there is room") == fits.bytes);
    field.wait_stored(&fits).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_s3_a_file_is_spooled_here_and_put_once() {
    if s3::elsewhere() {
        return;
    }
    let place = s3::bucket(s3::server());
    let gcfg = format!(
        "[Storage]\nDefault = s3\n[S3Storage]\nBucket = {}\nPrefix = some/prefix\nRegion = us-east-1\n\
         Endpoint = {}\nPathStyle = true\n",
        place.bucket,
        place.endpoint.as_deref().unwrap()
    );
    let (big, small) = (Entry::new("big", "1.0", 2000 * KB), Entry::new("small", "1.0", 10 * KB));
    let field = Field::on(Mirror::of(&[big.clone(), small.clone()], &[]), impatient(), &gcfg).await;
    for entry in [&big, &small] {
        let (one, two) = tokio::join!(field.get(entry), field.get(entry));
        assert!(one.expect("the file") == entry.bytes && two.expect("the file") == entry.bytes);
        field.wait_stored(entry).await;
        assert!(field.get(entry).await.expect("from the bucket") == entry.bytes);
        assert_eq!(field.mirror.asked(&entry.listed()).len(), 1);
        let digest = field.locate(entry).await.unwrap().sha256.unwrap().to_string();
        let path = format!("/{}/some/prefix/cran/{}/{digest}", place.bucket, &digest[..2]);
        assert_eq!(s3::ask("GET", &path), (200, entry.bytes.clone()));
    }
    assert_eq!(field.spools(), 0);
}
