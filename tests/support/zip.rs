//! Generated small zip files: with stored members, or written as a stream; and a reader.

use std::io::Cursor;

use rstudio_pm::r::archive::{ArchiveError, ArchiveLimits};
use rstudio_pm::r::zip::{Zip, ZipFormat};

/// Opens a zip file of this format and reads all its contents.
pub(crate) fn read(bytes: &[u8], format: ZipFormat) -> Result<Vec<(String, Vec<u8>)>, ArchiveError> {
    let mut file = Cursor::new(bytes);
    let zip = Zip::open(&mut file, format, ArchiveLimits::default())?;
    zip.members.iter().map(|member| Ok((member.name.clone(), member.read(&mut file, 1 << 20)?))).collect()
}

/// A zip file of the members in order, not compressed; names that end in `/` are folders.
pub(crate) fn zip<B: AsRef<[u8]>>(members: &[(String, B)]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in members {
        let bytes = bytes.as_ref();
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        let size = u32::try_from(bytes.len()).expect("small").to_le_bytes();
        let length = u16::try_from(name.len()).expect("short").to_le_bytes();
        let start = u32::try_from(out.len()).expect("small").to_le_bytes();
        // Version 2.0, no flags, stored, a time in 2026.
        let common_fields = [
            &[20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0x5c],
            &crc.sum().to_le_bytes()[..],
            &size,
            &size,
            &length,
            &[0, 0],
        ];
        let common_fields = common_fields.concat();
        out.extend_from_slice(b"PK\x03\x04");
        out.extend_from_slice(&common_fields);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(bytes);
        directory.extend_from_slice(b"PK\x01\x02\x14\x00");
        directory.extend_from_slice(&common_fields);
        directory.extend_from_slice(&[0; 10]);
        directory.extend_from_slice(&start);
        directory.extend_from_slice(name.as_bytes());
    }
    let start = u32::try_from(out.len()).expect("small").to_le_bytes();
    let size = u32::try_from(directory.len()).expect("small").to_le_bytes();
    let count = u16::try_from(members.len()).expect("few").to_le_bytes();
    out.extend_from_slice(&directory);
    out.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    out.extend_from_slice(&[&count[..], &count, &size, &start, &[0, 0]].concat());
    out
}

