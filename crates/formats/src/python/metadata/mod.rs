//! Core metadata of a distribution: METADATA of a wheel, PKG-INFO of a source distribution (PyPA: core metadata,
//! versions 1.0 to 2.6; later minor versions are read as 2.6).

pub mod header;
pub mod installers;
pub mod validity;

use super::requirement::Requirement;
use super::version::Pep440Version;
use super::{license_types, name};
use base::model::license_expression::LicenseExpression;
use base::model::project_name::{BadProjectName, ProjectName};
use base::model::project_page::{ReleaseDescription, StatedRequirement};
use header::Headers;

/// Maximum size of a metadata file, in bytes; descriptions on PyPI are at most 1 MB.
pub const MAX_METADATA: u64 = 4 << 20;
/// Approximate size of an allocation without its content, in bytes.
const ALLOCATION_BYTES: usize = 16;

/// The metadata of one distribution. Texts are as written, without white space around them; fields with the value
/// `UNKNOWN`, which old tools wrote, are missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// `Metadata-Version`: major and minor.
    pub metadata_version: (u32, u32),
    /// `Name`, as written.
    pub name: String,
    /// `Version`, as written.
    pub version: String,
    /// `Dynamic`: fields that may differ in wheels built from this source distribution.
    pub dynamic: Vec<String>,
    pub platforms: Vec<String>,
    pub supported_platforms: Vec<String>,
    pub summary: Option<String>,
    /// `Description`, or the body.
    pub description: Option<String>,
    pub description_content_type: Option<String>,
    pub keywords: Option<String>,
    pub author: Option<String>,
    pub author_email: Option<String>,
    pub maintainer: Option<String>,
    pub maintainer_email: Option<String>,
    /// `License`: free text before 2.4.
    pub license: Option<String>,
    /// `License-Expression`: SPDX.
    pub license_expression: Option<String>,
    pub license_files: Vec<String>,
    pub classifiers: Vec<String>,
    /// `Requires-Dist`: requirements as written, which may be invalid.
    pub requires_dist: Vec<String>,
    pub requires_python: Option<String>,
    pub requires_external: Vec<String>,
    pub provides_extra: Vec<String>,
    pub provides_dist: Vec<String>,
    pub obsoletes_dist: Vec<String>,
    /// `Project-URL`: label and address.
    pub project_urls: Vec<(String, String)>,
    pub home_page: Option<String>,
    pub download_url: Option<String>,
    pub import_names: Vec<String>,
    pub import_namespaces: Vec<String>,
    /// Every other field, with the name as written.
    pub other: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadMetadata {
    #[error("the metadata has {0} bytes, more than the {MAX_METADATA} allowed; shorten the description")]
    TooLarge(u64),
    #[error("the metadata has no field '{0}'; build the package again with a current build tool")]
    Missing(&'static str),
    #[error("the metadata has the field '{0}' more than once; build the package again")]
    Repeated(&'static str),
    #[error("the metadata has Metadata-Version '{0}', which is not a number such as 2.4")]
    Format(String),
    #[error("the metadata has Metadata-Version {0}; versions 1.x and 2.x are supported")]
    Major(String),
    #[error("the metadata has the field Name: {0}")]
    Name(#[from] BadProjectName),
    #[error("the metadata has Version '{0}', which is not a version")]
    Version(String),
}

impl Metadata {
    /// Parses the bytes of METADATA or PKG-INFO.
    ///
    /// # Errors
    /// [`BadMetadata`]. Only the identifying fields are checked; others may have any value.
    pub fn parse(bytes: &[u8]) -> Result<Metadata, BadMetadata> {
        if bytes.len() as u64 > MAX_METADATA {
            return Err(BadMetadata::TooLarge(bytes.len() as u64));
        }
        let headers = Headers::parse(bytes);
        let format = single_value(&headers, "Metadata-Version")?;
        let metadata_version = parse_format(format)?;
        if !matches!(metadata_version.0, 1 | 2) {
            return Err(BadMetadata::Major(format.chars().take(20).collect()));
        }
        let (name, version) = (single_value(&headers, "Name")?, single_value(&headers, "Version")?);
        name::parse(name)?;
        let is_version_byte =
            |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'+' | b'!');
        let is_version = !version.is_empty() && version.len() <= 255 && version.bytes().all(is_version_byte);
        if !is_version && !Pep440Version::lenient(version).is_valid() {
            return Err(BadMetadata::Version(version.chars().take(80).collect()));
        }
        let mut metadata = Metadata {
            metadata_version,
            name: name.to_owned(),
            version: version.to_owned(),
            ..Metadata::default()
        };
        for field in headers.fields {
            metadata.add(&field.name, field.value);
        }
        if metadata.description.is_none() && !headers.body.trim().is_empty() {
            metadata.description = Some(headers.body);
        }
        Ok(metadata)
    }

    /// Adds a field. The first value of a repeated single-value field is used.
    fn add(&mut self, name: &str, value: String) {
        let lower = name.to_ascii_lowercase();
        let list = match &*lower {
            "dynamic" => &mut self.dynamic,
            "platform" => &mut self.platforms,
            "supported-platform" => &mut self.supported_platforms,
            "license-file" => &mut self.license_files,
            "classifier" => &mut self.classifiers,
            "requires-dist" => &mut self.requires_dist,
            "requires-external" => &mut self.requires_external,
            "provides-extra" => &mut self.provides_extra,
            "provides-dist" => &mut self.provides_dist,
            "obsoletes-dist" => &mut self.obsoletes_dist,
            "import-name" => &mut self.import_names,
            "import-namespace" => &mut self.import_namespaces,
            "project-url" => {
                let (label, url) = value.split_once(',').unwrap_or((&value, ""));
                return self.project_urls.push((label.trim().to_owned(), url.trim().to_owned()));
            }
            _ => return self.add_single(&lower, name, value),
        };
        if is_known(&value) {
            list.push(value);
        }
    }

    fn add_single(&mut self, lower: &str, name: &str, value: String) {
        let slot = match lower {
            "metadata-version" | "name" | "version" => return,
            "summary" => &mut self.summary,
            "description" => &mut self.description,
            "description-content-type" => &mut self.description_content_type,
            "keywords" => &mut self.keywords,
            "author" => &mut self.author,
            "author-email" => &mut self.author_email,
            "maintainer" => &mut self.maintainer,
            "maintainer-email" => &mut self.maintainer_email,
            "license" => &mut self.license,
            "license-expression" => &mut self.license_expression,
            "requires-python" => &mut self.requires_python,
            "home-page" => &mut self.home_page,
            "download-url" => &mut self.download_url,
            _ => return self.other.push((name.to_owned(), value)),
        };
        if slot.is_none() && is_known(&value) {
            *slot = Some(value);
        }
    }

    /// Returns the project.
    ///
    /// # Errors
    /// The name is invalid. This is possible only if the metadata was not created by [`Metadata::parse`].
    pub fn project(&self) -> Result<ProjectName, BadProjectName> {
        name::parse(&self.name)
    }

    /// Returns the approximate size in memory of all fields, in bytes.
    pub fn memory_size(&self) -> usize {
        let Metadata {
            metadata_version: _,
            name,
            version,
            dynamic,
            platforms,
            supported_platforms,
            summary,
            description,
            description_content_type,
            keywords,
            author,
            author_email,
            maintainer,
            maintainer_email,
            license,
            license_expression,
            license_files,
            classifiers,
            requires_dist,
            requires_python,
            requires_external,
            provides_extra,
            provides_dist,
            obsoletes_dist,
            project_urls,
            home_page,
            download_url,
            import_names,
            import_namespaces,
            other,
        } = self;
        let texts = [
            summary,
            description,
            description_content_type,
            keywords,
            author,
            author_email,
            maintainer,
            maintainer_email,
            license,
            license_expression,
            requires_python,
            home_page,
            download_url,
        ];
        let lists = [
            dynamic,
            platforms,
            supported_platforms,
            license_files,
            classifiers,
            requires_dist,
            requires_external,
            provides_extra,
            provides_dist,
            obsoletes_dist,
            import_names,
            import_namespaces,
        ];
        let pairs = [project_urls, other];
        let of_text = |text: &String| text.capacity() + ALLOCATION_BYTES;
        let of_list = |list: &Vec<String>| {
            list.capacity() * size_of::<String>() + list.iter().map(of_text).sum::<usize>()
        };
        let of_pairs = |pairs: &Vec<(String, String)>| {
            let of_pair = |(name, value): &(String, String)| of_text(name) + of_text(value);
            pairs.capacity() * size_of::<(String, String)>() + pairs.iter().map(of_pair).sum::<usize>()
        };
        size_of::<Metadata>()
            + of_text(name)
            + of_text(version)
            + texts.into_iter().flatten().map(of_text).sum::<usize>()
            + lists.into_iter().map(of_list).sum::<usize>()
            + pairs.into_iter().map(of_pairs).sum::<usize>()
    }

    /// Returns the license for rules and display: the canonical license expression; otherwise, the licenses in the
    /// classifiers; otherwise, the first line of `License`.
    pub fn license_summary(&self) -> Option<String> {
        const PREFIX: &str = "License :: ";
        if let Some(text) = &self.license_expression {
            let canonical = text.parse::<LicenseExpression>().map(|expression| expression.to_string());
            return Some(canonical.unwrap_or_else(|_| text.clone()));
        }
        let names = self.classifiers.iter().filter_map(|classifier| classifier.strip_prefix(PREFIX));
        let names: Vec<&str> = names
            .filter_map(|path| path.rsplit(" :: ").next())
            .filter(|name| *name != "OSI Approved")
            .collect();
        if !names.is_empty() {
            return Some(names.join(", "));
        }
        self.license.as_ref()?.lines().next().map(|line| line.trim().chars().take(200).collect())
    }

    /// Returns what pages and the public API state.
    pub fn describe(&self) -> ReleaseDescription {
        let urls = self.home_page.iter().chain(self.project_urls.iter().map(|(_, address)| address));
        let requirement = |text: &String| StatedRequirement {
            is_optional: Requirement::parse(text).is_ok()
                && text.split_once(';').is_some_and(|(_, marker)| names_extra(marker)),
            text: text.clone(),
        };
        ReleaseDescription {
            summary: self.summary.clone(),
            readme: self.description.clone(),
            readme_type: self.description_content_type.clone(),
            license: self.license_summary(),
            licenses: license_types::licenses(
                self.license_expression.as_deref(),
                &self.classifiers,
                self.license.as_deref(),
            ),
            author: self.author.clone().or_else(|| self.author_email.clone()),
            maintainer: self.maintainer.clone().or_else(|| self.maintainer_email.clone()),
            urls: urls.cloned().collect(),
            requirements: self.requires_dist.iter().map(requirement).collect(),
        }
    }
}

/// Returns whether a marker has the variable `extra`.
fn names_extra(marker: &str) -> bool {
    let mut words = marker.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '"' | '\''));
    words.any(|word| word == "extra")
}

