//! The contract, as functions on an open storage.

use crate::support::s3;
use crate::support::storage::{bytes, on_disk, read};
use rstudio_pm::config::StorageConfig;
use rstudio_pm::model::digest::Sha256;
use rstudio_pm::model::kind::StorageClass;
use rstudio_pm::storage::{Content, Key, Storage, StorageError};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// A separate storage for each test.
pub(super) struct Fixture {
    storage: Storage,
    config: StorageConfig,
    /// The directory of spools of class `cran`.
    spools: PathBuf,
    _folder: tempfile::TempDir,
}

impl Fixture {
    pub(super) async fn disk() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let config = on_disk(folder.path());
        let spools = folder.path().join("cran/.spool");
        Fixture { storage: Storage::open(&config).await.unwrap(), config, spools, _folder: folder }
    }

    pub(super) async fn s3() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let location = s3::bucket(s3::server());
        let config = s3::config(&location, folder.path());
        let spools = folder.path().join(format!("rstudio-pm-{}", nix::unistd::geteuid()));
        Fixture { storage: Storage::open(&config).await.unwrap(), config, spools, _folder: folder }
    }

    /// Stores bytes through a spool, in several writes.
    async fn commit(&self, key: &Key, bytes: &[u8]) -> Result<(), StorageError> {
        let mut spool = self.storage.spool(key.class()).await?;
        for piece in bytes.chunks(1 << 20) {
            spool.write_all(piece).unwrap();
        }
        self.storage.commit(spool, key).await
    }

    async fn read(&self, key: &Key) -> Result<Vec<u8>, StorageError> {
        read(self.storage.get(key, None).await?).await
    }

    fn spool_count(&self) -> usize {
        std::fs::read_dir(&self.spools).unwrap().count()
    }

    async fn keys(&self, class: StorageClass, page: usize) -> Vec<Key> {
        let mut all: Vec<Key> = Vec::new();
        loop {
            let objects = self.storage.list(class, all.last(), page).await.unwrap();
            assert!(objects.len() <= page);
            if objects.is_empty() {
                return all;
            }
            all.extend(objects.iter().map(|stored| stored.key));
        }
    }
}

fn cran(digest: Sha256) -> Key {
    Key::Package(StorageClass::Cran, digest)
}

pub(super) async fn a_put_object_can_be_read(fixture: Fixture) {
    for (class, seed) in StorageClass::ALL.into_iter().zip(0..) {
        let (content, digest) = bytes(1000, seed);
        let key = Key::Package(class, digest);
        fixture.storage.put(&key, content.clone().into()).await.unwrap();
        assert_eq!(fixture.storage.size(&key).await.unwrap(), Some(1000));
        assert_eq!(fixture.read(&key).await.unwrap(), content);
        assert_eq!(fixture.read(&key).await.unwrap(), content, "from memory");
    }
}

pub(super) async fn a_spooled_object_can_be_read(fixture: Fixture) {
    let (content, digest) = bytes(3_000_000, 1);
    fixture.commit(&cran(digest), &content).await.unwrap();
    let blob = fixture.storage.get(&cran(digest), None).await.unwrap();
    assert_eq!(blob.size, 3_000_000);
    assert!(matches!(blob.content, Content::Stream(_)), "large objects are not held in memory");
    assert_eq!(read(blob).await.unwrap(), content);
    assert_eq!(fixture.spool_count(), 0);
}

pub(super) async fn objects_in_memory_are_limited(fixture: Fixture) {
    const SIZE: usize = 1 << 20;
    let mut keys = Vec::new();
    for seed in 0..100 {
        let (content, digest) = bytes(SIZE, seed);
        fixture.storage.put(&cran(digest), content.into()).await.unwrap();
        keys.push(cran(digest));
    }
    let all = futures_util::future::join_all(keys.iter().map(|key| fixture.storage.get(key, None))).await;
    let in_memory = all.iter().filter(|blob| matches!(blob.as_ref().unwrap().content, Content::Memory(_)));
    assert!(in_memory.count() < 80, "the others are streams");
}

