//! A package's DESCRIPTION: its fields in order, decoded according to its `Encoding`, and the records that are made from
//! them: that of an index, and that of CRAN's package database.

pub mod check;

use std::borrow::Cow;
use std::io::Write;

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

use super::dcf::{self, DcfError};
use super::dependency::{self, Dependency, DependencyKind};
use super::packages::SOURCE_FIELDS;
use super::version;
use base::model::digest::{Md5, Sha256};
use base::model::time::Day;

/// The fields of a DESCRIPTION in order, as UTF-8. Parsed leniently: malformed lines of old packages are ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    fields: Vec<(String, String)>,
}

/// The parts of a `Built` field: `R 4.2.2; x86_64-pc-linux-gnu; 2023-01-16 13:49:09 UTC; unix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The version of R, without `R `.
    pub r: String,
    /// The platform triplet; empty for a package without compiled code.
    pub platform: String,
    /// The build time, as written: the format varies between distributions.
    pub date: String,
    /// `unix` or `windows`; empty if missing.
    pub os_type: String,
}

/// Writes the value of the field as in DESCRIPTION.
impl std::fmt::Display for Built {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "R {}; {}; {}; {}", self.r, self.platform, self.date, self.os_type)
    }
}

impl Description {
    /// Reads the bytes of a DESCRIPTION file and decodes them according to its `Encoding`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Description, DcfError> {
        let record = dcf::description(bytes)?;
        let encoding_name = record.get("Encoding").map(|v| String::from_utf8_lossy(&v.fold()).into_owned());
        let fields = record
            .fields
            .iter()
            .map(|field| {
                let tag = String::from_utf8_lossy(field.tag).into_owned();
                let has_significant_white_space = dcf::KEEP_WHITE.contains(&tag.as_str());
                let value =
                    if has_significant_white_space { field.value.keep_white() } else { field.value.fold() };
                let value = decode(&value, encoding_name.as_deref()).into_owned();
                (tag, value)
            })
            .collect();
        Ok(Description { fields })
    }

    /// Returns every field in order, duplicates included.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(tag, value)| (tag.as_str(), value.as_str()))
    }

    /// Returns the value of a field (case-sensitive). If a field is repeated, the last value is used, as in R.
    pub fn get(&self, tag: &str) -> Option<&str> {
        self.fields.iter().rev().find(|(t, _)| t == tag).map(|(_, value)| value.as_str())
    }

    /// Like [`Description::get`], but returns `None` for an empty value.
    pub fn non_empty(&self, tag: &str) -> Option<&str> {
        self.get(tag).filter(|value| !value.trim().is_empty())
    }

    pub fn package(&self) -> Option<&str> {
        self.non_empty("Package")
    }

    pub fn version(&self) -> Option<&str> {
        self.non_empty("Version")
    }

    /// Returns `NeedsCompilation`: yes or true, no or false, in any case; `None` for other values.
    pub fn needs_compilation(&self) -> Option<bool> {
        let value = self.get("NeedsCompilation")?;
        if value.eq_ignore_ascii_case("yes") || value.eq_ignore_ascii_case("true") {
            return Some(true);
        }
        (value.eq_ignore_ascii_case("no") || value.eq_ignore_ascii_case("false")).then_some(false)
    }

    /// Returns the field `Built`. Only binary packages have it; R distinguishes them from source packages by it.
    pub fn built(&self) -> Option<Built> {
        let mut parts = self.get("Built")?.split(';').map(|part| part.trim().to_owned());
        let r = parts.next().unwrap_or_default();
        let r = r.strip_prefix('R').map(|v| v.trim().to_owned()).unwrap_or(r);
        Some(Built {
            r,
            platform: parts.next().unwrap_or_default(),
            date: parts.next().unwrap_or_default(),
            os_type: parts.next().unwrap_or_default(),
        })
    }

    pub fn dependencies(&self, kind: DependencyKind) -> impl Iterator<Item = Dependency<'_>> {
        dependency::parse_list(self.get(kind.field()).unwrap_or_default())
    }

    pub fn has_valid_version(&self) -> bool {
        self.version().is_some_and(version::is_package_version)
    }
}

