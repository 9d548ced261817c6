//! `[PyPI]` and `[LocalPython]`.

use std::time::Duration;

use super::address::{self, PrivateUrl};
use super::choice::EarlierYanks;
use super::reader::Reader;
use super::value;

#[derive(Clone, Debug)]
pub struct Pypi {
    /// `https://`, `http://` or `file:///` of an index, without trailing slash.
    pub url: PrivateUrl,
    /// Hosts, with a port or without, that files may come from besides that of `url` and PyPI's file host.
    pub file_hosts: Vec<String>,
    /// Cron, five fields, UTC.
    pub sync_schedule: String,
    /// Minimum age of a file before it is listed; zero lists all.
    pub delay: Duration,
    /// Projects, in any spelling, whose files are listed regardless of their age.
    pub delay_except: Vec<String>,
    /// Time from which files that were yanked at an unknown time are marked.
    pub earlier_yanks: EarlierYanks,
    /// Whether projects that the list of the index lacks are requested by name.
    pub unlisted: bool,
    /// Maximum number of concurrent requests for pages.
    pub concurrency: usize,
    /// Whether pages of projects that were requested before are read again after a sync if they changed.
    pub follow: bool,
}

impl Pypi {
    pub(super) fn read(reader: &Reader<'_>) -> Pypi {
        Pypi {
            url: reader.value("PyPI", "URL", address::mirror),
            file_hosts: reader.values("PyPI", "FileHosts", value::host),
            sync_schedule: reader.value("PyPI", "SyncSchedule", value::cron),
            delay: reader.value("PyPI", "DelaySyncDuration", value::duration),
            delay_except: reader.values("PyPI", "DelayExcept", |text| Ok(text.to_owned())),
            earlier_yanks: reader.value("PyPI", "EarlierYanks", str::parse),
            unlisted: reader.value("PyPI", "Unlisted", value::boolean),
            concurrency: reader.number("PyPI", "Concurrency"),
            follow: reader.value("PyPI", "Follow", value::boolean),
        }
    }
}

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
            max_upload_size: reader.size("LocalPython", "MaxUploadSize"),
            strict: reader.value("LocalPython", "Strict", value::boolean),
        }
    }
}
