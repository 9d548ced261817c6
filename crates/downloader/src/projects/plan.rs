//! Compares the chosen files and the pages with the bundle: determines files to fetch and records to write. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::selection::{ChosenFile, Selection};
use base::model::digest::Sha256;
use base::model::project_page::{ProjectStatus, UpstreamFile, UpstreamPage};
use base::model::time::Day;
use formats::bundle::layout::{METADATA_EXTENSION, PROVENANCE_EXTENSION};
use formats::bundle::project_record::{FileRecord, MarkRecord, RemoveRecord, SkipRecord, StatusRecord};
use formats::bundle::project_state::{ProjectState, file_line};
use formats::bundle::{BundledProjects, Product, ProjectRecord};
use formats::language::Projects;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlannedFile {
    pub(super) project: String,
    pub(super) version: String,
    pub(super) file: UpstreamFile,
    /// Whether the bundle has a record of the file already, so that only its object is missing.
    pub(super) is_known: bool,
}

/// The changes of a run.
#[derive(Debug, Default)]
pub(super) struct ProjectPlan {
    pub(super) fetches: Vec<PlannedFile>,
    /// Records of events, dated to today.
    pub(super) events: Vec<ProjectRecord>,
    /// Files that an incremental bundle lists and its base has, as lines of the listing.
    pub(super) base_lines: BTreeSet<String>,
    /// Projects that the index no longer has.
    pub(super) lost_projects: Vec<String>,
}

impl ProjectPlan {
    /// Returns the total size of the files to fetch, in bytes; files of unknown size are not counted.
    pub(super) fn size(&self) -> u64 {
        self.fetches.iter().filter_map(|fetch| fetch.file.size).sum()
    }
}

/// The bundle before the run.
pub(super) struct ExistingFiles<'a> {
    pub(super) projects: &'static dyn Projects,
    pub(super) state: &'a BundledProjects,
    /// Sizes of the objects by name.
    pub(super) objects: &'a HashMap<String, u64>,
    /// The first day of an incremental bundle.
    pub(super) first_day: Option<Day>,
    pub(super) today: Day,
}

/// Adds the SHA-256 of files for which a page declares none and that the bundle has: those of the same name for which
/// the page declares the same MD5, or, without an MD5, no other size.
pub(super) fn reuse_digests(selection: &mut Selection, state: &BundledProjects) {
    for (project, page) in &mut selection.pages {
        let Some((page, known)) = page.as_mut().zip(state.project(project.as_str())) else { continue };
        for file in page.files.iter_mut().filter(|file| file.sha256().is_none()) {
            let Some(known) = known.files.get(&file.name) else { continue };
            let is_same = match file.hashes.get("md5") {
                Some(declared) => declared.eq_ignore_ascii_case(&known.obj.md5.to_string()),
                None => file.size.is_none_or(|size| size == known.obj.size),
            };
            if is_same {
                file.hashes.insert("sha256".to_owned(), known.obj.sha256.to_string());
            }
        }
    }
}

/// Returns the changes so that the bundle has the chosen files, and previous files that the index still has.
pub(super) fn plan(selection: &Selection, existing: &ExistingFiles<'_>) -> ProjectPlan {
    let mut plan = ProjectPlan::default();
    for (name, page) in &selection.pages {
        let known = existing.state.project(name.as_str());
        let chosen = selection.files.get(name);
        match page {
            Some(page) => plan_project(&mut plan, page, known, chosen, existing),
            None => {
                let Some(known) = known.filter(|known| !known.files.is_empty()) else { continue };
                plan.lost_projects.push(name.to_string());
                let names: Vec<&String> = known.files.keys().collect();
                remove(&mut plan, known, &names, existing.today);
            }
        }
    }
    plan
}

