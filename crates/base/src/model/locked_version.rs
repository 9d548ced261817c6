//! The versions of a lock file, compared with a snapshot.

use super::time::Day;

/// The state of a locked version in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockedState {
    Listed,
    /// The snapshot has it in its archive and lists another version, if any.
    Archived(Option<String>),
    /// The snapshot does not have it, and lists another version.
    Other(String),
    /// A block rule or a name guard refuses it.
    Blocked {
        /// The rule or the guard.
        reason: String,
        /// Whether the snapshot has details of the package: they are refused for a guarded name, and for a Python
        /// project of which all files are blocked.
        has_details: bool,
    },
    /// The snapshot has no version of the package.
    Missing,
    /// The index was not queried, because the file has too many unknown projects, or it did not answer.
    Unknown,
}

impl LockedState {
    /// Returns whether the snapshot has details of the package.
    pub fn has_details(&self) -> bool {
        match self {
            LockedState::Missing | LockedState::Unknown => false,
            LockedState::Blocked { has_details, .. } => *has_details,
            LockedState::Listed | LockedState::Archived(_) | LockedState::Other(_) => true,
        }
    }
}

/// A package of a lock file in a snapshot.
#[derive(Clone, Debug)]
pub struct LockedVersion {
    /// The name as written in the file.
    pub name: String,
    /// The version of the file.
    pub version: String,
    pub state: LockedState,
    /// The text of the version in the snapshot, if the text of the file has the same value: R regards `1.0-1` and
    /// `1.0-01` as the same version, but the name of the file has the text.
    pub spelling: Option<String>,
    /// The ids of advisories about the version.
    pub vulnerabilities: Vec<String>,
    /// The days at the end of which the version was listed, as half-open intervals; the last one has no end if the
    /// version is still listed. `None` if they are not known.
    pub listed: Option<Vec<Interval>>,
    /// The last day within which the version was listed, if it was never listed at the end of a day.
    pub listed_within: Option<Day>,
    /// Whether a block rule hides the version at some time.
    pub is_hidden: bool,
}

/// Days from the first one up to, not including, the second one.
pub type Interval = (Day, Option<Day>);

/// What a lock file, or another file with exact versions, contains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExactVersions {
    /// Names and versions.
    pub packages: Vec<(String, String)>,
    pub skipped: Vec<Skipped>,
}

/// A part of a lock file that is not compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The name of a package, or the line.
    pub name: String,
    pub reason: SkipReason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    NotFromRepository,
    /// The line allows several versions of the package.
    NoExactVersion,
    /// A further version of a package.
    OtherEnvironment,
    OtherFile,
    Option,
}

impl SkipReason {
    pub const ALL: [SkipReason; 5] = [
        SkipReason::NotFromRepository,
        SkipReason::NoExactVersion,
        SkipReason::OtherEnvironment,
        SkipReason::OtherFile,
        SkipReason::Option,
    ];

    /// Returns the text before a list of such parts.
    pub fn text(self) -> &'static str {
        match self {
            SkipReason::NotFromRepository => "not from a repository",
            SkipReason::NoExactVersion => "without an exact version",
            SkipReason::OtherEnvironment => {
                "a further version of a package, such as one for other environments"
            }
            SkipReason::OtherFile => "a reference to another file, which is not read",
            SkipReason::Option => "an option of pip",
        }
    }
}
