//! Edits of Python sources: receives, adds, removes and yanks files of local sources, and changes the definitions
//! of curated sources.

pub(super) mod add;
pub mod curated;
pub(super) mod definition;
pub mod receive;
pub mod remove;
mod selection;
pub mod yank;
