//! Wheels, source distributions, and the older kinds of file.

use super::Python;
use crate::language::ProjectFiles;
use crate::python::file_name::FileName;

impl ProjectFiles for Python {
    fn stem<'a>(&self, file: &'a str) -> &'a str {
        let extension = FileName::parse(file).map_or(0, |name| name.extension().len());
        &file[..file.len() - extension]
    }
}
