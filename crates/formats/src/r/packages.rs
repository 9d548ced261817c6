//! The text index `PACKAGES`: rendered, compressed, and parsed from an untrusted upstream.

use super::layout::PackageFile;
use super::{dcf, name};
use base::model::digest::{Md5, Sha256};
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use std::borrow::Cow;
use std::io::{self, Read, Write};

/// The fields of a source index before `File` and `Path`, as in `tools:::.get_standard_repository_db_fields()`.
pub const SOURCE_FIELDS: [&str; 15] = [
    "Package",
    "Version",
    "Priority",
    "Depends",
    "Imports",
    "LinkingTo",
    "Suggests",
    "Enhances",
    "License",
    "License_is_FOSS",
    "License_restricts_use",
    "OS_type",
    "Archs",
    "MD5sum",
    "NeedsCompilation",
];
/// The fields of an index of binary packages: those of a source index without `NeedsCompilation`.
pub const BINARY_FIELDS: &[&str] = SOURCE_FIELDS.split_at(14).0;

/// Writes an index: the unchanged records in the given order, separated by one empty line.
pub fn render<W, I>(out: &mut W, stanzas: I) -> io::Result<()>
where
    W: Write,
    I: IntoIterator,
    I::Item: AsRef<[u8]>,
{
    let mut is_first = true;
    for stanza in stanzas {
        if !is_first {
            out.write_all(b"\n")?;
        }
        is_first = false;
        let stanza = stanza.as_ref();
        out.write_all(stanza)?;
        if stanza.last() != Some(&b'\n') {
            out.write_all(b"\n")?;
        }
    }
    Ok(())
}

/// Returns a gzip encoder: without time and name, so that equal texts produce equal bytes. Call `finish`.
pub fn gzip<W: Write>(out: W) -> GzEncoder<W> {
    GzBuilder::new().mtime(0).write(out, Compression::new(6))
}

#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// An error page with status 200, a login page, a directory listing.
    #[error(
        "this is an HTML page, not a PACKAGES index; check that the URL is the root of a CRAN-like repository"
    )]
    Html,
    #[error(
        "this is binary data, not a PACKAGES index; check that the URL is the root of a CRAN-like repository"
    )]
    Binary,
    #[error(
        "the compressed PACKAGES index is truncated; the mirror is being updated or the transfer was interrupted"
    )]
    Truncated,
    #[error("the compressed PACKAGES index is damaged")]
    Gzip(#[source] io::Error),
    #[error("the PACKAGES index is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    #[error("the PACKAGES index is not well formed")]
    Dcf(#[from] dcf::DcfError),
    #[error("record {record} of the PACKAGES index has no {field}")]
    MissingField {
        /// The number of the record, from 1.
        record: usize,
        /// `Package` or `Version`.
        field: &'static str,
    },
    /// A record has a value that is not safe in a path or in the database.
    #[error("record {record} of the PACKAGES index: {field} '{value}' is not valid")]
    InvalidValue {
        /// The number of the record, from 1.
        record: usize,
        field: &'static str,
        /// The beginning of the value.
        value: String,
    },
}

/// Maximum size in bytes of a text that is decompressed once; it is several times the size of CRAN's.
const SMALL_TEXT: u64 = 16 << 20;

/// Returns the text of an index, perhaps gzip-compressed (detected by content). More than `limit` bytes are an error. The
/// size of a large text is counted before it is in memory, because a small file can inflate to gigabytes.
pub fn decode_text(bytes: &[u8], limit: u64) -> Result<Cow<'_, [u8]>, IndexError> {
    if !bytes.starts_with(b"\x1f\x8b") {
        check_beginning(bytes)?;
        let is_small = bytes.len() as u64 <= limit;
        return if is_small { Ok(Cow::Borrowed(bytes)) } else { Err(IndexError::TooLarge { limit }) };
    }
    let decode = |limit: u64, text: &mut Vec<u8>| {
        let mut decoder = flate2::bufread::MultiGzDecoder::new(bytes);
        decoder.by_ref().take(limit).read_to_end(text).map(|_| decoder)
    };
    let gzip_error = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => IndexError::Truncated,
        _ => IndexError::Gzip(error),
    };
    let mut text = Vec::new();
    let decoder = decode(SMALL_TEXT.min(limit), &mut text).map_err(gzip_error)?;
    check_beginning(&text)?;
    let size = text.len() as u64;
    let mut rest = decoder.take((limit - size).saturating_add(1));
    match io::copy(&mut rest, &mut io::sink()).map_err(gzip_error)? {
        0 => {}
        rest if rest > limit - size => return Err(IndexError::TooLarge { limit }),
        rest => {
            text = Vec::with_capacity(usize::try_from(size + rest).unwrap_or_default());
            decode(size + rest, &mut text).map_err(gzip_error)?;
        }
    }
    Ok(Cow::Owned(text))
}

