//! The list of projects of an index, and its changes. Pure but for the reader passed in.

use std::cmp::Ordering;
use std::io::Read;

use base::model::kind::SourceKind;
use base::model::project_page::ListedName;
use formats::language::Projects as LanguageProjects;
use store::db::project::ListChange;

/// The serial of an entry without one. Serials are not negative.
const NO_SERIAL: i64 = -1;
/// The number of projects for which memory is reserved: those of all of PyPI. Memory that is reserved and not written is not used,
/// and a vector that grows is in memory twice.
const RESERVED_PROJECTS: usize = 1 << 20;
/// The bytes that are reserved for their names.
const RESERVED_NAMES: usize = 16 << 20;

/// A project of a list. Its names are in the text of the list: one after the other, so that a million names need neither
/// an allocation nor a pointer each.
#[derive(Clone, Copy, Debug)]
struct ListedProject {
    /// The position of the normalized name, which the name as its owner writes it follows.
    start: u32,
    name_len: u8,
    /// 0 if the owner writes the normalized name.
    display_len: u8,
    serial: i64,
}

/// The projects of a list, in the order of their names once [`Projects::sort`] was called.
#[derive(Clone, Debug, Default)]
pub(super) struct Projects {
    names: String,
    entries: Vec<ListedProject>,
}

impl Projects {
    fn with_room() -> Projects {
        Projects {
            names: String::with_capacity(RESERVED_NAMES),
            entries: Vec::with_capacity(RESERVED_PROJECTS),
        }
    }

    /// Adds a project: its normalized name, the name as its owner writes it if that differs, and its serial.
    fn push(&mut self, name: &str, display: Option<&str>, serial: Option<i64>) {
        let display = display.unwrap_or_default();
        let start = u32::try_from(self.names.len());
        let lengths = (u8::try_from(name.len()), u8::try_from(display.len()));
        // Names have at most 255 bytes, and a list has at most [`MAX_DECODED_LIST`](::upstream::MAX_DECODED_LIST) bytes.
        let (Ok(start), (Ok(name_len), Ok(display_len))) = (start, lengths) else { return };
        self.names.push_str(name);
        self.names.push_str(display);
        self.entries.push(ListedProject {
            start,
            name_len,
            display_len,
            serial: serial.unwrap_or(NO_SERIAL),
        });
    }

    /// Sorts the projects by name, and removes all but the first one with the same name.
    fn sort(&mut self) {
        let Projects { names, entries } = self;
        let names = names.as_str();
        entries.sort_unstable_by(|a, b| name_of(names, a).cmp(name_of(names, b)).then(a.start.cmp(&b.start)));
        entries.dedup_by(|later, first| name_of(names, later) == name_of(names, first));
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn serials(&self) -> impl Iterator<Item = Option<i64>> {
        self.entries.iter().map(|entry| serial(entry.serial))
    }

    /// Returns the normalized name of the project at an index.
    fn name(&self, index: usize) -> Option<&str> {
        self.entries.get(index).map(|entry| name_of(&self.names, entry))
    }

    /// Returns the name as the owner writes it, if it differs.
    fn display(&self, entry: &ListedProject) -> Option<&str> {
        let start = entry.start as usize + usize::from(entry.name_len);
        (entry.display_len > 0).then(|| &self.names[start..start + usize::from(entry.display_len)])
    }
}

fn name_of<'a>(names: &'a str, entry: &ListedProject) -> &'a str {
    let start = entry.start as usize;
    &names[start..start + usize::from(entry.name_len)]
}

fn serial(number: i64) -> Option<i64> {
    (number != NO_SERIAL).then_some(number)
}

#[derive(Clone, Debug, Default)]
pub(super) struct ProjectList {
    /// The projects in the order of their names.
    pub(super) projects: Projects,
    /// The highest serial; `None` if a project has none.
    pub(super) serial: Option<i64>,
    /// The number of names that are not valid, and the first of them.
    pub(super) invalid: (u64, Option<String>),
}

/// The projects of the database in the order of their names, with as little memory as [`Projects`].
#[derive(Clone, Debug, Default)]
pub(super) struct StoredProjects {
    names: String,
    entries: Vec<StoredProject>,
}

#[derive(Clone, Copy, Debug)]
struct StoredProject {
    /// The end of the name, which begins at the end of the one before.
    end: u32,
    from_at: i64,
    serial: i64,
}

