//! The `ETag` of each kind of content.

use http::header::HeaderValue;

use crate::http::response::header_value;
use base::model::digest::Sha256;
use content::serve::located::LocatedFile;
use formats::python::accept::SimpleFormat;

/// Returns the `ETag` of generated content, by the digest of its decoded form; weak for a compressed form, whose bytes
/// may differ between versions of the server.
pub(crate) fn of_content(content: Sha256, compressed: bool) -> HeaderValue {
    let weak = if compressed { "W/" } else { "" };
    header_value(format!("{weak}\"{}\"", hex::encode(&content.0[..16])))
}

/// Returns the `ETag` of a page of the simple API. Both types of HTML have the same bytes, but are different
/// representations with different tags. The tag of a compressed form is the weak form of the tag of the plain form, so
/// that a client that has either form gets 304 for both.
pub(crate) fn of_page(content: Sha256, format: SimpleFormat, compressed: bool) -> HeaderValue {
    let weak = if compressed { "W/" } else { "" };
    let suffix = match format {
        SimpleFormat::Json | SimpleFormat::TextHtml => "",
        SimpleFormat::Html => "-v1",
    };
    header_value(format!("{weak}\"{}{suffix}\"", hex::encode(&content.0[..16])))
}

/// Returns the `ETag` of a package file, and the previous one, which was sent before the file was fetched.
///
/// The `ETag` of a stored file is the SHA-256 of its bytes, the same on every server. The `ETag` of a file that is not
/// fetched yet is the MD5 in the mirror's index, if the index has one; the first fetch verifies that both digests
/// belong to the same bytes.
pub(crate) fn of_file(file: &LocatedFile) -> (Option<HeaderValue>, Option<HeaderValue>) {
    let stored = file.sha256.map(|digest| header_value(format!("\"{digest}\"")));
    let declared = file.md5.map(|digest| header_value(format!("\"{digest}\"")));
    if stored.is_some() { (stored, declared) } else { (declared, None) }
}
