//! Languages whose index is a list of names and one page for each project, with all of its files.

use std::io;

use super::{ProjectBundle, ProjectFiles, ProjectIndex, ProjectPaths};
use base::model::digest::Sha256;
use base::model::project_page::{ArchiveKind, FileDescription, ListedName, PageFormat, PageHead, ServedFile};

/// Returns whether a curated source allows a file with this version and digest.
pub type CuratedFiles = Box<dyn Fn(&str, Sha256) -> bool>;

pub trait Projects: ProjectPaths + ProjectFiles + ProjectIndex + ProjectBundle {
    /// Returns the format for programs, in which documents of two servers are compared.
    fn main_format(&self) -> PageFormat;

    /// Returns the format of a response. `format` is the query parameter, and `accept` the fields of the header.
    fn negotiate(&self, accept: &mut dyn Iterator<Item = &str>, format: Option<&str>) -> PageFormat;

    /// Writes the list of projects. `serial` is that of its last change.
    fn write_list(
        &self,
        format: PageFormat,
        serial: Option<u64>,
        projects: &mut dyn Iterator<Item = ListedName<'_>>,
    ) -> io::Result<Vec<u8>>;

    /// Writes the page of a project, with its files in the order of version and name.
    fn write_page(
        &self,
        format: PageFormat,
        page: &PageHead<'_>,
        files: &[ServedFile<'_>],
    ) -> io::Result<Vec<u8>>;

    /// Describes a file by its stored facts.
    fn describe(&self, facts: &[u8]) -> FileDescription {
        FileDescription { uploaded_at: self.uploaded_at(facts), ..FileDescription::default() }
    }

    /// Returns the kind of a file of which pages show the members; `None` for other files.
    fn archive_kind(&self, _file: &str) -> Option<ArchiveKind> {
        None
    }

    /// Reads the rule of a curated source for a project. `None` if the text is none, or if the language has no such sources.
    fn curated_files(&self, _rule: &str) -> Option<CuratedFiles> {
        None
    }
}
