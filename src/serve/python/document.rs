//! The documents of a Python repository, and their parts of a cache key.

use std::fmt::Write;

use crate::python::accept::SimpleFormat;
use crate::python::name::NormalName;

/// Version of the renderer, part of every key; must be incremented when the same rows give other bytes.
pub(in crate::serve) const RENDERER: u32 = 1;

/// The generated documents of a point of a Python repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PythonDocument {
    /// The names of all projects: `simple/`.
    Root(SimpleFormat),
    /// The page of a project, which the only tree of the point owns: `simple/{project}/`.
    Project(NormalName, SimpleFormat),
}

impl PythonDocument {
    /// The format.
    #[must_use]
    pub fn format(&self) -> SimpleFormat {
        match self {
            PythonDocument::Root(format) | PythonDocument::Project(_, format) => *format,
        }
    }

    /// The name in keys: kind and format. Both types of HTML have the same bytes.
    pub(in crate::serve) fn name(&self) -> &'static str {
        match (self, self.format()) {
            (PythonDocument::Root(_), SimpleFormat::Json) => "simple.json",
            (PythonDocument::Root(_), SimpleFormat::Html | SimpleFormat::TextHtml) => "simple.html",
            (PythonDocument::Project(..), SimpleFormat::Json) => "project.json",
            (PythonDocument::Project(..), SimpleFormat::Html | SimpleFormat::TextHtml) => "project.html",
        }
    }

    /// Appends the inputs of the document besides the trees of the point to a key.
    pub(in crate::serve) fn write_key(&self, key: &mut String) {
        if let PythonDocument::Project(project, _) = self {
            write!(key, "/{project}").expect("writing to a String cannot fail");
        }
    }
}
