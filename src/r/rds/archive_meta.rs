//! `Meta/archive.rds` and `Meta/current.rds`: which files a mirror has, how long they are and since when.

use super::item::{Data, Item};
use super::read::{Decoder, LIST as LIST_CODE, read};
use super::write::{HAS_ATTRIBUTES, HAS_CLASS, INTEGER, LIST, LOGICAL, REAL, TEXT, Writer};
use super::{Limits, RdsError};
use crate::model::time::Timestamp;
use crate::r::layout::PackageFile;
use std::io::{self, Read, Write};

/// One file of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaRow<S> {
    /// The package.
    pub package: S,
    /// The file name, `{package}_{version}.tar.gz`.
    pub file: S,
    /// Length in bytes.
    pub size: u64,
    /// When it was published.
    pub mtime: Timestamp,
}

/// Columns of `file.info()`, in its order.
const COLUMNS: [&str; 10] =
    ["size", "isdir", "mode", "mtime", "ctime", "atime", "uid", "gid", "uname", "grname"];
/// What stands in the columns that would tell about the server: permissions 0644, owner 0 `root`.
const MODE: u32 = 0o644;
const OWNER: &str = "root";

/// Writes `Meta/archive.rds`, uncompressed. The rows of a package stand together and oldest first, because clients
/// walk them from the end; row names are `{package}/{file}`. Times are cut to seconds.
///
/// # Errors
/// Those of `out`.
pub fn write_archive_meta<W: Write, S: AsRef<str>>(out: W, rows: &[MetaRow<S>]) -> io::Result<()> {
    let mut writer = Writer::new(out);
    let packages = || rows.chunk_by(|a, b| a.package.as_ref() == b.package.as_ref());
    writer.vector(LIST | HAS_ATTRIBUTES, packages().count())?;
    let mut name = String::new();
    for rows in packages() {
        frame(&mut writer, rows, |writer, row| {
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

/// Writes `Meta/current.rds`, uncompressed: one data frame, row names are the file names.
///
/// # Errors
/// Those of `out`.
pub fn write_current_meta<W: Write, S: AsRef<str>>(out: W, rows: &[MetaRow<S>]) -> io::Result<()> {
    let mut writer = Writer::new(out);
    frame(&mut writer, rows, |writer, row| writer.string(row.file.as_ref().as_bytes()))?;
    writer.finish()
}

/// A data frame as `file.info()` gives it.
fn frame<W: Write, S: AsRef<str>>(
    writer: &mut Writer<W>,
    rows: &[MetaRow<S>],
    mut row_name: impl FnMut(&mut Writer<W>, &MetaRow<S>) -> io::Result<()>,
) -> io::Result<()> {
    let n = rows.len();
    writer.vector(LIST | HAS_CLASS | HAS_ATTRIBUTES, COLUMNS.len())?;
    writer.vector(REAL, n)?;
    #[allow(clippy::cast_precision_loss)]
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
        #[allow(clippy::cast_precision_loss)]
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

/// Reads `Meta/archive.rds` package by package. Rows without size or time are left out, and so are row names that
/// are not `{package}/{package}_{version}.{extension}`.
///
/// # Errors
/// Every [`RdsError`]; `Shape` when it is no list of data frames.
pub fn read_archive_meta(file: impl Read, limits: Limits) -> Result<Vec<MetaRow<String>>, RdsError> {
    let mut rows = Vec::new();
    let mut decoder = Decoder::open(file, limits)?;
    let flags = decoder.flags()?;
    if flags.code() != LIST_CODE {
        let Data::List(frames) = decoder.item_of(flags, 0)?.data else {
            return Err(shape(ARCHIVE, "no list"));
        };
        for frame in &frames {
            take_rows(frame, ARCHIVE, archived, &mut rows)?;
        }
    } else {
        let packages = decoder.length(4)?;
        for _ in 0..packages {
            let (mark, before) = (decoder.input.held(), rows.len());
            let frame = decoder.item(1)?;
            take_rows(&frame, ARCHIVE, archived, &mut rows)?;
            drop(frame);
            decoder.input.release_to(mark);
            decoder.input.hold((rows.len() - before).saturating_mul(ROW_COST))?;
        }
        if flags.has_attributes() {
            decoder.attributes(1)?;
        }
    }
    decoder.finish()?;
    Ok(rows)
}

/// Reads `Meta/current.rds`; what is left out is as in [`read_archive_meta`], with row names
/// `{package}_{version}.{extension}`.
///
/// # Errors
/// Every [`RdsError`]; `Shape` when it is no data frame.
pub fn read_current_meta(file: impl Read, limits: Limits) -> Result<Vec<MetaRow<String>>, RdsError> {
    let mut rows = Vec::new();
    take_rows(&read(file, limits)?, CURRENT, PackageFile::parse, &mut rows)?;
    Ok(rows)
}

const ARCHIVE: &str = "a list of file tables by package";
const CURRENT: &str = "a table of files";
/// Memory of a row, with its two strings.
const ROW_COST: usize = size_of::<MetaRow<String>>() + 64;

fn shape(expected: &'static str, found: &str) -> RdsError {
    RdsError::Shape { expected, found: found.to_owned() }
}

fn archived(row_name: &str) -> Option<PackageFile<'_>> {
    let (package, file) = row_name.split_once('/')?;
    PackageFile::parse(file).filter(|file| file.package == package)
}

fn take_rows<'f>(
    frame: &'f Item,
    expected: &'static str,
    parse: impl Fn(&'f str) -> Option<PackageFile<'f>>,
    rows: &mut Vec<MetaRow<String>>,
) -> Result<(), RdsError> {
    if !frame.has_class("data.frame") {
        return Err(shape(expected, "an element that is no data frame"));
    }
    let sizes = frame.element("size").ok_or_else(|| shape(expected, "no column 'size'"))?;
    let times = frame.element("mtime").ok_or_else(|| shape(expected, "no column 'mtime'"))?;
    // A frame without rows has integers for row names.
    let Some(names) = frame.attribute("row.names").and_then(Item::text) else { return Ok(()) };
    for (row, name) in names.iter().enumerate() {
        let Some(file) = name.and_then(&parse) else { continue };
        let size = number(sizes, row).filter(|size| (0.0..=9e15).contains(size));
        let mtime = number(times, row).and_then(Timestamp::from_r_seconds);
        let (Some(size), Some(mtime)) = (size, mtime) else { continue };
        let (package, file) = (file.package.to_owned(), file.name.to_owned());
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        rows.push(MetaRow { package, file, size: size as u64, mtime });
    }
    Ok(())
}

/// A number of a column, whole or not; `None` for `NA` and what is not there.
fn number(column: &Item, row: usize) -> Option<f64> {
    match &column.data {
        Data::Real(values) => values.get(row).copied().filter(|value| value.is_finite()),
        Data::Integer(values) => {
            values.get(row).filter(|value| **value != super::item::NA_INT).map(|value| f64::from(*value))
        }
        _ => None,
    }
}
