//! Writes a checked out tree as a tar file: regular files, directories, and symbolic links to paths inside the tree.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use tar::{Builder, EntryType, Header};

use crate::message::{Cause, JobFailure};
use crate::program::job::{Stop, io_failure};
use crate::program::workspace::ResultFile;

const MAX_DEPTH: usize = 100;
/// Maximum length of a path in bytes.
const MAX_PATH: usize = 4096;
/// First line of a Git LFS pointer.
const LFS: &[u8] = b"version https://git-lfs.github.com/spec/v1\n";

struct TreeWriter {
    tar: Builder<ResultFile>,
    root: PathBuf,
    /// The directory in the tar file to which `root` is written.
    prefix: PathBuf,
    mtime: u64,
    remaining_files: u64,
    lfs_pointers: u64,
}

/// Writes the tree at `root`, and `history` as its directory `.git`. All entries have the modification time `mtime`, in
/// seconds since the epoch. Returns the file and the number of Git LFS pointers.
pub(super) fn write(
    root: &Path,
    out: ResultFile,
    mtime: u64,
    max_files: u64,
    history: Option<&Path>,
) -> Result<(ResultFile, u64), Stop> {
    let mut writer = TreeWriter {
        tar: Builder::new(out),
        root: root.to_owned(),
        prefix: PathBuf::new(),
        mtime,
        remaining_files: max_files,
        lfs_pointers: 0,
    };
    writer.write_directory(Path::new(""), 0, max_files)?;
    if let Some(history) = history {
        writer.write_entry(Path::new(".git"), EntryType::Directory, 0o755, 0, &[][..])?;
        (writer.root, writer.prefix) = (history.to_owned(), PathBuf::from(".git"));
        writer.write_directory(Path::new(""), 0, max_files)?;
    }
    let out = writer.tar.into_inner().map_err(io_failure("could not write the tree"))?;
    Ok((out, writer.lfs_pointers))
}

