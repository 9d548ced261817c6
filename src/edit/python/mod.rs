//! Edits of local sources of Python packages: receives, adds, removes and yanks files. Changes definitions of curated
//! ones.

pub mod add;
pub mod curated;
pub mod receive;
pub mod remove;
mod selection;
pub mod upload;
pub mod yank;
