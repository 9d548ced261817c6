//! The files of a language with projects, and their records in a bundle.

use std::io::{self, Read, Seek};

use base::model::change::AttachedFiles;
use base::model::project_page::{CheckedFile, UpstreamFile, UpstreamPage};
use base::model::time::Timestamp;

/// The bytes of a file.
pub trait FileBytes: Read + Seek {}
impl<T: Read + Seek> FileBytes for T {}

pub trait ProjectFiles: Sync {
    /// Returns the name of a file without its extension. Project, version and platform are parts of it.
    fn stem<'a>(&self, file: &'a str) -> &'a str;

    /// Checks whether files of the language have names of this form. The error is a text for clients, which also follows
    /// `is refused: `.
    fn check_name(&self, file: &str) -> Result<(), String>;

    /// Reads and checks a file that is uploaded or was built. The error is as that of the name.
    fn check(&self, file: &str, bytes: &mut dyn FileBytes) -> Result<CheckedFile, String>;

    /// Returns what distinguishes a file from others of its version; `None` for one that has no alternatives. Of two files
    /// of one version with the same text, installers would choose different ones.
    fn variant(&self, _file: &str) -> Option<String> {
        None
    }

    /// Returns the section of the configuration whose `Strict` refuses files with notices.
    fn strict_section(&self) -> Option<&'static str> {
        None
    }

    /// Returns facts with the time of the upload, if the language stores it.
    fn with_upload_time(&self, facts: &[u8], _time: Timestamp) -> Vec<u8> {
        facts.to_vec()
    }

    /// Returns facts with the files that were uploaded with the file; `None` if the facts stay as they are.
    fn with_attached(&self, _facts: &[u8], _attached: &AttachedFiles) -> Option<Vec<u8>> {
        None
    }
}

pub trait ProjectBundle: ProjectFiles {
    /// Returns the extension of a file's object, in lower case and without a leading dot. The error is a text about a
    /// name that is none of a file.
    fn object_extension(&self, file: &str) -> Result<String, String> {
        self.check_name(file)?;
        let extension = &file[self.stem(file).len()..];
        Ok(extension.trim_start_matches('.').to_ascii_lowercase())
    }

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
