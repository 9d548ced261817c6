//! Problems of a configuration: errors and warnings, each with its position, property and remedy, such as a known name for
//! a misspelled one.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::unistd::{Uid, User, geteuid};

/// A position in the file; both numbers count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub line: u32,
    pub column: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    File(Arc<str>, Position),
    /// The environment variable with this name.
    Environment(String),
    /// The default; the property is not set.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(name, position) => write!(f, "{name}:{}:{}", position.line, position.column),
            Origin::Environment(variable) => write!(f, "environment {variable}"),
            Origin::Default => f.write_str("default"),
        }
    }
}

/// The part of `check-config` that reports a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemCategory {
    /// The file does not consist of sections and `Name = value` lines, or a value is not of its type.
    Syntax,
    /// Unknown section, subsection name or property.
    Name,
    /// A path that is invalid, or a file of secrets that cannot be read.
    Path,
    /// Settings that contradict each other.
    Settings,
    /// A known property that has no effect (yet), or less effect than its name suggests.
    Effect,
}

/// A problem: an error in [`ConfigError::Invalid`], otherwise a warning of [`super::Loaded`].
///
/// Displayed as one line: position, section, property, value (secrets as `***`), reason and remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub category: ProblemCategory,
    /// The origin of the value, or of the name if that is wrong.
    pub origin: Origin,
    /// The section header as written: `[S3Storage "cache"]`.
    pub section: Option<String>,
    pub property: Option<String>,
    /// The offending value, safe to print.
    pub value: Option<String>,
    /// The reason and the remedy.
    pub message: String,
}

/// Maximum length of an offending value in messages, in characters.
const MAX_VALUE_LENGTH: usize = 120;

impl fmt::Display for Problem {
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
                let excerpt: String = value.chars().take(MAX_VALUE_LENGTH).collect();
                let ellipsis = if excerpt.len() < value.len() { "…" } else { "" };
                write!(f, " = \"{}{ellipsis}\"", excerpt.escape_debug())?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.message)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration file {}: {source}; {}", path.display(), remedy(path, source))]
    Unreadable { path: PathBuf, source: std::io::Error },
    /// The file or the environment is invalid. Displays every error on its own line.
    #[error("{}", lines(errors))]
    Invalid {
        /// The errors; at least one.
        errors: Vec<Problem>,
        warnings: Vec<Problem>,
    },
}

impl ConfigError {
    /// Returns the errors in the text; empty if the file could not be read.
    pub fn errors(&self) -> &[Problem] {
        match self {
            ConfigError::Unreadable { .. } => &[],
            ConfigError::Invalid { errors, .. } => errors,
        }
    }
}

fn remedy(path: &Path, source: &std::io::Error) -> String {
    match source.kind() {
        std::io::ErrorKind::NotFound => {
            "create it (an empty file means all defaults), or name another one with --config".to_owned()
        }
        std::io::ErrorKind::PermissionDenied => permission_remedy(path),
        _ => "name another one with --config".to_owned(),
    }
}

/// Returns the reason why this process cannot read a file of the server, and the remedy.
pub(super) fn permission_remedy(path: &Path) -> String {
    let name =
        |uid: Uid| User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
    let user_name = name(geteuid());
    match path.metadata() {
        Ok(metadata) => format!(
            "it belongs to user {} with mode {:04o}: run as that user, as root, or as a member of its group; or, if \
             {user_name} is the user of the service, fix it with: chown {user_name} '{}'",
            name(Uid::from_raw(metadata.uid())),
            metadata.mode() & 0o7777,
            path.display()
        ),
        Err(_) => {
            format!("user {user_name} cannot enter a directory above it: run as another user, or as root")
        }
    }
}

fn lines(errors: &[Problem]) -> String {
    errors.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

/// Formats the question `did you mean X?`.
pub(super) fn did_you_mean(name: &str) -> String {
    format!("did you mean `{name}`?")
}

/// Returns the known name with the smallest edit distance to `name`, if it is similar enough.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_ascii_lowercase();
    // The comparison is quadratic, and no known name is that long.
    if name.len() > 64 {
        return None;
    }
    let distance = |candidate: &str| strsim::damerau_levenshtein(&name, &candidate.to_ascii_lowercase());
    let (distance, nearest_name) =
        candidates.map(|candidate| (distance(candidate), candidate)).min_by_key(|(distance, _)| *distance)?;
    (distance <= 1 + nearest_name.len() / 4).then_some(nearest_name)
}
