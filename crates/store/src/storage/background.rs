//! Computes the digests of stored objects from their location, not from the memory cache, on a thread with
//! the lowest priority and at a limited rate.
//!
//! Linux derives the I/O priority of the thread from its CPU priority. While requests of clients arrive, the thread reads a
//! tenth of the time, in small pieces ([`super::demand`]), because priorities do not affect the caches of a processor and the
//! queue of a disk. Pages that were not in the page cache before are dropped from it again, so that they displace none of
//! requested files.

use std::fs::File;
use std::io::{self, IoSliceMut, Read};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use nix::errno::Errno;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use rustix::io::{ReadWriteFlags, preadv2};
use sha2::Digest;
use tokio::sync::oneshot;

use super::disk::Disk;
use super::pace::{Demand, DutyCycle, Pace};
use super::s3::S3;
use super::{Backend, BackendObject, Content, Key, ObjectDigest, Storage, StorageError};
use base::metrics;
use base::model::digest::Sha256;

/// Size of the read buffer, in bytes.
const BUFFER_SIZE: usize = 256 << 10;
/// Number of bytes after which the pages of a file are dropped from the page cache.
const DROP_INTERVAL: u64 = 8 << 20;
const LOWEST_PRIORITY: i32 = 19;
/// Number of objects of a bucket that are read at the same time.
const PARALLEL_READS: usize = 4;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectRead {
    Digest(ObjectDigest),
    Missing,
    /// The disk cannot read the object, or this server lacks the permission; with the reason.
    Unreadable(String),
}

type Job = Box<dyn FnOnce(&mut [u8], &mut DutyCycle) + Send>;

/// A thread with the lowest priority, and the rate of its reads.
pub struct BackgroundReader {
    jobs: std::sync::mpsc::Sender<Job>,
    pace: Arc<Pace>,
}

impl BackgroundReader {
    /// Starts the thread, which ends when the reader is dropped and yields to clients. `rate` is in bytes per second.
    pub fn start(rate: u64) -> io::Result<BackgroundReader> {
        BackgroundReader::with(rate, DutyCycle::default())
    }

    /// Starts a thread that does not yield to requests, for an object that a request waits for.
    pub fn start_unlimited() -> io::Result<BackgroundReader> {
        BackgroundReader::with(u64::MAX, DutyCycle::unlimited())
    }

    fn with(rate: u64, mut duty_cycle: DutyCycle) -> io::Result<BackgroundReader> {
        let (jobs, receiver) = std::sync::mpsc::channel::<Job>();
        std::thread::Builder::new().name("scrub".to_owned()).spawn(move || {
            // Without the permission, the thread reads with the normal priority.
            if let Err(error) = rustix::process::setpriority_process(None, LOWEST_PRIORITY) {
                tracing::debug!(%error, "could not lower the priority of the thread that reads stored objects");
            }
            let mut buffer = vec![0; BUFFER_SIZE];
            for job in receiver {
                job(&mut buffer, &mut duty_cycle);
            }
        })?;
        Ok(BackgroundReader { jobs, pace: Arc::new(Pace::new(rate)) })
    }

    /// Requests that a running computation ends soon; it then returns fewer results.
    pub fn stop(&self) {
        self.pace.stop();
    }

    /// Runs `work` on the thread; `None` if the thread has ended.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut [u8], &mut DutyCycle, &Pace) -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, result) = oneshot::channel();
        let pace = Arc::clone(&self.pace);
        // Sending fails only if the caller was dropped.
        let job: Job = Box::new(move |buffer, duty_cycle| drop(sender.send(work(buffer, duty_cycle, &pace))));
        self.jobs.send(job).ok()?;
        result.await.ok()
    }
}

