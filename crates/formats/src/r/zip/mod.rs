//! Zip files, as R writes them for Windows binaries. They are read strictly, so that every program sees the same
//! members, and copied with some members replaced. Format: PKWARE APPNOTE 6.3.
//!
//! The crate zip is not used because it reads leniently, nor rawzip (0.5) for the records: it resolves zip64 itself and
//! gives no access to the version, the disk and the sizes of 32 bits that a record states, nor to its bytes, which are
//! compared and copied here. Anything that programs may interpret differently (other bytes before, between or after the
//! records or after the compressed data of a member, data descriptors, zip64, contradictory records, names in an
//! undeclared encoding) is refused here. Files written as a stream, such as public advisories, have data descriptors
//! and may have a zip64 end record: both are accepted on request, and must agree with the other records. In wheels,
//! which may be larger than 4 GiB, zip64 sizes are accepted under the same condition.

mod copy;
mod end;

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use super::archive::{ArchiveError, ArchiveLimits};
pub use copy::copy;
use end::END;

const LOCAL: [u8; 4] = *b"PK\x03\x04";
const CENTRAL: [u8; 4] = *b"PK\x01\x02";
const DESCRIPTOR: [u8; 4] = *b"PK\x07\x08";
const LOCAL_LEN: u64 = 30;
const CENTRAL_LEN: usize = 46;
/// The ID of the extra field with sizes of 64 bits.
const ZIP64_FIELD: u16 = 0x0001;
/// The flag of a member whose checksum and sizes follow it in a data descriptor.
const DATA_DESCRIPTOR_FLAG: u16 = 1 << 3;
/// The flag of a member whose name is UTF-8.
const UTF8_FLAG: u16 = 1 << 11;
/// The highest version of the format that a member may need, 6.3, in tenths: Python refuses higher ones.
const MAX_VERSION: u8 = 63;
/// Maximum size of the central directory in bytes; a package of ten thousand files needs about 1 MiB.
const MAX_DIRECTORY: u64 = 64 << 20;

/// A zip file with consistent records. The contents of its members have not been read.
#[derive(Debug)]
pub struct Zip {
    /// The members in the order of the file.
    pub members: Vec<ZipMember>,
    /// The central directory; empty unless the format is [`ZipFormat::Plain`], because no other file is copied.
    directory: Vec<u8>,
}

/// The accepted formats of a zip file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZipFormat {
    /// Checksum and sizes are in each local record, as R writes them.
    Plain,
    /// Like `Plain`, or written as a stream: checksum and sizes are in a data descriptor (with signature) after
    /// the contents, and a zip64 end record is used if there are too many members for the plain one.
    Streamed,
    /// Like `Streamed`, but names may differ only in case (not all wheels are for Windows), and sizes may have 64 bits.
    Wheel,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZipMember {
    /// The unchanged name; folders end in `/`.
    pub name: String,
    /// The size of the contents in bytes.
    pub size: u64,
    crc: u32,
    is_deflated: bool,
    compressed_size: u64,
    /// The offsets of its local record, of its contents, and of the next member.
    start: u64,
    data_start: u64,
    end: u64,
    /// The position of the member's record in the central directory.
    record: Range<usize>,
}

impl ZipMember {
    pub fn is_folder(&self) -> bool {
        self.name.ends_with('/')
    }
}

fn format_error(offset: u64, defect: &'static str) -> ArchiveError {
    ArchiveError::InvalidZip { offset, defect }
}

fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes([bytes[offset], bytes[offset + 1]])
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes([bytes[offset], bytes[offset + 1], bytes[offset + 2], bytes[offset + 3]])
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from(u32_at(bytes, offset)) | u64::from(u32_at(bytes, offset + 4)) << 32
}