/// Returns the record of a source package for `PACKAGES`: fields as `tools::write_PACKAGES` writes and folds them, then
/// `SystemRequirements`, `SHA256` and `Filesize` (in bytes). An LF follows every field; there is no empty line at the
/// end.
///
/// R replaces `License` by a standard form, and drops a license that it cannot standardize. Here, only the blanks
/// around `|` and `+` are normalized, and no license is dropped, so that clients always get one.
pub fn index_stanza(
    description: &Description,
    md5: Md5,
    sha256: Sha256,
    size: u64,
    needs_compilation: bool,
) -> Vec<u8> {
    let mut out = stanza(description, Some(md5), Some(needs_compilation));
    // Not folded: the digest alone is as wide as a line, and line-based readers expect it on one line.
    out.extend_from_slice(format!("SHA256: {sha256}\nFilesize: {size}\n").as_bytes());
    out
}

/// Like [`index_stanza`], if only the DESCRIPTION of the package was read: without digests and size, and with
/// `NeedsCompilation` only if DESCRIPTION has it.
pub fn metadata_stanza(description: &Description) -> Vec<u8> {
    stanza(description, None, description.needs_compilation())
}

fn stanza(description: &Description, md5: Option<Md5>, needs_compilation: Option<bool>) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    let mut write = |tag: &str, value: &str| {
        dcf::write_field(&mut out, tag, value).expect("writing to a Vec succeeds");
    };
    // The last two, `MD5sum` and `NeedsCompilation`, are not taken from DESCRIPTION.
    for &tag in &SOURCE_FIELDS[..SOURCE_FIELDS.len() - 2] {
        match (tag, description.non_empty(tag)) {
            ("License", Some(value)) => write(tag, &normalize_license(value)),
            (_, Some(value)) => write(tag, value),
            (_, None) => {}
        }
    }
    if let Some(md5) = md5 {
        write("MD5sum", &md5.to_string());
    }
    if let Some(is_needed) = needs_compilation {
        write("NeedsCompilation", if is_needed { "yes" } else { "no" });
    }
    if let Some(value) = description.non_empty("SystemRequirements") {
        write("SystemRequirements", value);
    }
    out
}

/// Appends the fields of a binary: `Built` as in DESCRIPTION, `Platform`, and the minor version of R.
pub fn write_built_fields(stanza: &mut Vec<u8>, built: &Built, r: super::version::RMinor) {
    let mut write = |tag: &str, value: &str| {
        dcf::write_field(stanza, tag, value).expect("writing to a Vec succeeds");
    };
    write("Built", &built.to_string());
    if !built.platform.is_empty() {
        write("Platform", &built.platform);
    }
    write("RVersion", &r.to_string());
}

/// Rewrites `GPL-2|GPL-3` as `GPL-2 | GPL-3` and `MIT+file LICENSE` as `MIT + file LICENSE`.
fn normalize_license(value: &str) -> String {
    let alternatives = value.split('|').map(|alternative| match alternative.split_once('+') {
        Some((name, file)) if file.trim_start().starts_with("file ") => {
            format!("{} + {}", name.trim(), file.trim())
        }
        _ => alternative.trim().to_owned(),
    });
    alternatives.collect::<Vec<_>>().join(" | ")
}

/// Returns the encoding for an `Encoding` value, in the spelling of R (`UTF-8`, `latin1`, `latin2`) or of the Encoding
/// Standard; `None` for an unknown value.
fn encoding_by_name(label: &str) -> Option<&'static Encoding> {
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
fn is_encoding_of_r(label: &str) -> bool {
    // `iconv` ignores a suffix such as //TRANSLIT, and other characters than these.
    let is_significant = |c: &char| c.is_ascii_alphanumeric() || "_-.:".contains(*c);
    let name = label.split('/').next().unwrap_or_default().to_ascii_uppercase();
    let plain: String = name.chars().filter(is_significant).collect();
    label.is_empty() || NAMES_OF_R.split_ascii_whitespace().any(|known| known == plain)
}

/// Decodes bytes with the declared encoding, even if they are valid UTF-8, as R does. If the name of the encoding is
/// unknown, decodes as if there were no `Encoding` field.
pub fn decode<'a>(bytes: &'a [u8], encoding_name: Option<&str>) -> Cow<'a, str> {
    match encoding_name.and_then(encoding_by_name) {
        Some(encoding) => encoding.decode_without_bom_handling(bytes).0,
        None => match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => WINDOWS_1252.decode_without_bom_handling(bytes).0,
        },
    }
}

