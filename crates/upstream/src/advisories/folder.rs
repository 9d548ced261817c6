//! Reads a folder of advisories: a copy of the OSV database, or separate files at any depth.

use std::path::Path;

use sha2::Digest;

use super::feed_file::{self, FeedFileFormat};
use super::{FeedRefresh, MAX_FETCHED_SIZE, UNPACK_LIMITS, refusal};
use crate::UpstreamError;
use crate::transport::file::{FileRequest, FileResponse, Validators};
use crate::transport::{Transport, decompress};
use formats::advisory::{Batch, Format};
use formats::language::Ecosystem;

const MAX_DEPTH: usize = 8;

struct FolderListing {
    /// Paths of advisories relative to the folder, sorted.
    files: Vec<String>,
    /// Digest of the paths and stamps of the files: it changes when one of the files does.
    fingerprint: String,
}

/// Reads the advisories of a folder, unless it is unchanged.
pub(super) async fn refresh(
    transport: &Transport,
    ecosystems: &[Ecosystem],
    known_validators: Option<Validators>,
) -> Result<FeedRefresh, UpstreamError> {
    let Some(root) = transport.directory().map(Path::to_owned) else {
        return Err(refusal(transport, "", "is not a folder".to_owned()));
    };
    if !root.exists() {
        return Ok(FeedRefresh::Absent);
    }
    let zip_paths: Vec<String> =
        ecosystems.iter().map(|ecosystem| format!("{}/all.zip", ecosystem.as_str())).collect();
    let listing = decompress::run_blocking(move || {
        let with_stamp = |path: String| {
            let stamp = stamp(&root.join(&path))?;
            Some((path, stamp))
        };
        let mut entries: Vec<(String, String)> = zip_paths.into_iter().filter_map(with_stamp).collect();
        if entries.is_empty() {
            walk(&root, "", MAX_DEPTH, &mut entries)?;
        }
        entries.sort_unstable();
        let mut digest = sha2::Sha256::new();
        entries.iter().for_each(|(path, stamp)| digest.update(format!("{path}\n{stamp}\n")));
        let files = entries.into_iter().map(|(path, _)| path).collect();
        Ok(FolderListing { files, fingerprint: hex::encode(digest.finalize()) })
    });
    let FolderListing { files, fingerprint } =
        listing.await.map_err(|reason| refusal(transport, "", reason))?;
    let validators = Validators { etag: Some(fingerprint), modified: None };
    if known_validators.as_ref() == Some(&validators) {
        return Ok(FeedRefresh::Unchanged);
    }
    let batch = read(transport, files).await?.validate();
    Ok(FeedRefresh::Read(
        Box::new(batch.map_err(|error| refusal(transport, "", error.to_string()))?),
        validators,
    ))
}

/// Reads the advisories in files, one file after the other.
async fn read(transport: &Transport, files: Vec<String>) -> Result<Batch, UpstreamError> {
    let (mut batch, mut size) = (Batch::default(), 0);
    for path in files {
        let (request, format) = match FeedFileFormat::of(&path) {
            Some(format) => {
                (FileRequest { path: &path, validators: None, limit: MAX_FETCHED_SIZE }, Some(format))
            }
            None => (FileRequest { path: &path, validators: None, limit: UNPACK_LIMITS.file_size }, None),
        };
        let FileResponse::Body { bytes, .. } = transport.fetch(request).await? else { continue };
        size += bytes.len() as u64;
        if size > UNPACK_LIMITS.total_size {
            return Err(refusal(
                transport,
                "",
                format!("has more than {} bytes of advisories", UNPACK_LIMITS.total_size),
            ));
        }
        match format {
            None => feed_file::add_if_advisory(&mut batch, &path, &bytes),
            Some(format) => {
                let name = path.clone();
                let result = decompress::run_blocking(move || feed_file::unpack(format, &name, &bytes)).await;
                batch.merge(result.map_err(|reason| refusal(transport, &path, reason))?);
            }
        }
    }
    Ok(batch)
}

/// Adds the advisories below a folder to `entries`.
fn walk(
    root: &Path,
    subfolder: &str,
    depth: usize,
    entries: &mut Vec<(String, String)>,
) -> Result<(), String> {
    let folder = root.join(subfolder);
    let read_error = |error: std::io::Error| format!("'{}' cannot be read ({error})", folder.display());
    for entry in std::fs::read_dir(&folder).map_err(read_error)? {
        let entry = entry.map_err(read_error)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if subfolder.is_empty() { name.clone() } else { format!("{subfolder}/{name}") };
        let is_folder = entry.file_type().map_err(read_error)?.is_dir();
        if is_folder && depth > 0 && !name.starts_with('.') {
            walk(root, &path, depth - 1, entries)?;
        } else if !is_folder
            && Format::from_path(&path).is_some()
            && let Some(stamp) = stamp(&entry.path())
        {
            entries.push((path, stamp));
        }
        if entries.len() as u64 > UNPACK_LIMITS.file_count {
            return Err(format!("has more than {} advisories", UNPACK_LIMITS.file_count));
        }
    }
    Ok(())
}

/// Returns size, time and inode of a file; `None` if it is not a file.
fn stamp(file: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(file).ok()?;
    metadata.is_file().then(|| {
        format!("{} {}.{} {}", metadata.len(), metadata.mtime(), metadata.mtime_nsec(), metadata.ino())
    })
}
