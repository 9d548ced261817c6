//! Locations of backups: a directory, or a prefix in a bucket.

use std::fmt::{self, Display};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::value;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupPlace {
    Directory(PathBuf),
    /// A bucket, which is reached with the connection properties of `[S3Storage]`.
    Bucket {
        bucket: String,
        /// The prefix of every key, without slashes at its ends; may be empty.
        prefix: String,
    },
}

impl BackupPlace {
    /// Returns whether a text has the form of an address in a bucket.
    pub fn is_address(text: &str) -> bool {
        text.starts_with("s3://")
    }

    /// Returns the directory; `None` for a bucket.
    pub fn directory(&self) -> Option<&Path> {
        match self {
            BackupPlace::Directory(path) => Some(path),
            BackupPlace::Bucket { .. } => None,
        }
    }
}

/// Returns whether `prefix` in a bucket equals `other`, or is below it.
pub fn is_below(prefix: &str, other: &str) -> bool {
    let rest = prefix.strip_prefix(other);
    other.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl FromStr for BackupPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<BackupPlace, String> {
        let Some(rest) = text.strip_prefix("s3://") else {
            let error = |_| "must be an absolute path or s3://bucket/prefix".to_owned();
            return value::path(text).map(BackupPlace::Directory).map_err(error);
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_end_matches('/');
        let is_name = |name: &str| {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.=".contains(c);
            !name.is_empty() && name.chars().all(is_plain) && !matches!(name, "." | "..")
        };
        if !is_name(bucket) || !(prefix.is_empty() || prefix.split('/').all(is_name)) {
            return Err("is not s3://bucket/prefix with names of letters, digits, - _ . =".to_owned());
        }
        Ok(BackupPlace::Bucket { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

impl Display for BackupPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BackupPlace::Directory(path) => path.display().fmt(f),
            BackupPlace::Bucket { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            BackupPlace::Bucket { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_absolute_path_or_an_address() {
        for (text, canonical) in [
            ("/srv/backups/../b", "/srv/b"),
            ("s3://bucket", "s3://bucket"),
            ("s3://bucket/", "s3://bucket"),
            ("s3://my.bucket/some/prefix/", "s3://my.bucket/some/prefix"),
        ] {
            let place: BackupPlace = text.parse().expect(text);
            assert_eq!(place.to_string(), canonical);
            assert_eq!(canonical.parse(), Ok(place));
        }
        for text in [
            "",
            "backups",
            "s3:/b",
            "s3://",
            "s3:///p",
            "s3://b//p",
            "s3://b/../p",
            "s3://b/./p",
            "s3://b/a b",
            "s3://b/%2e",
            "s3://b/p?x",
        ] {
            assert!(text.parse::<BackupPlace>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_prefix_contains_whole_names() {
        assert!(is_below("a/b", "a") && is_below("a", "a") && is_below("a", "") && is_below("", ""));
        assert!(!is_below("ab", "a") && !is_below("a", "a/b") && !is_below("", "a"));
    }
}
