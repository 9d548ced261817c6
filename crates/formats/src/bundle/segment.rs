//! Reads and writes segments, which contain the records of a run or of a part of a run, one per line, and the
//! files with the READMEs of these records.

use std::io::{self, BufRead, Read};

use serde::{Deserialize, Serialize};

use super::head::CompressedFile;
use super::text::as_optional_text;
use super::{FormatError, Product, ProjectRecord, Record, layout, self_digest};
use base::model::digest::Sha256;

/// The zstd level. Half of the bytes of a record are digests, which do not compress, so level 12 would take four times
/// as long without a gain.
const COMPRESSION_LEVEL: i32 = 8;
/// Maximum unpacked size of a segment or a file of READMEs in bytes.
pub const MAX_UNPACKED_SIZE: u64 = 1 << 30;
/// Size of the buffer for unpacking in bytes.
const BUFFER_SIZE: usize = 64 << 10;

/// The first line of a segment.
#[derive(Serialize, Deserialize)]
struct Preamble {
    segment: u64,
    product: String,
    #[serde(default, with = "as_optional_text", skip_serializing_if = "Option::is_none")]
    prev: Option<Sha256>,
}

/// The last line of a file. It shows whether the file is complete, even if decompression does not fail.
#[derive(Serialize, Deserialize)]
struct Trailer {
    end: bool,
    records: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadmeText {
    /// The digest of the text.
    #[serde(with = "super::text::as_text")]
    pub sha256: Sha256,
    pub text: String,
}

/// A file of lines under construction.
#[derive(Debug)]
pub struct LinesWriter {
    text: Vec<u8>,
    records: u64,
}

impl LinesWriter {
    /// Begins a segment with its first line.
    pub fn segment(product: &Product, serial: u64, prev: Option<Sha256>) -> LinesWriter {
        let preamble = Preamble { segment: serial, product: product.to_string(), prev };
        let mut lines = LinesWriter { text: Vec::new(), records: 0 };
        lines.push(&preamble);
        lines.records = 0;
        lines
    }

    pub fn readmes() -> LinesWriter {
        LinesWriter { text: Vec::new(), records: 0 }
    }

    pub fn push<T: Serialize>(&mut self, value: &T) {
        serde_json::to_writer(&mut self.text, value)
            .expect("writing to a Vec succeeds, and keys of maps are strings");
        self.text.push(b'\n');
        self.records += 1;
    }

    pub fn record_count(&self) -> u64 {
        self.records
    }

    /// Returns the current unpacked size in bytes.
    pub fn size(&self) -> usize {
        self.text.len()
    }

    /// Returns the content of the file and its entry in a head. `folder` is relative to the head.
    pub fn pack(mut self, folder: &str, serial: u64) -> std::io::Result<(Vec<u8>, CompressedFile)> {
        let records = self.records;
        self.push(&Trailer { end: true, records });
        let bytes = zstd::bulk::compress(&self.text, COMPRESSION_LEVEL)?;
        let sha256 = self_digest::digest(&bytes);
        let path = layout::immutable_path(folder, serial, sha256, "ndjson.zst");
        let entry =
            CompressedFile { path, size: bytes.len() as u64, sha256, raw_size: self.text.len() as u64 };
        Ok((bytes, entry))
    }
}

/// Verifies a file against its entry in a head, and returns a reader of its lines. It unpacks while it is read, so that
/// the text is never in memory as a whole. Errors of the reader must be converted by [`format_error`].
pub fn unpack_reader<'a>(
    bytes: &'a [u8],
    entry: &CompressedFile,
) -> Result<impl BufRead + use<'a>, FormatError> {
    if bytes.len() as u64 != entry.size {
        return Err(FormatError::damaged(format!("it has {} bytes instead of {}", bytes.len(), entry.size)));
    }
    if self_digest::digest(bytes) != entry.sha256 {
        return Err(FormatError::damaged("it was changed: its sha256 is not the one in the head"));
    }
    if entry.raw_size > MAX_UNPACKED_SIZE {
        return Err(FormatError::damaged(format!(
            "its unpacked size of {} bytes is too large",
            entry.raw_size
        )));
    }
    let decoder = zstd::Decoder::with_buffer(bytes).map_err(format_error)?;
    Ok(io::BufReader::with_capacity(
        BUFFER_SIZE,
        ExactReader { inner: decoder, size: entry.raw_size, position: 0 },
    ))
}

