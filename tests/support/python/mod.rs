//! Python packages, an index of them, and uploads.

pub(crate) mod form;
pub(crate) mod index;
pub(crate) mod package;
