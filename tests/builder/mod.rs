//! Builders: the program in its sandboxes, with the real git and R.

mod attempts;
mod booted;
mod bubblewrap;
mod hostile;
mod job;
mod local;
mod refusals;
pub(crate) mod repository;