pub(super) async fn a_range_of_an_object_can_be_read(fixture: Fixture) {
    for (length, seed) in [(5_000usize, 2), (2_500_000, 3)] {
        let (content, digest) = bytes(length, seed);
        fixture.commit(&cran(digest), &content).await.unwrap();
        let ranges = [0..1, 17..4_000, 1..length - 1, length - 1..length, 0..length, 7..7];
        for range in ranges {
            let requested_range = range.start as u64..range.end as u64;
            let blob = fixture.storage.get(&cran(digest), Some(requested_range)).await.unwrap();
            assert_eq!(blob.size, length as u64);
            assert_eq!(read(blob).await.unwrap(), content[range.clone()], "{range:?} of {length}");
        }
        let beyond = fixture.storage.get(&cran(digest), Some(100..length as u64 * 9)).await.unwrap();
        assert_eq!(read(beyond).await.unwrap(), content[100..], "the range ends at the end of the object");
    }
}

pub(super) async fn a_range_outside_is_refused(fixture: Fixture) {
    for (length, seed) in [(5_000u64, 2), (2_500_000, 3)] {
        let (content, digest) = bytes(length as usize, seed);
        fixture.commit(&cran(digest), &content).await.unwrap();
        for range in [length..length + 1, length + 5..length + 9, 0..0, length..length] {
            let empty = range.is_empty();
            let result = fixture.storage.get(&cran(digest), Some(range.clone())).await;
            match result {
                Ok(blob) => assert!(empty && read(blob).await.unwrap().is_empty(), "{range:?}"),
                Err(StorageError::Range { size, .. }) => assert!(!empty && size == length, "{range:?}"),
                Err(e) => panic!("{range:?}: {e}"),
            }
        }
    }
}

pub(super) async fn a_missing_object_is_not_found(fixture: Fixture) {
    let key = cran(Sha256([9; 32]));
    assert_eq!(fixture.storage.size(&key).await.unwrap(), None);
    for range in [None, Some(0..10), Some(3..3)] {
        let error = fixture.storage.get(&key, range).await.err().unwrap();
        assert!(matches!(&error, StorageError::NotFound(name) if name.contains("cran/09/0909")), "{error:?}");
    }
}

pub(super) async fn an_empty_object_exists(fixture: Fixture) {
    let (_, digest) = bytes(0, 0);
    fixture.commit(&cran(digest), b"").await.unwrap();
    fixture.storage.put(&Key::Index(digest), bytes::Bytes::new()).await.unwrap();
    for key in [cran(digest), Key::Index(digest)] {
        assert_eq!(fixture.storage.size(&key).await.unwrap(), Some(0));
        assert_eq!(fixture.read(&key).await.unwrap(), b"");
        assert_eq!(read(fixture.storage.get(&key, Some(0..0)).await.unwrap()).await.unwrap(), b"");
    }
}

pub(super) async fn a_large_object_is_stored_in_parts(fixture: Fixture) {
    let (content, digest) = bytes(20_000_003, 4);
    fixture.commit(&cran(digest), &content).await.unwrap();
    assert!(fixture.read(&cran(digest)).await.unwrap() == content);
    let part = fixture.storage.get(&cran(digest), Some(4_999_990..15_000_010)).await.unwrap();
    assert!(read(part).await.unwrap() == content[4_999_990..15_000_010]);
}

pub(super) async fn an_existing_object_is_not_replaced(fixture: Fixture) {
    let key = cran(Sha256([5; 32]));
    fixture.storage.put(&key, "first".into()).await.unwrap();
    fixture.storage.put(&key, "other".into()).await.unwrap();
    fixture.commit(&key, b"third").await.unwrap();
    assert_eq!(fixture.read(&key).await.unwrap(), b"first");
    assert_eq!(fixture.spool_count(), 0);
}