impl Storage {
    /// Computes the digests of objects of one class, in order: fewer results than keys after
    /// [`BackgroundReader::stop`].
    ///
    /// # Errors
    /// The location of the class does not answer, or refuses this server.
    pub async fn digests(
        &self,
        keys: &[Key],
        reader: &BackgroundReader,
    ) -> Result<Vec<ObjectRead>, StorageError> {
        let Some(first_key) = keys.first() else { return Ok(Vec::new()) };
        match self.backend(first_key.class()) {
            Backend::Disk(disk) => {
                let (disk, demand, keys) = (Arc::clone(disk), Arc::clone(&self.0.demand), keys.to_vec());
                let read = move |buffer: &mut [u8], duty_cycle: &mut DutyCycle, pace: &Pace| {
                    digest_files(&disk, &keys, buffer, &mut Throttle { pace, demand: &demand, duty_cycle })
                };
                let results = reader.run(read).await;
                let results = results.unwrap_or_else(|| {
                    Err(StorageError::Other("the thread that reads stored objects has ended".to_owned()))
                })?;
                // If the class was unmounted, the comparison reports the class instead of each of its objects.
                if results.contains(&ObjectRead::Missing) && self.is_replaced(first_key.class()).await {
                    self.compare_again().await;
                }
                Ok(results)
            }
            Backend::S3(s3) => {
                let (s3, pace) = (Arc::clone(s3), Arc::clone(&reader.pace));
                let reads = stream::iter(keys.to_vec())
                    .map(move |key| digest_bucket_object(Arc::clone(&s3), key, Arc::clone(&pace)));
                let results: Vec<_> = reads.buffered(PARALLEL_READS).try_collect().await?;
                // The results end at the first object that a stop interrupted.
                Ok(results.into_iter().map_while(|read| read).collect())
            }
        }
    }
}

struct Throttle<'a> {
    pace: &'a Pace,
    demand: &'a Demand,
    duty_cycle: &'a mut DutyCycle,
}

/// Computes the digests of files, in order; fewer results than keys after a stop.
fn digest_files(
    disk: &Disk,
    keys: &[Key],
    buffer: &mut [u8],
    throttle: &mut Throttle<'_>,
) -> Result<Vec<ObjectRead>, StorageError> {
    let mut results = Vec::with_capacity(keys.len());
    for key in keys {
        if throttle.pace.is_stopped() {
            break;
        }
        let result = disk.open_object(key).and_then(|(file, path)| {
            hash_file(&file, buffer, throttle).map_err(|e| StorageError::io("read", &path, e))
        });
        results.push(match result {
            Ok(Some(digest)) => ObjectRead::Digest(digest),
            Ok(None) => break,
            Err(StorageError::NotFound(_)) => ObjectRead::Missing,
            Err(StorageError::Io { source, .. })
                if is_damage(&source) || source.kind() == io::ErrorKind::PermissionDenied =>
            {
                ObjectRead::Unreadable(source.to_string())
            }
            Err(error) => return Err(error),
        });
    }
    Ok(results)
}

/// Returns whether an error of a read means that the disk or the file system has lost the data.
pub fn is_damage(error: &io::Error) -> bool {
    const DAMAGE: [Errno; 4] = [Errno::EIO, Errno::EBADMSG, Errno::EUCLEAN, Errno::ENODATA];
    error.raw_os_error().is_some_and(|code| DAMAGE.contains(&Errno::from_raw(code)))
}

