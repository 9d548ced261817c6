//! The result of a configuration reload, per changed property.

use base::config::Change;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReloadResult {
    /// Properties whose new values were applied.
    pub applied: Vec<Change>,
    /// Properties that the file no longer contains; the active values remain in effect.
    pub ignored: Vec<Change>,
    /// Properties that are not reloadable; a restart, or `rspm offline` and `rspm online`, applies them.
    pub restart: Vec<Change>,
    pub warnings: Vec<String>,
}
