//! Checks type, links, owner and mode of the paths that the daemon uses, fixes modes and creates directories.
//!
//! [`table`] has the rules, [`judge`] decides what to do about each path.

pub mod give;
pub mod judge;
pub mod reference;
pub mod table;

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, umask};
use nix::sys::statfs::{Statfs, statfs};
use nix::unistd::{Uid, User, geteuid};

use super::fault::StartError;
use super::privileges;
use crate::config::table::Kind;
use crate::config::{AFTER_A_NEW_PATH, Config, Loaded};
use crate::db::place;
use judge::{Fault, Seen, There, Verdict, judge, on_a_network};
use table::{Is, Keeper, Otherwise, ROWS, Row, What, paths};

/// Unsafe paths that the daemon cannot fix; one per line, each with how to fix it.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("\n"))]
pub struct Unsafe(
    /// The name of the path, such as `Server.DataDir`, and the line.
    pub Vec<(&'static str, String)>,
);

/// Runs [`check`], then [`make`]. Returns the warnings.
///
/// # Errors
/// Those of [`check`] and [`make`].
pub(super) fn prepare(gcfg: &Path, loaded: &Loaded) -> Result<Vec<String>, StartError> {
    let warnings = check(gcfg, loaded)?;
    make(gcfg, &loaded.config)?;
    Ok(warnings)
}

/// A directory that cannot be created.
#[derive(Debug, thiserror::Error)]
#[error(
    "{name} '{0}' cannot be created: {source}; fix it with: {way_out}", path.display()
)]
pub struct Unmade {
    /// The property that configures it.
    pub name: &'static str,
    path: PathBuf,
    way_out: String,
    source: io::Error,
}

/// Creates missing directories with the modes of their rules. The database and the storage create their own; an error
/// of a log is reported when the log is opened.
///
/// # Errors
/// The first required directory that cannot be created.
pub(super) fn make(gcfg: &Path, config: &Config) -> Result<(), Unmade> {
    let mine = |what| matches!(what, What::DataDir | What::SockFileDir | What::LogDir);
    // The umask is per process; whatever other threads create meanwhile has an explicit, restrictive mode.
    let before = umask(Mode::from_bits_truncate(0o022));
    let made = directories(gcfg, config).filter(|(row, _)| mine(row.what)).try_for_each(|(row, path)| {
        match DirBuilder::new().recursive(true).mode(row.mode).create(&path) {
            Err(source) if row.otherwise == Otherwise::Refuse => Err(unmade(row, path, source)),
            Ok(()) | Err(_) => Ok(()),
        }
    });
    umask(before);
    made
}

fn unmade(row: &Row, path: PathBuf, source: io::Error) -> Unmade {
    let me = user(geteuid().as_raw());
    let mut way_out = format!("install -d -o {me} -m {:04o} '{}'", row.mode, path.display());
    if source.kind() == io::ErrorKind::ReadOnlyFilesystem {
        // The unit's sandbox only opens paths that exist when it starts.
        way_out = format!("{way_out} && {AFTER_A_NEW_PATH}");
    }
    Unmade { name: row.name, path, way_out, source }
}

/// Checks every path, fixes the modes of those that belong to this process's user, and returns the warnings.
///
/// # Errors
/// The unsafe paths that cannot be fixed.
fn check(gcfg: &Path, loaded: &Loaded) -> Result<Vec<String>, Unsafe> {
    let me = geteuid().as_raw();
    let (mut warnings, mut refused) = (Vec::new(), Vec::new());
    for (row, path, verdict) in look(gcfg, loaded, me) {
        match verdict {
            Verdict::Good => {}
            Verdict::Repair(fault, mode) => match repair(&path, mode) {
                Ok(mode) => warnings.push(repaired(row, &path, fault, mode)),
                Err(error) => {
                    let text = format!("{} ({error})", described(row, &path, fault, me));
                    let grave = matches!(fault, Fault::WorldWritable(_));
                    if grave && !remote(&path) && row.otherwise == Otherwise::Refuse {
                        refused.push((row.name, text));
                    } else {
                        warnings.push(text);
                    }
                }
            },
            Verdict::Warn(fault) => warnings.push(described(row, &path, fault, me)),
            Verdict::Refuse(fault) => refused.push((row.name, described(row, &path, fault, me))),
        }
    }
    if refused.is_empty() { Ok(warnings) } else { Err(Unsafe(refused)) }
}

/// The violations that would prevent a start, except those that other checks report: a file instead of a directory.
#[must_use]
pub(super) fn refusals(gcfg: &Path, loaded: &Loaded) -> Vec<(What, String)> {
    let me = privileges::would_be(gcfg);
    let refused = |(row, path, verdict): Looked| match verdict {
        Verdict::Refuse(Fault::Type | Fault::DeadLink) if row.is == Is::Directory => None,
        // Run as root, with a gcfg of root: the server's user is that of User=, which only systemd knows.
        Verdict::Refuse(Fault::Owner(_) | Fault::ForeignLink(_)) if me == 0 => None,
        Verdict::Refuse(fault) => Some((row.what, described(row, &path, fault, me))),
        Verdict::Good | Verdict::Repair(..) | Verdict::Warn(_) => None,
    };
    look(gcfg, loaded, me).into_iter().filter_map(refused).collect()
}

