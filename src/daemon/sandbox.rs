//! Recreates the part of the unit's sandbox that determines which directories the service can access
//! (`ProtectHome=tmpfs`, `PrivateTmp=`), in a mount namespace of this process.

use std::fmt::Display;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// Makes `hidden_dirs` empty for this process, except for `bound_paths` below them. The process must have one
/// thread. Fails for example in a container without the privilege.
pub(super) fn enter(hidden_dirs: &[&str], bound_paths: &[PathBuf]) -> Result<(), String> {
    let step_error = |step: &dyn Display| {
        let step = step.to_string();
        move |error: io::Error| format!("{step}: {error}")
    };
    if hidden_dirs.is_empty() {
        return Ok(());
    }
    unshare(CloneFlags::CLONE_NEWNS).map_err(io::Error::from).map_err(step_error(&"new mount namespace"))?;
    mount_without_type(None, Path::new("/"), MsFlags::MS_REC | MsFlags::MS_PRIVATE)
        .map_err(step_error(&"private mounts"))?;
    // Opens the bound paths in the new namespace, before they are hidden. Missing paths are omitted.
    let open = |path: &PathBuf| {
        let file = File::options().read(true).custom_flags(OFlag::O_PATH.bits()).open(path).ok()?;
        Some((path.clone(), file))
    };
    let is_hidden = |path: &&PathBuf| hidden_dirs.iter().any(|dir| path.starts_with(dir));
    let bound_paths: Vec<(PathBuf, File)> = bound_paths.iter().filter(is_hidden).filter_map(open).collect();
    for dir in hidden_dirs.iter().filter(|dir| Path::new(dir).is_dir()) {
        let mode = if dir.ends_with("tmp") { "mode=1777" } else { "mode=0755" };
        mount(Some("tmpfs"), *dir, Some("tmpfs"), MsFlags::MS_NODEV | MsFlags::MS_NOSUID, Some(mode))
            .map_err(io::Error::from)
            .map_err(step_error(dir))?;
    }
    for (path, file) in &bound_paths {
        let path_error = || step_error(&path.display());
        create(path, file).map_err(path_error())?;
        let source = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        mount_without_type(Some(&source), path, MsFlags::MS_BIND | MsFlags::MS_REC).map_err(path_error())?;
    }
    Ok(())
}

fn mount_without_type(source: Option<&Path>, target: &Path, flags: MsFlags) -> io::Result<()> {
    mount(source, target, None::<&str>, flags, None::<&str>).map_err(io::Error::from)
}

/// Creates the mount point of a path, a directory or an empty file, unless it exists below another mounted path.
fn create(path: &Path, file: &File) -> io::Result<()> {
    let directories = if file.metadata()?.is_dir() { Some(path) } else { path.parent() };
    DirBuilder::new().recursive(true).mode(0o755).create(directories.unwrap_or(path))?;
    match path.exists() {
        true => Ok(()),
        false => File::create(path).map(drop),
    }
}
