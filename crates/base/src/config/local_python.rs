//! `[LocalPython]`.

use super::reader::Reader;
use super::rows::MAX_UPLOAD;
use super::value;

#[derive(Clone, Debug)]
pub struct LocalPython {
    /// Maximum size of a file that clients such as twine may upload, in bytes.
    pub max_upload_size: u64,
    /// Whether defects that are otherwise accepted with a notice are errors.
    pub strict: bool,
}

impl LocalPython {
    pub(super) fn read(reader: &Reader<'_>) -> LocalPython {
        LocalPython {
            max_upload_size: reader
                .value("LocalPython", "MaxUploadSize", |text| value::size(text, 1, MAX_UPLOAD)),
            strict: reader.value("LocalPython", "Strict", value::boolean),
        }
    }
}
