//! Values of the SSH protocol (RFC 4251, section 5): a string has a length of four bytes, then its bytes.

/// Reads values one after the other.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// Reads `count` bytes.
    pub(super) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.bytes(1).map(|bytes| bytes[0])
    }

    /// Reads a 32-bit number.
    pub(super) fn number(&mut self) -> Option<u32> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*bytes))
    }

    pub(super) fn string(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.bytes(length)
    }

    /// Reads a positive number of any size; returns its big-endian bytes without leading zeros.
    pub(super) fn integer(&mut self) -> Option<&'a [u8]> {
        let bytes = self.string()?;
        Some(&bytes[bytes.iter().take_while(|byte| **byte == 0).count()..])
    }
}

pub(super) fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(u32::try_from(bytes.len()).expect("keys and signatures are short").to_be_bytes());
    out.extend(bytes);
}

/// Appends a positive number of any size, from its big-endian bytes.
pub(super) fn put_integer(out: &mut Vec<u8>, bytes: &[u8]) {
    let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
    let mut positive = Vec::with_capacity(bytes.len() + 1);
    // The highest bit is the sign.
    if bytes.first().is_some_and(|byte| byte & 0x80 != 0) {
        positive.push(0);
    }
    positive.extend(bytes);
    put_string(out, &positive);
}
