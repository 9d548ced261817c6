//! What only clients of Python use: PyPI's JSON API, provenance objects, trusted publishing and uploads.

pub(crate) mod json;
pub(crate) mod project;
pub(super) mod provenance;
pub(crate) mod trusted_publishing;
pub(crate) mod upload;