fn plan_project(
    plan: &mut ProjectPlan,
    page: &UpstreamPage,
    known: Option<&ProjectState>,
    chosen: Option<&BTreeSet<ChosenFile>>,
    existing: &ExistingFiles<'_>,
) {
    let project = page.project.as_str();
    plan_status(plan, page, known, chosen.is_some(), existing.today);
    // A quarantined project has no files until its quarantine ends.
    if page.status == ProjectStatus::Quarantined {
        return;
    }
    let page_files: BTreeMap<&str, &UpstreamFile> =
        page.files.iter().map(|file| (file.name.as_str(), file)).collect();
    let mut names: BTreeSet<&str> = chosen.into_iter().flatten().map(|file| file.name.as_str()).collect();
    let known_files = known.map(|known| &known.files);
    names.extend(known_files.into_iter().flatten().map(|(name, _)| name.as_str()));
    let mut lost_names = Vec::new();
    for name in names {
        let known_file = known_files.and_then(|files| files.get(name));
        let Some(file) = page_files.get(name) else {
            lost_names.extend(known_file.map(|file| &file.name));
            continue;
        };
        let sha256 = file.sha256();
        let mark = |yanked: Option<String>| {
            let (project, name) = (project.to_owned(), name.to_owned());
            ProjectRecord::Mark(MarkRecord { project, name, yanked, day: existing.today })
        };
        let version = file.version.clone().unwrap_or_default();
        let fetch = |is_known| PlannedFile {
            project: project.to_owned(),
            version: version.clone(),
            file: (*file).clone(),
            is_known,
        };
        match (known_file, sha256) {
            (Some(known_file), Some(sha256)) if known_file.obj.sha256 == sha256 => {
                if known_file.yanked != file.yanked {
                    plan.events.push(mark(file.yanked.clone()));
                }
                if !has_objects(known_file, existing) {
                    plan.fetches.push(fetch(true));
                }
            }
            (None, Some(sha256)) if is_in_base(file, existing) => {
                plan.base_lines.insert(file_line(name, sha256));
                plan.events.push(mark(file.yanked.clone()));
            }
            // A file without a SHA-256 is fetched even if the base has it, because its line in the listing needs one.
            _ => plan.fetches.push(fetch(false)),
        }
    }
    if let Some(known) = known {
        remove(plan, known, &lost_names, existing.today);
    }
    plan_skips(plan, page, known, chosen, existing);
}

/// Returns whether the base of an incremental bundle has a file.
fn is_in_base(file: &UpstreamFile, existing: &ExistingFiles<'_>) -> bool {
    let uploaded = file.uploaded_at.map(|time| time.day());
    existing.first_day.zip(uploaded).is_some_and(|(first_day, uploaded)| uploaded < first_day)
}

/// Returns whether the objects of a file exist, and that of the file has the expected size.
fn has_objects(file: &FileRecord, existing: &ExistingFiles<'_>) -> bool {
    let Ok(extension) = existing.projects.object_extension(&file.name) else { return false };
    let product = Product::Projects(existing.state.language());
    let object = |extension: &str| existing.objects.get(&object_name(&product, file.obj.sha256, extension));
    object(&extension) == Some(&file.obj.size)
        && (file.meta.is_none() || object(METADATA_EXTENSION).is_some())
        && (file.prov.is_none() || object(PROVENANCE_EXTENSION).is_some())
}

