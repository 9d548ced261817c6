//! Python packages: the formats of every page and file of a mirror, local sources, and clients that install from them.

mod archives;
mod clients;
mod history;
mod local;
mod package;
mod pages;
