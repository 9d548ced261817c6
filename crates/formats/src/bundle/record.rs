//! A line of a segment: a release, or an event that concerns a package.

use std::borrow::Cow;

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::text::{as_optional_text, as_text};
use crate::r::name;
use base::model::digest::{Md5, Sha256};
use base::model::members::Members;
use base::model::time::{Day, Timestamp};

/// The file name extensions of objects.
pub const EXTENSIONS: [&str; 6] = ["tar.gz", "tgz", "tar.bz2", "tar.xz", "tar.zst", "zip"];

/// A line of a segment. Records of unknown kinds are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "lowercase")]
pub enum Record {
    /// A new release. Unless it is archived, it is listed from its day on, instead of the previous release.
    #[serde(rename = "ver")]
    Release(Box<ReleaseRecord>),
    Index(IndexUpdate),
    /// A package is no longer listed.
    Archive(PackageEvent),
    /// A release is listed again, instead of the current release.
    Restore(PackageEvent),
    /// A release is no longer available.
    Remove(PackageEvent),
    /// The listing at the end of a run.
    Snapshot(SnapshotRecord),
    /// A record from a later version of the format.
    #[serde(other)]
    Unknown,
}

/// The kind of a line, which is read before the rest.
#[derive(Deserialize)]
pub(super) struct RecordKind<'a> {
    #[serde(borrow)]
    pub(super) t: Cow<'a, str>,
}

impl Record {
    /// Parses a line. The kind is read first, because the derived `Deserialize` would buffer all members until it finds
    /// the kind, which takes twice as long.
    pub fn read(line: &[u8]) -> serde_json::Result<Record> {
        // Fast path: lines that this program writes begin with the kind.
        if line.starts_with(br#"{"t":"ver","#) {
            return serde_json::from_slice(line).map(Record::Release);
        }
        let kind: RecordKind<'_> = serde_json::from_slice(line)?;
        match &*kind.t {
            "ver" => serde_json::from_slice(line).map(Record::Release),
            "index" => serde_json::from_slice(line).map(Record::Index),
            "archive" => serde_json::from_slice(line).map(Record::Archive),
            "restore" => serde_json::from_slice(line).map(Record::Restore),
            "remove" => serde_json::from_slice(line).map(Record::Remove),
            "snapshot" => serde_json::from_slice(line).map(Record::Snapshot),
            _ => Ok(Record::Unknown),
        }
    }
}

/// A release with its file. Releases with the same package, version and folder but different bytes are revisions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseRecord {
    /// The folder, if it is not the default one: for CRAN, the directory below `src/contrib`, such as
    /// `4.6.0/Recommended`; for Bioconductor, the repository, such as `data/annotation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    pub name: String,
    pub version: String,
    /// The first day of the release.
    #[serde(with = "as_text")]
    pub day: Day,
    #[serde(default, with = "as_optional_text", skip_serializing_if = "Option::is_none")]
    pub published: Option<Timestamp>,
    /// Whether the release is archived from its first day on, because another release is listed, or because it is
    /// unknown whether it was ever listed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub archived: bool,
    pub obj: RecordObject,
    /// Its record in the mirror's index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// All fields of its DESCRIPTION; `None` for a binary, and for a file that cannot be read as a package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desc: Option<Fields>,
    /// Whether the package needs compilation, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compiled: Option<bool>,
    /// A reference to the README. Its text is in the README file of the same segment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readme: Option<Readme>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordObject {
    #[serde(with = "as_text")]
    pub sha256: Sha256,
    /// The size of the file in bytes.
    pub size: u64,
    #[serde(with = "as_text")]
    pub md5: Md5,
    /// The file name extension, one of [`EXTENSIONS`].
    pub ext: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readme {
    /// The file name, such as `README.md`.
    pub name: String,
    /// The digest of its text.
    #[serde(with = "as_text")]
    pub sha256: Sha256,
}

/// A changed index record of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexUpdate {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    pub name: String,
    pub version: String,
    #[serde(with = "as_text")]
    pub sha256: Sha256,
    /// The day from which the record applies.
    #[serde(with = "as_text")]
    pub day: Day,
    pub index: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageEvent {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    pub name: String,
    /// The version of the release, for `restore` and `remove`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The digest of the revision. If missing, `restore` applies to the newest revision, and `remove` to all.
    #[serde(default, with = "as_optional_text", skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
    /// The day from which the event applies.
    #[serde(with = "as_text")]
    pub day: Day,
}

/// The listing at the end of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRecord {
    /// The day of the run.
    #[serde(with = "as_text")]
    pub day: Day,
    /// The number of listed packages; for Python packages, of listed files.
    pub packages: usize,
    /// The digest of the listing: see [`super::state::ProductState::digest`].
    #[serde(with = "as_text")]
    pub state: Sha256,
    /// The whole listing. Only incremental bundles have it, because their writer does not know the previous state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listing: Option<Vec<String>>,
}

