//! Builders: the program in its sandboxes, with the real git and R.

pub(crate) mod attempts;
mod booted;
mod bubblewrap;
mod hostile;
pub(crate) mod job;
mod local;
mod refusals;
pub(crate) mod repository;
