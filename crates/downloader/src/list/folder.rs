//! The package files below a folder: a directory of `pip download`, of renv or packrat, or of another server.

use std::fs;
use std::path::{Path, PathBuf};

use super::events::{Events, MAX_FILES, is_package};
use crate::error::OfflineError;
use crate::file::digest_of;
use base::model::import_list::AddedFile;
use base::model::time::{SECOND, Timestamp};

/// Maximum number of folders in each other.
const MAX_DEPTH: usize = 32;

/// A package file in a folder.
pub(super) struct FoundFile {
    pub(super) path: PathBuf,
    /// The path relative to the folder.
    pub(super) relative: String,
    pub(super) size: u64,
    /// The time of its last change.
    pub(super) modified: Option<Timestamp>,
}

pub(super) fn read(root: &Path, events: &mut Events) -> Result<(), OfflineError> {
    if root.join("dataindex.json").is_file() {
        let text = format!("{} is an export of devpi: use list from-devpi with --index", root.display());
        return Err(OfflineError::Usage(text));
    }
    let mut files = find(root, events)?;
    files.sort_by(|a, b| a.relative.cmp(&b.relative));
    for file in files {
        let sha256 = digest_of(&file.path).map_err(|e| OfflineError::destination("read", &file.path, e))?;
        let name = file.relative.rsplit('/').next().unwrap_or_default();
        events.add(AddedFile {
            from: Some(file.relative.clone()),
            sha256: Some(sha256.to_string()),
            size: Some(file.size),
            ..AddedFile::new(name, file.modified, "mtime")
        })?;
    }
    Ok(())
}

/// Finds the package files below a folder, and reports archives that are none. Links and hidden files are not read.
pub(super) fn find(root: &Path, events: &mut Events) -> Result<Vec<FoundFile>, OfflineError> {
    let (mut files, mut folders, mut count) = (Vec::new(), vec![(root.to_owned(), String::new(), 0)], 0);
    while let Some((folder, prefix, depth)) = folders.pop() {
        let to_error = |e| OfflineError::destination("list", &folder, e);
        for entry in fs::read_dir(&folder).map_err(to_error)? {
            let entry = entry.map_err(to_error)?;
            count += 1;
            if count > MAX_FILES || depth > MAX_DEPTH {
                return Err(OfflineError::Refused(format!(
                    "{} has more than {MAX_FILES} files or {MAX_DEPTH} folders in each other: name a folder in it",
                    root.display()
                )));
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            let relative = format!("{prefix}{name}");
            if name.starts_with('.') {
                continue;
            }
            // Of the link itself, not of its target.
            let metadata = entry.metadata().map_err(to_error)?;
            if metadata.is_dir() {
                folders.push((entry.path(), format!("{relative}/"), depth + 1));
                continue;
            }
            match is_package(&relative) {
                Ok(false) => {}
                Ok(true) if !metadata.is_file() => events.lose(relative, "is a link, or no regular file")?,
                Ok(true) if entry.path().to_str().is_none() => {
                    events.lose(relative, "is in a folder whose name is not in UTF-8")?;
                }
                Ok(true) => files.push(FoundFile {
                    path: entry.path(),
                    relative,
                    size: metadata.len(),
                    modified: metadata.modified().ok().and_then(timestamp),
                }),
                Err(why) => events.lose(relative, why)?,
            }
        }
    }
    Ok(files)
}

/// Returns a time of a file, in whole seconds, as servers state it.
pub(super) fn timestamp(time: std::time::SystemTime) -> Option<Timestamp> {
    let time = jiff::Timestamp::try_from(time).ok()?;
    Some(Timestamp(time.as_second() * SECOND))
}
