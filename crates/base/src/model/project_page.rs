//! The values of which a language with projects writes its lists and pages, and those that it reads from an index.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::digest::Sha256;
use super::ids::FileId;
use super::license::Licenses;
use super::project_name::ProjectName;
use super::time::Timestamp;
use crate::words;

/// A representation of lists and pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageFormat {
    /// The media type of responses, with its parameters.
    pub media_type: &'static str,
    /// The extension of the names of documents in stored keys: `json`. Formats with equal bytes have the same one.
    pub extension: &'static str,
    /// The end of entity tags, which differ between formats with equal bytes.
    pub etag_suffix: &'static str,
}

/// An entry of the list of projects.
#[derive(Clone, Copy, Debug)]
pub struct ListedName<'a> {
    /// The folded name.
    pub name: &'a str,
    /// The spelling of the index.
    pub display: &'a str,
    pub serial: Option<u64>,
}

/// The properties of a list that was read, without its projects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListSummary {
    /// The serial of the newest change of any project.
    pub serial: Option<u64>,
    /// The number of names that are not valid.
    pub invalid_count: u64,
    /// The first of the names that are not valid.
    pub first_invalid: Option<String>,
}

words! {
    /// The status of a project (PEP 792). An unknown status counts as `Active`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub enum ProjectStatus {
        #[default]
        Active = "active",
        /// No further uploads are expected.
        Archived = "archived",
        /// Unsafe: no file may be served.
        Quarantined = "quarantined",
        Deprecated = "deprecated",
    }
}

impl ProjectStatus {
    /// Returns the status of a word; [`ProjectStatus::Active`] for an unknown one.
    pub fn of_word(word: &str) -> ProjectStatus {
        ProjectStatus::parse(word.trim()).unwrap_or_default()
    }
}

/// The properties of a page besides its files.
#[derive(Clone, Copy, Debug)]
pub struct PageHead<'a> {
    pub project: &'a ProjectName,
    /// The serial of its last change.
    pub serial: Option<u64>,
    pub status: ProjectStatus,
    pub status_reason: Option<&'a str>,
    /// The URL below which attached documents have their addresses, if addresses must be absolute.
    pub links: Option<&'a str>,
}

/// A file on a page.
#[derive(Clone, Copy, Debug)]
pub struct ServedFile<'a> {
    pub id: FileId,
    pub name: &'a str,
    pub version: &'a str,
    pub sha256: Sha256,
    /// In bytes; `None` if the index does not state it.
    pub size: Option<u64>,
    /// What the language stored about it.
    pub facts: &'a [u8],
    /// The reason if it is yanked; may be empty.
    pub yanked: Option<&'a str>,
    /// The digest of its attached metadata, if the facts do not have it.
    pub metadata: Option<Sha256>,
    /// When it was first listed, if the facts have no upload time.
    pub listed_at: Option<Timestamp>,
}

/// What people are shown of the facts of a file, or of the first files of a release that have them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileDescription {
    pub uploaded_at: Option<Timestamp>,
    /// The name of the project as its owner writes it, if it differs from the folded name.
    pub display_name: Option<String>,
    pub summary: Option<String>,
    /// The versions of the language that it is for: `>=3.8`.
    pub requires: Option<String>,
}

impl FileDescription {
    /// Returns this description, with missing values taken from `other`.
    pub fn or(self, other: FileDescription) -> FileDescription {
        FileDescription {
            uploaded_at: self.uploaded_at.or(other.uploaded_at),
            display_name: self.display_name.or(other.display_name),
            summary: self.summary.or(other.summary),
            requires: self.requires.or(other.requires),
        }
    }
}

/// What the metadata in the files of a release states.
#[derive(Clone, Debug, Default)]
pub struct ReleaseDescription {
    pub summary: Option<String>,
    pub readme: Option<String>,
    /// The media type of the README.
    pub readme_type: Option<String>,
    pub license: Option<String>,
    pub licenses: Licenses,
    /// The name, otherwise the mail address.
    pub author: Option<String>,
    /// The name, otherwise the mail address.
    pub maintainer: Option<String>,
    pub urls: BTreeSet<String>,
    pub requirements: Vec<StatedRequirement>,
}

#[derive(Clone, Debug)]
pub struct StatedRequirement {
    pub text: String,
    /// Whether it is installed only with an extra.
    pub is_optional: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveKind {
    /// A compressed tar file whose members are in one folder: R packages and Python source distributions.
    Tar,
    /// A wheel: a zip file without that folder.
    Wheel,
}

/// The page of a project at an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamPage {
    pub project: ProjectName,
    /// The serial of its last change.
    pub serial: Option<u64>,
    pub status: ProjectStatus,
    pub status_reason: Option<String>,
    /// The files in the order of the page; no two have one name.
    pub files: Vec<UpstreamFile>,
    /// The files that cannot be used.
    pub skipped_files: Vec<SkippedFile>,
}

impl UpstreamPage {
    /// Returns the files that may be listed for clients; a quarantined project has none.
    pub fn offered_files(&self) -> &[UpstreamFile] {
        match self.status {
            ProjectStatus::Quarantined => &[],
            ProjectStatus::Active | ProjectStatus::Archived | ProjectStatus::Deprecated => &self.files,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamFile {
    pub name: String,
    /// As the page lists it, or as the name of the file states it; `None` if neither does.
    pub version: Option<String>,
    /// The absolute address, without a fragment.
    pub url: String,
    /// Digests in lower-case hexadecimal, by algorithm.
    pub hashes: BTreeMap<String, String>,
    /// In bytes.
    pub size: Option<u64>,
    pub uploaded_at: Option<Timestamp>,
    /// The reason if it is yanked; may be empty.
    pub yanked: Option<String>,
    /// Whether `{url}.metadata` exists.
    pub metadata: MetadataFile,
    /// The absolute address of its provenance object.
    pub provenance: Option<String>,
    /// What the language stores about it.
    pub facts: Vec<u8>,
}

impl UpstreamFile {
    pub fn sha256(&self) -> Option<Sha256> {
        self.hashes.get("sha256")?.parse().ok()
    }
}

/// The statement of a page about the metadata file of a distribution (PEP 658, 714).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetadataFile {
    #[default]
    None,
    /// It exists, without a declared SHA-256.
    Unverified,
    /// It exists with this digest.
    Sha256(Sha256),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedFile {
    pub name: String,
    pub reason: String,
}

impl fmt::Display for SkippedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}': {}", self.name, self.reason)
    }
}

/// A file that its language has read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedFile {
    pub project: ProjectName,
    pub version: String,
    /// What the language stores about it: JSON, or empty.
    pub facts: Vec<u8>,
    /// The content of `{file}.metadata`, if clients read metadata without the file.
    pub metadata: Option<Vec<u8>>,
    /// Defects that were accepted, as sentences.
    pub notices: Vec<String>,
}