fn check_beginning(text: &[u8]) -> Result<(), IndexError> {
    let start = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).trim_ascii_start();
    if start.starts_with(b"<") {
        return Err(IndexError::Html);
    }
    if start.iter().take(4096).any(|b| matches!(b, 0..=8 | 0x0e..=0x1f)) {
        return Err(IndexError::Binary);
    }
    Ok(())
}

/// A record of an index, as slices of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexRecord<'a> {
    /// `Package`: a valid name.
    pub package: &'a str,
    /// `Version`: one that is allowed in a file name.
    pub version: &'a str,
    /// `Path`: the subdirectory, a checked relative path.
    pub path: Option<&'a str>,
    /// `File`: a file name other than the default.
    pub file: Option<&'a str>,
    /// `MD5sum` of the file, if it is valid.
    pub md5: Option<Md5>,
    /// `SHA256` of the file (`SHA256sum` in CRAN's indexes for macOS), if it is valid.
    pub sha256: Option<Sha256>,
    /// `Filesize` in bytes.
    pub size: Option<u64>,
    /// The unchanged record, unknown fields included, without the line end after its last line.
    pub stanza: &'a [u8],
}

impl<'a> IndexRecord<'a> {
    pub fn mirror_file(&self) -> Cow<'a, str> {
        self.file.map_or_else(|| Cow::Owned(self.usual_file()), Cow::Borrowed)
    }

    /// Returns the name under which the file is served: that on the mirror if it states package and version, otherwise
    /// the usual one, because addresses, `Archive/` and the tables of `Meta/` consist of such names.
    pub fn served_file(&self) -> Cow<'a, str> {
        match self.file {
            Some(file) if self.is_usual(file) => Cow::Borrowed(file),
            Some(_) | None => Cow::Owned(self.usual_file()),
        }
    }

    /// Returns the record that names the served file: without `File` if that is not the served name.
    pub fn served_stanza(&self) -> Cow<'a, [u8]> {
        self.stanza_for(&self.served_file())
    }

    /// Returns the record for a file with this name: without `File` if it states another one.
    pub fn stanza_for(&self, name: &str) -> Cow<'a, [u8]> {
        match self.file {
            Some(file) if file != name => Cow::Owned(dcf::copy_fields(self.stanza, &[b"File"])),
            Some(_) | None => Cow::Borrowed(self.stanza),
        }
    }

    fn usual_file(&self) -> String {
        format!("{}_{}.tar.gz", self.package, self.version)
    }

    fn is_usual(&self, file: &str) -> bool {
        let is_of_version = |rest: &str| rest.starts_with(['.', '_']);
        PackageFile::parse(file).is_some_and(|name| name.package == self.package)
            && file[self.package.len() + 1..].strip_prefix(self.version).is_some_and(is_of_version)
    }
}

/// Iterates over the records of an index. After an error other than [`IndexError::Dcf`], iteration continues with the
/// next record, so that callers can skip invalid records.
pub fn records(text: &[u8]) -> impl Iterator<Item = Result<IndexRecord<'_>, IndexError>> {
    dcf::records(text).enumerate().map(|(n, record)| index_record(&record?, n + 1))
}

