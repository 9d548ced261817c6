//! The folder of backups, in a directory or a bucket: its layout, access to its files, and the wait for its lock.
//!
//! `manifests/<time>.json` is a backup, `db/<digest>.dump` its rows, `db/<digest>.objects` the list of its files,
//! `blobs/<two digits>/<two digits>/<digest>` a file, and `config/<digest>.gcfg` the configuration file.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::Digest;
use tokio::runtime::Handle;

use super::bucket::{BucketFolder, BucketLock};
use super::destination;
use super::directory::{Directory, DirectoryLock};
use super::error::BackupError;
use super::new_files::{NewFiles, UnfinishedFile};
use base::config::{BackupPlace, Config};
use base::model::digest::Sha256;

const MANIFESTS: &str = "manifests";
pub(super) const DATABASES: &str = "db";
pub(super) const BLOBS: &str = "blobs";
pub(super) const CONFIGURATIONS: &str = "config";
/// Maximum size of a manifest, in bytes.
const MAX_MANIFEST_SIZE: u64 = 16 << 20;

/// A folder of backups. Paths of its files are relative, with `/` between names.
pub enum Folder {
    Directory(Directory),
    /// A bucket, or the part of it below a prefix.
    Bucket(BucketFolder),
}

pub enum FolderLock {
    Directory(DirectoryLock),
    /// The lock of a bucket; `None` for a reader without write access.
    Bucket(Option<BucketLock>),
}

impl FolderLock {
    /// Checks that the lock has been valid since it was taken. Fails if the bucket did not answer for minutes.
    pub(super) fn check(&self) -> Result<(), BackupError> {
        match self {
            FolderLock::Bucket(Some(lock)) => lock.check(),
            FolderLock::Bucket(None) | FolderLock::Directory(_) => Ok(()),
        }
    }
}

pub(super) fn dump_path(sha256: Sha256) -> String {
    format!("{DATABASES}/{sha256}.dump")
}

pub(super) fn list_path(sha256: Sha256) -> String {
    format!("{DATABASES}/{sha256}.objects")
}

pub(super) fn blob_path(sha256: &Sha256) -> String {
    let [first, second, ..] = sha256.0;
    format!("{BLOBS}/{first:02x}/{second:02x}/{sha256}")
}

pub(super) fn configuration_path(sha256: Sha256) -> String {
    format!("{CONFIGURATIONS}/{sha256}.gcfg")
}

pub(super) fn manifest_path(name: &str) -> String {
    format!("{MANIFESTS}/{name}")
}

/// Returns whether a name is that of a manifest: `20261122T063809.482036Z.json`.
fn is_manifest_name(name: &str) -> bool {
    const FORM: &[u8] = b"00000000T000000.000000Z.json";
    name.len() == FORM.len()
        && name.bytes().zip(FORM).all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            form => byte == *form,
        })
}

/// Returns whether a path has the form of a dump, a list, a blob or a configuration file. Only such files are pruned.
pub(super) fn is_part_path(path: &str) -> bool {
    let digest = |name: &str| name.parse::<Sha256>().ok();
    let name = path.rsplit('/').next().unwrap_or_default();
    let (stem, _) = name.split_once('.').unwrap_or((name, ""));
    digest(stem).is_some_and(|sha256| {
        [dump_path(sha256), list_path(sha256), blob_path(&sha256), configuration_path(sha256)]
            .iter()
            .any(|part| part == path)
    })
}

impl Folder {
    /// Opens a folder to write backups, creating it if missing. Blocks; must not be called on an async thread.
    pub fn create(
        place: &BackupPlace,
        config: &Config,
        runtime: &Handle,
    ) -> Result<(Folder, FolderLock), BackupError> {
        if let BackupPlace::Directory(root) = place {
            Directory::create(root, &[MANIFESTS, DATABASES, BLOBS, CONFIGURATIONS])?;
        }
        let folder = Folder::open(place, config, runtime)?;
        let lock = match &folder {
            Folder::Directory(directory) => directory.lock_to_add().map(FolderLock::Directory)?,
            Folder::Bucket(bucket) => FolderLock::Bucket(Some(BucketLock::to_add(bucket)?)),
        };
        if let Folder::Directory(directory) = &folder {
            directory.remove_unfinished()?;
        }
        Ok((folder, lock))
    }

