//! Wheels, source distributions, and the older kinds of file, and their records in a bundle.

use std::io;

use super::Python;
use crate::language::{FileBytes, ProjectBundle, ProjectFiles};
use crate::python::archive;
use crate::python::facts::{FileFacts, PageFacts};
use crate::python::file_name::{FileKind, FileName};
use crate::python::simple::page::{PageFile, ProjectPage, Yank};
use crate::python::simple::write;
use base::model::change::AttachedFiles;
use base::model::errors::error_chain;
use base::model::project_page::{CheckedFile, UpstreamFile, UpstreamPage};
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

impl ProjectBundle for Python {
    fn write_upstream_page(&self, page: &UpstreamPage) -> io::Result<Vec<u8>> {
        let mut versions: Vec<String> = page.files.iter().filter_map(|file| file.version.clone()).collect();
        versions.sort_unstable();
        versions.dedup();
        Ok(write::json(&ProjectPage {
            name: page.project.clone(),
            last_serial: page.serial,
            status: page.status,
            status_reason: page.status_reason.clone(),
            versions: Some(versions),
            files: page.files.iter().filter_map(page_file).collect(),
        })?)
    }

    fn is_installable(&self, file: &str) -> bool {
        FileName::parse(file).is_ok_and(|name| matches!(name.kind(), FileKind::Wheel | FileKind::Sdist))
    }

    fn record_facts(&self, file: &UpstreamFile) -> Option<String> {
        PageFacts::read(&file.facts).requires_python().map(str::to_owned)
    }

    fn facts_of_record(&self, field: Option<&str>) -> Vec<u8> {
        FileFacts::of_requires_python(field).write()
    }
}

fn page_file(file: &UpstreamFile) -> Option<PageFile> {
    Some(PageFile {
        name: FileName::parse(&file.name).ok()?,
        url: file.url.clone(),
        hashes: file.hashes.clone(),
        requires_python: PageFacts::read(&file.facts).requires_python().map(str::to_owned),
        core_metadata: file.metadata,
        gpg_sig: None,
        yanked: file.yanked.clone().map(|reason| Yank { reason }),
        size: file.size,
        upload_time: file.uploaded_at,
        provenance: file.provenance.clone(),
    })
}
