//! Rewrites an archive with another `Repository` field in DESCRIPTION. Only files that depend on it are changed too.

use super::archive::{self, ArchiveError, ArchiveLimits, Member, MemberKind, Members, PackageArchive};
use super::checksums::ChecksumList;
use super::dcf;
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use sha2::Digest;
use std::io::{self, BufWriter, Read, Write};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RewriteOptions {
    /// The gzip level, from 1 (fast) to 9 (small); other values are clamped.
    pub level: u32,
    /// Size of the buffers before compression and before writing, in bytes.
    pub buffer: usize,
    /// The limits with which the archive was checked.
    pub limits: ArchiveLimits,
}

impl Default for RewriteOptions {
    /// Returns level 6 and buffers of 32 KiB.
    fn default() -> RewriteOptions {
        RewriteOptions { level: 6, buffer: 32 << 10, limits: ArchiveLimits::default() }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum RewriteError {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("could not write the rewritten package")]
    Write(#[source] io::Error),
    #[error("the file changed while it was being added; add it again")]
    Changed,
    #[error("'{0}' has an extended header that gives its size; build the package again")]
    ExtendedSize(String),
    #[error("'{0}' cannot be a Repository value: it must be printable ASCII on one line")]
    BadValue(String),
}

/// Returns DESCRIPTION with `Repository: value`: replaces the lines of the last `Repository` field, which R reads, or
/// adds a line at the end of the record if there is no such field. All other bytes are unchanged, including line ends.
pub fn description(raw: &[u8], value: &str) -> Result<Vec<u8>, RewriteError> {
    let is_printable = |b: u8| b == b' ' || b.is_ascii_graphic();
    if value.trim() != value || value.is_empty() || !value.bytes().all(is_printable) {
        return Err(RewriteError::BadValue(value.chars().take(80).collect()));
    }
    let record = dcf::description(raw).map_err(ArchiveError::Dcf)?;
    let (range, is_at_beginning) = match record.fields.iter().rev().find(|field| field.tag == b"Repository") {
        Some(field) => (field.start..field.end, false),
        // Without fields, the new one is appended at the end: later lines would become part of its value.
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
        // Keeps an empty line in the replaced field: fields after it do not replace those before it.
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

/// Fields that name another origin of a package than the repository: clients such as renv would restore it from there.
/// Other `Remote` fields only describe the sources.
pub(in crate::r) const ORIGIN_FIELDS: [&str; 2] = ["RemoteType", "RemoteRepos"];

/// Removes the fields of another origin.
fn remove_origin(mut raw: Vec<u8>) -> Result<Vec<u8>, RewriteError> {
    loop {
        let record = dcf::description(&raw).map_err(ArchiveError::Dcf)?;
        let is_origin = |tag: &[u8]| ORIGIN_FIELDS.iter().any(|name| name.as_bytes() == tag);
        let Some(field) = record.fields.iter().find(|field| is_origin(field.tag)) else { return Ok(raw) };
        let (_, rest) = dcf::split_line(&raw[field.end..]);
        let range = field.start..raw.len() - rest.len();
        raw.drain(range);
    }
}

/// The new contents, by path, of the files that name the repository. A signed package keeps its files.
pub(in crate::r) fn replacements(
    package_archive: &PackageArchive,
    repository: &str,
    package_rds: Option<&[u8]>,
) -> Result<Vec<(&'static str, Vec<u8>)>, RewriteError> {
    if package_archive.is_signed {
        return Ok(Vec::new());
    }
    let description = description(&remove_origin(package_archive.description_raw.clone())?, repository)?;
    let package_rds = package_rds.map(|bytes| (PACKAGE_RDS, bytes.to_vec()));
    Ok([("DESCRIPTION", description)].into_iter().chain(package_rds).collect())
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewriteOutput {
    /// DESCRIPTION in the new archive.
    pub description: Vec<u8>,
}

impl RewriteOutput {
    pub(in crate::r) fn new(
        package_archive: &PackageArchive,
        replacements: Vec<(&'static str, Vec<u8>)>,
    ) -> RewriteOutput {
        let description = replacements.into_iter().find(|(path, _)| *path == "DESCRIPTION");
        let description =
            description.map_or_else(|| package_archive.description_raw.clone(), |(_, bytes)| bytes);
        RewriteOutput { description }
    }
}

/// Copies an archive that [`super::archive::read`] accepted, as a gzip-compressed tar archive, with `Repository:
/// repository` in DESCRIPTION, updated checksums in `MD5` and `SHA256` and, for a binary package, `package_rds` as
/// `Meta/package.rds`. `source` must provide the same bytes again. Nothing is buffered: the new files are already known
/// when the lists of checksums are copied. The files of a signed package are copied unchanged. Equal arguments produce
/// equal bytes.
pub fn archive<W: Write>(
    source: impl Read,
    package_archive: &PackageArchive,
    repository: &str,
    package_rds: Option<&[u8]>,
    out: W,
    options: RewriteOptions,
) -> Result<(RewriteOutput, W), RewriteError> {
    let replacements = replacements(package_archive, repository, package_rds)?;
    let mut out = output(out, options);
    copy(source, package_archive, &replacements, &mut out, options.limits)?;
    let encoder = out.into_inner().map_err(|e| RewriteError::Write(e.into_error()))?;
    let file = encoder.finish().map_err(RewriteError::Write)?;
    let file = file.into_inner().map_err(|e| RewriteError::Write(e.into_error()))?;
    Ok((RewriteOutput::new(package_archive, replacements), file))
}

/// Returns the result of [`archive`] if it would have the same tar archive as the source, whose bytes can then be kept: of a
/// package that was already served with this value. `open` must provide the same bytes each time.
pub fn unchanged<R: Read>(
    open: impl Fn() -> io::Result<R>,
    package_archive: &PackageArchive,
    repository: &str,
    package_rds: Option<&[u8]>,
    limits: ArchiveLimits,
) -> Result<Option<RewriteOutput>, RewriteError> {
    let replacements = replacements(package_archive, repository, package_rds)?;
    let description = replacements.iter().find(|(path, _)| *path == "DESCRIPTION");
    if description.is_some_and(|(_, bytes)| *bytes != package_archive.description_raw) {
        return Ok(None);
    }
    let open = || open().map_err(ArchiveError::Io);
    let mut magic = Vec::new();
    open()?.take(2).read_to_end(&mut magic).map_err(ArchiveError::Io)?;
    if magic != [0x1f, 0x8b] {
        return Ok(None);
    }
    let mut copied = DigestWriter::default();
    copy(open()?, package_archive, &replacements, &mut copied, limits)?;
    let (mut decoder, mut source) = (archive::decoder(open()?, limits)?, sha2::Sha256::new());
    loop {
        match decoder.take(usize::MAX)? {
            [] => break,
            bytes => source.update(bytes),
        }
    }
    let is_same = copied.0.finalize() == source.finalize();
    Ok(is_same.then(|| RewriteOutput::new(package_archive, replacements)))
}

#[derive(Default)]
struct DigestWriter(sha2::Sha256);

impl Write for DigestWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes the tar archive of a copy.
fn copy(
    source: impl Read,
    package_archive: &PackageArchive,
    replacements: &[(&'static str, Vec<u8>)],
    out: &mut impl Write,
    limits: ArchiveLimits,
) -> Result<(), RewriteError> {
    let replaced: Vec<(&str, &[u8])> = replacements.iter().map(|(path, bytes)| (*path, &bytes[..])).collect();
    let mut members = Members::new(source, limits)?;
    let mut has_description = false;
    while let Some(mut member) = members.advance()? {
        let is_file = member.kind == MemberKind::File;
        let path = member.path()?;
        let inner_path = path
            .strip_prefix(package_archive.folder.as_str())
            .and_then(|path| path.strip_prefix('/'))
            .filter(|_| is_file);
        let list = ChecksumList::ALL.into_iter().find(|list| inner_path == Some(list.file_name()));
        let replacement = replaced.iter().find(|(path, _)| inner_path == Some(path));
        let is_description = inner_path == Some("DESCRIPTION");
        has_description |= is_description;
        match (replacement, list) {
            (Some((_, bytes)), _) => {
                if is_description {
                    if members.contents(&member, limits.description)? != package_archive.description_raw {
                        return Err(RewriteError::Changed);
                    }
                } else {
                    while members.chunk()?.is_some() {}
                }
                members.padding()?;
                replace(out, &mut member, bytes)?;
            }
            // An implausibly large list is copied unchanged.
            (None, Some(list)) if member.size <= limits.large_metadata() => {
                let contents = members.contents(&member, member.size)?;
                members.padding()?;
                replace(out, &mut member, &list.update(&contents, &replaced))?;
            }
            (None, _) => {
                write(out, &member.extensions)?;
                write(out, &member.header.0)?;
                while let Some(bytes) = members.chunk()? {
                    write(out, bytes)?;
                }
                write(out, &members.padding()?)?;
            }
        }
    }
    if !has_description {
        return Err(RewriteError::Changed);
    }
    write(out, &[0; 512])?;
    while let Some(bytes) = members.trailing_chunk()? {
        write(out, bytes)?;
    }
    Ok(())
}

type Output<W> = BufWriter<GzEncoder<BufWriter<W>>>;

fn output<W: Write>(out: W, options: RewriteOptions) -> Output<W> {
    let level = Compression::new(options.level.clamp(1, 9));
    let encoder = GzBuilder::new().mtime(0).write(BufWriter::with_capacity(options.buffer, out), level);
    BufWriter::with_capacity(options.buffer, encoder)
}

fn write(out: &mut impl Write, bytes: &[u8]) -> Result<(), RewriteError> {
    out.write_all(bytes).map_err(RewriteError::Write)
}

fn replace(out: &mut impl Write, member: &mut Member, text: &[u8]) -> Result<(), RewriteError> {
    if member.size != text.len() as u64 {
        if member.has_extended_size {
            return Err(RewriteError::ExtendedSize(String::from_utf8_lossy(&member.name).into_owned()));
        }
        member.header.set_size(text.len() as u64);
    }
    write(out, &member.extensions)?;
    write(out, &member.header.0)?;
    write(out, text)?;
    write(out, &[0; 512][..text.len().next_multiple_of(512) - text.len()])
}

/// The file that R reads instead of DESCRIPTION for an installed package.
pub(in crate::r) const PACKAGE_RDS: &str = "Meta/package.rds";

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
    fn fields_of_another_origin_are_removed() {
        for (raw, expected) in [
            ("A: 1\nRemoteType: git\nRemoteSha: 0a\n", "A: 1\nRemoteSha: 0a\n"),
            ("RemoteType: github\nA: 1\nRemoteRepos:\n  https://h\n", "A: 1\n"),
            ("A: 1\r\nRemoteType: git\r\nRemoteType: svn\r\nB: 2\r\n", "A: 1\r\nB: 2\r\n"),
            ("A: 1\nRemoteType: git", "A: 1\n"),
            ("A: 1\nRemoteTypes: git\n", "A: 1\nRemoteTypes: git\n"),
        ] {
            let out = remove_origin(raw.as_bytes().to_vec()).expect("good DCF");
            assert_eq!(String::from_utf8(out).expect("UTF-8"), expected);
        }
    }

    #[test]
    fn a_value_that_could_add_a_field_is_refused() {
        for bad in ["", " x", "a\nBuilt: R 4.2.2", "a\r", "é"] {
            assert!(matches!(description(b"A: 1\n", bad), Err(RewriteError::BadValue(_))), "{bad:?}");
        }
    }

    /// A binary package of R 4.6: its files, and their list of checksums.
    fn package_of_r46(is_signed: bool) -> Vec<u8> {
        use sha2::Digest;
        let description =
            "Package: pkga\nVersion: 1.0\nRemoteType: git\nBuilt: R 4.6.2; ; 2026-11-20; unix\n";
        let mut files = vec![("DESCRIPTION", description), ("NAMESPACE", ""), (PACKAGE_RDS, "old")];
        let line = |(path, text): &(&str, &str)| {
            format!("{} {} {path}\n", hex::encode(sha2::Sha256::digest(text)), text.len())
        };
        let list: String = files.iter().map(line).collect();
        files.push(("SHA256", &list));
        files.extend(is_signed.then_some(("SHA256.sig", "signature")));
        let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut tar = tar::Builder::new(gzip);
        for (path, text) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, format!("pkga/{path}"), text.as_bytes()).expect("a member");
        }
        tar.into_inner().expect("an archive").finish().expect("an archive")
    }

    fn rewritten_files(tar: &[u8]) -> Vec<(String, Vec<u8>)> {
        let options = RewriteOptions::default();
        let package = super::super::archive::read(tar, None, options.limits).expect("a package");
        let (_, out) = archive(tar, &package, "RSPM", Some(b"new rds"), Vec::new(), options).expect("a copy");
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&out[..]));
        let entries = archive.entries().expect("entries");
        let read = |entry: io::Result<tar::Entry<'_, _>>| {
            let mut entry = entry.expect("an entry");
            let path = entry.path().expect("a path").to_string_lossy().replacen("pkga/", "", 1);
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("the bytes");
            (path, bytes)
        };
        entries.map(read).collect()
    }

    #[test]
    fn checksums_of_r_4_6_are_those_of_the_rewritten_files() {
        use sha2::Digest;
        let files = rewritten_files(&package_of_r46(false));
        let file = |name: &str| &files.iter().find(|(path, _)| path == name).expect(name).1;
        assert!(file("DESCRIPTION").ends_with(b"Repository: RSPM\n") && file(PACKAGE_RDS) == b"new rds");
        let list = String::from_utf8(file("SHA256").clone()).expect("text");
        assert_eq!(list.lines().count(), 3);
        for line in list.lines() {
            let [digest, size, path] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            assert_eq!(digest, hex::encode(sha2::Sha256::digest(file(path))), "{path}");
            assert_eq!(size, file(path).len().to_string(), "{path}");
        }
    }

    #[test]
    fn the_files_of_a_signed_package_are_unchanged() {
        let tar = package_of_r46(true);
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&tar[..]));
        let original: Vec<Vec<u8>> = archive
            .entries()
            .expect("entries")
            .map(|entry| {
                let mut bytes = Vec::new();
                entry.expect("an entry").read_to_end(&mut bytes).expect("the bytes");
                bytes
            })
            .collect();
        let copy: Vec<Vec<u8>> = rewritten_files(&tar).into_iter().map(|(_, bytes)| bytes).collect();
        assert_eq!(copy, original);
    }

