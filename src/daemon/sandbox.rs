//! Repeats the part of the unit's sandbox that decides which directories the service sees (`ProtectHome=tmpfs`,
//! `PrivateTmp=`), in a mount namespace of this process.

use std::fmt::Display;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// Makes `hidden` empty for this process, except for the paths below them in `bound`. The process must have one thread.
///
/// # Errors
/// The step that the system refuses, such as in a container without the privilege.
pub(super) fn enter(hidden: &[&str], bound: &[PathBuf]) -> Result<(), String> {
    let step = |what: &dyn Display| {
        let what = what.to_string();
        move |error: io::Error| format!("{what}: {error}")
    };
    if hidden.is_empty() {
        return Ok(());
    }
    unshare(CloneFlags::CLONE_NEWNS).map_err(io::Error::from).map_err(step(&"new mount namespace"))?;
    bind(None, Path::new("/"), MsFlags::MS_REC | MsFlags::MS_PRIVATE).map_err(step(&"private mounts"))?;
    // Opens the bound paths in the new namespace, before they are hidden; a missing path stays missing.
    let open = |path: &PathBuf| {
        let file = File::options().read(true).custom_flags(OFlag::O_PATH.bits()).open(path).ok()?;
        Some((path.clone(), file))
    };
    let is_hidden = |path: &&PathBuf| hidden.iter().any(|dir| path.starts_with(dir));
    let bound: Vec<(PathBuf, File)> = bound.iter().filter(is_hidden).filter_map(open).collect();
    for dir in hidden.iter().filter(|dir| Path::new(dir).is_dir()) {
        let mode = if dir.ends_with("tmp") { "mode=1777" } else { "mode=0755" };
        mount(Some("tmpfs"), *dir, Some("tmpfs"), MsFlags::MS_NODEV | MsFlags::MS_NOSUID, Some(mode))
            .map_err(io::Error::from)
            .map_err(step(dir))?;
    }
    for (path, file) in &bound {
        let failed = || step(&path.display());
        create(path, file).map_err(failed())?;
        let opened = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        bind(Some(&opened), path, MsFlags::MS_BIND | MsFlags::MS_REC).map_err(failed())?;
    }
    Ok(())
}

fn bind(from: Option<&Path>, to: &Path, flags: MsFlags) -> io::Result<()> {
    mount(from, to, None::<&str>, flags, None::<&str>).map_err(io::Error::from)
}

/// Creates the directory, or the empty file, to mount a path on, unless it exists because a path above was mounted.
fn create(path: &Path, file: &File) -> io::Result<()> {
    let directories = if file.metadata()?.is_dir() { Some(path) } else { path.parent() };
    DirBuilder::new().recursive(true).mode(0o755).create(directories.unwrap_or(path))?;
    match path.exists() {
        true => Ok(()),
        false => File::create(path).map(drop),
    }
}