impl ReleaseRecord {
    /// Checks the values that become parts of paths or rows.
    pub fn check(&self) -> Result<(), String> {
        check_names(self.folder.as_deref(), &self.name, Some(&self.version))?;
        if EXTENSIONS.contains(&self.obj.ext.as_str()) {
            return Ok(());
        }
        Err(format!("'{}' is not an extension of a package file", self.obj.ext.escape_debug()))
    }
}

/// Checks names that become parts of paths.
pub(super) fn check_names(folder: Option<&str>, package: &str, version: Option<&str>) -> Result<(), String> {
    let excerpt = |text: &str| text.chars().take(80).collect::<String>().escape_debug().to_string();
    if !name::is_package(package) {
        return Err(format!("'{}' is not a package name", excerpt(package)));
    }
    if let Some(version) = version.filter(|version| !name::is_archive_file_version(version)) {
        return Err(format!("'{}' is not a version", excerpt(version)));
    }
    match folder {
        Some(folder) if !is_folder(folder) => Err(format!("'{}' is not a folder", excerpt(folder))),
        _ => Ok(()),
    }
}

fn is_folder(folder: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    folder.len() <= 200
        && folder
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with('.') && part.bytes().all(is_allowed))
}

/// The fields of a DESCRIPTION, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<(String, String)>);

impl Fields {
    /// Returns the value of a field. If a field is repeated, the last value is used, as in R.
    pub fn get(&self, tag: &str) -> Option<&str> {
        self.0.iter().rev().find(|(name, _)| name == tag).map(|(_, value)| value.as_str())
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fields, D::Error> {
        Members::deserialize(deserializer).map(|members| Fields(members.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_written_and_read_in_the_order_of_its_fields() {
        let line = format!(
            r#"{{"t":"ver","name":"R6","version":"2.6.1","day":"2025-02-15","published":"2025-02-15T00:50:02Z","obj":{{"sha256":"{}","size":64507,"md5":"{}","ext":"tar.gz"}},"desc":{{"Title":"T","Package":"R6","A":"b"}},"readme":{{"name":"README.md","sha256":"{}"}}}}"#,
            "ab".repeat(32),
            "cd".repeat(16),
            "ef".repeat(32)
        );
        let record = Record::read(line.as_bytes()).expect("a record");
        assert_eq!(serde_json::to_string(&record).expect("a line"), line);
        let Record::Release(release) = record else { panic!("no release") };
        assert_eq!((release.check(), release.desc.expect("fields").get("Package")), (Ok(()), Some("R6")));
    }

    #[test]
    fn records_of_later_formats_are_ignored() {
        let record = Record::read(br#"{"t":"signed","by":["x"]}"#).expect("any record");
        assert_eq!(record, Record::Unknown);
        let record =
            Record::read(br#"{"t":"archive","name":"x1","day":"2026-01-02","why":"old"}"#).expect("a record");
        assert!(matches!(record, Record::Archive(event) if event.name == "x1"));
        for bad in
            [&br#"{"name":"x1","day":"2026-01-02"}"#[..], br#"{"t":"ver","name":"x1"}"#, br#"{"t":"ver","#]
        {
            assert!(Record::read(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn the_order_of_members_in_a_line_does_not_matter() {
        let object = format!(
            r#""obj":{{"sha256":"{}","size":1,"md5":"{}","ext":"tar.gz"}}"#,
            "ab".repeat(32),
            "cd".repeat(16)
        );
        let lines = [
            format!(r#"{{"t":"ver","name":"a1","version":"1","day":"2026-01-02",{object}}}"#),
            format!(r#"{{{object},"name":"a1","version":"1","day":"2026-01-02","t":"ver"}}"#),
            r#"{"day":"2026-01-02","t":"remove","name":"a1","version":"1"}"#.to_owned(),
            r#"{"t":"restore","day":"2026-01-02","name":"a1"}"#.to_owned(),
            format!(
                r#"{{"name":"a1","version":"1","sha256":"{}","day":"2026-01-02","index":"Package: a1","t":"index"}}"#,
                "ab".repeat(32)
            ),
            format!(r#"{{"state":"{}","t":"snapshot","day":"2026-01-02","packages":1}}"#, "ab".repeat(32)),
        ];
        let records = lines.each_ref().map(|line| Record::read(line.as_bytes()).expect(line));
        for (line, record) in lines.iter().zip(&records) {
            assert_eq!(*record, serde_json::from_str(line).expect(line), "{line}");
        }
        assert_eq!(records[0], records[1]);
    }

    #[test]
    fn names_that_would_be_paths_are_refused() {
        for (folder, package, version) in [
            (None, "../x", "1.0"),
            (None, "a1", "1/0"),
            (Some("../x"), "a1", "1.0"),
            (Some("/x"), "a1", "1.0"),
            (Some("a//b"), "a1", "1"),
        ] {
            assert!(check_names(folder, package, Some(version)).is_err(), "{folder:?} {package} {version}");
        }
        assert_eq!(check_names(Some("data/annotation"), "a1", Some("1.0-2")), Ok(()));
    }
}
