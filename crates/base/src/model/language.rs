//! The languages whose packages are served.

/// A language. Within one language, a name refers to the same package in all sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Language {
    /// R, including Bioconductor.
    R,
    /// Python.
    Python,
}

impl Language {
    /// Every language.
    pub const ALL: [Language; 2] = [Language::R, Language::Python];

    /// Returns the language of a word of the tables; `None` if no language has it.
    #[must_use]
    pub fn parse(word: &str) -> Option<Language> {
        Language::ALL.into_iter().find(|language| language.as_str() == word)
    }

    /// Returns the word stored in the tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Language::R => "r",
            Language::Python => "python",
        }
    }
}