impl StoredProjects {
    pub(super) fn with_room() -> StoredProjects {
        StoredProjects {
            names: String::with_capacity(RESERVED_NAMES),
            entries: Vec::with_capacity(RESERVED_PROJECTS),
        }
    }

    /// Adds a project: its normalized name, the sequence number with which its row begins, and its serial. Returns false
    /// if all names together are too long.
    pub(super) fn push(&mut self, name: &str, from_at: i64, serial: Option<i64>) -> bool {
        self.names.push_str(name);
        let Ok(end) = u32::try_from(self.names.len()) else { return false };
        self.entries.push(StoredProject { end, from_at, serial: serial.unwrap_or(NO_SERIAL) });
        true
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn highest_serial(&self) -> Option<i64> {
        self.entries.iter().filter_map(|entry| serial(entry.serial)).max()
    }

    fn name(&self, index: usize) -> Option<&str> {
        let end = self.entries.get(index)?.end;
        let start = index.checked_sub(1).map_or(0, |before| self.entries[before].end);
        Some(&self.names[start as usize..end as usize])
    }
}

/// Reads a list of an index of the language. Blocking: takes seconds for all of PyPI.
pub(super) fn read(
    language: &dyn LanguageProjects,
    media_type: Option<&str>,
    mut body: impl Read,
) -> Result<ProjectList, String> {
    let mut projects = Projects::with_room();
    let summary = language.read_list(media_type, &mut body, &mut |project: ListedName<'_>| {
        let display = (project.display != project.name).then_some(project.display);
        let serial = project.serial.and_then(|serial| i64::try_from(serial).ok());
        projects.push(project.name, display, serial);
    })?;
    projects.sort();
    let has_serials = !projects.is_empty() && projects.serials().all(|serial| serial.is_some());
    let highest = projects.serials().flatten().max();
    if !has_serials {
        projects.entries.iter_mut().for_each(|entry| entry.serial = NO_SERIAL);
    }
    Ok(ProjectList {
        projects,
        // The newest project may have been removed: the serial of the list is the one that never decreases.
        serial: highest
            .max(summary.serial.and_then(|serial| i64::try_from(serial).ok()))
            .filter(|_| has_serials),
        invalid: (summary.invalid_count, summary.first_invalid),
    })
}

/// Returns why a list cannot replace the stored one: it is empty, has lost a twentieth of its projects, or
/// its serials decreased, like those of a restored copy or of another index.
pub(super) fn refusal(
    kind: SourceKind,
    list: &ProjectList,
    stored_count: usize,
    stored_serial: Option<i64>,
) -> Option<String> {
    let count = list.projects.len();
    if count == 0 {
        return Some("the list of projects is empty".to_owned());
    }
    if count.saturating_mul(20) < stored_count.saturating_mul(19) {
        return Some(format!(
            "the list has {count} projects, and had {stored_count} at the last sync; if that is right, run: rspm sync \
             --type={kind} --accept-serial"
        ));
    }
    match (list.serial, stored_serial) {
        (Some(new), Some(old)) if new < old => Some(format!(
            "the newest serial is {new}, and was {old} at the last sync: the index is another one, or was restored from a \
             copy; if it is to be used, run: rspm sync --type={kind} --accept-serial"
        )),
        _ => None,
    }
}

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
    /// The list, and the index of the next project.
    list: (Projects, usize),
    /// The stored projects, and the index of the next one.
    stored: (StoredProjects, usize),
    /// The number of changes found so far.
    pub(super) counts: ListCounts,
}

impl Changes {
    /// Begins a comparison. Projects that the list lacks are removed, unless the list is incomplete.
    pub(super) fn between(stored: StoredProjects, list: Projects, is_incomplete: bool) -> Changes {
        Changes {
            keeps_unlisted: is_incomplete,
            list: (list, 0),
            stored: (stored, 0),
            counts: ListCounts::default(),
        }
    }
}

impl Iterator for Changes {
    type Item = ListChange;