/// Returns the name of an object in its folder.
fn object_name(product: &Product, sha256: Sha256, extension: &str) -> String {
    let path = product.object_path(sha256, extension);
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

fn remove(plan: &mut ProjectPlan, known: &ProjectState, names: &[&String], day: Day) {
    let files = names.iter().filter_map(|name| known.files.get(*name));
    plan.events.extend(files.map(|file| {
        let (project, name, sha256) = (file.project.clone(), file.name.clone(), file.obj.sha256);
        ProjectRecord::Remove(RemoveRecord { project, name, sha256, day })
    }));
}

fn plan_status(
    plan: &mut ProjectPlan,
    page: &UpstreamPage,
    known: Option<&ProjectState>,
    is_chosen: bool,
    day: Day,
) {
    let (status, reason) = (page.status.as_str(), page.status_reason.clone());
    let known_status = known.and_then(|known| known.status.as_ref());
    let is_same = match known_status {
        Some(known) => known.status == status && known.reason == reason,
        None => page.status == ProjectStatus::Active && reason.is_none(),
    };
    // A project without files in the bundle has no status in it.
    if !is_same && (is_chosen || known.is_some()) {
        let (project, status) = (page.project.to_string(), status.to_owned());
        plan.events.push(ProjectRecord::Status(StatusRecord { project, status, reason, day }));
    }
}

/// Records the files of the chosen versions that were not chosen.
fn plan_skips(
    plan: &mut ProjectPlan,
    page: &UpstreamPage,
    known: Option<&ProjectState>,
    chosen: Option<&BTreeSet<ChosenFile>>,
    existing: &ExistingFiles<'_>,
) {
    let versions: BTreeSet<&str> = chosen.into_iter().flatten().map(|file| file.version.as_str()).collect();
    let names: BTreeSet<&str> = chosen.into_iter().flatten().map(|file| file.name.as_str()).collect();
    for file in page.files.iter().filter(|file| existing.projects.is_installable(&file.name)) {
        let name = file.name.as_str();
        let is_known = |known: &ProjectState| known.files.contains_key(name) || known.skipped.contains(name);
        let is_of_version =
            || file.version.as_ref().is_some_and(|version| versions.contains(version.as_str()));
        if !names.contains(name) && !known.is_some_and(is_known) && is_of_version() {
            let (project, name, day) = (page.project.to_string(), name.to_owned(), existing.today);
            plan.events.push(ProjectRecord::Skip(SkipRecord { project, name, day }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::digest::Md5;
    use base::model::kind::Language;
    use base::model::project_name::ProjectName;
    use base::model::project_page::MetadataFile;
    use formats::bundle::project_record::FileObject;
    use formats::language;

    fn day(text: &str) -> Day {
        text.parse().expect("a day")
    }

    fn version(name: &str) -> String {
        name.split('-').nth(1).unwrap_or_default().trim_end_matches(".tar.gz").to_owned()
    }

    fn page_file(name: &str, byte: u8, uploaded: &str) -> UpstreamFile {
        UpstreamFile {
            name: name.to_owned(),
            version: Some(version(name)),
            url: format!("http://h/{name}"),
            hashes: BTreeMap::from([("sha256".to_owned(), Sha256([byte; 32]).to_string())]),
            size: None,
            uploaded_at: Some(uploaded.parse().expect("a time")),
            yanked: None,
            metadata: MetadataFile::None,
            provenance: None,
            facts: Vec::new(),
        }
    }

    fn selection(files: Vec<UpstreamFile>, chosen: &[&str]) -> Selection {
        let name = ProjectName::folded("a");
        let page = UpstreamPage {
            project: name.clone(),
            serial: None,
            status: ProjectStatus::Active,
            status_reason: None,
            files,
            skipped_files: Vec::new(),
        };
        let chosen =
            chosen.iter().map(|name| ChosenFile { name: (*name).to_owned(), version: version(name) });
        let mut selection = Selection::default();
        selection.files.insert(name.clone(), chosen.collect());
        selection.pages.insert(name, Some(page));
        selection
    }

    fn state() -> BundledProjects {
        let mut state = BundledProjects::new(Language::Python);
        let record = ProjectRecord::File(Box::new(FileRecord {
            project: "a".to_owned(),
            version: "1".to_owned(),
            name: "a-1.tar.gz".to_owned(),
            day: day("2026-01-01"),
            upload: None,
            obj: FileObject { sha256: Sha256([1; 32]), size: 7, md5: Md5([1; 16]) },
            rp: None,
            meta: None,
            prov: None,
            yanked: None,
        }));
        state.apply(&record, 5).expect("a consistent record");
        state
    }

    fn planned(selection: &Selection, state: &BundledProjects, first_day: Option<&str>) -> ProjectPlan {
        let object = object_name(&Product::Projects(Language::Python), Sha256([1; 32]), "tar.gz");
        let (objects, first_day) = (HashMap::from([(object, 7)]), first_day.map(day));
        let projects = language::of(Language::Python).projects().expect("projects");
        let today = day("2026-02-01");
        plan(selection, &ExistingFiles { projects, state, objects: &objects, first_day, today })
    }

    #[test]
    fn only_new_files_are_fetched_and_marks_are_recorded() {
        const UPLOADED: &str = "2026-01-05T00:00:00Z";
        let mut old = page_file("a-1.tar.gz", 1, UPLOADED);
        let files = vec![old.clone(), page_file("a-2.tar.gz", 2, UPLOADED)];
        let plan = planned(&selection(files, &["a-2.tar.gz"]), &state(), None);
        let names: Vec<&str> = plan.fetches.iter().map(|fetch| fetch.file.name.as_str()).collect();
        assert_eq!((names, plan.events.len()), (vec!["a-2.tar.gz"], 0));
        old.yanked = Some("bad".to_owned());
        let plan = planned(&selection(vec![old.clone()], &[]), &state(), None);
        assert!(plan.fetches.is_empty());
        assert!(
            matches!(&plan.events[..], [ProjectRecord::Mark(mark)] if mark.yanked.as_deref() == Some("bad"))
        );
        // Different bytes replace the file.
        let plan = planned(&selection(vec![page_file("a-1.tar.gz", 9, UPLOADED)], &[]), &state(), None);
        assert_eq!((plan.fetches.len(), plan.events.len()), (1, 0));
    }

    #[test]
    fn a_file_without_sha256_is_fetched_unless_the_bundle_has_it() {
        let plan_of = |hashes: &[(&str, &str)], size: Option<u64>| {
            let file = page_file("a-1.tar.gz", 1, "2026-01-05T00:00:00Z");
            let hashes = hashes.iter().map(|(name, hex)| ((*name).to_owned(), (*hex).to_owned())).collect();
            let mut selection = selection(vec![UpstreamFile { hashes, size, ..file }], &["a-1.tar.gz"]);
            reuse_digests(&mut selection, &state());
            planned(&selection, &state(), Some("2026-01-10"))
        };
        let (same, other) = ("01".repeat(16), "02".repeat(16));
        for (hashes, size, fetches) in [
            (vec![("md5", same.as_str())], None, 0),
            (vec![("md5", other.as_str())], Some(7), 1),
            (vec![], Some(7), 0),
            (vec![], None, 0),
            (vec![], Some(8), 1),
        ] {
            let plan = plan_of(&hashes, size);
            assert_eq!((plan.fetches.len(), plan.events.len()), (fetches, 0), "{hashes:?} {size:?}");
            assert!(plan.fetches.iter().all(|fetch| !fetch.is_known), "{hashes:?} {size:?}");
        }
        // Without a record, the file is fetched even if the base of an incremental bundle may have it.
        let file =
            UpstreamFile { hashes: BTreeMap::new(), ..page_file("a-1.tar.gz", 1, "2025-01-01T00:00:00Z") };
        let chosen = selection(vec![file], &["a-1.tar.gz"]);
        let plan = planned(&chosen, &BundledProjects::new(Language::Python), Some("2026-01-10"));
        assert_eq!((plan.fetches.len(), plan.base_lines.len()), (1, 0));
    }

    #[test]
    fn files_that_left_the_index_are_removed_unless_the_project_is_quarantined() {
        let mut empty = selection(Vec::new(), &[]);
        let plan = planned(&empty, &state(), None);
        assert!(matches!(&plan.events[..], [ProjectRecord::Remove(event)] if event.name == "a-1.tar.gz"));
        for page in empty.pages.values_mut().flatten() {
            page.status = ProjectStatus::Quarantined;
        }
        let plan = planned(&empty, &state(), None);
        assert!(
            matches!(&plan.events[..], [ProjectRecord::Status(status)] if status.status == "quarantined")
        );
        empty.pages.values_mut().for_each(|page| *page = None);
        let plan = planned(&empty, &state(), None);
        assert_eq!((plan.events.len(), plan.lost_projects), (1, vec!["a".to_owned()]));
    }

    #[test]
    fn an_incremental_bundle_has_the_files_of_its_days_and_lists_the_others() {
        let files = vec![
            page_file("a-1.tar.gz", 1, "2025-01-01T00:00:00Z"),
            page_file("a-2.tar.gz", 2, "2026-01-10T00:00:00Z"),
            page_file("a-2-py3-none-any.whl", 3, "2026-01-10T00:00:00Z"),
        ];
        let chosen = selection(files, &["a-1.tar.gz", "a-2.tar.gz"]);
        let plan = planned(&chosen, &BundledProjects::new(Language::Python), Some("2026-01-10"));
        assert_eq!((plan.fetches.len(), plan.base_lines.len()), (1, 1));
        let [ProjectRecord::Mark(mark), ProjectRecord::Skip(skip)] = &plan.events[..] else {
            panic!("{:?}", plan.events)
        };
        assert_eq!((&*mark.name, &*skip.name), ("a-1.tar.gz", "a-2-py3-none-any.whl"));
    }
}