    /// Opens a folder with backups. Blocks, like the other methods: not for an async thread of `runtime`.
    pub fn open(place: &BackupPlace, config: &Config, runtime: &Handle) -> Result<Folder, BackupError> {
        match place {
            BackupPlace::Directory(root) => Directory::open(root).map(Folder::Directory),
            BackupPlace::Bucket { bucket, prefix } => {
                BucketFolder::open(bucket, prefix, config, runtime.clone()).map(Folder::Bucket)
            }
        }
    }

    /// Opens a folder for other files than backups, creating it if missing. Fails if it overlaps with the server's data.
    pub fn create_plain(
        place: &BackupPlace,
        config: &Config,
        runtime: &Handle,
    ) -> Result<Folder, BackupError> {
        destination::refuse_data(config, place)?;
        if let BackupPlace::Directory(root) = place {
            Directory::create(root, &[])?;
            Directory::open(root)?.remove_unfinished()?;
        }
        Folder::open(place, config, runtime)
    }

    /// Writes files with these contents, durably. Existing ones are replaced.
    pub fn write_all(
        &self,
        files: impl IntoIterator<Item = Result<(String, Vec<u8>), BackupError>>,
    ) -> Result<(), BackupError> {
        let mut new_files = NewFiles::default();
        for file in files {
            let (path, bytes) = file?;
            let mut unfinished = self.create_unfinished()?;
            unfinished.write_all(&bytes).map_err(BackupError::io("write", &self.location(&path)))?;
            new_files.add(unfinished, path, bytes.len() as u64)?;
        }
        new_files.finish()
    }

