//! The distribution for which a file of a project stands: installers choose between files of one distribution by their
//! order on the page, which differs between them, so a source has one file of each.

use std::collections::BTreeSet;

use super::file_name::{FileKind, FileName};
use super::version::Version;
use super::wheel_name::WheelName;

/// What files of a project stand for; two files with equal values are alternatives. Versions and build tags are compared by
/// value, tags as the set of their combinations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Distribution {
    Wheel {
        version: Version,
        /// The number of the build tag, and the rest of it.
        build: Option<(u64, String)>,
        /// Every combination of the tags.
        tags: BTreeSet<String>,
    },
    /// The source distribution of a version, in any format.
    Source(Version),
    /// A file of another kind, or one whose name cannot be read.
    Other(String),
}

impl Distribution {
    /// Returns the distribution of a file; `version` is that of its metadata.
    pub fn of_file(file: &str, version: &str) -> Distribution {
        let other = || Distribution::Other(file.to_owned());
        let Ok(name) = FileName::parse(file) else { return other() };
        match (name.kind(), WheelName::parse(file)) {
            (FileKind::Wheel, Ok(wheel)) => Distribution::Wheel {
                version: Version::lenient(version),
                build: wheel.build.map(|build| (build.number, build.rest.to_owned())),
                tags: wheel.tags.expand().map(|tag| tag.to_string()).collect(),
            },
            (FileKind::Sdist, _) => Distribution::Source(Version::lenient(version)),
            _ => other(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(file: &str) -> Distribution {
        let version = file.split('-').nth(1).expect("a version");
        let version = [".tar.gz", ".tar.xz", ".zip"]
            .iter()
            .find_map(|end| version.strip_suffix(end))
            .unwrap_or(version);
        Distribution::of_file(file, version)
    }

    #[test]
    fn spellings_of_one_distribution_are_equal() {
        for (one, other) in [
            ("a-1.0-py2.py3-none-any.whl", "a-1.0-py3.py2-none-any.whl"),
            ("A_b-1.0-py3-none-any.whl", "a_b-1.0-py3-none-any.whl"),
            ("a-1.0-py3-none-any.whl", "a-1.0.0-py3-none-any.whl"),
            ("a-1.0-py3-none-any.whl", "a-v1-py3-none-any.whl"),
            ("a-1.0-py3-none-any.whl", "a-1.0-PY3-none-any.whl"),
            ("a-1.0-py3-none-any.whl", "a-1.0-py3.py3-none-any.whl"),
            ("a-1.0-1-py3-none-any.whl", "a-1.0-01-py3-none-any.whl"),
            ("a-1.0+a.b-py3-none-any.whl", "a-1.0+a_b-py3-none-any.whl"),
            ("a-1.0-cp39.cp310-abi3.none-a.b.whl", "a-1.0-cp310.cp39-none.abi3-b.a.whl"),
            ("a_b-1.0.tar.gz", "a.b-1.0.tar.xz"),
            ("a-1.0.tar.gz", "a-1.zip"),
        ] {
            assert_eq!(of(one), of(other), "{one} {other}");
        }
    }

    #[test]
    fn others_differ() {
        for (one, other) in [
            ("a-1.0-py3-none-any.whl", "a-1.0-py2.py3-none-any.whl"),
            ("a-1.0-py3-none-any.whl", "a-1.0-0-py3-none-any.whl"),
            ("a-1.0-1-py3-none-any.whl", "a-1.0-1a-py3-none-any.whl"),
            ("a-1.0-py3-none-any.whl", "a-1.0+x-py3-none-any.whl"),
            ("a-1.0-py3-none-any.whl", "a-1.0rc1-py3-none-any.whl"),
            ("a-1.0-cp310-cp310-win32.whl", "a-1.0-cp311-cp311-win32.whl"),
            ("a-1.0-py3-none-any.whl", "a-1.0.tar.gz"),
            ("a-1.0.tar.gz", "a-1.0.post1.tar.gz"),
        ] {
            assert_ne!(of(one), of(other), "{one} {other}");
        }
    }
}
