//! `PACKAGES.rds` from index records: the character matrix that `available.packages` makes of the same text.
//!
//! The matrix stands column by column, the records come row by row. They are read once, so that the size of every column is
//! known; then each row's values are copied to the places they have in the columns. Both passes read the records from front
//! to back, and a matrix of known size is written into memory reserved once.

use super::write::{ASCII, HAS_ATTRIBUTES, INTEGER, LIST, MISSING, STRING, TEXT, UTF8, Writer, text};
use memchr::{memchr, memchr_iter};
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Write};

const OPTIONAL_FIELDS: [&[u8]; 2] = [b"File", b"Path"];
/// Records list their fields in nearly the same order: this many columns are tried before the map is asked.
const NEAR: usize = 8;
/// Fields that a record has, about.
const FIELDS: usize = 12;
/// Every column costs eight bytes in every row, so one record full of made-up fields must not swell the index of all.
const MAX_COLUMNS: usize = 256;
/// Bytes that [`write_matrix`] writes at once, unless one column is larger.
const PIECE: usize = 8 << 20;

/// The matrix of `stanzas` (raw DCF records in index order) as one uncompressed RDS stream.
///
/// The columns are `fields`, then `File` and `Path` if any record has them, then every other field in order of first
/// appearance. Values are those `read.dcf` gives: no blanks at the ends of lines, continuation lines joined by a
/// newline, the last of repeated fields, ` .` for an empty line. Records without `Package` are left out, and so are
/// fields that would make column 257.
/// Equal stanzas give equal bytes for ever. Takes about 12 bytes of memory per value beside the result.
///
/// # Errors
/// `InvalidInput` when a record or the matrix passes what R can hold.
pub fn matrix<S: AsRef<[u8]>>(fields: &[&str], stanzas: &[S]) -> io::Result<Vec<u8>> {
    let matrix = Matrix::read(fields, stanzas)?;
    let Frame { head, middle, tail } = matrix.frame()?;
    let (cells, names) = (matrix.size(&matrix.shown), matrix.names());
    let mut out = vec![0; head.len() + cells + middle.len() + names + tail.len()];
    let mut at = 0;
    let mut put = |out: &mut [u8], bytes: &[u8], length| {
        out[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len() + length;
    };
    put(&mut out, &head, cells);
    put(&mut out, &middle, names);
    put(&mut out, &tail, 0);
    matrix.fill(&matrix.shown, &mut out[head.len()..head.len() + cells]);
    let names = head.len() + cells + middle.len()..out.len() - tail.len();
    matrix.fill_names(&mut out[names]);
    Ok(out)
}

/// As [`matrix`], written to `out` some columns at a time: a matrix that is larger than an index is never in memory as a
/// whole.
///
/// # Errors
/// Those of `out`, and of [`matrix`].
pub fn write_matrix<W: Write, S: AsRef<[u8]>>(mut out: W, fields: &[&str], stanzas: &[S]) -> io::Result<()> {
    let matrix = Matrix::read(fields, stanzas)?;
    let Frame { head, middle, tail } = matrix.frame()?;
    out.write_all(&head)?;
    let mut piece = Vec::new();
    let mut rest = &matrix.shown[..];
    while !rest.is_empty() {
        let fits = (2..=rest.len()).take_while(|count| matrix.size(&rest[..*count]) <= PIECE).count();
        let (columns, others) = rest.split_at(1 + fits);
        piece.resize(matrix.size(columns), 0);
        matrix.fill(columns, &mut piece);
        out.write_all(&piece)?;
        rest = others;
    }
    out.write_all(&middle)?;
    piece.resize(matrix.names(), 0);
    matrix.fill_names(&mut piece);
    out.write_all(&piece)?;
    out.write_all(&tail)
}

/// Records that were read, and where the values are.
struct Matrix<'s> {
    columns: Columns<'s>,
    /// The columns that are written, in their order.
    shown: Vec<usize>,
    rows: Vec<Row<'s>>,
    /// Of one row after the other.
    cells: Vec<Cell>,
    /// Values that are not written as they stand in their record.
    texts: Vec<u8>,
}

/// What surrounds the values: before them, between them and the names of rows, and behind these.
struct Frame {
    head: Vec<u8>,
    middle: Vec<u8>,
    tail: Vec<u8>,
}

