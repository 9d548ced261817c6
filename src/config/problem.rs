//! What can be wrong with a configuration, and where: every finding names its place, its property and the way out.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::unistd::{Uid, User, geteuid};

/// A place in the file; both count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Written in the file of that name.
    File(Arc<str>, Position),
    /// Taken from the environment variable of that name.
    Environment(String),
    /// Not set anywhere.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(name, at) => write!(f, "{name}:{}:{}", at.line, at.column),
            Origin::Environment(variable) => write!(f, "environment {variable}"),
            Origin::Default => f.write_str("default"),
        }
    }
}

/// Which of the checks of `check-config` a finding belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// The file cannot be read as sections and `Name = value` lines, or a value is not of its type.
    Syntax,
    /// No such section, sub-name or property.
    Name,
    /// A path that cannot be right, whatever is on the disk.
    Path,
    /// Settings that do not fit together.
    Settings,
    /// A property that is known and does nothing (yet), or less than it says.
    Effect,
}

/// One finding: an error in [`ConfigError::Invalid`], else a warning of [`super::Loaded`].
///
/// It prints as one line: place, section, property, offending value (secrets as `***`), reason and way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Which check it belongs to.
    pub about: About,
    /// The place of the value, or of the name when that is wrong.
    pub origin: Origin,
    /// As written: `[S3Storage "cache"]`.
    pub section: Option<String>,
    /// The property's name.
    pub property: Option<String>,
    /// The offending value, fit to be printed.
    pub value: Option<String>,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// Longest part of an offending value that is printed, in characters.
const SHOWN: usize = 120;

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.origin != Origin::Default {
            write!(f, "{}: ", self.origin)?;
        }
        if let Some(section) = &self.section {
            f.write_str(section)?;
            f.write_str(if self.property.is_some() { " " } else { ": " })?;
        }
        if let Some(property) = &self.property {
            f.write_str(property)?;
            if let Some(value) = &self.value {
                let shown: String = value.chars().take(SHOWN).collect();
                let more = if shown.len() < value.len() { "…" } else { "" };
                write!(f, " = \"{}{more}\"", shown.escape_debug())?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.message)
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {source}; {}", path.display(), way_out(path, source))]
    Unreadable {
        /// The file asked for.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file (or the environment) was read and is wrong. Prints every error on a line of its own.
    #[error("{}", lines(errors))]
    Invalid {
        /// At least one.
        errors: Vec<Notice>,
        /// What would have been warned of.
        warnings: Vec<Notice>,
    },
}

impl ConfigError {
    /// The errors found in the text; empty when there was no text.
    #[must_use]
    pub fn errors(&self) -> &[Notice] {
        match self {
            ConfigError::Unreadable { .. } => &[],
            ConfigError::Invalid { errors, .. } => errors,
        }
    }
}

fn way_out(path: &Path, source: &std::io::Error) -> String {
    match source.kind() {
        std::io::ErrorKind::NotFound => {
            "create it (an empty file means all defaults), or name another one with --config".to_owned()
        }
        std::io::ErrorKind::PermissionDenied => denied(path),
        _ => "name another one with --config".to_owned(),
    }
}

fn denied(path: &Path) -> String {
    let name =
        |uid: Uid| User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
    let me = name(geteuid());
    match path.metadata() {
        Ok(found) => format!(
            "it belongs to user {} with mode {:04o}: run as that user, as root, or as a member of its group; or, if \
             {me} is the user of the service, mend it with: chown {me} '{}'",
            name(Uid::from_raw(found.uid())),
            found.mode() & 0o7777,
            path.display()
        ),
        Err(_) => format!("user {me} cannot enter a directory above it: run as another user, or as root"),
    }
}

fn lines(errors: &[Notice]) -> String {
    errors.iter().map(Notice::to_string).collect::<Vec<_>>().join("\n")
}
