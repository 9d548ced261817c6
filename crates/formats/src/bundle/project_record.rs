//! A line of a segment of a language with projects: a file, or an event that concerns a file or a project.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::record::{RecordKind, SnapshotRecord};
use super::text::{as_optional_text, as_text};
use crate::language;
use base::model::digest::{Md5, Sha256};
use base::model::kind::Language;
use base::model::time::{Day, Timestamp};

/// A line of a segment. Records of unknown kinds are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "t", rename_all = "lowercase")]
pub enum ProjectRecord {
    /// A file, which is listed from its day on. It replaces a file of the same name with different bytes.
    File(Box<FileRecord>),
    /// A file is yanked, or no longer yanked.
    Mark(MarkRecord),
    /// A file is no longer available.
    Remove(RemoveRecord),
    Status(StatusRecord),
    /// A file that the index lists, but the bundle does not contain.
    Skip(SkipRecord),
    /// The listing at the end of a run.
    Snapshot(SnapshotRecord),
    /// A record from a later version of the format.
    #[serde(skip)]
    Unknown,
}

impl ProjectRecord {
    pub fn read(line: &[u8]) -> serde_json::Result<ProjectRecord> {
        let kind: RecordKind<'_> = serde_json::from_slice(line)?;
        match &*kind.t {
            "file" => serde_json::from_slice(line).map(ProjectRecord::File),
            "mark" => serde_json::from_slice(line).map(ProjectRecord::Mark),
            "remove" => serde_json::from_slice(line).map(ProjectRecord::Remove),
            "status" => serde_json::from_slice(line).map(ProjectRecord::Status),
            "skip" => serde_json::from_slice(line).map(ProjectRecord::Skip),
            "snapshot" => serde_json::from_slice(line).map(ProjectRecord::Snapshot),
            _ => Ok(ProjectRecord::Unknown),
        }
    }

    /// Returns the day from which it applies.
    pub fn day(&self) -> Option<Day> {
        match self {
            ProjectRecord::File(file) => Some(file.day),
            ProjectRecord::Mark(mark) => Some(mark.day),
            ProjectRecord::Remove(event) => Some(event.day),
            ProjectRecord::Status(status) => Some(status.day),
            ProjectRecord::Skip(skip) => Some(skip.day),
            ProjectRecord::Snapshot(snapshot) => Some(snapshot.day),
            ProjectRecord::Unknown => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// The normalized name of the project.
    pub project: String,
    pub version: String,
    pub name: String,
    /// The first day of the file.
    #[serde(with = "as_text")]
    pub day: Day,
    /// The time of the upload, if the index states it.
    #[serde(default, with = "as_optional_text", skip_serializing_if = "Option::is_none")]
    pub upload: Option<Timestamp>,
    pub obj: FileObject,
    /// What only the language knows about it: `Requires-Python`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rp: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<MetadataObject>,
    /// The provenance object (PEP 740).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prov: Option<MetadataObject>,
    /// The reason why it is yanked; `None` if it is not yanked.
    #[serde(default, serialize_with = "write_yank", deserialize_with = "read_yank")]
    pub yanked: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileObject {
    #[serde(with = "as_text")]
    pub sha256: Sha256,
    /// The size in bytes.
    pub size: u64,
    #[serde(with = "as_text")]
    pub md5: Md5,
}

/// METADATA of a wheel, or the provenance of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataObject {
    #[serde(with = "as_text")]
    pub sha256: Sha256,
    /// The size in bytes.
    pub size: u64,
}

/// A change of the mark that a file is yanked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkRecord {
    /// The normalized name of the project.
    pub project: String,
    pub name: String,
    #[serde(default, serialize_with = "write_yank", deserialize_with = "read_yank")]
    pub yanked: Option<String>,
    /// The day from which it applies.
    #[serde(with = "as_text")]
    pub day: Day,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveRecord {
    /// The normalized name of the project.
    pub project: String,
    pub name: String,
    #[serde(with = "as_text")]
    pub sha256: Sha256,
    /// The day from which it applies.
    #[serde(with = "as_text")]
    pub day: Day,
}

/// The status of a project (PEP 792).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusRecord {
    /// The normalized name of the project.
    pub project: String,
    /// `active`, `archived`, `quarantined` or `deprecated`.
    pub status: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The day from which it applies.
    #[serde(with = "as_text")]
    pub day: Day,
}

/// A file that the index lists, but the bundle neither contains nor lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkipRecord {
    /// The normalized name of the project.
    pub project: String,
    pub name: String,
    /// The day from which it applies.
    #[serde(with = "as_text")]
    pub day: Day,
}

impl FileRecord {
    /// Checks the values that become parts of paths or rows, and returns the extension of the object.
    pub fn extension(&self, language: Language) -> Result<String, String> {
        check_project(language, &self.project)?;
        object_extension(language, &self.name)
    }
}

