//! Renders the documents of a Python repository from rows: pages of the simple API and the list of projects.

use std::borrow::Cow;
use std::io;

use super::document::{LatestState, PythonDocument};
use crate::serve::documents::encoding::EncodedDocument;
use crate::serve::project::curated;
use crate::serve::project::owner::{self, PageState, RootProject};
use crate::serve::selection::allowed::View;
use base::model::digest::Sha256;
use base::model::project_name::ProjectName;
use formats::python::accept::SimpleFormat;
use formats::python::facts::PageFacts;
use formats::python::file_name::FileName;
use formats::python::layout::{FileId, provenance_link, push_link};
use formats::python::simple::page::{MetadataFile, ProjectStatus};
use formats::python::simple::read::is_web_address;
use formats::python::simple::root;
use formats::python::simple::write::{FileEntry, Hashes, HtmlWriter, JsonWriter, PageProperties};
use formats::python::version::Pep440Version;
use runtime::catalog::Catalog;
use store::db::project_file::{self, PageRow};
use store::db::{self, Conn, DbError};

pub(in crate::serve) enum PythonRows {
    Projects(Vec<RootProject>),
    Files(ProjectName, LatestState, Vec<PageRow>),
}

/// Maximum number of entries of a document that is written without a change of the thread.
const SMALL_PAGE: usize = 100;

impl PythonRows {
    /// Returns whether the document is written in a fraction of a millisecond.
    pub(in crate::serve) fn is_small(&self) -> bool {
        match self {
            PythonRows::Projects(projects) => projects.len() <= SMALL_PAGE,
            PythonRows::Files(_, _, files) => files.len() <= SMALL_PAGE,
        }
    }
}

/// Reads the rows of a document. The catalog has the steps of the trees.
pub(in crate::serve) fn rows(
    c: &mut dyn Conn,
    catalog: &Catalog,
    trees: &[View],
    document: &PythonDocument,
) -> Result<PythonRows, DbError> {
    match document {
        PythonDocument::Root(_) => Ok(PythonRows::Projects(owner::root(c, trees, None)?)),
        PythonDocument::LatestRoot(..) => Ok(PythonRows::Projects(owner::root(c, trees, Some(catalog))?)),
        PythonDocument::Project(project, ..) => {
            let page = trees.first().map(|tree| PageState::of(&tree.listing()));
            let is_quarantined = page == Some(PageState::Quarantined);
            let status = if is_quarantined { ProjectStatus::Quarantined } else { ProjectStatus::Active };
            let state = LatestState { status, ..LatestState::default() };
            Ok(PythonRows::Files(project.clone(), state, files(c, trees, project)?))
        }
        PythonDocument::LatestProject(latest) => {
            let files = files(c, trees, &latest.project)?;
            Ok(PythonRows::Files(latest.project.clone(), latest.state.clone(), files))
        }
    }
}

/// Returns the files of a project in the first tree.
fn files(c: &mut dyn Conn, trees: &[View], project: &ProjectName) -> Result<Vec<PageRow>, DbError> {
    let Some(tree) = trees.first() else { return Ok(Vec::new()) };
    let Some(package) = db::package::by_name(c, tree.source, project.as_str())? else {
        return Ok(Vec::new());
    };
    let mut files = if owner::is_whole_index(tree) && !tree.is_restricted() {
        project_file::page_of_index(c, tree.tree, tree.seq, package)?
    } else {
        curated::of_project(c, tree, package)?.into_iter().map(PageRow::from).collect()
    };
    let listing = tree.listing();
    let has_time = |file: &PageRow| PageFacts::read(&file.facts).upload_time().is_some();
    if listing.source.is_project_index() && !files.iter().all(has_time) {
        let first_listed = project_file::first_listed(c, listing.tree, package)?;
        for file in &mut files {
            file.listed_at = first_listed.get(&file.file).copied();
        }
    }
    Ok(files)
}