impl TreeWriter {
    fn write_directory(&mut self, path: &Path, depth: usize, max_files: u64) -> Result<(), Stop> {
        let read_error = || io_failure(format!("could not read {}", path.display()));
        if depth > MAX_DEPTH || path.as_os_str().len() > MAX_PATH {
            return Err(failure(Cause::Size, format!("the path {} is too long", path.display())));
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(self.root.join(path)).map_err(read_error())? {
            names.push(entry.map_err(read_error())?.file_name());
        }
        names.sort();
        // Skips the directory `.git` of the repository, and those of submodules.
        for name in names.iter().filter(|name| !name.eq_ignore_ascii_case(".git")) {
            let path = path.join(name);
            let metadata = fs::symlink_metadata(self.root.join(&path)).map_err(read_error())?;
            if self.remaining_files == 0 {
                return Err(failure(Cause::Size, format!("the tree has more than {max_files} files")));
            }
            self.remaining_files -= 1;
            let kind = metadata.file_type();
            if kind.is_dir() {
                self.write_entry(&path, EntryType::Directory, 0o755, 0, &[][..])?;
                self.write_directory(&path, depth + 1, max_files)?;
            } else if kind.is_symlink() {
                self.write_link(&path)?;
            } else if kind.is_file() {
                let mode = if metadata.permissions().mode() & 0o100 == 0 { 0o644 } else { 0o755 };
                self.write_file(&path, mode, metadata.len())?;
            } else {
                let reason = format!("{} is neither a file nor a directory nor a link", path.display());
                return Err(failure(Cause::Content, reason));
            }
        }
        Ok(())
    }

    fn write_file(&mut self, path: &Path, mode: u32, size: u64) -> Result<(), Stop> {
        let read_error = || io_failure(format!("could not read {}", path.display()));
        let mut file = File::open(self.root.join(path)).map_err(read_error())?;
        let mut start = Vec::new();
        (&mut file).take(LFS.len() as u64).read_to_end(&mut start).map_err(read_error())?;
        if start == LFS && size < 1024 {
            self.lfs_pointers += 1;
        }
        self.write_entry(path, EntryType::Regular, mode, size, start.as_slice().chain(file))
    }

    fn write_entry(
        &mut self,
        path: &Path,
        kind: EntryType,
        mode: u32,
        size: u64,
        data: impl Read,
    ) -> Result<(), Stop> {
        let mut header = header(kind, mode, size, self.mtime);
        let result = self.tar.append_data(&mut header, self.prefix.join(path), data.take(size));
        result.map_err(write_error(path))
    }

    fn write_link(&mut self, path: &Path) -> Result<(), Stop> {
        let target = fs::read_link(self.root.join(path)).map_err(io_failure(path.display()))?;
        if !stays_inside(path, &target) {
            let reason = format!(
                "the symbolic link {} points outside of the directory that is built: {}",
                path.display(),
                target.display()
            );
            return Err(failure(Cause::Content, reason));
        }
        let mut header = header(EntryType::Symlink, 0o777, 0, self.mtime);
        let result = self.tar.append_link(&mut header, self.prefix.join(path), &target);
        result.map_err(write_error(path))
    }
}

fn header(kind: EntryType, mode: u32, size: u64, mtime: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(mtime);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn write_error(path: &Path) -> impl FnOnce(std::io::Error) -> Stop {
    let path = path.display().to_string();
    move |error| match error.kind() {
        ErrorKind::FileTooLarge => failure(Cause::Size, error.to_string()),
        _ => io_failure(format!("could not write {path}"))(error),
    }
}

fn failure(cause: Cause, reason: String) -> Stop {
    JobFailure::new(cause, reason).into()
}

/// Returns whether the target of a symbolic link at the relative path `link` is inside the tree. Only the paths
/// are compared; the file system is not read.
pub(in crate::program) fn stays_inside(link: &Path, target: &Path) -> bool {
    if target.as_os_str().as_bytes().contains(&0) || target.as_os_str().is_empty() {
        return false;
    }
    let mut depth = link.components().count().saturating_sub(1);
    for component in target.components() {
        match component {
            Component::Normal(name) if !name.eq_ignore_ascii_case(".git") => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn tree(create: impl FnOnce(&Path)) -> Result<Vec<String>, String> {
        let root = tempfile::tempdir().unwrap();
        create(root.path());
        let file = tempfile::NamedTempFile::new().unwrap();
        match write(root.path(), ResultFile::new(file.reopen().unwrap(), 100_000), 1, 20, None) {
            Err(Stop::Failed(failure)) => Err(failure.reason),
            Err(other) => panic!("{other:?}"),
            Ok((_, pointers)) => {
                let mut archive = tar::Archive::new(file.reopen().unwrap());
                let entries = archive.entries().unwrap().map(|entry| {
                    let entry = entry.unwrap();
                    let mode = entry.header().mode().unwrap();
                    format!("{mode:o} {}", entry.path().unwrap().display())
                });
                Ok(entries.chain([format!("{pointers} pointers")]).collect())
            }
        }
    }

    #[test]
    fn files_directories_and_inner_links_are_written_in_order() {
        let entries = tree(|root| {
            fs::create_dir_all(root.join("b/.git")).unwrap();
            fs::write(root.join("b/.git/config"), "secret").unwrap();
            fs::write(root.join("b/x"), "x").unwrap();
            fs::write(root.join("a"), [LFS, b"oid sha256:0\n"].concat()).unwrap();
            fs::set_permissions(root.join("b/x"), fs::Permissions::from_mode(0o700)).unwrap();
            symlink("../a", root.join("b/y")).unwrap();
        });
        assert_eq!(entries.unwrap(), ["644 a", "755 b", "755 b/x", "777 b/y", "1 pointers"]);
    }

    #[test]
    fn links_that_leave_the_tree_are_refused() {
        for target in ["/etc/passwd", "../../etc/passwd", "../..", "c/../../../x", "../.git/config", ".GIT/x"]
        {
            let error = tree(|root| {
                fs::create_dir(root.join("b")).unwrap();
                symlink(target, root.join("b/l")).unwrap();
            });
            assert!(error.unwrap_err().contains("b/l points outside"), "{target}");
        }
        assert!(stays_inside(Path::new("b/c/l"), Path::new("../../a/./b")));
    }

    #[test]
    fn sizes_are_limited() {
        let result = tree(|root| (0..21).for_each(|n| fs::write(root.join(n.to_string()), "").unwrap()));
        assert_eq!(result.unwrap_err(), "the tree has more than 20 files");
        let result = tree(|root| fs::write(root.join("a"), vec![0; 200_000]).unwrap());
        assert!(result.unwrap_err().contains("larger than 100000 bytes"));
        let result = tree(|root| {
            let status = std::process::Command::new("mkfifo").arg(root.join("a")).status();
            assert!(status.unwrap().success());
        });
        assert!(result.unwrap_err().contains("neither a file"));
    }
}