/// Checks the normalized name of a project.
pub(super) fn check_project(language: Language, project: &str) -> Result<(), String> {
    let is_normal = language::of(language).project_name(project).is_ok_and(|name| name.as_str() == project);
    if is_normal {
        Ok(())
    } else {
        Err(format!("'{}' is not the normalized name of a project", excerpt(project)))
    }
}

/// Returns the extension of a file's object, in lower case and without a leading dot, such as `whl` or `tar.gz`.
pub fn object_extension(language: Language, name: &str) -> Result<String, String> {
    match language::of(language).projects() {
        Some(projects) => projects.object_extension(name),
        None => Err(format!("{} has no pages of projects", language.label())),
    }
}

fn excerpt(text: &str) -> String {
    text.chars().take(80).collect::<String>().escape_debug().to_string()
}

/// Writes a yank as on pages of the simple API: `false`, `true`, or the reason.
#[allow(clippy::ref_option, reason = "the signature is that of serde")]
fn write_yank<S: Serializer>(yanked: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    match yanked.as_deref() {
        None => serializer.serialize_bool(false),
        Some("") => serializer.serialize_bool(true),
        Some(reason) => serializer.serialize_str(reason),
    }
}

fn read_yank<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum YankField {
        Flag(bool),
        Reason(String),
    }
    Ok(match YankField::deserialize(deserializer)? {
        YankField::Flag(false) => None,
        YankField::Flag(true) => Some(String::new()),
        YankField::Reason(reason) => Some(reason),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_line() -> String {
        format!(
            r#"{{"t":"file","project":"odd-lib","version":"1.0","name":"Odd_Lib-1.0-py3-none-any.whl","day":"2026-01-02","upload":"2026-01-01T00:00:00Z","obj":{{"sha256":"{}","size":7,"md5":"{}"}},"rp":">=3.7","meta":{{"sha256":"{}","size":3}},"yanked":"broken"}}"#,
            "ab".repeat(32),
            "cd".repeat(16),
            "ef".repeat(32)
        )
    }

    #[test]
    fn a_file_is_written_and_read_in_the_order_of_its_fields() {
        let line = file_line();
        let record = ProjectRecord::read(line.as_bytes()).expect("a record");
        assert_eq!(serde_json::to_string(&record).expect("a line"), line);
        let ProjectRecord::File(file) = record else { panic!("no file") };
        assert_eq!(
            (file.extension(Language::Python).as_deref(), file.yanked.as_deref()),
            (Ok("whl"), Some("broken"))
        );
    }

    #[test]
    fn the_provenance_of_a_file_is_an_object() {
        let prov = format!(r#","prov":{{"sha256":"{}","size":5}},"yanked""#, "01".repeat(32));
        let line = file_line().replace(r#","yanked""#, &prov);
        let record = ProjectRecord::read(line.as_bytes()).expect("a record");
        assert_eq!(serde_json::to_string(&record).expect("a line"), line);
        let ProjectRecord::File(file) = record else { panic!("no file") };
        assert_eq!(file.prov.map(|object| object.size), Some(5));
    }

    #[test]
    fn marks_are_written_as_on_pages() {
        for (yanked, text) in [(None, "false"), (Some(""), "true"), (Some("why"), "\"why\"")] {
            let line = format!(
                r#"{{"t":"mark","project":"a","name":"a-1.tar.gz","yanked":{text},"day":"2026-01-02"}}"#
            );
            let record = ProjectRecord::read(line.as_bytes()).expect("a record");
            assert_eq!(serde_json::to_string(&record).expect("a line"), line);
            let ProjectRecord::Mark(mark) = record else { panic!("no mark") };
            assert_eq!(mark.yanked.as_deref(), yanked);
        }
    }

    #[test]
    fn records_of_later_formats_are_ignored_and_names_that_would_be_paths_are_refused() {
        let record = ProjectRecord::read(br#"{"t":"signed","by":["x"]}"#).expect("any record");
        assert_eq!((record.day(), record), (None, ProjectRecord::Unknown));
        assert!(ProjectRecord::read(br#"{"project":"a"}"#).is_err());
        let Ok(ProjectRecord::File(file)) = ProjectRecord::read(file_line().as_bytes()) else {
            panic!("no file")
        };
        for bad in ["../x-1.tar.gz", "a/b-1.whl", "a", "a-1.exe.bat"] {
            assert!(
                FileRecord { name: bad.to_owned(), ..*file.clone() }.extension(Language::Python).is_err(),
                "{bad}"
            );
        }
        assert!(FileRecord { project: "Odd_Lib".to_owned(), ..*file }.extension(Language::Python).is_err());
    }
}
