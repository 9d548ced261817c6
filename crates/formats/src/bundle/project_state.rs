//! The projects of a bundle after applying their records, with their listed files.

use std::collections::{BTreeMap, BTreeSet};

use super::project_record::{FileRecord, ProjectRecord, StatusRecord, check_project, object_extension};
use super::record::SnapshotRecord;
use super::state::listing_digest;
use base::model::digest::Sha256;
use base::model::kind::Language;
use base::model::time::Day;

/// The projects of a language after a sequence of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundledProjects {
    language: Language,
    projects: BTreeMap<String, ProjectState>,
    /// Listed files without a record: the base of an incremental bundle is missing or is another bundle.
    missing_files: Vec<String>,
    day: Option<Day>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProjectState {
    /// The serial of the segment with the project's last change.
    pub serial: u64,
    /// The listed files, by name.
    pub files: BTreeMap<String, FileRecord>,
    /// The last record of the project's status.
    pub status: Option<StatusRecord>,
    /// Names of files that the index lists, but the bundle does not contain.
    pub skipped: BTreeSet<String>,
}

/// Returns the line of a file in a listing: its name, such as `odd_lib-1.0.tar.gz`, and its digest.
pub fn file_line(name: &str, sha256: Sha256) -> String {
    format!("{name} {sha256}")
}

impl BundledProjects {
    /// Creates the state before the first record.
    pub fn new(language: Language) -> BundledProjects {
        BundledProjects { language, projects: BTreeMap::new(), missing_files: Vec::new(), day: None }
    }

    pub fn language(&self) -> Language {
        self.language
    }

    /// Returns the projects, by normalized name. They include projects without listed files.
    pub fn projects(&self) -> &BTreeMap<String, ProjectState> {
        &self.projects
    }

    pub fn project(&self, name: &str) -> Option<&ProjectState> {
        self.projects.get(name)
    }

    pub fn file(&self, project: &str, name: &str) -> Option<&FileRecord> {
        self.projects.get(project)?.files.get(name)
    }

    pub fn files(&self) -> impl Iterator<Item = &FileRecord> {
        self.projects.values().flat_map(|project| project.files.values())
    }

    /// Returns the listed files without a record, as lines of the listing.
    pub fn missing_files(&self) -> &[String] {
        &self.missing_files
    }

    /// Returns the lines of the listing, sorted by bytes.
    pub fn listing(&self) -> Vec<String> {
        let mut lines: Vec<String> =
            self.files().map(|file| file_line(&file.name, file.obj.sha256)).collect();
        lines.extend(self.missing_files.iter().cloned());
        lines.sort_unstable();
        lines
    }

    pub fn day(&self) -> Option<Day> {
        self.day
    }

    /// Applies a record of the segment with this serial.
    pub fn apply(&mut self, record: &ProjectRecord, serial: u64) -> Result<(), String> {
        match record {
            ProjectRecord::File(file) => {
                file.extension(self.language)?;
                let line = file_line(&file.name, file.obj.sha256);
                self.missing_files.retain(|missing| *missing != line);
                let project = self.change(&file.project, serial);
                project.skipped.remove(&file.name);
                project.files.insert(file.name.clone(), (**file).clone());
            }
            ProjectRecord::Mark(mark) => {
                check_project(self.language, &mark.project)?;
                // The file may belong to the base of an incremental bundle.
                if self.file(&mark.project, &mark.name).is_some() {
                    let project = self.change(&mark.project, serial);
                    if let Some(file) = project.files.get_mut(&mark.name) {
                        file.yanked.clone_from(&mark.yanked);
                    }
                }
            }
            ProjectRecord::Remove(event) => {
                check_project(self.language, &event.project)?;
                let is_listed = self
                    .file(&event.project, &event.name)
                    .is_some_and(|file| file.obj.sha256 == event.sha256);
                if is_listed {
                    self.change(&event.project, serial).files.remove(&event.name);
                }
            }
            ProjectRecord::Status(status) => {
                check_project(self.language, &status.project)?;
                self.change(&status.project, serial).status = Some(status.clone());
            }
            ProjectRecord::Skip(skip) => {
                check_project(self.language, &skip.project)?;
                object_extension(self.language, &skip.name)?;
                self.change(&skip.project, serial).skipped.insert(skip.name.clone());
            }
            ProjectRecord::Snapshot(snapshot) => self.check_snapshot(snapshot)?,
            ProjectRecord::Unknown => {}
        }
        self.day = self.day.max(record.day());
        Ok(())
    }

    fn change(&mut self, project: &str, serial: u64) -> &mut ProjectState {
        let project = self.projects.entry(project.to_owned()).or_default();
        project.serial = serial;
        project
    }

