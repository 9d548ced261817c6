//! The end record of a zip file: position and size of the central directory.

use std::io::{Read, Seek};

use super::{ArchiveError, ZipDialect, form_error, read_at, u16_at, u32_at};

pub(super) const END: [u8; 4] = *b"PK\x05\x06";
const END_LEN: usize = 22;
const LOCATOR: [u8; 4] = *b"PK\x06\x07";
const LOCATOR_LEN: u64 = 20;
const END64: [u8; 4] = *b"PK\x06\x06";
const END64_LEN: u64 = 56;

/// The properties of the central directory.
pub(super) struct EndRecord {
    /// The offset where the directory must end.
    pub(super) at: u64,
    /// The number of members.
    pub(super) count: u64,
    /// The size of the directory in bytes.
    pub(super) size: u64,
    /// The offset where it begins.
    pub(super) start: u64,
}

/// Finds the end record of a file of `length` bytes.
pub(super) fn find(
    file: &mut (impl Read + Seek),
    length: u64,
    written: ZipDialect,
) -> Result<EndRecord, ArchiveError> {
    let (at, end) = find_record(file, length)?;
    if [u16_at(&end, 4), u16_at(&end, 6)] != [0, 0] || u16_at(&end, 8) != u16_at(&end, 10) {
        return Err(form_error(at, "it is part of a multi-disk archive"));
    }
    let (count, size, start) = (u16_at(&end, 10), u32_at(&end, 12), u32_at(&end, 16));
    if count != u16::MAX && size != u32::MAX && start != u32::MAX {
        return Ok(EndRecord { at, count: u64::from(count), size: u64::from(size), start: u64::from(start) });
    }
    match written {
        ZipDialect::Streamed if (count, size, start) == (u16::MAX, u32::MAX, u32::MAX) => zip64_end(file, at),
        ZipDialect::Streamed | ZipDialect::Plain => Err(form_error(at, "it is a zip64 file")),
    }
}

/// Reads the zip64 end record right before the end record, which then holds no values itself.
fn zip64_end(file: &mut (impl Read + Seek), end_at: u64) -> Result<EndRecord, ArchiveError> {
    let missing = || form_error(end_at, "its zip64 end record is missing");
    let at = end_at.checked_sub(LOCATOR_LEN + END64_LEN).ok_or_else(missing)?;
    let bytes = read_at(file, at, END64_LEN + LOCATOR_LEN)?;
    let (end, locator) = bytes.split_at(END64_LEN as usize);
    let locates = locator[..4] == LOCATOR
        && u32_at(locator, 4) == 0
        && u64_at(locator, 8) == at
        && u32_at(locator, 16) == 1;
    // The size field of the record does not count its first twelve bytes.
    let sound = end[..4] == END64
        && u64_at(end, 4) == END64_LEN - 12
        && u32_at(end, 16) == 0
        && u32_at(end, 20) == 0
        && u64_at(end, 24) == u64_at(end, 32);
    if !locates || !sound {
        return Err(missing());
    }
    Ok(EndRecord { at, count: u64_at(end, 32), size: u64_at(end, 40), start: u64_at(end, 48) })
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// Finds the end record and its offset; there must be exactly one candidate.
fn find_record(file: &mut (impl Read + Seek), length: u64) -> Result<(u64, Vec<u8>), ArchiveError> {
    let tail = length.min(END_LEN as u64 + u64::from(u16::MAX));
    let bytes = read_at(file, length - tail, tail)?;
    let mut found = None;
    for (at, window) in bytes.windows(4).enumerate() {
        if window != END {
            continue;
        }
        // Programs disagree on which record applies when a comment contains a second one.
        if found.is_some() {
            return Err(form_error(length - tail + at as u64, "it has two end records"));
        }
        found = Some(at);
    }
    let at = found
        .ok_or_else(|| form_error(length, "its end record is missing; copy or download the file again"))?;
    let record = bytes.get(at..).filter(|record| record.len() >= END_LEN).ok_or(ArchiveError::Truncated)?;
    if record.len() != END_LEN + usize::from(u16_at(record, 20)) || !record[END_LEN..].is_ascii() {
        return Err(form_error(length, "other bytes follow its end record"));
    }
    Ok((length - tail + at as u64, record[..END_LEN].to_vec()))
}