    /// Reads a small file whole; `None` if there is none.
    pub fn read(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, BackupError> {
        if self.size(path)?.is_none() {
            return Ok(None);
        }
        let (file, size) = self.open_file(path)?;
        if size > limit {
            return Err(self.damaged(path, format!("has {size} bytes, more than {limit}")));
        }
        let mut bytes = Vec::new();
        let place = self.location(path);
        file.take(limit).read_to_end(&mut bytes).map_err(BackupError::io("read", &place))?;
        Ok(Some(bytes))
    }

    /// Returns the location of a file, or of the folder for an empty path, for messages.
    pub fn location(&self, path: &str) -> PathBuf {
        match self {
            Folder::Directory(directory) if path.is_empty() => directory.root().to_owned(),
            Folder::Directory(directory) => directory.root().join(path),
            Folder::Bucket(bucket) => bucket.address(path).into(),
        }
    }

    /// Returns the error for a file whose content differs from what the backup wrote.
    pub(super) fn damaged(&self, path: &str, reason: impl Into<String>) -> BackupError {
        BackupError::damaged(&self.location(path), reason)
    }

    /// Takes the lock that excludes all other programs, to remove files.
    pub fn lock(&self) -> Result<FolderLock, BackupError> {
        match self {
            Folder::Directory(directory) => directory.lock().map(FolderLock::Directory),
            Folder::Bucket(bucket) => {
                BucketLock::exclusive(bucket).map(|lock| FolderLock::Bucket(Some(lock)))
            }
        }
    }

    /// Takes the lock of readers; it excludes programs that remove files. No effect on a folder that is read-only.
    pub fn lock_shared(&self) -> Result<FolderLock, BackupError> {
        match self {
            Folder::Directory(directory) => directory.lock_shared().map(FolderLock::Directory),
            Folder::Bucket(bucket) => BucketLock::shared(bucket).map(FolderLock::Bucket),
        }
    }

    /// Returns the names of the manifests, the oldest first.
    pub fn manifests(&self) -> Result<Vec<String>, BackupError> {
        let prefix = format!("{MANIFESTS}/");
        let files = self.list(MANIFESTS)?.into_iter();
        let names = files.filter_map(|(path, _)| path.strip_prefix(&prefix).map(str::to_owned));
        let (mut names, other): (Vec<String>, Vec<String>) = names.partition(|name| is_manifest_name(name));
        for name in other {
            tracing::warn!(
                "{}: ignored, because its name is not that of a manifest",
                self.location(&manifest_path(&name)).display()
            );
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Lists all files below a directory with their sizes. Links are not followed.
    pub(super) fn list(&self, path: &str) -> Result<Vec<(String, u64)>, BackupError> {
        match self {
            Folder::Directory(directory) => directory.list(path),
            Folder::Bucket(bucket) => {
                let files = bucket.list(path)?.into_iter();
                Ok(files.map(|file| (file.path, file.size)).collect())
            }
        }
    }

    pub(super) fn create_unfinished(&self) -> Result<UnfinishedFile<'_>, BackupError> {
        Ok(match self {
            Folder::Directory(folder) => UnfinishedFile::Directory(folder, folder.create_unfinished()?),
            Folder::Bucket(folder) => UnfinishedFile::Bucket(folder, folder.temporary_file()?),
        })
    }

    /// Writes a file with this content. An existing file is replaced only if `replaces` is set.
    pub(super) fn write(&self, bytes: &[u8], path: &str, replaces: bool) -> Result<(), BackupError> {
        let mut file = self.create_unfinished()?;
        file.write_all(bytes).map_err(BackupError::io("write", &self.location(path)))?;
        file.install(path, replaces)
    }

    pub(super) fn size(&self, path: &str) -> Result<Option<u64>, BackupError> {
        match self {
            Folder::Directory(directory) => directory.checked_size(&directory.root().join(path)),
            Folder::Bucket(bucket) => bucket.size(path),
        }
    }

    pub(super) fn blob_sizes(&self) -> Result<BlobSizes<'_>, BackupError> {
        match self {
            Folder::Directory(_) => Ok(BlobSizes::OnDemand(self)),
            // One request lists a thousand blobs; otherwise each blob would need a request.
            Folder::Bucket(_) => Ok(BlobSizes::Listing(self.list(BLOBS)?.into_iter().collect())),
        }
    }

    pub(super) fn open_file(&self, path: &str) -> Result<(Box<dyn Read + Send>, u64), BackupError> {
        match self {
            Folder::Directory(directory) => {
                let (file, size) = directory.open_file(&directory.root().join(path))?;
                Ok((Box::new(file), size))
            }
            Folder::Bucket(bucket) => bucket.open_file(path),
        }
    }

    /// Removes files; a missing file is not an error.
    pub(super) fn remove(&self, paths: &[String]) -> Result<(), BackupError> {
        match self {
            Folder::Directory(directory) => directory.remove(paths),
            Folder::Bucket(bucket) => bucket.remove(paths),
        }
    }

    pub(super) fn read_manifest(&self, name: &str) -> Result<Vec<u8>, BackupError> {
        let path = manifest_path(name);
        self.read(&path, MAX_MANIFEST_SIZE)?.ok_or_else(|| self.damaged(&path, "is missing"))
    }

    /// Reads a file, passes its bytes to `consume`, and checks its size and digest.
    pub(super) fn read_verified(
        &self,
        path: &str,
        part: &Part,
        consume: &mut dyn FnMut(&[u8]) -> Result<(), BackupError>,
    ) -> Result<(), BackupError> {
        let (mut file, size) = self.open_file(path)?;
        if size != part.size {
            return Err(self.damaged(path, format!("has {size} bytes instead of {}", part.size)));
        }
        let (mut hasher, mut buffer) = (sha2::Sha256::new(), vec![0; 256 << 10]);
        let place = self.location(path);
        loop {
            let length = match file.read(&mut buffer) {
                Ok(0) => break,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                read => read.map_err(BackupError::io("read", &place))?,
            };
            hasher.update(&buffer[..length]);
            consume(&buffer[..length])?;
        }
        let sha256 = Sha256(hasher.finalize().into());
        if sha256 != part.sha256 {
            return Err(BackupError::damaged(
                &place,
                format!("has the SHA-256 {sha256} instead of {}", part.sha256),
            ));
        }
        Ok(())
    }
}

impl std::fmt::Display for Folder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Path::new(&self.location("")).display().fmt(f)
    }
}

pub(super) enum BlobSizes<'a> {
    OnDemand(&'a Folder),
    /// All sizes, from one listing.
    Listing(HashMap<String, u64>),
}

impl BlobSizes<'_> {
    pub(super) fn get(&self, path: &str) -> Result<Option<u64>, BackupError> {
        match self {
            BlobSizes::OnDemand(folder) => folder.size(path),
            BlobSizes::Listing(sizes) => Ok(sizes.get(path).copied()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    #[serde(with = "text")]
    pub sha256: Sha256,
    /// The size in bytes.
    pub size: u64,
}

/// The first pause between attempts; also the maximum time until a halt is detected.
const MIN_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause in a bucket, where each attempt writes, lists and removes an object.
const MAX_BUCKET_PAUSE: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug)]
pub struct LockWait {
    timeout: Duration,
    max_pause: Duration,
}

