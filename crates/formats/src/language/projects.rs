//! Languages whose index is a list of names and one page for each project, with all of its files.

use std::io;

use super::{ProjectBundle, ProjectFiles, ProjectIndex, ProjectPaths};
use base::model::project_page::{ListedName, PageFormat, PageHead, ServedFile};

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
}
