//! Writes `PACKAGES.rds` from index records: the character matrix that `available.packages` creates from the same text.
//!
//! The matrix is stored by column, while each record is a row. A first pass over the records determines the size of
//! every column; a second pass copies the values of each row to their positions. The result is allocated once.

use super::write::{ASCII, HAS_ATTRIBUTES, INTEGER, LIST, NA_STRING, STRING, TEXT, UTF8, Writer, r_string};
use crate::r::dcf::is_escaped_blank;
use memchr::{memchr, memchr_iter};
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Write};

/// Fields that have a column only if a record has them.
const OPTIONAL_FIELDS: [&[u8]; 2] = [b"File", b"Path"];
/// Number of columns, after the column of the previous field, that are compared with a field before its name is looked
/// up in the map. Records have their fields in nearly the same order.
const NEARBY_COLUMNS: usize = 8;
/// Approximate number of fields in a record.
const TYPICAL_FIELDS: usize = 12;
/// Maximum number of columns. Each column uses eight bytes in every row, so one record with many nonstandard
/// fields could multiply the size of the index.
const MAX_COLUMNS: usize = 256;
/// Size in bytes of the pieces that [`write_matrix`] writes, unless one column is larger.
const PIECE_SIZE: usize = 8 << 20;

/// Returns the matrix of `stanzas` (raw DCF records in index order) as an uncompressed RDS stream.
///
/// The columns are `fields`, then `File` and `Path` if any record has them, then every other field in order of
/// first appearance. Values are as `read.dcf` reads them: lines are trimmed, continuation lines are joined by a
/// newline, a line ` .` becomes empty, and the last of repeated fields is used. Records without `Package`, and
/// fields beyond column 256, are left out. Equal stanzas must produce equal bytes in all versions of this program.
/// Uses about 12 bytes of memory per value in addition to the result.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] if a record or the matrix exceeds R's limits.
pub fn matrix<S: AsRef<[u8]>>(fields: &[&str], stanzas: &[S]) -> io::Result<Vec<u8>> {
    let matrix = Matrix::read(fields, stanzas)?;
    let FixedParts { head, middle, tail } = matrix.fixed_parts()?;
    let (cells_size, names_size) = (matrix.size(&matrix.output_columns), matrix.names_size());
    let mut out = vec![0; head.len() + cells_size + middle.len() + names_size + tail.len()];
    let mut offset = 0;
    let mut put = |out: &mut [u8], bytes: &[u8], gap| {
        out[offset..offset + bytes.len()].copy_from_slice(bytes);
        offset += bytes.len() + gap;
    };
    put(&mut out, &head, cells_size);
    put(&mut out, &middle, names_size);
    put(&mut out, &tail, 0);
    matrix.fill(&matrix.output_columns, &mut out[head.len()..head.len() + cells_size]);
    let names = head.len() + cells_size + middle.len()..out.len() - tail.len();
    matrix.fill_names(&mut out[names]);
    Ok(out)
}

/// Like [`matrix`], but writes some columns at a time, so that a large matrix is never whole in memory.
pub fn write_matrix<W: Write, S: AsRef<[u8]>>(mut out: W, fields: &[&str], stanzas: &[S]) -> io::Result<()> {
    let matrix = Matrix::read(fields, stanzas)?;
    let FixedParts { head, middle, tail } = matrix.fixed_parts()?;
    out.write_all(&head)?;
    let mut piece = Vec::new();
    let mut rest = &matrix.output_columns[..];
    while !rest.is_empty() {
        let further_count =
            (2..=rest.len()).take_while(|count| matrix.size(&rest[..*count]) <= PIECE_SIZE).count();
        let (columns, later_columns) = rest.split_at(1 + further_count);
        piece.resize(matrix.size(columns), 0);
        matrix.fill(columns, &mut piece);
        out.write_all(&piece)?;
        rest = later_columns;
    }
    out.write_all(&middle)?;
    piece.resize(matrix.names_size(), 0);
    matrix.fill_names(&mut piece);
    out.write_all(&piece)?;
    out.write_all(&tail)
}

/// The parsed records and the positions of their values.
struct Matrix<'s> {
    columns: Columns<'s>,
    /// The columns to be written, in order.
    output_columns: Vec<usize>,
    rows: Vec<MatrixRow<'s>>,
    /// The cells of all rows in order.
    cells: Vec<Cell>,
    /// Values that differ from the bytes in their record.
    texts: Vec<u8>,
}

