//! What a reload did with each property that differs from the one in force.

use crate::config::Change;

/// The outcome of a reload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// In force now.
    pub applied: Vec<Change>,
    /// No longer written: the value in force is kept.
    pub ignored: Vec<Change>,
    /// Not reloadable: in force after a restart, or after `rspm offline` and `rspm online`.
    pub restart: Vec<Change>,
    /// What else an administrator should know.
    pub warnings: Vec<String>,
}
