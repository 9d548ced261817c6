//! Renders the documents of a repository with projects from rows: pages, and the list of projects.

use std::io;

use super::curated;
use super::document::{LatestState, ProjectContent, ProjectDocument};
use super::owner::{self, PageState, RootProject};
use crate::serve::documents::encoding::EncodedDocument;
use crate::serve::selection::allowed::View;
use base::model::digest::Sha256;
use base::model::kind::Language;
use base::model::project_name::ProjectName;
use base::model::project_page::{ListedName, PageHead, ProjectStatus, ServedFile};
use formats::language::{self, Projects};
use runtime::catalog::Catalog;
use store::db::project_file::{self, PageRow};
use store::db::{self, Conn, DbError};

pub(in crate::serve) enum ProjectRows {
    Projects(Vec<RootProject>),
    Files(ProjectName, LatestState, Vec<PageRow>),
}

/// Maximum number of entries of a document that is written without a change of the thread.
const SMALL_PAGE: usize = 100;

impl ProjectRows {
    /// Returns whether the document is written in a fraction of a millisecond.
    pub(in crate::serve) fn is_small(&self) -> bool {
        match self {
            ProjectRows::Projects(projects) => projects.len() <= SMALL_PAGE,
            ProjectRows::Files(_, _, files) => files.len() <= SMALL_PAGE,
        }
    }
}

/// Reads the rows of a document. The catalog has the steps of the trees.
pub(in crate::serve) fn rows(
    c: &mut dyn Conn,
    catalog: &Catalog,
    trees: &[View],
    document: &ProjectDocument,
) -> Result<ProjectRows, DbError> {
    let language = document.language;
    match &document.content {
        ProjectContent::List => Ok(ProjectRows::Projects(owner::root(c, trees, None)?)),
        ProjectContent::LatestList(_) => Ok(ProjectRows::Projects(owner::root(c, trees, Some(catalog))?)),
        ProjectContent::Page(project, _) => {
            let page = trees.first().map(|tree| PageState::of(&tree.listing()));
            let is_quarantined = page == Some(PageState::Quarantined);
            let status = if is_quarantined { ProjectStatus::Quarantined } else { ProjectStatus::Active };
            let state = LatestState { status, ..LatestState::default() };
            Ok(ProjectRows::Files(project.clone(), state, files(c, trees, language, project)?))
        }
        ProjectContent::LatestPage(latest) => {
            let files = files(c, trees, language, &latest.project)?;
            Ok(ProjectRows::Files(latest.project.clone(), latest.state.clone(), files))
        }
    }
}

/// Returns the files of a project in the first tree.
fn files(
    c: &mut dyn Conn,
    trees: &[View],
    language: Language,
    project: &ProjectName,
) -> Result<Vec<PageRow>, DbError> {
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
    let has_time = |file: &PageRow| language::of(language).uploaded_at(&file.facts).is_some();
    if listing.source.is_project_index() && !files.iter().all(has_time) {
        let first_listed = project_file::first_listed(c, listing.tree, package)?;
        for file in &mut files {
            file.listed_at = first_listed.get(&file.file).copied();
        }
    }
    Ok(files)
}

pub(in crate::serve) fn encode(document: &ProjectDocument, rows: ProjectRows) -> io::Result<EncodedDocument> {
    let no_projects = || io::Error::other(format!("{} has no projects", document.language.label()));
    let projects = language::of(document.language).projects().ok_or_else(no_projects)?;
    let bytes = match rows {
        ProjectRows::Projects(rows) => encode_list(projects, document, &rows)?,
        ProjectRows::Files(project, state, files) => {
            let LatestState { serial, status, reason } = &state;
            let page = PageHead {
                project: &project,
                serial: *serial,
                status: *status,
                status_reason: reason.as_deref(),
                links: document.links(),
            };
            let files: Vec<ServedFile<'_>> = files.iter().map(served_file).collect();
            projects.write_page(document.format, &page, &files)?
        }
    };
    Ok(EncodedDocument { content: Sha256::of(&bytes), bytes: bytes.into() })
}

/// Writes the list of projects. Either all have a serial or the list has none: clients cannot use a part of them.
fn encode_list(
    projects: &dyn Projects,
    document: &ProjectDocument,
    rows: &[RootProject],
) -> io::Result<Vec<u8>> {
    let serial = document.last_serial().filter(|_| rows.iter().all(|row| row.serial.is_some()));
    let mut names = rows.iter().map(|row| ListedName {
        name: &row.name,
        display: row.display.as_deref().unwrap_or(&row.name),
        serial: row.serial.filter(|_| serial.is_some()),
    });
    projects.write_list(document.format, serial, &mut names)
}

fn served_file(file: &PageRow) -> ServedFile<'_> {
    ServedFile {
        id: file.file,
        name: &file.name,
        version: &file.version,
        sha256: file.sha256,
        size: u64::try_from(file.size).ok(),
        facts: &file.facts,
        yanked: file.yanked.as_deref(),
        metadata: file.metadata,
        listed_at: file.listed_at,
    }
}
