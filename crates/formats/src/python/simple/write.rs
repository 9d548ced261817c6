//! Writes project pages, with the same files in both formats. The bytes depend only on the page. The page of a project
//! with thousands of files is written for each day that a client chooses, so a file needs no allocation here.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use super::html::escape;
use super::page::{API_VERSION, PageFile, ProjectPage};
use crate::python::version::Pep440Version;
use base::model::digest::Sha256;
use base::model::project_name::ProjectName;
use base::model::project_page::{MetadataFile, ProjectStatus};
use base::model::time::Timestamp;

/// Size of the text of a page besides its files, in bytes, and of a file; only for the first allocation.
const PAGE_BYTES: usize = 1024;
const FILE_BYTES: usize = 640;

/// A file of a page to write; see [`PageFile`].
#[derive(Clone, Copy, Debug)]
pub struct FileEntry<'a> {
    pub name: &'a str,
    /// The address without a fragment.
    pub url: &'a str,
    pub hashes: Hashes<'a>,
    pub requires_python: Option<&'a str>,
    pub core_metadata: MetadataFile,
    pub gpg_sig: Option<bool>,
    /// The reason if the file is yanked; may be empty.
    pub yanked: Option<&'a str>,
    pub size: Option<u64>,
    pub upload_time: Option<Timestamp>,
    pub provenance: Option<&'a str>,
}

#[derive(Clone, Copy, Debug)]
pub enum Hashes<'a> {
    /// Only a SHA-256.
    Sha256(Sha256),
    /// Digests in lower-case hexadecimal, by algorithm.
    All(&'a BTreeMap<String, String>),
}

/// The properties of a page besides its files and versions; see [`ProjectPage`].
#[derive(Clone, Copy, Debug)]
pub struct PageProperties<'a> {
    pub name: &'a ProjectName,
    /// The serial of its last change.
    pub last_serial: Option<u64>,
    /// The status. The files and versions of a quarantined project must not be written.
    pub status: ProjectStatus,
    pub status_reason: Option<&'a str>,
}

impl<'a> From<&'a PageFile> for FileEntry<'a> {
    fn from(file: &'a PageFile) -> FileEntry<'a> {
        FileEntry {
            name: file.name.as_str(),
            url: &file.url,
            hashes: Hashes::All(&file.hashes),
            requires_python: file.requires_python.as_deref(),
            core_metadata: file.core_metadata,
            gpg_sig: file.gpg_sig,
            yanked: file.yanked.as_ref().map(|yank| yank.reason.as_str()),
            size: file.size,
            upload_time: file.upload_time,
            provenance: file.provenance.as_deref(),
        }
    }
}

fn properties(page: &ProjectPage) -> PageProperties<'_> {
    PageProperties {
        name: &page.name,
        last_serial: page.last_serial,
        status: page.status,
        status_reason: page.status_reason.as_deref(),
    }
}

pub fn json(page: &ProjectPage) -> Result<Vec<u8>, serde_json::Error> {
    let files = page.offered_files();
    let mut writer = JsonWriter::new(files.len());
    for file in files {
        writer.file(&file.into())?;
    }
    let versions = versions(page);
    writer.finish(&properties(page), versions.iter().map(String::as_str))
}

/// Writes a page as HTML. Size and upload time are in JSON only (PEP 833).
pub fn html(page: &ProjectPage) -> String {
    let files = page.offered_files();
    let properties = properties(page);
    let mut writer = HtmlWriter::new(&properties, files.len());
    files.iter().for_each(|file| writer.file(&file.into()));
    writer.finish(&properties)
}

/// Writes a page as JSON, file by file. Keys are sorted; missing values are omitted, because uv refuses most `null`s.
#[derive(Debug)]
pub struct JsonWriter {
    out: Vec<u8>,
    is_empty: bool,
}

impl JsonWriter {
    /// Begins a page with about this many files.
    pub fn new(files: usize) -> JsonWriter {
        let mut out = Vec::with_capacity(PAGE_BYTES + files.saturating_mul(FILE_BYTES));
        out.extend_from_slice(b"{\"files\":[");
        JsonWriter { out, is_empty: true }
    }

