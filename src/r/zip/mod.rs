//! Zip files as R writes Windows binaries: read strictly, so that every program sees the same members, and copied with
//! single members replaced. Format: PKWARE APPNOTE 6.3.
//!
//! Own code instead of the crate zip: that one is made to read whatever can be read. What two programs may read in two
//! ways (other bytes before, between or behind the records, data descriptors, zip64, records that disagree) is refused.
//! Data that programs write as a stream, such as public advisories, has descriptors and may have a zip64 end: those are
//! taken where that is said, and must agree with all else.

mod copy;
mod end;

pub use copy::copy;

use std::collections::HashSet;
use std::io::{self, Read, Seek, SeekFrom};

use super::archive::{ArchiveError, Limits};
use end::END;

const LOCAL: [u8; 4] = *b"PK\x03\x04";
const CENTRAL: [u8; 4] = *b"PK\x01\x02";
const DESCRIPTOR: [u8; 4] = *b"PK\x07\x08";
const LOCAL_LEN: u64 = 30;
const CENTRAL_LEN: usize = 46;
const DESCRIPTOR_LEN: u64 = 16;
/// The flag of a member whose checksum and sizes stand behind it.
const STREAMED: u16 = 1 << 3;
/// The central directory may have as many bytes; a package of ten thousand files has one.
const MAX_DIRECTORY: u64 = 64 << 20;

/// A zip file whose records all agree; contents are not read yet.
#[derive(Debug)]
pub struct Zip {
    /// In the order of the file.
    pub members: Vec<ZipMember>,
}

/// How the writer of a zip file may have written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Going back to say in each record what follows it, as R does.
    Whole,
    /// As well without going back: checksum and sizes behind the contents (with their signature), and a zip64 end where
    /// there are too many members for the other.
    Streamed,
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
    pub fn open(
        file: &mut (impl Read + Seek),
        written: Written,
        limits: Limits,
    ) -> Result<Zip, ArchiveError> {
        let length = file.seek(SeekFrom::End(0)).map_err(ArchiveError::Io)?;
        let end::End { at: end_at, count, size, start } = end::find(file, length, written)?;
        if start.checked_add(size) != Some(end_at) || size > MAX_DIRECTORY {
            return Err(bad(end_at, "the directory does not lie right before its end"));
        }
        if count > limits.members {
            return Err(ArchiveError::TooManyMembers { limit: limits.members });
        }
        let directory = read_at(file, start, size)?;
        // A record of the directory has some bytes: what the count says beyond that is not trusted with memory.
        let mut zip = Zip { members: Vec::with_capacity(directory.len().div_ceil(CENTRAL_LEN)) };
        let (mut at, mut place, mut inflated) = (0, 0, 0_u64);
        let mut names = HashSet::new();
        for _ in 0..count {
            let offset = start + at as u64;
            let (member, next) = central(&directory, at, offset, written)?;
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

/// A record of the central directory, and where the next begins.
fn central(
    directory: &[u8],
    at: usize,
    offset: u64,
    written: Written,
) -> Result<(ZipMember, usize), ArchiveError> {
    let short = || bad(offset, "the directory is cut short");
    let record =
        directory.get(at..).filter(|r| r.len() >= CENTRAL_LEN && r[..4] == CENTRAL).ok_or_else(short)?;
    let [name, extra, comment] = [28, 30, 32].map(|at| usize::from(half(record, at)));
    let length = CENTRAL_LEN + name + extra + comment;
    let record = record.get(..length).ok_or_else(short)?;
    let (flags, method, disk) = (half(record, 8), half(record, 10), half(record, 34));
    let streamed = match written {
        Written::Whole => 0,
        Written::Streamed => STREAMED,
    };
    if flags & !(1 << 11 | 0b110 | streamed) != 0 {
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
    // Programs that take names as C strings read another one.
    if name.contains('\0') {
        return Err(ArchiveError::BadName(name.escape_debug().take(200).collect()));
    }
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
    let streamed = half(known, 8) & STREAMED != 0;
    // Flags, method, time, date: bytes 6 to 14 here, 8 to 16 there; then checksum and both sizes.
    let same = head[..4] == LOCAL
        && head[6..14] == known[8..16]
        && (head[14..26] == known[16..28] || (streamed && head[14..26].iter().all(|byte| *byte == 0)))
        && rest.starts_with(member.name.as_bytes());
    if !same || name != member.name.len() as u64 {
        return Err(bad(place, "a member's two records disagree"));
    }
    extras(&rest[member.name.len()..], place)?;
    let data = place + LOCAL_LEN + name + extra;
    let packed_end = data + member.packed;
    if !streamed {
        return Ok(ZipMember { data, end: packed_end, ..member });
    }
    let behind = read_at(file, packed_end, DESCRIPTOR_LEN)?;
    if behind[..4] != DESCRIPTOR || behind[4..] != known[16..28] {
        return Err(bad(packed_end, "what stands behind a member is not what the directory says of it"));
    }
    Ok(ZipMember { data, end: packed_end + DESCRIPTOR_LEN, ..member })
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
