//! Python: names of PEP 503, versions of PEP 440, license expressions of PEP 639.

mod files;
mod index;
mod paths;

use std::borrow::Cow;
use std::io;

use crate::language::{CuratedFiles, Ecosystem, Nouns, Projects, Rules, Version};
use crate::python::accept::{self, SimpleFormat};
use crate::python::curated::rule::ProjectRule;
use crate::python::exact_versions::exact_versions;
use crate::python::facts::{FileFacts, PageFacts};
use crate::python::file_name::{FileKind, FileName};
use crate::python::name::{self, normalize};
use crate::python::simple::documents;
use crate::python::version::Pep440Version;
use base::model::license::UNKNOWN;
use base::model::license_expression::LicenseExpression;
use base::model::locked_version::ExactVersions;
use base::model::project_name::{BadProjectName, ProjectName};
use base::model::project_page::{ArchiveKind, FileDescription, ListedName, PageFormat, PageHead, ServedFile};
use base::model::time::Timestamp;

pub(in crate::language) struct Python;

impl Rules for Python {
    fn nouns(&self) -> &'static Nouns {
        &Nouns {
            a_package: "a Python package",
            a_repository: "a Python repository",
            name_characters: "letters, digits, '.', '_' and '-', and begins with a letter or digit",
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

    fn uploaded_at(&self, facts: &[u8]) -> Option<Timestamp> {
        PageFacts::read(facts).upload_time()
    }

    fn projects(&self) -> Option<&'static dyn Projects> {
        Some(&Python)
    }
}

impl Projects for Python {
    fn main_format(&self) -> PageFormat {
        SimpleFormat::Json.page_format()
    }

    fn negotiate(&self, accept: &mut dyn Iterator<Item = &str>, format: Option<&str>) -> PageFormat {
        accept::negotiate(accept, format).page_format()
    }

    fn write_list(
        &self,
        format: PageFormat,
        serial: Option<u64>,
        projects: &mut dyn Iterator<Item = ListedName<'_>>,
    ) -> io::Result<Vec<u8>> {
        documents::list(SimpleFormat::of(format), serial, projects)
    }

    fn write_page(
        &self,
        format: PageFormat,
        page: &PageHead<'_>,
        files: &[ServedFile<'_>],
    ) -> io::Result<Vec<u8>> {
        documents::page(SimpleFormat::of(format), page, files)
    }

    fn describe(&self, facts: &[u8]) -> FileDescription {
        let facts = FileFacts::read(facts);
        FileDescription {
            uploaded_at: facts.upload_time(),
            display_name: facts.name,
            summary: facts.summary,
            requires: facts.requires_python,
        }
    }

    fn archive_kind(&self, file: &str) -> Option<ArchiveKind> {
        match FileName::parse(file).ok()?.kind() {
            FileKind::Wheel => Some(ArchiveKind::Wheel),
            FileKind::Sdist => file.ends_with(".tar.gz").then_some(ArchiveKind::Tar),
            FileKind::Egg
            | FileKind::WindowsInstaller
            | FileKind::Msi
            | FileKind::Rpm
            | FileKind::Deb
            | FileKind::Dmg => None,
        }
    }

    fn curated_files(&self, rule: &str) -> Option<CuratedFiles> {
        let rule = ProjectRule::parse(rule).ok()?;
        Some(Box::new(move |version, sha256| rule.allows(&Pep440Version::lenient(version), sha256)))
    }
}