struct Row<'s> {
    stanza: &'s [u8],
    /// Its values are in [`Matrix::cells`] up to here.
    end: usize,
}

/// A value.
struct Cell {
    /// Bytes.
    length: u32,
    /// Where it lies: in its record, or in [`Matrix::texts`].
    start: u32,
    column: u16,
    form: Form,
}

#[derive(Clone, Copy)]
enum Form {
    /// One line of ASCII without NUL, as it stands in its record.
    Plain,
    /// ASCII in [`Matrix::texts`].
    Ascii,
    /// UTF-8 in [`Matrix::texts`].
    Utf8,
}

/// A field of the record that is being read: the bytes of its value with all continuation lines.
struct Found {
    column: usize,
    start: usize,
    end: usize,
    has_one_line: bool,
}

impl<'s> Matrix<'s> {
    fn read<S: AsRef<[u8]>>(fields: &[&'s str], stanzas: &'s [S]) -> io::Result<Matrix<'s>> {
        // What is not written to costs nothing; a vector that grows copies what it has.
        let bytes = stanzas.iter().map(|stanza| stanza.as_ref().len()).sum();
        let mut matrix = Matrix {
            columns: Columns::new(fields),
            shown: Vec::new(),
            rows: Vec::with_capacity(stanzas.len()),
            cells: Vec::with_capacity(stanzas.len().saturating_mul(FIELDS)),
            texts: Vec::with_capacity(bytes),
        };
        let mut reading = Reading::default();
        for stanza in stanzas {
            reading.read(&mut matrix.columns, stanza.as_ref());
            matrix.take(&reading, stanza.as_ref())?;
        }
        let asked = |column: &Column<'_>| fields.iter().any(|field| field.as_bytes() == column.name);
        let optional = |column: &Column<'_>| OPTIONAL_FIELDS.contains(&column.name);
        let list = &matrix.columns.list;
        let is_shown = |at: &usize| asked(&list[*at]) || !optional(&list[*at]) || list[*at].is_used;
        matrix.shown = (0..list.len()).filter(is_shown).collect();
        Ok(matrix)
    }

    /// Notes the values of a record, unless it names no package.
    fn take(&mut self, reading: &Reading, stanza: &'s [u8]) -> io::Result<()> {
        if !reading.fields.iter().any(|found| found.column == self.columns.package) {
            return Ok(());
        }
        for found in &reading.fields {
            let raw = &stanza[found.start..found.end];
            let (start, length, form) = if found.has_one_line && reading.is_plain {
                (found.start, raw.len(), Form::Plain)
            } else {
                let start = self.texts.len();
                unfold(raw, &mut self.texts);
                if reading.is_plain {
                    (start, self.texts.len() - start, Form::Ascii)
                } else {
                    self.settle(start)
                }
            };
            let column = &mut self.columns.list[found.column];
            column.bytes += length;
            column.is_used = true;
            let number = |n: usize| {
                u32::try_from(n).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "records of 4 GiB"))
            };
            let (start, length) = (number(start)?, number(length)?);
            let column = u16::try_from(found.column).expect("fewer than MAX_COLUMNS");
            self.cells.push(Cell { length, start, column, form });
        }
        self.rows.push(Row { stanza, end: self.cells.len() });
        Ok(())
    }

    /// Makes what was appended to [`Matrix::texts`] a string of R; tells where and of which form it is.
    fn settle(&mut self, start: usize) -> (usize, usize, Form) {
        let (length, changed) = match text(&self.texts[start..]) {
            Cow::Borrowed(value) => (value.len(), None),
            Cow::Owned(value) => (value.len(), Some(value)),
        };
        self.texts.truncate(start + if changed.is_some() { 0 } else { length });
        self.texts.extend(changed.into_iter().flatten());
        let form = if self.texts[start..].is_ascii() { Form::Ascii } else { Form::Utf8 };
        (start, length, form)
    }

    /// Bytes of these columns.
    fn size(&self, columns: &[usize]) -> usize {
        columns.iter().map(|at| self.rows.len() * MISSING.len() + self.columns.list[*at].bytes).sum()
    }

    /// Bytes of the names of the rows.
    fn names(&self) -> usize {
        if self.rows.is_empty() { 0 } else { self.size(&[self.columns.package]) }
    }

    fn fill_names(&self, out: &mut [u8]) {
        if !self.rows.is_empty() {
            self.fill(&[self.columns.package], out);
        }
    }

    fn frame(&self) -> io::Result<Frame> {
        let mut writer = Writer::new(Vec::new());
        writer.vector(TEXT | HAS_ATTRIBUTES, self.rows.len().saturating_mul(self.shown.len()))?;
        let head = writer.taken();
        writer.attribute("dim")?;
        writer.vector(INTEGER, 2)?;
        writer.length(self.rows.len())?;
        writer.length(self.shown.len())?;
        writer.attribute("dimnames")?;
        writer.vector(LIST, 2)?;
        if self.rows.is_empty() {
            writer.null()?
        } else {
            writer.vector(TEXT, self.rows.len())?
        }
        let middle = writer.taken();
        writer.vector(TEXT, self.shown.len())?;
        self.shown.iter().try_for_each(|at| writer.string(self.columns.list[*at].name))?;
        writer.null()?;
        Ok(Frame { head, middle, tail: writer.taken() })
    }

    /// Writes columns, one behind the other, into [`Matrix::size`] bytes.
    fn fill(&self, columns: &[usize], out: &mut [u8]) {
        let mut places = vec![Place::NONE; self.columns.list.len()];
        let mut at = 0;
        for column in columns {
            places[*column] = Place { at, row: 0 };
            at += self.size(&[*column]);
        }
        let mut begin = 0;
        for (number, row) in self.rows.iter().enumerate() {
            for cell in &self.cells[begin..row.end] {
                let place = &mut places[usize::from(cell.column)];
                if place.at == usize::MAX {
                    continue;
                }
                place.missing_up_to(number, out);
                let (flags, source) = match cell.form {
                    Form::Plain => (STRING | ASCII, row.stanza),
                    Form::Ascii => (STRING | ASCII, &self.texts[..]),
                    Form::Utf8 => (STRING | UTF8, &self.texts[..]),
                };
                let start = cell.start as usize;
                place.put(out, flags, &source[start..start + cell.length as usize]);
            }
            begin = row.end;
        }
        for column in columns {
            places[*column].missing_up_to(self.rows.len(), out);
        }
    }
}