    /// Writes a file. The key `dist-info-metadata` is never written: it makes pip 22.3 to 23.1 fail (PEP 714).
    pub fn file(&mut self, file: &FileEntry<'_>) -> Result<(), serde_json::Error> {
        let out = &mut self.out;
        out.extend_from_slice(if self.is_empty { &b"{"[..] } else { &b",{"[..] });
        self.is_empty = false;
        match file.core_metadata {
            MetadataFile::None => {}
            MetadataFile::Unverified => {
                out.extend_from_slice(b"\"core-metadata\":true,\"data-dist-info-metadata\":true,");
            }
            MetadataFile::Sha256(digest) => {
                let digits = digest.digits();
                for key in [&b"\"core-metadata\""[..], &b"\"data-dist-info-metadata\""[..]] {
                    out.extend_from_slice(key);
                    out.extend_from_slice(b":{\"sha256\":\"");
                    out.extend_from_slice(&digits);
                    out.extend_from_slice(b"\"},");
                }
            }
        }
        out.extend_from_slice(b"\"filename\":");
        string(file.name, out)?;
        if let Some(has_signature) = file.gpg_sig {
            out.extend_from_slice(b",\"gpg-sig\":");
            boolean(has_signature, out);
        }
        match file.hashes {
            Hashes::Sha256(digest) => {
                out.extend_from_slice(b",\"hashes\":{\"sha256\":\"");
                out.extend_from_slice(&digest.digits());
                out.extend_from_slice(b"\"}");
            }
            Hashes::All(hashes) => {
                out.extend_from_slice(b",\"hashes\":");
                serde_json::to_writer(&mut *out, hashes)?;
            }
        }
        let texts = [
            (&b",\"provenance\":"[..], file.provenance),
            (&b",\"requires-python\":"[..], file.requires_python),
        ];
        for (key, text) in texts {
            if let Some(text) = text {
                out.extend_from_slice(key);
                string(text, out)?;
            }
        }
        if let Some(size) = file.size {
            out.extend_from_slice(b",\"size\":");
            serde_json::to_writer(&mut *out, &size)?;
        }
        if let Some(time) = file.upload_time {
            // Writing to memory succeeds.
            let _ = write!(out, ",\"upload-time\":\"{time}\"");
        }
        out.extend_from_slice(b",\"url\":");
        string(file.url, out)?;
        out.extend_from_slice(b",\"yanked\":");
        match file.yanked {
            Some(reason) if !reason.is_empty() => string(reason, out)?,
            yanked => boolean(yanked.is_some(), out),
        }
        out.push(b'}');
        Ok(())
    }

    /// Writes the rest of the page, and returns it.
    pub fn finish<'a>(
        self,
        page: &PageProperties<'_>,
        versions: impl Iterator<Item = &'a str>,
    ) -> Result<Vec<u8>, serde_json::Error> {
        let JsonWriter { mut out, .. } = self;
        out.extend_from_slice(b"],\"meta\":{");
        if let Some(serial) = page.last_serial {
            // Writing to memory succeeds.
            let _ = write!(out, "\"_last-serial\":{serial},");
        }
        let _ = write!(out, "\"api-version\":\"{API_VERSION}\"}},\"name\":");
        string(page.name.as_str(), &mut out)?;
        out.extend_from_slice(b",\"project-status\":{");
        if let Some(reason) = page.status_reason {
            out.extend_from_slice(b"\"reason\":");
            string(reason, &mut out)?;
            out.push(b',');
        }
        let _ = write!(out, "\"status\":\"{}\"}},\"versions\":[", page.status.as_str());
        for (number, version) in versions.enumerate() {
            if number > 0 {
                out.push(b',');
            }
            string(version, &mut out)?;
        }
        out.extend_from_slice(b"]}\n");
        Ok(out)
    }
}

fn string(text: &str, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    // All bytes are compared, because the compiler can then compare several at once.
    let is_escaped = |byte: u8| (byte < b' ') | (byte == b'"') | (byte == b'\\');
    if !text.bytes().fold(false, |is_any, byte| is_any | is_escaped(byte)) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return Ok(());
    }
    serde_json::to_writer(out, text)
}

fn boolean(value: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(if value { &b"true"[..] } else { &b"false"[..] });
}

