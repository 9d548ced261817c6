//! Writes items in format version 2, XDR, without compact forms of vectors. R 2.3 and later can read it.

use super::item::{Data, Item};
use std::borrow::Cow;
use std::io::{self, Write};

// The word before an item: its type, plus 0x100 if it has a class and 0x200 if it has attributes.
pub(super) const TEXT: u32 = 16;
pub(super) const LOGICAL: u32 = 10;
pub(super) const INTEGER: u32 = 13;
pub(super) const REAL: u32 = 14;
pub(super) const LIST: u32 = 19;
pub(super) const HAS_CLASS: u32 = 0x100;
pub(super) const HAS_ATTRIBUTES: u32 = 0x200;
const SYMBOL: u32 = 1;
const PAIR: u32 = 2;
const COMPLEX: u32 = 15;
const RAW: u32 = 24;
const PAIR_WITH_TAG: u32 = 0x402;
const NULL: u32 = 0xfe;
const REFERENCE: u32 = 0xff;
pub(super) const STRING: u32 = 9;
pub(super) const ASCII: u32 = 0x4_0000;
pub(super) const UTF8: u32 = 0x8000;
/// The string `NA`, a missing value. The header of any other string has the same length.
pub(super) const NA_STRING: [u8; 8] = [0, 0, 0, STRING as u8, 0xff, 0xff, 0xff, 0xff];

/// The version of R that the header names as the writer: 4.5.0. It must never change, because it affects every ETag.
const WRITER: u32 = 0x0004_0500;
/// The oldest version of R that can read format version 2: 2.3.0.
const OLDEST_READER: u32 = 0x0002_0300;
const PIECE_SIZE: usize = 64 << 10;

/// Converts bytes to a valid R string. A NUL ends the string, because R rejects a whole file with a NUL. Bytes that are
/// not UTF-8 are decoded as Latin-1 (Windows-1252).
pub(super) fn r_string(value: &[u8]) -> Cow<'_, [u8]> {
    let value = memchr::memchr(0, value).map_or(value, |end| &value[..end]);
    if value.is_ascii() || std::str::from_utf8(value).is_ok() {
        return Cow::Borrowed(value);
    }
    let (text, _) = encoding_rs::WINDOWS_1252.decode_without_bom_handling(value);
    Cow::Owned(text.into_owned().into_bytes())
}

/// Writes a stream to `out`, in pieces of about 64 KiB.
pub(super) struct Writer<W: Write> {
    out: W,
    buffer: Vec<u8>,
    /// The symbols written so far; a repeated symbol is written as a reference to its index.
    symbols: Vec<Box<str>>,
}

impl Writer<Vec<u8>> {
    /// Takes the bytes written since the last call.
    pub(super) fn take_bytes(&mut self) -> Vec<u8> {
        self.out.append(&mut self.buffer);
        std::mem::take(&mut self.out)
    }
}

impl<W: Write> Writer<W> {
    /// Begins a stream, and writes its header.
    pub(super) fn new(out: W) -> Writer<W> {
        let mut buffer = Vec::with_capacity(PIECE_SIZE + 1024);
        buffer.extend_from_slice(b"X\n");
        for word in [2, WRITER, OLDEST_READER] {
            buffer.extend_from_slice(&word.to_be_bytes());
        }
        Writer { out, buffer, symbols: Vec::new() }
    }

    fn write_full_pieces(&mut self) -> io::Result<()> {
        if self.buffer.len() >= PIECE_SIZE {
            self.out.write_all(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Writes the remaining bytes of the buffer.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.out.write_all(&self.buffer)
    }

    pub(super) fn word(&mut self, word: u32) -> io::Result<()> {
        self.buffer.extend_from_slice(&word.to_be_bytes());
        self.write_full_pieces()
    }

    pub(super) fn length(&mut self, length: usize) -> io::Result<()> {
        let length = i32::try_from(length)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "more than 2^31-1 elements in RDS"))?;
        self.word(length.cast_unsigned())
    }

    /// Begins a vector of `length` elements.
    pub(super) fn vector(&mut self, flags: u32, length: usize) -> io::Result<()> {
        self.word(flags)?;
        self.length(length)
    }