/// Reads a whole file; `None` if the reader was stopped.
fn hash_file(
    mut file: &File,
    buffer: &mut [u8],
    Throttle { pace, demand, duty_cycle }: &mut Throttle<'_>,
) -> io::Result<Option<ObjectDigest>> {
    let size = file.metadata()?.len();
    let was_cached = is_cached(file, size);
    let advise = |start: u64, end: u64, advice| {
        let part = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        // Advice only: a file system may not support it.
        let _ = posix_fadvise(file.as_fd(), part(start), part(end - start), advice);
    };
    if size > BUFFER_SIZE as u64 {
        advise(0, size, PosixFadviseAdvice::POSIX_FADV_SEQUENTIAL);
    }
    let (mut hasher, mut read_bytes, mut dropped_bytes) = (sha2::Sha256::new(), 0, 0);
    loop {
        let start = Instant::now();
        let read_size = duty_cycle.read_size(demand, start, buffer.len());
        let count = match file.read(&mut buffer[..read_size]) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&buffer[..count]);
        read_bytes += count as u64;
        metrics::add_scrubbed_bytes(count as u64);
        if !was_cached && read_bytes - dropped_bytes >= DROP_INTERVAL {
            advise(dropped_bytes, read_bytes, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
            dropped_bytes = read_bytes;
        }
        std::thread::sleep(duty_cycle.pause(demand, Instant::now(), start.elapsed()));
        pace.wait_blocking(count as u64);
        if pace.is_stopped() && read_bytes < size {
            return Ok(None);
        }
    }
    if !was_cached {
        advise(dropped_bytes, read_bytes, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    }
    Ok(Some(ObjectDigest { sha256: Sha256(hasher.finalize().into()), size: read_bytes }))
}

/// Returns whether the page cache has the first, the middle and the last byte, as for popular files.
fn is_cached(file: &File, size: u64) -> bool {
    let has = |offset: u64| {
        let mut byte = [0];
        preadv2(file, &mut [IoSliceMut::new(&mut byte)], offset, ReadWriteFlags::NOWAIT) == Ok(1)
    };
    size > 0 && has(0) && has(size / 2) && has(size - 1)
}

/// Reads an object of a bucket; `None` if the reader was stopped.
async fn digest_bucket_object(
    s3: Arc<S3>,
    key: Key,
    pace: Arc<Pace>,
) -> Result<Option<ObjectRead>, StorageError> {
    if pace.is_stopped() {
        return Ok(None);
    }
    let content = match s3.get(&key, None).await {
        Err(StorageError::NotFound(_)) => return Ok(Some(ObjectRead::Missing)),
        Err(error) => return Err(error),
        Ok(BackendObject::Whole(bytes)) => Content::Memory(bytes),
        Ok(BackendObject::Part(blob)) => blob.content,
    };
    let (piece_pace, stop_pace) = (Arc::clone(&pace), Arc::clone(&pace));
    let pieces = content.into_stream().and_then(move |piece| {
        let pace = Arc::clone(&piece_pace);
        async move {
            metrics::add_scrubbed_bytes(piece.len() as u64);
            pace.wait(piece.len() as u64).await;
            Ok(piece)
        }
    });
    let pieces_until_stop = pieces.try_take_while(move |_| future::ready(Ok(!stop_pace.is_stopped())));
    let digest = Content::Stream(pieces_until_stop.boxed()).digest(|_| Ok::<_, StorageError>(())).await?;
    Ok((!pace.is_stopped()).then_some(ObjectRead::Digest(digest)))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::storage::pace::BUSY_READ_SIZE;

    #[test]
    fn only_errors_of_the_disk_are_damage() {
        assert!(is_damage(&Errno::EIO.into()) && is_damage(&Errno::EUCLEAN.into()));
        assert!(!is_damage(&Errno::EACCES.into()) && !is_damage(&Errno::EMFILE.into()));
    }

    #[test]
    fn a_stopped_reader_gives_no_digest_of_a_part() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("object");
        std::fs::write(&path, vec![7; BUFFER_SIZE * 3]).unwrap();
        let file = File::open(&path).unwrap();
        let (pace, demand) = (Pace::new(u64::MAX), Demand::default());
        pace.stop();
        let duty_cycle = &mut DutyCycle::default();
        let mut throttle = Throttle { pace: &pace, demand: &demand, duty_cycle };
        assert_eq!(hash_file(&file, &mut vec![0; BUFFER_SIZE], &mut throttle).unwrap(), None);
        let (file, pace) = (File::open(&path).unwrap(), Pace::new(u64::MAX));
        let mut throttle = Throttle { pace: &pace, ..throttle };
        let digest = hash_file(&file, &mut vec![0; BUFFER_SIZE], &mut throttle).unwrap().unwrap();
        let expected = Sha256::of(vec![7; BUFFER_SIZE * 3]);
        assert_eq!(digest, ObjectDigest { sha256: expected, size: BUFFER_SIZE as u64 * 3 });
    }

    #[test]
    fn a_file_is_read_in_small_pieces_while_requests_arrive() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("object");
        std::fs::write(&path, vec![7; BUFFER_SIZE]).unwrap();
        let (pace, demand, is_finished) = (Pace::new(u64::MAX), Demand::default(), AtomicBool::new(false));
        let used_buffer = |demand: &Demand| {
            let mut buffer = vec![0; BUFFER_SIZE];
            let duty_cycle = &mut DutyCycle::default();
            let mut throttle = Throttle { pace: &pace, demand, duty_cycle };
            let digest = hash_file(&File::open(&path).unwrap(), &mut buffer, &mut throttle).unwrap().unwrap();
            assert_eq!(digest.size, BUFFER_SIZE as u64);
            buffer.iter().filter(|byte| **byte == 7).count()
        };
        assert_eq!(used_buffer(&demand), BUFFER_SIZE);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_finished.load(Ordering::Relaxed) {
                    demand.add();
                }
            });
            demand.add();
            let used_bytes = used_buffer(&demand);
            // Set before the assertion: a failed assertion waits for the end of the thread.
            is_finished.store(true, Ordering::Relaxed);
            assert_eq!(used_bytes, BUSY_READ_SIZE);
        });
    }
}
