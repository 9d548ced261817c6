//! The content of a page in either format, before any check.

use super::page::MetadataFile;

#[derive(Debug, Default)]
pub(super) struct RawPage {
    pub(super) api_version: Option<String>,
    pub(super) last_serial: Option<String>,
    pub(super) name: Option<String>,
    pub(super) status: Option<String>,
    pub(super) status_reason: Option<String>,
    pub(super) versions: Option<Vec<String>>,
    /// The base of relative addresses, if the page states one.
    pub(super) base: Option<String>,
    pub(super) files: Vec<RawFile>,
    /// Whether the document is recognizable as a project page even without files.
    pub(super) is_project_page: bool,
}

#[derive(Debug, Default)]
pub(super) struct RawFile {
    /// The file name; `None` for HTML, where it is the last part of the address.
    pub(super) name: Option<String>,
    /// The address, which may have a fragment.
    pub(super) url: String,
    pub(super) hashes: Vec<(String, String)>,
    pub(super) requires_python: Option<String>,
    pub(super) core_metadata: MetadataFile,
    pub(super) gpg_sig: Option<bool>,
    /// The reason for a yanked file, which may be empty.
    pub(super) yanked: Option<String>,
    pub(super) size: Option<u64>,
    pub(super) upload_time: Option<String>,
    pub(super) provenance: Option<String>,
}
