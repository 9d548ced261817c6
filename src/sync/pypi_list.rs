//! The list of projects of an index, and its changes. Pure but for the reader passed in.

use std::cmp::Ordering;
use std::io::Read;
use std::iter::Peekable;
use std::vec::IntoIter;

use crate::db::pypi::ListChange;
use crate::python::accept::SimpleFormat;
use crate::python::simple::read::BadPage;
use crate::python::simple::root::{self, MAX_ROOT, RootEntry};

/// A project of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListedProject {
    /// The normalized name.
    pub(super) normalized_name: Box<str>,
    /// The name as its owner writes it, if it differs.
    pub(super) name: Option<Box<str>>,
    /// The serial of its last change.
    pub(super) serial: Option<i64>,
}

/// The list of an index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ProjectList {
    /// The projects in the order of their names.
    pub(super) projects: Vec<ListedProject>,
    /// The highest serial; `None` if a project has none.
    pub(super) serial: Option<i64>,
    /// The number of names that are not valid, and the first of them.
    pub(super) invalid: (u64, Option<String>),
}

/// A project of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredProject {
    /// The normalized name.
    pub(super) normalized_name: Box<str>,
    /// The sequence number with which its row begins.
    pub(super) from_at: i64,
    /// Its serial.
    pub(super) serial: Option<i64>,
}

/// Reads a list in either format. Blocking: takes seconds for all of PyPI.
pub(super) fn read(format: SimpleFormat, mut body: impl Read) -> Result<ProjectList, BadPage> {
    let mut projects = Vec::new();
    let mut add = |entry: RootEntry| {
        let name = (entry.display != entry.name.as_str()).then(|| entry.display.into_boxed_str());
        let serial = entry.last_serial.and_then(|serial| i64::try_from(serial).ok());
        projects.push(ListedProject { normalized_name: entry.name.as_str().into(), name, serial });
    };
    let root = match format {
        SimpleFormat::Json => root::read_json(&mut body, &mut add)?,
        SimpleFormat::Html | SimpleFormat::TextHtml => {
            let mut bytes = Vec::new();
            // A decompression error is reported as one of JSON: [`BadPage`] has no variant for read errors.
            body.take(MAX_ROOT).read_to_end(&mut bytes).map_err(serde_json::Error::io)?;
            root::read_html(&bytes, &mut add)?
        }
    };
    projects.sort_unstable_by(|a, b| a.normalized_name.cmp(&b.normalized_name));
    projects.dedup_by(|later, first| later.normalized_name == first.normalized_name);
    let has_serials = !projects.is_empty() && projects.iter().all(|project| project.serial.is_some());
    let highest = projects.iter().filter_map(|project| project.serial).max();
    if !has_serials {
        projects.iter_mut().for_each(|project| project.serial = None);
    }
    Ok(ProjectList {
        projects,
        // The newest project may have been removed: the serial of the list is the one that never decreases.
        serial: highest
            .max(root.last_serial.and_then(|serial| i64::try_from(serial).ok()))
            .filter(|_| has_serials),
        invalid: (root.invalid_count, root.first_invalid),
    })
}

/// Returns why a list cannot replace the stored one: it is empty, has lost a twentieth of its projects, or
/// its serials decreased, like those of a restored copy or of another index.
pub(super) fn refusal(list: &ProjectList, stored_count: usize, stored_serial: Option<i64>) -> Option<String> {
    let count = list.projects.len();
    if count == 0 {
        return Some("the list of projects is empty".to_owned());
    }
    if count.saturating_mul(20) < stored_count.saturating_mul(19) {
        return Some(format!(
            "the list has {count} projects, and had {stored_count} at the last sync; if that is right, run: rspm sync \
             --type=pypi --accept-serial"
        ));
    }
    match (list.serial, stored_serial) {
        (Some(new), Some(old)) if new < old => Some(format!(
            "the newest serial is {new}, and was {old} at the last sync: the index is another one, or was restored from a \
             copy; if it is to be used, run: rspm sync --type=pypi --accept-serial"
        )),
        _ => None,
    }
}

/// The number of changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ListCounts {
    pub(super) added: i64,
    pub(super) changed: i64,
    pub(super) removed: i64,
}

/// The changes between the stored list and a new one, both in the order of names. They are found one after
/// another: all changes of the first sync of PyPI would take as much memory as its list.
pub(super) struct Changes {
    /// Whether projects that the list lacks stay.
    keeps_unlisted: bool,
    list: Peekable<IntoIter<ListedProject>>,
    stored: Peekable<IntoIter<StoredProject>>,
    /// The number of changes found so far.
    pub(super) counts: ListCounts,
}

impl Changes {
    /// Begins a comparison. Projects that the list lacks are removed, unless the list is incomplete.
    pub(super) fn between(
        stored: Vec<StoredProject>,
        list: Vec<ListedProject>,
        is_incomplete: bool,
    ) -> Changes {
        let (list, stored) = (list.into_iter().peekable(), stored.into_iter().peekable());
        Changes { keeps_unlisted: is_incomplete, list, stored, counts: ListCounts::default() }
    }
}