impl Zip {
    /// Reads the directory of a zip file and every local record.
    pub fn open(
        file: &mut (impl Read + Seek),
        format: ZipFormat,
        limits: ArchiveLimits,
    ) -> Result<Zip, ArchiveError> {
        let length = file.seek(SeekFrom::End(0)).map_err(ArchiveError::Io)?;
        let end::EndRecord { directory_end, count, size, start } = end::find(file, length, format)?;
        if start.checked_add(size) != Some(directory_end) || size > MAX_DIRECTORY {
            return Err(format_error(directory_end, "the directory is not directly before the end record"));
        }
        if count > limits.members {
            return Err(ArchiveError::TooManyMembers { limit: limits.members });
        }
        let directory = read_at(file, start, size)?;
        // Allocates according to the size of the directory, because the count is untrusted.
        let capacity =
            directory.len().div_ceil(CENTRAL_LEN).min(usize::try_from(count).unwrap_or(usize::MAX));
        let mut members: Vec<ZipMember> = Vec::with_capacity(capacity);
        let (mut directory_position, mut position, mut inflated_size) = (0, 0, 0_u64);
        for _ in 0..count {
            let offset = start + directory_position as u64;
            let member = read_central(&directory, directory_position, offset, format)?;
            directory_position = member.record.end;
            let member = read_local(file, member, &directory, position, format)?;
            position = member.end;
            inflated_size = inflated_size.saturating_add(member.size);
            if inflated_size > limits.inflated {
                return Err(ArchiveError::TooLarge { limit: limits.inflated });
            }
            members.push(member);
        }
        if directory_position != directory.len() || position != start {
            return Err(format_error(position, "other bytes are between its records"));
        }
        if inflated_size > (64 << 20) && inflated_size / limits.ratio.max(1) > length {
            return Err(ArchiveError::Bomb { ratio: limits.ratio });
        }
        // The directory may have 64 MiB: it is freed before the names are copied.
        let directory = match format {
            ZipFormat::Plain => directory,
            ZipFormat::Streamed | ZipFormat::Wheel => Vec::new(),
        };
        check_names(&members, format)?;
        Ok(Zip { members, directory })
    }
}

impl ZipMember {
    /// Passes the contents in pieces to `consume`; checks size, checksum, and that the compressed data ends with them.
    pub fn for_each_piece(
        &self,
        file: &mut (impl Read + Seek),
        mut consume: impl FnMut(&[u8]) -> Result<(), ArchiveError>,
    ) -> Result<(), ArchiveError> {
        file.seek(SeekFrom::Start(self.data_start)).map_err(ArchiveError::Io)?;
        let mut stored_contents = file.take(self.compressed_size);
        let mut decoder = None;
        // Python 2 wrote folders as deflated members without any data.
        let is_empty_folder = self.is_folder() && self.compressed_size == 0;
        let source: &mut dyn Read = if self.is_deflated && !is_empty_folder {
            decoder.insert(flate2::read::DeflateDecoder::new(stored_contents))
        } else {
            &mut stored_contents
        };
        let mut crc = flate2::Crc::new();
        let mut remaining = self.size;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = match source.read(&mut buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(ArchiveError::Damaged(error)),
            };
            if count == 0 {
                break;
            }
            let size_error = || format_error(self.start, "the size of a member is wrong");
            remaining = remaining.checked_sub(count as u64).ok_or_else(size_error)?;
            crc.update(&buffer[..count]);
            consume(&buffer[..count])?;
        }
        if remaining != 0 || crc.sum() != self.crc {
            return Err(format_error(self.start, "the checksum of a member is wrong"));
        }
        // A program that reads a stream continues at the end of the deflate data, and might find another member there.
        if decoder.is_some_and(|decoder| decoder.total_in() != self.compressed_size) {
            return Err(format_error(self.start, "other bytes follow the compressed data of a member"));
        }
        Ok(())
    }

    /// Returns the whole contents; an error if they have more than `limit` bytes.
    pub fn read(&self, file: &mut (impl Read + Seek), limit: u64) -> Result<Vec<u8>, ArchiveError> {
        if self.size > limit {
            let path = self.name.chars().take(200).collect();
            return Err(ArchiveError::MemberTooLarge { path, size: self.size, limit });
        }
        let mut bytes = Vec::new();
        self.for_each_piece(file, |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(bytes)
    }
}

