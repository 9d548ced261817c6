//! `Meta/archive.rds` and `Meta/current.rds`: the files of a mirror with sizes and modification times.

use super::item::{Data, Item};
use super::read::{ALTREP, Flags, LIST as LIST_CODE, RdsDecoder, read};
use super::write::{HAS_ATTRIBUTES, HAS_CLASS, INTEGER, LIST, LOGICAL, REAL, TEXT, Writer};
use super::{RdsError, RdsLimits};
use crate::r::layout::PackageFile;
use base::model::time::Timestamp;
use std::io::{self, Read, Write};

/// A row of the tables, which describes a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaRow<S> {
    pub package: S,
    /// The file name, `{package}_{version}.tar.gz`.
    pub file: S,
    /// Size in bytes.
    pub size: u64,
    pub mtime: Timestamp,
}

/// Columns of `file.info()`, in its order.
const COLUMNS: [&str; 10] =
    ["size", "isdir", "mode", "mtime", "ctime", "atime", "uid", "gid", "uname", "grname"];
/// Fixed values for columns that would reveal properties of the server: permissions 0644, owner `root` (0).
const MODE: u32 = 0o644;
const OWNER: &str = "root";

/// Writes `Meta/archive.rds`, uncompressed. `rows` must be grouped by package and sorted oldest first, because clients
/// read them from the end. Row names are `{package}/{file}`. Times are truncated to seconds.
pub fn write_archive_meta<W: Write, S: AsRef<str>>(out: W, rows: &[MetaRow<S>]) -> io::Result<()> {
    let mut writer = Writer::new(out);
    let packages = || rows.chunk_by(|a, b| a.package.as_ref() == b.package.as_ref());
    writer.vector(LIST | HAS_ATTRIBUTES, packages().count())?;
    let mut name = String::new();
    for rows in packages() {
        write_frame(&mut writer, rows, |writer, row| {
            name.clear();
            name.extend([row.package.as_ref(), "/", row.file.as_ref()]);
            writer.string(name.as_bytes())
        })?;
    }
    writer.attribute("names")?;
    writer.vector(TEXT, packages().count())?;
    packages().try_for_each(|rows| writer.string(rows[0].package.as_ref().as_bytes()))?;
    writer.null()?;
    writer.finish()
}

/// Writes `Meta/current.rds`, uncompressed: one data frame with file names as row names.
pub fn write_current_meta<W: Write, S: AsRef<str>>(out: W, rows: &[MetaRow<S>]) -> io::Result<()> {
    let mut writer = Writer::new(out);
    write_frame(&mut writer, rows, |writer, row| writer.string(row.file.as_ref().as_bytes()))?;
    writer.finish()
}

fn write_frame<W: Write, S: AsRef<str>>(
    writer: &mut Writer<W>,
    rows: &[MetaRow<S>],
    mut row_name: impl FnMut(&mut Writer<W>, &MetaRow<S>) -> io::Result<()>,
) -> io::Result<()> {
    let n = rows.len();
    writer.vector(LIST | HAS_CLASS | HAS_ATTRIBUTES, COLUMNS.len())?;
    writer.vector(REAL, n)?;
    #[allow(clippy::cast_precision_loss, reason = "R stores sizes as doubles")]
    rows.iter().try_for_each(|row| writer.real(row.size as f64))?;
    writer.vector(LOGICAL, n)?;
    (0..n).try_for_each(|_| writer.word(0))?;
    writer.vector(INTEGER | HAS_CLASS | HAS_ATTRIBUTES, n)?;
    (0..n).try_for_each(|_| writer.word(MODE))?;
    writer.attribute("class")?;
    writer.strings(["octmode"].into_iter())?;
    writer.null()?;
    for _ in ["mtime", "ctime", "atime"] {
        writer.vector(REAL | HAS_CLASS | HAS_ATTRIBUTES, n)?;
        #[allow(clippy::cast_precision_loss, reason = "R stores times as doubles")]
        rows.iter().try_for_each(|row| writer.real(row.mtime.seconds() as f64))?;
        writer.attribute("class")?;
        writer.strings(["POSIXct", "POSIXt"].into_iter())?;
        writer.null()?;
    }
    for _ in ["uid", "gid"] {
        writer.vector(INTEGER, n)?;
        (0..n).try_for_each(|_| writer.word(0))?;
    }
    for _ in ["uname", "grname"] {
        writer.strings((0..n).map(|_| OWNER))?;
    }
    writer.attribute("names")?;
    writer.strings(COLUMNS.into_iter())?;
    writer.attribute("class")?;
    writer.strings(["data.frame"].into_iter())?;
    writer.attribute("row.names")?;
    writer.vector(TEXT, n)?;
    rows.iter().try_for_each(|row| row_name(writer, row))?;
    writer.null()
}

