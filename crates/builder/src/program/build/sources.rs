//! Unpacks the sources. Accepts only files, directories and links, as the role `fetch` writes them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use tar::{Archive, EntryType};

use crate::message::{Cause, JobFailure, Limits};
use crate::program::fetch::tree::stays_inside;
use crate::program::job::{Stop, io_failure};

/// Unpacks a tar file into a directory, which must not exist.
pub(super) fn unpack(file: File, target_directory: &Path, limits: &Limits) -> Result<(), Stop> {
    let read_error = || io_failure("could not read the sources");
    fs::create_dir(target_directory).map_err(io_failure("could not create the directory of the package"))?;
    // The directories that were created here. Entries must be below them, so that nothing is written through a link.
    let mut directories = BTreeSet::from([PathBuf::new()]);
    let mut archive = Archive::new(file);
    let (mut count, mut size) = (0, 0);
    for entry in archive.entries().map_err(read_error())? {
        let mut entry = entry.map_err(read_error())?;
        let path = entry.path().map_err(read_error())?.into_owned();
        let refusal = |reason: &str| -> Stop {
            JobFailure::new(Cause::Content, format!("the sources have an entry {reason}: {}", path.display()))
                .into()
        };
        let is_normal = path.components().all(|component| matches!(component, Component::Normal(_)));
        if !is_normal || !path.parent().is_some_and(|parent| directories.contains(parent)) {
            return Err(refusal("with an invalid path"));
        }
        count += 1;
        size += entry.size();
        if count > limits.files || size > limits.result {
            return Err(JobFailure::new(Cause::Size, "the sources have too many or too large files").into());
        }
        let target = target_directory.join(&path);
        let write_error = || io_failure(format!("could not write {}", path.display()));
        match entry.header().entry_type() {
            EntryType::Directory => {
                fs::create_dir(&target).map_err(write_error())?;
                directories.insert(path.clone());
            }
            EntryType::Regular => {
                let is_executable = entry.header().mode().is_ok_and(|mode| mode & 0o100 != 0);
                let mode = if is_executable { 0o755 } else { 0o644 };
                let mut file = fs::OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(mode)
                    .open(&target)
                    .map_err(write_error())?;
                let expected_bytes = entry.size();
                let written_bytes =
                    std::io::copy(&mut (&mut entry).take(expected_bytes), &mut file).map_err(write_error())?;
                if written_bytes != expected_bytes {
                    return Err(refusal("that is incomplete"));
                }
            }
            EntryType::Symlink => {
                let link = entry.link_name().map_err(read_error())?.unwrap_or_default();
                if !stays_inside(&path, &link) {
                    return Err(refusal("that is a link to a path outside of the package"));
                }
                symlink(&link, &target).map_err(write_error())?;
            }
            _ => return Err(refusal("that is neither a file nor a directory nor a link")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tar::{Builder, Header};

    /// Unpacks entries, given by type, path, link target and content; returns the reason for a failure.
    fn unpack_entries(entries: &[(EntryType, &str, &str, &str)]) -> Result<tempfile::TempDir, String> {
        let mut tar = Builder::new(tempfile::tempfile().unwrap());
        for (kind, path, link, content) in entries {
            let mut header = Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o6755);
            header.set_size(content.len() as u64);
            // `set_path` is not used, because it refuses invalid paths.
            header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
            header.as_gnu_mut().unwrap().linkname[..link.len()].copy_from_slice(link.as_bytes());
            header.set_cksum();
            tar.append(&header, content.as_bytes()).unwrap();
        }
        let mut file = tar.into_inner().unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let limits = Limits { files: 10, result: 100, ..Limits::default() };
        match unpack(file, &directory.path().join("package"), &limits) {
            Ok(()) => Ok(directory),
            Err(Stop::Failed(failure)) => Err(failure.reason),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_file_that_the_fetch_writes_is_unpacked() {
        let directory = unpack_entries(&[
            (EntryType::Directory, "a", "", ""),
            (EntryType::Regular, "a/b", "", "text"),
            (EntryType::Symlink, "a/c", "../d", ""),
        ]);
        let package = directory.as_ref().unwrap().path().join("package");
        assert_eq!(fs::read_to_string(package.join("a/b")).unwrap(), "text");
        assert_eq!(fs::read_link(package.join("a/c")).unwrap(), Path::new("../d"));
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &fs::metadata(package.join("a/b")).unwrap().permissions(),
        );
        assert_eq!(mode & 0o7000, 0);
    }

    #[test]
    fn everything_else_is_refused() {
        use EntryType::{Block, Directory, Fifo, Link, Regular, Symlink};
        for (entries, reason) in [
            (&[(Regular, "../x", "", "")][..], "invalid path"),
            (&[(Regular, "/x", "", "")], "invalid path"),
            (&[(Regular, "a/x", "", "")], "invalid path"),
            (&[(Symlink, "a", "b", ""), (Regular, "a/x", "", "")], "invalid path"),
            (&[(Symlink, "a", "/etc", "")], "outside of the package"),
            (&[(Symlink, "a", "../x", "")], "outside of the package"),
            (&[(Symlink, "a", "b", ""), (Regular, "a", "", "x")], "could not write a"),
            (&[(Regular, "a", "", "x"), (Regular, "a", "", "x")], "could not write a"),
            (&[(Directory, "a", "", ""), (Link, "a/b", "/etc/passwd", "")], "neither a file"),
            (&[(Fifo, "a", "", "")], "neither a file"),
            (&[(Block, "a", "", "")], "neither a file"),
            (&[(Regular, "a", "", &"x".repeat(101))], "too many or too large"),
        ] {
            let error = unpack_entries(entries).err().unwrap_or_else(|| panic!("{entries:?} is accepted"));
            assert!(error.contains(reason), "{entries:?}: {error}");
        }
    }
}