type Looked = (&'static Row, PathBuf, Verdict);

fn look(gcfg: &Path, loaded: &Loaded, me: u32) -> Vec<Looked> {
    let secrets = holds_secrets(loaded);
    let judged = |row: &'static Row, path: PathBuf| {
        let verdict = judge(row, see(&path), me, secrets && row.what == What::Gcfg);
        let verdict = if remote(&path) { on_a_network(verdict) } else { verdict };
        (row, path, verdict)
    };
    ROWS.iter()
        .flat_map(|row| paths(row.what, gcfg, &loaded.config).into_iter().map(move |path| (row, path)))
        .map(|(row, path)| judged(row, path))
        .collect()
}

/// Whether a path is on a network file system.
fn remote(path: &Path) -> bool {
    #[allow(
        clippy::unnecessary_cast,
        clippy::cast_possible_wrap,
        reason = "the type differs between platforms"
    )]
    let kind = |found: Statfs| place::remote_kind(found.filesystem_type().0 as i64);
    statfs(path).ok().and_then(kind).is_some()
}

/// Whether the settings hold a password.
fn holds_secrets(loaded: &Loaded) -> bool {
    loaded.settings.iter().any(|setting| {
        let hidden = |text: &str| match setting.property.kind {
            Kind::Secret => !text.is_empty(),
            Kind::Url(_) => text.contains('@'),
            _ => false,
        };
        setting.values.iter().any(|value| hidden(&value.text))
    })
}

fn see(path: &Path) -> Seen {
    let link = path.symlink_metadata().ok().filter(std::fs::Metadata::is_symlink).map(|found| found.uid());
    // An error is reported when the path is used.
    let Ok(found) = path.metadata() else { return Seen { link, there: There::Nothing } };
    let kind = found.file_type();
    let is = match (kind.is_dir(), kind.is_file(), kind.is_socket()) {
        (true, _, _) => Is::Directory,
        (_, true, _) => Is::File,
        (_, _, true) => Is::Socket,
        (false, false, false) => return Seen { link, there: There::Odd },
    };
    Seen { link, there: There::Some { is, uid: found.uid(), mode: found.mode() & 0o7777 } }
}

/// Sets the mode and returns the mode that the path then has.
fn repair(path: &Path, mode: u32) -> io::Result<u32> {
    std::fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok(path.metadata()?.mode() & 0o7777)
}

fn repaired(row: &Row, path: &Path, fault: Fault, mode: u32) -> String {
    let before = match fault {
        Fault::WorldWritable(mode) | Fault::TooOpen(mode) | Fault::TooClosed(mode) => mode,
        Fault::ForeignLink(_) | Fault::DeadLink | Fault::Type | Fault::Owner(_) => mode,
    };
    format!("{} '{}' had mode {before:04o}; changed to {mode:04o}", row.name, path.display())
}

/// The name of a user, or its number.
fn user(uid: u32) -> String {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

fn described(row: &Row, path: &Path, fault: Fault, me: u32) -> String {
    let (name, shown) = (row.name, path.display());
    let me_name = user(me);
    let should = match row.is {
        Is::Directory => "a directory",
        Is::File => "a file",
        Is::Socket => "a socket",
    };
    let mode = row.mode;
    match fault {
        Fault::ForeignLink(uid) => format!(
            "{name} '{shown}' is a symbolic link of user {}, who can redirect it; fix it with: chown -h {me_name} '{shown}'",
            user(uid)
        ),
        Fault::DeadLink => {
            format!("{name} '{shown}' is a dangling symbolic link; fix it with: rm '{shown}'")
        }
        Fault::Type => format!("{name} '{shown}' is not {should}; move it away"),
        Fault::Owner(uid) => {
            let way_out = match row.keeper {
                Keeper::Daemon if me == 0 => {
                    format!(" or start the server as that user: --user {}", user(uid))
                }
                Keeper::Daemon | Keeper::Administrator => String::new(),
            };
            let all = if row.is == Is::Directory { "-R " } else { "" };
            format!(
                "{name} '{shown}' belongs to user {}, not to {me_name}; fix it with: chown {all}{me_name} '{shown}'{way_out}",
                user(uid)
            )
        }
        Fault::WorldWritable(found) => format!(
            "{name} '{shown}' is writable by everybody (mode {found:04o}); fix it with: chmod {mode:04o} '{shown}'"
        ),
        Fault::TooOpen(found) => format!(
            "{name} '{shown}' is open to others (mode {found:04o}); fix it with: chmod {mode:04o} '{shown}'"
        ),
        Fault::TooClosed(found) => format!(
            "{name} '{shown}' is not accessible to its own user (mode {found:04o}); fix it with: chmod {mode:04o} '{shown}'"
        ),
    }
}

/// The directories of a configuration that the daemon creates, with their rules.
fn directories(gcfg: &Path, config: &Config) -> impl Iterator<Item = (&'static Row, PathBuf)> {
    ROWS.iter()
        .filter(|row| row.is == Is::Directory && row.keeper == Keeper::Daemon)
        .flat_map(move |row| paths(row.what, gcfg, config).into_iter().map(move |path| (row, path)))
}