fn read_at(file: &mut (impl Read + Seek), offset: u64, length: u64) -> Result<Vec<u8>, ArchiveError> {
    file.seek(SeekFrom::Start(offset)).map_err(ArchiveError::Io)?;
    // No caller passes more than `MAX_DIRECTORY`. The exact capacity matters for the directory.
    let mut bytes = Vec::with_capacity(usize::try_from(length.min(MAX_DIRECTORY)).unwrap_or(0));
    file.take(length).read_to_end(&mut bytes).map_err(ArchiveError::Io)?;
    if bytes.len() as u64 == length { Ok(bytes) } else { Err(ArchiveError::Truncated) }
}

/// Parses the record at `position` of the central directory. `offset` is the record's offset in the file, for errors.
fn read_central(
    directory: &[u8],
    position: usize,
    offset: u64,
    format: ZipFormat,
) -> Result<ZipMember, ArchiveError> {
    let truncated_error = || format_error(offset, "the directory is truncated");
    let record = directory
        .get(position..)
        .filter(|r| r.len() >= CENTRAL_LEN && r[..4] == CENTRAL)
        .ok_or_else(truncated_error)?;
    let [name_len, extra_len, comment_len] = [28, 30, 32].map(|field| usize::from(u16_at(record, field)));
    let length = CENTRAL_LEN + name_len + extra_len + comment_len;
    let record = record.get(..length).ok_or_else(truncated_error)?;
    // The upper byte of the version is the system in files of some programs.
    if record[6] > MAX_VERSION {
        return Err(version_error(offset));
    }
    let (flags, method, disk) = (u16_at(record, 8), u16_at(record, 10), u16_at(record, 34));
    let data_descriptor_flag = match format {
        ZipFormat::Plain => 0,
        ZipFormat::Streamed | ZipFormat::Wheel => DATA_DESCRIPTOR_FLAG,
    };
    if flags & !(UTF8_FLAG | 0b110 | data_descriptor_flag) != 0 {
        return Err(format_error(
            offset,
            "a member is encrypted, has a data descriptor, or has another unsupported flag",
        ));
    }
    if !matches!(method, 0 | 8) {
        return Err(format_error(offset, "a member has an unsupported compression method"));
    }
    if comment_len != 0 || disk != 0 {
        return Err(format_error(offset, "a member has a comment or is on another disk"));
    }
    let extra_fields = &record[CENTRAL_LEN + name_len..CENTRAL_LEN + name_len + extra_len];
    let zip64_field = check_extra_fields(extra_fields, offset, format)?;
    // The upper half of the attributes is the file mode or zero, whatever system the record names: Python writes modes on
    // Windows too. Attributes of Windows cannot be taken for a link, because none of them is the highest bit. Programs
    // differ in the systems for which they create a link.
    let is_link = u32_at(record, 38) >> 16 & 0o170_000 == 0o120_000;
    let bytes = &record[CENTRAL_LEN..CENTRAL_LEN + name_len];
    let name = String::from_utf8(bytes.to_vec()).map_err(|_| {
        ArchiveError::NotUtf8(String::from_utf8_lossy(bytes).escape_debug().take(200).collect())
    })?;
    // Python reads such a name as CP437, other programs as UTF-8 or in the encoding of the system.
    if flags & UTF8_FLAG == 0 && !name.is_ascii() {
        return Err(format_error(offset, "a name that is not ASCII is not declared as UTF-8 (flag 11)"));
    }
    // Programs that read names as C strings would see a different name.
    if name.contains('\0') {
        return Err(ArchiveError::BadName(name.escape_debug().take(200).collect()));
    }
    if is_link {
        return Err(ArchiveError::Special {
            path: name.chars().take(200).collect(),
            kind: "link".to_owned(),
        });
    }
    let fields = [24, 20, 42].map(|field| u32_at(record, field));
    let [size, compressed_size, start] = resolve_zip64(fields, zip64_field, offset, format)?;
    if (method == 0 && compressed_size != size) || (name.ends_with('/') && size != 0) {
        return Err(format_error(offset, "the size of a member is wrong"));
    }
    Ok(ZipMember {
        name,
        size,
        crc: u32_at(record, 16),
        is_deflated: method == 8,
        compressed_size,
        start,
        data_start: 0,
        end: 0,
        record: position..position + length,
    })
}