/// A reader that fails unless the inner reader has exactly `size` bytes.
struct ExactReader<R> {
    inner: R,
    size: u64,
    position: u64,
}

impl<R: Read> Read for ExactReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.position += count as u64;
        let is_end = count == 0 && !buffer.is_empty();
        if self.position > self.size || (is_end && self.position < self.size) {
            let qualifier = if is_end { "" } else { "at least " };
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                FormatError::damaged(format!(
                    "it unpacks to {qualifier}{} bytes instead of {}",
                    self.position, self.size
                )),
            ));
        }
        Ok(count)
    }
}

/// Converts an error of the reader of [`unpack_reader`].
pub fn format_error(error: io::Error) -> FormatError {
    error
        .downcast::<FormatError>()
        .unwrap_or_else(|error| FormatError::damaged(format!("could not unpack it: {error}")))
}

/// Verifies a file against its entry in a head, and returns its whole unpacked content.
pub fn unpack(bytes: &[u8], entry: &CompressedFile) -> Result<Vec<u8>, FormatError> {
    let mut lines = unpack_reader(bytes, entry)?;
    let mut text = Vec::with_capacity(usize::try_from(entry.raw_size).unwrap_or_default());
    lines.read_to_end(&mut text).map_err(format_error)?;
    Ok(text)
}

/// Returns the records of a segment, in order.
pub fn records(text: impl BufRead, product: &Product, serial: u64) -> Result<Vec<Record>, FormatError> {
    let mut records = Vec::new();
    for_each_record(text, product, serial, |record| {
        records.push(record);
        Ok(())
    })?;
    Ok(records)
}

/// Passes the records of a segment to `take` one by one, because all together take several times the text's memory.
///
/// # Errors
/// As [`records`], and errors of `take`. Records before the error have been passed.
pub fn for_each_record(
    text: impl BufRead,
    product: &Product,
    serial: u64,
    take: impl FnMut(Record) -> Result<(), String>,
) -> Result<(), FormatError> {
    for_each_parsed(text, product, serial, Record::read, take)
}

/// As [`for_each_record`], for a product with projects.
pub fn for_each_project_record(
    text: impl BufRead,
    product: &Product,
    serial: u64,
    take: impl FnMut(ProjectRecord) -> Result<(), String>,
) -> Result<(), FormatError> {
    for_each_parsed(text, product, serial, ProjectRecord::read, take)
}

fn for_each_parsed<R>(
    text: impl BufRead,
    product: &Product,
    serial: u64,
    parse: impl Fn(&[u8]) -> serde_json::Result<R>,
    mut take: impl FnMut(R) -> Result<(), String>,
) -> Result<(), FormatError> {
    let mut number = 0;
    for_each_line(text, |line, is_end| {
        number += 1;
        let line_error = |e: String| FormatError::damaged(format!("line {number}: {e}"));
        if number == 1 {
            let preamble: Preamble = serde_json::from_slice(line).map_err(|e| {
                FormatError::damaged(format!("line 1 is not the first line of a segment: {e}"))
            })?;
            if preamble.product != product.to_string() || preamble.segment != serial {
                return Err(FormatError::damaged(format!(
                    "it is segment {} of {}",
                    preamble.segment, preamble.product
                )));
            }
            return Ok(());
        }
        if is_end {
            // The first and the last line are not records.
            return check_trailer(line, number - 2, number);
        }
        take(parse(line).map_err(|e| line_error(e.to_string()))?).map_err(line_error)
    })
}

/// Passes each line to `take`; the second argument is true for the last line, the trailer.
fn for_each_line(
    mut text: impl BufRead,
    mut take: impl FnMut(&[u8], bool) -> Result<(), FormatError>,
) -> Result<(), FormatError> {
    let mut line = Vec::new();
    let mut is_first = true;
    loop {
        line.clear();
        if text.read_until(b'\n', &mut line).map_err(format_error)? == 0 && !is_first {
            return Err(FormatError::damaged("it is truncated: its last line is missing"));
        }
        let is_end = line.starts_with(b"{\"end\"");
        take(&line, is_end)?;
        is_first = false;
        if is_end {
            // Reads the rest of the file to verify its size.
            return io::copy(&mut text, &mut io::sink()).map(drop).map_err(format_error);
        }
    }
}

