//! Project pages in HTML: anchors, `base`, `meta` and the comment with the serial. Everything else is skipped.

use super::page::MetadataFile;
use super::raw::{RawFile, RawPage};
use base::model::html::{Tag, Token, Tokens};

/// Parses a page of at most `max_files` links; `None` if it has more.
pub(super) fn parse(document: &str, max_files: usize) -> Option<RawPage> {
    let mut page = RawPage::default();
    for token in Tokens::of_page(document) {
        match token {
            Token::Start(tag) if tag.name == "a" => page.files.extend(file(&tag)),
            Token::Start(tag) if tag.name == "base" && page.base.is_none() => page.base = owned(&tag, "href"),
            Token::Start(tag) if tag.name == "meta" => meta(&tag, &mut page),
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

fn owned(tag: &Tag, attribute: &str) -> Option<String> {
    tag.attribute(attribute).map(str::to_owned)
}

fn meta(tag: &Tag, page: &mut RawPage) {
    let content = owned(tag, "content");
    match tag.attribute("name") {
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
        url: owned(tag, "href")?,
        hashes: Vec::new(),
        requires_python: owned(tag, "data-requires-python"),
        core_metadata: match metadata.map(str::trim) {
            None | Some("false") => MetadataFile::None,
            Some(value) => value
                .strip_prefix("sha256=")
                .and_then(|hex| hex.parse().ok())
                .map_or(MetadataFile::Unverified, MetadataFile::Sha256),
        },
        gpg_sig: tag.attribute("data-gpg-sig").and_then(|value| value.parse().ok()),
        yanked: owned(tag, "data-yanked"),
        size: None,
        upload_time: owned(tag, "data-upload-time"),
        provenance: owned(tag, "data-provenance"),
    })
}
