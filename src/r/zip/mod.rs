//! Zip files as R writes Windows binaries: read strictly, so that every program sees the same members, and copied with
//! single members replaced. Format: PKWARE APPNOTE 6.3.
//!
//! Own code instead of the crate zip: that one is made to read whatever can be read. What two programs may read in two
//! ways (other bytes before, between or behind the records, data descriptors, zip64, records that disagree) is refused.

mod copy;

pub use copy::copy;

use std::collections::HashSet;
use std::io::{self, Read, Seek, SeekFrom};

use super::archive::{ArchiveError, Limits};

const LOCAL: [u8; 4] = *b"PK\x03\x04";
const CENTRAL: [u8; 4] = *b"PK\x01\x02";
const END: [u8; 4] = *b"PK\x05\x06";
const LOCAL_LEN: u64 = 30;
const CENTRAL_LEN: usize = 46;
const END_LEN: usize = 22;
/// The central directory may have as many bytes; a package of ten thousand files has one.
const MAX_DIRECTORY: u64 = 64 << 20;

/// A zip file whose records all agree; contents are not read yet.
#[derive(Debug)]
pub struct Zip {
    /// In the order of the file.
    pub members: Vec<ZipMember>,
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZipMember {
    /// Its name, UTF-8, as it stands; folders end in `/`.
    pub name: String,
    /// Bytes of contents.
    pub size: u64,
    crc: u32,
    deflated: bool,
    packed: u64,
    /// Where its local record begins, where the contents do, and where they end.
    start: u64,
    data: u64,
    end: u64,
    /// Its record in the central directory, without its place.
    central: Vec<u8>,
}

impl ZipMember {
    /// Whether it is a folder.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        self.name.ends_with('/')
    }
}

