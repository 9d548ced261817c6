//! Edits of local sources of Python packages: receives, adds, removes and yanks files.

pub mod add;
pub mod receive;
pub mod remove;
mod selection;
pub mod upload;
pub mod yank;