fn version_error(offset: u64) -> ArchiveError {
    format_error(offset, "a member needs a version of the format above 6.3")
}

/// Reads the local record of a member, which must begin at `position` and agree with the directory.
fn read_local(
    file: &mut (impl Read + Seek),
    member: ZipMember,
    directory: &[u8],
    position: u64,
    format: ZipFormat,
) -> Result<ZipMember, ArchiveError> {
    if member.start != position {
        return Err(format_error(position, "other bytes are between its records"));
    }
    let disagreement = || format_error(position, "a member's two records disagree");
    let head = read_at(file, position, LOCAL_LEN)?;
    if head[4] > MAX_VERSION {
        return Err(version_error(position));
    }
    let (name_len, extra_len) = (u64::from(u16_at(&head, 26)), u64::from(u16_at(&head, 28)));
    let name_and_extra_fields = read_at(file, position + LOCAL_LEN, name_len + extra_len)?;
    let central_record = &directory[member.record.clone()];
    let is_streamed = u16_at(central_record, 8) & DATA_DESCRIPTOR_FLAG != 0;
    // Flags, method, time and date are the bytes 6..14 of the local record, and 8..16 of the central record.
    let is_consistent = head[..4] == LOCAL
        && head[6..14] == central_record[8..16]
        && name_and_extra_fields.starts_with(member.name.as_bytes());
    if !is_consistent || name_len != member.name.len() as u64 {
        return Err(disagreement());
    }
    let zip64_field = check_extra_fields(&name_and_extra_fields[member.name.len()..], position, format)?;
    // A local record has no offset.
    let fields = [u32_at(&head, 22), u32_at(&head, 18), 0];
    let [size, compressed_size, _] = resolve_zip64(fields, zip64_field, position, format)?;
    let checksum_and_sizes = (u32_at(&head, 14), compressed_size, size);
    if checksum_and_sizes != (member.crc, member.compressed_size, member.size)
        && !(is_streamed && checksum_and_sizes == (0, 0, 0))
    {
        return Err(disagreement());
    }
    let data_start = position + LOCAL_LEN + name_len + extra_len;
    let size_error = || format_error(position, "the size of a member is wrong");
    // Offsets in files are positive numbers of type i64.
    let data_end = data_start.checked_add(member.compressed_size).filter(|end| i64::try_from(*end).is_ok());
    let data_end = data_end.ok_or_else(size_error)?;
    if !is_streamed {
        return Ok(ZipMember { data_start, end: data_end, ..member });
    }
    let mut expected_descriptor = DESCRIPTOR.to_vec();
    expected_descriptor.extend_from_slice(&member.crc.to_le_bytes());
    for value in [member.compressed_size, member.size] {
        if zip64_field.is_some() {
            expected_descriptor.extend_from_slice(&value.to_le_bytes());
        } else {
            let value = u32::try_from(value).map_err(|_| size_error())?;
            expected_descriptor.extend_from_slice(&value.to_le_bytes());
        }
    }
    let descriptor_len = expected_descriptor.len() as u64;
    if read_at(file, data_end, descriptor_len)? != expected_descriptor {
        return Err(format_error(data_end, "a member's data descriptor disagrees with the directory"));
    }
    Ok(ZipMember { data_start, end: data_end + descriptor_len, ..member })
}

