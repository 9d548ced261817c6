//! SSH: private keys, the agent that signs with them, the host keys of git servers, and the values of the protocol (RFC 4251,
//! section 5): a string has a length of four bytes, then its bytes.

pub(super) mod agent;
pub(super) mod host_keys;
pub(super) mod key;

/// Reads values one after the other.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    fn byte(&mut self) -> Option<u8> {
        self.bytes(1).map(|bytes| bytes[0])
    }

    fn number(&mut self) -> Option<u32> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*bytes))
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.bytes(length)
    }

    /// Reads a positive number of any size; returns its big-endian bytes without leading zeros.
    fn integer(&mut self) -> Option<&'a [u8]> {
        let bytes = self.string()?;
        Some(&bytes[bytes.iter().take_while(|byte| **byte == 0).count()..])
    }
}

fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(u32::try_from(bytes.len()).expect("keys and signatures are short").to_be_bytes());
    out.extend(bytes);
}

/// Appends a positive number of any size, from its big-endian bytes.
fn put_integer(out: &mut Vec<u8>, bytes: &[u8]) {
    let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
    let mut positive = Vec::with_capacity(bytes.len() + 1);
    // The highest bit is the sign.
    if bytes.first().is_some_and(|byte| byte & 0x80 != 0) {
        positive.push(0);
    }
    positive.extend(bytes);
    put_string(out, &positive);
}
