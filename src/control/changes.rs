//! What a reload did with each property that differs from the one in force.

/// A property that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// `CRAN.URL`.
    pub property: String,
    /// The value in force before, fit to be printed.
    pub from: String,
    /// The value in the file, fit to be printed; empty when it is not there any more.
    pub to: String,
}

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
