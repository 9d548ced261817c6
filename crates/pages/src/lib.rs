//! HTML pages: values in, text out. No I/O, no clock.
//!
//! A component is a function that returns [`maud::Markup`]. `maud` escapes text and quotes attributes, but does not
//! check addresses: the target of a link is built from encoded segments ([`frame::Root`], [`text::segment`]), or
//! checked by [`text::external`]. The policy of the pages ([`assets::policy`]) forbids inline scripts and styles.

pub mod administration;
pub mod assets;
pub mod badge;
pub mod binaries;
pub mod calendar;
pub mod changes;
pub mod dependencies;
pub mod dependents;
pub mod downloads;
pub mod explanation;
pub mod feed;
pub mod files;
pub mod first_packages;
pub mod frame;
pub mod history;
pub mod home;
pub mod lock_file;
pub mod manual;
pub mod package;
pub mod packages;
mod picture;
pub mod readme;
pub mod repository;
pub mod setup;
mod table;
pub mod text;
mod timeline;
pub mod versions;
pub mod vulnerabilities;
