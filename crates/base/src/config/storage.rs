//! `[Storage]`, `[FileStorage "class"]`, `[S3Storage]`, `[S3Storage "class"]`, resolved to one location per class.

use std::path::PathBuf;

use super::address::{self, UrlPurpose};
use super::choice::Backend;
use super::problem::ProblemCategory;
use super::reader::Reader;
use super::value;
use crate::model::kind::StorageClass;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClassLocation {
    File(DirectoryLocation),
    S3(S3Location),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryLocation {
    pub location: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct S3Location {
    pub bucket: String,
    /// The prefix of every key, without slashes at its ends; may be empty.
    pub prefix: String,
    /// Profile of the shared AWS files.
    pub profile: Option<String>,
    pub region: Option<String>,
    /// Whether the shared AWS configuration file is read in addition to the credentials file.
    pub enable_shared_config: bool,
    /// Another S3 server: `http(s)://host[:port]`.
    pub endpoint: Option<String>,
    /// Whether plain HTTP is used; the scheme of `endpoint` takes precedence.
    pub disable_ssl: bool,
    /// Whether addresses are `https://host/bucket/key` instead of `https://bucket.host/key`.
    pub path_style: bool,
    /// Key of the key management service with which S3 encrypts new objects (SSE-KMS).
    pub key_id: Option<String>,
    /// Whether the check of the bucket at start is skipped.
    pub skip_validation: bool,
}

pub(super) const CLASS_COUNT: usize = StorageClass::ALL.len();

#[derive(Clone, Debug)]
pub struct StorageConfig {
    /// The locations, in the order of [`StorageClass::ALL`].
    pub locations: [ClassLocation; CLASS_COUNT],
    /// The connection properties of `[S3Storage]` for buckets of backups; the bucket is empty.
    pub backups: S3Location,
    /// Directory for spools of classes on S3 (`Server.TempDir`).
    pub spool_dir: PathBuf,
}

impl StorageConfig {
    pub fn location(&self, class: StorageClass) -> &ClassLocation {
        &self.locations[class as usize]
    }
}

/// Returns the location of every class, in the order of [`StorageClass::ALL`].
pub(super) fn read(reader: &mut Reader<'_>) -> [ClassLocation; CLASS_COUNT] {
    let uses_s3 = StorageClass::ALL.map(|class| is_on_s3(reader, class));
    report_missing_bucket(reader, uses_s3);
    report_unused(reader, uses_s3);
    StorageClass::ALL.map(|class| {
        if uses_s3[class as usize] {
            ClassLocation::S3(s3(reader, subsections(class)))
        } else {
            ClassLocation::File(DirectoryLocation { location: location(reader, class) })
        }
    })
}

/// Returns the connection properties for buckets of backups: those of `[S3Storage]` without a class.
pub(super) fn backup_connection(reader: &Reader<'_>) -> S3Location {
    S3Location { bucket: String::new(), prefix: String::new(), ..s3(reader, &[]) }
}

/// Returns the name of the class's property in `[Storage]`.
fn property(class: StorageClass) -> &'static str {
    match class {
        StorageClass::Cache => "Cache",
        StorageClass::Launcher => "Launcher",
        StorageClass::Metrics => "Metrics",
        StorageClass::Packages => "Packages",
        StorageClass::Binaries => "Binaries",
        StorageClass::Cran => "CRAN",
        StorageClass::Bioconductor => "Bioconductor",
        StorageClass::Pypi => "PyPI",
        StorageClass::Persistent => "Persistent",
    }
}

fn is_on_s3(reader: &Reader<'_>, class: StorageClass) -> bool {
    reader.value("Storage", property(class), str::parse::<Backend>) == Backend::S3
}

/// Returns the subsections of a class in order of precedence: its own, then `packages` for files of mirrors.
fn subsections(class: StorageClass) -> &'static [&'static str] {
    match class {
        StorageClass::Cache => &["cache"],
        StorageClass::Launcher => &["launcher"],
        StorageClass::Metrics => &["metrics"],
        StorageClass::Packages => &["packages"],
        StorageClass::Binaries => &["binaries"],
        StorageClass::Cran => &["cran", "packages"],
        StorageClass::Bioconductor => &["bioconductor", "packages"],
        StorageClass::Pypi => &["pypi", "packages"],
        StorageClass::Persistent => &["persistent"],
    }
}

