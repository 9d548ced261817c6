//! Iterates over the members of a tar archive, with their raw headers for exact copies.

use super::decode::ArchiveDecoder;
use super::header::{BLOCK, Header};
use super::links::{self, LinkCheck};
use super::{ArchiveError, ArchiveLimits};
use std::borrow::Cow;
use std::io::Read;

/// The type of a member, with the unchanged targets of links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberKind {
    File,
    Folder,
    Symlink(Vec<u8>),
    /// A hard link: another name of an earlier member.
    HardLink(Vec<u8>),
}

/// A member; its contents are read from [`Members`].
pub struct Member {
    pub name: Vec<u8>,
    pub kind: MemberKind,
    /// The size of the contents in bytes.
    pub size: u64,
    /// The blocks of the extended headers before its own, for a copy: without records that no installation needs.
    pub(in crate::r) extensions: Vec<u8>,
    pub(in crate::r) header: Header,
    /// Whether the name is that of an extended header.
    has_extended_name: bool,
    /// Whether the size is that of an extended header.
    pub(in crate::r) has_extended_size: bool,
}

impl Member {
    /// Returns the name as a checked path below the archive's root.
    ///
    /// # Errors
    /// Names that leave the archive's folder, are not UTF-8, or differ between programs.
    pub fn path(&self) -> Result<String, ArchiveError> {
        if self.header.has_ambiguous_prefix() && !self.has_extended_name {
            let path = String::from_utf8_lossy(&self.name).escape_debug().take(200).collect();
            return Err(ArchiveError::AmbiguousName(path));
        }
        links::validate_path(&self.name)
    }

    /// Checks the target of a link, and adds the member to `link_check`.
    pub fn check_link(
        &self,
        path: &str,
        link_check: &mut LinkCheck,
        limits: ArchiveLimits,
    ) -> Result<(), ArchiveError> {
        match &self.kind {
            MemberKind::File | MemberKind::Folder => {}
            MemberKind::Symlink(target) => links::check_symlink(path, target)?,
            MemberKind::HardLink(target) => links::check_hard_link(path, target)?,
        }
        if link_check.add(path, matches!(self.kind, MemberKind::Symlink(_))) {
            Ok(())
        } else {
            Err(ArchiveError::TooManyMembers { limit: limits.members })
        }
    }

    /// Returns the folder if the member's name is `{folder}/{file}`. Nothing else is checked.
    pub fn folder_of(&self, file: &str) -> Option<&[u8]> {
        let name = self.name.strip_prefix(b"./").unwrap_or(&self.name);
        let folder = name.strip_suffix(file.as_bytes())?.strip_suffix(b"/")?;
        (!folder.is_empty() && !folder.contains(&b'/')).then_some(folder)
    }
}

/// Maximum total size in bytes of the extended headers (long names, pax records) before a member.
const MAX_EXTENSION: u64 = 1 << 20;

/// Reads the members of an archive in order.
pub struct Members<R: Read> {
    decoder: ArchiveDecoder<R>,
    /// Unread bytes of the current member's contents.
    remaining: u64,
    /// Unread bytes of the padding after the contents.
    padding: u64,
    count: u64,
    /// Byte offset in the inflated stream.
    offset: u64,
    is_finished: bool,
}

impl<R: Read> Members<R> {
    /// Opens an archive, whose format is detected by content.
    pub fn new(source: R, limits: ArchiveLimits) -> Result<Members<R>, ArchiveError> {
        let decoder = super::decoder(source, limits)?;
        Ok(Members { decoder, remaining: 0, padding: 0, count: 0, offset: 0, is_finished: false })
    }

