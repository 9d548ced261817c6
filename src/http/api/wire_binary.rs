//! Converts binaries to the wire type of both APIs.

use api::binary::Binary;
use content::serve::binary_rows::BinaryRow;
use formats::r::layout::{RPath, RepoFileName};
use formats::r::platform::{ANY_ARCH, Target};

/// Converts a binary to its wire type.
pub(crate) fn wire(row: BinaryRow) -> Binary {
    let BinaryRow { version, platform, any_arch, file, sha256, size, listed_at, stored } = row;
    let name = RepoFileName::parse(&file);
    let address = sha256.zip(name).map(|(sha256, file)| {
        let platform = platform.clone();
        RPath::Binary { platform, sha256, file }.path()
    });
    Binary {
        version,
        r_version: platform.r.to_string(),
        distribution: match &platform.target {
            Target::Linux(name) => name.clone(),
            Target::Windows => "windows".to_owned(),
            Target::MacOs => "macos".to_owned(),
        },
        arch: if any_arch { ANY_ARCH } else { platform.arch.as_str() }.to_owned(),
        platform: platform.to_string(),
        file,
        sha256: sha256.map(|digest| digest.to_string()),
        size,
        published: listed_at.to_string(),
        address,
        stored,
    }
}