    #[test]
    fn a_copy_would_not_be_changed_again_in_any_compression_of_gzip() {
        let options = RewriteOptions::default();
        let is_unchanged = |tar: &[u8], repository: &str, package_rds: &[u8]| {
            let package = archive::read(tar, None, options.limits).expect("a package");
            let output = unchanged(|| Ok(tar), &package, repository, Some(package_rds), options.limits);
            output.expect("a package").is_some()
        };
        let original = package_of_r46(false);
        let package = archive::read(&original[..], None, options.limits).expect("a package");
        let (_, copy) = super::archive(&original[..], &package, "RSPM", Some(b"new"), Vec::new(), options)
            .expect("a copy");
        let inflated = {
            let mut inflated = Vec::new();
            flate2::read::GzDecoder::new(&copy[..]).read_to_end(&mut inflated).expect("gzip");
            inflated
        };
        let mut stored = GzEncoder::new(Vec::new(), Compression::none());
        stored.write_all(&inflated).expect("written");
        let stored = stored.finish().expect("written");
        for tar in [&copy, &stored] {
            assert!(is_unchanged(tar, "RSPM", b"new"));
            assert!(!is_unchanged(tar, "RSPM", b"other"));
            assert!(!is_unchanged(tar, "CRAN", b"new"));
        }
        assert!(!is_unchanged(&original, "RSPM", b"new"));
        assert!(is_unchanged(&package_of_r46(true), "RSPM", b"new"), "it is signed");
        let xz = {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
            encoder.write_all(&inflated).expect("written");
            encoder.finish().expect("written")
        };
        assert!(!is_unchanged(&xz, "RSPM", b"new"), "clients read gzip");
    }
}