    pub(super) fn real(&mut self, value: f64) -> io::Result<()> {
        self.buffer.extend_from_slice(&value.to_be_bytes());
        self.write_full_pieces()
    }

    pub(super) fn na_string(&mut self) -> io::Result<()> {
        self.buffer.extend_from_slice(&NA_STRING);
        self.write_full_pieces()
    }

    /// Writes a string, converted by [`r_string`].
    pub(super) fn string(&mut self, value: &[u8]) -> io::Result<()> {
        let value = r_string(value);
        self.word(STRING | if value.is_ascii() { ASCII } else { UTF8 })?;
        self.length(value.len())?;
        self.buffer.extend_from_slice(&value);
        self.write_full_pieces()
    }

    pub(super) fn strings<'s>(&mut self, values: impl ExactSizeIterator<Item = &'s str>) -> io::Result<()> {
        self.vector(TEXT, values.len())?;
        values.into_iter().try_for_each(|value| self.string(value.as_bytes()))
    }

    /// Begins the next attribute of the last item. The caller must then write its value.
    pub(super) fn attribute(&mut self, name: &str) -> io::Result<()> {
        self.word(PAIR_WITH_TAG)?;
        self.symbol(name)
    }

    fn symbol(&mut self, name: &str) -> io::Result<()> {
        if let Some(index) = self.symbols.iter().position(|s| **s == *name) {
            let index = u32::try_from(index + 1).expect("the number of symbols fits u32");
            return self.word(index << 8 | REFERENCE);
        }
        self.symbols.push(name.into());
        self.word(SYMBOL)?;
        self.string(name.as_bytes())
    }

    /// Writes R's `NULL`, which also ends the attributes of an item.
    pub(super) fn null(&mut self) -> io::Result<()> {
        self.word(NULL)
    }

    pub(super) fn item(&mut self, item: &Item) -> io::Result<()> {
        let class = if item.attribute("class").is_some() { HAS_CLASS } else { 0 };
        let flags = if item.attributes.is_empty() { 0 } else { HAS_ATTRIBUTES | class };
        match &item.data {
            // Neither `NULL` nor a symbol has attributes.
            Data::Null => return self.null(),
            Data::Symbol(name) => return self.symbol(name),
            Data::Pairs(pairs) => {
                for pair in pairs {
                    match &pair.tag {
                        Some(tag) => self.attribute(tag)?,
                        None => self.word(PAIR)?,
                    }
                    self.item(&pair.value)?;
                }
                return self.null();
            }
            Data::Logical(values) => self.integers(LOGICAL | flags, values)?,
            Data::Integer(values) => self.integers(INTEGER | flags, values)?,
            Data::Real(values) => {
                self.vector(REAL | flags, values.len())?;
                values.iter().try_for_each(|value| self.real(*value))?;
            }
            Data::Complex(values) => {
                self.vector(COMPLEX | flags, values.len())?;
                values.iter().flatten().try_for_each(|value| self.real(*value))?;
            }
            Data::Text(values) => {
                self.vector(TEXT | flags, values.len())?;
                for value in values.iter() {
                    match value {
                        Some(text) => self.string(text.as_bytes())?,
                        None => self.na_string()?,
                    }
                }
            }
            Data::List(elements) => {
                self.vector(LIST | flags, elements.len())?;
                elements.iter().try_for_each(|element| self.item(element))?;
            }
            Data::Raw(bytes) => {
                self.vector(RAW | flags, bytes.len())?;
                for piece in bytes.chunks(PIECE_SIZE) {
                    self.buffer.extend_from_slice(piece);
                    self.write_full_pieces()?;
                }
            }
        }
        if item.attributes.is_empty() {
            return Ok(());
        }
        for (name, value) in &item.attributes {
            self.attribute(name)?;
            self.item(value)?;
        }
        self.null()
    }

    fn integers(&mut self, flags: u32, values: &[i32]) -> io::Result<()> {
        self.vector(flags, values.len())?;
        values.iter().try_for_each(|value| self.word(value.cast_unsigned()))
    }
}
