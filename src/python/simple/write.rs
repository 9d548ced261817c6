//! Writes project pages, with the same files in both formats. The bytes depend only on the page.

use std::fmt::Write;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::markup::escape;
use super::page::{API_VERSION, MetadataFile, PageFile, ProjectPage, ProjectStatus};
use crate::python::version::Version;

/// Writes a page as JSON.
///
/// # Errors
/// None in practice, because every value can be written.
pub fn json(page: &ProjectPage) -> Result<Vec<u8>, serde_json::Error> {
    let document = Document {
        files: page.offered_files().iter().map(File).collect(),
        meta: Meta { last_serial: page.last_serial, api_version: API_VERSION },
        name: page.name.as_str(),
        project_status: Status { reason: page.status_reason.as_deref(), status: page.status.as_str() },
        versions: versions(page),
    };
    let mut out = Vec::with_capacity(1024 + page.files.len() * 640);
    serde_json::to_writer(&mut out, &document)?;
    out.push(b'\n');
    Ok(out)
}

/// Writes a page as HTML. Size and upload time are in JSON only (PEP 833).
#[must_use]
pub fn html(page: &ProjectPage) -> String {
    let mut out = String::with_capacity(1024 + page.files.len() * 640);
    out.push_str("<!DOCTYPE html>\n<html>\n  <head>\n");
    meta("pypi:repository-version", API_VERSION, &mut out);
    meta("pypi:project-status", page.status.as_str(), &mut out);
    if let Some(reason) = &page.status_reason {
        meta("pypi:project-status-reason", reason, &mut out);
    }
    let name = &page.name;
    let title =
        format!("    <title>Links for {name}</title>\n  </head>\n  <body>\n    <h1>Links for {name}</h1>\n");
    out.push_str(&title);
    for file in page.offered_files() {
        anchor(file, &mut out);
    }
    out.push_str("  </body>\n</html>\n");
    if let Some(serial) = page.last_serial {
        // Writing to a String succeeds.
        let _ = writeln!(out, "<!--SERIAL {serial}-->");
    }
    out
}

fn meta(name: &str, content: &str, out: &mut String) {
    out.push_str("    <meta");
    attribute("name", name, out);
    attribute("content", content, out);
    out.push_str(">\n");
}

fn attribute(name: &str, value: &str, out: &mut String) {
    out.push(' ');
    out.push_str(name);
    out.push_str("=\"");
    escape(value, out);
    out.push('"');
}

fn anchor(file: &PageFile, out: &mut String) {
    const ALGORITHMS: [&str; 6] = ["sha256", "sha512", "sha384", "sha224", "sha1", "md5"];
    let preferred_hash = ALGORITHMS.iter().find_map(|name| Some((*name, file.hashes.get(*name)?)));
    let hash = preferred_hash.or_else(|| file.hashes.iter().next().map(|(name, hex)| (&**name, hex)));
    let fragment = hash.map(|(name, hex)| format!("#{name}={hex}")).unwrap_or_default();
    out.push_str("<a");
    attribute("href", &format!("{}{fragment}", file.url), out);
    if let Some(text) = &file.requires_python {
        attribute("data-requires-python", text, out);
    }
    let metadata = match &file.core_metadata {
        MetadataFile::None => None,
        MetadataFile::Unverified => Some("true".to_owned()),
        MetadataFile::Sha256(digest) => Some(format!("sha256={digest}")),
    };
    if let Some(metadata) = metadata {
        attribute("data-dist-info-metadata", &metadata, out);
        attribute("data-core-metadata", &metadata, out);
    }
    if let Some(yank) = &file.yanked {
        // The attribute is written even if the reason is empty: pip treats a file without the attribute as not yanked.
        attribute("data-yanked", &yank.reason, out);
    }
    if let Some(url) = &file.provenance {
        attribute("data-provenance", url, out);
    }
    if let Some(has_signature) = file.gpg_sig {
        attribute("data-gpg-sig", if has_signature { "true" } else { "false" }, out);
    }
    out.push('>');
    escape(file.name.as_str(), out);
    out.push_str("</a><br />\n");
}

/// Returns the versions that the page lists; if it lists none, the sorted versions of its files.
fn versions(page: &ProjectPage) -> Vec<String> {
    if page.status == ProjectStatus::Quarantined {
        return Vec::new();
    }
    if let Some(versions) = &page.versions {
        return versions.clone();
    }
    let files = page.files.iter();
    let mut versions: Vec<Version> = files
        .filter_map(|file| file.name.version(&page.name, None))
        .map(|text| Version::lenient(&text))
        .collect();
    versions.sort_by(|a, b| a.cmp(b).then_with(|| a.as_str().cmp(b.as_str())));
    versions.dedup_by(|a, b| a.as_str() == b.as_str());
    versions.iter().map(|version| version.as_str().to_owned()).collect()
}

#[derive(Serialize)]
struct Document<'a> {
    files: Vec<File<'a>>,
    meta: Meta,
    name: &'a str,
    #[serde(rename = "project-status")]
    project_status: Status<'a>,
    versions: Vec<String>,
}

#[derive(Serialize)]
struct Meta {
    #[serde(rename = "_last-serial", skip_serializing_if = "Option::is_none")]
    last_serial: Option<u64>,
    #[serde(rename = "api-version")]
    api_version: &'static str,
}

#[derive(Serialize)]
struct Status<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    status: &'static str,
}

struct File<'a>(&'a PageFile);

impl Serialize for File<'_> {
    /// Writes the keys in alphabetical order, and omits missing values, because uv refuses `null` for most keys.
    /// The key `dist-info-metadata` is never written: it makes pip 22.3 to 23.1 fail (PEP 714).
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let file = self.0;
        let mut map = serializer.serialize_map(None)?;
        for key in ["core-metadata", "data-dist-info-metadata"] {
            match &file.core_metadata {
                MetadataFile::None => {}
                MetadataFile::Unverified => map.serialize_entry(key, &true)?,
                MetadataFile::Sha256(digest) => {
                    map.serialize_entry(key, &Sha256Entry { sha256: digest.to_string() })?
                }
            }
        }
        map.serialize_entry("filename", file.name.as_str())?;
        if let Some(has_signature) = file.gpg_sig {
            map.serialize_entry("gpg-sig", &has_signature)?;
        }
        map.serialize_entry("hashes", &file.hashes)?;
        if let Some(url) = &file.provenance {
            map.serialize_entry("provenance", url)?;
        }
        if let Some(text) = &file.requires_python {
            map.serialize_entry("requires-python", text)?;
        }
        if let Some(size) = file.size {
            map.serialize_entry("size", &size)?;
        }
        if let Some(time) = file.upload_time {
            map.serialize_entry("upload-time", &time.to_string())?;
        }
        map.serialize_entry("url", &file.url)?;
        match &file.yanked {
            Some(yank) if !yank.reason.is_empty() => map.serialize_entry("yanked", &yank.reason)?,
            yanked => map.serialize_entry("yanked", &yanked.is_some())?,
        }
        map.end()
    }
}

#[derive(Serialize)]
struct Sha256Entry {
    sha256: String,
}
