//! Checks type, links, owner and mode of the paths that the daemon uses, fixes modes and creates directories.
//!
//! [`table`] contains the rules; [`policy`] decides about each path.

pub mod policy;
pub mod provision;
pub mod reference;
pub mod table;

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, umask};
use nix::sys::statfs::{Statfs, statfs};
use nix::unistd::{Uid, User, geteuid};

use base::config::table::Kind;
use base::config::{Config, Loaded, RESTART_COMMAND, ValueForm};
use policy::{Decision, PathState, PathTarget, Violation, decide, relax_on_network};
use store::db::sqlite_dir;
use table::{FileType, FixedBy, OnViolation, PathKind, PathRule, RULES, paths};

#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error(transparent)]
    Unsafe(#[from] UnsafePaths),
    #[error(transparent)]
    Directory(#[from] CreateError),
}

impl FileError {
    pub(super) fn names(&self) -> Vec<&'static str> {
        match self {
            FileError::Unsafe(paths) => {
                let mut names: Vec<_> = paths.0.iter().map(|(name, _)| *name).collect();
                names.dedup();
                names
            }
            FileError::Directory(error) => vec![error.name],
        }
    }
}

/// Unsafe paths that the daemon cannot fix; one per line, each with how to fix it.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("\n"))]
pub struct UnsafePaths(
    /// The name of the path, such as `Server.DataDir`, and the line.
    pub Vec<(&'static str, String)>,
);

/// Runs [`check`], then [`create_directories`]. Returns the warnings.
pub(super) fn prepare(gcfg: &Path, loaded: &Loaded) -> Result<Vec<String>, FileError> {
    let warnings = check(gcfg, loaded)?;
    create_directories(gcfg, &loaded.config)?;
    Ok(warnings)
}

#[derive(Debug, thiserror::Error)]
#[error(
    "{name} '{0}' cannot be created: {source}; fix it with: {remedy}", path.display()
)]
pub struct CreateError {
    pub name: &'static str,
    path: PathBuf,
    remedy: String,
    source: io::Error,
}

/// Creates missing directories with the modes of their rules. Database and storage create their own; an error about a
/// log directory is reported when the log is opened. Fails with the first required directory that cannot be created.
pub(super) fn create_directories(gcfg: &Path, config: &Config) -> Result<(), CreateError> {
    let is_created = |kind| matches!(kind, PathKind::DataDir | PathKind::SockFileDir | PathKind::LogDir);
    // The umask is per process; files that other threads create at this time have an explicit, restrictive mode.
    let old_umask = umask(Mode::from_bits_truncate(0o022));
    let result =
        directories(gcfg, config).filter(|(rule, _)| is_created(rule.kind)).try_for_each(|(rule, path)| {
            match DirBuilder::new().recursive(true).mode(rule.mode).create(&path) {
                Err(source) if rule.on_violation == OnViolation::Refuse => {
                    Err(create_error(rule, path, source))
                }
                Ok(()) | Err(_) => Ok(()),
            }
        });
    umask(old_umask);
    result
}

fn create_error(rule: &PathRule, path: PathBuf, source: io::Error) -> CreateError {
    let own_name = user(geteuid().as_raw());
    let mut remedy = format!("install -d -o {own_name} -m {:04o} '{}'", rule.mode, path.display());
    if source.kind() == io::ErrorKind::ReadOnlyFilesystem {
        // The unit's sandbox gives access only to paths that exist when it starts.
        remedy = format!("{remedy} && {RESTART_COMMAND}");
    }
    CreateError { name: rule.name, path, remedy, source }
}

/// Checks every path, fixes modes of those of this process's user, and returns warnings. Fails if unsafe paths remain.
fn check(gcfg: &Path, loaded: &Loaded) -> Result<Vec<String>, UnsafePaths> {
    let own_uid = geteuid().as_raw();
    let (mut warnings, mut refusals) = (Vec::new(), Vec::new());
    for (rule, path, decision) in inspect(gcfg, loaded, own_uid) {
        match decision {
            Decision::Conforms => {}
            Decision::Repair(violation, mode) => match set_mode(&path, mode) {
                Ok(mode) => warnings.push(describe_repair(rule, &path, violation, mode)),
                Err(error) => {
                    let text = format!("{} ({error})", describe(rule, &path, violation, own_uid));
                    let is_severe = matches!(violation, Violation::WorldWritable(_));
                    if is_severe && !is_remote(&path) && rule.on_violation == OnViolation::Refuse {
                        refusals.push((rule.name, text));
                    } else {
                        warnings.push(text);
                    }
                }
            },
            Decision::Warn(violation) => warnings.push(describe(rule, &path, violation, own_uid)),
            Decision::Refuse(violation) => {
                refusals.push((rule.name, describe(rule, &path, violation, own_uid)))
            }
        }
    }
    if refusals.is_empty() { Ok(warnings) } else { Err(UnsafePaths(refusals)) }
}

/// The violations that would prevent a start by the user `own_uid`. Other checks report wrong types of directories.
pub(super) fn refusals(gcfg: &Path, loaded: &Loaded, own_uid: u32) -> Vec<(PathKind, String)> {
    let refusal = |(rule, path, decision): Inspection| match decision {
        Decision::Refuse(Violation::Type | Violation::DanglingLink)
            if rule.file_type == FileType::Directory =>
        {
            None
        }
        // If root owns the gcfg, the server's user is `User=` of the unit, which is not read here.
        Decision::Refuse(Violation::Owner(_) | Violation::ForeignLink(_)) if own_uid == 0 => None,
        Decision::Refuse(violation) => Some((rule.kind, describe(rule, &path, violation, own_uid))),
        Decision::Conforms | Decision::Repair(..) | Decision::Warn(_) => None,
    };
    inspect(gcfg, loaded, own_uid).into_iter().filter_map(refusal).collect()
}

