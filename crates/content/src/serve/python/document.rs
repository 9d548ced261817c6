//! The documents of a Python repository, and their parts of a cache key.

use std::fmt::Write;
use std::sync::Arc;

use base::model::project_name::ProjectName;
use formats::python::accept::SimpleFormat;
use formats::python::simple::page::ProjectStatus;

/// Version of the renderer, part of every key; must be incremented when the same rows give different bytes.
pub(in crate::serve) const RENDERER: u32 = 3;

/// The URL of the files of a repository, for addresses of provenance objects, which must be absolute:
/// `https://host/packages/{repository}/{snapshot}`. If `None`, pages have the addresses that the index states.
pub type ProvenanceLinks = Option<Arc<str>>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PythonDocument {
    /// The names of all projects: `simple/`.
    Root(SimpleFormat),
    /// The page of a project, which the only tree of the point owns: `simple/{project}/`.
    Project(ProjectName, SimpleFormat, ProvenanceLinks),
    /// As [`PythonDocument::Root`] of a point that may still change: with serials; the number is the highest of them.
    LatestRoot(SimpleFormat, Option<u64>),
    /// As [`PythonDocument::Project`] of a point that may still change: with serial and status.
    LatestProject(Box<LatestProject>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LatestProject {
    pub project: ProjectName,
    pub format: SimpleFormat,
    pub links: ProvenanceLinks,
    /// The facts on the page besides its files.
    pub state: LatestState,
}

/// The facts on the newest page of a project besides its files, without history: not on pages of past days.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LatestState {
    pub serial: Option<u64>,
    pub status: ProjectStatus,
    pub reason: Option<String>,
}

impl PythonDocument {
    pub fn format(&self) -> SimpleFormat {
        match self {
            PythonDocument::Root(format)
            | PythonDocument::Project(_, format, _)
            | PythonDocument::LatestRoot(format, _) => *format,
            PythonDocument::LatestProject(latest) => latest.format,
        }
    }

    pub fn last_serial(&self) -> Option<u64> {
        match self {
            PythonDocument::Root(_) | PythonDocument::Project(..) => None,
            PythonDocument::LatestRoot(_, serial) => *serial,
            PythonDocument::LatestProject(latest) => latest.state.serial,
        }
    }

    pub(in crate::serve) fn links(&self) -> Option<&str> {
        match self {
            PythonDocument::Root(_) | PythonDocument::LatestRoot(..) => None,
            PythonDocument::Project(_, _, links) => links.as_deref(),
            PythonDocument::LatestProject(latest) => latest.links.as_deref(),
        }
    }

    pub(in crate::serve) fn is_list(&self) -> bool {
        matches!(self, PythonDocument::Root(_) | PythonDocument::LatestRoot(..))
    }

    /// Returns the name in keys: kind and format. Both types of HTML have the same bytes.
    pub(in crate::serve) fn name(&self) -> &'static str {
        let is_json = self.format() == SimpleFormat::Json;
        match (self, is_json) {
            (PythonDocument::Root(_), true) => "simple.json",
            (PythonDocument::Root(_), false) => "simple.html",
            (PythonDocument::Project(..), true) => "project.json",
            (PythonDocument::Project(..), false) => "project.html",
            (PythonDocument::LatestRoot(..), true) => "latest-simple.json",
            (PythonDocument::LatestRoot(..), false) => "latest-simple.html",
            (PythonDocument::LatestProject(_), true) => "latest-project.json",
            (PythonDocument::LatestProject(_), false) => "latest-project.html",
        }
    }

    /// Appends the inputs of the document besides the trees of the point to a key.
    pub(in crate::serve) fn write_key(&self, key: &mut String) {
        let written = match self {
            PythonDocument::Root(_) => Ok(()),
            PythonDocument::Project(project, _, None) => write!(key, "/{project}"),
            PythonDocument::Project(project, _, Some(links)) => write!(key, "/{project}/{links}"),
            PythonDocument::LatestRoot(_, serial) => write!(key, "/{}", serial.unwrap_or(0)),
            PythonDocument::LatestProject(latest) => {
                let LatestState { serial, status, reason } = &latest.state;
                let (serial, reason) = (serial.unwrap_or(0), reason.as_deref().unwrap_or_default());
                let links = latest.links.as_deref().unwrap_or_default();
                write!(key, "/{}/{serial}/{}/{links}/{reason}", latest.project, status.as_str())
            }
        };
        written.expect("writing to a String cannot fail");
    }
}
