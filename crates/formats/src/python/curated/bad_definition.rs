//! Why a definition of a curated source is refused.

use crate::python::lock_file::BadPythonLockFile;
use crate::python::requirements_file::BadRequirements;
use crate::python::specifier::BadSpecifier;
use base::model::project_name::ProjectName;

/// Maximum number of projects of a definition.
pub const MAX_PROJECTS: usize = 20_000;
/// Maximum number of files of a definition; it also limits the depth of files that refer to each other.
pub(super) const MAX_FILES: usize = 100;
/// Maximum number of different lines for one project, and of digests on one line.
pub(super) const MAX_LINES: usize = 1000;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPythonDefinition {
    #[error("{file}: {error}")]
    Requirements {
        file: String,
        #[source]
        error: BadRequirements,
    },
    #[error("{file}: {error}")]
    LockFile {
        file: String,
        #[source]
        error: BadPythonLockFile,
    },
    #[error("{origin}: {error}")]
    Versions {
        /// The file and the line.
        origin: String,
        #[source]
        error: BadSpecifier,
    },
    #[error("{file}, line {line}: the file '{path}' is missing; write its lines in place of this one")]
    Missing { file: String, line: usize, path: String },
    #[error(
        "{file}, line {line}: the constraints '{path}' are a lock file; name it with -r, or leave out this line"
    )]
    LockConstraint { file: String, line: usize, path: String },
    #[error(
        "{origin}: the lock file has no SHA-256 of '{name}'; lock it with digests, or leave out --strict"
    )]
    NoDigest { origin: String, name: ProjectName },
    #[error("{0} names no package; write one requirement on each line, such as requests>=2.31")]
    Empty(String),
    #[error("{file} names no package of the index: {skipped}")]
    OtherOrigins {
        file: String,
        /// The notices about the packages.
        skipped: String,
    },
    #[error(
        "{0}: the environment markers of all requirements exclude the requested versions of Python and platforms; request \
         others"
    )]
    OtherEnvironments(String),
    /// A file contains a NUL character, which databases do not store in a text.
    #[error("{0}: there is a NUL character; remove it, definitions are plain text")]
    Nul(String),
    #[error("the definition has {0} files, more than the {MAX_FILES} allowed; use fewer")]
    TooManyFiles(usize),
    #[error(
        "{origin}: '{name}' has more than {MAX_LINES} different lines or digests; write one line with a range of versions"
    )]
    TooManyLines {
        /// The file and the line.
        origin: String,
        name: ProjectName,
    },
    /// The constraints are too long for the number of lines that they restrict.
    #[error("{0}: the constraints are too long; write one line for each package, with its versions")]
    LongConstraints(String),
    #[error(
        "the definition has {0} packages, more than the {MAX_PROJECTS} allowed; split it into several sources"
    )]
    TooMany(usize),
}
