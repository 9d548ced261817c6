//! Damaged files are never served completely and never stored.

use rstudio_pm::fetch::FetchLimits;
use rstudio_pm::model::ids::Identity;
use rstudio_pm::model::kind::StorageClass;
use rstudio_pm::storage::Ownership;
use rstudio_pm::{serve, upkeep};

use super::{Fixture, KB, is_refused, read, short_limits};
use crate::support::mirror::{Entry, Mirror};
use crate::support::tarball::Tarball;

/// The same bytes with one flipped bit near the end.
fn damaged(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let position = bytes.len() - 100;
    bytes[position] ^= 1;
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_gets_the_end_of_a_file_with_a_wrong_md5() {
    let entry = Entry::new("big", "1.0", 800 * KB);
    let fixture = Fixture::new(Mirror::of(std::slice::from_ref(&entry), &[])).await;
    fixture.mirror.put(&entry.listed(), damaged(&entry.bytes));
    let clients = futures_util::future::join_all((0..5).map(|_| async {
        match fixture.open(&entry, None).await {
            Ok(open) => {
                assert_eq!(open.size, Some(entry.bytes.len() as u64), "the size is declared");
                read(open).await
            }
            Err(error) => (Vec::new(), Some(error)),
        }
    }));
    for (bytes, error) in clients.await {
        assert!(bytes.len() <= entry.bytes.len() - 64 * KB, "{} bytes", bytes.len());
        assert!(is_refused(&error.expect("the body is incomplete")));
    }
    assert!(!fixture.is_stored(&entry).await);
    assert_eq!((fixture.spool_count(), fixture.mismatch_count()), (0, 1));
    // The clients had received bytes, so the archive could not be tried.
    assert_eq!(fixture.mirror.requests(&entry.archived()).len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_file_with_a_wrong_md5_is_requested_from_the_archive() {
    let (small, lost) = (Entry::new("small", "1.0", 20 * KB), Entry::new("lost", "1.0", 20 * KB));
    let fixture = Fixture::new(Mirror::of(&[small.clone(), lost.clone()], &[])).await;
    fixture.mirror.put(&small.listed(), damaged(&small.bytes));
    fixture.mirror.put(&small.archived(), small.bytes.clone());
    fixture.mirror.put(&lost.listed(), damaged(&lost.bytes));
    assert!(fixture.get(&small).await.expect("the archive has it") == small.bytes);
    assert_eq!(fixture.mismatch_count(), 0);
    let error = fixture.get(&lost).await.expect_err("no correct copy");
    assert!(is_refused(&error) && error.to_string().contains("MD5"), "{error}");
    assert_eq!(fixture.mismatch_count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_size_in_the_header_is_an_error_before_the_first_byte() {
    let entry = Entry::new("big", "1.0", 800 * KB);
    let fixture = Fixture::new(Mirror::of(std::slice::from_ref(&entry), &[])).await;
    let other = Entry::new("big", "1.0", 900 * KB);
    fixture.mirror.put(&entry.listed(), other.bytes.clone());
    fixture.mirror.set(&entry.listed(), |page| page.pause_at = 0);
    let error = fixture.get(&entry).await.expect_err("another file");
    assert!(is_refused(&error) && error.to_string().contains("bytes"), "{error}");
    assert_eq!(fixture.mirror.requests(&entry.archived()).len(), 1);
    assert_eq!(fixture.mismatch_count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_sync_that_a_mismatch_triggers_the_new_file_is_served() {
    let old = Entry::new("moving", "1.0", 20 * KB);
    let fixture = Fixture::new(Mirror::of(std::slice::from_ref(&old), &[])).await;
    let new = Entry { bytes: Entry::new("moving", "1.0", 30 * KB).bytes, ..old.clone() };
    fixture.mirror.put(&new.listed(), new.bytes.clone());
    assert!(fixture.get(&old).await.is_err());
    assert!(fixture.get(&old).await.is_err());
    assert_eq!((fixture.mismatch_count(), fixture.mirror.requests(&old.listed()).len()), (1, 1));
    fixture.mirror.publish(std::slice::from_ref(&new), &[]);
    fixture.sync().await;
    assert!(fixture.get(&new).await.expect("the new one") == new.bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archived_release_is_verified_by_its_content() {
    let now = Entry::new("pkg", "2.0", KB);
    let entry = Entry::new("pkg", "1.0", 300 * KB);
    let cut = Entry::new("pkg", "1.1", 300 * KB);
    let crc = Entry::new("pkg", "1.2", 300 * KB);
    let other_version = Entry { version: "1.3".to_owned(), ..Entry::new("pkg", "1.9", 20 * KB) };
    let other_package = Entry { package: "pkg".to_owned(), ..Entry::new("other", "1.4", 20 * KB) };
    let page = Entry {
        bytes: b"<!DOCTYPE html><html>Sign in</html>".to_vec(),
        version: "1.5".to_owned(),
        ..now.clone()
    };
    let empty = Entry { bytes: Vec::new(), version: "1.6".to_owned(), ..now.clone() };
    // The index declares the size of the damaged file: only its content shows the damage.
    let cut = Entry { bytes: cut.bytes[..cut.bytes.len() - 20].to_vec(), ..cut };
    let mut damaged = crc.bytes.clone();
    let position = damaged.len() - 6;
    damaged[position] ^= 1;
    let crc = Entry { bytes: damaged, ..crc };
    let wrong = [&cut, &crc, &other_version, &other_package, &page, &empty];
    let archived: Vec<Entry> = [&entry].into_iter().chain(wrong).cloned().collect();
    let fixture = Fixture::new(Mirror::of(&[now], &archived)).await;
    assert!(fixture.get(&entry).await.expect("the archive's") == entry.bytes);
    fixture.wait_stored(&entry).await;
    for entry in wrong {
        let error = fixture.get(entry).await.err().unwrap_or_else(|| panic!("{} is served", entry.file()));
        assert!(is_refused(&error), "{}: {error}", entry.file());
        assert!(!fixture.is_stored(entry).await);
    }
    assert_eq!(fixture.spool_count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_object_is_fetched_and_stored_again() {
    let entry = Entry::new("small", "1.0", 200 * KB);
    let fixture = Fixture::new(Mirror::of(std::slice::from_ref(&entry), &[])).await;
    fixture.get(&entry).await.expect("the file");
    fixture.wait_stored(&entry).await;
    let sha256 = fixture.locate(&entry).await.unwrap().sha256.expect("known");
    let key = rstudio_pm::storage::Key::Package(rstudio_pm::model::kind::StorageClass::Cran, sha256);
    fixture.backend.state.storage.delete(&key).await.expect("deleted");
    assert!(fixture.get(&entry).await.expect("from the mirror") == entry.bytes);
    while fixture.backend.state.storage.size(&key).await.unwrap().is_none() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(fixture.get(&entry).await.expect("from storage") == entry.bytes);
    assert_eq!(fixture.mirror.requests(&entry.listed()).len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_bytes_of_two_sources_are_one_object() {
    let stub = Entry::new("stub", "1.0", KB);
    let fixture = Fixture::new(Mirror::of(std::slice::from_ref(&stub), &[])).await;
    let backend = &fixture.backend;
    backend.create_local_source("team").await;
    backend.create_repository("ours", &["team"]).await;
    backend.add("team", "alpha", "1.0").await;
    let point =
        serve::point::resolve(&backend.repositories, "ours", "latest".parse().unwrap()).await.unwrap();
    let file = Tarball::new("alpha", "1.0").file();
    let ours =
        serve::file::locate(&backend.repositories, &point, "alpha", "1.0", &file, false).await.unwrap();
    let (bytes, _) = read(serve::file::open(&backend.repositories, &ours, None).await.unwrap()).await;
    // The mirror gets the bytes that the server serves, whose DESCRIPTION differs from the uploaded one.
    let theirs = Entry { package: "alpha".to_owned(), version: "1.0".to_owned(), bytes };
    // The name of the local package may come from the mirror, too.
    rstudio_pm::edit::name_guard::delete(&backend.repositories, &backend.state, 1, false)
        .await
        .expect("its guard");
    fixture.mirror.publish(&[stub, theirs.clone()], &[]);
    fixture.sync().await;
    assert!(fixture.get(&theirs).await.expect("the mirror's") == theirs.bytes);
    fixture.wait_stored(&theirs).await;
    assert!(fixture.get(&theirs).await.expect("the one object") == theirs.bytes);
    assert_eq!(fixture.locate(&theirs).await.unwrap().sha256, ours.sha256);
    let digest = ours.sha256.unwrap().to_string();
    let objects = super::walk(backend.folder())
        .into_iter()
        .filter(|path| path.file_name().is_some_and(|name| *name == *digest))
        .count();
    assert_eq!(objects, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stored_package_with_a_flipped_bit_is_fetched_again_and_never_served() {
    for size in [30 * KB, 3000 * KB] {
        let entry = Entry::new("alpha", "1.0", size);
        let fixture = Fixture::new(Mirror::of(std::slice::from_ref(&entry), &[])).await;
        upkeep::ownership::claim(&fixture.backend.upkeep).await;
        assert!(fixture.get(&entry).await.expect("fetched") == entry.bytes);
        fixture.wait_stored(&entry).await;
        let dir = fixture.backend.folder().join("data/cran/cran");
        let [object] = super::walk(&dir).try_into().expect("one object");
        let mut changed = entry.bytes.clone();
        changed[size / 2] ^= 1;
        std::fs::write(&object, &changed).expect("written");
        // As after a restart: nothing is in memory, and nothing is verified.
        let Fixture { mirror, backend, mismatches, .. } = fixture;
        let backend = backend.restart().await;
        let fixture = Fixture { mirror, backend, mismatches };
        upkeep::ownership::claim(&fixture.backend.upkeep).await;
        assert!(fixture.get(&entry).await.expect("fetched again") == entry.bytes, "{size}");
        fixture.wait_stored(&entry).await;
        let start = std::time::Instant::now();
        while !std::fs::read(&object).is_ok_and(|bytes| bytes == entry.bytes) {
            assert!(start.elapsed() < std::time::Duration::from_secs(90), "never stored again");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let dir = fixture.backend.folder().join("data/cran/damaged");
        let [copy] = super::walk(&dir).try_into().expect("one object");
        assert!(std::fs::read(copy).expect("readable") == changed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_class_without_ownership_packages_are_passed_through_until_it_is_owned() {
    let (entry, huge) = (Entry::new("alpha", "1.0", 300 * KB), Entry::new("huge", "1.0", 1500 * KB));
    let mirror = Mirror::of(&[entry.clone(), huge.clone()], &[]);
    let fixture = Fixture::with_limits(mirror, FetchLimits { memory: 1 << 20, ..short_limits() }, "").await;
    let storage = &fixture.backend.state.storage;
    for ownership in [Ownership::Missing { former_location: None }, Ownership::Foreign(Identity([1; 16]))] {
        storage.set_ownership(StorageClass::Cran, ownership);
        assert!(fixture.get(&entry).await.expect("passed through") == entry.bytes);
        assert!(!fixture.is_stored(&entry).await);
        let error = fixture.get(&huge).await.expect_err("more than the memory reserved").to_string();
        assert!(error.contains("rspm storage adopt --class=cran") && !error.contains("disk"), "{error}");
    }
    assert!(super::walk(&fixture.backend.folder().join("data/cran")).is_empty());
    storage.set_ownership(StorageClass::Cran, Ownership::Own);
    let again = async {
        while !fixture.is_stored(&entry).await {
            assert!(fixture.get(&entry).await.expect("fetched") == entry.bytes);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(90), again).await.expect("stored");
}
