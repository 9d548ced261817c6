//! Reads DESCRIPTION, README and the need for compilation from a package file.

use std::io::Read;

use formats::bundle::Fields;
use formats::r::archive::{self, ArchiveLimits, ReadExtent};
use formats::r::description::Description;
use formats::r::name::SourceFileName;

/// Contents of a package file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Contents {
    pub(super) fields: Option<Fields>,
    /// Whether the package must be compiled; `None` if that is unknown.
    pub(super) needs_compilation: Option<bool>,
    /// File name and text of the README.
    pub(super) readme: Option<(String, String)>,
    /// The reason why the archive could not be read.
    pub(super) error: Option<String>,
}

/// Reads the archive of a source package; `reopen` opens the archive, for each of two attempts. Old archives have many
/// irregularities: if strict reading fails, only the DESCRIPTION is read; if that fails too, the file is accepted
/// without contents. An archive whose checksum matches the mirror's is read only up to the needed files.
pub(super) fn read<R: Read>(
    reopen: impl Fn() -> std::io::Result<R>,
    file: &str,
    extent: ReadExtent,
) -> Contents {
    let name = SourceFileName::parse_archived(file).ok();
    let open = || reopen().map_err(|e| e.to_string());
    let strict_result = open().and_then(|source| {
        archive::read_up_to(extent, source, name, ArchiveLimits::default()).map_err(|e| e.to_string())
    });
    let reason = match strict_result {
        Ok(package) => {
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            return Contents {
                fields: Some(fields(&package.description)),
                needs_compilation: Some(package.needs_compilation),
                readme: package.readme.map(|(name, bytes)| (name, text(bytes))),
                error: None,
            };
        }
        Err(reason) => reason,
    };
    let lenient_result = open().and_then(|source| {
        archive::read_identity(source, name, ArchiveLimits::default()).map_err(|e| e.to_string())
    });
    match lenient_result {
        Ok(identity) => Contents {
            needs_compilation: identity.description.needs_compilation(),
            fields: Some(fields(&identity.description)),
            ..Contents::default()
        },
        Err(_) => Contents { error: Some(reason), ..Contents::default() },
    }
}

fn fields(description: &Description) -> Fields {
    Fields(description.fields().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}
