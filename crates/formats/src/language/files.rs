//! The files of a language with projects.

pub trait ProjectFiles: Sync {
    /// Returns the name of a file without its extension. Project, version and platform are parts of it.
    fn stem<'a>(&self, file: &'a str) -> &'a str;
}
