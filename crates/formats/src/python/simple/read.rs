//! Reads project pages of other servers, in both formats. Unusable files are skipped; other documents are errors.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use url::Url;

use super::page::{MAX_FILES, PageFile, ProjectPage, RawFile, RawPage, Yank};
use super::{html, json};
use crate::python::accept::SimpleFormat;
use crate::python::file_name::FileName;
use crate::python::name;
use base::model::plain_url;
use base::model::project_name::ProjectName;
use base::model::project_page::{ProjectStatus, SkippedFile};
use base::model::time::{SECOND, Timestamp};

/// Maximum size of a page, in bytes.
pub const MAX_PAGE: usize = 64 << 20;
/// The byte order mark of UTF-8, with which some servers begin JSON.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Maximum length of the address of a provenance object, in bytes.
const MAX_ADDRESS: usize = 2_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadPage {
    /// The page; addresses are absolute.
    pub page: ProjectPage,
    pub skipped_files: Vec<SkippedFile>,
}

#[derive(Debug, thiserror::Error)]
pub enum BadPage {
    #[error("the page has {0} bytes, more than the {MAX_PAGE} allowed")]
    TooLarge(usize),
    #[error("the page has more than {MAX_FILES} files")]
    TooManyFiles,
    #[error("the list of projects in HTML has more than 96 MB")]
    LargeList,
    #[error("the page was sent as {declared}, but is {actual}; check the address of the index")]
    OtherFormat {
        /// The media type of the response.
        declared: &'static str,
        /// The format of the body.
        actual: &'static str,
    },
    #[error("the page is not the JSON of a simple index: {0}")]
    Json(#[from] serde_json::Error),
    /// HTML that has no links to files and no other sign of a project page.
    #[error("the page is HTML, but not that of a simple index; check the address of the index")]
    NotAnIndex,
    #[error("the page has version '{0}' of the simple API; versions 1.x are supported")]
    ApiVersion(String),
    #[error("the page is that of '{actual}', not of '{expected}'")]
    OtherProject { actual: String, expected: ProjectName },
    #[error("none of the {count} files of the page can be used; the first is {first}")]
    NoFiles {
        count: usize,
        /// The first one, with the reason.
        first: SkippedFile,
    },
}

/// Reads the page of `project`. `format` is that of the response's media type; `url` the address after redirects.
pub fn read(
    format: SimpleFormat,
    body: &[u8],
    url: &Url,
    project: &ProjectName,
) -> Result<ReadPage, BadPage> {
    let raw = parse(format, body)?;
    check_api_version(raw.api_version.as_deref())?;
    if let Some(name) = raw.name.as_deref().filter(|name| !name::is_spelling(name, project)) {
        let actual = name.chars().take(120).collect();
        return Err(BadPage::OtherProject { actual, expected: project.clone() });
    }
    let base = raw.base.as_deref().and_then(|base| url.join(base.trim()).ok());
    let base = base.as_ref().unwrap_or(url);
    let (count, mut skipped_files) = (raw.files.len(), Vec::new());
    let mut names = HashSet::with_capacity(count);
    let mut page = ProjectPage {
        status: raw.status.as_deref().map(ProjectStatus::of_word).unwrap_or_default(),
        status_reason: raw.status_reason.and_then(non_empty).map(without_nul),
        last_serial: raw.last_serial.and_then(|text| text.trim().parse().ok()),
        versions: raw.versions,
        files: Vec::with_capacity(count),
        ..ProjectPage::new(project.clone())
    };
    for raw in raw.files {
        match read_file(raw, base) {
            Ok(file) if names.insert(file.name.clone()) => page.files.push(file),
            Ok(file) => skipped_files.push(skipped_file(file.name.as_str(), "it is listed twice")),
            Err(file) => skipped_files.push(file),
        }
    }
    if page.files.is_empty() {
        if let Some(first) = skipped_files.into_iter().next() {
            return Err(BadPage::NoFiles { count, first });
        }
        return if raw.is_project_page {
            Ok(ReadPage { page, skipped_files: Vec::new() })
        } else {
            Err(BadPage::NotAnIndex)
        };
    }
    Ok(ReadPage { page, skipped_files })
}

fn parse(format: SimpleFormat, body: &[u8]) -> Result<RawPage<'_>, BadPage> {
    if body.len() > MAX_PAGE {
        return Err(BadPage::TooLarge(body.len()));
    }
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    check_format(format, body)?;
    match format {
        SimpleFormat::Json => Ok(json::parse(body)?),
        SimpleFormat::Html | SimpleFormat::TextHtml => {
            html::parse(&String::from_utf8_lossy(body), MAX_FILES).ok_or(BadPage::TooManyFiles)
        }
    }
}

/// Refuses a body whose first character belongs to the other format.
pub(super) fn check_format(format: SimpleFormat, body: &[u8]) -> Result<(), BadPage> {
    let first = body.trim_ascii_start().first();
    let actual = match (format, first) {
        (SimpleFormat::Json, Some(b'<')) => "HTML",
        (SimpleFormat::Html | SimpleFormat::TextHtml, Some(b'{' | b'[')) => "JSON",
        _ => return Ok(()),
    };
    Err(BadPage::OtherFormat { declared: format.media_type(), actual })
}

