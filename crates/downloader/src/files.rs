//! Lists all files in folders of a bundle and their subfolders, each with its kind.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::destination::Destination;
use super::error::OfflineError;

/// The kind of a file, from its directory entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    File,
    /// A symbolic link with any target.
    Link,
    /// A pipe, a socket or a device.
    Other,
    /// A file that the owner of the bundle may not read.
    Unreadable {
        /// User id of the owner of the bundle.
        owner: u32,
    },
}

pub(super) struct WalkResult {
    /// Files by path relative to the bundle's directory.
    pub(super) files: BTreeMap<String, FileKind>,
    /// Folders that cannot be read, with the reason.
    pub(super) unreadable_folders: Vec<(String, String)>,
}

/// Walks the folders; missing folders are skipped.
pub(super) fn walk(destination: &Destination, folders: &[String]) -> Result<WalkResult, OfflineError> {
    let root = destination
        .root()
        .metadata()
        .map_err(|e| OfflineError::destination("read", destination.root(), e))?;
    let mut result = WalkResult { files: BTreeMap::new(), unreadable_folders: Vec::new() };
    let mut pending_folders: Vec<String> = folders.iter().rev().cloned().collect();
    while let Some(folder) = pending_folders.pop() {
        let dir = destination.path(&folder);
        match dir.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(metadata) => {
                result.files.insert(folder, kind(&metadata, &root));
                continue;
            }
            Err(_) => continue,
        }
        if let Err(reason) = list(&dir, &folder, &root, &mut result, &mut pending_folders) {
            result.unreadable_folders.push((folder, reason.to_string()));
        }
    }
    Ok(result)
}

/// Lists one folder: adds its files to `result` and its subfolders to `pending_folders`.
fn list(
    dir: &Path,
    folder: &str,
    root: &Metadata,
    result: &mut WalkResult,
    pending_folders: &mut Vec<String>,
) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        // Metadata of the entry itself: a link is not followed.
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            pending_folders.push(path);
        } else {
            result.files.insert(path, kind(&metadata, root));
        }
    }
    Ok(())
}

fn kind(metadata: &Metadata, root: &Metadata) -> FileKind {
    if metadata.is_symlink() {
        return FileKind::Link;
    }
    if !metadata.is_file() {
        return FileKind::Other;
    }
    if is_readable(metadata.mode(), (metadata.uid(), metadata.gid()), (root.uid(), root.gid())) {
        FileKind::File
    } else {
        FileKind::Unreadable { owner: root.uid() }
    }
}

/// Returns whether the owner of a directory may read a file with this mode. `file` and `reader` are the user id and the
/// group id of the file and of the directory; other groups of the owner are not considered.
fn is_readable(mode: u32, file: (u32, u32), reader: (u32, u32)) -> bool {
    let bit = match (file.0 == reader.0, file.1 == reader.1) {
        (true, _) => 0o400,
        (false, true) => 0o040,
        (false, false) => 0o004,
    };
    reader.0 == 0 || mode & bit != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_the_directory_must_be_able_to_read() {
        let (service, other) = ((990, 990), (1000, 1000));
        assert!(is_readable(0o600, service, service) && !is_readable(0o600, other, service));
        assert!(is_readable(0o644, other, service) && is_readable(0o640, (1000, 990), service));
        assert!(!is_readable(0o044, service, service) && is_readable(0o000, other, (0, 0)));
    }

    #[test]
    fn links_are_named_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let destination = Destination::create(dir.path()).unwrap();
        destination.put("v3/1/obj/ab/x.tar.gz", b"1").unwrap();
        std::os::unix::fs::symlink("/etc", destination.path("v3/1/obj/cd")).unwrap();
        let result = walk(&destination, &["v3".to_owned(), "none".to_owned()]).unwrap();
        let expected =
            [("v3/1/obj/ab/x.tar.gz".to_owned(), FileKind::File), ("v3/1/obj/cd".to_owned(), FileKind::Link)];
        assert_eq!(result.files, expected.into());
    }
}
