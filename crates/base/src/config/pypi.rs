//! `[PyPI]` and `[LocalPython]`.

use std::time::Duration;

use super::address::{self, UrlPurpose, without_userinfo};
use super::reader::Reader;
use super::rows::MAX_UPLOAD;
use super::value;

#[derive(Clone)]
pub struct Pypi {
    /// `https://`, `http://` or `file:///` of an index, without trailing slash; may contain user and password.
    pub url: String,
    /// Hosts, with a port or without, that files may come from besides that of `url` and PyPI's file host.
    pub file_hosts: Vec<String>,
    /// Cron, five fields, UTC; default `0 1 * * *`.
    pub sync_schedule: String,
    /// Minimum age of a file before it is listed; zero lists all.
    pub delay: Duration,
    /// Projects, in any spelling, whose files are listed regardless of their age.
    pub delay_except: Vec<String>,
    /// Time from which files that were yanked at an unknown time are marked.
    pub earlier_yanks: EarlierYanks,
    /// Whether projects that the list of the index lacks are requested by name.
    pub unlisted: bool,
    /// Maximum number of concurrent requests for pages, 1 to 64.
    pub concurrency: usize,
    /// Whether pages of projects that were requested before are read again after a sync if they changed.
    pub follow: bool,
}

/// `PyPI.EarlierYanks`: the days on which files that were yanked before the first reading of their project are marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EarlierYanks {
    /// They are marked on all days.
    Show,
    /// They are marked on days from the first reading on.
    HideMark,
}

impl Pypi {
    pub(super) fn read(reader: &Reader<'_>) -> Pypi {
        Pypi {
            url: reader.value("PyPI", "URL", |text| address::url(text, UrlPurpose::Mirror)),
            file_hosts: reader.values("PyPI", "FileHosts", value::host),
            sync_schedule: reader.value("PyPI", "SyncSchedule", value::cron),
            delay: reader.value("PyPI", "DelaySyncDuration", value::duration),
            delay_except: reader.values("PyPI", "DelayExcept", |text| Ok(text.to_owned())),
            earlier_yanks: reader.value("PyPI", "EarlierYanks", |text| {
                value::choice(text, &["show", "hide-mark"]).map(|word| match word {
                    "hide-mark" => EarlierYanks::HideMark,
                    _ => EarlierYanks::Show,
                })
            }),
            unlisted: reader.value("PyPI", "Unlisted", value::boolean),
            concurrency: usize::try_from(
                reader.value("PyPI", "Concurrency", |text| value::integer(text, 1, 64)),
            )
            .unwrap_or(8),
            follow: reader.value("PyPI", "Follow", value::boolean),
        }
    }
}

// SECURITY: user and password of the URL are left out.
impl std::fmt::Debug for Pypi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pypi")
            .field("url", &without_userinfo(&self.url))
            .field("file_hosts", &self.file_hosts)
            .field("sync_schedule", &self.sync_schedule)
            .field("delay", &self.delay)
            .field("delay_except", &self.delay_except)
            .field("earlier_yanks", &self.earlier_yanks)
            .field("unlisted", &self.unlisted)
            .field("concurrency", &self.concurrency)
            .field("follow", &self.follow)
            .finish()
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
            max_upload_size: reader
                .value("LocalPython", "MaxUploadSize", |text| value::size(text, 1, MAX_UPLOAD)),
            strict: reader.value("LocalPython", "Strict", value::boolean),
        }
    }
}
