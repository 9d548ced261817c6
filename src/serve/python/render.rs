//! Renders the documents of a Python repository.

use std::io;

use super::document::PythonDocument;
use super::{curated, owner};
use crate::db::python_file::ListedFile;
use crate::db::{self, Conn, DbError};
use crate::model::point::PointTree;
use crate::python::accept::SimpleFormat;
use crate::python::facts::FileFacts;
use crate::python::file_name::FileName;
use crate::python::layout::{FileId, link};
use crate::python::name::NormalName;
use crate::python::simple::page::{MetadataFile, PageFile, ProjectPage, ProjectStatus, Yank};
use crate::python::simple::{root, write};
use crate::python::version::Version;
use crate::serve::encoding::{EncodedDocument, digest};

/// The rows of a document.
pub(in crate::serve) enum Rows {
    Names(Vec<String>),
    Files(NormalName, ProjectStatus, Vec<ListedFile>),
}

/// Reads the rows of a document.
pub(in crate::serve) fn rows(
    c: &mut dyn Conn,
    trees: &[PointTree],
    document: &PythonDocument,
) -> Result<Rows, DbError> {
    match document {
        PythonDocument::Root(_) => {
            Ok(Rows::Names(owner::listed(c, trees)?.into_iter().map(|(name, _)| name).collect()))
        }
        PythonDocument::Project(project, _) => {
            let mut files = Vec::new();
            if let Some(tree) = trees.first()
                && let Some(package) = db::package::by_name(c, tree.source, project.as_str())?
            {
                files = curated::of_project(c, tree, package)?;
            }
            let is_quarantined = trees.first().is_some_and(|tree| tree.listing().seq == owner::QUARANTINED);
            let status = if is_quarantined { ProjectStatus::Quarantined } else { ProjectStatus::Active };
            Ok(Rows::Files(project.clone(), status, files))
        }
    }
}

/// Writes a document.
pub(in crate::serve) fn encode(document: &PythonDocument, rows: Rows) -> io::Result<EncodedDocument> {
    let bytes = match rows {
        Rows::Names(names) => encode_root(document.format(), &names)?,
        Rows::Files(project, status, files) => {
            let page = ProjectPage { status, ..page(project, files) };
            match document.format() {
                SimpleFormat::Json => write::json(&page)?,
                SimpleFormat::Html | SimpleFormat::TextHtml => write::html(&page).into_bytes(),
            }
        }
    };
    Ok(EncodedDocument { content: digest(&bytes), bytes: bytes.into() })
}

fn encode_root(format: SimpleFormat, names: &[String]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    match format {
        SimpleFormat::Json => root::write_json(&mut out, None, names.iter().map(|name| (&**name, None)))?,
        SimpleFormat::Html | SimpleFormat::TextHtml => {
            let normal = names.iter().map(|name| name.parse::<NormalName>());
            let normal: Vec<NormalName> = normal.collect::<Result<_, _>>().map_err(io::Error::other)?;
            root::write_html(&mut out, None, normal.iter().zip(names.iter().map(String::as_str)))?;
        }
    }
    Ok(out)
}

/// The page of a project: files in the order of version and name.
fn page(project: NormalName, files: Vec<ListedFile>) -> ProjectPage {
    let mut files: Vec<(Version, ListedFile)> =
        files.into_iter().map(|file| (Version::lenient(&file.version), file)).collect();
    files.sort_by(|(a, x), (b, y)| {
        a.cmp(b).then_with(|| (a.as_str(), &x.name, x.key.file).cmp(&(b.as_str(), &y.name, y.key.file)))
    });
    let mut versions: Vec<String> = files.iter().map(|(version, _)| version.as_str().to_owned()).collect();
    versions.dedup();
    let files = files.into_iter().filter_map(|(_, file)| page_file(file)).collect();
    ProjectPage { versions: Some(versions), files, ..ProjectPage::new(project) }
}

/// A file of the page; `None` for a name that is none, which no upload accepts.
fn page_file(file: ListedFile) -> Option<PageFile> {
    let name = FileName::parse(&file.name).ok()?;
    let facts = FileFacts::read(&file.facts);
    let url = link(FileId::Sha256(file.sha256), &name);
    Some(PageFile {
        hashes: [("sha256".to_owned(), file.sha256.to_string())].into(),
        requires_python: facts.requires_python.clone(),
        core_metadata: file.metadata.or(facts.metadata()).map_or(MetadataFile::None, MetadataFile::Sha256),
        yanked: file.yanked.map(|reason| Yank { reason }),
        size: u64::try_from(file.size).ok(),
        upload_time: facts.upload_time(),
        ..PageFile::new(name, url)
    })
}