/// Returns the record of a package in CRAN's package database, `web/packages/packages.rds`: the fields of its index record, further fields of its DESCRIPTION, and its
/// publication date. Fields that locate the file (`Path`, `File`) are left out.
pub fn database_record(stanza: &[u8], description: Option<&[u8]>, published: Option<Day>) -> Vec<u8> {
    const OMITTED_FIELDS: [&[u8]; 2] = [b"Path", b"File"];
    let index = dcf::records(stanza).next().and_then(Result::ok);
    let fields = index.into_iter().flat_map(|record| record.fields);
    let mut out = Vec::with_capacity(stanza.len() + description.map_or(0, <[u8]>::len) + 24);
    let mut tags: Vec<&[u8]> = OMITTED_FIELDS.to_vec();
    for field in fields.filter(|field| !OMITTED_FIELDS.contains(&field.tag)) {
        dcf::copy_lines(&mut out, &field);
        tags.push(field.tag);
    }
    let description_fields = description.and_then(|text| Some(dcf::description(text).ok()?.fields));
    for field in description_fields.iter().flatten() {
        if !tags.contains(&field.tag) && field.tag.iter().all(u8::is_ascii_graphic) {
            dcf::copy_lines(&mut out, field);
            tags.push(field.tag);
        }
    }
    if let Some(day) = published.filter(|_| !tags.contains(&&b"Published"[..])) {
        writeln!(out, "Published: {day}").expect("writing to a Vec succeeds");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Description {
        Description::from_bytes(text).expect("a description")
    }

    #[test]
    fn fields_are_decoded_and_the_last_duplicate_applies() {
        let d = read(b"Package: a1\nAuthor: Fran\xe7ois\n   and me\nEncoding: latin1\nTitle: x\nTitle: y\n");
        assert_eq!(d.get("Author"), Some("François\n   and me"));
        assert_eq!(d.get("Title"), Some("y"));
        assert_eq!(d.fields().count(), 5);
    }

    #[test]
    fn needs_compilation_is_read_in_any_case() {
        for (text, expected) in [("yes", Some(true)), ("No", Some(false)), ("maybe", None)] {
            assert_eq!(read(format!("NeedsCompilation: {text}").as_bytes()).needs_compilation(), expected);
        }
        assert_eq!(read(b"Package: a1").needs_compilation(), None);
    }

    #[test]
    fn built_has_four_parts_with_any_date() {
        let b = read(b"Built: R 4.2.2; ; 'Mon, 16 Jan 2023 13:49:09 +0100'; unix").built().expect("built");
        assert_eq!((b.r.as_str(), b.platform.as_str(), b.os_type.as_str()), ("4.2.2", "", "unix"));
        assert_eq!(read(b"Built: junk").built().map(|b| b.os_type), Some(String::new()));
        assert_eq!(read(b"Package: a1").built(), None);
    }

    #[test]
    fn the_index_record_has_the_standard_fields_in_order() {
        let d = read(
            b"Title: T\nLicense: GPL-2|MIT+file LICENSE\nVersion: 1.0\nPackage: a1\nSuggests:\nImports: b2,\n c3\n",
        );
        let text = index_stanza(&d, Md5([1; 16]), Sha256([2; 32]), 77, false);
        let expected = format!(
            "Package: a1\nVersion: 1.0\nImports: b2, c3\nLicense: GPL-2 | MIT + file LICENSE\nMD5sum: {}\n\
             NeedsCompilation: no\nSHA256: {}\nFilesize: 77\n",
            "01".repeat(16),
            "02".repeat(32)
        );
        assert_eq!(String::from_utf8_lossy(&text), expected);
    }

    #[test]
    fn no_value_can_add_a_field_to_the_record() {
        let d = read(
            b"Package: a1\nVersion: 1.0\nDepends: x,\n  MD5sum: 00,\n .\n y\nLicense: a\n  File: ../z\n",
        );
        let text = index_stanza(&d, Md5([1; 16]), Sha256([2; 32]), 1, false);
        let records: Vec<_> = dcf::records(&text).map(|r| r.expect("good DCF")).collect();
        assert_eq!((records.len(), records[0].fields.len()), (1, 8));
    }

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

    #[test]
    fn the_index_record_has_precedence_and_the_description_adds_fields() {
        let stanza = b"Package: a\nVersion: 1.0\nPath: 4.6.0/Recommended\nMD5sum: 00\n";
        let description =
            b"Package: other\nTitle: What\n  it does\nVersion: 9\nMaintainer: M <m@e.org>\nTitle: Again\n";
        let day = "2026-11-20".parse().expect("a day");
        let text = String::from_utf8(database_record(stanza, Some(description), Some(day))).expect("text");
        let expected = "Package: a\nVersion: 1.0\nMD5sum: 00\nTitle: What\n  it does\nMaintainer: M <m@e.org>\n\
                        Published: 2026-11-20\n";
        assert_eq!(text, expected);
        assert_eq!(database_record(b"Package: a\nVersion: 1", None, None), b"Package: a\nVersion: 1\n");
    }
}
