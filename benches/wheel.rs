//! Wheels whose only large member cannot be compressed.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::zip::zip;

/// A wheel in memory.
pub(crate) struct Wheel {
    /// The file name.
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    /// The METADATA in it.
    pub(crate) metadata: String,
}

/// Creates a wheel of a little more than `size` bytes. `project` is the normalized name; each seed gives different
/// bytes.
pub(crate) fn wheel(project: &str, version: &str, size: usize, seed: u64) -> Wheel {
    let module = project.replace('-', "_");
    let info = format!("{module}-{version}.dist-info");
    let mut state = 88_172_645_463_325_252_u64 + seed;
    let mut noise = Vec::with_capacity(size + 8);
    while noise.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend_from_slice(&state.to_le_bytes());
    }
    let metadata =
        format!("Metadata-Version: 2.2\nName: {project}\nVersion: {version}\nRequires-Python: >=3.9\n");
    let tags = "Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
    let mut members = vec![
        (format!("{module}/noise.bin"), noise),
        (format!("{info}/METADATA"), metadata.clone().into_bytes()),
        (format!("{info}/WHEEL"), tags.as_bytes().to_vec()),
    ];
    let line = |(path, bytes): &(String, Vec<u8>)| {
        let digest = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(bytes));
        format!("{path},sha256={digest},{}\n", bytes.len())
    };
    let record: String = members.iter().map(line).collect();
    members.push((format!("{info}/RECORD"), format!("{record}{info}/RECORD,,\n").into_bytes()));
    Wheel { name: format!("{module}-{version}-py3-none-any.whl"), bytes: zip(&members), metadata }
}