pub(super) async fn an_object_of_another_size_is_replaced(fixture: Fixture) {
    let key = cran(Sha256([6; 32]));
    fixture.storage.put(&key, "cut sh".into()).await.unwrap();
    assert_eq!(fixture.read(&key).await.unwrap(), b"cut sh");
    fixture.storage.put(&key, "cut short".into()).await.unwrap();
    assert_eq!(fixture.read(&key).await.unwrap(), b"cut short");
}

pub(super) async fn a_damaged_object_of_the_same_size_is_replaced_on_request(fixture: Fixture) {
    for length in [9, 9_000_000] {
        let (content, digest) = bytes(length, 12);
        let (other, _) = bytes(length, 13);
        let key = cran(digest);
        fixture.commit(&key, &other).await.unwrap();
        assert!(fixture.read(&key).await.unwrap() == other, "the damaged object");
        let mut spool = fixture.storage.spool(key.class()).await.unwrap();
        spool.write_all(&content).unwrap();
        fixture.storage.replace(spool, &key).await.unwrap();
        assert!(fixture.read(&key).await.unwrap() == content, "{length}");
        assert_eq!(fixture.spool_count(), 0);
    }
}

pub(super) async fn a_deleted_object_may_be_deleted_again(fixture: Fixture) {
    let key = cran(Sha256([7; 32]));
    fixture.storage.put(&key, "x".into()).await.unwrap();
    fixture.storage.delete(&key).await.unwrap();
    fixture.storage.delete(&key).await.unwrap();
    assert_eq!(fixture.storage.size(&key).await.unwrap(), None);
}