fn check_trailer(line: &[u8], records: u64, number: u64) -> Result<(), FormatError> {
    let trailer: Trailer =
        serde_json::from_slice(line).map_err(|e| FormatError::damaged(format!("line {number}: {e}")))?;
    if trailer.end && trailer.records == records {
        return Ok(());
    }
    Err(FormatError::damaged(format!("it has {records} records instead of {}", trailer.records)))
}

/// Returns the READMEs of a file, each verified by its digest.
pub fn readmes(text: impl BufRead) -> Result<Vec<ReadmeText>, FormatError> {
    let mut readmes: Vec<ReadmeText> = Vec::new();
    for_each_readme(text, |readme| {
        readmes.push(readme);
        Ok(())
    })?;
    Ok(readmes)
}

/// Passes the READMEs of a file to `take` one by one, each verified by its digest.
///
/// # Errors
/// As [`records`], and errors of `take`. READMEs before the error have been passed.
pub fn for_each_readme(
    text: impl BufRead,
    mut take: impl FnMut(ReadmeText) -> Result<(), String>,
) -> Result<(), FormatError> {
    let mut number = 0;
    for_each_line(text, |line, is_end| {
        number += 1;
        let line_error = |e: String| FormatError::damaged(format!("line {number}: {e}"));
        if is_end {
            return check_trailer(line, number - 1, number);
        }
        let readme: ReadmeText = serde_json::from_slice(line).map_err(|e| line_error(e.to_string()))?;
        if self_digest::digest(readme.text.as_bytes()) != readme.sha256 {
            return Err(line_error("the text does not match its sha256".to_owned()));
        }
        take(readme).map_err(line_error)
    })
}

#[cfg(test)]
mod tests {
    use super::super::record::PackageEvent;
    use super::*;

    fn event() -> Record {
        let day = "2026-11-20".parse().expect("a day");
        Record::Archive(PackageEvent {
            folder: None,
            name: "a1".to_owned(),
            version: None,
            sha256: None,
            day,
        })
    }

    #[test]
    fn only_an_intact_segment_is_read_back() {
        let mut lines = LinesWriter::segment(&Product::Cran, 7, None);
        lines.push(&event());
        let (bytes, entry) = lines.pack("log", 7).expect("memory");
        let text = unpack(&bytes, &entry).expect("an intact file");
        assert_eq!(records(&text[..], &Product::Cran, 7), Ok(vec![event()]));
        assert!(records(&text[..], &Product::Cran, 8).is_err());
        let mut changed_bytes = bytes.clone();
        changed_bytes[bytes.len() / 2] ^= 4;
        assert!(unpack(&changed_bytes, &entry).expect_err("changed").to_string().contains("sha256"));
        assert!(unpack(&bytes[1..], &entry).expect_err("cut").to_string().contains("bytes instead of"));
        let entry_with_small_size = CompressedFile { raw_size: 5, ..entry };
        assert!(
            unpack(&bytes, &entry_with_small_size)
                .expect_err("longer")
                .to_string()
                .contains("bytes instead of 5")
        );
    }

    #[test]
    fn a_truncated_text_is_refused() {
        let mut lines = LinesWriter::segment(&Product::Cran, 7, None);
        lines.push(&event());
        let (bytes, entry) = lines.pack("log", 7).expect("memory");
        let text = unpack(&bytes, &entry).expect("an intact file");
        let line_ends: Vec<usize> =
            text.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(index, _)| index + 1).collect();
        for line_end in &line_ends[..line_ends.len() - 1] {
            assert!(
                records(&text[..*line_end], &Product::Cran, 7)
                    .expect_err("cut")
                    .to_string()
                    .contains("is truncated")
            );
        }
    }

    #[test]
    fn readmes_must_match_their_digests() {
        let readme = ReadmeText { sha256: self_digest::digest(b"# a1\n"), text: "# a1\n".to_owned() };
        let mut lines = LinesWriter::readmes();
        lines.push(&readme);
        let (bytes, entry) = lines.pack("doc", 7).expect("memory");
        assert_eq!(readmes(&unpack(&bytes, &entry).expect("an intact file")[..]), Ok(vec![readme.clone()]));
        let mut lines = LinesWriter::readmes();
        lines.push(&ReadmeText { text: "# b2\n".to_owned(), ..readme });
        let (bytes, entry) = lines.pack("doc", 7).expect("memory");
        assert!(readmes(&unpack(&bytes, &entry).expect("an intact file")[..]).is_err());
    }
}
