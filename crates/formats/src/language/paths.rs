//! The addresses of a language with projects.

pub trait ProjectPaths: Sync {}
