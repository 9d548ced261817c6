//! Python packages: formats, over every page and file of a mirror; local sources, and the clients that install from them.

mod archives;
mod clients;
mod history;
mod local;
mod package;
mod pages;