fn index_record<'a>(record: &dcf::DcfRecord<'a>, number: usize) -> Result<IndexRecord<'a>, IndexError> {
    let invalid_value = |field: &'static str, value: &[u8]| {
        let value = String::from_utf8_lossy(&value[..value.len().min(80)]).into_owned();
        IndexError::InvalidValue { record: number, field, value }
    };
    let line_value = |field: &'static str| -> Result<Option<&'a str>, IndexError> {
        let Some(value) = record.get(field) else { return Ok(None) };
        match value.fold() {
            Cow::Borrowed(bytes) => match std::str::from_utf8(bytes) {
                Ok("" | "NA") => Ok(None),
                Ok(text) => Ok(Some(text)),
                Err(_) => Err(invalid_value(field, bytes)),
            },
            Cow::Owned(bytes) => Err(invalid_value(field, &bytes)),
        }
    };
    let valid_value = |field, is_valid: fn(&str) -> bool| match line_value(field)? {
        Some(text) if !is_valid(text) => Err(invalid_value(field, text.as_bytes())),
        value => Ok(value),
    };
    let missing_field = |field| IndexError::MissingField { record: number, field };
    Ok(IndexRecord {
        package: valid_value("Package", name::is_package)?.ok_or_else(|| missing_field("Package"))?,
        version: valid_value("Version", name::is_archive_file_version)?
            .ok_or_else(|| missing_field("Version"))?,
        path: valid_value("Path", is_clean_path)?,
        file: valid_value("File", |file| is_clean_path(file) && !file.contains('/'))?,
        md5: line_value("MD5sum").ok().flatten().and_then(|text| text.parse().ok()),
        sha256: ["SHA256", "SHA256sum"]
            .into_iter()
            .find_map(|field| line_value(field).ok().flatten()?.parse().ok()),
        size: line_value("Filesize").ok().flatten().and_then(|text| text.parse().ok()),
        stanza: record.raw,
    })
}

