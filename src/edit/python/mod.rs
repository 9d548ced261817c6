//! Edits of local sources of Python packages: files are received, added, removed and yanked.

pub mod add;
pub mod receive;
pub mod remove;
mod selection;
pub mod upload;
pub mod yank;
