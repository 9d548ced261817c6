//! Reads the end record of a zip file, which states the position and size of the central directory.

use std::io::{Read, Seek};

use super::{ArchiveError, ZipFormat, format_error, read_at, u16_at, u32_at, u64_at};

pub(super) const END: [u8; 4] = *b"PK\x05\x06";
const END_LEN: usize = 22;
const LOCATOR: [u8; 4] = *b"PK\x06\x07";
const LOCATOR_LEN: u64 = 20;
const END64: [u8; 4] = *b"PK\x06\x06";
const END64_LEN: u64 = 56;

/// The properties of the central directory.
pub(super) struct EndRecord {
    /// The offset where the directory must end.
    pub(super) directory_end: u64,
    pub(super) count: u64,
    /// The size of the directory in bytes.
    pub(super) size: u64,
    /// The offset where the directory begins.
    pub(super) start: u64,
}

/// Finds the end record of a file of `length` bytes.
pub(super) fn find(
    file: &mut (impl Read + Seek),
    length: u64,
    format: ZipFormat,
) -> Result<EndRecord, ArchiveError> {
    let (offset, end) = find_record(file, length)?;
    if [u16_at(&end, 4), u16_at(&end, 6)] != [0, 0] || u16_at(&end, 8) != u16_at(&end, 10) {
        return Err(format_error(offset, "multi-disk archives are not supported"));
    }
    let (count, size, start) = (u16_at(&end, 10), u32_at(&end, 12), u32_at(&end, 16));
    // Programs use a zip64 end record if its locator is before the end record, even if all values fit there.
    if format == ZipFormat::Wheel && has_locator(file, offset)? {
        let zip64_end = zip64_end(file, offset)?;
        let is_consistent = (count == u16::MAX || u64::from(count) == zip64_end.count)
            && (size == u32::MAX || u64::from(size) == zip64_end.size)
            && (start == u32::MAX || u64::from(start) == zip64_end.start);
        return if is_consistent {
            Ok(zip64_end)
        } else {
            Err(format_error(offset, "its two end records disagree"))
        };
    }
    if count != u16::MAX && size != u32::MAX && start != u32::MAX {
        return Ok(EndRecord {
            directory_end: offset,
            count: u64::from(count),
            size: u64::from(size),
            start: u64::from(start),
        });
    }
    match format {
        ZipFormat::Streamed if (count, size, start) == (u16::MAX, u32::MAX, u32::MAX) => {
            zip64_end(file, offset)
        }
        ZipFormat::Wheel => Err(format_error(offset, "its zip64 end record is missing")),
        ZipFormat::Streamed | ZipFormat::Plain => Err(format_error(offset, "zip64 is not supported")),
    }
}

/// Returns whether the locator of a zip64 end record is directly before the end record.
fn has_locator(file: &mut (impl Read + Seek), end_offset: u64) -> Result<bool, ArchiveError> {
    match end_offset.checked_sub(LOCATOR_LEN) {
        Some(offset) => Ok(read_at(file, offset, LOCATOR_LEN)?.starts_with(&LOCATOR)),
        None => Ok(false),
    }
}

/// Reads the zip64 end record before the end record, with its locator between them.
fn zip64_end(file: &mut (impl Read + Seek), end_offset: u64) -> Result<EndRecord, ArchiveError> {
    let missing_error = || format_error(end_offset, "its zip64 end record is missing");
    let offset = end_offset.checked_sub(LOCATOR_LEN + END64_LEN).ok_or_else(missing_error)?;
    let bytes = read_at(file, offset, END64_LEN + LOCATOR_LEN)?;
    let (end, locator) = bytes.split_at(END64_LEN as usize);
    let is_located = locator[..4] == LOCATOR
        && u32_at(locator, 4) == 0
        && u64_at(locator, 8) == offset
        && u32_at(locator, 16) == 1;
    // The size field does not include the first twelve bytes of the record.
    let is_valid = end[..4] == END64
        && u64_at(end, 4) == END64_LEN - 12
        && u32_at(end, 16) == 0
        && u32_at(end, 20) == 0
        && u64_at(end, 24) == u64_at(end, 32);
    if !is_located || !is_valid {
        return Err(missing_error());
    }
    Ok(EndRecord {
        directory_end: offset,
        count: u64_at(end, 32),
        size: u64_at(end, 40),
        start: u64_at(end, 48),
    })
}

/// Finds the end record and its offset. It is the last record with the signature, and its comment must end with the
/// file. Earlier signatures belong to the contents of members, such as zip files in the package. If the comment of an
/// earlier record also ends with the file, programs may differ in which record they use, so the file is refused.
fn find_record(file: &mut (impl Read + Seek), length: u64) -> Result<(u64, Vec<u8>), ArchiveError> {
    let tail_len = length.min(END_LEN as u64 + u64::from(u16::MAX));
    let bytes = read_at(file, length - tail_len, tail_len)?;
    let file_offset = |index: usize| length - tail_len + index as u64;
    let comment_len =
        |index: usize| bytes.get(index..index + END_LEN).map(|record| usize::from(u16_at(record, 20)));
    let ends_the_file = |index: usize| {
        comment_len(index).is_some_and(|comment_len| index + END_LEN + comment_len == bytes.len())
    };
    let signatures = bytes.windows(END.len()).enumerate().filter(|(_, window)| *window == END);
    let candidates: Vec<usize> = signatures.map(|(index, _)| index).collect();
    let Some((&last, earlier_candidates)) = candidates.split_last() else {
        return Err(format_error(length, "its end record is missing; copy or download the file again"));
    };
    if earlier_candidates.iter().any(|index| ends_the_file(*index)) {
        return Err(format_error(file_offset(last), "it has two end records"));
    }
    let record = bytes.get(last..last + END_LEN).ok_or(ArchiveError::Truncated)?;
    if !ends_the_file(last) {
        return Err(format_error(length, "other bytes follow its end record"));
    }
    if !bytes[last + END_LEN..].is_ascii() {
        return Err(format_error(file_offset(last), "its comment is not ASCII"));
    }
    Ok((file_offset(last), record.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn record(comment: &[u8]) -> Vec<u8> {
        let length = u16::try_from(comment.len()).unwrap().to_le_bytes();
        [&END[..], &[0; 16], &length, comment].concat()
    }

    fn find_offset(bytes: Vec<u8>) -> Result<u64, String> {
        let length = bytes.len() as u64;
        find_record(&mut Cursor::new(bytes), length)
            .map(|(offset, _)| offset)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_end_record_of_a_zip_file_in_the_package_is_not_a_second_one() {
        let inner_zip = [&b"PK inner"[..], &record(b"")].concat();
        let prefix = [&inner_zip[..], b"the central directory"].concat();
        assert_eq!(find_offset([&prefix[..], &record(b"")].concat()), Ok(prefix.len() as u64));
        assert_eq!(find_offset([&prefix[..], &record(b"a comment")].concat()), Ok(prefix.len() as u64));
    }

    #[test]
    fn a_second_record_in_the_comment_and_bytes_after_the_record_are_refused() {
        let result = find_offset(record(&record(b"")));
        assert!(result.as_ref().is_err_and(|error| error.contains("two end records")), "{result:?}");
        for (bytes, reason) in [
            ([&record(b"")[..], b"more"].concat(), "other bytes follow"),
            (record("é".as_bytes()), "its comment is not ASCII"),
        ] {
            let result = find_offset(bytes);
            assert!(result.as_ref().is_err_and(|error| error.contains(reason)), "{result:?}");
        }
        let result = find_offset(record(b"")[..20].to_vec());
        assert!(result.is_err(), "{result:?}");
    }
}
