//! Wheels, source distributions, and the older kinds of file.

use super::Python;
use crate::language::{FileBytes, ProjectFiles};
use crate::python::archive;
use crate::python::facts::FileFacts;
use crate::python::file_name::FileName;
use base::model::change::AttachedFiles;
use base::model::errors::error_chain;
use base::model::project_page::CheckedFile;
use base::model::time::Timestamp;

impl ProjectFiles for Python {
    fn stem<'a>(&self, file: &'a str) -> &'a str {
        let extension = FileName::parse(file).map_or(0, |name| name.extension().len());
        &file[..file.len() - extension]
    }

    fn check_name(&self, file: &str) -> Result<(), String> {
        FileName::parse(file).map(drop).map_err(|error| error_chain(&error))
    }

    fn check(&self, file: &str, mut bytes: &mut dyn FileBytes) -> Result<CheckedFile, String> {
        let name = FileName::parse(file).map_err(|error| error_chain(&error))?;
        Ok(archive::check(&mut bytes, &name)?.file)
    }

    fn variant(&self, file: &str) -> Option<String> {
        FileName::parse(file).ok()?.variant()
    }

    fn strict_section(&self) -> Option<&'static str> {
        Some("LocalPython")
    }

    fn with_upload_time(&self, facts: &[u8], time: Timestamp) -> Vec<u8> {
        FileFacts::read(facts).uploaded_at(time).write()
    }

    fn with_attached(&self, facts: &[u8], attached: &AttachedFiles) -> Option<Vec<u8>> {
        let facts = FileFacts::read(facts);
        let new_facts = facts.clone().with_attached(attached);
        (new_facts != facts).then(|| new_facts.write())
    }
}
