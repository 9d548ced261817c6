//! Plans the fetches by comparing the files of upstream with the known releases and the existing files. Pure.

use std::collections::{HashMap, HashSet};

use super::incomplete_files::IncompleteFiles;
use super::inventory::{Inventory, UpstreamFile};
use base::model::digest::Sha256;
use base::model::time::Day;
use formats::bundle::record::{IndexUpdate, PackageEvent};
use formats::bundle::state::Release;
use formats::bundle::{ProductState, Record, self_digest};

/// Maximum number of known files with the same size and another time. If there are more, the mirror is treated as
/// a copy that did not preserve the times of files, and times are not compared.
const MAX_TIME_CHANGES: usize = 500;
/// An index from which fewer packages than this number are missing is always accepted.
const MIN_LOSS: usize = 10;

/// Contents of the destination before anything is fetched.
pub(super) struct ExistingFiles<'a> {
    pub(super) state: &'a ProductState,
    /// Releases in the journal: their files exist, but no segment names them yet.
    pub(super) journal_state: &'a ProductState,
    /// Object files by name, with their sizes.
    pub(super) objects: &'a HashMap<String, u64>,
    /// Files of releases before this day need not exist.
    pub(super) first_day: Option<Day>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct PlannedFetch {
    pub(super) file: UpstreamFile,
    /// The digest of a known file that is missing: the fetched file must match it.
    pub(super) expected_sha256: Option<Sha256>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Plan {
    pub(super) fetches: Vec<PlannedFetch>,
    /// New index records of existing releases.
    pub(super) index_updates: Vec<Record>,
    /// Records of releases that upstream has removed.
    pub(super) removals: Vec<Record>,
    /// Number of releases that already exist.
    pub(super) existing_count: usize,
}

impl Plan {
    /// Returns the number of bytes to fetch, without the files of unknown size.
    pub(super) fn size(&self) -> u64 {
        self.fetches.iter().filter_map(|fetch| fetch.file.size).sum()
    }
}

/// Returns the known release of a file. `ignores_times`: see [`MAX_TIME_CHANGES`].
pub(super) fn release<'a>(
    file: &UpstreamFile,
    state: &'a ProductState,
    ignores_times: bool,
) -> Option<&'a Release> {
    let (folder, name) = file.key();
    let releases = &state.package(folder, name)?.releases;
    releases.iter().rev().find(|release| {
        let object = &release.object;
        let has_same_size = file.size.is_none_or(|size| size == object.size);
        release.version == file.version
            && object.ext == file.ext
            && has_same_size
            && match (file.sha256, file.md5) {
                (Some(sha256), _) => sha256 == object.sha256,
                (None, Some(md5)) => md5 == object.md5,
                (None, None) => ignores_times || has_same_time(file, release),
            }
    })
}

fn has_same_time(file: &UpstreamFile, release: &Release) -> bool {
    match (file.published, release.published) {
        (Some(file_time), Some(release_time)) => file_time.seconds() == release_time.seconds(),
        _ => true,
    }
}

