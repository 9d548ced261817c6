//! What is told of a package by its own file: DESCRIPTION, README, whether it has to be compiled.

use std::io::Read;

use crate::bundle::Fields;
use crate::r::archive::{self, Extent, Limits};
use crate::r::description::Description;
use crate::r::name::FileName;

/// What was found in a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Contents {
    pub(super) fields: Option<Fields>,
    pub(super) compiled: Option<bool>,
    /// Its name and its text.
    pub(super) readme: Option<(String, String)>,
    /// Why nothing, or not everything, could be read.
    pub(super) trouble: Option<String>,
}

/// Reads the archive of a source package; `again` opens it another time. Old ones are odd in many ways: what is not one
/// of today's may still tell who it is, and what does not even do that is kept as it is. One whose bytes are known to be
/// those of the mirror is read no further than up to what it tells.
pub(super) fn read<R: Read>(again: impl Fn() -> std::io::Result<R>, file: &str, extent: Extent) -> Contents {
    let named = FileName::parse_archived(file).ok();
    let open = || again().map_err(|e| e.to_string());
    let strict = open().and_then(|source| {
        archive::read_up_to(extent, source, named, Limits::default()).map_err(|e| e.to_string())
    });
    let reason = match strict {
        Ok(package) => {
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            return Contents {
                fields: Some(fields(&package.description)),
                compiled: Some(package.needs_compilation),
                readme: package.readme.map(|(name, bytes)| (name, text(bytes))),
                trouble: None,
            };
        }
        Err(reason) => reason,
    };
    let lenient = open()
        .and_then(|source| archive::identity(source, named, Limits::default()).map_err(|e| e.to_string()));
    match lenient {
        Ok(identity) => Contents {
            compiled: identity.description.needs_compilation(),
            fields: Some(fields(&identity.description)),
            ..Contents::default()
        },
        Err(_) => Contents { trouble: Some(reason), ..Contents::default() },
    }
}

fn fields(description: &Description) -> Fields {
    Fields(description.fields().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}