/// How far a column is written.
#[derive(Clone, Copy)]
struct Place {
    /// Where its next value comes to.
    at: usize,
    /// In which row that is.
    row: usize,
}

impl Place {
    /// Of a column that is not written.
    const NONE: Place = Place { at: usize::MAX, row: 0 };

    fn missing_up_to(&mut self, row: usize, out: &mut [u8]) {
        let end = self.at + (row - self.row) * MISSING.len();
        out[self.at..end].chunks_exact_mut(MISSING.len()).for_each(|value| value.copy_from_slice(&MISSING));
        *self = Place { at: end, row };
    }

    fn put(&mut self, out: &mut [u8], flags: u32, value: &[u8]) {
        let (head, body) = out[self.at..self.at + MISSING.len() + value.len()].split_at_mut(MISSING.len());
        head[..4].copy_from_slice(&flags.to_be_bytes());
        #[allow(clippy::cast_possible_truncation)]
        head[4..].copy_from_slice(&(value.len() as u32).to_be_bytes());
        body.copy_from_slice(value);
        *self = Place { at: self.at + head.len() + body.len(), row: self.row + 1 };
    }
}

struct Column<'s> {
    name: &'s [u8],
    /// The last record that has it, counted from 1, and its place among the fields of that.
    last: (usize, usize),
    /// The column of the field that stood behind it the last time.
    follower: usize,
    /// Of all its values, without what stands before each.
    bytes: usize,
    /// Whether any row has it.
    is_used: bool,
}

struct Columns<'s> {
    list: Vec<Column<'s>>,
    by_name: HashMap<&'s [u8], usize>,
    /// The column of `Package`.
    package: usize,
}

