//! Creates, as root, the directories and logs that the target user cannot create, before switching to that user.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, lchown};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, umask};

use super::directories;
use super::table::{PathKind, paths};
use base::config::Config;

/// Creates missing directories and logs below directories of root, owned by the target user, who creates all
/// others later; returns the errors.
///
/// SECURITY: root creates nothing where another user can write: a symbolic link there could redirect root to any path.
pub(in crate::daemon) fn provision(gcfg: &Path, config: &Config, uid: u32, gid: u32) -> Vec<String> {
    let mut errors = Vec::new();
    let mut record = |path: &Path, result: io::Result<()>| {
        if let Err(error) = result {
            errors.push(format!("could not create '{}' for the server's user: {error}", path.display()));
        }
    };
    let old_umask = umask(Mode::from_bits_truncate(0o022));
    for (rule, path) in directories(gcfg, config) {
        record(&path, directory(&path, rule.mode, uid, gid));
    }
    for path in paths(PathKind::Log, gcfg, config) {
        record(&path, log(&path, uid, gid));
    }
    umask(old_umask);
    errors
}

pub(in crate::daemon) fn paths_of_server(gcfg: &Path, config: &Config) -> Vec<PathBuf> {
    let directories = directories(gcfg, config).map(|(_, path)| path);
    directories.chain(paths(PathKind::Log, gcfg, config)).collect()
}

/// Returns whether [`provision`] creates this missing path.
pub(in crate::daemon) fn creates(path: &Path) -> bool {
    let existing_path = path.ancestors().find(|ancestor| ancestor.symlink_metadata().is_ok());
    existing_path.is_some_and(|ancestor| ancestor.ancestors().all(is_root_only))
}

/// Returns whether only root can change the entries of a directory.
fn is_root_only(dir: &Path) -> bool {
    dir.metadata()
        .is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == 0 && metadata.mode() & 0o022 == 0)
}

/// Creates a directory of `uid`, and missing parents of root, if only root can write to the existing parent.
fn directory(path: &Path, mode: u32, uid: u32, gid: u32) -> io::Result<()> {
    let missing_dirs: Vec<PathBuf> = path
        .ancestors()
        .take_while(|ancestor| ancestor.symlink_metadata().is_err())
        .map(Path::to_owned)
        .collect();
    let Some(parent) = missing_dirs.last().and_then(|first| first.parent()) else { return Ok(()) };
    if !parent.ancestors().all(is_root_only) {
        return Ok(());
    }
    for ancestor in missing_dirs.iter().skip(1).rev() {
        DirBuilder::new().mode(0o755).create(ancestor)?;
    }
    DirBuilder::new().mode(mode).create(path)?;
    lchown(path, Some(uid), Some(gid))
}

/// Creates a missing log file in an existing directory to which only root can write.
fn log(path: &Path, uid: u32, gid: u32) -> io::Result<()> {
    let is_below_root_only = path.parent().is_some_and(|parent| parent.ancestors().all(is_root_only));
    if !is_below_root_only || path.symlink_metadata().is_ok() {
        return Ok(());
    }
    OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
    lchown(path, Some(uid), Some(gid))
}