    fn check_snapshot(&mut self, snapshot: &SnapshotRecord) -> Result<(), String> {
        let lines = match &snapshot.listing {
            Some(listing) => {
                self.set_missing(listing);
                listing.clone()
            }
            None => self.listing(),
        };
        if lines.len() != snapshot.packages {
            return Err(format!(
                "the listing after the records up to {} has {} files, that of the snapshot {}",
                snapshot.day,
                lines.len(),
                snapshot.packages
            ));
        }
        if listing_digest(&lines) != snapshot.state {
            return Err(format!(
                "the listing after the records up to {} does not match the snapshot: the same number of files ({}), but \
                 other ones",
                snapshot.day, snapshot.packages
            ));
        }
        Ok(())
    }

    /// Stores the files without a record in the listing of an incremental bundle. Files of the base that the listing
    /// lacks stay listed, because the writer of an incremental bundle does not know them.
    fn set_missing(&mut self, listing: &[String]) {
        let mut rest: BTreeSet<&str> = listing.iter().map(String::as_str).collect();
        for file in self.files() {
            rest.remove(file_line(&file.name, file.obj.sha256).as_str());
        }
        self.missing_files = rest.into_iter().map(str::to_owned).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::super::project_record::{FileObject, MarkRecord, RemoveRecord};
    use super::*;
    use base::model::digest::Md5;

    fn day(text: &str) -> Day {
        text.parse().expect("a day")
    }

    fn file(project: &str, version: &str, byte: u8) -> ProjectRecord {
        ProjectRecord::File(Box::new(FileRecord {
            project: project.to_owned(),
            version: version.to_owned(),
            name: format!("{project}-{version}.tar.gz"),
            day: day("2026-01-01"),
            upload: None,
            obj: FileObject { sha256: Sha256([byte; 32]), size: 1, md5: Md5([byte; 16]) },
            rp: None,
            meta: None,
            prov: None,
            yanked: None,
        }))
    }

    fn state_after(records: &[ProjectRecord]) -> BundledProjects {
        let mut state = BundledProjects::new(Language::Python);
        records.iter().for_each(|record| state.apply(record, 5).expect("a consistent record"));
        state
    }

    fn snapshot(lines: Vec<String>, has_listing: bool) -> ProjectRecord {
        ProjectRecord::Snapshot(SnapshotRecord {
            day: day("2026-01-02"),
            packages: lines.len(),
            state: listing_digest(&lines),
            listing: has_listing.then_some(lines),
        })
    }

    #[test]
    fn files_are_marked_replaced_and_removed() {
        let mut state = state_after(&[file("a", "1", 1), file("a", "2", 2), file("b", "1", 3)]);
        assert_eq!(state.listing().len(), 3);
        let mark = |name: &str| {
            let (project, name, yanked) = ("a".to_owned(), name.to_owned(), Some("bad".to_owned()));
            ProjectRecord::Mark(MarkRecord { project, name, yanked, day: day("2026-01-02") })
        };
        state.apply(&mark("a-1.tar.gz"), 7).expect("a consistent record");
        state.apply(&mark("a-9.tar.gz"), 8).expect("a file of the base");
        assert_eq!(state.file("a", "a-1.tar.gz").and_then(|file| file.yanked.as_deref()), Some("bad"));
        assert_eq!(state.project("a").map(|project| project.serial), Some(7));
        assert_eq!(state.project("b").map(|project| project.serial), Some(5));
        let remove = |byte| {
            let (project, name) = ("a".to_owned(), "a-2.tar.gz".to_owned());
            let sha256 = Sha256([byte; 32]);
            ProjectRecord::Remove(RemoveRecord { project, name, sha256, day: day("2026-01-03") })
        };
        state.apply(&remove(9), 9).expect("other bytes");
        assert_eq!(state.files().count(), 3);
        state.apply(&remove(2), 9).expect("a consistent record");
        state.apply(&file("b", "1", 4), 9).expect("a consistent record");
        assert_eq!(state.files().count(), 2);
        assert_eq!(state.file("b", "b-1.tar.gz").map(|file| file.obj.size), Some(1));
        assert_eq!(state.day(), Some(day("2026-01-03")));
    }

    #[test]
    fn a_snapshot_must_match() {
        let mut state = state_after(&[file("a", "1", 1)]);
        assert_eq!(state.apply(&snapshot(state.listing(), false), 5), Ok(()));
        let error = state.apply(&snapshot(Vec::new(), false), 5).expect_err("another number");
        assert!(error.contains("has 1 files, that of the snapshot 0"), "{error}");
        let error = state.apply(&snapshot(vec!["x".to_owned()], false), 5).expect_err("another file");
        assert!(error.contains("but other ones"), "{error}");
    }

    #[test]
    fn an_incremental_bundle_may_list_files_of_its_base() {
        let base_line = file_line("a-1.tar.gz", Sha256([1; 32]));
        let new_line = file_line("a-2.tar.gz", Sha256([2; 32]));
        let listing = snapshot(vec![base_line.clone(), new_line], true);
        let state = state_after(&[file("a", "2", 2), listing.clone()]);
        assert_eq!(state.missing_files(), [base_line]);
        let state = state_after(&[file("a", "1", 1), file("b", "1", 3), file("a", "2", 2), listing]);
        assert_eq!((state.missing_files().len(), state.files().count()), (0, 3));
    }
}
