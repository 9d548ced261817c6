//! Python: names of PEP 503, versions of PEP 440, license expressions of PEP 639.

use std::borrow::Cow;

use super::{Ecosystem, Nouns, Rules, Version};
use crate::python::exact_versions::exact_versions;
use crate::python::license::LicenseExpression;
use crate::python::name::{self, normalize};
use crate::python::version::Pep440Version;
use base::model::license::UNKNOWN;
use base::model::locked_version::ExactVersions;
use base::model::project_name::{BadProjectName, ProjectName};

pub(super) struct Python;

impl Rules for Python {
    fn nouns(&self) -> &'static Nouns {
        &Nouns {
            a_package: "a Python package",
            name_characters: "letters, digits, '.', '_' and '-', and begins with a letter or digit",
            index: "PyPI",
            directory: "simple",
            lock_files: "pylock.toml, uv.lock, poetry.lock, pdm.lock, Pipfile.lock, or requirements with exact versions",
        }
    }

    fn fold<'a>(&self, name: &'a str) -> Cow<'a, str> {
        Cow::Owned(normalize(name))
    }

    fn project_name(&self, text: &str) -> Result<ProjectName, BadProjectName> {
        name::parse(text)
    }

    fn has_similar_names(&self) -> bool {
        false
    }

    fn is_name(&self, text: &str, is_prefix: bool) -> bool {
        match is_prefix {
            true => {
                text.starts_with(|c: char| c.is_ascii_alphanumeric())
                    && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
            }
            false => name::is_valid(text),
        }
    }

    fn version<'a>(&self, text: &'a str) -> Version<'a> {
        Version::Python(Pep440Version::lenient(text))
    }

    fn may_choose(&self, license: &str, is_accepted: &dyn Fn(&str) -> bool) -> bool {
        match license.parse::<LicenseExpression>() {
            Ok(expression) => expression.may_choose(is_accepted),
            Err(_) => is_accepted(UNKNOWN),
        }
    }

    fn states_licenses(&self) -> bool {
        false
    }

    fn exact_versions(&self, file: &[u8]) -> Result<ExactVersions, String> {
        exact_versions(file)
    }

    fn ecosystems(&self) -> &'static [Ecosystem] {
        &[Ecosystem::Pypi]
    }
}