/// Accepts only extra fields with times and user IDs, and in a wheel one with zip64 sizes, whose content it returns. Other
/// extra fields may change the name or the size.
fn check_extra_fields(
    mut bytes: &[u8],
    offset: u64,
    format: ZipFormat,
) -> Result<Option<&[u8]>, ArchiveError> {
    let mut zip64_field = None;
    while !bytes.is_empty() {
        let malformed_error = || format_error(offset, "an extra field is malformed");
        let (head, rest) = bytes.split_at_checked(4).ok_or_else(malformed_error)?;
        let id = u16_at(head, 0);
        let is_zip64 = id == ZIP64_FIELD && format == ZipFormat::Wheel;
        if !is_zip64 && !matches!(id, 0x5455 | 0x5855 | 0x7855 | 0x7875 | 0x000a) {
            return Err(format_error(offset, "a member has an extra field that is not a time"));
        }
        let length = usize::from(u16_at(head, 2));
        let (content, rest) = rest.split_at_checked(length).ok_or_else(malformed_error)?;
        if is_zip64 && zip64_field.replace(content).is_some() {
            return Err(format_error(offset, "a member has two zip64 fields"));
        }
        bytes = rest;
    }
    Ok(zip64_field)
}

/// Returns the size, the compressed size and the offset that a record states. `fields` are its fields of 32 bits. In a
/// wheel, a field of `0xffffffff` is a placeholder: `zip64_field` contains the values of exactly the placeholders, in this
/// order. Without placeholders, it repeats both sizes, as some versions of CPython write it.
fn resolve_zip64(
    fields: [u32; 3],
    zip64_field: Option<&[u8]>,
    offset: u64,
    format: ZipFormat,
) -> Result<[u64; 3], ArchiveError> {
    let mut values = fields.map(u64::from);
    let placeholders = match format {
        ZipFormat::Plain | ZipFormat::Streamed => 0,
        ZipFormat::Wheel => fields.iter().filter(|field| **field == u32::MAX).count(),
    };
    let error = || format_error(offset, "a member's zip64 field disagrees with its record");
    match zip64_field {
        None if placeholders == 0 => {}
        None => return Err(error()),
        Some(content) if placeholders == 0 => {
            if content.len() != 16 || [u64_at(content, 0), u64_at(content, 8)] != values[..2] {
                return Err(error());
            }
        }
        Some(content) => {
            if content.len() != 8 * placeholders {
                return Err(error());
            }
            let is_placeholder = |value: &&mut u64| **value == u64::from(u32::MAX);
            for (index, value) in values.iter_mut().filter(is_placeholder).enumerate() {
                *value = u64_at(content, 8 * index);
            }
        }
    }
    Ok(values)
}

/// Checks that no two members have the same name, and that no file has the name of a folder, or of a folder in the path of
/// another member: a program creates the one or the other.
fn check_names(members: &[ZipMember], format: ZipFormat) -> Result<(), ArchiveError> {
    // One buffer for all names, because a file may have 400,000 members.
    let mut bytes = Vec::with_capacity(members.iter().map(|member| member.name.len()).sum());
    let mut ends = Vec::with_capacity(members.len());
    for member in members {
        let start = bytes.len();
        match format {
            // On Windows, names that differ only in case are the same file.
            ZipFormat::Plain | ZipFormat::Streamed => {
                bytes.extend_from_slice(member.name.to_lowercase().as_bytes());
            }
            ZipFormat::Wheel => bytes.extend_from_slice(member.name.as_bytes()),
        }
        // No name has a zero byte: it sorts the members of a folder directly after a file with the folder's name.
        for byte in bytes[start..].iter_mut().filter(|byte| **byte == b'/') {
            *byte = 0;
        }
        ends.push(bytes.len());
    }
    let mut start = 0;
    let mut names: Vec<(&[u8], usize)> = Vec::with_capacity(members.len());
    for (index, end) in ends.into_iter().enumerate() {
        names.push((&bytes[start..end], index));
        start = end;
    }
    // SECURITY: sorting compares each name with few others, however long the names are.
    names.sort_unstable();
    for ((name, _), (next, index)) in names.iter().zip(names.iter().skip(1)) {
        let error = |defect| Err(format_error(members[*index].start, defect));
        match next.strip_prefix(*name) {
            Some([]) => return error("two members have the same name"),
            Some([0, ..]) if !name.ends_with(&[0]) => {
                return error("a member has the name of a folder in the path of another member");
            }
            Some(_) | None => {}
        }
    }
    Ok(())
}
