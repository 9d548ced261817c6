//! Local repositories: git lists their references only if a file with references has changed since the last list. The
//! files are only compared by digest; their content is not shown or logged.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use parking_lot::Mutex;
use ring::digest::{Context, SHA256};

use super::References;

/// Maximum size of all files together in bytes: another user may write to the repository, and each poll reads them.
const MAX_BYTES: u64 = 16 << 20;
/// Maximum number of files and directories below `refs`.
const MAX_ENTRIES: usize = 20_000;
/// Maximum depth of directories below `refs`.
const MAX_DEPTH: usize = 32;
/// Maximum number of cached lists.
const MAX_REPOSITORIES: usize = 10_000;

/// The lists of references, by builder number, each with the digest that the files had before git read them.
#[derive(Default)]
pub(in crate::build) struct LocalListings(Mutex<HashMap<i64, (Vec<u8>, References)>>);

impl LocalListings {
    /// Returns the cached list of a builder if the digest of its files is unchanged.
    pub(super) fn get(&self, builder: i64, digest: &[u8]) -> Option<References> {
        let listings = self.0.lock();
        let (known, references) = listings.get(&builder)?;
        (known == digest).then(|| references.clone())
    }

    pub(super) fn insert(&self, builder: i64, digest: Vec<u8>, references: References) {
        let mut listings = self.0.lock();
        if listings.len() >= MAX_REPOSITORIES {
            listings.clear();
        }
        listings.insert(builder, (digest, references));
    }
}

/// Returns a digest of `definition` and the files of a repository that contain references. `None` if a file cannot be
/// read, or the repository depends on files elsewhere: a linked worktree, or a configuration that includes other files,
/// which may, for example, hide references.
pub(super) fn digest(repository: &Path, definition: &str) -> Option<Vec<u8>> {
    let inner = repository.join(".git");
    let is_directory = |path: &Path| fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    let directory = if is_directory(&inner) { inner } else { repository.to_owned() };
    // A linked worktree has its references elsewhere.
    if fs::symlink_metadata(directory.join("commondir")).is_ok() {
        return None;
    }
    let references = directory.join("refs");
    if !is_directory(&references) {
        return None;
    }
    let mut reader = RepositoryReader { context: Context::new(&SHA256), bytes: 0, entries: 0 };
    add(&mut reader.context, definition.as_bytes());
    if !reader.file(&directory.join("HEAD"))? {
        return None;
    }
    // With `extensions.worktreeConfig`, git also reads the second file.
    for name in ["config", "config.worktree"] {
        let text = reader.read(&directory.join(name))?.unwrap_or_default();
        if includes_files(&text) {
            return None;
        }
    }
    for name in ["packed-refs", "reftable/tables.list"] {
        reader.file(&directory.join(name))?;
    }
    reader.walk(&references, 0)?;
    Some(reader.context.finish().as_ref().to_vec())
}

/// Returns whether a git configuration may have a section `include` or `includeIf`. The result is also true if a
/// comment or a value contains such a section header.
fn includes_files(config: &[u8]) -> bool {
    config.split(|byte| *byte == b'[').any(|section| {
        section.trim_ascii_start().get(..7).is_some_and(|word| word.eq_ignore_ascii_case(b"include"))
    })
}

fn add(context: &mut Context, bytes: &[u8]) {
    context.update(&bytes.len().to_be_bytes());
    context.update(bytes);
}

/// Reads the files of one repository.
struct RepositoryReader {
    context: Context,
    bytes: u64,
    /// Number of files and directories found below `refs`.
    entries: usize,
}

impl RepositoryReader {
    /// Adds a file to the digest; returns whether it exists. `None` if it is unreadable, not regular or too large.
    fn file(&mut self, path: &Path) -> Option<bool> {
        Some(self.read(path)?.is_some())
    }

