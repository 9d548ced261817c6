//! `[Bootstrap]`.

use super::reader::Reader;

#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// The public key as PEM or base64 text, or the absolute path of its file. If `None`, the first token can be
    /// created on the server's machine only.
    pub public_key: Option<String>,
}

impl Bootstrap {
    pub(super) fn read(reader: &Reader<'_>) -> Bootstrap {
        Bootstrap { public_key: reader.optional("Bootstrap", "PublicKey", |text| Ok(text.to_owned())) }
    }
}
