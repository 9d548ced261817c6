//! The records of a language with projects in a bundle, and what of an index a bundle contains.

pub trait ProjectBundle: Sync {}