/// The bytes before the values, between the values and the row names, and after the row names.
struct FixedParts {
    head: Vec<u8>,
    middle: Vec<u8>,
    tail: Vec<u8>,
}

struct MatrixRow<'s> {
    stanza: &'s [u8],
    /// The end of the row's values in [`Matrix::cells`].
    end: usize,
}

struct Cell {
    /// Length in bytes.
    length: u32,
    /// Offset of the value in the row's record, or in [`Matrix::texts`].
    start: u32,
    column: u16,
    form: CellForm,
}

#[derive(Clone, Copy)]
enum CellForm {
    /// One line of ASCII without NUL, unchanged in its record.
    Plain,
    /// ASCII in [`Matrix::texts`].
    Ascii,
    /// UTF-8 in [`Matrix::texts`].
    Utf8,
}

/// A field of the current record, with the byte range of its value including continuation lines.
struct FieldBytes {
    column: usize,
    start: usize,
    end: usize,
    has_one_line: bool,
}

impl<'s> Matrix<'s> {
    fn read<S: AsRef<[u8]>>(fields: &[&'s str], stanzas: &'s [S]) -> io::Result<Matrix<'s>> {
        // Reserved memory is not used until it is written, whereas growing a vector would copy it.
        let bytes = stanzas.iter().map(|stanza| stanza.as_ref().len()).sum();
        let mut matrix = Matrix {
            columns: Columns::new(fields),
            output_columns: Vec::new(),
            rows: Vec::with_capacity(stanzas.len()),
            cells: Vec::with_capacity(stanzas.len().saturating_mul(TYPICAL_FIELDS)),
            texts: Vec::with_capacity(bytes),
        };
        let mut record = RecordFields::default();
        for stanza in stanzas {
            record.read(&mut matrix.columns, stanza.as_ref());
            matrix.add_record(&record, stanza.as_ref())?;
        }
        let is_requested =
            |column: &MatrixColumn<'_>| fields.iter().any(|field| field.as_bytes() == column.name);
        let is_optional = |column: &MatrixColumn<'_>| OPTIONAL_FIELDS.contains(&column.name);
        let list = &matrix.columns.list;
        let is_output = |i: &usize| is_requested(&list[*i]) || !is_optional(&list[*i]) || list[*i].is_used;
        matrix.output_columns = (0..list.len()).filter(is_output).collect();
        Ok(matrix)
    }

    /// Adds the values of a record, unless it has no `Package`.
    fn add_record(&mut self, record: &RecordFields, stanza: &'s [u8]) -> io::Result<()> {
        if !record.fields.iter().any(|field| field.column == self.columns.package) {
            return Ok(());
        }
        for field in &record.fields {
            let raw = &stanza[field.start..field.end];
            let (start, length, form) = if field.has_one_line && record.is_ascii_text {
                (field.start, raw.len(), CellForm::Plain)
            } else {
                let start = self.texts.len();
                unfold(raw, &mut self.texts);
                if record.is_ascii_text {
                    (start, self.texts.len() - start, CellForm::Ascii)
                } else {
                    self.finish_text(start)
                }
            };
            let column = &mut self.columns.list[field.column];
            column.bytes += length;
            column.is_used = true;
            let to_u32 = |n: usize| {
                u32::try_from(n).map_err(|_| {
                    io::Error::new(
                        io::ErrorKind::InvalidInput,
                        "an index of packages has more than 4 GiB of text",
                    )
                })
            };
            let (start, length) = (to_u32(start)?, to_u32(length)?);
            let column = u16::try_from(field.column).expect("fewer than MAX_COLUMNS");
            self.cells.push(Cell { length, start, column, form });
        }
        self.rows.push(MatrixRow { stanza, end: self.cells.len() });
        Ok(())
    }

    /// Converts [`Matrix::texts`] from `start` on to a valid R string; returns offset, length and form.
    fn finish_text(&mut self, start: usize) -> (usize, usize, CellForm) {
        let (length, replacement) = match r_string(&self.texts[start..]) {
            Cow::Borrowed(value) => (value.len(), None),
            Cow::Owned(value) => (value.len(), Some(value)),
        };
        self.texts.truncate(start + if replacement.is_some() { 0 } else { length });
        self.texts.extend(replacement.into_iter().flatten());
        let form = if self.texts[start..].is_ascii() { CellForm::Ascii } else { CellForm::Utf8 };
        (start, length, form)
    }