fn bad(offset: u64, what: &'static str) -> ArchiveError {
    ArchiveError::ZipForm { offset, what }
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

impl Zip {
    /// Reads the directory of a zip file and every local record.
    ///
    /// # Errors
    /// [`ArchiveError::ZipForm`] for all that is not exactly one zip file, and limits.
    pub fn open(file: &mut (impl Read + Seek), limits: Limits) -> Result<Zip, ArchiveError> {
        let length = file.seek(SeekFrom::End(0)).map_err(ArchiveError::Io)?;
        let (end_at, end) = end_record(file, length)?;
        if [half(&end, 4), half(&end, 6)] != [0, 0] || half(&end, 8) != half(&end, 10) {
            return Err(bad(end_at, "it is one of several disks"));
        }
        let (count, size, start) = (half(&end, 10), u64::from(word(&end, 12)), u64::from(word(&end, 16)));
        if count == u16::MAX || size == u64::from(u32::MAX) || start == u64::from(u32::MAX) {
            return Err(bad(end_at, "it is a zip64 file"));
        }
        if start + size != end_at || size > MAX_DIRECTORY {
            return Err(bad(end_at, "the directory does not lie right before its end"));
        }
        if u64::from(count) > limits.members {
            return Err(ArchiveError::TooManyMembers { limit: limits.members });
        }
        let directory = read_at(file, start, size)?;
        let mut zip = Zip { members: Vec::with_capacity(usize::from(count)) };
        let (mut at, mut place, mut inflated) = (0, 0, 0_u64);
        let mut names = HashSet::new();
        for _ in 0..count {
            let offset = start + at as u64;
            let (member, next) = central(&directory, at, offset)?;
            at = next;
            let member = local(file, member, place)?;
            place = member.end;
            inflated = inflated.saturating_add(member.size);
            if inflated > limits.inflated {
                return Err(ArchiveError::TooLarge { limit: limits.inflated });
            }
            // Windows takes both for one file.
            if !names.insert(member.name.to_lowercase()) {
                return Err(bad(offset, "two members have one name"));
            }
            zip.members.push(member);
        }
        if at != directory.len() || place != start {
            return Err(bad(place, "other bytes lie between its records"));
        }
        if inflated > (64 << 20) && inflated / limits.ratio.max(1) > length {
            return Err(ArchiveError::Bomb { ratio: limits.ratio });
        }
        Ok(zip)
    }
}

impl ZipMember {
    /// Reads the contents to their end, handing them on piece by piece, and checks size and checksum.
    ///
    /// # Errors
    /// Damaged contents, or what `each` says.
    pub fn contents(
        &self,
        file: &mut (impl Read + Seek),
        mut each: impl FnMut(&[u8]) -> Result<(), ArchiveError>,
    ) -> Result<(), ArchiveError> {
        file.seek(SeekFrom::Start(self.data)).map_err(ArchiveError::Io)?;
        let packed = file.take(self.packed);
        let mut stored;
        let mut inflating;
        let source: &mut dyn Read = if self.deflated {
            inflating = flate2::read::DeflateDecoder::new(packed);
            &mut inflating
        } else {
            stored = packed;
            &mut stored
        };
        let mut crc = flate2::Crc::new();
        let mut left = self.size;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = match source.read(&mut buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(ArchiveError::Damaged(error)),
            };
            if read == 0 {
                break;
            }
            let wrong = || bad(self.start, "a member has another size than its record says");
            left = left.checked_sub(read as u64).ok_or_else(wrong)?;
            crc.update(&buffer[..read]);
            each(&buffer[..read])?;
        }
        if left != 0 || crc.sum() != self.crc {
            return Err(bad(self.start, "the checksum of a member is wrong"));
        }
        Ok(())
    }

    /// The whole contents, at most `limit` bytes.
    ///
    /// # Errors
    /// As [`ZipMember::contents`], and more than `limit` bytes.
    pub fn read(&self, file: &mut (impl Read + Seek), limit: u64) -> Result<Vec<u8>, ArchiveError> {
        if self.size > limit {
            let path = self.name.chars().take(200).collect();
            return Err(ArchiveError::DescriptionTooLarge { path, size: self.size, limit });
        }
        let mut bytes = Vec::new();
        self.contents(file, |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(bytes)
    }
}

fn read_at(file: &mut (impl Read + Seek), at: u64, length: u64) -> Result<Vec<u8>, ArchiveError> {
    file.seek(SeekFrom::Start(at)).map_err(ArchiveError::Io)?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes).map_err(ArchiveError::Io)?;
    if bytes.len() as u64 == length { Ok(bytes) } else { Err(ArchiveError::Truncated) }
}

/// The record at the end, with its place: exactly one may be taken for it.
fn end_record(file: &mut (impl Read + Seek), length: u64) -> Result<(u64, Vec<u8>), ArchiveError> {
    let tail = length.min(END_LEN as u64 + u64::from(u16::MAX));
    let bytes = read_at(file, length - tail, tail)?;
    let mut found = None;
    for (at, window) in bytes.windows(4).enumerate() {
        if window != END {
            continue;
        }
        // A comment that holds a second record is what programs disagree on.
        if found.is_some() {
            return Err(bad(length - tail + at as u64, "its end is there twice"));
        }
        found = Some(at);
    }
    let at = found.ok_or_else(|| bad(length, "its end is missing; copy or download the file again"))?;
    let record = bytes.get(at..).filter(|record| record.len() >= END_LEN).ok_or(ArchiveError::Truncated)?;
    if record.len() != END_LEN + usize::from(half(record, 20)) || !record[END_LEN..].is_ascii() {
        return Err(bad(length, "other bytes follow its end"));
    }
    Ok((length - tail + at as u64, record[..END_LEN].to_vec()))
}