impl<'s> Columns<'s> {
    fn new(fields: &[&'s str]) -> Columns<'s> {
        let mut columns = Columns { list: Vec::new(), by_name: HashMap::new(), package: 0 };
        for field in
            fields.iter().map(|field| field.as_bytes()).chain([&b"Package"[..]]).chain(OPTIONAL_FIELDS)
        {
            if !columns.by_name.contains_key(field) {
                columns.add(field);
            }
        }
        columns.package = columns.by_name[&b"Package"[..]];
        columns
    }

    fn add(&mut self, name: &'s [u8]) -> usize {
        self.by_name.insert(name, self.list.len());
        self.list.push(Column { name, last: (0, 0), follower: 0, bytes: 0, is_used: false });
        self.list.len() - 1
    }

    /// The column of a field, a new one if need be and there is room.
    fn column(&mut self, name: &'s [u8]) -> Option<usize> {
        let found = self.by_name.get(name).copied();
        found.or_else(|| (self.list.len() < MAX_COLUMNS).then(|| self.add(name)))
    }

    /// The column of the field that begins a line, and where its value begins; `None` where no field begins or there is no
    /// room for its column. Looks first where it was behind the field before it, and in the columns that follow.
    fn field(&mut self, line: &'s [u8], before: usize) -> Option<(usize, usize)> {
        let is_it = |at: &usize| {
            let name = self.list[*at].name;
            line.get(name.len()) == Some(&b':') && !name.is_empty() && line.starts_with(name)
        };
        let near = (before + 1..self.list.len()).take(NEAR);
        let found = [self.list[before].follower].into_iter().chain(near).find(is_it);
        let (column, begin) = match found {
            Some(column) => (column, self.list[column].name.len() + 1),
            None => {
                let colon = memchr(b':', line).filter(|colon| *colon > 0)?;
                (self.column(line[..colon].trim_ascii_end())?, colon + 1)
            }
        };
        self.list[before].follower = column;
        Some((column, begin))
    }
}

/// The fields of the record that is being read.
#[derive(Default)]
struct Reading {
    fields: Vec<Found>,
    /// All of it is ASCII without NUL.
    is_plain: bool,
    /// Records so far.
    records: usize,
}

impl Reading {
    fn read<'s>(&mut self, columns: &mut Columns<'s>, stanza: &'s [u8]) {
        self.fields.clear();
        self.is_plain = stanza.is_ascii() && memchr(0, stanza).is_none();
        self.records += 1;
        let mut at = 0;
        // The column of the field before, and the place of the field that a continuation line belongs to.
        let (mut before, mut last) = (0, None::<usize>);
        for end in memchr_iter(b'\n', stanza).chain([stanza.len()]) {
            let (line, start) = (&stanza[at..end], at);
            at = end + 1;
            if matches!(line.first(), Some(b' ' | b'\t')) {
                if let Some(field) = last.and_then(|place| self.fields.get_mut(place)) {
                    (field.end, field.has_one_line) = (end, false);
                }
                continue;
            }
            last = None;
            let Some((column, begin)) = columns.field(line, before) else { continue };
            before = column;
            let value = trim(&line[begin..]);
            let blanks = line[begin..].iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
            let start = start + begin + blanks;
            let found = Found { column, start, end: start + value.len(), has_one_line: true };
            last = Some(self.note(&mut columns.list[column].last, found));
        }
    }

    /// Its place among the fields: that of an earlier one of the same name, which it replaces.
    fn note(&mut self, known: &mut (usize, usize), found: Found) -> usize {
        if known.0 == self.records {
            self.fields[known.1] = found;
        } else {
            *known = (self.records, self.fields.len());
            self.fields.push(found);
        }
        known.1
    }
}

/// Appends what `read.dcf` makes of the text behind a field's colon.
fn unfold(raw: &[u8], out: &mut Vec<u8>) {
    let begin = out.len();
    let mut empty_lines = 0;
    for (number, line) in raw.split(|b| *b == b'\n').enumerate() {
        match trim(line) {
            b"." if number > 0 => empty_lines += 1,
            line => {
                // Empty lines count only once text follows; a value that begins below its tag has no first break.
                let breaks = empty_lines + usize::from(number > 0 && out.len() > begin);
                out.extend(std::iter::repeat_n(b'\n', breaks));
                out.extend_from_slice(line);
                empty_lines = 0;
            }
        }
    }
}

/// Without blanks (and the carriage return of a CRLF) at both ends: other white space belongs to the value.
fn trim(mut line: &[u8]) -> &[u8] {
    line = line.strip_suffix(b"\r").unwrap_or(line);
    while let [b' ' | b'\t', rest @ ..] = line {
        line = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = line {
        line = rest;
    }
    line
}