    /// Returns the size of these columns in bytes.
    fn size(&self, columns: &[usize]) -> usize {
        let column_size = |column: &MatrixColumn<'_>| self.rows.len() * NA_STRING.len() + column.bytes;
        columns.iter().map(|index| column_size(&self.columns.list[*index])).sum()
    }

    /// Returns the size of the row names in bytes.
    fn names_size(&self) -> usize {
        if self.rows.is_empty() { 0 } else { self.size(&[self.columns.package]) }
    }

    fn fill_names(&self, out: &mut [u8]) {
        if !self.rows.is_empty() {
            self.fill(&[self.columns.package], out);
        }
    }

    fn fixed_parts(&self) -> io::Result<FixedParts> {
        let mut writer = Writer::new(Vec::new());
        writer.vector(TEXT | HAS_ATTRIBUTES, self.rows.len().saturating_mul(self.output_columns.len()))?;
        let head = writer.take_bytes();
        writer.attribute("dim")?;
        writer.vector(INTEGER, 2)?;
        writer.length(self.rows.len())?;
        writer.length(self.output_columns.len())?;
        writer.attribute("dimnames")?;
        writer.vector(LIST, 2)?;
        if self.rows.is_empty() {
            writer.null()?
        } else {
            writer.vector(TEXT, self.rows.len())?
        }
        let middle = writer.take_bytes();
        writer.vector(TEXT, self.output_columns.len())?;
        self.output_columns.iter().try_for_each(|index| writer.string(self.columns.list[*index].name))?;
        writer.null()?;
        Ok(FixedParts { head, middle, tail: writer.take_bytes() })
    }

    /// Writes columns consecutively into `out`, whose length is [`Matrix::size`].
    fn fill(&self, columns: &[usize], out: &mut [u8]) {
        let mut positions = vec![WritePosition::NONE; self.columns.list.len()];
        let mut offset = 0;
        for column in columns {
            positions[*column] = WritePosition { offset, row: 0 };
            offset += self.size(&[*column]);
        }
        let mut first_cell = 0;
        for (number, row) in self.rows.iter().enumerate() {
            for cell in &self.cells[first_cell..row.end] {
                let position = &mut positions[usize::from(cell.column)];
                if position.offset == usize::MAX {
                    continue;
                }
                position.fill_na(number, out);
                let (flags, source) = match cell.form {
                    CellForm::Plain => (STRING | ASCII, row.stanza),
                    CellForm::Ascii => (STRING | ASCII, &self.texts[..]),
                    CellForm::Utf8 => (STRING | UTF8, &self.texts[..]),
                };
                let start = cell.start as usize;
                position.put(out, flags, &source[start..start + cell.length as usize]);
            }
            first_cell = row.end;
        }
        for column in columns {
            positions[*column].fill_na(self.rows.len(), out);
        }
    }
}

/// The write position of a column.
#[derive(Clone, Copy)]
struct WritePosition {
    /// The offset of its next value.
    offset: usize,
    row: usize,
}

impl WritePosition {
    /// A column that is not written.
    const NONE: WritePosition = WritePosition { offset: usize::MAX, row: 0 };

    fn fill_na(&mut self, row: usize, out: &mut [u8]) {
        let end = self.offset + (row - self.row) * NA_STRING.len();
        out[self.offset..end]
            .chunks_exact_mut(NA_STRING.len())
            .for_each(|value| value.copy_from_slice(&NA_STRING));
        *self = WritePosition { offset: end, row };
    }

    fn put(&mut self, out: &mut [u8], flags: u32, value: &[u8]) {
        let (head, body) =
            out[self.offset..self.offset + NA_STRING.len() + value.len()].split_at_mut(NA_STRING.len());
        head[..4].copy_from_slice(&flags.to_be_bytes());
        #[allow(clippy::cast_possible_truncation, reason = "a cell's length is a u32")]
        head[4..].copy_from_slice(&(value.len() as u32).to_be_bytes());
        body.copy_from_slice(value);
        *self = WritePosition { offset: self.offset + head.len() + body.len(), row: self.row + 1 };
    }
}

struct MatrixColumn<'s> {
    name: &'s [u8],
    /// The last record with this field, counted from 1, and the field's index in that record.
    last_occurrence: (usize, usize),
    /// The column of the field that followed this field in the last record that contains both.
    following_column: usize,
    /// The size of the column's values in bytes, without their headers.
    bytes: usize,
    /// Whether any row has this field.
    is_used: bool,
}

