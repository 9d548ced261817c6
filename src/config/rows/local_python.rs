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
      "Whether defects that installers tolerate are errors: a file name that is not normalized, a `RECORD` that does not describe the files.").reloadable(),
];
