//! Rewrites an archive with another `Repository` field in DESCRIPTION. Only files that depend on it are changed too.

use super::archive::{ArchiveError, Limits, Member, MemberKind, Members, PackageArchive};
use super::dcf;
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use md5::{Digest, Md5};
use std::io::{self, BufWriter, Read, Write};

/// Options of a rewrite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The gzip level, from 1 (fast) to 9 (small); other values are clamped.
    pub level: u32,
    /// Size of the buffers before compression and before writing, in bytes.
    pub buffer: usize,
    /// The limits with which the archive was checked.
    pub limits: Limits,
}

impl Default for Options {
    /// Returns level 6 and buffers of 32 KiB.
    fn default() -> Options {
        Options { level: 6, buffer: 32 << 10, limits: Limits::default() }
    }
}

/// The reason why an archive was not rewritten.
#[derive(Debug, thiserror::Error)]
pub enum RewriteError {
    /// The archive cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The result cannot be written.
    #[error("could not write the rewritten package")]
    Write(#[source] io::Error),
    /// The archive has changed since it was checked.
    #[error("the file changed while it was being added; add it again")]
    Changed,
    /// An extended header contains the size of a member to be replaced.
    #[error("'{0}' has an extended header that gives its size; build the package again")]
    ExtendedSize(String),
    /// The value cannot be written on one line of DESCRIPTION.
    #[error("'{0}' cannot be a Repository value: it must be printable ASCII on one line")]
    BadValue(String),
}

/// Returns DESCRIPTION with `Repository: value`: replaces the lines of the last `Repository` field, which R reads, or
/// adds a line at the end of the record if there is no such field. All other bytes are unchanged, including line ends.
///
/// # Errors
/// [`RewriteError::BadValue`], and [`ArchiveError::Dcf`] if the bytes are not text.
pub fn description(raw: &[u8], value: &str) -> Result<Vec<u8>, RewriteError> {
    let is_printable = |b: u8| b == b' ' || b.is_ascii_graphic();
    if value.trim() != value || value.is_empty() || !value.bytes().all(is_printable) {
        return Err(RewriteError::BadValue(value.chars().take(80).collect()));
    }
    let record = dcf::description(raw).map_err(ArchiveError::Dcf)?;
    let (range, is_at_beginning) = match record.fields.iter().rev().find(|field| field.tag == b"Repository") {
        Some(field) => (field.start..field.end, false),
        // If the text has no fields, the new field is appended at the end, because later lines would become part of its
        // value.
        None if record.fields.is_empty() => (raw.len()..raw.len(), false),
        None => {
            let end = first_record_end(raw, record.offset);
            // A continuation line after a blank line continues the last field. It would become part of a field that is
            // added before the blank line, so the new field is then added at the beginning.
            if is_continued(&raw[end..]) { (record.offset..record.offset, true) } else { (end..end, false) }
        }
    };
    let line_end: &[u8] = if raw.windows(2).any(|pair| pair == b"\r\n") { b"\r\n" } else { b"\n" };
    let mut out = Vec::with_capacity(raw.len() + value.len() + 16);
    out.extend_from_slice(&raw[..range.start]);
    if range.is_empty() && range.start > 0 && !is_at_beginning {
        out.extend_from_slice(line_end);
    }
    out.extend_from_slice(b"Repository: ");
    out.extend_from_slice(value.as_bytes());
    if !range.is_empty() && has_empty_line(&raw[range.clone()]) {
        // Keeps an empty line in the replaced field, because fields after an empty line do not replace fields before
        // it.
        out.extend_from_slice(line_end);
    }
    let rest = &raw[range.end..];
    if rest.is_empty() || is_at_beginning {
        out.extend_from_slice(line_end);
    }
    out.extend_from_slice(rest);
    Ok(out)
}

/// Returns the offset of the end of the last line before the first blank line, without its line end.
fn first_record_end(raw: &[u8], begin: usize) -> usize {
    let mut end = begin;
    let mut line_start = begin;
    while line_start < raw.len() {
        let (line, rest) = dcf::split_line(&raw[line_start..]);
        if dcf::is_empty(line) && end > begin {
            break;
        }
        end = line_start + line.len();
        line_start = raw.len() - rest.len();
    }
    end
}

/// Returns whether the first non-blank line of a text is a continuation line.
fn is_continued(mut text: &[u8]) -> bool {
    while !text.is_empty() {
        let (line, rest) = dcf::split_line(text);
        if !dcf::is_empty(line) {
            return line.starts_with(b" ") || line.starts_with(b"\t");
        }
        text = rest;
    }
    false
}

fn has_empty_line(mut text: &[u8]) -> bool {
    while !text.is_empty() {
        let (line, rest) = dcf::split_line(text);
        if dcf::is_empty(line) {
            return true;
        }
        text = rest;
    }
    false
}

/// The result of a rewrite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewriteOutput {
    /// DESCRIPTION in the new archive.
    pub description: Vec<u8>,
}