/// Writes a page as HTML, file by file.
#[derive(Debug)]
pub struct HtmlWriter {
    out: String,
}

impl HtmlWriter {
    /// Begins a page with about this many files.
    pub fn new(page: &PageProperties<'_>, files: usize) -> HtmlWriter {
        let mut out = String::with_capacity(PAGE_BYTES + files.saturating_mul(FILE_BYTES));
        out.push_str("<!DOCTYPE html>\n<html>\n  <head>\n");
        meta("pypi:repository-version", API_VERSION, &mut out);
        meta("pypi:project-status", page.status.as_str(), &mut out);
        if let Some(reason) = page.status_reason {
            meta("pypi:project-status-reason", reason, &mut out);
        }
        let name = page.name;
        // Writing to a String succeeds.
        let _ = write!(
            out,
            "    <title>Links for {name}</title>\n  </head>\n  <body>\n    <h1>Links for {name}</h1>\n"
        );
        HtmlWriter { out }
    }

    pub fn file(&mut self, file: &FileEntry<'_>) {
        const ALGORITHMS: [&str; 6] = ["sha256", "sha512", "sha384", "sha224", "sha1", "md5"];
        let out = &mut self.out;
        out.push_str("<a href=\"");
        escape(file.url, out);
        match file.hashes {
            Hashes::Sha256(digest) => {
                out.push_str("#sha256=");
                push_digits(digest, out);
            }
            Hashes::All(hashes) => {
                let preferred = ALGORITHMS.iter().find_map(|name| Some((*name, hashes.get(*name)?)));
                let hash = preferred.or_else(|| hashes.iter().next().map(|(name, hex)| (&**name, hex)));
                if let Some((name, hex)) = hash {
                    out.push('#');
                    escape(name, out);
                    out.push('=');
                    escape(hex, out);
                }
            }
        }
        out.push('"');
        if let Some(text) = file.requires_python {
            attribute("data-requires-python", text, out);
        }
        for name in ["data-dist-info-metadata", "data-core-metadata"] {
            match file.core_metadata {
                MetadataFile::None => {}
                MetadataFile::Unverified => attribute(name, "true", out),
                MetadataFile::Sha256(digest) => {
                    out.push(' ');
                    out.push_str(name);
                    out.push_str("=\"sha256=");
                    push_digits(digest, out);
                    out.push('"');
                }
            }
        }
        if let Some(reason) = file.yanked {
            // The attribute is written even for an empty reason: without it, pip treats the file as not yanked.
            attribute("data-yanked", reason, out);
        }
        if let Some(url) = file.provenance {
            attribute("data-provenance", url, out);
        }
        if let Some(has_signature) = file.gpg_sig {
            attribute("data-gpg-sig", if has_signature { "true" } else { "false" }, out);
        }
        out.push('>');
        escape(file.name, out);
        out.push_str("</a><br />\n");
    }

    /// Writes the rest of the page, and returns it.
    pub fn finish(self, page: &PageProperties<'_>) -> String {
        let HtmlWriter { mut out } = self;
        out.push_str("  </body>\n</html>\n");
        if let Some(serial) = page.last_serial {
            // Writing to a String succeeds.
            let _ = writeln!(out, "<!--SERIAL {serial}-->");
        }
        out
    }
}

fn push_digits(digest: Sha256, out: &mut String) {
    out.push_str(std::str::from_utf8(&digest.digits()).unwrap_or_default());
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

/// Returns the versions that the page lists; if it lists none, the sorted versions of its files.
fn versions(page: &ProjectPage) -> Vec<String> {
    if page.status == ProjectStatus::Quarantined {
        return Vec::new();
    }
    if let Some(versions) = &page.versions {
        return versions.clone();
    }
    let files = page.files.iter();
    let mut versions: Vec<Pep440Version> = files
        .filter_map(|file| file.name.version(&page.name, None))
        .map(|text| Pep440Version::lenient(&text))
        .collect();
    versions.sort_by(|a, b| a.cmp(b).then_with(|| a.as_str().cmp(b.as_str())));
    versions.dedup_by(|a, b| a.as_str() == b.as_str());
    versions.iter().map(|version| version.as_str().to_owned()).collect()
}
