//! A segment: what one run, or a part of it, learnt, one record on a line; and the READMEs beside it.

use std::io::{self, BufRead, Read};

use serde::{Deserialize, Serialize};

use super::head::Packed;
use super::text::maybe;
use super::{Broken, Product, Record, layout, seal};
use crate::model::digest::Sha256;

/// How hard zstd tries: records are half digests, which nothing makes shorter, and 12 takes four times as long for nothing.
const LEVEL: i32 = 8;
/// Bytes of a segment, or a file of READMEs, when it is unpacked.
pub const LARGEST: u64 = 1 << 30;
/// Bytes that are unpacked at once.
const BUFFER: usize = 64 << 10;

#[derive(Serialize, Deserialize)]
struct Opening {
    segment: u64,
    product: String,
    #[serde(default, with = "maybe", skip_serializing_if = "Option::is_none")]
    prev: Option<Sha256>,
}

/// The last line: what was cut off is missed even where the compression does not tell.
#[derive(Serialize, Deserialize)]
struct Ending {
    end: bool,
    records: u64,
}

/// A README.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadmeText {
    /// Of the text.
    #[serde(with = "super::text::shown")]
    pub sha256: Sha256,
    /// UTF-8.
    pub text: String,
}

/// Lines being put together to a file.
#[derive(Debug)]
pub struct Lines {
    text: Vec<u8>,
    records: u64,
}

impl Lines {
    /// A segment with its first line.
    #[must_use]
    pub fn segment(product: &Product, serial: u64, prev: Option<Sha256>) -> Lines {
        let opening = Opening { segment: serial, product: product.to_string(), prev };
        let mut lines = Lines { text: Vec::new(), records: 0 };
        lines.push(&opening);
        lines.records = 0;
        lines
    }

    /// A file of READMEs.
    #[must_use]
    pub fn readmes() -> Lines {
        Lines { text: Vec::new(), records: 0 }
    }

    /// Appends a line.
    pub fn push<T: Serialize>(&mut self, value: &T) {
        serde_json::to_writer(&mut self.text, value).expect("a Vec takes it, and maps have texts for keys");
        self.text.push(b'\n');
        self.records += 1;
    }

    /// How many records it has.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Bytes so far.
    #[must_use]
    pub fn size(&self) -> usize {
        self.text.len()
    }

    /// The bytes of the file, and what a head says of it. `folder` is relative to the head.
    ///
    /// # Errors
    /// Out of memory.
    pub fn pack(mut self, folder: &str, serial: u64) -> std::io::Result<(Vec<u8>, Packed)> {
        let records = self.records;
        self.push(&Ending { end: true, records });
        let bytes = zstd::bulk::compress(&self.text, LEVEL)?;
        let sha256 = seal::digest(&bytes);
        let path = layout::immutable(folder, serial, sha256, "ndjson.zst");
        let packed = Packed { path, size: bytes.len() as u64, sha256, raw_size: self.text.len() as u64 };
        Ok((bytes, packed))
    }
}

/// The lines of a file that a head names, when it is the file that it names; unpacked as they are read, so that its text is
/// never in memory as a whole. What reads them tells why they end early by [`broken`].
///
/// # Errors
/// Another size, another digest.
pub fn unpacking<'a>(bytes: &'a [u8], packed: &Packed) -> Result<impl BufRead + use<'a>, Broken> {
    if bytes.len() as u64 != packed.size {
        return Err(Broken::damaged(format!("it has {} bytes instead of {}", bytes.len(), packed.size)));
    }
    if seal::digest(bytes) != packed.sha256 {
        return Err(Broken::damaged("it was changed: its sha256 is not the one the head names"));
    }
    if packed.raw_size > LARGEST {
        return Err(Broken::damaged(format!("it is said to unpack to {} bytes", packed.raw_size)));
    }
    let decoder = zstd::Decoder::with_buffer(bytes).map_err(broken)?;
    Ok(io::BufReader::with_capacity(BUFFER, Measured { inner: decoder, size: packed.raw_size, read: 0 }))
}