/// Copies an archive that [`super::archive::read`] accepted, as a gzip-compressed tar archive, with `Repository:
/// repository` in DESCRIPTION, updated checksums in `MD5` and, for a binary package, `package_rds` as
/// `Meta/package.rds`. `source` must provide the same bytes again. Nothing is buffered: the new DESCRIPTION is already
/// known when `MD5` is copied. Equal arguments produce equal bytes.
///
/// # Errors
/// [`RewriteError`].
pub fn archive<W: Write>(
    source: impl Read,
    package_archive: &PackageArchive,
    repository: &str,
    package_rds: Option<&[u8]>,
    out: W,
    options: Options,
) -> Result<(RewriteOutput, W), RewriteError> {
    let description = description(&package_archive.description_raw, repository)?;
    let digest = hex::encode(Md5::digest(&description));
    let mut members = Members::new(source, options.limits)?;
    let mut out = output(out, options);
    let mut has_description = false;
    while let Some(mut member) = members.advance()? {
        let is_file = member.kind == MemberKind::File;
        if is_file && member.folder_of("DESCRIPTION").is_some() {
            if members.contents(&member, options.limits.description)? != package_archive.description_raw {
                return Err(RewriteError::Changed);
            }
            members.padding()?;
            has_description = true;
            replace(&mut out, &mut member, &description)?;
            continue;
        }
        if let Some(bytes) = package_rds
            && is_file
            && member.path()?.strip_prefix(package_archive.folder.as_str()) == Some("/Meta/package.rds")
        {
            while members.chunk()?.is_some() {}
            members.padding()?;
            replace(&mut out, &mut member, bytes)?;
            continue;
        }
        write(&mut out, &member.extensions)?;
        write(&mut out, &member.header.0)?;
        // An implausibly large MD5 file is copied unchanged.
        if is_file && member.folder_of("MD5").is_some() && member.size <= options.limits.large_metadata() {
            let contents = members.contents(&member, member.size)?;
            let mut contents = replace_checksum(contents, "DESCRIPTION", &digest);
            if let Some(bytes) = package_rds {
                contents = replace_checksum(contents, PACKAGE_RDS, &hex::encode(Md5::digest(bytes)));
            }
            write(&mut out, &contents)?;
        }
        while let Some(bytes) = members.chunk()? {
            write(&mut out, bytes)?;
        }
        write(&mut out, &members.padding()?)?;
    }
    if !has_description {
        return Err(RewriteError::Changed);
    }
    write(&mut out, &[0; 512])?;
    while let Some(bytes) = members.trailing_chunk()? {
        write(&mut out, bytes)?;
    }
    let encoder = out.into_inner().map_err(|e| RewriteError::Write(e.into_error()))?;
    let file = encoder.finish().map_err(RewriteError::Write)?;
    let file = file.into_inner().map_err(|e| RewriteError::Write(e.into_error()))?;
    Ok((RewriteOutput { description }, file))
}

type Output<W> = BufWriter<GzEncoder<BufWriter<W>>>;

fn output<W: Write>(out: W, options: Options) -> Output<W> {
    let level = Compression::new(options.level.clamp(1, 9));
    let encoder = GzBuilder::new().mtime(0).write(BufWriter::with_capacity(options.buffer, out), level);
    BufWriter::with_capacity(options.buffer, encoder)
}

fn write<W: Write>(out: &mut Output<W>, bytes: &[u8]) -> Result<(), RewriteError> {
    out.write_all(bytes).map_err(RewriteError::Write)
}