struct Columns<'s> {
    list: Vec<MatrixColumn<'s>>,
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
        self.list.push(MatrixColumn {
            name,
            last_occurrence: (0, 0),
            following_column: 0,
            bytes: 0,
            is_used: false,
        });
        self.list.len() - 1
    }

    /// Returns the column of a field, and adds it if necessary; `None` if there are too many columns.
    fn column(&mut self, name: &'s [u8]) -> Option<usize> {
        let column = self.by_name.get(name).copied();
        column.or_else(|| (self.list.len() < MAX_COLUMNS).then(|| self.add(name)))
    }

    /// Returns the column of the field that begins on a line, and the offset of its value; `None` if no field begins
    /// there, or if there are too many columns. First tries the field that last followed the field of
    /// `previous_column`, then the columns after `previous_column`.
    fn field(&mut self, line: &'s [u8], previous_column: usize) -> Option<(usize, usize)> {
        let begins_line = |index: &usize| {
            let name = self.list[*index].name;
            line.get(name.len()) == Some(&b':') && !name.is_empty() && line.starts_with(name)
        };
        let next_columns = (previous_column + 1..self.list.len()).take(NEARBY_COLUMNS);
        let known_column =
            [self.list[previous_column].following_column].into_iter().chain(next_columns).find(begins_line);
        let (column, value_start) = match known_column {
            Some(column) => (column, self.list[column].name.len() + 1),
            None => {
                let colon = memchr(b':', line).filter(|colon| *colon > 0)?;
                (self.column(&line[..colon])?, colon + 1)
            }
        };
        self.list[previous_column].following_column = column;
        Some((column, value_start))
    }
}

/// The fields of the current record.
#[derive(Default)]
struct RecordFields {
    fields: Vec<FieldBytes>,
    /// Whether the whole record is ASCII without NUL.
    is_ascii_text: bool,
    /// Number of records so far.
    record_count: usize,
}

impl RecordFields {
    fn read<'s>(&mut self, columns: &mut Columns<'s>, stanza: &'s [u8]) {
        self.fields.clear();
        self.is_ascii_text = stanza.is_ascii() && memchr(0, stanza).is_none();
        self.record_count += 1;
        let mut next_line = 0;
        // The column of the previous field, and the index of the field to which a continuation line belongs.
        let (mut previous_column, mut continued_field) = (0, None::<usize>);
        for end in memchr_iter(b'\n', stanza).chain([stanza.len()]) {
            let (line, start) = (&stanza[next_line..end], next_line);
            next_line = end + 1;
            if matches!(line.first(), Some(b' ' | b'\t')) {
                if let Some(field) = continued_field.and_then(|index| self.fields.get_mut(index)) {
                    (field.end, field.has_one_line) = (end, false);
                }
                continue;
            }
            continued_field = None;
            let Some((column, value_start)) = columns.field(line, previous_column) else { continue };
            previous_column = column;
            let value = trim(&line[value_start..]);
            let blanks = line[value_start..].iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
            let start = start + value_start + blanks;
            let field = FieldBytes { column, start, end: start + value.len(), has_one_line: true };
            continued_field = Some(self.add_field(&mut columns.list[column].last_occurrence, field));
        }
    }

    /// Adds a field, or replaces an earlier one with the same name; returns its index in `fields`.
    fn add_field(&mut self, last_occurrence: &mut (usize, usize), field: FieldBytes) -> usize {
        if last_occurrence.0 == self.record_count {
            self.fields[last_occurrence.1] = field;
        } else {
            *last_occurrence = (self.record_count, self.fields.len());
            self.fields.push(field);
        }
        last_occurrence.1
    }
}

/// Appends the value that `read.dcf` reads from the text after a field's colon.
fn unfold(raw: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let mut empty_lines = 0;
    for (number, line) in raw.split(|b| *b == b'\n').enumerate() {
        match trim(line) {
            line if number > 0 && is_escaped_blank(line) => empty_lines += 1,
            line => {
                // Empty lines at the end are dropped, and the line break after a tag whose value begins below it.
                let breaks = empty_lines + usize::from(number > 0 && out.len() > start);
                out.extend(std::iter::repeat_n(b'\n', breaks));
                out.extend_from_slice(line);
                empty_lines = 0;
            }
        }
    }
}

/// Trims blanks and tabs at both ends, and the carriage return of a CRLF. Other white space belongs to the value.
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
