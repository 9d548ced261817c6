//! Uploads by twine and other clients: the form of PyPI's upload API, and its encoding (`multipart/form-data`).

pub mod form;
pub mod multipart;
