//! R: Writing R Extensions, 1.1.1.

use std::borrow::Cow;

use super::{Ecosystem, Nouns, Rules, Version};
use crate::r::{license, lock_file, name};
use base::model::locked_version::{ExactVersions, SkipReason, Skipped};
use base::model::project_name::{BadProjectName, ProjectName};

const EXPECTED_NAME: &str = "an R package: use 2 to 255 ASCII letters, digits and dots, beginning with a letter and not \
                             ending with a dot";

pub(super) struct R;

impl Rules for R {
    fn nouns(&self) -> &'static Nouns {
        &Nouns {
            a_package: "an R package",
            a_repository: "an R repository",
            name_characters: "letters, digits and dots, and begins with a letter",
            directory: "src/contrib",
            lock_files: "renv.lock, rv.lock, or the output of sessionInfo()",
        }
    }

    fn fold<'a>(&self, name: &'a str) -> Cow<'a, str> {
        Cow::Borrowed(name)
    }

    fn project_name(&self, text: &str) -> Result<ProjectName, BadProjectName> {
        if name::is_package(text) {
            Ok(ProjectName::folded(text))
        } else {
            Err(BadProjectName::new(text, EXPECTED_NAME))
        }
    }

    fn has_similar_names(&self) -> bool {
        true
    }

    fn is_name(&self, text: &str, is_prefix: bool) -> bool {
        match is_prefix {
            true => {
                text.starts_with(|c: char| c.is_ascii_alphabetic())
                    && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '.')
            }
            false => name::is_package(text),
        }
    }

    fn version<'a>(&self, text: &'a str) -> Version<'a> {
        Version::Numbers(Cow::Borrowed(text))
    }

    fn may_choose(&self, license: &str, is_accepted: &dyn Fn(&str) -> bool) -> bool {
        license::licenses(license).types().iter().any(|id| is_accepted(id))
    }

    fn states_licenses(&self) -> bool {
        true
    }

    fn exact_versions(&self, file: &[u8]) -> Result<ExactVersions, String> {
        let file = lock_file::parse(file).map_err(|error| error.to_string())?;
        let skipped =
            file.skipped.into_iter().map(|name| Skipped { name, reason: SkipReason::NotFromRepository });
        Ok(ExactVersions { packages: file.packages.into_iter().collect(), skipped: skipped.collect() })
    }

    fn ecosystems(&self) -> &'static [Ecosystem] {
        &[Ecosystem::Cran, Ecosystem::Bioconductor]
    }
}
