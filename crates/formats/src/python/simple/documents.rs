//! The list of projects and the pages of a repository, in both formats of the simple API.

use std::borrow::Cow;
use std::io;

use super::read::is_web_address;
use super::root;
use super::write::{FileEntry, Hashes, HtmlWriter, JsonWriter, PageProperties};
use crate::python::accept::SimpleFormat;
use crate::python::facts::PageFacts;
use crate::python::file_name::FileName;
use crate::python::version::Pep440Version;
use base::model::project_page::{ListedName, MetadataFile, PageHead, ProjectStatus, ServedFile};
use base::model::project_path::{provenance_link, push_link};

/// Writes the list of projects.
pub fn list(
    format: SimpleFormat,
    serial: Option<u64>,
    projects: &mut dyn Iterator<Item = ListedName<'_>>,
) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    match format {
        SimpleFormat::Json => {
            root::write_json(&mut out, serial, projects.map(|project| (project.display, project.serial)))?;
        }
        SimpleFormat::Html | SimpleFormat::TextHtml => {
            root::write_html(&mut out, serial, projects.map(|project| (project.name, project.display)))?;
        }
    }
    Ok(out)
}

/// Writes the page of a project; a quarantined one has no files.
pub fn page(format: SimpleFormat, head: &PageHead<'_>, files: &[ServedFile<'_>]) -> io::Result<Vec<u8>> {
    let mut files: Vec<(Pep440Version, &ServedFile<'_>)> =
        files.iter().map(|file| (Pep440Version::lenient(file.version), file)).collect();
    files.sort_unstable_by(|(a, x), (b, y)| {
        a.cmp(b).then_with(|| (a.as_str(), x.name, x.id).cmp(&(b.as_str(), y.name, y.id)))
    });
    if head.status == ProjectStatus::Quarantined {
        files.clear();
    }
    let properties = PageProperties {
        name: head.project,
        last_serial: head.serial,
        status: head.status,
        status_reason: head.status_reason,
    };
    let mut url = String::new();
    match format {
        SimpleFormat::Json => {
            let mut writer = JsonWriter::new(files.len());
            for (_, file) in &files {
                with_entry(file, head.links, &mut url, |entry| writer.file(entry)).transpose()?;
            }
            let mut versions: Vec<&str> = files.iter().map(|(version, _)| version.as_str()).collect();
            versions.dedup();
            Ok(writer.finish(&properties, versions.into_iter())?)
        }
        SimpleFormat::Html | SimpleFormat::TextHtml => {
            let mut writer = HtmlWriter::new(&properties, files.len());
            for (_, file) in &files {
                with_entry(file, head.links, &mut url, |entry| writer.file(entry));
            }
            Ok(writer.finish(&properties).into_bytes())
        }
    }
}

/// Calls `write` with the entry of a file; `None` for a file name that no upload accepts. `links` is the URL
/// of provenance objects; `url` is a buffer.
fn with_entry<T>(
    file: &ServedFile<'_>,
    links: Option<&str>,
    url: &mut String,
    write: impl FnOnce(&FileEntry<'_>) -> T,
) -> Option<T> {
    let name = FileName::parse(file.name).ok()?;
    let facts = PageFacts::read(file.facts);
    url.clear();
    push_link(file.sha256, file.name, url);
    let provenance = match links {
        Some(links) => {
            facts.has_provenance().then(|| Cow::Owned(provenance_link(links, file.sha256, file.name)))
        }
        // The object of a bundle in a directory has no address for clients.
        None => facts.provenance().filter(|url| is_web_address(url)).map(Cow::Borrowed),
    };
    Some(write(&FileEntry {
        name: name.as_str(),
        url,
        hashes: Hashes::Sha256(file.sha256),
        requires_python: facts.requires_python(),
        core_metadata: file.metadata.or(facts.metadata()).map_or(MetadataFile::None, MetadataFile::Sha256),
        gpg_sig: facts.has_signature.then_some(true),
        yanked: file.yanked,
        size: file.size,
        // Without a time, installers with a limit such as `exclude-newer` use none of the files.
        upload_time: facts.upload_time().or(file.listed_at),
        provenance: provenance.as_deref(),
    }))
}
