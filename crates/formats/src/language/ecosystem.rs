//! The ecosystems of packages in advisories.

use super::Rules;
use base::model::kind::Language;
use base::words;

words! {
    /// An ecosystem of packages, as named in advisories. A name with a suffix (`PyPI:…`) is none of these: the suffix restricts
    /// the ecosystem to another repository, which is not supported.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Ecosystem {
        Cran = "CRAN",
        Bioconductor = "Bioconductor",
        Pypi = "PyPI",
    }
}

impl Ecosystem {
    /// Returns the name for files of a bundle, in lower case.
    pub fn file_name(self) -> String {
        self.as_str().to_ascii_lowercase()
    }

    /// Returns the prefix of ids in the ecosystem's own database.
    pub fn id_prefix(self) -> &'static str {
        match self {
            Ecosystem::Cran | Ecosystem::Bioconductor => "RSEC-",
            Ecosystem::Pypi => "PYSEC-",
        }
    }

    /// Returns the rules of the names and versions in its advisories.
    pub fn rules(self) -> &'static dyn Rules {
        match self {
            Ecosystem::Cran | Ecosystem::Bioconductor => super::of(Language::R),
            Ecosystem::Pypi => super::of(Language::Python),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ecosystems_have_the_names_of_advisories() {
        assert_eq!(Ecosystem::parse("Bioconductor"), Some(Ecosystem::Bioconductor));
        assert!(Ecosystem::parse("cran").is_none() && Ecosystem::parse("PyPI:x").is_none());
    }
}
