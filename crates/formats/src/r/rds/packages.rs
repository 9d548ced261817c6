//! Reads `PACKAGES.rds` and CRAN's package database as records of fields.

use super::item::{Data, Item, Strings};
use super::{RdsError, RdsLimits, read};
use std::collections::HashMap;
use std::io::Read;

const EXPECTED_OBJECT: &str = "a matrix or data frame of packages";

/// A table of packages: each row is a record, and each column a field.
#[derive(Debug)]
pub struct PackageTable {
    cells: PackageCells,
    /// The names of the fields, and their column indexes.
    fields: Vec<(String, usize)>,
    /// The indexes of the rows with a package name.
    rows: Vec<u32>,
}

#[derive(Debug)]
enum PackageCells {
    /// One vector with the columns in order.
    Matrix {
        cells: Strings,
        rows: usize,
    },
    Frame(Vec<Item>),
}

impl PackageCells {
    fn get(&self, row: usize, column: usize) -> Option<&str> {
        match self {
            PackageCells::Matrix { cells, rows } => cells.get(column.checked_mul(*rows)?.checked_add(row)?),
            PackageCells::Frame(columns) => columns.get(column)?.text()?.get(row),
        }
    }

    fn is_text(&self, column: usize) -> bool {
        match self {
            PackageCells::Matrix { .. } => true,
            PackageCells::Frame(columns) => columns.get(column).is_some_and(|column| column.text().is_some()),
        }
    }
}

/// Reads a character matrix with column names, or a data frame. Skips rows without `Package`, and columns that are not
/// text or have no name; of equal names, uses the one with most values (CRAN's has `MD5sum` twice, once empty).
pub fn read_package_table(file: impl Read, limits: RdsLimits) -> Result<PackageTable, RdsError> {
    PackageTable::from_item(read::read(file, limits)?)
}

fn shape_error(found: impl Into<String>) -> RdsError {
    RdsError::Shape { expected: EXPECTED_OBJECT, found: found.into() }
}

impl PackageTable {
    /// Converts an object that was read.
    pub fn from_item(item: Item) -> Result<PackageTable, RdsError> {
        let (cells, names, rows) = if item.has_class("data.frame") { frame(item)? } else { matrix(item)? };
        let mut fields: Vec<(String, usize)> = Vec::new();
        // By name: the index in `fields`, and the number of values of the column that is stored there.
        let mut fields_by_name: HashMap<&str, (usize, usize)> = HashMap::new();
        for (column, name) in names.iter().enumerate() {
            let name = name.filter(|name| !name.is_empty() && cells.is_text(column));
            let Some(name) = name else { continue };
            let value_count = (0..rows).filter(|row| cells.get(*row, column).is_some()).count();
            match fields_by_name.get(name) {
                None => {
                    fields_by_name.insert(name, (fields.len(), value_count));
                    fields.push((name.to_owned(), column));
                }
                Some(&(index, previous_count)) if value_count > previous_count => {
                    fields_by_name.insert(name, (index, value_count));
                    fields[index].1 = column;
                }
                Some(_) => {}
            }
        }
        let package = fields.iter().find(|(name, _)| name == "Package").map(|(_, column)| *column);
        let package = package.ok_or_else(|| shape_error("no column 'Package'"))?;
        let has_name = |row: &u32| cells.get(*row as usize, package).is_some_and(|name| !name.is_empty());
        let rows = u32::try_from(rows).map_err(|_| shape_error("too many rows"))?;
        let rows = (0..rows).filter(has_name).collect();
        Ok(PackageTable { cells, fields, rows })
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Returns the distinct names of the fields, in column order.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = &str> {
        self.fields.iter().map(|(name, _)| name.as_str())
    }

    /// Returns the fields of a record that have a value; none beyond the last record.
    pub fn record(&self, record: usize) -> impl Iterator<Item = (&str, &str)> {
        let row = self.rows.get(record).copied();
        self.fields.iter().filter_map(move |(name, column)| {
            row.and_then(|row| self.cells.get(row as usize, *column)).map(|value| (name.as_str(), value))
        })
    }

    pub fn get(&self, record: usize, field: &str) -> Option<&str> {
        self.record(record).find(|(name, _)| *name == field).map(|(_, value)| value)
    }

    /// Appends a record as DCF text without the blank line after it. Further lines of a value become continuation
    /// lines, and empty lines ` .`. Empty values, and fields whose names are not valid in DCF, are left out.
    pub fn write_stanza(&self, record: usize, out: &mut Vec<u8>) {
        for (name, value) in self.record(record) {
            let is_valid = |c: char| c.is_ascii_graphic() && c != ':' || c == ' ' || !c.is_ascii();
            if !name.chars().all(is_valid) || name.starts_with(' ') || value.trim_ascii().is_empty() {
                continue;
            }
            out.extend_from_slice(name.as_bytes());
            out.push(b':');
            for (number, line) in value.trim_ascii().split(['\n', '\r']).enumerate() {
                let line = line.trim_ascii();
                out.extend_from_slice(if number == 0 { b" " } else { b"\n        " });
                out.extend_from_slice(if line.is_empty() { b"." } else { line.as_bytes() });
            }
            out.push(b'\n');
        }
    }
}

fn matrix(mut item: Item) -> Result<(PackageCells, Strings, usize), RdsError> {
    let Data::Text(cells) = std::mem::take(&mut item.data) else {
        return Err(shape_error("neither strings nor a data frame"));
    };
    let Some(Data::Integer(dim)) = item.attribute("dim").map(|dim| &dim.data) else {
        return Err(shape_error("a vector without dimensions"));
    };
    let sizes: Option<Vec<usize>> = dim.iter().map(|n| usize::try_from(*n).ok()).collect();
    let Some(&[rows, columns]) = sizes.as_deref() else {
        return Err(shape_error("a 'dim' that is not two non-negative integers"));
    };
    if rows.checked_mul(columns) != Some(cells.len()) {
        return Err(shape_error(format!("{} values for {rows} rows and {columns} columns", cells.len())));
    }
    let Some(Data::List(dimnames)) = item.attribute("dimnames").map(|names| &names.data) else {
        return Err(shape_error("no names of columns"));
    };
    let [row_names, column_names] = &dimnames[..] else {
        return Err(shape_error("'dimnames' that is not a list of two"));
    };
    match &row_names.data {
        Data::Null => {}
        Data::Text(names) if names.len() == rows => {}
        _ => return Err(shape_error("row names that do not fit the rows")),
    }
    match &column_names.data {
        Data::Text(names) if names.len() == columns => {
            Ok((PackageCells::Matrix { cells, rows }, names.clone(), rows))
        }
        _ => Err(shape_error("column names that do not fit the columns")),
    }
}

fn frame(mut item: Item) -> Result<(PackageCells, Strings, usize), RdsError> {
    let Data::List(columns) = std::mem::take(&mut item.data) else {
        return Err(shape_error("a data frame that is not a list"));
    };
    let names = item.attribute("names").and_then(Item::text).filter(|names| names.len() == columns.len());
    let names = names.ok_or_else(|| shape_error("column names that do not fit the columns"))?;
    let mut lengths = columns.iter().filter_map(Item::text).map(Strings::len);
    let rows = lengths.next().ok_or_else(|| shape_error("no column of text"))?;
    if lengths.any(|n| n != rows) {
        return Err(shape_error("columns of different lengths"));
    }
    Ok((PackageCells::Frame(columns), names.clone(), rows))
}
