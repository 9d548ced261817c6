//! Wrong bytes: never whole at a client, never stored.

use rstudio_pm::config::StorageClass;
use rstudio_pm::model::identity::Identity;
use rstudio_pm::repo::{FetchLimits, Repo};
use rstudio_pm::storage::Ownership;

use super::{Field, KB, impatient, is_refused, read};
use crate::support::mirror::{Entry, Mirror};
use crate::support::tarball::Tarball;

/// The same length, one bit wrong near the end.
fn spoilt(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let place = bytes.len() - 100;
    bytes[place] ^= 1;
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_the_end_of_a_file_whose_md5_is_wrong() {
    let big = Entry::new("big", "1.0", 800 * KB);
    let field = Field::new(Mirror::of(std::slice::from_ref(&big), &[])).await;
    field.mirror.put(&big.listed(), spoilt(&big.bytes));
    let clients = futures_util::future::join_all((0..5).map(|_| async {
        match field.open(&big, None).await {
            Ok(open) => {
                assert_eq!(open.size, Some(big.bytes.len() as u64), "the size was told");
                read(open).await
            }
            Err(error) => (Vec::new(), Some(error)),
        }
    }));
    for (bytes, error) in clients.await {
        assert!(bytes.len() <= big.bytes.len() - 64 * KB, "{} bytes", bytes.len());
        assert!(is_refused(&error.expect("it is cut")));
    }
    assert!(!field.stored(&big).await);
    assert_eq!((field.spools(), field.stale()), (0, 1));
    // Bytes were given away, so the archive could not be tried.
    assert_eq!(field.mirror.asked(&big.archived()).len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_file_whose_md5_is_wrong_is_looked_for_in_the_archive() {
    let (small, lost) = (Entry::new("small", "1.0", 20 * KB), Entry::new("lost", "1.0", 20 * KB));
    let field = Field::new(Mirror::of(&[small.clone(), lost.clone()], &[])).await;
    field.mirror.put(&small.listed(), spoilt(&small.bytes));
    field.mirror.put(&small.archived(), small.bytes.clone());
    field.mirror.put(&lost.listed(), spoilt(&lost.bytes));
    assert!(field.get(&small).await.expect("the archive has it") == small.bytes);
    assert_eq!(field.stale(), 0);
    let error = field.get(&lost).await.expect_err("nobody has it");
    assert!(is_refused(&error) && error.to_string().contains("MD5"), "{error}");
    assert_eq!(field.stale(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_size_that_differs_at_the_header_costs_no_byte() {
    let big = Entry::new("big", "1.0", 800 * KB);
    let field = Field::new(Mirror::of(std::slice::from_ref(&big), &[])).await;
    let other = Entry::new("big", "1.0", 900 * KB);
    field.mirror.put(&big.listed(), other.bytes.clone());
    field.mirror.set(&big.listed(), |page| page.open = 0);
    let error = field.get(&big).await.expect_err("another file");
    assert!(is_refused(&error) && error.to_string().contains("bytes"), "{error}");
    assert_eq!(field.mirror.asked(&big.archived()).len(), 1);
    assert_eq!(field.stale(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_sync_that_a_mismatch_asks_for_the_new_file_is_served() {
    let old = Entry::new("moving", "1.0", 20 * KB);
    let field = Field::new(Mirror::of(std::slice::from_ref(&old), &[])).await;
    let new = Entry { bytes: Entry::new("moving", "1.0", 30 * KB).bytes, ..old.clone() };
    field.mirror.put(&new.listed(), new.bytes.clone());
    assert!(field.get(&old).await.is_err());
    assert!(field.get(&old).await.is_err());
    assert_eq!((field.stale(), field.mirror.asked(&old.listed()).len()), (1, 1));
    field.mirror.publish(std::slice::from_ref(&new), &[]);
    field.sync().await;
    assert!(field.get(&new).await.expect("the new one") == new.bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archived_release_is_verified_by_what_it_is() {
    let now = Entry::new("pkg", "2.0", KB);
    let good = Entry::new("pkg", "1.0", 300 * KB);
    let cut = Entry::new("pkg", "1.1", 300 * KB);
    let crc = Entry::new("pkg", "1.2", 300 * KB);
    let alien = Entry { version: "1.3".to_owned(), ..Entry::new("pkg", "1.9", 20 * KB) };
    let stranger = Entry { package: "pkg".to_owned(), ..Entry::new("other", "1.4", 20 * KB) };
    let page = Entry {
        bytes: b"<!DOCTYPE html><html>Sign in</html>".to_vec(),
        version: "1.5".to_owned(),
        ..now.clone()
    };
    let empty = Entry { bytes: Vec::new(), version: "1.6".to_owned(), ..now.clone() };
    // The index tells the size of the wrong file: only its inside can tell.
    let cut = Entry { bytes: cut.bytes[..cut.bytes.len() - 20].to_vec(), ..cut };
    let mut spoilt = crc.bytes.clone();
    let place = spoilt.len() - 6;
    spoilt[place] ^= 1;
    let crc = Entry { bytes: spoilt, ..crc };
    let wrong = [&cut, &crc, &alien, &stranger, &page, &empty];
    let archived: Vec<Entry> = [&good].into_iter().chain(wrong).cloned().collect();
    let field = Field::new(Mirror::of(&[now], &archived)).await;
    assert!(field.get(&good).await.expect("the archive's") == good.bytes);
    field.wait_stored(&good).await;
    for entry in wrong {
        let error = field.get(entry).await.err().unwrap_or_else(|| panic!("{} is given", entry.file()));
        assert!(is_refused(&error), "{}: {error}", entry.file());
        assert!(!field.stored(entry).await);
    }
    assert_eq!(field.spools(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_that_vanished_is_fetched_and_stored_again() {
    let small = Entry::new("small", "1.0", 200 * KB);
    let field = Field::new(Mirror::of(std::slice::from_ref(&small), &[])).await;
    field.get(&small).await.expect("the file");
    field.wait_stored(&small).await;
    let sha256 = field.locate(&small).await.unwrap().sha256.expect("known");
    let key = rstudio_pm::storage::Key::Package(rstudio_pm::config::StorageClass::Cran, sha256);
    field.world.state.storage.delete(&key).await.expect("deleted");
    assert!(field.get(&small).await.expect("from the mirror") == small.bytes);
    while field.world.state.storage.size(&key).await.unwrap().is_none() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(field.get(&small).await.expect("from storage") == small.bytes);
    assert_eq!(field.mirror.asked(&small.listed()).len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_bytes_of_two_sources_are_one_blob() {
    let stub = Entry::new("stub", "1.0", KB);
    let field = Field::new(Mirror::of(std::slice::from_ref(&stub), &[])).await;
    let world = &field.world;
    world.local("team").await;
    world.repository("ours", &["team"]).await;
    world.add("team", "alpha", "1.0").await;
    let point = world.repo.point("ours", "latest".parse().unwrap()).await.unwrap();
    let file = Tarball::new("alpha", "1.0").file();
    let ours = world.repo.locate(&point, "alpha", "1.0", &file, false).await.unwrap();
    let (bytes, _) = read(world.repo.open(&ours, None).await.unwrap()).await;
    // The mirror has the bytes as they were rewritten.
    let theirs = Entry { package: "alpha".to_owned(), version: "1.0".to_owned(), bytes };
    field.mirror.publish(&[stub, theirs.clone()], &[]);
    field.sync().await;
    assert!(field.get(&theirs).await.expect("the mirror's") == theirs.bytes);
    field.wait_stored(&theirs).await;
    assert!(field.get(&theirs).await.expect("the one blob") == theirs.bytes);
    assert_eq!(field.locate(&theirs).await.unwrap().sha256, ours.sha256);
    let digest = ours.sha256.unwrap().to_string();
    let blobs = super::walk(world.folder())
        .into_iter()
        .filter(|path| path.file_name().is_some_and(|name| *name == *digest))
        .count();
    assert_eq!(blobs, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stored_package_with_a_flipped_bit_is_fetched_again_and_never_served() {
    for size in [30 * KB, 3000 * KB] {
        let entry = Entry::new("alpha", "1.0", size);
        let field = Field::new(Mirror::of(std::slice::from_ref(&entry), &[])).await;
        field.repo.claim_storage().await;
        assert!(field.get(&entry).await.expect("fetched") == entry.bytes);
        field.wait_stored(&entry).await;
        let shelf = field.world.folder().join("data/cran/cran");
        let [object] = super::walk(&shelf).try_into().expect("one object");
        let mut harmed = entry.bytes.clone();
        harmed[size / 2] ^= 1;
        std::fs::write(&object, &harmed).expect("written");
        // As after a restart: nothing is in memory, and nothing proven.
        let Field { mirror, world, stale, .. } = field;
        let world = world.restarted().await;
        let field = Field { mirror, repo: Repo::new(world.state.clone()), world, stale };
        field.repo.claim_storage().await;
        assert!(field.get(&entry).await.expect("fetched again") == entry.bytes, "{size}");
        field.wait_stored(&entry).await;
        let begun = std::time::Instant::now();
        while !std::fs::read(&object).is_ok_and(|bytes| bytes == entry.bytes) {
            assert!(begun.elapsed() < std::time::Duration::from_secs(20), "never stored again");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let aside = field.world.folder().join("data/cran/damaged");
        let [kept] = super::walk(&aside).try_into().expect("one object");
        assert!(std::fs::read(kept).expect("readable") == harmed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_class_that_takes_nothing_packages_pass_through_and_are_stored_once_it_does() {
    let (entry, huge) = (Entry::new("alpha", "1.0", 300 * KB), Entry::new("huge", "1.0", 1500 * KB));
    let mirror = Mirror::of(&[entry.clone(), huge.clone()], &[]);
    let field = Field::on(mirror, FetchLimits { memory: 1 << 20, ..impatient() }, "").await;
    let storage = &field.world.state.storage;
    for standing in [Ownership::Missing, Ownership::Foreign(Identity([1; 16]))] {
        storage.set_ownership(StorageClass::Cran, standing);
        assert!(field.get(&entry).await.expect("passed through") == entry.bytes);
        assert!(!field.stored(&entry).await);
        let why = field.get(&huge).await.expect_err("more than the memory reserved").to_string();
        assert!(why.contains("rspm storage adopt --class=cran") && !why.contains("disk"), "{why}");
    }
    assert!(super::walk(&field.world.folder().join("data/cran")).is_empty());
    storage.set_ownership(StorageClass::Cran, Ownership::Own);
    let again = async {
        while !field.stored(&entry).await {
            assert!(field.get(&entry).await.expect("fetched") == entry.bytes);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), again).await.expect("stored");
}