impl LockWait {
    /// Returns the wait for the lock of a folder, of at most `timeout`.
    pub fn of(place: &BackupPlace, timeout: Duration) -> LockWait {
        let max_pause = match place {
            BackupPlace::Directory(_) => MIN_PAUSE,
            BackupPlace::Bucket { .. } => MAX_BUCKET_PAUSE,
        };
        LockWait { timeout, max_pause }
    }

    /// Repeats an attempt while another program uses the folder, until the timeout or until `is_halted`.
    pub fn until<T>(
        &self,
        is_halted: impl Fn() -> bool,
        mut attempt: impl FnMut() -> Result<T, BackupError>,
    ) -> Result<T, BackupError> {
        let (start, mut pause) = (Instant::now(), MIN_PAUSE);
        loop {
            match attempt() {
                Err(BackupError::InUse(_)) if start.elapsed() < self.timeout && !is_halted() => {
                    let end = Instant::now() + pause.min(self.timeout.saturating_sub(start.elapsed()));
                    while Instant::now() < end && !is_halted() {
                        std::thread::sleep(MIN_PAUSE.min(end - Instant::now()));
                    }
                    pause = self.next_pause(pause);
                }
                result => return result,
            }
        }
    }

    /// Returns a longer pause, of random length: two programs with equal pauses would find each other's lock each time.
    fn next_pause(&self, pause: Duration) -> Duration {
        pause.mul_f64(rand::random_range(1.3..1.9)).min(self.max_pause.mul_f64(rand::random_range(0.7..=1.0)))
    }
}

/// Values that serde writes as text.
pub(super) mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(in crate::backup) fn serialize<T: Display, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(in crate::backup) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr,
        T::Err: Display,
        D: Deserializer<'de>,
    {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_have_times_as_names() {
        assert!(is_manifest_name("20261122T063809.482036Z.json"));
        for name in ["zzz.json", "20261122T063809.482036Z.json~", "2026112xT063809.482036Z.json", ""] {
            assert!(!is_manifest_name(name), "{name}");
        }
    }

    #[test]
    fn only_names_of_the_layout_are_parts() {
        let sha256 = Sha256([0xab; 32]);
        for path in [dump_path(sha256), list_path(sha256), blob_path(&sha256), configuration_path(sha256)] {
            assert!(is_part_path(&path), "{path}");
        }
        for path in [
            "db/rstudio-pm.db",
            "db/usage.db-wal",
            "",
            "blobs",
            &format!("blobs/00/ab/{sha256}"),
            &format!("db/{sha256}"),
        ] {
            assert!(!is_part_path(path), "{path}");
        }
    }

    fn wait(place: &str) -> LockWait {
        LockWait::of(&place.parse().unwrap(), Duration::from_secs(60))
    }

    #[test]
    fn pauses_grow_in_a_bucket_and_stay_short_in_a_directory() {
        let pauses = |wait: LockWait| {
            std::iter::successors(Some(MIN_PAUSE), |pause| Some(wait.next_pause(*pause))).take(40).last()
        };
        assert!(pauses(wait("/srv/backups")) <= Some(MIN_PAUSE));
        let bucket = pauses(wait("s3://bucket/prefix")).unwrap();
        assert!((MAX_BUCKET_PAUSE.mul_f64(0.7)..=MAX_BUCKET_PAUSE).contains(&bucket), "{bucket:?}");
    }

    #[test]
    fn only_a_folder_in_use_is_waited_for_and_only_while_nothing_halts() {
        let in_use = || BackupError::InUse("in use".to_owned());
        let mut attempts = 0;
        let result = wait("/srv/backups").until(
            || false,
            || {
                attempts += 1;
                if attempts < 3 { Err(in_use()) } else { Ok(attempts) }
            },
        );
        assert_eq!(result.unwrap(), 3);
        let halted: Result<(), _> = wait("/srv/backups").until(|| true, || Err(in_use()));
        assert!(matches!(halted, Err(BackupError::InUse(_))));
        let mut attempts = 0;
        let refused: Result<(), _> = wait("s3://bucket/prefix").until(
            || false,
            || {
                attempts += 1;
                Err(BackupError::Refused("no".to_owned()))
            },
        );
        assert!(matches!(refused, Err(BackupError::Refused(_))) && attempts == 1);
    }
}
