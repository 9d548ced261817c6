//! The outcome of a configuration reload, per changed property.

use crate::config::Change;

/// The outcome of a reload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReloadResult {
    /// Applied.
    pub applied: Vec<Change>,
    /// Absent from the file now: the active value is kept.
    pub ignored: Vec<Change>,
    /// Not reloadable: applied by a restart, or by `rspm offline` and `rspm online`.
    pub restart: Vec<Change>,
    /// Warnings for the administrator.
    pub warnings: Vec<String>,
}
