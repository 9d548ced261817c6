//! Functions shared by the formats: parsing of TOML with line numbers, digests, and file names in URLs.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::{BadPythonLockFile, LockedFile, LockedPackage, origin};
use crate::python::name;
use base::model::digest::Sha256;

/// Maximum length of an error message of a parser, in characters.
const MAX_MESSAGE: usize = 200;

pub(super) fn toml<T: DeserializeOwned>(text: &str) -> Result<T, BadPythonLockFile> {
    toml_edit::de::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let before = text.as_bytes().get(..start).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        BadPythonLockFile::Syntax { line, message: excerpt(error.message()) }
    })
}

/// Returns the beginning of a message, as one line.
pub(super) fn excerpt(message: &str) -> String {
    message.chars().take(MAX_MESSAGE).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Parses `sha256:…`; `None` for a digest of another algorithm.
pub(super) fn digest(package: &str, text: &str) -> Result<Option<Sha256>, BadPythonLockFile> {
    match text.split_once(':') {
        Some(("sha256", hex)) => sha256(package, hex).map(Some),
        Some(_) => Ok(None),
        None => Err(bad_digest(package, text)),
    }
}

/// Parses a SHA-256 in hexadecimal digits of either case.
pub(super) fn sha256(package: &str, hex: &str) -> Result<Sha256, BadPythonLockFile> {
    hex.to_ascii_lowercase().parse().map_err(|_| bad_digest(package, hex))
}

fn bad_digest(package: &str, text: &str) -> BadPythonLockFile {
    BadPythonLockFile::Digest {
        package: package.escape_debug().take(80).collect(),
        text: text.escape_debug().take(80).collect(),
    }
}

/// Returns the decoded file name at the end of a URL or a path; `None` if there is none.
pub(super) fn file_name(address: &str) -> Option<String> {
    let path = address.split(['?', '#']).next().unwrap_or_default();
    let last = path.rsplit(['/', '\\']).next().unwrap_or_default();
    let name = percent_encoding::percent_decode_str(last).decode_utf8().ok()?;
    (!name.is_empty() && !name.contains(['/', '\\'])).then(|| name.into_owned())
}

pub(super) fn package(
    name: &str,
    version: Option<String>,
    marker: Option<String>,
    files: Arc<[LockedFile]>,
    index: Option<String>,
) -> Result<LockedPackage, BadPythonLockFile> {
    let version = version.filter(|version| !version.trim().is_empty());
    let version =
        version.ok_or_else(|| BadPythonLockFile::NoVersion(name.escape_debug().take(80).collect()))?;
    let index = index.as_deref().map(origin::index);
    Ok(LockedPackage { name: name::parse(name)?, version, marker, files, index })
}