pub(super) async fn concurrent_writers_of_one_key_succeed(fixture: Fixture) {
    let (content, digest) = bytes(200_000, 8);
    let tasks: Vec<_> = (0..12)
        .map(|i| {
            let (storage, content) = (fixture.storage.clone(), content.clone());
            tokio::spawn(async move {
                let key = cran(digest);
                if i % 2 == 0 {
                    return storage.put(&key, content.into()).await;
                }
                let mut spool = storage.spool(StorageClass::Cran).await?;
                spool.write_all(&content).unwrap();
                storage.commit(spool, &key).await
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(fixture.read(&cran(digest)).await.unwrap(), content);
    assert_eq!((fixture.keys(StorageClass::Cran, 10).await.len(), fixture.spool_count()), (1, 0));
}

pub(super) async fn a_dropped_spool_leaves_no_file(fixture: Fixture) {
    let mut spool = fixture.storage.spool(StorageClass::Cran).await.unwrap();
    spool.write_all(b"half").unwrap();
    assert_eq!(fixture.spool_count(), 1);
    drop(spool);
    assert_eq!((fixture.spool_count(), fixture.keys(StorageClass::Cran, 10).await.len()), (0, 0));
}

pub(super) async fn an_unfinished_spool_can_be_read(fixture: Fixture) {
    let (content, digest) = bytes(100_000, 9);
    let mut spool = fixture.storage.spool(StorageClass::Cran).await.unwrap();
    let mut reader = std::fs::File::open(spool.path()).unwrap();
    let mut read_back = Vec::new();
    for piece in content.chunks(33_000) {
        spool.write_all(piece).unwrap();
        std::io::Read::read_to_end(&mut reader, &mut read_back).unwrap();
        assert_eq!(read_back.len() as u64, spool.size());
    }
    fixture.storage.commit(spool, &cran(digest)).await.unwrap();
    std::io::Seek::rewind(&mut reader).unwrap();
    read_back.clear();
    std::io::Read::read_to_end(&mut reader, &mut read_back).unwrap();
    assert_eq!(read_back, content, "an open spool is readable after its commit too");
}

pub(super) async fn a_spool_of_another_class_is_refused(fixture: Fixture) {
    let spool = fixture.storage.spool(StorageClass::Packages).await.unwrap();
    let refusal = fixture.storage.commit(spool, &cran(Sha256([1; 32]))).await.unwrap_err();
    assert!(refusal.to_string().contains("'packages'"), "{refusal}");
}

pub(super) async fn abandoned_spools_are_removed_and_open_ones_stay(fixture: Fixture) {
    let open = fixture.storage.spool(StorageClass::Cran).await.unwrap();
    let abandoned = fixture.spools.join("spool-00000000deadbeef-XyZ");
    std::fs::write(&abandoned, "half").unwrap();
    drop(Storage::open(&fixture.config).await.unwrap());
    assert!(!abandoned.exists() && open.path().exists());
    std::fs::write(&abandoned, "half").unwrap();
    assert_eq!(fixture.storage.remove_abandoned_spools().await.unwrap(), 1);
    assert_eq!(fixture.storage.remove_abandoned_spools().await.unwrap(), 0);
}

pub(super) async fn a_listing_is_complete_in_pages(fixture: Fixture) {
    let mut stored = BTreeSet::new();
    for seed in 0..23 {
        let (content, mut digest) = bytes(10 + seed as usize, seed);
        // Several in one fan-out directory, and others in the first and the last one.
        digest.0[0] = [0x00, 0x3f, 0x3f, 0xff][seed as usize % 4];
        fixture.storage.put(&cran(digest), content.into()).await.unwrap();
        stored.insert(cran(digest));
    }
    let sorted: Vec<Key> = stored.into_iter().collect();
    for page in [1, 5, 23, 1000] {
        assert_eq!(fixture.keys(StorageClass::Cran, page).await, sorted, "pages of {page}");
    }
    let first = &fixture.storage.list(StorageClass::Cran, None, 1).await.unwrap()[0];
    assert_eq!(fixture.storage.size(&first.key).await.unwrap(), Some(first.size));
    assert!(first.modified.elapsed().unwrap_or_default().as_secs() < 3600, "{first:?}");
}

pub(super) async fn classes_are_listed_separately(fixture: Fixture) {
    let digest = Sha256([0x77; 32]);
    let keys = [
        cran(digest),
        Key::Package(StorageClass::Packages, digest),
        Key::Readme(digest),
        Key::Package(StorageClass::Persistent, digest),
        Key::Index(digest),
        Key::Usage(digest),
    ];
    for (key, content) in keys.iter().zip(["a", "b", "c", "d", "e", "f"]) {
        fixture.storage.put(key, content.into()).await.unwrap();
    }
    for page in [1, 2, 10] {
        assert_eq!(fixture.keys(StorageClass::Cran, page).await, keys[..1]);
        assert_eq!(fixture.keys(StorageClass::Packages, page).await, keys[1..3]);
        assert_eq!(fixture.keys(StorageClass::Persistent, page).await, keys[3..5]);
        assert_eq!(fixture.keys(StorageClass::Metrics, page).await, keys[5..]);
        assert_eq!(fixture.keys(StorageClass::Binaries, page).await, []);
    }
    assert_eq!(fixture.read(&keys[1]).await.unwrap(), b"b", "kinds with one digest are different objects");
}

pub(super) async fn a_probe_leaves_no_objects(fixture: Fixture) {
    let probed = Storage::probe(&fixture.config, |_| true).await;
    let classes: Vec<StorageClass> = probed.iter().map(|(class, _)| *class).collect();
    assert_eq!(classes, StorageClass::ALL);
    assert!(probed.iter().all(|(_, result)| result.is_ok()), "{probed:?}");
    assert_eq!(fixture.keys(StorageClass::Cran, 10).await, []);
    assert_eq!(fixture.spool_count(), 0);
}

pub(super) async fn a_deletion_removes_the_object_from_the_memory_cache(fixture: Fixture) {
    let (content, digest) = bytes(100, 10);
    fixture.storage.put(&cran(digest), content.clone().into()).await.unwrap();
    assert_eq!(fixture.read(&cran(digest)).await.unwrap(), content);
    fixture.storage.delete(&cran(digest)).await.unwrap();
    assert!(matches!(fixture.read(&cran(digest)).await, Err(StorageError::NotFound(_))));
}
