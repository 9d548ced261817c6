//! The records of a language with projects in a bundle, and what of an index a bundle contains.

use std::io;

use base::model::project_page::{UpstreamFile, UpstreamPage};

pub trait ProjectBundle: Sync {
    /// Returns the extension of a file's object, in lower case and without a leading dot. The error is a text about a
    /// name that is none of a file.
    fn object_extension(&self, file: &str) -> Result<String, String>;

    /// Writes a page in the main format of the language, as an index does.
    fn write_upstream_page(&self, page: &UpstreamPage) -> io::Result<Vec<u8>>;

    /// Returns whether clients install files of this name. Others are neither chosen nor recorded as not chosen.
    fn is_installable(&self, _file: &str) -> bool {
        true
    }

    /// Returns what a record states about a file in its field for the language.
    fn record_facts(&self, _file: &UpstreamFile) -> Option<String> {
        None
    }

    /// Returns the facts of a file from this field, for [`ProjectBundle::write_upstream_page`].
    fn facts_of_record(&self, _field: Option<&str>) -> Vec<u8> {
        Vec::new()
    }
}
