//! The reasons for which a wheel or a source distribution is refused, with the remedy in each message.

use crate::python::metadata::BadMetadata;
use crate::python::metadata::validity::BadField;
use crate::python::version::BadPep440Version;
use crate::python::wheel_name::BadWheelName;
use crate::r::archive::ArchiveError;
use base::model::errors::error_chain;

#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// A malformed or too large zip or tar file. The cause is no source of this error: its message names R commands.
    #[error("{}", container_text(.0))]
    Container(ArchiveError),
    #[error("'{file}' is not {expected}; copy or download the file again")]
    OtherFormat { file: String, expected: &'static str },
    #[error("'{0}' has a format that is not supported; build a .tar.gz file")]
    Unsupported(String),
    #[error(transparent)]
    WheelName(#[from] BadWheelName),
    #[error("'{0}' is not the file name of a source distribution; it has the form name-1.0.tar.gz")]
    SdistName(String),
    #[error(transparent)]
    Metadata(#[from] BadMetadata),
    #[error(
        "line {line} of '{path}' is not UTF-8 (byte {byte:#04x}), so that pip ends with an error; save the files with the \
         description, the authors and the other metadata as UTF-8, and build the package again"
    )]
    NotUtf8 {
        /// The path of the metadata in the archive.
        path: String,
        line: usize,
        /// The first byte that does not belong to a character.
        byte: u8,
    },
    #[error(
        "line 1 of '{0}' begins with a byte order mark (U+FEFF), so that pip and uv do not read its first field; save the \
         files with the metadata as UTF-8 without it, and build the package again"
    )]
    ByteOrderMark(String),
    #[error(transparent)]
    Version(#[from] BadPep440Version),
    /// A field of the metadata that installers cannot read.
    #[error(transparent)]
    Field(#[from] BadField),
    #[error("the member '{0}' has a path that is not allowed; build the package again")]
    Path(String),
    /// A file or folder of more than 255 bytes, the limit of file systems.
    #[error("the member '{0}' has a name of more than 255 bytes, which installers cannot write; shorten it")]
    LongName(String),
    #[error("the member '{0}' occurs twice; build the package again")]
    Repeated(String),
    #[error("'{0}' is missing in the archive; build the package again with a current build tool")]
    Missing(String),
    #[error(
        "a wheel must have exactly one folder named …-{{version}}.dist-info at its top, and no such file; this one has {0}"
    )]
    DistInfo(usize),
    /// The name of the `.dist-info` directory or the top folder does not match the file name.
    #[error("the folder '{folder}' is not that of '{file}'; rename the file, or build the package again")]
    OtherFolder { folder: String, file: String },
    #[error(
        "the folder '{0}' is not named like name-1.0.dist-info, with one '-' after a name that begins and ends with a letter or \
         digit: uv fails in every environment in which it was installed; build the package again with a current build tool"
    )]
    DistInfoName(String),
    #[error(
        "'{0}' is installed as the metadata of another distribution, with which pip or uv then fails in the environment; build \
         the package again without it"
    )]
    SecondInfo(String),
    #[error(
        "'{0}' replaces the configuration of the environment (pyvenv.cfg); build the package again without it"
    )]
    Configuration(String),
    #[error(
        "'{path}' is in another folder than '{expected}.data', that of this wheel: pip installs it to other places than uv; \
         build the package again"
    )]
    OtherDataFolder {
        path: String,
        /// The name without `.data`.
        expected: String,
    },
    #[error(
        "'{0}' is not in one of the folders purelib, platlib, headers, scripts and data of the .data folder: pip and uv refuse \
         the wheel; build the package again"
    )]
    DataKey(String),
    #[error("'{0}' is outside the top folder; a source distribution is exactly one folder")]
    SecondFolder(String),
    #[error(
        "the metadata has Name '{metadata}', but the file is named '{file}'; rename the file, or build the package again"
    )]
    OtherName { metadata: String, file: String },
    #[error(
        "the version '{version}' in the file name '{file}' contains '-', so that installers read another name and version; \
         rename the file to '{expected}'"
    )]
    HyphenVersion {
        /// The version in the file name.
        version: String,
        file: String,
        expected: String,
    },
    #[error(
        "the metadata has Version '{metadata}', but the file is named '{file}'; rename the file, or build the package again"
    )]
    OtherVersion { metadata: String, file: String },
    #[error("the file WHEEL has Wheel-Version '{0}'; versions 1.x are supported")]
    WheelVersion(String),
    #[error("line {0} of RECORD is malformed; build the package again")]
    Record(usize),
    #[error(
        "line {line} of RECORD names '{path}', which is not below the folder of the installation: pip deletes it when the \
         package is removed; build the package again"
    )]
    RecordPath { line: usize, path: String },
    #[error(
        "entry_points.txt has the script '{0}', which is not a file name of at most 255 bytes without '/', '\\', brackets and \
         control characters; rename the script"
    )]
    EntryPoint(String),
    #[error(
        "the script '{0}' has the name of an interpreter: pip replaces the interpreter of the environment by it, and uv \
         refuses the wheel; rename the script"
    )]
    Interpreter(String),
    /// Two members of a source distribution of which one is a file at the path of a folder.
    #[error("'{0}' is both a file and a folder in the archive; build the package again")]
    FileAndFolder(String),
}

impl From<ArchiveError> for PackageError {
    fn from(error: ArchiveError) -> PackageError {
        PackageError::Container(error)
    }
}

/// Returns the message without its hints to R commands: the archive reader is shared with R packages.
fn container_text(error: &ArchiveError) -> String {
    error_chain(error).replace(" with R CMD INSTALL --build", "").replace(" with R CMD build", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_container_is_reported_once_and_without_commands_of_r() {
        let error = PackageError::Container(ArchiveError::InvalidZip {
            offset: 6,
            defect: "its end record is missing",
        });
        assert_eq!(
            error_chain(&error),
            "the zip file is not acceptable at byte 6: its end record is missing; build the package again"
        );
        let error = PackageError::Container(ArchiveError::Io(std::io::ErrorKind::UnexpectedEof.into()));
        assert_eq!(error_chain(&error), "the file cannot be read: unexpected end of file");
    }
}
