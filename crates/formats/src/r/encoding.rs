//! Decodes a DESCRIPTION according to its `Encoding` field; without that field as UTF-8 if the bytes are valid,
//! otherwise as latin1. Bytes that cannot be decoded become U+FFFD, so that they do not make a package unavailable.

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};
use std::borrow::Cow;

/// Returns the encoding for an `Encoding` value, in the spelling of R (`UTF-8`, `latin1`, `latin2`) or of the Encoding
/// Standard; `None` for an unknown value.
pub fn by_name(label: &str) -> Option<&'static Encoding> {
    let label = label.trim();
    match label.to_ascii_lowercase().as_str() {
        // R's name for ISO 8859-15, which the Encoding Standard does not have.
        "latin9" | "latin-9" => Encoding::for_label(b"iso-8859-15"),
        "latin-1" | "iso8859-1" => Some(WINDOWS_1252),
        "latin-2" | "iso8859-2" => Encoding::for_label(b"iso-8859-2"),
        "utf8" | "utf-8-bom" => Some(UTF_8),
        _ => Encoding::for_label(label.as_bytes()),
    }
}

/// The names of encodings that contain ASCII, as `iconv` of glibc, and thus R on Linux, knows them.
const NAMES_OF_R: &str = include_str!("encodings.txt");

/// Returns whether R accepts an `Encoding`: `iconv` knows it, and ASCII is unchanged. Empty is that of the session.
pub fn is_of_r(label: &str) -> bool {
    // `iconv` ignores a suffix such as //TRANSLIT, and other characters than these.
    let is_significant = |c: &char| c.is_ascii_alphanumeric() || "_-.:".contains(*c);
    let name = label.split('/').next().unwrap_or_default().to_ascii_uppercase();
    let plain: String = name.chars().filter(is_significant).collect();
    label.is_empty() || NAMES_OF_R.split_ascii_whitespace().any(|known| known == plain)
}

/// Decodes bytes with the declared encoding, even if they are valid UTF-8, as R does. If the name of the encoding is
/// unknown, decodes as if there were no `Encoding` field.
pub fn decode<'a>(bytes: &'a [u8], encoding_name: Option<&str>) -> Cow<'a, str> {
    match encoding_name.and_then(by_name) {
        Some(encoding) => encoding.decode_without_bom_handling(bytes).0,
        None => match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => WINDOWS_1252.decode_without_bom_handling(bytes).0,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_declared_encoding_is_used() {
        assert_eq!(decode(b"Fran\xe7ois", Some("latin1")), "François");
        assert_eq!(decode(b"\xb3\xf3d\xbc", Some("latin2")), "łódź");
        assert_eq!(decode("Ünal".as_bytes(), Some("UTF-8")), "Ünal");
        assert_eq!(decode(b"\xa4", Some("latin9")), "€");
    }

    #[test]
    fn without_a_declaration_utf8_is_tried_first() {
        assert_eq!(decode("Ünal".as_bytes(), None), "Ünal");
        assert_eq!(decode(b"\xdcnal", None), "Ünal");
        assert_eq!(decode(b"\xdcnal", Some("klingon")), "Ünal");
    }

    #[test]
    fn wrong_bytes_are_replaced() {
        assert_eq!(decode(b"a\xff\xc3b", Some("UTF-8")), "a\u{fffd}\u{fffd}b");
    }
}