/// Returns whether a path is relative, consists of printable ASCII without `\`, `%`, `?` and `#`, and has no segment
/// that is empty, `.` or `..`.
fn is_clean_path(path: &str) -> bool {
    path.len() <= 1024
        && path.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'\\' | b'%' | b'?' | b'#'))
        && path.split('/').all(|segment| !segment.is_empty() && segment != "." && segment != "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gz(text: &[u8]) -> Vec<u8> {
        let mut encoder = gzip(Vec::new());
        encoder.write_all(text).expect("writing to a Vec succeeds");
        encoder.finish().expect("writing to a Vec succeeds")
    }

    #[test]
    fn records_are_separated_by_one_empty_line_and_unchanged() {
        let mut out = Vec::new();
        render(&mut out, [&b"Package: a1\nX-Odd: \xff"[..], b"Package: b2\n"])
            .expect("writing to a Vec succeeds");
        assert_eq!(out, b"Package: a1\nX-Odd: \xff\n\nPackage: b2\n");
        out.clear();
        render(&mut out, [""; 0]).expect("writing to a Vec succeeds");
        assert_eq!(out, b"");
    }

    #[test]
    fn gzip_is_reproducible_and_has_no_time_and_no_name() {
        let bytes = gz(b"Package: a1\n");
        assert_eq!(bytes, gz(b"Package: a1\n"));
        assert_eq!(&bytes[..8], b"\x1f\x8b\x08\x00\x00\x00\x00\x00");
        assert_eq!(decode_text(&bytes, 100).expect("an index"), &b"Package: a1\n"[..]);
    }

    #[test]
    fn other_formats_are_refused_by_name() {
        assert!(matches!(decode_text(b"\xef\xbb\xbf\n <!DOCTYPE html><html>", 1000), Err(IndexError::Html)));
        assert!(matches!(decode_text(&gz(b"<html>"), 1000), Err(IndexError::Html)));
        assert!(matches!(decode_text(b"\x89PNG\r\n\x1a\n\0\0", 1000), Err(IndexError::Binary)));
        assert!(matches!(decode_text(b"Package: a1\n", 5), Err(IndexError::TooLarge { limit: 5 })));
        assert!(matches!(decode_text(&gz(&[b'a'; 1 << 20]), 1000), Err(IndexError::TooLarge { .. })));
        let large = vec![b'a'; SMALL_TEXT as usize + 5];
        let size = large.len() as u64;
        assert_eq!(decode_text(&gz(&large), size).expect("an index"), large);
        assert!(matches!(decode_text(&gz(&large), size - 1), Err(IndexError::TooLarge { .. })));
        let bytes = gz(b"Package: a1\nVersion: 1.0\n");
        for length in 2..bytes.len() {
            assert!(
                matches!(decode_text(&bytes[..length], 1000), Err(IndexError::Truncated)),
                "{length} bytes"
            );
        }
        let mut damaged_bytes = bytes.clone();
        let crc_offset = bytes.len() - 8;
        damaged_bytes[crc_offset] ^= 1;
        assert!(matches!(decode_text(&damaged_bytes, 1000), Err(IndexError::Gzip(_))));
    }

    #[test]
    fn a_record_is_read_with_its_bytes() {
        let md5 = "0123456789abcdef".repeat(2);
        let index = format!(
            "Package: a1\nVersion: 1.0-1\nMD5sum: {md5}\nPath: 4.6.0/Recommended\nFile: x.tar.gz\nFilesize: 5\n\
             X-New: kept\n\nPackage: b2\nVersion: 0.9b\nMD5sum: zz\n"
        );
        let records: Vec<_> = records(index.as_bytes()).map(|r| r.expect("a record")).collect();
        assert_eq!(
            (records[0].package, records[0].version, records[0].path),
            ("a1", "1.0-1", Some("4.6.0/Recommended"))
        );
        assert_eq!(
            (records[0].file, records[0].size, records[0].md5),
            (Some("x.tar.gz"), Some(5), md5.parse().ok())
        );
        assert!(records[0].stanza.ends_with(b"X-New: kept"));
        assert_eq!((records[1].version, records[1].md5), ("0.9b", None));
    }

    #[test]
    fn a_file_is_served_under_a_name_that_states_package_and_version() {
        for (file, served) in [
            ("sha256-0a1b", "a1_1.0.tar.gz"),
            ("a1-1.0.tar.gz", "a1_1.0.tar.gz"),
            ("a1_2.0.tar.gz", "a1_1.0.tar.gz"),
            ("a1_1.01.tar.gz", "a1_1.0.tar.gz"),
            ("b2_1.0.tar.gz", "a1_1.0.tar.gz"),
            ("a1_1.0", "a1_1.0.tar.gz"),
            ("a1_1.0.tar.gz", "a1_1.0.tar.gz"),
            ("a1_1.0.tar.xz", "a1_1.0.tar.xz"),
            ("a1_1.0_R_x86_64-pc-linux-gnu.tar.gz", "a1_1.0_R_x86_64-pc-linux-gnu.tar.gz"),
        ] {
            let text = format!("Package: a1\nFile: {file}\nVersion: 1.0\n");
            let record = records(text.as_bytes()).next().expect("a record").expect("a valid record");
            assert_eq!((&*record.served_file(), &*record.mirror_file()), (served, file));
            let stanza = record.served_stanza();
            let has_file = stanza.windows(5).any(|bytes| bytes == b"File:");
            assert_eq!(has_file, file == served, "{}", String::from_utf8_lossy(&stanza));
            assert!(stanza.starts_with(b"Package: a1\n") && stanza.windows(12).any(|b| b == b"Version: 1.0"));
        }
    }

    #[test]
    fn single_invalid_records_are_reported_and_skipped() {
        let cases = [
            ("Version: 1.0", "has no Package"),
            ("Package: a1", "has no Version"),
            ("Package:\nVersion: 1.0", "has no Package"),
            ("Package: ../x\nVersion: 1.0", "Package '../x'"),
            ("Package: a1\nVersion: 1.0\n 2", "Version '1.0\n2'"),
            ("Package: a1\nVersion: 1/0", "Version '1/0'"),
            ("Package: a1\nVersion: 1.0\nPath: a/../b", "Path 'a/../b'"),
            ("Package: a1\nVersion: 1.0\nPath: /etc", "Path '/etc'"),
            ("Package: a1\nVersion: 1.0\nFile: ../x", "File '../x'"),
            ("Package: aé1\nVersion: 1.0", "Package"),
        ];
        for (record, reason) in cases {
            let index = format!("{record}\n\nPackage: good\nVersion: 1.0\n");
            let records: Vec<_> = records(index.as_bytes()).collect();
            let error = records[0].as_ref().expect_err(record).to_string();
            assert!(error.contains(reason) && error.contains("record 1"), "{error}");
            assert_eq!(records[1].as_ref().map(|r| r.package).ok(), Some("good"));
        }
    }
}
