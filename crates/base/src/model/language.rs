//! The languages whose packages are served.

use crate::words;

words! {
    /// A language. Within one language, a name refers to the same package in all sources.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Language {
        R = "r",
        Python = "python",
    }
}
