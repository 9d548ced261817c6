//! Renders the documents of a Python repository.

use std::io;

use super::curated;
use super::document::{LatestState, PythonDocument};
use super::owner::{self, RootProject};
use crate::db::python_file::ListedFile;
use crate::db::{self, Conn, DbError};
use crate::python::accept::SimpleFormat;
use crate::python::facts::FileFacts;
use crate::python::file_name::FileName;
use crate::python::layout::{FileId, link, provenance_link};
use crate::python::name::NormalName;
use crate::python::simple::page::{MetadataFile, PageFile, ProjectPage, ProjectStatus, Yank};
use crate::python::simple::read::is_web_address;
use crate::python::simple::{root, write};
use crate::python::version::Version;
use crate::serve::allowed::View;
use crate::serve::encoding::{EncodedDocument, digest};

/// The rows of a document.
pub(in crate::serve) enum Rows {
    Projects(Vec<RootProject>),
    Files(NormalName, LatestState, Vec<ListedFile>),
}

/// Reads the rows of a document.
pub(in crate::serve) fn rows(
    c: &mut dyn Conn,
    trees: &[View],
    document: &PythonDocument,
) -> Result<Rows, DbError> {
    match document {
        PythonDocument::Root(_) => Ok(Rows::Projects(owner::root(c, trees, false)?)),
        PythonDocument::LatestRoot(..) => Ok(Rows::Projects(owner::root(c, trees, true)?)),
        PythonDocument::Project(project, ..) => {
            let is_quarantined = trees.first().is_some_and(|tree| tree.listing().seq == owner::QUARANTINED);
            let status = if is_quarantined { ProjectStatus::Quarantined } else { ProjectStatus::Active };
            let state = LatestState { status, ..LatestState::default() };
            Ok(Rows::Files(project.clone(), state, files(c, trees, project)?))
        }
        PythonDocument::LatestProject(latest) => {
            let files = files(c, trees, &latest.project)?;
            Ok(Rows::Files(latest.project.clone(), latest.state.clone(), files))
        }
    }
}

/// Returns the files of a project in the first tree.
fn files(c: &mut dyn Conn, trees: &[View], project: &NormalName) -> Result<Vec<ListedFile>, DbError> {
    let Some(tree) = trees.first() else { return Ok(Vec::new()) };
    match db::package::by_name(c, tree.source, project.as_str())? {
        Some(package) => curated::of_project(c, tree, package),
        None => Ok(Vec::new()),
    }
}

/// Writes a document.
pub(in crate::serve) fn encode(document: &PythonDocument, rows: Rows) -> io::Result<EncodedDocument> {
    let bytes = match rows {
        Rows::Projects(projects) => encode_root(document, &projects)?,
        Rows::Files(project, state, files) => {
            let LatestState { serial, status, reason } = state;
            let page = page(project, files, document.links());
            let page = ProjectPage { last_serial: serial, status, status_reason: reason, ..page };
            match document.format() {
                SimpleFormat::Json => write::json(&page)?,
                SimpleFormat::Html | SimpleFormat::TextHtml => write::html(&page).into_bytes(),
            }
        }
    };
    Ok(EncodedDocument { content: digest(&bytes), bytes: bytes.into() })
}

/// Returns the name as displayed.
fn display(project: &RootProject) -> &str {
    project.display.as_deref().unwrap_or(&project.name)
}

/// Writes the list of projects. Either all have a serial, or the list has none: clients cannot use serials of
/// some projects only.
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
            let normal = projects.iter().map(|project| project.name.parse::<NormalName>());
            let normal: Vec<NormalName> = normal.collect::<Result<_, _>>().map_err(io::Error::other)?;
            root::write_html(&mut out, last_serial, normal.iter().zip(projects.iter().map(display)))?;
        }
    }
    Ok(out)
}

/// Returns the page of a project: files in the order of version and name. `links` is the URL below which this server has
/// provenance objects.
fn page(project: NormalName, files: Vec<ListedFile>, links: Option<&str>) -> ProjectPage {
    let mut files: Vec<(Version, ListedFile)> =
        files.into_iter().map(|file| (Version::lenient(&file.version), file)).collect();
    files.sort_by(|(a, x), (b, y)| {
        a.cmp(b).then_with(|| (a.as_str(), &x.name, x.key.file).cmp(&(b.as_str(), &y.name, y.key.file)))
    });
    let mut versions: Vec<String> = files.iter().map(|(version, _)| version.as_str().to_owned()).collect();
    versions.dedup();
    let files = files.into_iter().filter_map(|(_, file)| page_file(file, links)).collect();
    ProjectPage { versions: Some(versions), files, ..ProjectPage::new(project) }
}

/// Returns a file of the page; `None` for an invalid file name, which no upload accepts.
fn page_file(file: ListedFile, links: Option<&str>) -> Option<PageFile> {
    let name = FileName::parse(&file.name).ok()?;
    let facts = FileFacts::read(&file.facts);
    let url = link(FileId::Sha256(file.sha256), &name);
    let provenance = match links {
        Some(links) => {
            facts.has_provenance().then(|| provenance_link(links, FileId::Sha256(file.sha256), &name))
        }
        // The object of a bundle in a directory has no address for clients.
        None => facts.provenance.clone().filter(|url| is_web_address(url)),
    };
    Some(PageFile {
        hashes: [("sha256".to_owned(), file.sha256.to_string())].into(),
        requires_python: facts.requires_python.clone(),
        gpg_sig: facts.has_signature.then_some(true),
        core_metadata: file.metadata.or(facts.metadata()).map_or(MetadataFile::None, MetadataFile::Sha256),
        yanked: file.yanked.map(|reason| Yank { reason }),
        size: u64::try_from(file.size).ok(),
        upload_time: facts.upload_time(),
        provenance,
        ..PageFile::new(name, url)
    })
}