/// Compares upstream with the destination. `today` is the day of the run.
pub(super) fn plan(inventory: &Inventory, existing_files: &ExistingFiles<'_>, today: Day) -> Plan {
    let has_other_time = |file: &&UpstreamFile| {
        release(file, existing_files.state, false).is_none()
            && release(file, existing_files.state, true).is_some()
    };
    let ignores_times = inventory.files.iter().filter(has_other_time).count() > MAX_TIME_CHANGES;
    let mut plan = Plan::default();
    let mut upstream_objects: HashSet<(&str, &str, Sha256)> = HashSet::new();
    for file in &inventory.files {
        let release = release(file, existing_files.state, ignores_times)
            .or_else(|| release(file, existing_files.journal_state, ignores_times));
        let Some(release) = release else {
            if is_on_or_after(file.published.map(|time| time.day()), existing_files.first_day) {
                plan.fetches.push(PlannedFetch { file: file.clone(), expected_sha256: None });
            }
            continue;
        };
        let (folder, name) = file.key();
        upstream_objects.insert((folder, name, release.object.sha256));
        let object_name = format!("{}.{}", release.object.sha256, release.object.ext);
        let is_present = existing_files.objects.get(&object_name) == Some(&release.object.size);
        if !is_present && is_on_or_after(Some(release.day), existing_files.first_day) {
            let expected_sha256 = Some(release.object.sha256);
            plan.fetches.push(PlannedFetch { file: file.clone(), expected_sha256 });
        } else {
            plan.existing_count += 1;
        }
        if let Some(index) =
            file.index.as_ref().filter(|index| release.index != Some(self_digest::digest(index.as_bytes())))
        {
            plan.index_updates.push(Record::Index(IndexUpdate {
                folder: file.folder.clone(),
                name: file.name.clone(),
                version: file.version.clone(),
                sha256: release.object.sha256,
                day: today,
                index: index.clone(),
            }));
        }
    }
    if inventory.is_complete {
        plan.removals = removals(inventory, existing_files.state, &upstream_objects, today);
    }
    plan
}

/// Returns whether `day` is on or after `first_day`, or one of them is unknown.
fn is_on_or_after(day: Option<Day>, first_day: Option<Day>) -> bool {
    match (day, first_day) {
        (Some(day), Some(first_day)) => day >= first_day,
        _ => true,
    }
}

/// Returns the removals of releases that upstream no longer has at any path. While upstream has any file of a version,
/// no release of that version counts as removed: without checksums, files cannot always be distinguished.
fn removals(
    inventory: &Inventory,
    state: &ProductState,
    upstream_objects: &HashSet<(&str, &str, Sha256)>,
    today: Day,
) -> Vec<Record> {
    let versions: HashSet<(&str, &str, &str)> =
        inventory.files.iter().map(|file| (file.key().0, file.key().1, file.version.as_str())).collect();
    let removed_releases = state.releases().filter(|((folder, name), release)| {
        !upstream_objects.contains(&(folder.as_str(), name.as_str(), release.object.sha256))
            && !versions.contains(&(folder.as_str(), name.as_str(), release.version.as_str()))
    });
    removed_releases
        .map(|((folder, name), release)| {
            Record::Remove(PackageEvent {
                folder: Some(folder.clone()).filter(|folder| !folder.is_empty()),
                name: name.clone(),
                version: Some(release.version.clone()),
                sha256: Some(release.object.sha256),
                day: today,
            })
        })
        .collect()
}

/// Refuses an index that lacks a fifth or more of the previously listed packages, as with an incomplete mirror.
pub(super) fn check_loss(inventory: &Inventory, state: &ProductState) -> Result<(), String> {
    let listed_packages: HashSet<(&str, &str)> =
        inventory.files.iter().filter(|file| file.is_listed).map(UpstreamFile::key).collect();
    let previous_packages = state.packages().filter(|(_, package)| package.listed_index.is_some());
    let (mut total, mut lost_count, mut example) = (0_usize, 0_usize, None);
    for ((folder, name), _) in previous_packages {
        total += 1;
        if !listed_packages.contains(&(folder.as_str(), name.as_str())) {
            lost_count += 1;
            example.get_or_insert(name.as_str());
        }
    }
    if lost_count < MIN_LOSS || lost_count * 5 < total {
        return Ok(());
    }
    Err(format!(
        "{lost_count} of {total} packages are no longer in the index (for example {}), as if the mirror were incomplete; nothing \
         was changed. Try again later. If the packages were really removed, run the command with --accept-loss",
        example.unwrap_or_default()
    ))
}

