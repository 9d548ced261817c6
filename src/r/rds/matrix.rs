//! `PACKAGES.rds` from index records: the character matrix that `available.packages` makes of the same text.

use super::write::{HAS_ATTRIBUTES, INTEGER, LIST, TEXT, Writer};
use memchr::memchr;
use std::collections::HashMap;
use std::io::{self, Write};

const OPTIONAL_FIELDS: [&[u8]; 2] = [b"File", b"Path"];
/// Records list their fields in nearly the same order: this many columns are tried before the map is asked.
const NEAR: usize = 24;
/// Every column costs eight bytes in every row, so one record full of made-up fields must not swell the index of all.
const MAX_COLUMNS: usize = 256;

/// Writes the matrix of `stanzas` (raw DCF records in index order) as one uncompressed RDS stream.
///
/// The columns are `fields`, then `File` and `Path` if any record has them, then every other field in order of first
/// appearance. Values are those `read.dcf` gives: no blanks at the ends of lines, continuation lines joined by a
/// newline, the last of repeated fields, ` .` for an empty line. Records without `Package` are left out, and so are
/// fields that would make column 257.
/// Equal stanzas give equal bytes for ever. Takes about 12 bytes of memory per value.
///
/// # Errors
/// Those of `out`; `InvalidInput` when a record or the matrix passes what R can hold.
pub fn write_matrix<W: Write, S: AsRef<[u8]>>(out: W, fields: &[&str], stanzas: &[S]) -> io::Result<()> {
    let mut columns = Columns::new(fields);
    let mut rows: Vec<&[u8]> = Vec::with_capacity(stanzas.len());
    for stanza in stanzas {
        if columns.take_row(rows.len(), stanza.as_ref())? {
            rows.push(stanza.as_ref());
        }
    }
    let asked = |column: &Column<'_>| fields.iter().any(|field| field.as_bytes() == column.name);
    let optional = |column: &Column<'_>| OPTIONAL_FIELDS.contains(&column.name);
    let shown: Vec<&Column<'_>> =
        columns.list.iter().filter(|c| asked(c) || !optional(c) || !c.cells.is_empty()).collect();

    let mut writer = Writer::new(out);
    let mut scratch = Vec::new();
    writer.vector(TEXT | HAS_ATTRIBUTES, rows.len().saturating_mul(shown.len()))?;
    for column in &shown {
        column.write(&mut writer, &rows, &mut scratch)?;
    }
    writer.attribute("dim")?;
    writer.vector(INTEGER, 2)?;
    writer.length(rows.len())?;
    writer.length(shown.len())?;
    writer.attribute("dimnames")?;
    writer.vector(LIST, 2)?;
    if rows.is_empty() {
        writer.null()?;
    } else {
        writer.vector(TEXT, rows.len())?;
        columns.list[columns.package].write(&mut writer, &rows, &mut scratch)?;
    }
    writer.vector(TEXT, shown.len())?;
    shown.iter().try_for_each(|column| writer.string(column.name))?;
    writer.null()?;
    writer.finish()
}

/// Where a value lies in its record.
struct Cell {
    row: u32,
    start: u32,
    end: u32,
    /// One line of ASCII without NUL: written as it is. Found while the record is in the processor's cache.
    plain: bool,
}

struct Column<'s> {
    name: &'s [u8],
    /// In row order; rows without this field have none.
    cells: Vec<Cell>,
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
        self.list.push(Column { name, cells: Vec::new() });
        self.list.len() - 1
    }

    /// The column of a field, a new one if need be and there is room; looks first behind the column of the field
    /// before it.
    fn column(&mut self, name: &'s [u8], after: usize) -> Option<usize> {
        let near = (after..self.list.len()).chain(0..after.min(self.list.len())).take(NEAR);
        let found = near.into_iter().find(|at| self.list[*at].name == name);
        let found = found.or_else(|| self.by_name.get(name).copied());
        found.or_else(|| (self.list.len() < MAX_COLUMNS).then(|| self.add(name)))
    }

    /// Notes where the values of a record lie; `false`, and nothing noted, when it names no package.
    fn take_row(&mut self, row: usize, stanza: &'s [u8]) -> io::Result<bool> {
        let too_long = |_| io::Error::new(io::ErrorKind::InvalidInput, "an index record of 4 GiB");
        u32::try_from(stanza.len()).map_err(too_long)?;
        let row = u32::try_from(row).map_err(too_long)?;
        #[allow(clippy::cast_possible_truncation)]
        let cell =
            |start: usize, end: usize, plain| Cell { row, start: start as u32, end: end as u32, plain };
        let simple = stanza.is_ascii() && !stanza.contains(&0);
        let mut at = 0;
        let mut last: Option<usize> = None;
        let mut next = 0;
        while at < stanza.len() {
            let end = memchr(b'\n', &stanza[at..]).map_or(stanza.len(), |n| at + n);
            let line = &stanza[at..end];
            if matches!(line.first(), Some(b' ' | b'\t')) {
                if let Some(cell) = last.and_then(|column| self.list[column].cells.last_mut()) {
                    #[allow(clippy::cast_possible_truncation)]
                    (cell.end = end as u32);
                    cell.plain = false;
                }
            } else if let Some(colon) = memchr(b':', line).filter(|colon| *colon > 0) {
                last = self.column(line[..colon].trim_ascii_end(), next);
                let Some(column) = last else {
                    at = end + 1;
                    continue;
                };
                let cells = &mut self.list[column].cells;
                if cells.last().is_some_and(|previous| previous.row == row) {
                    cells.pop();
                }
                let value = trim(&line[colon + 1..]);
                let blanks = line[colon + 1..].iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
                let start = at + colon + 1 + blanks;
                cells.push(cell(start, start + value.len(), simple));
                next = column + 1;
            } else {
                last = None;
            }
            at = end + 1;
        }
        let named = self.list[self.package].cells.last().is_some_and(|cell| cell.row == row);
        if !named {
            for column in &mut self.list {
                column.cells.pop_if(|cell| cell.row == row);
            }
        }
        Ok(named)
    }
}

impl Column<'_> {
    fn write<W: Write>(
        &self,
        writer: &mut Writer<W>,
        rows: &[&[u8]],
        scratch: &mut Vec<u8>,
    ) -> io::Result<()> {
        let mut cells = self.cells.iter().peekable();
        for (at, row) in rows.iter().enumerate() {
            match cells.next_if(|cell| cell.row as usize == at) {
                Some(cell) => {
                    let raw = &row[cell.start as usize..cell.end as usize];
                    if cell.plain { writer.ascii(raw)? } else { writer.string(unfold(raw, scratch))? }
                }
                None => writer.missing()?,
            }
        }
        Ok(())
    }
}

/// What `read.dcf` makes of the text behind a field's colon.
fn unfold<'v>(raw: &[u8], scratch: &'v mut Vec<u8>) -> &'v [u8] {
    scratch.clear();
    let mut empty_lines = 0;
    for (number, line) in raw.split(|b| *b == b'\n').enumerate() {
        match trim(line) {
            b"." if number > 0 => empty_lines += 1,
            line => {
                // Empty lines count only once text follows; a value that begins below its tag has no first break.
                let breaks = empty_lines + usize::from(number > 0 && !scratch.is_empty());
                scratch.extend(std::iter::repeat_n(b'\n', breaks));
                scratch.extend_from_slice(line);
                empty_lines = 0;
            }
        }
    }
    scratch
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
