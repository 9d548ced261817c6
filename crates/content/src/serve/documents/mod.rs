//! Generated documents: rendered, cached, stored and compressed.

pub mod digests;
pub mod document;
pub mod encoding;
pub mod index;
pub mod negotiate;
