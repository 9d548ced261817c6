//! The values of which a language with projects writes its lists and pages.

use super::digest::Sha256;
use super::ids::FileId;
use super::project_name::ProjectName;
use super::project_status::ProjectStatus;
use super::time::Timestamp;

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
