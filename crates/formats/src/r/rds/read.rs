//! Reads the items of a stream in versions 2 and 3 of the XDR format. Only data is accepted.

use super::item::{Data, Item, Pair, Strings};
use super::{RdsError, RdsLimits, altrep, container, input::Input};
use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};
use std::borrow::Cow;
use std::io::Read;
use std::sync::Arc;

/// Maximum nesting depth of lists; R's own tables need four.
const MAX_DEPTH: u32 = 64;
/// Maximum number of elements of all expanded compact forms of a file, whose size does not limit them.
const MAX_EXPANDED_LEN: usize = 1 << 20;

/// Counted size of an element of a list or pairlist in bytes. It is a multiple of its memory, most of which the four bytes of
/// an empty one in the stream do not back: a hundred thousand elements are far more than a table has.
const NODE_COST: usize = 8 * size_of::<Pair>();

/// Maximum number of symbols in a file; R's tables have fewer than ten.
const MAX_SYMBOLS: usize = 1 << 10;

pub(super) struct RdsDecoder<'a> {
    pub(super) input: Input<'a>,
    /// The reference table. It contains only symbols, because the other types that R enters into it are refused.
    symbols: Vec<Arc<str>>,
    /// The encoding of strings without an encoding flag, if the file declares one (version 3) other than ASCII.
    default_encoding: Option<&'static Encoding>,
    /// Number of elements that compact forms have expanded to so far.
    expanded_len: usize,
}

/// The word before each item: its type and flags.
#[derive(Clone, Copy)]
pub(super) struct Flags(u32);

impl Flags {
    pub(super) fn code(self) -> u8 {
        self.0.to_le_bytes()[0]
    }
    pub(super) fn has_attributes(self) -> bool {
        self.0 & 0x200 != 0
    }
    fn has_tag(self) -> bool {
        self.0 & 0x400 != 0
    }
}

const SYMBOL: u8 = 1;
const PAIRLIST: u8 = 2;
const STRING: u8 = 9;
pub(super) const LIST: u8 = 19;
pub(super) const ALTREP: u8 = 238;
const NULL: u8 = 254;
const REFERENCE: u8 = 255;

/// Reads a whole file with exactly one object.
pub fn read(file: impl Read, limits: RdsLimits) -> Result<Item, RdsError> {
    let mut decoder = RdsDecoder::open(file, limits)?;
    let item = decoder.item(0)?;
    decoder.finish()?;
    Ok(item)
}

