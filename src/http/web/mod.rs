//! Web pages: reads the values of a page, and answers with the HTML of [`pages`].

pub(super) mod administration;
pub(super) mod answer;
pub(super) mod asset;
mod badge;
mod changes;
mod choice;
mod context;
mod dependencies;
mod explanation;
mod feed;
mod files;
pub(super) mod home;
pub(super) mod lock_file;
pub(super) mod markdown_process;
mod packages;
mod project;
mod readme;
pub(super) mod repository;
pub(super) mod snapshot_page;
mod unknown;
mod versions;
