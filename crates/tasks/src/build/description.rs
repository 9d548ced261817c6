//! DESCRIPTION in a fetched tree.

use std::fs::File;
use std::io::{Read, Seek};

use super::failure::BuildFailure;
use formats::r::description::Description;

/// Maximum length of a DESCRIPTION in bytes.
const MAX_LENGTH: u64 = 1 << 20;

/// Reads the name of the package from DESCRIPTION in a tar file. Blocking.
pub(super) fn package(tree: &mut File) -> Result<String, BuildFailure> {
    let description = description(tree)?;
    let name = description.package().filter(|name| formats::r::name::is_package(name));
    name.map(str::to_owned).ok_or_else(|| invalid("the field Package is not the name of a package"))
}

/// Reads the version of the package from DESCRIPTION in a tar file, and rewinds the file. Blocking.
pub(super) fn version(tree: &mut File) -> Result<Option<String>, BuildFailure> {
    let version = description(tree)?.version().map(str::to_owned);
    tree.rewind()?;
    Ok(version)
}

fn description(tree: &mut File) -> Result<Description, BuildFailure> {
    Description::from_bytes(&read(tree)?).map_err(|error| invalid(&error.to_string()))
}

fn invalid(reason: &str) -> BuildFailure {
    BuildFailure::Final(format!("DESCRIPTION is invalid: {reason}"))
}

/// Reads DESCRIPTION from a tar file. Blocking.
pub(super) fn read(tree: &mut File) -> Result<Vec<u8>, BuildFailure> {
    tree.rewind()?;
    let mut archive = tar::Archive::new(tree);
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.path_bytes().as_ref() == b"DESCRIPTION" && entry.header().entry_type().is_file() {
            let mut bytes = Vec::new();
            entry.by_ref().take(MAX_LENGTH).read_to_end(&mut bytes)?;
            return Ok(bytes);
        }
    }
    Err(BuildFailure::Final(
        "the directory has no file DESCRIPTION: it is not an R package; see --sub-dir".to_owned(),
    ))
}