fn replace<W: Write>(out: &mut Output<W>, member: &mut Member, text: &[u8]) -> Result<(), RewriteError> {
    if member.has_extended_size {
        return Err(RewriteError::ExtendedSize(String::from_utf8_lossy(&member.name).into_owned()));
    }
    if member.size != text.len() as u64 {
        member.header.set_size(text.len() as u64);
    }
    write(out, &member.extensions)?;
    write(out, &member.header.0)?;
    write(out, text)?;
    write(out, &[0; 512][..text.len().next_multiple_of(512) - text.len()])
}

/// The file that R reads instead of DESCRIPTION for an installed package.
pub(in crate::r) const PACKAGE_RDS: &str = "Meta/package.rds";

/// Replaces the checksum of a path in an `MD5` file. A line consists of 32 digits, a blank, a `*` or a blank, and the
/// path.
pub(in crate::r) fn replace_checksum(mut contents: Vec<u8>, path: &str, digest: &str) -> Vec<u8> {
    let mut line_start = 0;
    while line_start < contents.len() {
        let (line, rest) = dcf::split_line(&contents[line_start..]);
        let next_line = contents.len() - rest.len();
        if line.len() == 34 + path.len()
            && line[32] == b' '
            && matches!(line[33], b'*' | b' ')
            && &line[34..] == path.as_bytes()
        {
            contents[line_start..line_start + 32].copy_from_slice(digest.as_bytes());
        }
        line_start = next_line;
    }
    contents
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_repository(raw: &str) -> String {
        let out = description(raw.as_bytes(), "RSPM").expect("good DCF");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn the_field_is_replaced_in_place() {
        assert_eq!(set_repository("A: 1\nRepository: CRAN\nB: 2\n"), "A: 1\nRepository: RSPM\nB: 2\n");
        assert_eq!(set_repository("A: 1\nRepository:\n  CRAN\nB: 2\n"), "A: 1\nRepository: RSPM\nB: 2\n");
        assert_eq!(set_repository("Repository: CRAN"), "Repository: RSPM\n");
        assert_eq!(set_repository("Repository: RSPM\nB: 2\n"), "Repository: RSPM\nB: 2\n");
        assert_eq!(set_repository("Repository: X\nRepository: Y\n"), "Repository: X\nRepository: RSPM\n");
    }

    #[test]
    fn the_field_is_added_at_the_end_of_the_record() {
        assert_eq!(set_repository("A: 1\nB: 2\n"), "A: 1\nB: 2\nRepository: RSPM\n");
        assert_eq!(set_repository("A: 1\nB: 2"), "A: 1\nB: 2\nRepository: RSPM\n");
        assert_eq!(set_repository("A: 1\n\n\n"), "A: 1\nRepository: RSPM\n\n\n");
        assert_eq!(set_repository("A: 1\n\nRepositoryX: 2\n"), "A: 1\nRepository: RSPM\n\nRepositoryX: 2\n");
    }

    #[test]
    fn the_field_is_first_if_the_last_one_continues_after_a_blank_line() {
        let out = set_repository("A: 1\n\n  more\n");
        assert_eq!(out, "Repository: RSPM\nA: 1\n\n  more\n");
        let record = dcf::description(out.as_bytes()).expect("good DCF");
        assert_eq!(record.get("Repository").expect("the field").fold(), b"RSPM".as_slice());
    }

    #[test]
    fn line_ends_and_invalid_utf8_are_preserved() {
        assert_eq!(set_repository("A: 1\r\nB: 2\r\n"), "A: 1\r\nB: 2\r\nRepository: RSPM\r\n");
        let out = description(b"Author: Fran\xe7ois\nEncoding: latin1\n", "RSPM").expect("good DCF");
        assert_eq!(out, b"Author: Fran\xe7ois\nEncoding: latin1\nRepository: RSPM\n");
    }

    #[test]
    fn a_value_that_could_add_a_field_is_refused() {
        for bad in ["", " x", "a\nBuilt: R 4.2.2", "a\r", "é"] {
            assert!(matches!(description(b"A: 1\n", bad), Err(RewriteError::BadValue(_))), "{bad:?}");
        }
    }
}