/// Ends with an error unless it has so many bytes.
struct Measured<R> {
    inner: R,
    size: u64,
    read: u64,
}

impl<R: Read> Read for Measured<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.read += read as u64;
        let is_end = read == 0 && !buffer.is_empty();
        if self.read > self.size || (is_end && self.read < self.size) {
            let what = if is_end { "" } else { "at least " };
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                Broken::damaged(format!("it unpacks to {what}{} bytes instead of {}", self.read, self.size)),
            ));
        }
        Ok(read)
    }
}

/// Why the lines of a file could not be read.
#[must_use]
pub fn broken(error: io::Error) -> Broken {
    error.downcast::<Broken>().unwrap_or_else(|error| Broken::damaged(format!("it does not unpack: {error}")))
}

/// What is in a file that a head names, as a whole.
///
/// # Errors
/// As [`unpacking`], and when it does not unpack.
pub fn unpack(bytes: &[u8], packed: &Packed) -> Result<Vec<u8>, Broken> {
    let mut lines = unpacking(bytes, packed)?;
    let mut text = Vec::with_capacity(usize::try_from(packed.raw_size).unwrap_or_default());
    lines.read_to_end(&mut text).map_err(broken)?;
    Ok(text)
}

/// The records of a segment, in order.
///
/// # Errors
/// A line that is none, another segment's text, one without its end.
pub fn records(text: impl BufRead, product: &Product, serial: u64) -> Result<Vec<Record>, Broken> {
    let mut records = Vec::new();
    each(text, product, serial, |record| {
        records.push(record);
        Ok(())
    })?;
    Ok(records)
}

/// Hands on the records of a segment, one after the other: all of them at once take some times its text in memory.
///
/// # Errors
/// As [`records`], or what `take` says of one; those before it were handed on.
pub fn each(
    text: impl BufRead,
    product: &Product,
    serial: u64,
    mut take: impl FnMut(Record) -> Result<(), String>,
) -> Result<(), Broken> {
    let mut number = 0;
    each_line(text, |line, is_end| {
        number += 1;
        let bad = |e: String| Broken::damaged(format!("line {number}: {e}"));
        if number == 1 {
            let opening: Opening = serde_json::from_slice(line)
                .map_err(|e| Broken::damaged(format!("line 1 does not open a segment: {e}")))?;
            if opening.product != product.to_string() || opening.segment != serial {
                return Err(Broken::damaged(format!(
                    "it is segment {} of {}",
                    opening.segment, opening.product
                )));
            }
            return Ok(());
        }
        if is_end {
            // The first line is no record, nor is this one.
            return ended(line, number - 2, number);
        }
        take(Record::read(line).map_err(|e| bad(e.to_string()))?).map_err(bad)
    })
}

/// Hands on lines up to the last one, which says that it is that.
fn each_line(
    mut text: impl BufRead,
    mut take: impl FnMut(&[u8], bool) -> Result<(), Broken>,
) -> Result<(), Broken> {
    let mut line = Vec::new();
    let mut is_first = true;
    loop {
        line.clear();
        if text.read_until(b'\n', &mut line).map_err(broken)? == 0 && !is_first {
            return Err(Broken::damaged("it has no end"));
        }
        let is_end = line.starts_with(b"{\"end\"");
        take(&line, is_end)?;
        is_first = false;
        if is_end {
            // What follows belongs to its size.
            return io::copy(&mut text, &mut io::sink()).map(drop).map_err(broken);
        }
    }
}

fn ended(line: &[u8], records: u64, at: u64) -> Result<(), Broken> {
    let ending: Ending =
        serde_json::from_slice(line).map_err(|e| Broken::damaged(format!("line {at}: {e}")))?;
    if ending.end && ending.records == records {
        return Ok(());
    }
    Err(Broken::damaged(format!("it has {records} records instead of {}", ending.records)))
}

