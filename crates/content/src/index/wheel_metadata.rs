//! METADATA of wheels for which the index declares none: it is read from wheels in storage, and pages declare
//! it from the next state of the index on.

use std::fs::File;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::IndexReads;
use base::model::digest::Sha256;
use base::model::ids::SourceId;
use base::model::kind::StorageClass;
use formats::python::archive::{PackageError, WHEEL_LIMITS, wheel};
use formats::python::facts::FileFacts;
use runtime::state::State;
use store::db::attached_file::{self, StoredWheel};
use store::db::blob::{self, Blob};
use store::db::index_file::{self, FileRowChange, IndexTarget};
use store::db::{Conn, DbError, project, tree};
use store::storage::{Key, OpenObject, StorageError};

/// Maximum duration of one call. The next call continues with the remaining wheels.
const MAX_DURATION: Duration = Duration::from_secs(60);
const BATCH_SIZE: i64 = 100;

#[derive(Debug, thiserror::Error)]
pub enum WheelError {
    /// The wheel has no METADATA that can be used.
    #[error(transparent)]
    Package(#[from] PackageError),
    #[error("its SHA-256 in storage is {0}")]
    OtherDigest(Sha256),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Db(#[from] DbError),
    #[error("the server is stopping")]
    Stopping,
}

/// Reads METADATA of stored wheels for which the index declares none, and stores it; skips and logs
/// unreadable ones. Returns the number of wheels.
pub async fn add_to_pages(reads: &IndexReads, is_halted: impl Fn() -> bool) -> Result<usize, DbError> {
    let (source, started_at) = (reads.source, Instant::now());
    let (mut last_digest, mut count) = (None, 0);
    if !reads.language.reads_metadata_of_files() {
        return Ok(count);
    }
    loop {
        let after = last_digest;
        let find = move |c: &mut dyn Conn| attached_file::without_metadata(c, source, after, BATCH_SIZE);
        let page = reads.state.db.read(find).await?;
        let Some(last) = page.last() else { return Ok(count) };
        last_digest = Some(last.sha256);
        for wheel in page {
            if started_at.elapsed() >= MAX_DURATION || is_halted() {
                return Ok(count);
            }
            if let Some(sha256) = reads.language.unrecorded_metadata(&wheel.facts) {
                let record =
                    move |c: &mut dyn Conn| attached_file::record_metadata(c, &[(wheel.file, sha256)]);
                reads.state.db.write(record).await?;
                continue;
            }
            if reads.unreadable_wheels.lock().contains(&wheel.file) {
                continue;
            }
            match add(&reads.state, source, &wheel).await {
                Ok(is_added) => count += usize::from(is_added),
                Err(WheelError::Db(error)) => return Err(error),
                Err(error) => {
                    tracing::info!(target: "sync", file = %wheel.name, %error, "could not read METADATA of a wheel; clients read the wheel");
                    if matches!(error, WheelError::Package(_)) {
                        reads.unreadable_wheels.lock().insert(wheel.file);
                    }
                }
            }
        }
    }
}

/// Returns false if the wheel is not listed any more, or has METADATA.
async fn add(state: &State, source: SourceId, wheel: &StoredWheel) -> Result<bool, WheelError> {
    let metadata = read(state, wheel).await?;
    let (sha256, bytes) = (Sha256::of(&metadata), metadata.len());
    let size = i64::try_from(bytes).unwrap_or(i64::MAX);
    let class = StorageClass::Pypi.as_str().to_owned();
    let row = Blob { sha256, class, size, created_at: (state.clock)() };
    // The row prevents a sweep from removing the object.
    let row = state.db.write(move |c| blob::reserve_in_class(c, &row)).await?;
    let Some(class) = row.and_then(|row| StorageClass::parse(&row.class)) else { return Ok(false) };
    state.storage.put(&Key::Package(class, sha256), Bytes::from(metadata)).await?;
    let wheel = wheel.clone();
    Ok(state.db.write(move |c| declare(c, source, &wheel, sha256, size)).await?)
}

/// Reads METADATA of a stored wheel from a temporary copy, whose digest is compared first.
pub async fn read(state: &State, wheel: &StoredWheel) -> Result<Vec<u8>, WheelError> {
    let Some(class) = StorageClass::parse(&wheel.class) else {
        return Err(StorageError::NotFound(wheel.name.clone()).into());
    };
    let OpenObject { content, .. } = state.storage.get(&Key::Package(class, wheel.sha256), None).await?;
    let mut spool = state.storage.spool(class).await?;
    let path = spool.path().to_owned();
    let append =
        |piece: &Bytes| spool.write_all(piece).map_err(|error| StorageError::io("write", &path, error));
    let digest = content.digest(append).await?.sha256;
    if digest != wheel.sha256 {
        return Err(WheelError::OtherDigest(digest));
    }
    let name = wheel.name.clone();
    let work = move || -> Result<_, WheelError> {
        let file = File::open(spool.path()).map_err(|error| StorageError::io("read", spool.path(), error));
        Ok(wheel::read_metadata(&mut file?, &name, WHEEL_LIMITS)?)
    };
    let metadata = tokio::task::spawn_blocking(work).await;
    metadata.unwrap_or(Err(WheelError::Stopping)).map(|(_, bytes)| bytes)
}

/// Writes the row of stored METADATA, and a life of the wheel with its digest, after every instant with a
/// final response. Returns false as [`add`].
fn declare(
    c: &mut dyn Conn,
    source: SourceId,
    wheel: &StoredWheel,
    sha256: Sha256,
    size: i64,
) -> Result<bool, DbError> {
    project::lock(c, source, &wheel.project)?;
    let Some(known) = project::known(c, source, &wheel.project)? else { return Ok(false) };
    let (Some(package), Some(valid_at)) = (known.package, known.valid_at()) else { return Ok(false) };
    if blob::get(c, sha256)?.is_none() {
        // An eviction of a file with the same bytes has removed the object.
        return Ok(false);
    }
    let target = IndexTarget { source, tree: tree::built_in(c, source)?.id, package };
    let file = index_file::of_project(c, target)?.into_iter().find(|file| file.file == wheel.file);
    let Some(file) = file.filter(|file| file.metadata.is_none()) else { return Ok(false) };
    let Some(life) = file.life else { return Ok(false) };
    let (release, id, variant) = (file.release, file.file, file.last_variant + 1);
    // Later than `valid_at`, so that the serial of the project increases.
    let at = valid_at.max(life.from) + 1;
    let facts = FileFacts::read(&file.facts).with_metadata_of_wheel(sha256).write();
    let (revision, name) = (file.revision, file.name);
    let changes = vec![
        FileRowChange::StoredMetadata { release, revision, name, sha256, size },
        FileRowChange::Facts { file: id, variant, facts },
        FileRowChange::End { release, file: id, from: life.from, at },
        FileRowChange::Begin { release, file: id, variant, from: at, yanked: life.yanked },
    ];
    index_file::apply(c, target, changes)?;
    Ok(true)
}
