//! The 512-byte header of a tar member (POSIX ustar, with the variations of GNU tar and old tars).

/// The size of a block in bytes.
pub(in crate::r) const BLOCK: usize = 512;

/// A header block with a valid checksum.
#[derive(Clone)]
pub(in crate::r) struct Header(pub(in crate::r) [u8; BLOCK]);

impl Header {
    /// Verifies the checksum: the sum of all bytes, where the bytes of the checksum field count as blanks. Sums of
    /// signed bytes, which old tar programs wrote, are also accepted.
    pub(in crate::r) fn new(block: [u8; BLOCK]) -> Option<Header> {
        let header = Header(block);
        let declared_sum = number(&header.0[148..156])?;
        if declared_sum == header.sum() {
            return Some(header);
        }
        let signed_byte = |(index, byte): (usize, &u8)| match index {
            148..156 => 32,
            _ => i64::from(byte.cast_signed()),
        };
        let signed_sum: i64 = header.0.iter().enumerate().map(signed_byte).sum();
        (i64::try_from(declared_sum) == Ok(signed_sum)).then_some(header)
    }

    fn sum(&self) -> u64 {
        let byte =
            |(index, byte): (usize, &u8)| if (148..156).contains(&index) { 32 } else { u64::from(*byte) };
        self.0.iter().enumerate().map(byte).sum()
    }

    /// Returns the name. The prefix field is used only in POSIX headers, because GNU tar stores times there.
    pub(in crate::r) fn name(&self) -> Vec<u8> {
        let name = trim_at_zero(&self.0[..100]);
        let prefix = trim_at_zero(&self.0[345..500]);
        if &self.0[257..263] != b"ustar\0" || prefix.is_empty() {
            return name.to_vec();
        }
        [prefix, b"/", name].concat()
    }

    /// Returns whether programs differ in whether the prefix field is a part of the name. Python's `tarfile` uses it in
    /// headers of every format, R's `untar` also in those of GNU tar, in which incremental archives have times there;
    /// GNU tar uses it only after the POSIX magic, and uv only after the POSIX magic and version.
    pub(in crate::r) fn has_ambiguous_prefix(&self) -> bool {
        self.0[345] != 0 && &self.0[257..265] != b"ustar\x0000"
    }

    pub(in crate::r) fn link_target(&self) -> Vec<u8> {
        trim_at_zero(&self.0[157..257]).to_vec()
    }

    pub(in crate::r) fn kind(&self) -> u8 {
        self.0[156]
    }

    /// Returns the size of the contents in bytes; `None` if the field is not a number.
    pub(in crate::r) fn size(&self) -> Option<u64> {
        number(&self.0[124..136])
    }

    /// Sets the size (below 8 GiB) and updates the checksum.
    pub(in crate::r) fn set_size(&mut self, size: u64) {
        self.0[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
        let sum = format!("{:06o}\0 ", self.sum());
        self.0[148..156].copy_from_slice(sum.as_bytes());
    }
}

/// Returns the bytes before the first NUL.
fn trim_at_zero(field: &[u8]) -> &[u8] {
    &field[..field.iter().position(|&b| b == 0).unwrap_or(field.len())]
}

/// Parses octal digits between blanks or NULs, or GNU tar's base-256 number (first bit set) of large sizes.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        // Negative numbers (0xff…) overflow, so they are refused too.
        let leading_bits = u64::from(field[0] & 0x7f);
        return field[1..]
            .iter()
            .try_fold(leading_bits, |n, &b| n.checked_mul(256)?.checked_add(u64::from(b)));
    }
    let digits = trim_at_zero(field).trim_ascii();
    let append_digit = |n: u64, &b: &u8| match b {
        b'0'..=b'7' => n.checked_mul(8)?.checked_add(u64::from(b - b'0')),
        _ => None,
    };
    digits.iter().try_fold(0, append_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &[u8]) -> Header {
        let mut header = Header([0; BLOCK]);
        header.0[..name.len()].copy_from_slice(name);
        header.set_size(0);
        header
    }

    #[test]
    fn checksums_are_verified_including_signed_ones_of_old_archives() {
        let header = header(b"a1/\xe9");
        assert!(Header::new(header.0).is_some());
        let mut signed_header = header.clone();
        // As a signed byte, 0xe9 is 256 less.
        let sum = signed_header.sum() - 256;
        signed_header.0[148..154].copy_from_slice(format!("{sum:06o}").as_bytes());
        assert!(Header::new(signed_header.0).is_some());
        signed_header.0[0] ^= 1;
        assert!(Header::new(signed_header.0).is_none());
    }

    #[test]
    fn sizes_are_octal_or_base_256() {
        for (field, size) in [
            (&b"00000000017\0"[..], Some(15)),
            (b"         17 \0", Some(15)),
            (b"\0\0\0\0\0\0\0\0\0\0\0\0", Some(0)),
            (b"777777777777", Some((1 << 36) - 1)),
            (b"\x80\0\0\0\0\0\0\x02\0\0\0\0", Some(1 << 33)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"0000000001x\0", None),
            (b"-0000000017\0", None),
            (b"00000000018\0", None),
        ] {
            assert_eq!(number(field), size, "{field:?}");
        }
    }

    #[test]
    fn the_prefix_is_used_in_posix_headers_only() {
        let mut posix = header(b"x");
        posix.0[345..348].copy_from_slice(b"a/b");
        assert_eq!(posix.name(), b"x");
        posix.0[257..263].copy_from_slice(b"ustar\0");
        assert_eq!(posix.name(), b"a/b/x");
        posix.0[257..263].copy_from_slice(b"ustar ");
        assert_eq!(posix.name(), b"x");
    }

    #[test]
    fn a_prefix_without_the_posix_magic_and_version_is_ambiguous() {
        for (magic, is_ambiguous) in [
            (b"ustar\x0000", false),
            (b"ustar\0\0\0", true),
            (b"ustar  \0", true),
            (b"\0\0\0\0\0\0\0\0", true),
        ] {
            let mut header = header(b"x");
            header.0[257..265].copy_from_slice(magic);
            // The other fields after the name of the group do not count.
            header.0[346] = b'a';
            assert!(!header.has_ambiguous_prefix(), "{magic:?}");
            header.0[345] = b'a';
            assert_eq!(header.has_ambiguous_prefix(), is_ambiguous, "{magic:?}");
        }
    }
}
