//! Formats of Python packages: every page and file of a mirror.

mod archives;
mod pages;