/// Reads `Meta/archive.rds` package by package. Skips rows without size or time, and those whose name is not
/// `{package}/{package}_{version}.{extension}`.
pub fn read_archive_meta(file: impl Read, limits: RdsLimits) -> Result<Vec<MetaRow<String>>, RdsError> {
    let mut rows = Rows::default();
    let mut decoder = RdsDecoder::open(file, limits)?;
    let flags = decoder.flags()?;
    if flags.code() == ALTREP {
        decoder.wrapper(|decoder, flags| read_frames(decoder, flags, &mut rows))?;
    } else {
        read_frames(&mut decoder, flags, &mut rows)?;
    }
    decoder.finish()?;
    Ok(rows.rows)
}

/// Reads a list of tables whose flags have been read, and its attributes.
fn read_frames(decoder: &mut RdsDecoder<'_>, flags: Flags, rows: &mut Rows) -> Result<(), RdsError> {
    if flags.code() != LIST_CODE {
        return Err(shape_error(ARCHIVE_SHAPE, "not a list"));
    }
    let packages = decoder.length(4)?;
    for _ in 0..packages {
        let reserved_memory = decoder.input.reserved_memory();
        let frame = decoder.item(1)?;
        read_rows(&frame, ARCHIVE_SHAPE, parse_archived_name, rows)?;
        drop(frame);
        decoder.input.release_to(reserved_memory);
    }
    if flags.has_attributes() {
        decoder.attributes(1)?;
    }
    Ok(())
}

/// Reads `Meta/current.rds`. Skips rows as [`read_archive_meta`] does; row names are `{package}_{version}.{extension}`.
pub fn read_current_meta(file: impl Read, limits: RdsLimits) -> Result<Vec<MetaRow<String>>, RdsError> {
    let mut rows = Rows::default();
    read_rows(&read(file, limits)?, CURRENT_SHAPE, PackageFile::parse, &mut rows)?;
    Ok(rows.rows)
}

/// The expected objects, for error messages.
const ARCHIVE_SHAPE: &str = "a list of file tables by package";
const CURRENT_SHAPE: &str = "a table of files";
/// Maximum memory of the rows in bytes: several times that of all of CRAN's, while a row name can be shared in the file.
const MAX_ROW_MEMORY: usize = 64 << 20;

/// The rows of the tables so far.
#[derive(Default)]
struct Rows {
    rows: Vec<MetaRow<String>>,
    memory: usize,
}

impl Rows {
    fn push(&mut self, row: MetaRow<String>) -> Result<(), RdsError> {
        // Each of the two texts is an allocation of its own.
        self.memory += size_of::<MetaRow<String>>() + row.package.len() + row.file.len() + 32;
        if self.memory > MAX_ROW_MEMORY {
            return Err(RdsError::TooLarge(MAX_ROW_MEMORY as u64));
        }
        self.rows.push(row);
        Ok(())
    }
}

fn shape_error(expected: &'static str, found: &str) -> RdsError {
    RdsError::Shape { expected, found: found.to_owned() }
}

fn parse_archived_name(row_name: &str) -> Option<PackageFile<'_>> {
    let (package, file) = row_name.split_once('/')?;
    PackageFile::parse(file).filter(|file| file.package == package)
}

fn read_rows<'f>(
    frame: &'f Item,
    expected: &'static str,
    parse: impl Fn(&'f str) -> Option<PackageFile<'f>>,
    rows: &mut Rows,
) -> Result<(), RdsError> {
    if !frame.has_class("data.frame") {
        return Err(shape_error(expected, "an element that is not a data frame"));
    }
    let sizes = frame.element("size").ok_or_else(|| shape_error(expected, "no column 'size'"))?;
    let times = frame.element("mtime").ok_or_else(|| shape_error(expected, "no column 'mtime'"))?;
    // A frame without rows has integers as row names.
    let Some(names) = frame.attribute("row.names").and_then(Item::text) else { return Ok(()) };
    for (row, name) in names.iter().enumerate() {
        let Some(file) = name.and_then(&parse) else { continue };
        let size = number(sizes, row).filter(|size| (0.0..=9e15).contains(size));
        let mtime = number(times, row).and_then(Timestamp::from_r_seconds);
        let (Some(size), Some(mtime)) = (size, mtime) else { continue };
        let (package, file) = (file.package.to_owned(), file.name.to_owned());
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "size is checked to be in 0..=9e15"
        )]
        rows.push(MetaRow { package, file, size: size as u64, mtime })?;
    }
    Ok(())
}

/// Returns a number in an integer or double column; `None` for `NA` and beyond the end.
fn number(column: &Item, row: usize) -> Option<f64> {
    match &column.data {
        Data::Real(values) => values.get(row).copied().filter(|value| value.is_finite()),
        Data::Integer(values) => {
            values.get(row).filter(|value| **value != super::item::NA_INT).map(|value| f64::from(*value))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_the_rows_is_limited_and_suffices_for_twice_all_of_cran() {
        let row = || {
            let (package, file) = ("average".to_owned(), "average_1.10.100.tar.gz".to_owned());
            MetaRow { package, file, size: 1, mtime: Timestamp(0) }
        };
        let mut rows = Rows::default();
        let error = loop {
            if let Err(error) = rows.push(row()) {
                break error;
            }
        };
        assert!(matches!(error, RdsError::TooLarge(_)), "{error}");
        assert!(rows.rows.len() > 2 * 183_000, "{}", rows.rows.len());
    }
}