/// Refuses a major version other than 1. A missing version means 1.0.
pub(super) fn check_api_version(version: Option<&str>) -> Result<(), BadPage> {
    let text = version.unwrap_or("1.0").trim();
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    match text.split_once('.') {
        Some(("1", minor)) if is_number(minor) => Ok(()),
        _ => Err(BadPage::ApiVersion(text.chars().take(20).collect())),
    }
}

fn non_empty(text: String) -> Option<String> {
    if text.trim().is_empty() { None } else { Some(text) }
}

/// Replaces NUL characters, which databases do not store.
fn without_nul(text: impl Into<String>) -> String {
    let text = text.into();
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

fn skipped_file(name: &str, reason: impl Into<String>) -> SkippedFile {
    SkippedFile { name: name.chars().take(120).collect(), reason: reason.into() }
}

fn read_file(raw: RawFile<'_>, base: &Url) -> Result<PageFile, SkippedFile> {
    let skip = |reason: &str| skipped_file(raw.name.as_deref().unwrap_or(&raw.url), reason);
    let (mut hashes, address) = (hashes(raw.hashes), raw.url.trim());
    let mut parse = || {
        let mut url = base.join(address).map_err(|_| skip("its address is malformed"))?;
        if address.is_empty() || !matches!(url.scheme(), "http" | "https" | "file") {
            return Err(skip("its address has a scheme other than http, https or file"));
        }
        if let Some(fragment) = url.fragment() {
            let pairs = fragment.split('&').filter_map(|pair| pair.split_once('='));
            for (name, hex) in self::hashes(pairs.map(|(name, hex)| (name.into(), hex.into()))) {
                hashes.entry(name).or_insert(hex);
            }
        }
        url.set_fragment(None);
        let last = url.path_segments().and_then(|mut segments| segments.next_back()).unwrap_or_default();
        let last = percent_encoding::percent_decode_str(last).decode_utf8_lossy().into_owned();
        Ok((String::from(url), Some(last)))
    };
    let (url, last) = match plain_url::resolve(base, address) {
        Some(url) => (url, None),
        None => parse()?,
    };
    let last = last.as_deref().or_else(|| url.rsplit('/').next()).unwrap_or_default();
    let text = raw.name.as_deref().unwrap_or(last);
    let name = FileName::parse(text).map_err(|error| skip(&error.to_string()))?;
    if text != last {
        return Err(skip("its address ends in another name"));
    }
    Ok(PageFile {
        name,
        url,
        hashes,
        requires_python: raw.requires_python.map(|text| text.trim().to_owned()).and_then(non_empty),
        core_metadata: raw.core_metadata,
        gpg_sig: raw.gpg_sig,
        yanked: raw.yanked.map(|reason| Yank { reason: without_nul(reason) }),
        size: raw.size,
        upload_time: raw.upload_time.and_then(|text| text.trim().parse().ok()).filter(is_plausible),
        provenance: raw
            .provenance
            .filter(|url| is_web_address(url) || is_object_of(base, url))
            .map(Cow::into_owned),
    })
}

/// Returns whether page and text are files on this machine, as in a bundle in a directory.
fn is_object_of(page: &Url, text: &str) -> bool {
    page.scheme() == "file"
        && text.len() <= MAX_ADDRESS
        && Url::parse(text).is_ok_and(|url| url.scheme() == "file")
}

/// Returns true for an absolute `http` or `https` address, which can be passed on to clients.
pub fn is_web_address(text: &str) -> bool {
    let is_parsed = |url: Url| matches!(url.scheme(), "http" | "https") && !url.cannot_be_a_base();
    text.len() <= MAX_ADDRESS && (plain_url::is_plain(text) || Url::parse(text).is_ok_and(is_parsed))
}

/// Returns whether a time is in the years 1970 to 9999.
fn is_plausible(time: &Timestamp) -> bool {
    (0..253_402_300_800 * SECOND).contains(&time.0)
}

/// Returns the digests in lower case. Malformed digests and digests of unknown algorithms are left out.
fn hashes<'a>(pairs: impl IntoIterator<Item = (Cow<'a, str>, Cow<'a, str>)>) -> BTreeMap<String, String> {
    let pairs = pairs.into_iter().map(|(name, hex)| {
        let (mut name, mut hex) = (name.into_owned(), hex.into_owned());
        name.make_ascii_lowercase();
        hex.make_ascii_lowercase();
        (name, hex)
    });
    let is_digest = |(name, hex): &(String, String)| {
        let length = match &**name {
            "md5" => 32,
            "sha1" => 40,
            "sha224" => 56,
            "sha256" => 64,
            "sha384" => 96,
            "sha512" => 128,
            name if name.starts_with("sha3") || name.starts_with("blake2") => hex.len().clamp(32, 128),
            _ => return false,
        };
        hex.len() == length && hex.bytes().all(|b| b.is_ascii_hexdigit())
    };
    let mut hashes = BTreeMap::new();
    hashes.extend(pairs.filter(is_digest));
    hashes
}
