//! The list of an import: what another server had, and since when. One JSON object in each line, oldest first.

use std::collections::HashMap;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};
use url::Url;

use super::digest::{Md5, Sha256};
use super::time::{SECOND, Timestamp};

/// The earliest time of a change, 1995-01-01: earlier ones are those of clocks that were not set.
pub const EARLIEST: Timestamp = Timestamp(788_918_400 * SECOND);
/// Maximum length of a note, a reason and the name of an evidence, in bytes.
const MAX_TEXT: usize = 500;

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

    /// Returns the place of the bytes: an address, or else a path relative to the list.
    pub fn origin(&self) -> (Option<Url>, &str) {
        let from = self.from.as_deref().unwrap_or(&self.file);
        (from.contains("://").then(|| Url::parse(from).ok()).flatten(), from)
    }

    fn check(&self) -> Result<(), String> {
        check_name("file", &self.file)?;
        check_line("note", self.note.as_deref().unwrap_or_default())?;
        if self.sha256.as_ref().is_some_and(|text| text.parse::<Sha256>().is_err()) {
            return Err("'sha256' is not a SHA-256 of 64 hexadecimal digits".to_owned());
        }
        if self.md5.as_ref().is_some_and(|text| text.parse::<Md5>().is_err()) {
            return Err("'md5' is not an MD5 of 32 hexadecimal digits".to_owned());
        }
        let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
        match self.origin() {
            (Some(_), _) => Ok(()),
            (None, from) if from.contains("://") => Err(format!("'from': '{from}' is not an address")),
            (None, from) if from.is_empty() || !Path::new(from).components().all(is_plain) => {
                Err(format!("'from': '{from}' is not a path below the folder of the list"))
            }
            (None, _) => Ok(()),
        }
    }
}

impl Event {
    /// Checks the texts of a line, without regard to other lines. The error names the key.
    pub fn check(&self) -> Result<(), String> {
        check_line("exact", self.exact().unwrap_or_default())?;
        match self {
            Event::Add(file) | Event::Replace(file) => file.check(),
            Event::Remove(Removal { file, name, version, .. }) => {
                if file.is_some() != name.is_none() || (version.is_some() && name.is_none()) {
                    return Err("a removal has either 'file', or 'name' and 'version'".to_owned());
                }
                let texts = [("file", file), ("name", name), ("version", version)];
                let mut given = texts.into_iter().filter_map(|(key, text)| Some((key, text.as_ref()?)));
                given.try_for_each(|(key, text)| check_name(key, text))
            }
            Event::Yank(yank) => {
                check_name("file", &yank.file)?;
                check_line("reason", &yank.reason)
            }
            Event::Lost(_) => Ok(()),
        }
    }

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

    /// Replaces the time; without one, there is no evidence for it.
    pub fn set_at(&mut self, time: Option<Timestamp>) {
        let (at, exact) = match self {
            Event::Add(file) | Event::Replace(file) => (&mut file.at, &mut file.exact),
            Event::Remove(removal) => (&mut removal.at, &mut removal.exact),
            Event::Yank(yank) => (&mut yank.at, &mut yank.exact),
            Event::Lost(_) => return,
        };
        (*at, *exact) = (time, exact.take().filter(|_| time.is_some()));
    }

    /// Removes a time before [`EARLIEST`] or in the future.
    pub fn forget_implausible_time(&mut self, now: Timestamp) {
        self.forget_future_time(now);
        if self.at() < Some(EARLIEST) {
            self.set_at(None);
        }
    }

    /// Removes a time in the future.
    pub fn forget_future_time(&mut self, now: Timestamp) {
        if self.at() > Some(now) {
            self.set_at(None);
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

/// The files that the lines of a list have added so far, each with its line and SHA-256.
#[derive(Default)]
pub struct AddedFiles(HashMap<String, (usize, Option<String>)>);

impl AddedFiles {
    /// Takes the next change, in a line. If it adds a file that an earlier line added, returns that line, and whether both have
    /// the same bytes.
    pub fn apply(&mut self, line: usize, event: &Event) -> Option<(usize, bool)> {
        match event {
            Event::Remove(Removal { file: Some(file), .. }) => drop(self.0.remove(file)),
            // The names of the files of a package are known only to the server.
            Event::Remove(_) => self.0.clear(),
            _ => {}
        }
        let file = event.added()?;
        let sha256 = file.sha256.as_ref().map(|sha256| sha256.to_ascii_lowercase());
        let (earlier, other) = self.0.insert(file.file.clone(), (line, sha256.clone()))?;
        matches!(event, Event::Add(_)).then_some((earlier, sha256.is_some() && sha256 == other))
    }
}

fn check_line(key: &str, text: &str) -> Result<(), String> {
    match text.len() <= MAX_TEXT && !text.chars().any(char::is_control) {
        true => Ok(()),
        false => Err(format!("'{key}' is not one line of at most {MAX_TEXT} bytes")),
    }
}

fn check_name(key: &str, name: &str) -> Result<(), String> {
    let is_valid = (1..=255).contains(&name.len())
        && !matches!(name, "." | "..")
        && !name.chars().any(|c| c.is_control() || matches!(c, '/' | '\\'));
    let shown: String = name.chars().take(80).collect();
    if is_valid { Ok(()) } else { Err(format!("'{key}': '{}' is not a name", shown.escape_debug())) }
}
