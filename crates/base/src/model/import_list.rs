//! The list of an import: what another server had, and since when. One JSON object in each line, oldest first.

use serde::{Deserialize, Serialize};

use super::time::{SECOND, Timestamp};

/// The earliest time of a change, 1995-01-01: earlier ones are those of clocks that were not set.
pub const EARLIEST: Timestamp = Timestamp(788_918_400 * SECOND);

/// A line of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Event {
    Add(AddedFile),
    /// Other bytes under the name of an earlier file.
    Replace(AddedFile),
    Remove(Removal),
    Yank(Yank),
    /// What the other server had and the list cannot contain.
    Lost(Loss),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddedFile {
    /// The time since which the other server had the file; unknown if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// The evidence for the time: `commit`, `Last-Modified`, `upload-time`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    pub file: String,
    /// The address of the bytes, or their path relative to the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub md5: Option<String>,
    /// The size in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Text for the comment of the transaction, for example who uploaded the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The removal of a file, or of a version of a package.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Removal {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Yank {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    pub file: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loss {
    pub what: String,
    pub why: String,
}

impl AddedFile {
    /// Creates a file with a time, and the evidence for it.
    pub fn new(file: &str, at: Option<Timestamp>, exact: &str) -> AddedFile {
        AddedFile { file: file.to_owned(), at, exact: Some(exact.to_owned()), ..AddedFile::default() }
    }
}

impl Event {
    /// Returns the time of a change, if it is known.
    pub fn at(&self) -> Option<Timestamp> {
        self.date().0
    }

    /// Returns the evidence for the time.
    pub fn exact(&self) -> Option<&str> {
        self.date().1
    }

    fn date(&self) -> (Option<Timestamp>, Option<&str>) {
        let (at, exact) = match self {
            Event::Add(file) | Event::Replace(file) => (file.at, &file.exact),
            Event::Remove(removal) => (removal.at, &removal.exact),
            Event::Yank(yank) => (yank.at, &yank.exact),
            Event::Lost(_) => return (None, None),
        };
        (at, exact.as_deref())
    }

    /// Removes the time, because it is not used, and its evidence.
    pub fn forget_time(&mut self) {
        let (at, exact) = match self {
            Event::Add(file) | Event::Replace(file) => (&mut file.at, &mut file.exact),
            Event::Remove(removal) => (&mut removal.at, &mut removal.exact),
            Event::Yank(yank) => (&mut yank.at, &mut yank.exact),
            Event::Lost(_) => return,
        };
        (*at, *exact) = (None, None);
    }

    /// Removes a time before [`EARLIEST`] or in the future.
    pub fn forget_implausible_time(&mut self, now: Timestamp) {
        if !self.at().is_some_and(|at| (EARLIEST..=now).contains(&at)) {
            self.forget_time();
        }
    }

    /// Returns the file that a change names; `None` for one that names a package.
    pub fn file(&self) -> Option<&str> {
        match self {
            Event::Add(file) | Event::Replace(file) => Some(&file.file),
            Event::Remove(removal) => removal.file.as_deref(),
            Event::Yank(yank) => Some(&yank.file),
            Event::Lost(_) => None,
        }
    }

    /// Returns what a change is about, for messages.
    pub fn subject(&self) -> String {
        match self {
            Event::Remove(Removal { file: None, name, version, .. }) => {
                [name, version].into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ")
            }
            Event::Lost(loss) => format!("{}: {}", loss.what, loss.why),
            _ => self.file().unwrap_or_default().to_owned(),
        }
    }

    /// Returns the file that a change adds; `None` for another change.
    pub fn added(&self) -> Option<&AddedFile> {
        match self {
            Event::Add(file) | Event::Replace(file) => Some(file),
            Event::Remove(_) | Event::Yank(_) | Event::Lost(_) => None,
        }
    }

    /// Returns whether both changes add a file in the same way, at the same instant and with the same note.
    pub fn is_together(&self, other: &Event) -> bool {
        match (self, other) {
            (Event::Add(one), Event::Add(other)) | (Event::Replace(one), Event::Replace(other)) => {
                (one.at, &one.note) == (other.at, &other.note)
            }
            _ => false,
        }
    }
}