impl Iterator for Changes {
    type Item = ListChange;

    fn next(&mut self) -> Option<ListChange> {
        loop {
            let order = match (self.list.peek(), self.stored.peek()) {
                (None, None) => return None,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(listed), Some(stored)) => listed.normalized_name.cmp(&stored.normalized_name),
            };
            let listed = if order.is_le() { self.list.next() } else { None };
            let row = if order.is_ge() { self.stored.next() } else { None };
            match (listed, row) {
                (Some(listed), None) => {
                    self.counts.added += 1;
                    let (normalized_name, name) =
                        (listed.normalized_name.into(), listed.name.map(Into::into));
                    return Some(ListChange::Added { normalized_name, name, serial: listed.serial });
                }
                (Some(listed), Some(row)) if listed.serial != row.serial => {
                    self.counts.changed += 1;
                    let (normalized_name, from_at) = (listed.normalized_name.into(), row.from_at);
                    return Some(ListChange::Changed { normalized_name, from_at, serial: listed.serial });
                }
                (None, Some(row)) if !self.keeps_unlisted => {
                    self.counts.removed += 1;
                    return Some(ListChange::Removed {
                        normalized_name: row.normalized_name.into(),
                        from_at: row.from_at,
                    });
                }
                (Some(_) | None, Some(_)) | (None, None) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(normalized_name: &str, serial: i64) -> ListedProject {
        ListedProject { normalized_name: normalized_name.into(), name: None, serial: Some(serial) }
    }

    fn stored(normalized_name: &str, serial: i64) -> StoredProject {
        StoredProject { normalized_name: normalized_name.into(), from_at: 5, serial: Some(serial) }
    }

    #[test]
    fn a_list_is_read_in_both_formats() {
        let json =
            br#"{"meta":{"api-version":"1.4","_last-serial":9},"projects":[{"name":"b","_last-serial":9},
            {"name":"A.x","_last-serial":7},{"name":"a-x","_last-serial":8},{"name":"-"}]}"#;
        let list = read(SimpleFormat::Json, &json[..]).expect("a list");
        let names: Vec<&str> = list.projects.iter().map(|project| &*project.normalized_name).collect();
        assert_eq!((names, list.serial, list.invalid.0), (vec!["a-x", "b"], Some(9), 1));
        let html = b"<a href='a/'>A</a><a href='b/'>b</a>";
        let list = read(SimpleFormat::TextHtml, &html[..]).expect("a list");
        assert_eq!((list.projects.len(), list.serial), (2, None));
        assert_eq!((list.projects[0].name.as_deref(), list.projects[1].name.as_deref()), (Some("A"), None));
        assert!(read(SimpleFormat::TextHtml, &b"<html>sign in</html>"[..]).is_err());
        // A list in which only some projects have serials was not written by one origin: its serials are ignored.
        let some = br#"{"projects":[{"name":"a","_last-serial":9},{"name":"b"}]}"#;
        let list = read(SimpleFormat::Json, &some[..]).expect("a list");
        assert!(list.serial.is_none() && list.projects.iter().all(|project| project.serial.is_none()));
    }

    #[test]
    fn a_list_that_lost_projects_or_has_a_lower_serial_is_refused() {
        let projects: Vec<ListedProject> = (0..95).map(|n| listed(&n.to_string(), n)).collect();
        let list = ProjectList { projects, serial: Some(94), invalid: (0, None) };
        assert_eq!(refusal(&list, 100, Some(94)), None);
        assert!(refusal(&list, 101, None).is_some_and(|reason| reason.contains("had 101")));
        assert!(refusal(&list, 0, Some(95)).is_some_and(|reason| reason.contains("--accept-serial")));
        assert_eq!(
            refusal(&ProjectList { serial: None, ..list }, 0, Some(95)),
            None,
            "an index without serials"
        );
        assert!(refusal(&ProjectList::default(), 0, None).is_some());
    }

    #[test]
    fn changes_are_those_of_names_and_serials() {
        let list = vec![listed("a", 1), listed("c", 3), listed("d", 4)];
        let rows = vec![stored("b", 1), stored("c", 2), stored("d", 4)];
        let mut incomplete = Changes::between(rows.clone(), list.clone(), true);
        assert_eq!(incomplete.by_ref().count(), 2, "{:?}", incomplete.counts);
        assert_eq!(incomplete.counts.removed, 0);
        let mut changes = Changes::between(rows, list, false);
        assert_eq!(
            changes.by_ref().collect::<Vec<_>>(),
            [
                ListChange::Added { normalized_name: "a".to_owned(), name: None, serial: Some(1) },
                ListChange::Removed { normalized_name: "b".to_owned(), from_at: 5 },
                ListChange::Changed { normalized_name: "c".to_owned(), from_at: 5, serial: Some(3) },
            ]
        );
        assert_eq!(changes.counts, ListCounts { added: 1, changed: 1, removed: 1 });
        assert!(Changes::between(Vec::new(), Vec::new(), false).next().is_none());
    }
}