/// A record of the central directory, and where the next begins.
fn central(directory: &[u8], at: usize, offset: u64) -> Result<(ZipMember, usize), ArchiveError> {
    let short = || bad(offset, "the directory is cut short");
    let record =
        directory.get(at..).filter(|r| r.len() >= CENTRAL_LEN && r[..4] == CENTRAL).ok_or_else(short)?;
    let [name, extra, comment] = [28, 30, 32].map(|at| usize::from(half(record, at)));
    let length = CENTRAL_LEN + name + extra + comment;
    let record = record.get(..length).ok_or_else(short)?;
    let (flags, method, disk) = (half(record, 8), half(record, 10), half(record, 34));
    if flags & !(1 << 11 | 0b110) != 0 {
        return Err(bad(
            offset,
            "a member is encrypted, has its sizes behind it, or is marked in another way",
        ));
    }
    if !matches!(method, 0 | 8) {
        return Err(bad(offset, "a member is packed in another way than by deflate"));
    }
    if comment != 0 || disk != 0 {
        return Err(bad(offset, "a member has a comment or lies on another disk"));
    }
    extras(&record[CENTRAL_LEN + name..CENTRAL_LEN + name + extra], offset)?;
    // The upper half of the attributes is the mode where Unix wrote the file.
    let link = record[5] == 3 && word(record, 38) >> 16 & 0o170_000 == 0o120_000;
    let bytes = &record[CENTRAL_LEN..CENTRAL_LEN + name];
    let name = String::from_utf8(bytes.to_vec()).map_err(|_| {
        ArchiveError::NotUtf8(String::from_utf8_lossy(bytes).escape_debug().take(200).collect())
    })?;
    if link {
        return Err(ArchiveError::Special {
            path: name.chars().take(200).collect(),
            kind: "link".to_owned(),
        });
    }
    let (packed, size) = (u64::from(word(record, 20)), u64::from(word(record, 24)));
    if (method == 0 && packed != size) || (name.ends_with('/') && size != 0) {
        return Err(bad(offset, "a member has another size than its record says"));
    }
    let mut central = record.to_vec();
    central[42..46].fill(0);
    let member = ZipMember {
        name,
        size,
        crc: word(record, 16),
        deflated: method == 8,
        packed,
        start: u64::from(word(record, 42)),
        data: 0,
        end: 0,
        central,
    };
    Ok((member, at + length))
}

/// Reads the local record of a member, which must begin at `place` and say what the directory says.
fn local(file: &mut (impl Read + Seek), member: ZipMember, place: u64) -> Result<ZipMember, ArchiveError> {
    if member.start != place {
        return Err(bad(place, "other bytes lie between its records"));
    }
    let head = read_at(file, place, LOCAL_LEN)?;
    let (name, extra) = (u64::from(half(&head, 26)), u64::from(half(&head, 28)));
    let rest = read_at(file, place + LOCAL_LEN, name + extra)?;
    let known = &member.central;
    // Version, flags, method, time, date, checksum, both sizes: bytes 4 to 26 here, 6 to 28 there.
    let same = head[..4] == LOCAL && head[6..26] == known[8..28] && rest.starts_with(member.name.as_bytes());
    if !same || name != member.name.len() as u64 {
        return Err(bad(place, "a member's two records disagree"));
    }
    extras(&rest[member.name.len()..], place)?;
    let data = place + LOCAL_LEN + name + extra;
    Ok(ZipMember { data, end: data + member.packed, ..member })
}

/// Extra fields: times and user numbers say nothing that anybody reads in two ways; another name or size would.
fn extras(mut bytes: &[u8], offset: u64) -> Result<(), ArchiveError> {
    while !bytes.is_empty() {
        let malformed = || bad(offset, "an extra field is malformed");
        let (head, rest) = bytes.split_at_checked(4).ok_or_else(malformed)?;
        if !matches!(half(head, 0), 0x5455 | 0x5855 | 0x7855 | 0x7875 | 0x000a) {
            return Err(bad(offset, "a member has an extra field that is not a time"));
        }
        bytes = rest.get(usize::from(half(head, 2))..).ok_or_else(malformed)?;
    }
    Ok(())
}