/// A zip file of the members in order, deflated, each followed by its checksum and sizes, and with a time as an extra
/// field, as programs that cannot seek write it. With more than 65,534 members it ends as a zip64 file.
pub(crate) fn streamed<B: AsRef<[u8]>>(members: &[(String, B)]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    // A Unix time: tag, length, flags, seconds.
    let extra = [0x55, 0x54, 5, 0, 1, 0x40, 0x4f, 0x2c, 0x66];
    let u16_bytes = |n: usize| u16::try_from(n).expect("short").to_le_bytes();
    let u32_bytes = |n: usize| u32::try_from(n).expect("small").to_le_bytes();
    for (name, bytes) in members {
        let bytes = bytes.as_ref();
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut deflate, bytes).expect("memory");
        let deflated = deflate.finish().expect("memory");
        let sizes = [crc.sum().to_le_bytes(), u32_bytes(deflated.len()), u32_bytes(bytes.len())].concat();
        let start = u32_bytes(out.len());
        let head = [&[20, 0, 8, 0, 8, 0, 0, 0, 0x21, 0x5c][..]].concat();
        out.extend_from_slice(b"PK\x03\x04");
        out.extend_from_slice(&head);
        out.extend_from_slice(&[0; 12]);
        out.extend_from_slice(&[u16_bytes(name.len()), u16_bytes(extra.len())].concat());
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(&extra);
        out.extend_from_slice(&deflated);
        out.extend_from_slice(b"PK\x07\x08");
        out.extend_from_slice(&sizes);
        directory.extend_from_slice(b"PK\x01\x02\x14\x00");
        directory.extend_from_slice(&head);
        directory.extend_from_slice(&sizes);
        directory.extend_from_slice(&[u16_bytes(name.len()), u16_bytes(extra.len())].concat());
        directory.extend_from_slice(&[0; 10]);
        directory.extend_from_slice(&start);
        directory.extend_from_slice(name.as_bytes());
        directory.extend_from_slice(&extra);
    }
    let (start, size, count) = (out.len(), directory.len(), members.len());
    out.extend_from_slice(&directory);
    if count < usize::from(u16::MAX) {
        out.extend_from_slice(b"PK\x05\x06\0\0\0\0");
        out.extend_from_slice(
            &[&u16_bytes(count)[..], &u16_bytes(count), &u32_bytes(size), &u32_bytes(start), &[0, 0]]
                .concat(),
        );
        return out;
    }
    let u64_bytes = |n: usize| (n as u64).to_le_bytes();
    let end = out.len();
    out.extend_from_slice(b"PK\x06\x06");
    out.extend_from_slice(&44_u64.to_le_bytes());
    out.extend_from_slice(&[45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    out.extend_from_slice(&[u64_bytes(count), u64_bytes(count), u64_bytes(size), u64_bytes(start)].concat());
    out.extend_from_slice(b"PK\x06\x07\0\0\0\0");
    out.extend_from_slice(&u64_bytes(end));
    out.extend_from_slice(&[1, 0, 0, 0]);
    out.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    out.extend_from_slice(&[0xff; 12]);
    out.extend_from_slice(&[0, 0]);
    out
}

/// A member whose fields and data are written as they are.
#[derive(Clone)]
pub(crate) struct RawMember {
    pub(crate) name: Vec<u8>,
    pub(crate) flags: u16,
    /// The version needed to extract: in the local record, and in the directory.
    pub(crate) versions: [u16; 2],
    /// The system that made the file.
    pub(crate) system: u8,
    pub(crate) attributes: u32,
    pub(crate) method: u16,
    pub(crate) contents: Vec<u8>,
    /// The bytes between its local record and the next record.
    pub(crate) data: Vec<u8>,
}

impl RawMember {
    /// A deflated file of a program for Unix.
    pub(crate) fn new(name: &str, contents: &str) -> RawMember {
        let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut deflate, contents.as_bytes()).expect("memory");
        RawMember {
            name: name.as_bytes().to_vec(),
            flags: 0,
            versions: [20, 20],
            system: 3,
            attributes: 0o100_644 << 16,
            method: 8,
            contents: contents.as_bytes().to_vec(),
            data: deflate.finish().expect("memory"),
        }
    }

    /// Adds bytes after the compressed data; the records state the size with them.
    pub(crate) fn followed_by(mut self, bytes: &[u8]) -> RawMember {
        self.data.extend_from_slice(bytes);
        self
    }

    /// The fields that both records have.
    fn common_fields(&self, version: u16) -> Vec<u8> {
        let size = |bytes: &[u8]| u32::try_from(bytes.len()).expect("small").to_le_bytes();
        let mut crc = flate2::Crc::new();
        crc.update(&self.contents);
        [
            &version.to_le_bytes()[..],
            &self.flags.to_le_bytes(),
            &self.method.to_le_bytes(),
            &[0, 0, 0x21, 0x5c],
            &crc.sum().to_le_bytes(),
            &size(&self.data),
            &size(&self.contents),
            &u16::try_from(self.name.len()).expect("short").to_le_bytes(),
            &[0, 0],
        ]
        .concat()
    }

    /// The local record with the data.
    pub(crate) fn local_record(&self) -> Vec<u8> {
        [&b"PK\x03\x04"[..], &self.common_fields(self.versions[0]), &self.name, &self.data].concat()
    }
}

/// A zip file of these members.
pub(crate) fn raw_zip(members: &[RawMember]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for member in members {
        let start = u32::try_from(out.len()).expect("small").to_le_bytes();
        out.extend_from_slice(&member.local_record());
        directory.extend_from_slice(b"PK\x01\x02");
        directory.extend_from_slice(&[20, member.system]);
        directory.extend_from_slice(&member.common_fields(member.versions[1]));
        // No comment, the first disk, no internal attributes.
        directory.extend_from_slice(&[0; 6]);
        directory.extend_from_slice(&member.attributes.to_le_bytes());
        directory.extend_from_slice(&start);
        directory.extend_from_slice(&member.name);
    }
    let start = u32::try_from(out.len()).expect("small").to_le_bytes();
    let size = u32::try_from(directory.len()).expect("small").to_le_bytes();
    let count = u16::try_from(members.len()).expect("few").to_le_bytes();
    out.extend_from_slice(&directory);
    out.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    out.extend_from_slice(&[&count[..], &count, &size, &start, &[0, 0]].concat());
    out
}