type Inspection = (&'static PathRule, PathBuf, Decision);

fn inspect(gcfg: &Path, loaded: &Loaded, own_uid: u32) -> Vec<Inspection> {
    let has_secrets = has_secrets(loaded);
    let inspection = |rule: &'static PathRule, path: PathBuf| {
        let decision = decide(rule, read_state(&path), own_uid, has_secrets && rule.kind == PathKind::Gcfg);
        let decision = if is_remote(&path) { relax_on_network(decision) } else { decision };
        (rule, path, decision)
    };
    RULES
        .iter()
        .flat_map(|rule| paths(rule.kind, gcfg, &loaded.config).into_iter().map(move |path| (rule, path)))
        .map(|(rule, path)| inspection(rule, path))
        .collect()
}

fn is_remote(path: &Path) -> bool {
    #[allow(
        clippy::unnecessary_cast,
        clippy::cast_possible_wrap,
        reason = "the type differs between platforms"
    )]
    let kind = |stats: Statfs| sqlite_dir::remote_kind(stats.filesystem_type().0 as i64);
    statfs(path).ok().and_then(kind).is_some()
}

fn has_secrets(loaded: &Loaded) -> bool {
    loaded.settings.iter().any(|setting| {
        let is_secret = |text: &str| match setting.property.kind {
            Kind::Secret => !text.is_empty(),
            Kind::Url(_) => text.contains('@'),
            _ => false,
        };
        setting.values.iter().any(|value| value.form == ValueForm::Plain && is_secret(&value.text))
    })
}

fn read_state(path: &Path) -> PathState {
    let link =
        path.symlink_metadata().ok().filter(std::fs::Metadata::is_symlink).map(|metadata| metadata.uid());
    // An error is reported when the path is used.
    let Ok(metadata) = path.metadata() else { return PathState { link, target: PathTarget::Missing } };
    let unix_type = metadata.file_type();
    let file_type = match (unix_type.is_dir(), unix_type.is_file(), unix_type.is_socket()) {
        (true, _, _) => FileType::Directory,
        (_, true, _) => FileType::File,
        (_, _, true) => FileType::Socket,
        (false, false, false) => return PathState { link, target: PathTarget::OtherType },
    };
    PathState {
        link,
        target: PathTarget::Found { file_type, uid: metadata.uid(), mode: metadata.mode() & 0o7777 },
    }
}

fn set_mode(path: &Path, mode: u32) -> io::Result<u32> {
    std::fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok(path.metadata()?.mode() & 0o7777)
}

fn describe_repair(rule: &PathRule, path: &Path, violation: Violation, mode: u32) -> String {
    let old_mode = match violation {
        Violation::WorldWritable(mode) | Violation::TooOpen(mode) | Violation::TooClosed(mode) => mode,
        Violation::ForeignLink(_) | Violation::DanglingLink | Violation::Type | Violation::Owner(_) => mode,
    };
    format!("{} '{}' had mode {old_mode:04o}; changed to {mode:04o}", rule.name, path.display())
}

fn user(uid: u32) -> String {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

fn describe(rule: &PathRule, path: &Path, violation: Violation, own_uid: u32) -> String {
    let (name, path) = (rule.name, path.display());
    let own_name = user(own_uid);
    let expected = match rule.file_type {
        FileType::Directory => "a directory",
        FileType::File => "a file",
        FileType::Socket => "a socket",
    };
    let mode = rule.mode;
    match violation {
        Violation::ForeignLink(uid) => format!(
            "{name} '{path}' is a symbolic link of user {}, who can redirect it; fix it with: chown -h {own_name} '{path}'",
            user(uid)
        ),
        Violation::DanglingLink => {
            format!("{name} '{path}' is a dangling symbolic link; fix it with: rm '{path}'")
        }
        Violation::Type => format!("{name} '{path}' is not {expected}; move it away"),
        Violation::Owner(uid) => {
            let alternative = match rule.fixed_by {
                FixedBy::Daemon if own_uid == 0 => {
                    format!(" or start the server as that user: --user {}", user(uid))
                }
                FixedBy::Daemon | FixedBy::Administrator => String::new(),
            };
            let recursive = if rule.file_type == FileType::Directory { "-R " } else { "" };
            format!(
                "{name} '{path}' belongs to user {}, not to {own_name}; fix it with: chown {recursive}{own_name} '{path}'{alternative}",
                user(uid)
            )
        }
        Violation::WorldWritable(actual) => format!(
            "{name} '{path}' is writable by all users (mode {actual:04o}); fix it with: chmod {mode:04o} '{path}'"
        ),
        Violation::TooOpen(actual) => format!(
            "{name} '{path}' is open to others (mode {actual:04o}); fix it with: chmod {mode:04o} '{path}'"
        ),
        Violation::TooClosed(actual) => format!(
            "{name} '{path}' is not accessible to its own user (mode {actual:04o}); fix it with: chmod {mode:04o} '{path}'"
        ),
    }
}

/// The directories of a configuration that the daemon creates, with their rules.
fn directories(gcfg: &Path, config: &Config) -> impl Iterator<Item = (&'static PathRule, PathBuf)> {
    RULES
        .iter()
        .filter(|rule| rule.file_type == FileType::Directory && rule.fixed_by == FixedBy::Daemon)
        .flat_map(move |rule| paths(rule.kind, gcfg, config).into_iter().map(move |path| (rule, path)))
}
