//! The rows of `[PyPI]` and `[LocalPython]`.

use super::{MAX_UPLOAD, property};
use crate::config::address::UrlPurpose;
use crate::config::table::Kind::{Boolean, Choice, Duration, Host, Integer, Schedule, Size, Text, Url};
use crate::config::table::Property;

/// The properties of `[PyPI]`, in the order of the reference page.
#[rustfmt::skip]
pub(super) const PYPI: &[Property] = &[
    property("URL", Url(UrlPurpose::Mirror), "https://pypi.org",
      "An index of Python packages, with or without `/simple` at its end: `https://`, `http://` or `file:///` of a directory that contains `simple/`.").reloadable(),
    property("FileHosts", Host, "",
      "A host that files of the index may come from, with a port or without, besides the host of `URL` and PyPI's file host.").multi().reloadable(),
    property("SyncSchedule", Schedule, "0 1 * * *",
      "Schedule of the sync with the index, which runs only while a repository serves PyPI or a curated source of PyPI exists. `latest` is the state 15 minutes before the last sync; a day is complete once a sync ran at least 15 minutes after its end.").reloadable(),
    property("DelaySyncDuration", Duration, "0",
      "Minimum age of a file before it is listed. Files that were listed before a value was increased stay listed."),
    property("DelayExcept", Text, "",
      "A project whose files are listed at once, regardless of `DelaySyncDuration`; in any spelling.").multi(),
    property("EarlierYanks", Choice(&["show", "hide-mark"]), "show",
      "How files that were yanked before the first request for their project are marked: the index does not state when they were yanked. With `show` they are marked on all days. With `hide-mark` they are marked from that request on, so that earlier days resolve as they did then, even to files that were yanked because of a vulnerability. Applies to projects that were not requested before."),
    property("Unlisted", Boolean, "false",
      "Whether projects that the list of the index lacks are requested from it by name: for an index without a list, or whose list is incomplete, such as a caching proxy. Every requested name that no earlier source has is then sent to the index."),
    property("Concurrency", Integer(1, 64), "8",
      "Maximum number of pages that are requested from the index at the same time."),
    property("Follow", Boolean, "true",
      "Whether pages of projects that were requested before are read again after a sync if they changed, so that the next request does not wait for the index.").reloadable(),
];

/// The properties of `[LocalPython]`, in the order of the reference page.
#[rustfmt::skip]
pub(super) const LOCAL_PYTHON: &[Property] = &[
    property("MaxUploadSize", Size(1, MAX_UPLOAD), "2GB",
      "Maximum size of a file that twine and other clients upload; `rspm add` has no such limit.").reloadable(),
    property("Strict", Boolean, "false",
      "Whether defects that are otherwise accepted with a notice are errors: metadata that PyPI's validator refuses, what pip or uv cannot read, a `RECORD` that does not describe the files, a file name that is not normalized.").reloadable(),
];
