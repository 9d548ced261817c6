//! One line of a segment: a release, or something that happened to a package.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::text::{maybe, shown};
use crate::model::digest::{Md5, Sha256};
use crate::model::time::{Day, Timestamp};
use crate::r::name;

/// Endings that an object may have.
pub const EXTENSIONS: [&str; 6] = ["tar.gz", "tgz", "tar.bz2", "tar.xz", "tar.zst", "zip"];

/// A line of a segment. Records of kinds that are not known are passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "lowercase")]
pub enum Record {
    /// A release is there. Unless it is archived at once, it is listed from its day on, in place of an earlier one.
    Ver(Box<Ver>),
    /// The index says something else of a release.
    Index(Indexed),
    /// A package is no longer listed.
    Archive(Event),
    /// A release is listed, in place of what was.
    Restore(Event),
    /// A release is no longer there at all.
    Remove(Event),
    /// The end of a run: what is listed then.
    Snapshot(Snapshot),
    /// Of a later time.
    #[serde(other)]
    Unknown,
}

impl Record {
    /// Reads a line. Its kind is looked for first: `Deserialize` would hold every member in memory until it has found it,
    /// which takes twice the time.
    ///
    /// # Errors
    /// It is no record.
    pub fn read(line: &[u8]) -> serde_json::Result<Record> {
        #[derive(Deserialize)]
        struct Kind<'a> {
            #[serde(borrow)]
            t: Cow<'a, str>,
        }
        // As it is written here: nothing has to be read to find it.
        if line.starts_with(br#"{"t":"ver","#) {
            return serde_json::from_slice(line).map(Record::Ver);
        }
        let kind: Kind<'_> = serde_json::from_slice(line)?;
        match &*kind.t {
            "ver" => serde_json::from_slice(line).map(Record::Ver),
            "index" => serde_json::from_slice(line).map(Record::Index),
            "archive" => serde_json::from_slice(line).map(Record::Archive),
            "restore" => serde_json::from_slice(line).map(Record::Restore),
            "remove" => serde_json::from_slice(line).map(Record::Remove),
            "snapshot" => serde_json::from_slice(line).map(Record::Snapshot),
            _ => Ok(Record::Unknown),
        }
    }
}

/// A release with its file. Releases of equal package, version and folder but other bytes are revisions of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ver {
    /// Where it is not in the usual folder: `4.6.0/Recommended` below `src/contrib` of CRAN, the repository
    /// (`data/annotation`) of Bioconductor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// The package.
    pub name: String,
    /// Its version.
    pub version: String,
    /// From which day on it is there.
    #[serde(with = "shown")]
    pub day: Day,
    /// When it was published, as far as anybody told.
    #[serde(default, with = "maybe", skip_serializing_if = "Option::is_none")]
    pub published: Option<Timestamp>,
    /// It was never listed as far as is known, or another is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub archived: bool,
    /// Its file.
    pub obj: Object,
    /// Its record in the mirror's index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// Every field of its DESCRIPTION; none of a build, and of a file that cannot be read as a package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desc: Option<Fields>,
    /// Whether it has to be compiled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compiled: Option<bool>,
    /// Its README, in the README file of the same segment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readme: Option<Readme>,
}

/// A package file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// Of its bytes.
    #[serde(with = "shown")]
    pub sha256: Sha256,
    /// Bytes.
    pub size: u64,
    /// Of its bytes.
    #[serde(with = "shown")]
    pub md5: Md5,
    /// One of [`EXTENSIONS`].
    pub ext: String,
}

/// Which README.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readme {
    /// `README.md`.
    pub name: String,
    /// Of its text.
    #[serde(with = "shown")]
    pub sha256: Sha256,
}

/// Another index record of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Indexed {
    /// As [`Ver::folder`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// The package.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Of the file.
    #[serde(with = "shown")]
    pub sha256: Sha256,
    /// From this day on.
    #[serde(with = "shown")]
    pub day: Day,
    /// The record.
    pub index: String,
}

/// What happened to a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// As [`Ver::folder`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// The package.
    pub name: String,
    /// Which release: of `restore` and `remove`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Which revision of it; without it the newest for `restore`, all for `remove`.
    #[serde(default, with = "maybe", skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
    /// From this day on.
    #[serde(with = "shown")]
    pub day: Day,
}

/// What is listed when a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The day of the run.
    #[serde(with = "shown")]
    pub day: Day,
    /// How many are listed.
    pub packages: usize,
    /// Over what is listed: see [`super::state::State::digest`].
    #[serde(with = "shown")]
    pub state: Sha256,
    /// What is listed, where a writer could not know what was before: of a difference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listing: Option<Vec<String>>,
}

impl Ver {
    /// Refuses what must not become a path or a row.
    ///
    /// # Errors
    /// Which value.
    pub fn check(&self) -> Result<(), String> {
        check(self.folder.as_deref(), &self.name, Some(&self.version))?;
        if EXTENSIONS.contains(&self.obj.ext.as_str()) {
            return Ok(());
        }
        Err(format!("'{}' is no ending of a package file", self.obj.ext.escape_debug()))
    }
}

/// Refuses names that must not become paths.
pub(super) fn check(folder: Option<&str>, package: &str, version: Option<&str>) -> Result<(), String> {
    let shown = |text: &str| text.chars().take(80).collect::<String>().escape_debug().to_string();
    if !name::is_package(package) {
        return Err(format!("'{}' is no name of a package", shown(package)));
    }
    if let Some(version) = version.filter(|version| !name::is_archived_version(version)) {
        return Err(format!("'{}' is no version", shown(version)));
    }
    match folder {
        Some(folder) if !is_folder(folder) => Err(format!("'{}' is no folder", shown(folder))),
        _ => Ok(()),
    }
}

fn is_folder(folder: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    folder.len() <= 200
        && folder.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && part.bytes().all(plain))
}

/// Fields in the order of their file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<(String, String)>);

impl Fields {
    /// A field's value; the last one of duplicates, as in R.
    #[must_use]
    pub fn get(&self, tag: &str) -> Option<&str> {
        self.0.iter().rev().find(|(name, _)| name == tag).map(|(_, value)| value.as_str())
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Fields, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("fields with texts")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        from.deserialize_map(InOrder)
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
        let Record::Ver(ver) = record else { panic!("no release") };
        assert_eq!((ver.check(), ver.desc.expect("fields").get("Package")), (Ok(()), Some("R6")));
    }

    #[test]
    fn records_of_later_times_are_passed_over() {
        let record = Record::read(br#"{"t":"signed","by":["x"]}"#).expect("any record");
        assert_eq!(record, Record::Unknown);
        let more =
            Record::read(br#"{"t":"archive","name":"x1","day":"2026-01-02","why":"old"}"#).expect("more");
        assert!(matches!(more, Record::Archive(event) if event.name == "x1"));
        for bad in
            [&br#"{"name":"x1","day":"2026-01-02"}"#[..], br#"{"t":"ver","name":"x1"}"#, br#"{"t":"ver","#]
        {
            assert!(Record::read(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn a_line_is_the_same_record_in_whatever_order_its_members_come() {
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
        let read = lines.each_ref().map(|line| Record::read(line.as_bytes()).expect(line));
        for (line, record) in lines.iter().zip(&read) {
            assert_eq!(*record, serde_json::from_str(line).expect(line), "{line}");
        }
        assert_eq!(read[0], read[1]);
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
            assert!(check(folder, package, Some(version)).is_err(), "{folder:?} {package} {version}");
        }
        assert_eq!(check(Some("data/annotation"), "a1", Some("1.0-2")), Ok(()));
    }
}