/// Returns the unreadable archives of an earlier run that must be fetched again and are not in the plan.
pub(super) fn unconfirmed_files(
    inventory: &Inventory,
    incomplete_files: &IncompleteFiles,
    plan: &Plan,
) -> Vec<PlannedFetch> {
    if !incomplete_files.has_unconfirmed_archive() {
        return Vec::new();
    }
    let unconfirmed_archives = inventory
        .files
        .iter()
        .filter(|file| incomplete_files.needs_confirmation(file.path()) && !file.is_verifiable());
    let is_planned = |file: &UpstreamFile| plan.fetches.iter().any(|fetch| fetch.file.path() == file.path());
    let unplanned_archives = unconfirmed_archives.filter(|file| !is_planned(file));
    unplanned_archives.map(|file| PlannedFetch { file: file.clone(), expected_sha256: None }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::digest::Md5;
    use base::model::time::{SECOND, Timestamp};
    use formats::bundle::{RecordObject, ReleaseRecord};

    fn upstream_file(name: &str, version: &str, size: u64, seconds: i64) -> UpstreamFile {
        UpstreamFile {
            folder: None,
            name: name.to_owned(),
            version: version.to_owned(),
            ext: "tar.gz".to_owned(),
            paths: vec![format!("src/contrib/{name}_{version}.tar.gz")],
            size: Some(size),
            published: Some(Timestamp(seconds * SECOND)),
            md5: None,
            sha256: None,
            is_listed: true,
            index: None,
            record: None,
        }
    }

    fn state(files: &[(&UpstreamFile, u8)]) -> ProductState {
        let mut state = ProductState::default();
        for (file, byte) in files {
            let release = ReleaseRecord {
                folder: file.folder.clone(),
                name: file.name.clone(),
                version: file.version.clone(),
                day: file.published.expect("dated").day(),
                published: file.published,
                archived: false,
                obj: RecordObject {
                    sha256: Sha256([*byte; 32]),
                    size: file.size.expect("sized"),
                    md5: Md5([*byte; 16]),
                    ext: file.ext.clone(),
                },
                index: file.index.clone(),
                desc: None,
                compiled: None,
                readme: None,
            };
            state.apply(&Record::Release(Box::new(release))).expect("a valid release");
        }
        state
    }

    fn objects(bytes: &[(u8, u64)]) -> HashMap<String, u64> {
        bytes.iter().map(|(byte, size)| (format!("{}.tar.gz", Sha256([*byte; 32])), *size)).collect()
    }

    fn make_plan(
        files: Vec<UpstreamFile>,
        state: &ProductState,
        objects: &HashMap<String, u64>,
        first_day: Option<&str>,
    ) -> Plan {
        let inventory = Inventory { files, is_complete: true, ..Inventory::default() };
        let first_day = first_day.map(|day| day.parse().expect("a day"));
        let existing_files =
            ExistingFiles { state, journal_state: &ProductState::default(), objects, first_day };
        plan(&inventory, &existing_files, "2026-11-20".parse().expect("a day"))
    }

    #[test]
    fn only_new_and_missing_files_are_fetched() {
        let (old_file, new_file) =
            (upstream_file("a1", "1.0", 10, 0), upstream_file("a1", "1.1", 11, 86_400));
        let state = state(&[(&old_file, 1)]);
        let plan = make_plan(vec![old_file.clone(), new_file.clone()], &state, &objects(&[(1, 10)]), None);
        assert_eq!(plan.fetches, [PlannedFetch { file: new_file.clone(), expected_sha256: None }]);
        assert_eq!((plan.existing_count, plan.removals.len()), (1, 0));
        let plan = make_plan(vec![old_file.clone(), new_file], &state, &objects(&[(1, 9)]), None);
        assert_eq!(plan.fetches.len(), 2);
        assert_eq!(
            plan.fetches[0].expected_sha256,
            Some(Sha256([1; 32])),
            "a truncated file is fetched again"
        );
        let plan = make_plan(vec![upstream_file("b2", "1", 1, 0)], &state, &objects(&[]), None);
        assert!(matches!(&plan.removals[..], [Record::Remove(event)] if event.name == "a1"));
    }

    #[test]
    fn other_bytes_of_a_version_are_a_release_of_their_own() {
        let file = upstream_file("a1", "1.0", 10, 0);
        let state = state(&[(&file, 1)]);
        for other_file in [
            upstream_file("a1", "1.0", 12, 0),
            upstream_file("a1", "1.0", 10, 5),
            UpstreamFile { md5: Some(Md5([9; 16])), ..file.clone() },
        ] {
            let plan = make_plan(vec![file.clone(), other_file], &state, &objects(&[(1, 10)]), None);
            assert_eq!((plan.fetches.len(), plan.existing_count), (1, 1));
        }
        // The index has a checksum of the bytes, so the time does not matter.
        let file_with_other_time =
            UpstreamFile { md5: Some(Md5([1; 16])), ..upstream_file("a1", "1.0", 10, 99) };
        assert_eq!(make_plan(vec![file_with_other_time], &state, &objects(&[(1, 10)]), None).fetches, []);
    }

    #[test]
    fn times_of_a_copied_mirror_are_ignored() {
        let files: Vec<UpstreamFile> =
            (0..=MAX_TIME_CHANGES).map(|n| upstream_file(&format!("p{n}"), "1.0", 10, 0)).collect();
        let pairs: Vec<(&UpstreamFile, u8)> = files.iter().map(|file| (file, 1)).collect();
        let state = state(&pairs);
        let files_with_other_times: Vec<UpstreamFile> =
            (0..=MAX_TIME_CHANGES).map(|n| upstream_file(&format!("p{n}"), "1.0", 10, 77)).collect();
        assert_eq!(make_plan(files_with_other_times.clone(), &state, &objects(&[(1, 10)]), None).fetches, []);
        assert_eq!(
            make_plan(files_with_other_times[1..].to_vec(), &state, &objects(&[(1, 10)]), None).fetches.len(),
            MAX_TIME_CHANGES
        );
    }

    #[test]
    fn an_incremental_bundle_contains_the_releases_since_its_day() {
        let (old_file, new_file) =
            (upstream_file("a1", "1.0", 10, 0), upstream_file("a1", "1.1", 11, 86_400));
        let first_day = Some("1970-01-02");
        let plan = make_plan(
            vec![old_file.clone(), new_file.clone()],
            &ProductState::default(),
            &objects(&[]),
            first_day,
        );
        assert_eq!(plan.fetches, [PlannedFetch { file: new_file, expected_sha256: None }]);
        let plan = make_plan(vec![old_file.clone()], &state(&[(&old_file, 1)]), &objects(&[]), first_day);
        assert_eq!((plan.fetches.len(), plan.existing_count), (0, 1), "the base has the file of 1.0");
    }

    #[test]
    fn a_new_index_record_of_a_known_release_is_recorded() {
        let file =
            UpstreamFile { index: Some("Package: a1".to_owned()), ..upstream_file("a1", "1.0", 10, 0) };
        let state = state(&[(&file, 1)]);
        assert_eq!(make_plan(vec![file.clone()], &state, &objects(&[(1, 10)]), None).index_updates, []);
        let changed_file = UpstreamFile { index: Some("Package: a1\nLicense: X".to_owned()), ..file };
        let plan = make_plan(vec![changed_file], &state, &objects(&[(1, 10)]), None);
        assert!(matches!(&plan.index_updates[..], [Record::Index(index)] if index.sha256 == Sha256([1; 32])));
    }

    #[test]
    fn an_index_that_lost_a_fifth_is_refused() {
        let files: Vec<UpstreamFile> =
            (0..50).map(|n| upstream_file(&format!("p{n}"), "1.0", 10, 0)).collect();
        let pairs: Vec<(&UpstreamFile, u8)> = files.iter().map(|file| (file, 1)).collect();
        let state = state(&pairs);
        let inventory = |n: usize| Inventory { files: files[..n].to_vec(), ..Inventory::default() };
        assert_eq!(check_loss(&inventory(41), &state), Ok(()));
        let message = check_loss(&inventory(40), &state).expect_err("lost ten");
        assert!(message.contains("10 of 50") && message.contains("--accept-loss"), "{message}");
    }
}
