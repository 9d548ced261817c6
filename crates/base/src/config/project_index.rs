//! `[PyPI]`, the sections of other indexes with one page per project, and `[LocalPython]`.

use std::sync::Arc;
use std::time::Duration;

use super::address::{self, PrivateUrl};
use super::choice::EarlierYanks;
use super::reader::Reader;
use super::value;
use crate::model::ids::SourceId;
use crate::model::kind::{Language, Layout};

/// The settings of the index of a language.
#[derive(Clone, Debug)]
pub struct IndexConfig {
    pub language: Language,
    /// `https://`, `http://` or `file:///` of an index, without trailing slash.
    pub url: PrivateUrl,
    /// Hosts, with a port or without, that files may come from besides that of `url` and those of the language.
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

impl IndexConfig {
    pub(super) fn read_all(reader: &Reader<'_>) -> Vec<Arc<IndexConfig>> {
        let languages = Language::ALL.into_iter().filter(|language| language.layout() == Layout::Projects);
        languages.map(|language| Arc::new(IndexConfig::read(reader, language))).collect()
    }

    fn read(reader: &Reader<'_>, language: Language) -> IndexConfig {
        let section = section(language);
        IndexConfig {
            language,
            url: reader.value(section, "URL", address::mirror),
            file_hosts: reader.values(section, "FileHosts", value::host),
            sync_schedule: reader.value(section, "SyncSchedule", value::cron),
            delay: reader.value(section, "DelaySyncDuration", value::duration),
            delay_except: reader.values(section, "DelayExcept", |text| Ok(text.to_owned())),
            earlier_yanks: reader.value(section, "EarlierYanks", str::parse),
            unlisted: reader.value(section, "Unlisted", value::boolean),
            concurrency: reader.number(section, "Concurrency"),
            follow: reader.value(section, "Follow", value::boolean),
        }
    }

    pub fn source(&self) -> SourceId {
        self.language.index()
    }

    /// Returns the name of its section.
    pub fn section(&self) -> &'static str {
        section(self.language)
    }
}

fn section(language: Language) -> &'static str {
    language.mirror().label()
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