pub(in crate::serve) fn encode(document: &PythonDocument, rows: PythonRows) -> io::Result<EncodedDocument> {
    let bytes = match rows {
        PythonRows::Projects(projects) => encode_root(document, &projects)?,
        PythonRows::Files(project, state, files) => {
            let LatestState { serial, status, reason } = &state;
            let (last_serial, status, status_reason) = (*serial, *status, reason.as_deref());
            let properties = PageProperties { name: &project, last_serial, status, status_reason };
            encode_page(document, &properties, &files)?
        }
    };
    Ok(EncodedDocument { content: Sha256::of(&bytes), bytes: bytes.into() })
}

fn display(project: &RootProject) -> &str {
    project.display.as_deref().unwrap_or(&project.name)
}

/// Writes the list of projects. Either all have a serial or the list has none: clients cannot use a part of them.
fn encode_root(document: &PythonDocument, projects: &[RootProject]) -> io::Result<Vec<u8>> {
    let last_serial = document.last_serial().filter(|_| projects.iter().all(|p| p.serial.is_some()));
    let mut out = Vec::new();
    match document.format() {
        SimpleFormat::Json => {
            let serial = |project: &RootProject| project.serial.filter(|_| last_serial.is_some());
            let entries = projects.iter().map(|project| (display(project), serial(project)));
            root::write_json(&mut out, last_serial, entries)?;
        }
        SimpleFormat::Html | SimpleFormat::TextHtml => {
            let names = projects.iter().map(|project| ProjectName::folded(project.name.clone()));
            let names: Vec<ProjectName> = names.collect();
            root::write_html(&mut out, last_serial, names.iter().zip(projects.iter().map(display)))?;
        }
    }
    Ok(out)
}

/// Writes the page of a project: files in the order of version and name.
fn encode_page(
    document: &PythonDocument,
    page: &PageProperties<'_>,
    files: &[PageRow],
) -> io::Result<Vec<u8>> {
    let mut files: Vec<(Pep440Version, &PageRow)> =
        files.iter().map(|file| (Pep440Version::lenient(&file.version), file)).collect();
    files.sort_unstable_by(|(a, x), (b, y)| {
        a.cmp(b).then_with(|| (a.as_str(), &x.name, x.file).cmp(&(b.as_str(), &y.name, y.file)))
    });
    if page.status == ProjectStatus::Quarantined {
        files.clear();
    }
    let (links, mut url) = (document.links(), String::new());
    match document.format() {
        SimpleFormat::Json => {
            let mut writer = JsonWriter::new(files.len());
            for (_, file) in &files {
                with_entry(file, links, &mut url, |entry| writer.file(entry)).transpose()?;
            }
            let mut versions: Vec<&str> = files.iter().map(|(version, _)| version.as_str()).collect();
            versions.dedup();
            Ok(writer.finish(page, versions.into_iter())?)
        }
        SimpleFormat::Html | SimpleFormat::TextHtml => {
            let mut writer = HtmlWriter::new(page, files.len());
            for (_, file) in &files {
                with_entry(file, links, &mut url, |entry| writer.file(entry));
            }
            Ok(writer.finish(page).into_bytes())
        }
    }
}

/// Calls `write` with the entry of a file; `None` for a file name that no upload accepts. `links` is the URL
/// of provenance objects; `url` is a buffer.
fn with_entry<T>(
    file: &PageRow,
    links: Option<&str>,
    url: &mut String,
    write: impl FnOnce(&FileEntry<'_>) -> T,
) -> Option<T> {
    let name = FileName::parse(&file.name).ok()?;
    let facts = PageFacts::read(&file.facts);
    let id = FileId::Sha256(file.sha256);
    url.clear();
    push_link(id, &name, url);
    let provenance = match links {
        Some(links) => facts.has_provenance().then(|| Cow::Owned(provenance_link(links, id, &name))),
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
        yanked: file.yanked.as_deref(),
        size: u64::try_from(file.size).ok(),
        // Without a time, installers with a limit such as `exclude-newer` use none of the files.
        upload_time: facts.upload_time().or(file.listed_at),
        provenance: provenance.as_deref(),
    }))
}
