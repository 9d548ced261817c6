//! Project pages in HTML: anchors, `base`, `meta` and the comment with the serial. Everything else is skipped.

use super::markup::{Tag, Token, Tokens};
use super::page::MetadataFile;
use super::raw::{RawFile, RawPage};

/// Parses a page of at most `max_files` links; `None` if it has more.
pub(super) fn parse(document: &str, max_files: usize) -> Option<RawPage> {
    let mut page = RawPage::default();
    for token in Tokens::new(document) {
        match token {
            Token::Start(tag) if tag.is("a") => page.files.extend(file(&tag)),
            Token::Start(tag) if tag.is("base") && page.base.is_none() => page.base = tag.attribute("href"),
            Token::Start(tag) if tag.is("meta") => meta(&tag, &mut page),
            Token::Comment(text) => {
                let serial = text.trim().strip_prefix("SERIAL ");
                page.last_serial = serial.map(str::to_owned).or(page.last_serial);
            }
            // All known servers write this title.
            Token::Text(text) if text.trim_start().starts_with("Links for") => page.is_project_page = true,
            Token::Start(_) | Token::End(_) | Token::Text(_) => {}
        }
        if page.files.len() > max_files {
            return None;
        }
    }
    Some(page)
}

fn meta(tag: &Tag, page: &mut RawPage) {
    let content = tag.attribute("content");
    match tag.attribute("name").as_deref() {
        Some("pypi:repository-version") => {
            page.is_project_page = true;
            page.api_version = content;
        }
        Some("pypi:project-status") => page.status = content,
        Some("pypi:project-status-reason") => page.status_reason = content,
        _ => {}
    }
}

fn file(tag: &Tag) -> Option<RawFile> {
    let metadata = tag.attribute("data-core-metadata").or_else(|| tag.attribute("data-dist-info-metadata"));
    Some(RawFile {
        name: None,
        url: tag.attribute("href")?,
        hashes: Vec::new(),
        requires_python: tag.attribute("data-requires-python"),
        core_metadata: match metadata.as_deref().map(str::trim) {
            None | Some("false") => MetadataFile::None,
            Some(value) => value
                .strip_prefix("sha256=")
                .and_then(|hex| hex.parse().ok())
                .map_or(MetadataFile::Unverified, MetadataFile::Sha256),
        },
        gpg_sig: tag.attribute("data-gpg-sig").and_then(|value| value.parse().ok()),
        yanked: tag.attribute("data-yanked"),
        size: None,
        upload_time: tag.attribute("data-upload-time"),
        provenance: tag.attribute("data-provenance"),
    })
}