/// The READMEs of a file; each is what its digest says.
///
/// # Errors
/// As [`records`].
pub fn readmes(text: impl BufRead) -> Result<Vec<ReadmeText>, Broken> {
    let mut found: Vec<ReadmeText> = Vec::new();
    each_readme(text, |readme| {
        found.push(readme);
        Ok(())
    })?;
    Ok(found)
}

/// Hands on the READMEs of a file, one after the other; each is what its digest says.
///
/// # Errors
/// As [`records`], or what `take` says of one; those before it were handed on.
pub fn each_readme(
    text: impl BufRead,
    mut take: impl FnMut(ReadmeText) -> Result<(), String>,
) -> Result<(), Broken> {
    let mut number = 0;
    each_line(text, |line, is_end| {
        number += 1;
        let bad = |e: String| Broken::damaged(format!("line {number}: {e}"));
        if is_end {
            return ended(line, number - 1, number);
        }
        let readme: ReadmeText = serde_json::from_slice(line).map_err(|e| bad(e.to_string()))?;
        if seal::digest(readme.text.as_bytes()) != readme.sha256 {
            return Err(bad("the text is not what its sha256 says".to_owned()));
        }
        take(readme).map_err(bad)
    })
}

#[cfg(test)]
mod tests {
    use super::super::record::Event;
    use super::*;

    fn event() -> Record {
        let day = "2026-11-20".parse().expect("a day");
        Record::Archive(Event { folder: None, name: "a1".to_owned(), version: None, sha256: None, day })
    }

    #[test]
    fn a_segment_is_read_back_and_no_other() {
        let mut lines = Lines::segment(&Product::Cran, 7, None);
        lines.push(&event());
        let (bytes, packed) = lines.pack("log", 7).expect("memory");
        let text = unpack(&bytes, &packed).expect("whole");
        assert_eq!(records(&text[..], &Product::Cran, 7), Ok(vec![event()]));
        assert!(records(&text[..], &Product::Cran, 8).is_err());
        let mut changed = bytes.clone();
        changed[bytes.len() / 2] ^= 4;
        assert!(unpack(&changed, &packed).expect_err("changed").to_string().contains("sha256"));
        assert!(unpack(&bytes[1..], &packed).expect_err("cut").to_string().contains("bytes instead of"));
        let bomb = Packed { raw_size: 5, ..packed };
        assert!(unpack(&bytes, &bomb).expect_err("longer").to_string().contains("bytes instead of 5"));
    }

    #[test]
    fn a_text_without_its_end_is_not_taken() {
        let mut lines = Lines::segment(&Product::Cran, 7, None);
        lines.push(&event());
        let (bytes, packed) = lines.pack("log", 7).expect("memory");
        let text = unpack(&bytes, &packed).expect("whole");
        let cut: Vec<usize> =
            text.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at + 1).collect();
        for at in &cut[..cut.len() - 1] {
            assert!(
                records(&text[..*at], &Product::Cran, 7).expect_err("cut").to_string().contains("no end")
            );
        }
    }

    #[test]
    fn readmes_are_what_their_digests_say() {
        let readme = ReadmeText { sha256: seal::digest(b"# a1\n"), text: "# a1\n".to_owned() };
        let mut lines = Lines::readmes();
        lines.push(&readme);
        let (bytes, packed) = lines.pack("doc", 7).expect("memory");
        assert_eq!(readmes(&unpack(&bytes, &packed).expect("whole")[..]), Ok(vec![readme.clone()]));
        let mut lines = Lines::readmes();
        lines.push(&ReadmeText { text: "# b2\n".to_owned(), ..readme });
        let (bytes, packed) = lines.pack("doc", 7).expect("memory");
        assert!(readmes(&unpack(&bytes, &packed).expect("whole")[..]).is_err());
    }
}
