//! Reads a folder of advisories: a copy of public data, or separate files at any depth.

use std::path::Path;

use sha2::Digest;

use super::packed::{self, Packing};
use super::{BOUNDS, FETCHED, FeedCheck, refused};
use crate::advisory::{Batch, Ecosystem, Format};
use crate::upstream::error::UpstreamError;
use crate::upstream::transport::Transport;
use crate::upstream::transport::decompress;
use crate::upstream::transport::file::{FileRequest, FileResponse, Validators};

/// Maximum depth of folders.
const DEPTH: usize = 8;

/// The contents of a folder.
struct FolderListing {
    /// Paths of advisories relative to the folder, sorted.
    files: Vec<String>,
    /// Changes when one of the files does.
    fingerprint: String,
}

/// Checks a folder.
pub(super) async fn check(
    transport: &Transport,
    ecosystems: &[Ecosystem],
    known: Option<Validators>,
) -> Result<FeedCheck, UpstreamError> {
    let Some(root) = transport.directory().map(Path::to_owned) else {
        return Err(refused(transport, "", "is not a folder".to_owned()));
    };
    if !root.exists() {
        return Ok(FeedCheck::Absent);
    }
    let zips: Vec<String> =
        ecosystems.iter().map(|ecosystem| format!("{}/all.zip", ecosystem.as_str())).collect();
    let listed = decompress::run_blocking(move || {
        let existing = |path: String| {
            let stamp = stamp(&root.join(&path))?;
            Some((path, stamp))
        };
        let mut found: Vec<(String, String)> = zips.into_iter().filter_map(existing).collect();
        if found.is_empty() {
            walk(&root, "", DEPTH, &mut found)?;
        }
        found.sort_unstable();
        let mut digest = sha2::Sha256::new();
        found.iter().for_each(|(path, stamp)| digest.update(format!("{path}\n{stamp}\n")));
        let files = found.into_iter().map(|(path, _)| path).collect();
        Ok(FolderListing { files, fingerprint: hex::encode(digest.finalize()) })
    });
    let FolderListing { files, fingerprint } =
        listed.await.map_err(|reason| refused(transport, "", reason))?;
    let validators = Validators { etag: Some(fingerprint), modified: None };
    if known.as_ref() == Some(&validators) {
        return Ok(FeedCheck::Unchanged);
    }
    let batch = read(transport, files).await?.validate();
    Ok(FeedCheck::Read(Box::new(batch.map_err(|bad| refused(transport, "", bad.to_string()))?), validators))
}

/// Reads files one by one.
async fn read(transport: &Transport, files: Vec<String>) -> Result<Batch, UpstreamError> {
    let (mut batch, mut size) = (Batch::default(), 0);
    for path in files {
        let (fetch, packing) = match Packing::of(&path) {
            Some(packing) => (FileRequest { path: &path, validators: None, limit: FETCHED }, Some(packing)),
            None => (FileRequest { path: &path, validators: None, limit: BOUNDS.file }, None),
        };
        let FileResponse::Body { bytes, .. } = transport.fetch(fetch).await? else { continue };
        size += bytes.len() as u64;
        if size > BOUNDS.all {
            return Err(refused(transport, "", format!("has more than {} bytes of advisories", BOUNDS.all)));
        }
        match packing {
            None => packed::take(&mut batch, &path, &bytes),
            Some(packing) => {
                let name = path.clone();
                let unpacked = decompress::run_blocking(move || packed::unpack(packing, &name, &bytes)).await;
                batch.merge(unpacked.map_err(|reason| refused(transport, &path, reason))?);
            }
        }
    }
    Ok(batch)
}

/// Adds the advisories below a folder to `found`.
fn walk(root: &Path, below: &str, depth: usize, found: &mut Vec<(String, String)>) -> Result<(), String> {
    let folder = root.join(below);
    let fail = |error: std::io::Error| format!("'{}' cannot be read ({error})", folder.display());
    for entry in std::fs::read_dir(&folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        let is_folder = entry.file_type().map_err(fail)?.is_dir();
        if is_folder && depth > 0 && !name.starts_with('.') {
            walk(root, &path, depth - 1, found)?;
        } else if !is_folder
            && Format::from_path(&path).is_some()
            && let Some(stamp) = stamp(&entry.path())
        {
            found.push((path, stamp));
        }
        if found.len() as u64 > BOUNDS.files {
            return Err(format!("has more than {} advisories", BOUNDS.files));
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