    /// Advances to the next member; skips unread contents of the previous one. `None` at the end of the archive:
    /// [`Members::trailing_chunk`] then returns the bytes that follow.
    pub fn advance(&mut self) -> Result<Option<Member>, ArchiveError> {
        if self.is_finished {
            return Ok(None);
        }
        while self.chunk()?.is_some() {}
        self.padding()?;
        let mut extensions = Vec::new();
        let mut extension_size = 0_u64;
        let mut extended_header = ExtendedHeader::default();
        loop {
            let offset = self.offset;
            let error = |defect| ArchiveError::Tar { offset, defect };
            let Some(block) = self.block()? else {
                if extension_size == 0 && self.count > 0 {
                    // The end mark is missing. Old tar programs omit it, and the compressed stream is intact.
                    self.is_finished = true;
                    return Ok(None);
                }
                return Err(if self.count == 0 { ArchiveError::Empty } else { ArchiveError::Truncated });
            };
            if block.iter().all(|&b| b == 0) {
                self.is_finished = true;
                return if self.count == 0 { Err(ArchiveError::Empty) } else { Ok(None) };
            }
            let header = Header::new(block).ok_or_else(|| error("the header's checksum is wrong"))?;
            let size = header.size().ok_or_else(|| error("the size is not a number"))?;
            if matches!(header.kind(), b'x' | b'g' | b'L' | b'K') {
                if size.saturating_add(extension_size) > MAX_EXTENSION {
                    return Err(ArchiveError::LongName { size });
                }
                extension_size += size.next_multiple_of(BLOCK as u64) + BLOCK as u64;
                let mut data = Vec::new();
                self.read_padded(size, &mut data)?;
                let kept = extended_header.read(header.kind(), &data[..size as usize]).map_err(error)?;
                append_extension(&mut extensions, header, &data, &kept);
                continue;
            }
            self.count += 1;
            if self.count > self.decoder.limits().members {
                return Err(ArchiveError::TooManyMembers { limit: self.decoder.limits().members });
            }
            let has_extended_size = extended_header.size.is_some();
            if extended_header
                .size
                .is_some_and(|extended_size| extended_size != size && extended_size < 8 << 30)
            {
                // Readers differ in which of the two sizes they use, so they would find different members.
                return Err(error("two headers give different sizes"));
            }
            let size = extended_header.size.unwrap_or(size);
            let has_extended_name = extended_header.path.is_some();
            let name = extended_header.path.unwrap_or_else(|| header.name());
            let link_target = extended_header.link_target.unwrap_or_else(|| header.link_target());
            let kind = match header.kind() {
                b'0' | 0 | b'7' if extended_header.is_sparse => {
                    return Err(special_member_error(&name, b'S'));
                }
                b'0' | 0 if name.ends_with(b"/") => MemberKind::Folder,
                b'0' | 0 | b'7' => MemberKind::File,
                b'1' => MemberKind::HardLink(link_target),
                b'2' => MemberKind::Symlink(link_target),
                b'5' => MemberKind::Folder,
                other => return Err(special_member_error(&name, other)),
            };
            if kind != MemberKind::File && size > 0 {
                // Readers differ: what one skips as contents, another reads as a member.
                return Err(error("a link or folder declares contents"));
            }
            if size > self.decoder.limits().inflated {
                return Err(ArchiveError::TooLarge { limit: self.decoder.limits().inflated });
            }
            self.remaining = size;
            self.padding = size.next_multiple_of(BLOCK as u64) - size;
            return Ok(Some(Member {
                name,
                kind,
                size,
                extensions,
                header,
                has_extended_name,
                has_extended_size,
            }));
        }
    }

    /// Returns the next bytes of the current member's contents; `None` after the last.
    pub fn chunk(&mut self) -> Result<Option<&[u8]>, ArchiveError> {
        if self.remaining == 0 {
            return Ok(None);
        }
        let bytes = self.decoder.take(usize::try_from(self.remaining).unwrap_or(usize::MAX))?;
        if bytes.is_empty() {
            return Err(ArchiveError::Truncated);
        }
        self.remaining -= bytes.len() as u64;
        self.offset += bytes.len() as u64;
        Ok(Some(bytes))
    }

    /// Returns the whole contents of the current member; an error if they have more than `limit` bytes.
    pub fn contents(&mut self, member: &Member, limit: u64) -> Result<Vec<u8>, ArchiveError> {
        if member.size > limit {
            let path = String::from_utf8_lossy(&member.name).chars().take(200).collect();
            return Err(ArchiveError::MemberTooLarge { path, size: member.size, limit });
        }
        let mut contents = Vec::with_capacity(usize::try_from(member.size).unwrap_or(0).min(1 << 20));
        while let Some(bytes) = self.chunk()? {
            contents.extend_from_slice(bytes);
        }
        Ok(contents)
    }

    /// Returns the unchanged padding of the current member's last block; call it after reading the contents.
    pub fn padding(&mut self) -> Result<Vec<u8>, ArchiveError> {
        let mut padding = Vec::new();
        while self.padding > 0 {
            let bytes = self.decoder.take(self.padding as usize)?;
            if bytes.is_empty() {
                return Err(ArchiveError::Truncated);
            }
            self.padding -= bytes.len() as u64;
            self.offset += bytes.len() as u64;
            padding.extend_from_slice(bytes);
        }
        Ok(padding)
    }

    /// Returns, after the last member, the next bytes that follow the first block of the end mark; unpackers ignore
    /// them. `None` at the end of an intact stream.
    pub fn trailing_chunk(&mut self) -> Result<Option<&[u8]>, ArchiveError> {
        let bytes = self.decoder.take(usize::MAX)?;
        Ok((!bytes.is_empty()).then_some(bytes))
    }

    /// Reads to the end, to verify the compressed stream's checksum; returns the inflated size in bytes.
    pub fn finish(&mut self) -> Result<u64, ArchiveError> {
        self.decoder.finish()?;
        Ok(self.decoder.output_size())
    }

    /// Like [`Members::finish`], but refuses other bytes than zeros after the last member, such as a second archive or
    /// the second member of a gzip file, which unpackers ignore.
    pub fn finish_at_end_mark(&mut self) -> Result<u64, ArchiveError> {
        let mut offset = self.offset;
        while let Some(bytes) = self.trailing_chunk()? {
            if let Some(index) = bytes.iter().position(|&b| b != 0) {
                let defect = "other bytes follow the end of the archive";
                return Err(ArchiveError::Tar { offset: offset + index as u64, defect });
            }
            offset += bytes.len() as u64;
        }
        Ok(self.decoder.output_size())
    }

