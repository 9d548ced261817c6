//! A project page as a value.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::python::file_name::FileName;
use base::model::digest::Sha256;
use base::model::project_name::ProjectName;
use base::model::project_page::{MetadataFile, ProjectStatus};
use base::model::time::Timestamp;

/// The version of the API that written pages declare. Version 1.5 is only for servers with namespaces.
pub const API_VERSION: &str = "1.4";
/// Maximum number of files, and of versions, of a page that is read.
pub(super) const MAX_FILES: usize = 200_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectPage {
    pub name: ProjectName,
    /// PyPI's serial: a number that increases with every change of the project.
    pub last_serial: Option<u64>,
    pub status: ProjectStatus,
    pub status_reason: Option<String>,
    /// Every version, with or without files; `None` if the page does not list them.
    pub versions: Option<Vec<String>>,
    /// The files in the order of the page.
    pub files: Vec<PageFile>,
}

impl ProjectPage {
    /// Returns a page without files.
    pub fn new(name: ProjectName) -> ProjectPage {
        ProjectPage {
            name,
            last_serial: None,
            status: ProjectStatus::Active,
            status_reason: None,
            versions: None,
            files: Vec::new(),
        }
    }

    /// Returns the files that may be listed for clients; a quarantined project has none.
    pub fn offered_files(&self) -> &[PageFile] {
        match self.status {
            ProjectStatus::Quarantined => &[],
            ProjectStatus::Active | ProjectStatus::Archived | ProjectStatus::Deprecated => &self.files,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageFile {
    pub name: FileName,
    /// The address without a fragment: absolute on a page that was read, relative or absolute on one to write.
    pub url: String,
    /// Digests in lower-case hexadecimal, by algorithm.
    pub hashes: BTreeMap<String, String>,
    pub requires_python: Option<String>,
    /// Whether `{url}.metadata` exists.
    pub core_metadata: MetadataFile,
    /// Whether `{url}.asc` exists.
    pub gpg_sig: Option<bool>,
    /// Set if the file is yanked: installers ignore it unless its version is pinned.
    pub yanked: Option<Yank>,
    /// The size in bytes.
    pub size: Option<u64>,
    pub upload_time: Option<Timestamp>,
    /// The absolute address of its provenance object.
    pub provenance: Option<String>,
}

impl PageFile {
    /// Returns a file with only a name and an address.
    pub fn new(name: FileName, url: String) -> PageFile {
        PageFile {
            name,
            url,
            hashes: BTreeMap::new(),
            requires_python: None,
            core_metadata: MetadataFile::None,
            gpg_sig: None,
            yanked: None,
            size: None,
            upload_time: None,
            provenance: None,
        }
    }

    pub fn sha256(&self) -> Option<Sha256> {
        self.hashes.get("sha256")?.parse().ok()
    }
}

/// The mark of a yanked file (PEP 592).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Yank {
    /// The reason; may be empty.
    pub reason: String,
}

#[derive(Debug, Default)]
pub(super) struct RawPage<'a> {
    pub(super) api_version: Option<String>,
    pub(super) last_serial: Option<String>,
    pub(super) name: Option<String>,
    pub(super) status: Option<String>,
    pub(super) status_reason: Option<String>,
    pub(super) versions: Option<Vec<String>>,
    /// The base of relative addresses, if the page states one.
    pub(super) base: Option<String>,
    pub(super) files: Vec<RawFile<'a>>,
    /// Whether the document is recognizable as a project page even without files.
    pub(super) is_project_page: bool,
}

#[derive(Debug, Default)]
pub(super) struct RawFile<'a> {
    /// The file name; `None` for HTML, where it is the last part of the address.
    pub(super) name: Option<Cow<'a, str>>,
    /// The address, which may have a fragment.
    pub(super) url: Cow<'a, str>,
    pub(super) hashes: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    pub(super) requires_python: Option<Cow<'a, str>>,
    pub(super) core_metadata: MetadataFile,
    pub(super) gpg_sig: Option<bool>,
    /// The reason for a yanked file, which may be empty.
    pub(super) yanked: Option<Cow<'a, str>>,
    pub(super) size: Option<u64>,
    pub(super) upload_time: Option<Cow<'a, str>>,
    pub(super) provenance: Option<Cow<'a, str>>,
}