fn location(reader: &Reader<'_>, class: StorageClass) -> PathBuf {
    let setting =
        subsections(class).iter().find_map(|sub| reader.settings.get("FileStorage", Some(sub), "Location"));
    let path =
        setting.and_then(|setting| setting.values.last()).and_then(|value| value::path(&value.text).ok());
    path.unwrap_or_else(|| reader.value("Server", "DataDir", value::path).join(class.as_str()))
}

/// Returns an S3 property from the first of `sections` that has it, or else from the one without a class.
fn s3_text(reader: &Reader<'_>, sections: &[&str], name: &str) -> Option<String> {
    let sections = sections.iter().copied().map(Some).chain([None]);
    let mut settings = sections.filter_map(|sub| reader.settings.get("S3Storage", sub, name));
    settings
        .next()
        .and_then(|setting| setting.values.last())
        .map(|value| value.text.clone())
        .filter(|text| !text.is_empty())
}

fn s3(reader: &Reader<'_>, sections: &[&str]) -> S3Location {
    let text = |name: &str| s3_text(reader, sections, name);
    let boolean = |name: &str| text(name).and_then(|text| value::boolean(&text).ok());
    let is_true = |name: &str| boolean(name) == Some(true);
    let disable_ssl = is_true("DisableSSL");
    let endpoint = text("Endpoint").and_then(|text| address::url(&text, UrlPurpose::S3).ok());
    let add_scheme = |endpoint: String| match endpoint.contains("://") {
        true => endpoint,
        false => format!("{}://{endpoint}", if disable_ssl { "http" } else { "https" }),
    };
    S3Location {
        bucket: text("Bucket").unwrap_or_default(),
        prefix: text("Prefix").map(|prefix| prefix.trim_matches('/').to_owned()).unwrap_or_default(),
        profile: text("Profile"),
        region: text("Region"),
        enable_shared_config: is_true("EnableSharedConfig"),
        endpoint: endpoint.map(add_scheme),
        disable_ssl,
        path_style: boolean("PathStyle").unwrap_or_else(|| is_true("S3ForcePathStyle")),
        key_id: text("KeyID"),
        skip_validation: is_true("SkipValidation"),
    }
}

fn report_missing_bucket(reader: &mut Reader<'_>, uses_s3: [bool; CLASS_COUNT]) {
    let classes: Vec<&str> = StorageClass::ALL
        .into_iter()
        .filter(|&class| uses_s3[class as usize] && s3_text(reader, subsections(class), "Bucket").is_none())
        .map(StorageClass::as_str)
        .collect();
    if !classes.is_empty() {
        let message = format!("must be set: the storage of {} is s3", classes.join(", "));
        reader.error(ProblemCategory::Settings, "S3Storage", None, "Bucket", &message);
    }
}

/// Warns of locations that are configured but not used.
fn report_unused(reader: &mut Reader<'_>, uses_s3: [bool; CLASS_COUNT]) {
    for class in StorageClass::ALL {
        let sub = class.as_str();
        // A class without a separate location may use that of `packages`.
        let is_used = |s3: bool| {
            StorageClass::ALL
                .into_iter()
                .any(|other| uses_s3[other as usize] == s3 && subsections(other).contains(&sub))
        };
        let has_directory = reader.settings.get("FileStorage", Some(sub), "Location").is_some();
        if has_directory && !is_used(false) {
            let message = format!("has no effect: Storage.{} is s3", property(class));
            reader.warning(ProblemCategory::Effect, "FileStorage", Some(sub), "Location", &message);
        }
        let s3 = reader
            .settings
            .iter()
            .find(|setting| setting.section.name == "S3Storage" && setting.sub.as_deref() == Some(sub));
        if let Some(name) = s3.map(|setting| setting.property.name).filter(|_| !is_used(true)) {
            let message = format!("has no effect: Storage.{} is file", property(class));
            reader.warning(ProblemCategory::Effect, "S3Storage", Some(sub), name, &message);
        }
    }
}
