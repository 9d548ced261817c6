//! Edits of local sources of Python packages: files are received, added, removed and yanked.

pub(super) mod add;
pub(super) mod receive;
pub(super) mod remove;
mod selection;
pub mod yank;