    /// Bytes inflated so far.
    pub fn output_size(&self) -> u64 {
        self.decoder.output_size()
    }

    /// Returns the next block, or `None` when the stream ends exactly before it.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, ArchiveError> {
        let mut block = [0; BLOCK];
        let mut len = 0;
        while len < BLOCK {
            let bytes = self.decoder.take(BLOCK - len)?;
            if bytes.is_empty() {
                return if len == 0 { Ok(None) } else { Err(ArchiveError::Truncated) };
            }
            block[len..len + bytes.len()].copy_from_slice(bytes);
            len += bytes.len();
        }
        self.offset += BLOCK as u64;
        Ok(Some(block))
    }

    fn read_padded(&mut self, size: u64, out: &mut Vec<u8>) -> Result<(), ArchiveError> {
        for _ in 0..size.div_ceil(BLOCK as u64) {
            out.extend_from_slice(&self.block()?.ok_or(ArchiveError::Truncated)?);
        }
        Ok(())
    }
}

fn special_member_error(name: &[u8], kind: u8) -> ArchiveError {
    ArchiveError::Special {
        path: String::from_utf8_lossy(name).chars().take(200).collect(),
        kind: kind.escape_ascii().to_string(),
    }
}

/// The properties that extended headers declare for the next member.
#[derive(Default)]
struct ExtendedHeader {
    path: Option<Vec<u8>>,
    link_target: Option<Vec<u8>>,
    size: Option<u64>,
    is_sparse: bool,
}

impl ExtendedHeader {
    /// Returns the data for a copy of the header.
    fn read<'a>(&mut self, kind: u8, data: &'a [u8]) -> Result<Cow<'a, [u8]>, &'static str> {
        let trim_nul = |data: &[u8]| data.strip_suffix(b"\0").unwrap_or(data).to_vec();
        match kind {
            b'L' => self.path = Some(trim_nul(data)),
            b'K' => self.link_target = Some(trim_nul(data)),
            b'x' => return self.read_pax(data, false),
            _ => return self.read_pax(data, true),
        }
        Ok(Cow::Borrowed(data))
    }

    /// Parses records `{length} {key}={value}\n` (POSIX pax). Global records must not set a name, link or size, because
    /// these would apply to every member.
    ///
    /// Returns the records for a copy: those that decide what is unpacked, where and with how many bytes. Others, such
    /// as extended attributes of macOS, are of the machine that wrote the archive; R's `untar` fails on a NUL in any.
    fn read_pax<'a>(&mut self, data: &'a [u8], is_global: bool) -> Result<Cow<'a, [u8]>, &'static str> {
        const MALFORMED: &str = "an extended header is malformed";
        let mut kept = Vec::with_capacity(data.len());
        let whole = data;
        let mut data = data;
        while !data.is_empty() {
            let blank = data.iter().take(20).position(|&b| b == b' ').ok_or(MALFORMED)?;
            let length = std::str::from_utf8(&data[..blank]).ok().and_then(|t| t.parse::<usize>().ok());
            let length = length.filter(|l| *l > blank + 1 && *l <= data.len()).ok_or(MALFORMED)?;
            let record = data[blank + 1..length].strip_suffix(b"\n").ok_or(MALFORMED)?;
            let equals = record.iter().position(|&b| b == b'=').ok_or(MALFORMED)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            if matches!(key, b"path" | b"linkpath" | b"size") {
                kept.extend_from_slice(&data[..length]);
            }
            data = &data[length..];
            match key {
                b"path" | b"linkpath" | b"size" if is_global => {
                    return Err("a global extended header sets a name, link or size");
                }
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link_target = Some(value.to_vec()),
                b"size" => {
                    let size = std::str::from_utf8(value).ok().and_then(|t| t.parse().ok());
                    self.size = Some(size.ok_or(MALFORMED)?);
                }
                _ if key.starts_with(b"GNU.sparse") => self.is_sparse = true,
                _ => {}
            }
        }
        Ok(if kept.len() == whole.len() { Cow::Borrowed(whole) } else { Cow::Owned(kept) })
    }
}

/// Appends the blocks of an extended header, of which only the data `kept` is copied. `data` is its data with padding.
fn append_extension(extensions: &mut Vec<u8>, mut header: Header, data: &[u8], kept: &[u8]) {
    if kept.is_empty() && !data.is_empty() {
        return;
    }
    if header.size() == Some(kept.len() as u64) {
        extensions.extend_from_slice(&header.0);
        extensions.extend_from_slice(data);
        return;
    }
    header.set_size(kept.len() as u64);
    extensions.extend_from_slice(&header.0);
    extensions.extend_from_slice(kept);
    extensions.resize(extensions.len().next_multiple_of(BLOCK), 0);
}
