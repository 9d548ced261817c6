//! Inventory of the files of an upstream, which is a mirror or another bundle.

use std::collections::HashMap;

use super::metadata::FileValidators;
use base::model::digest::{Md5, Sha256};
use base::model::time::Timestamp;
use formats::bundle::{Record, ReleaseRecord};
use formats::r::version;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct UpstreamFile {
    /// The folder, unless it is the default one, as in [`ReleaseRecord`].
    pub(super) folder: Option<String>,
    pub(super) name: String,
    pub(super) version: String,
    /// The file extension, without the dot.
    pub(super) ext: String,
    /// Possible paths, the likeliest first: the mirror may move the file before it is fetched.
    pub(super) paths: Vec<String>,
    pub(super) size: Option<u64>,
    pub(super) published: Option<Timestamp>,
    pub(super) md5: Option<Md5>,
    pub(super) sha256: Option<Sha256>,
    /// Whether the index lists the file as the package's current version.
    pub(super) is_listed: bool,
    /// The file's record in the index.
    pub(super) index: Option<String>,
    /// The file's record in the bundle that is read; with a record the contents need not be read.
    pub(super) record: Option<Box<ReleaseRecord>>,
}

impl UpstreamFile {
    /// Returns folder (empty for the default one) and name.
    pub(super) fn key(&self) -> (&str, &str) {
        (self.folder.as_deref().unwrap_or_default(), &self.name)
    }

    /// Returns the path in the mirror's index.
    pub(super) fn path(&self) -> &str {
        self.paths.first().map_or("", String::as_str)
    }

    /// Returns whether a checksum of the file's bytes is known.
    pub(super) fn is_verifiable(&self) -> bool {
        self.sha256.is_some() || self.md5.is_some() || self.record.is_some()
    }
}

/// Unlists all versions of each package but the highest, as R's `available.packages`: of equal ones, the first is listed.
pub(super) fn unlist_lower_versions(files: &mut [UpstreamFile]) {
    let mut highest: HashMap<(Option<String>, String), usize> = HashMap::new();
    for index in 0..files.len() {
        let position =
            highest.entry((files[index].folder.clone(), files[index].name.clone())).or_insert(index);
        let is_higher = version::compare(&files[index].version, &files[*position].version).is_gt();
        let lower = if is_higher { std::mem::replace(position, index) } else { index };
        if lower != *position {
            files[lower].is_listed = false;
        }
    }
}

/// All files of an upstream at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Inventory {
    pub(super) files: Vec<UpstreamFile>,
    /// Events of earlier days other than publications: archivals and restores.
    pub(super) events: Vec<Record>,
    /// Whether `files` are all files of upstream: then a known file that is not among them has been removed.
    pub(super) is_complete: bool,
    /// Whether times of publication are known.
    pub(super) has_dates: bool,
    /// Digests of the metadata files, to detect a change.
    pub(super) fingerprint: Vec<Sha256>,
    /// The serial of the bundle; `None` for a mirror.
    pub(super) serial: Option<u64>,
    /// Validators of all metadata files; `None` if one of them has none.
    pub(super) validators: Option<Vec<FileValidators>>,
    pub(super) warnings: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_versions_the_highest_is_listed() {
        let file = |(folder, name, version): (Option<&str>, &str, &str)| UpstreamFile {
            folder: folder.map(str::to_owned),
            name: name.to_owned(),
            version: version.to_owned(),
            is_listed: true,
            ..UpstreamFile::default()
        };
        let rows = [
            (None, "a1", "1.9"),
            (None, "b2", "1.0-1"),
            (None, "a1", "1.10"),
            (Some("4.6.0/Recommended"), "a1", "1.2"),
            (None, "a1", "1.2"),
            (None, "b2", "1.0.1"),
        ];
        let mut files: Vec<UpstreamFile> = rows.into_iter().map(file).collect();
        unlist_lower_versions(&mut files);
        let listed: Vec<bool> = files.iter().map(|file| file.is_listed).collect();
        assert_eq!(listed, [false, true, true, true, false, false]);
    }
}