    /// Adds a file to the digest; returns its content, if any. Outer `None`: see [`RepositoryReader::file`].
    fn read(&mut self, path: &Path) -> Option<Option<Vec<u8>>> {
        // Another user may write to the repository, so links are not followed, and opening a pipe does not block.
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let flags = i32::try_from(flags.bits()).ok()?;
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.context.update(b"-");
                return Some(None);
            }
            Err(_) => return None,
        };
        if !file.metadata().ok()?.is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        file.take(MAX_BYTES - self.bytes + 1).read_to_end(&mut bytes).ok()?;
        self.bytes += bytes.len() as u64;
        if self.bytes > MAX_BYTES {
            return None;
        }
        add(&mut self.context, &bytes);
        Some(Some(bytes))
    }

    /// Adds the files below a directory to the digest, in the order of their names. `None` as in [`RepositoryReader::file`],
    /// and if there are too many entries or levels.
    fn walk(&mut self, directory: &Path, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        let mut entries = Vec::new();
        for entry in fs::read_dir(directory).ok()? {
            let entry = entry.ok()?;
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return None;
            }
            entries.push((entry.file_name(), entry.file_type().ok()?));
        }
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (name, kind) in entries {
            add(&mut self.context, name.as_encoded_bytes());
            let path = directory.join(&name);
            if kind.is_dir() {
                self.context.update(b"(");
                self.walk(&path, depth + 1)?;
                self.context.update(b")");
            } else if !self.file(&path)? {
                // The file was deleted meanwhile; the next poll reads the new state.
                return None;
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("refs/heads")).unwrap();
        fs::write(directory.path().join("HEAD"), "ref: refs/heads/main\n").unwrap();
        fs::write(directory.path().join("refs/heads/main"), "aa\n").unwrap();
        directory
    }

    #[test]
    fn every_change_of_a_reference_changes_the_digest() {
        let directory = repository();
        let path = directory.path();
        let mut digests = vec![digest(path, "x").unwrap()];
        assert_eq!(digest(path, "x").unwrap(), digests[0]);
        digests.push(digest(path, "y").unwrap());
        let write = |name: &str, text: &str| fs::write(path.join(name), text).unwrap();
        for (name, text) in [
            ("refs/heads/main", "bb\n"),
            ("HEAD", "ref: refs/heads/other\n"),
            ("packed-refs", "cc refs/tags/v1\n"),
            ("refs/heads/new", "dd\n"),
            ("config", "[uploadpack]\n"),
            ("config.worktree", "[uploadpack]\n"),
        ] {
            write(name, text);
            digests.push(digest(path, "x").unwrap());
        }
        fs::remove_file(path.join("refs/heads/main")).unwrap();
        digests.push(digest(path, "x").unwrap());
        let count = digests.len();
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), count);
    }

    #[test]
    fn a_repository_with_links_pipes_or_large_files_is_left_to_git() {
        type Change = fn(&Path);
        let changes: [Change; 9] = [
            |path| fs::remove_file(path.join("HEAD")).unwrap(),
            |path| std::os::unix::fs::symlink("/etc/passwd", path.join("packed-refs")).unwrap(),
            |path| std::os::unix::fs::symlink("/etc", path.join("refs/tags")).unwrap(),
            |path| {
                fs::rename(path.join("refs"), path.join("elsewhere")).unwrap();
                std::os::unix::fs::symlink("elsewhere", path.join("refs")).unwrap();
            },
            // Two sparse files that together are larger than permitted.
            |path| {
                for name in ["a", "b"] {
                    let file = fs::File::create(path.join("refs/heads").join(name)).unwrap();
                    file.set_len(MAX_BYTES * 2 / 3).unwrap();
                }
            },
            |path| {
                let pipe = std::process::Command::new("mkfifo").arg(path.join("refs/heads/pipe")).status();
                assert!(pipe.unwrap().success());
            },
            |path| fs::write(path.join("commondir"), "..").unwrap(),
            |path| fs::write(path.join("config"), "[core]\nbare = true\n[ Include]\npath = ../x\n").unwrap(),
            |path| fs::write(path.join("config.worktree"), "[includeIf \"gitdir:/\"]path=/x\n").unwrap(),
        ];
        for change in changes {
            let directory = repository();
            change(directory.path());
            assert_eq!(digest(directory.path(), "x"), None);
        }
    }
}