fn is_known(value: &str) -> bool {
    !value.is_empty() && value != "UNKNOWN"
}

/// Returns the value of a field that must occur exactly once.
fn single_value<'a>(headers: &'a Headers, name: &'static str) -> Result<&'a str, BadMetadata> {
    let mut values = headers.fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
    let first = values.next().filter(|field| !field.value.is_empty()).ok_or(BadMetadata::Missing(name))?;
    if values.next().is_some() {
        return Err(BadMetadata::Repeated(name));
    }
    Ok(&first.value)
}

fn parse_format(text: &str) -> Result<(u32, u32), BadMetadata> {
    let number = |part: &str| {
        let is_number = (1..=4).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        if is_number { part.parse().ok() } else { None }
    };
    let version = text.split_once('.').and_then(|(major, minor)| Some((number(major)?, number(minor)?)));
    version.ok_or_else(|| BadMetadata::Format(text.chars().take(20).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Metadata-Version: 2.4\nName: Odd_Name\nVersion: 1.0\nSummary: a package\n\
        License-Expression: mit or apache-2.0\nLicense-File: LICENSE\nRequires-Python: >=3.9\n\
        Requires-Dist: even>=1; extra == \"x\"\nRequires-Dist: other\nProvides-Extra: x\n\
        Project-URL: Source, https://example.org/a,b\nClassifier: Topic :: X\nHome-page: UNKNOWN\nX-New: y\n\n# Odd\n";

    #[test]
    fn every_field_is_read() {
        let metadata = Metadata::parse(TEXT.as_bytes()).expect("metadata");
        assert_eq!(
            (metadata.metadata_version, &*metadata.name, &*metadata.version),
            ((2, 4), "Odd_Name", "1.0")
        );
        assert_eq!(metadata.project().map(|name| name.to_string()), Ok("odd-name".to_owned()));
        assert_eq!(metadata.requires_dist, ["even>=1; extra == \"x\"", "other"]);
        assert_eq!(metadata.project_urls, [("Source".to_owned(), "https://example.org/a,b".to_owned())]);
        assert_eq!(
            (metadata.home_page.as_deref(), metadata.requires_python.as_deref()),
            (None, Some(">=3.9"))
        );
        assert_eq!(metadata.description.as_deref(), Some("# Odd\n"));
        assert_eq!(metadata.other, [("X-New".to_owned(), "y".to_owned())]);
        assert_eq!(metadata.license_summary().as_deref(), Some("MIT OR Apache-2.0"));
    }

    #[test]
    fn requirements_of_extras_are_optional() {
        let requires_dist = [
            ("even>=1", false),
            ("test; extra == 'x'", true),
            ("other; python_version > '3' and \"y\" == extra", true),
            ("extra>=1; os_name == 'extra'", false),
            ("not a requirement; extra ==", false),
        ];
        let texts = requires_dist.map(|(text, _)| text.to_owned()).into();
        let requirements = Metadata { requires_dist: texts, ..Metadata::default() }.describe().requirements;
        let found: Vec<_> = requirements.iter().map(|r| (r.text.as_str(), r.is_optional)).collect();
        assert_eq!(found, requires_dist);
    }

    #[test]
    fn the_size_in_memory_has_the_texts_of_every_field() {
        const SIZE: usize = 100_000;
        let size = |fields: &str| {
            let text = format!("Metadata-Version: 2.4\nName: odd\nVersion: 1.0\n{fields}\n");
            Metadata::parse(text.as_bytes()).expect("metadata").memory_size()
        };
        let empty = size("");
        let names = "Dynamic Platform Supported-Platform Summary Description Description-Content-Type Keywords \
            Author Author-email Maintainer Maintainer-email License License-Expression License-File Classifier \
            Requires-Dist Requires-Python Requires-External Provides-Extra Provides-Dist Obsoletes-Dist Project-URL \
            Home-page Download-URL Import-Name Import-Namespace X-Other";
        for name in names.split_whitespace() {
            let field = format!("{name}: {}", "a".repeat(SIZE));
            let larger = size(&field) - empty;
            assert!((SIZE..3 * SIZE).contains(&larger), "{name}: {larger}");
        }
        let many = size(&"Classifier: a\n".repeat(SIZE)) - empty;
        assert!(many >= SIZE * size_of::<String>(), "{many}");
    }

    #[test]
    fn old_and_later_metadata_is_read() {
        let text = "Metadata-Version: 1.1\nName: odd\nVersion: 2004d\nLicense: BSD\n  and more\nDescription: a\n        b\n";
        let metadata = Metadata::parse(text.as_bytes()).expect("metadata");
        assert_eq!(metadata.description.as_deref(), Some("a\nb"));
        assert_eq!(metadata.license_summary().as_deref(), Some("BSD"));
        let text = "Metadata-Version: 2.9\nName: odd\nVersion: 1\nDynamic: requires-dist\nLicense: x\n\
            Classifier: License :: OSI Approved :: MIT License\nClassifier: License :: OSI Approved\n";
        let metadata = Metadata::parse(text.as_bytes()).expect("a later minor version");
        assert_eq!(metadata.license_summary().as_deref(), Some("MIT License"));
    }

    #[test]
    fn metadata_that_identifies_nothing_is_refused() {
        let error = |text: &str| Metadata::parse(text.as_bytes()).expect_err(text);
        assert_eq!(error(""), BadMetadata::Missing("Metadata-Version"));
        assert_eq!(error("Metadata-Version: 2.1\nVersion: 1\n"), BadMetadata::Missing("Name"));
        assert_eq!(error("Metadata-Version: 2.1\nName: a\n\nVersion: 1\n"), BadMetadata::Missing("Version"));
        assert_eq!(error(&format!("Version: 2\n{TEXT}")), BadMetadata::Repeated("Version"));
        assert_eq!(error("Metadata-Version: 3.0\nName: a\n"), BadMetadata::Major("3.0".into()));
        assert_eq!(error("Metadata-Version: new\nName: a\n"), BadMetadata::Format("new".into()));
        assert!(matches!(error("Metadata-Version: 2.1\nName: ../a\nVersion: 1\n"), BadMetadata::Name(_)));
        assert!(matches!(error("Metadata-Version: 2.1\nName: a\nVersion: 1/2\n"), BadMetadata::Version(_)));
        let long = vec![b'x'; MAX_METADATA as usize + 1];
        assert_eq!(Metadata::parse(&long), Err(BadMetadata::TooLarge(MAX_METADATA + 1)));
    }
}
