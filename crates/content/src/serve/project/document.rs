//! The documents of a repository with projects, and their parts of a cache key.

use std::fmt::Write;
use std::sync::Arc;

use base::model::kind::Language;
use base::model::project_name::ProjectName;
use base::model::project_page::{PageFormat, ProjectStatus};

/// Version of the renderer, part of every key; must be incremented when the same rows give different bytes.
pub(in crate::serve) const RENDERER: u32 = 3;

/// The URL of the files of a repository, for addresses of provenance objects, which must be absolute:
/// `https://host/packages/{repository}/{snapshot}`. If `None`, pages have the addresses that the index states.
pub type ProvenanceLinks = Option<Arc<str>>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProjectDocument {
    pub language: Language,
    pub format: PageFormat,
    pub content: ProjectContent,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ProjectContent {
    /// The names of all projects.
    List,
    /// The page of a project, which the only tree of the point owns.
    Page(ProjectName, ProvenanceLinks),
    /// As [`ProjectContent::List`] of a point that may still change: with serials; the number is the highest of them.
    LatestList(Option<u64>),
    /// As [`ProjectContent::Page`] of a point that may still change: with serial and status.
    LatestPage(Box<LatestPage>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LatestPage {
    pub project: ProjectName,
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

impl ProjectDocument {
    pub fn last_serial(&self) -> Option<u64> {
        match &self.content {
            ProjectContent::List | ProjectContent::Page(..) => None,
            ProjectContent::LatestList(serial) => *serial,
            ProjectContent::LatestPage(latest) => latest.state.serial,
        }
    }

    pub(in crate::serve) fn links(&self) -> Option<&str> {
        match &self.content {
            ProjectContent::List | ProjectContent::LatestList(_) => None,
            ProjectContent::Page(_, links) => links.as_deref(),
            ProjectContent::LatestPage(latest) => latest.links.as_deref(),
        }
    }

    pub(in crate::serve) fn is_list(&self) -> bool {
        matches!(self.content, ProjectContent::List | ProjectContent::LatestList(_))
    }

    /// Returns the name in keys: kind and format. The first word is that of the simple API for every language.
    pub(in crate::serve) fn name(&self) -> String {
        let kind = match self.content {
            ProjectContent::List => "simple",
            ProjectContent::Page(..) => "project",
            ProjectContent::LatestList(_) => "latest-simple",
            ProjectContent::LatestPage(_) => "latest-project",
        };
        format!("{kind}.{}", self.format.extension)
    }

    /// Appends the inputs of the document besides the trees of the point to a key.
    pub(in crate::serve) fn write_key(&self, key: &mut String) {
        let written = match &self.content {
            ProjectContent::List => Ok(()),
            ProjectContent::Page(project, None) => write!(key, "/{project}"),
            ProjectContent::Page(project, Some(links)) => write!(key, "/{project}/{links}"),
            ProjectContent::LatestList(serial) => write!(key, "/{}", serial.unwrap_or(0)),
            ProjectContent::LatestPage(latest) => {
                let LatestState { serial, status, reason } = &latest.state;
                let (serial, reason) = (serial.unwrap_or(0), reason.as_deref().unwrap_or_default());
                let links = latest.links.as_deref().unwrap_or_default();
                write!(key, "/{}/{serial}/{}/{links}/{reason}", latest.project, status.as_str())
            }
        };
        written.expect("writing to a String cannot fail");
    }
}