impl<'a> RdsDecoder<'a> {
    pub(super) fn open(file: impl Read + 'a, limits: RdsLimits) -> Result<RdsDecoder<'a>, RdsError> {
        let mut input = Input::new(container::open(file)?, limits);
        match input.take(2)? {
            b"X\n" => {}
            b"A\n" => return Err(RdsError::Form("ASCII")),
            b"B\n" => return Err(RdsError::Form("native binary")),
            other => return Err(RdsError::NotRds(other.to_vec())),
        }
        let version = input.int()?;
        input.take(8)?;
        let default_encoding = match version {
            2 => None,
            3 => {
                let length = input.int()?;
                let length = usize::try_from(length).ok().filter(|n| *n <= 64);
                let length = length.ok_or_else(|| input.format_error("the name of the native encoding"))?;
                native_encoding(input.take(length)?)
            }
            other => return Err(RdsError::Version(other)),
        };
        Ok(RdsDecoder { input, symbols: Vec::new(), default_encoding, expanded_len: 0 })
    }

    /// Checks that the stream has ended. At its end, the decompressor verifies the checksums.
    pub(super) fn finish(mut self) -> Result<(), RdsError> {
        if self.input.is_at_end()? { Ok(()) } else { Err(self.input.format_error("bytes after the object")) }
    }

    pub(super) fn flags(&mut self) -> Result<Flags, RdsError> {
        #[allow(clippy::cast_sign_loss, reason = "the bits are flags")]
        self.input.int().map(|word| Flags(word as u32))
    }

    pub(super) fn item(&mut self, depth: u32) -> Result<Item, RdsError> {
        let flags = self.flags()?;
        self.item_with_flags(flags, depth)
    }

    /// Reads an item whose flags have already been read.
    pub(super) fn item_with_flags(&mut self, flags: Flags, depth: u32) -> Result<Item, RdsError> {
        if depth > MAX_DEPTH {
            return Err(self.input.format_error("lists nested too deep"));
        }
        let data = match flags.code() {
            NULL => return Ok(Item::default()),
            SYMBOL | REFERENCE => return Ok(Item::new(Data::Symbol(self.symbol(flags)?))),
            PAIRLIST => return Ok(Item::new(Data::Pairs(self.pairs(flags, depth)?))),
            ALTREP => return self.altrep(depth),
            STRING => return Err(self.input.format_error("a string outside a character vector")),
            10 => Data::Logical(self.ints()?),
            13 => Data::Integer(self.ints()?),
            14 => Data::Real(self.reals(1)?),
            15 => Data::Complex(self.reals(2)?.chunks_exact(2).map(|c| [c[0], c[1]]).collect()),
            16 => Data::Text(self.strings()?),
            LIST | 20 => Data::List(self.list(depth)?),
            24 => Data::Raw(self.bytes()?),
            code => return Err(refused_type(code, self.input.offset())),
        };
        let attributes = if flags.has_attributes() { self.attributes(depth)? } else { Vec::new() };
        Ok(Item { data, attributes })
    }

    /// Reads the length of a vector whose elements have at least `min_size` bytes.
    pub(super) fn length(&mut self, min_size: u64) -> Result<usize, RdsError> {
        let length = self.input.int()?;
        let length = usize::try_from(length)
            .map_err(|_| self.input.format_error("a negative length, or more than 2^31-1 elements"))?;
        self.input.check_len(length, min_size)?;
        Ok(length)
    }

    fn ints(&mut self) -> Result<Vec<i32>, RdsError> {
        let n = self.length(4)?;
        self.input.reserve(n.saturating_mul(4))?;
        let mut values = Vec::new();
        self.input.for_each_piece(n.saturating_mul(4), 4, |piece| {
            let numbers = piece.chunks_exact(4);
            values.extend(numbers.map(|b| i32::from_be_bytes(b.try_into().expect("four bytes"))));
        })?;
        Ok(values)
    }

    /// Reads a vector whose elements have `count` numbers each.
    fn reals(&mut self, count: usize) -> Result<Vec<f64>, RdsError> {
        let n = self.length(8 * count as u64)?.saturating_mul(8 * count);
        self.input.reserve(n)?;
        let mut values = Vec::new();
        self.input.for_each_piece(n, 8, |piece| {
            let numbers = piece.chunks_exact(8);
            values.extend(numbers.map(|b| f64::from_be_bytes(b.try_into().expect("eight bytes"))));
        })?;
        Ok(values)
    }

    fn bytes(&mut self) -> Result<Vec<u8>, RdsError> {
        let n = self.length(1)?;
        self.input.reserve(n)?;
        let mut values = Vec::new();
        self.input.for_each_piece(n, 1, |piece| values.extend_from_slice(piece))?;
        Ok(values)
    }

    fn strings(&mut self) -> Result<Strings, RdsError> {
        let n = self.length(8)?;
        let mut values = Strings::default();
        for _ in 0..n {
            let flags = self.flags()?;
            if flags.code() != STRING {
                return Err(self
                    .input
                    .format_error("a character vector with an element that is not a string"));
            }
            self.string(flags, &mut values)?;
        }
        Ok(values)
    }

    fn string(&mut self, flags: Flags, strings: &mut Strings) -> Result<(), RdsError> {
        if flags.has_attributes() {
            return Err(self.input.format_error("a string with attributes"));
        }
        let too_long = |_| RdsError::TooLarge(u64::from(u32::MAX / 2));
        let length = self.input.int()?;
        if length == -1 {
            self.input.reserve(4)?;
            return strings.push(None).map_err(too_long);
        }
        let n =
            usize::try_from(length).map_err(|_| self.input.format_error("a string of negative length"))?;
        self.input.check_len(n, 1)?;
        let long_string;
        let default_encoding = self.default_encoding;
        let bytes = if n <= 32 << 10 {
            self.input.reserve(n + 4)?;
            self.input.take(n)?
        } else {
            // Counted twice, because the bytes and their decoded form are in memory at the same time.
            self.input.reserve(n.saturating_mul(2))?;
            let mut buffer = Vec::new();
            self.input.for_each_piece(n, 1, |piece| buffer.extend_from_slice(piece))?;
            if !buffer.is_ascii() {
                // In UTF-8, each byte may become three, in the decoded form and in its copy.
                self.input.reserve(n.saturating_mul(4))?;
            }
            long_string = buffer;
            &long_string[..]
        };
        if bytes.contains(&0) {
            return Err(self.input.format_error("a string with a NUL character"));
        }
        let text = decode(bytes, flags, default_encoding);
        let growth = text.len().saturating_sub(n);
        strings.push(Some(&text)).map_err(too_long)?;
        self.input.reserve(growth)
    }

    fn list(&mut self, depth: u32) -> Result<Vec<Item>, RdsError> {
        let n = self.length(4)?;
        let mut items = Vec::new();
        for _ in 0..n {
            self.input.reserve(NODE_COST)?;
            items.push(self.item(depth + 1)?);
        }
        Ok(items)
    }

    /// Reads a symbol, or resolves a reference to one.
    fn symbol(&mut self, flags: Flags) -> Result<Arc<str>, RdsError> {
        match flags.code() {
            SYMBOL => {
                let string_flags = self.flags()?;
                let mut name = Strings::default();
                if string_flags.code() == STRING {
                    self.string(string_flags, &mut name)?;
                }
                let name = name.get(0).ok_or_else(|| self.input.format_error("a symbol without a name"))?;
                let symbol: Arc<str> = Arc::from(name);
                if self.symbols.len() >= MAX_SYMBOLS {
                    return Err(self.input.format_error("too many symbols"));
                }
                self.input.reserve(64)?;
                self.symbols.push(Arc::clone(&symbol));
                Ok(symbol)
            }
            REFERENCE => {
                let packed_index = flags.0 >> 8;
                let index =
                    if packed_index == 0 { i64::from(self.input.int()?) } else { i64::from(packed_index) };
                let symbol = usize::try_from(index - 1).ok().and_then(|i| self.symbols.get(i)).cloned();
                symbol.ok_or_else(|| self.input.format_error("an invalid reference"))
            }
            _ => Err(self.input.format_error("a tag that is not a symbol")),
        }
    }

    /// Reads a pairlist in a loop, because recursion on a long one would overflow the stack.
    fn pairs(&mut self, first: Flags, depth: u32) -> Result<Vec<Pair>, RdsError> {
        let mut nodes = Vec::new();
        let mut flags = first;
        loop {
            self.input.reserve(NODE_COST)?;
            if flags.code() != PAIRLIST {
                nodes.push(Pair { tag: None, value: self.item_with_flags(flags, depth + 1)? });
                return Ok(nodes);
            }
            if flags.has_attributes() {
                self.item(depth + 1)?;
            }
            let tag = if flags.has_tag() {
                let tag_flags = self.flags()?;
                Some(self.symbol(tag_flags)?)
            } else {
                None
            };
            nodes.push(Pair { tag, value: self.item(depth + 1)? });
            flags = self.flags()?;
            if flags.code() == NULL {
                return Ok(nodes);
            }
        }
    }

    /// Reads the attributes that follow an item.
    pub(super) fn attributes(&mut self, depth: u32) -> Result<Vec<(Arc<str>, Item)>, RdsError> {
        let item = self.item(depth + 1)?;
        self.tagged_items(item)
    }

    fn tagged_items(&self, item: Item) -> Result<Vec<(Arc<str>, Item)>, RdsError> {
        let error = || self.input.format_error("attributes that are not a tagged list");
        match item.data {
            Data::Null => Ok(Vec::new()),
            Data::Pairs(nodes) => nodes
                .into_iter()
                .map(|node| node.tag.map(|tag| (tag, node.value)).ok_or_else(error))
                .collect(),
            _ => Err(error()),
        }
    }

    /// Reads a wrapped vector, whose flags have been read, with `read_vector`, which gets those of the vector.
    pub(super) fn wrapper(
        &mut self,
        read_vector: impl FnOnce(&mut Self, Flags) -> Result<(), RdsError>,
    ) -> Result<(), RdsError> {
        let info = self.item(1)?;
        let state = self.flags()?;
        let is_pair = match state.code() {
            PAIRLIST => !state.has_tag(),
            LIST => self.length(4)? == 2,
            _ => false,
        };
        let is_wrapper = altrep::CompactForm::parse(&info) == Some(altrep::CompactForm::Wrapper);
        if !is_wrapper || !is_pair || state.has_attributes() {
            return Err(self.input.format_error("an unknown compact form"));
        }
        let vector = self.flags()?;
        read_vector(self, vector)?;
        // The metadata, and attributes.
        self.item(1)?;
        self.attributes(1)?;
        Ok(())
    }

    fn altrep(&mut self, depth: u32) -> Result<Item, RdsError> {
        let info = self.item(depth + 1)?;
        let state = self.item(depth + 1)?;
        let attributes = self.attributes(depth)?;
        let form = altrep::CompactForm::parse(&info)
            .ok_or_else(|| self.input.format_error("an unknown compact form"))?;
        let expanded_len = form.expanded_len(&state);
        self.expanded_len = self.expanded_len.saturating_add(expanded_len);
        if self.expanded_len > MAX_EXPANDED_LEN {
            return Err(RdsError::TooLarge(MAX_EXPANDED_LEN as u64));
        }
        self.input.reserve(expanded_len.saturating_mul(16))?;
        let value =
            form.expand(state).ok_or_else(|| self.input.format_error("the state of a compact form"))?;
        let attributes_of_value = if attributes.is_empty() { value.attributes } else { attributes };
        Ok(Item { data: value.data, attributes: attributes_of_value })
    }
}

/// Decodes a string to UTF-8. Never fails, because a wrong encoding flag must not make the whole index unreadable.
fn decode<'b>(bytes: &'b [u8], flags: Flags, default_encoding: Option<&'static Encoding>) -> Cow<'b, str> {
    const LATIN1: u32 = 0x4000;
    const UTF8: u32 = 0x8000;
    let encoding = if flags.0 & UTF8 != 0 {
        None
    } else if flags.0 & LATIN1 != 0 {
        Some(WINDOWS_1252)
    } else {
        default_encoding
    };
    match (std::str::from_utf8(bytes), encoding) {
        (Ok(text), None) => Cow::Borrowed(text),
        (Ok(text), Some(_)) if text.is_ascii() => Cow::Borrowed(text),
        (_, encoding) => encoding.unwrap_or(WINDOWS_1252).decode_without_bom_handling(bytes).0,
    }
}

/// Returns the encoding in a header of version 3; `None` for UTF-8, ASCII and unknown names, which [`decode`] handles.
fn native_encoding(name: &[u8]) -> Option<&'static Encoding> {
    let ascii_names = [&b"ANSI_X3.4-1968"[..], b"US-ASCII", b"ASCII", b"646"];
    if ascii_names.iter().any(|a| a.eq_ignore_ascii_case(name)) {
        return None;
    }
    Encoding::for_label(name).filter(|e| *e != UTF_8 && e.is_ascii_compatible())
}

fn refused_type(code: u8, offset: u64) -> RdsError {
    let type_name = match code {
        3 => "a function",
        4 => "an environment",
        5 => "a promise",
        6 => "a call",
        7 | 8 => "a built-in function",
        17 => "a dots object",
        21 | 239 | 240 | 243 | 244 => "byte code",
        22 => "an external pointer",
        23 => "a weak reference",
        25 => "an S4 object",
        241 | 242 | 250 | 253 => "a built-in environment",
        245 | 246 => "a class reference",
        247 => "a persistent reference",
        248 | 249 => "a package environment",
        251 | 252 => "a marker of the evaluator",
        _ => return RdsError::Malformed { defect: "an unknown type", offset },
    };
    RdsError::Refused { type_name, code, offset }
}
