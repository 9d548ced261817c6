//! Completes a fetch: verifies the file, releases its end and stores it: first the blob, then the row.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek};

use super::integrity::IntegrityCheck;
use super::spool::CompleteFile;
use super::task::{FetchTask, blocking};
use super::verify::{ExpectedFile, PackageForm};
use super::{Delivery, FetchError, Fetches};
use base::model::digest::Sha256;
use base::model::ids::FileId;
use base::model::kind::StorageClass;
use store::db;
use store::db::blob::Blob;
use store::db::file::{FetchedFacts, FileState};
use store::storage::{Key, StorageError};

/// Maximum size of a binary that is checked in memory when it cannot be stored, in bytes.
const MAX_BYTES_IN_MEMORY: u64 = 64 << 20;

/// Returns true, after notifying the readers, if the file was stored between the lookup and the start of this fetch.
pub(super) async fn complete_from_storage(task: &FetchTask) -> bool {
    if task.request.is_unusable {
        return false;
    }
    let file = task.request.file;
    // A database error is reported when the row is written.
    let stored = task.fetches.state.db.read(move |c| db::file::stored_blob(c, file)).await.ok().flatten();
    let key = stored.and_then(|(class, digest)| Some(Key::Package(StorageClass::parse(&class)?, digest)));
    key.inspect(|key| task.complete(Delivery::Stored(*key))).is_some()
}

fn stored_facts(file: FileId, sha256: Sha256, size: u64) -> FetchedFacts {
    let size = i64::try_from(size).unwrap_or(i64::MAX);
    FetchedFacts { file, sha256: Some(sha256), size: Some(size), state: FileState::Stored, built: None }
}

fn blob_of(fetches: &Fetches, key: &Key, size: u64) -> Blob {
    Blob {
        sha256: *key.digest(),
        class: key.class().as_str().to_owned(),
        size: i64::try_from(size).unwrap_or(i64::MAX),
        created_at: (fetches.state.clock)(),
    }
}

pub(super) async fn store(task: &FetchTask, complete_file: CompleteFile) -> Result<(), FetchError> {
    let CompleteFile { received_file, spool, file, spooled_bytes } = complete_file;
    let mut built = None;
    if !task.request.expected.check_digests(&received_file)? {
        let (expected, overflow) = (task.request.expected.clone(), task.fetch.overflow.reader());
        let (size, not_stored) = (received_file.size, spool.as_ref().err().cloned());
        let check = blocking(move || match expected.form.clone() {
            PackageForm::Source => {
                let reader = whole_file(&expected, file.as_deref(), spooled_bytes, overflow)?;
                expected.check_archive(reader).map(|()| None)
            }
            PackageForm::Binary(platform) => match file.as_deref().filter(|_| spooled_bytes == size) {
                Some(file) => expected.check_binary(&platform, || buffered_reader(file)).map(Some),
                None => {
                    // The binary is not stored. Its part in memory is bounded, and so is this copy.
                    let mut bytes = Vec::new();
                    let reader = whole_file(&expected, file.as_deref(), spooled_bytes, overflow)?;
                    let result = reader.take(MAX_BYTES_IN_MEMORY + 1).read_to_end(&mut bytes);
                    result.map_err(|e| spool_error(&expected, &e))?;
                    if bytes.len() as u64 > MAX_BYTES_IN_MEMORY {
                        let reason = not_stored.map(|reason| format!(": {reason}")).unwrap_or_default();
                        return Err(FetchError::Storage(format!(
                            "{} cannot be stored and is too large to be checked in memory{reason}",
                            expected.name
                        )));
                    }
                    expected.check_binary(&platform, || Ok(Cursor::new(bytes.as_slice()))).map(Some)
                }
            },
        });
        built = check.await?.map(|built| built.to_string());
    }
    task.progress.send_modify(|p| {
        p.is_verified = true;
        p.size = Some(received_file.size);
    });
    let Ok(spool) = spool else {
        task.complete(Delivery::SentOnly);
        return Ok(());
    };
    let fetches = &task.fetches;
    let digest = received_file.sha256;
    let _guard = fetches.blob_lock.read().await;
    let class = match fetches.state.db.read(move |c| db::blob::get(c, digest)).await {
        // There is one blob for each digest. The class of an existing blob does not change.
        Ok(blob) => blob.and_then(|blob| StorageClass::parse(&blob.class)),
        Err(error) => {
            log_sent_only(task, &error);
            task.complete(Delivery::SentOnly);
            return Ok(());
        }
    };
    let key = Key::Package(class.unwrap_or(task.request.class), digest);
    let exists = class.is_some()
        && matches!(fetches.state.storage.size(&key).await, Ok(Some(size)) if size == received_file.size);
    let result = match (task.request.is_unusable, exists) {
        // The existing object has the right size but is damaged.
        (true, true) => fetches.state.storage.replace(spool, &key).await,
        (false, true) => Ok(()),
        (_, false) => fetches.state.storage.commit(spool, &key).await,
    };
    if let Err(error) = result {
        match error {
            StorageError::Full(_) => task.fetch.overflow_budget.log_disk_full(&error.to_string()),
            error => log_sent_only(task, &error),
        }
        task.complete(Delivery::SentOnly);
        return Ok(());
    }
    task.fetch.overflow_budget.log_disk_space();
    if exists && !task.request.is_unusable {
        fetches.integrity.remove(&key);
    } else {
        // The bytes were verified while they were fetched.
        fetches.integrity.insert(key, IntegrityCheck::Intact);
    }
    task.complete(Delivery::Stored(key));
    let facts = FetchedFacts { built, ..stored_facts(task.request.file, digest, received_file.size) };
    // Until the row is written, new clients find the fetch and through it the blob.
    fetches.updates.record_stored(facts, blob_of(fetches, &key, received_file.size)).await;
    Ok(())
}

fn buffered_reader(mut file: &File) -> io::Result<BufReader<&File>> {
    file.rewind()?;
    Ok(BufReader::with_capacity(256 << 10, file))
}

fn whole_file<'a>(
    expected: &ExpectedFile,
    spool: Option<&'a File>,
    spooled_bytes: u64,
    overflow: impl Read + 'a,
) -> Result<Box<dyn Read + 'a>, FetchError> {
    let Some(file) = spool else { return Ok(Box::new(overflow)) };
    let file = buffered_reader(file).map_err(|e| spool_error(expected, &e))?;
    Ok(Box::new(file.take(spooled_bytes).chain(overflow)))
}

fn spool_error(expected: &ExpectedFile, error: &io::Error) -> FetchError {
    FetchError::Storage(format!("could not read the spool of {} again: {error}", expected.name))
}

fn log_sent_only(task: &FetchTask, error: &dyn std::error::Error) {
    let file = &task.request.expected.name;
    tracing::error!(%file, %error, "could not store a fetched package; it was only sent to clients");
}
