//! The rows of `[LocalPython]`.

use super::{MAX_UPLOAD, property};
use crate::config::table::Kind::{Boolean, Size};
use crate::config::table::Property;

/// The properties, in the order of the reference page.
#[rustfmt::skip]
pub(super) const PROPERTIES: &[Property] = &[
    property("MaxUploadSize", Size(1, MAX_UPLOAD), "2GB",
      "Maximum size of a file that twine and other clients upload; `rspm add` has no such limit.").reloadable(),
    property("Strict", Boolean, "false",
      "Whether defects that are otherwise accepted with a notice are errors: metadata that PyPI's validator refuses, what pip or uv cannot read, a `RECORD` that does not describe the files, a file name that is not normalized.").reloadable(),
];
