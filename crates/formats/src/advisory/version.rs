//! The supported ecosystems, and the orders of their versions.

use std::cmp::Ordering;

use crate::python;

use crate::r;
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
    pub(super) fn id_prefix(self) -> &'static str {
        match self {
            Ecosystem::Cran | Ecosystem::Bioconductor => "RSEC-",
            Ecosystem::Pypi => "PYSEC-",
        }
    }

    /// Returns the name under which a package is looked up: unchanged for R, normalized for Python.
    pub(super) fn lookup_name(self, name: &str) -> String {
        match self {
            Ecosystem::Cran | Ecosystem::Bioconductor => name.to_owned(),
            Ecosystem::Pypi => python::name::normalize(name),
        }
    }
}

/// A version, with the order of its ecosystem.
#[derive(Clone, Debug)]
pub(super) enum EcosystemVersion {
    /// A version from CRAN or Bioconductor. Versions that R does not accept also have an order.
    R(Box<str>),
    Python(python::version::Pep440Version),
}

impl EcosystemVersion {
    pub(super) fn new(ecosystem: Ecosystem, text: &str) -> EcosystemVersion {
        match ecosystem {
            Ecosystem::Cran | Ecosystem::Bioconductor => EcosystemVersion::R(text.into()),
            Ecosystem::Pypi => EcosystemVersion::Python(python::version::Pep440Version::lenient(text)),
        }
    }

    /// Returns whether two versions are the same. Valid versions are compared by value, others by text.
    pub(super) fn is_same(&self, other: &EcosystemVersion) -> bool {
        match (self, other) {
            (EcosystemVersion::R(a), EcosystemVersion::R(b)) => {
                a == b
                    || (r::version::is_numeric(a)
                        && r::version::is_numeric(b)
                        && r::version::compare(a, b).is_eq())
            }
            (EcosystemVersion::Python(a), EcosystemVersion::Python(b)) => a == b,
            (EcosystemVersion::R(_) | EcosystemVersion::Python(_), _) => false,
        }
    }

    /// Compares two versions in the order of the ecosystem.
    pub(super) fn compare(&self, other: &EcosystemVersion) -> Ordering {
        match (self, other) {
            (EcosystemVersion::R(a), EcosystemVersion::R(b)) => r::version::compare(a, b),
            (EcosystemVersion::Python(a), EcosystemVersion::Python(b)) => a.cmp(b),
            // Versions of two ecosystems are never compared.
            (EcosystemVersion::R(_), EcosystemVersion::Python(_)) => Ordering::Less,
            (EcosystemVersion::Python(_), EcosystemVersion::R(_)) => Ordering::Greater,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_python_projects_are_normalized_and_others_are_not() {
        assert_eq!(Ecosystem::Pypi.lookup_name("Zope.Interface__x"), "zope-interface-x");
        assert_eq!(Ecosystem::Cran.lookup_name("R6.x_y"), "R6.x_y");
        assert_eq!(Ecosystem::parse("Bioconductor"), Some(Ecosystem::Bioconductor));
        assert!(Ecosystem::parse("cran").is_none() && Ecosystem::parse("PyPI:x").is_none());
    }

    #[test]
    fn valid_versions_are_equal_by_value_and_others_by_text() {
        let is_same = |ecosystem, a, b| {
            EcosystemVersion::new(ecosystem, a).is_same(&EcosystemVersion::new(ecosystem, b))
        };
        for (a, b) in [("0.1-8", "0.1.8"), ("1.2", "01.2"), ("1", "1")] {
            assert!(is_same(Ecosystem::Cran, a, b), "{a} {b}");
        }
        for (a, b) in [("1.0", "1"), ("1.0a", "1.0.a"), ("1.10", "1.1"), ("1.0 ", "1.0")] {
            assert!(!is_same(Ecosystem::Cran, a, b), "{a} {b}");
        }
        for (a, b) in [("1.0", "1"), ("1.0rc1", "1.0.RC.1"), ("v1.0", "1.0.0"), ("2004d", "2004d")] {
            assert!(is_same(Ecosystem::Pypi, a, b), "{a} {b}");
        }
        for (a, b) in [("1.10", "1.1"), ("2004d", "2004D"), ("1.0+x", "1.0"), ("1!1.0", "1.0")] {
            assert!(!is_same(Ecosystem::Pypi, a, b), "{a} {b}");
        }
    }

    #[test]
    fn each_ecosystem_has_its_own_order() {
        let assert_sorted = |ecosystem, versions: &[&str]| {
            for pair in versions.windows(2) {
                let [a, b] = [pair[0], pair[1]].map(|text| EcosystemVersion::new(ecosystem, text));
                assert!(a.compare(&b).is_lt() && b.compare(&a).is_gt(), "{pair:?}");
            }
        };
        assert_sorted(Ecosystem::Bioconductor, &["0.9", "1.0", "1.0-1", "1.2", "1.10", "2"]);
        assert_sorted(
            Ecosystem::Pypi,
            &["2004d", "0.9", "1.0.dev1", "1.0a1", "1.0", "1.0.post1", "1.10", "1!0.1"],
        );
    }
}