    fn next(&mut self) -> Option<ListChange> {
        let ((list, next_listed), (stored, next_stored)) = (&mut self.list, &mut self.stored);
        loop {
            let order = match (list.name(*next_listed), stored.name(*next_stored)) {
                (None, None) => return None,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(listed), Some(stored)) => listed.cmp(stored),
            };
            let (listed_index, stored_index) = (*next_listed, *next_stored);
            *next_listed += usize::from(order.is_le());
            *next_stored += usize::from(order.is_ge());
            let listed = list.entries.get(listed_index).filter(|_| order.is_le());
            let row = stored.entries.get(stored_index).filter(|_| order.is_ge());
            let normalized_name =
                if order.is_le() { list.name(listed_index) } else { stored.name(stored_index) };
            let normalized_name = || normalized_name.unwrap_or_default().to_owned();
            match (listed, row) {
                (Some(listed), None) => {
                    self.counts.added += 1;
                    return Some(ListChange::Added {
                        normalized_name: normalized_name(),
                        name: list.display(listed).map(str::to_owned),
                        serial: serial(listed.serial),
                    });
                }
                (Some(listed), Some(row)) if listed.serial != row.serial => {
                    self.counts.changed += 1;
                    return Some(ListChange::Changed {
                        normalized_name: normalized_name(),
                        from_at: row.from_at,
                        serial: serial(listed.serial),
                    });
                }
                (None, Some(row)) if !self.keeps_unlisted => {
                    self.counts.removed += 1;
                    return Some(ListChange::Removed {
                        normalized_name: normalized_name(),
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
    use base::model::kind::Language;
    use formats::language;

    fn listed(projects: &[(&str, i64)]) -> Projects {
        let mut all = Projects::default();
        projects.iter().for_each(|(name, serial)| all.push(name, None, Some(*serial)));
        all
    }

    fn stored(projects: &[(&str, i64)]) -> StoredProjects {
        let mut all = StoredProjects::default();
        assert!(projects.iter().all(|(name, serial)| all.push(name, 5, Some(*serial))));
        all
    }

    fn read(media_type: &str, body: &[u8]) -> Result<ProjectList, String> {
        let language = language::of(Language::Python).projects().expect("an index");
        super::read(language, Some(media_type), body)
    }

    fn refusal(list: &ProjectList, stored_count: usize, stored_serial: Option<i64>) -> Option<String> {
        super::refusal(SourceKind::Pypi, list, stored_count, stored_serial)
    }

    fn displays(list: &ProjectList) -> Vec<Option<&str>> {
        list.projects.entries.iter().map(|entry| list.projects.display(entry)).collect()
    }

    /// PyPI has a million projects, whose list and stored rows are in memory at the same time.
    #[test]
    fn a_project_needs_few_bytes_besides_its_name() {
        assert!(size_of::<ListedProject>() <= 16 && size_of::<StoredProject>() <= 24);
    }

    #[test]
    fn a_list_is_read_in_both_formats() {
        let json =
            br#"{"meta":{"api-version":"1.4","_last-serial":9},"projects":[{"name":"b","_last-serial":9},
            {"name":"A.x","_last-serial":7},{"name":"a-x","_last-serial":8},{"name":"-"}]}"#;
        let list = read("application/json", &json[..]).expect("a list");
        let names: Vec<&str> = (0..list.projects.len()).filter_map(|n| list.projects.name(n)).collect();
        assert_eq!((names, list.serial, list.invalid.0), (vec!["a-x", "b"], Some(9), 1));
        // Of two spellings of a name, the first one applies.
        assert_eq!(displays(&list), [Some("A.x"), None]);
        assert_eq!(list.projects.serials().collect::<Vec<_>>(), [Some(7), Some(9)]);
        let html = b"<a href='a/'>A</a><a href='b/'>b</a>";
        let list = read("text/html", &html[..]).expect("a list");
        assert_eq!((list.projects.len(), list.serial), (2, None));
        assert_eq!(displays(&list), [Some("A"), None]);
        assert!(read("text/html", &b"<html>sign in</html>"[..]).is_err());
        // A list in which only some projects have serials was not written by one origin: its serials are ignored.
        let some = br#"{"projects":[{"name":"a","_last-serial":9},{"name":"b"}]}"#;
        let list = read("application/json", &some[..]).expect("a list");
        assert!(list.serial.is_none() && list.projects.serials().all(|serial| serial.is_none()));
    }

    #[test]
    fn a_list_that_lost_projects_or_has_a_lower_serial_is_refused() {
        let mut projects = Projects::default();
        (0..95).for_each(|n| projects.push(&n.to_string(), None, Some(n)));
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
        let list = listed(&[("a", 1), ("c", 3), ("d", 4)]);
        let rows = stored(&[("b", 1), ("c", 2), ("d", 4)]);
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
        assert!(Changes::between(StoredProjects::default(), Projects::default(), false).next().is_none());
    }
}
