//! The source `pypi` while its index changes at random, with and without a sync: several projects with uploads, yanks,
//! corrected metadata, removals of files and of whole projects, which may be back; readings of any day in any order and
//! format; downloads of wheels, whose METADATA a later sync reads; restarts of the server. A final page never changes,
//! `latest` changes only with a sync, every METADATA that it declares has the declared digest, and no name that the list
//! lacks is requested from the index.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use futures_util::StreamExt;
use rstudio_pm::db::invariants;
use rstudio_pm::model::digest::Sha256;
use rstudio_pm::model::project_page::MetadataFile;
use rstudio_pm::model::project_path::FilePart;
use rstudio_pm::model::snapshot::Snapshot;
use rstudio_pm::model::time::Day;
use rstudio_pm::python::accept::SimpleFormat;
use rstudio_pm::python::simple::page::{PageFile, ProjectPage};
use rstudio_pm::serve;
use rstudio_pm::serve::located::{FileBody, LocatedFile};
use sha2::Digest;

use super::index_history::{Files, files, find_page, page, subscribe, sync};
use crate::support::backend::{Backend, StoresConfig};
use crate::support::db;
use crate::support::pypi::Pypi;
use crate::support::python::package::Package;

const PROJECTS: [&str; 3] = ["one", "two", "three"];
const ROUNDS: u32 = 28;

/// A linear congruential generator.
struct Random(u32);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 16) as usize % limit
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// The index, and what its pages state.
struct Index {
    pypi: Pypi,
    /// The files of the projects on the list.
    projects: BTreeMap<&'static str, Files>,
    last_added: usize,
}

impl Index {
    fn start() -> Index {
        let pypi = Pypi::start();
        // A list that loses more than a twentieth of its projects is refused.
        for number in 0..80 {
            pypi.add(&format!("p{number}"), &format!("p{number}-1.tar.gz"), b"x", "2024-02-01T00:00:00Z");
        }
        let mut index = Index { pypi, projects: BTreeMap::new(), last_added: 0 };
        index.add("one", 1);
        index.add("two", 1);
        index
    }

    /// Adds a file; every second one is a wheel.
    fn add(&mut self, project: &'static str, day: u32) {
        self.last_added += 1;
        let package = Package::new(project, &format!("1.{}", self.last_added));
        let (name, bytes) = match self.last_added % 2 {
            0 => (package.wheel_name(), package.wheel()),
            _ => (package.sdist_name(), package.sdist_name().into_bytes()),
        };
        self.pypi.add(project, &name, &bytes, &format!("2024-03-{day:02}T08:00:00.5Z"));
        self.projects.entry(project).or_default().insert(name, None);
    }

    /// A change of one project on a day.
    fn change(&mut self, random: &mut Random, day: u32) {
        let project = PROJECTS[random.below(PROJECTS.len())];
        let count = self.projects.get(project).map_or(0, BTreeMap::len);
        let existing = |random: &mut Random, index: &Index| {
            index.projects[project].keys().nth(random.below(count)).cloned().expect("a file")
        };
        match random.below(10) {
            // Some become visible long after their upload.
            0..5 => self.add(project, if random.one_in(3) { 1 } else { day }),
            5 | 6 if count > 0 => {
                let name = existing(random, self);
                let reason =
                    [None, Some(String::new()), Some("bad \"x\" <&>".to_owned())][random.below(3)].clone();
                self.pypi.edit(project, &name, |file| file.yanked = reason.clone());
                self.projects.get_mut(project).expect("listed").insert(name, reason);
            }
            7 if count > 0 => {
                let name = existing(random, self);
                self.pypi.edit(project, &name, |file| file.metadata = Some(b"Name: x\n".to_vec()));
            }
            8 if count > 0 => {
                let name = existing(random, self);
                self.pypi.remove(project, &name);
                self.projects.get_mut(project).expect("listed").remove(&name);
            }
            9 if self.projects.contains_key(project) => {
                self.pypi.remove_project(project);
                self.projects.remove(project);
            }
            _ => {}
        }
    }
}

async fn locate(backend: &Backend, file: &PageFile, part: FilePart) -> LocatedFile {
    let point = serve::point::resolve(&backend.repositories, "py", Snapshot::Latest).await.unwrap();
    let sha256 = file.sha256().expect("a digest");
    let name = file.name.as_str();
    serve::project::file::locate(&backend.repositories, &point, sha256, name, part).await.unwrap()
}

/// Downloads a file.
async fn download(backend: &Backend, located: &LocatedFile) -> Vec<u8> {
    match serve::file::open(&backend.repositories, located, None).await.unwrap().body {
        FileBody::Memory(bytes) => bytes.to_vec(),
        FileBody::Stream(mut pieces) => {
            let mut bytes = Vec::new();
            while let Some(piece) = pieces.next().await {
                bytes.extend_from_slice(&piece.unwrap());
            }
            bytes
        }
    }
}

/// Downloads a wheel without METADATA until it is in storage. Returns false if the page has none.
pub(super) async fn store_wheel(backend: &Backend, page: &ProjectPage) -> bool {
    let is_wheel = |file: &&PageFile| file.name.as_str().ends_with(".whl");
    let mut wheels = page.files.iter().filter(is_wheel);
    let Some(file) = wheels.find(|file| file.core_metadata == MetadataFile::None) else { return false };
    // The row is written after the response.
    for _ in 0..6_000 {
        let located = locate(backend, file, FilePart::Distribution).await;
        if located.stored {
            return true;
        }
        download(backend, &located).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} is not stored", file.name);
}

/// Compares every METADATA that a page declares.
async fn check_metadata(backend: &Backend, page: &ProjectPage) {
    for file in &page.files {
        let MetadataFile::Sha256(declared) = file.core_metadata else { continue };
        let bytes = download(backend, &locate(backend, file, FilePart::Metadata).await).await;
        assert_eq!(Sha256(sha2::Sha256::digest(&bytes).into()), declared, "{}", file.name);
    }
}

async fn scenario(engine: db::Engine) {
    let mut index = Index::start();
    let settings = tokio::task::spawn_blocking(move || db::settings(engine)).await.unwrap();
    let gcfg = format!("{settings}\n[PyPI]\nURL = {}", index.pypi.url());
    let mut backend = Backend::with_stores(StoresConfig { gcfg }).await;
    subscribe(&backend).await;
    let seed: u32 = rand::random();
    let mut random = Random(seed);
    let formats = [SimpleFormat::Json, SimpleFormat::Html];
    // By day, project and format; `None`: the day does not have the project.
    let mut finals: HashMap<(u32, &str, bool), Option<Vec<u8>>> = HashMap::new();
    let mut ever_listed: BTreeSet<&str> = index.projects.keys().copied().collect();
    let mut synced_on = 0;
    for day in 2..=ROUNDS {
        for _ in 0..random.below(5) {
            index.change(&mut random, day);
        }
        backend.advance_to_noon(&format!("2024-03-{day:02}"));
        if synced_on == 0 || !random.one_in(4) {
            sync(&backend).await;
            synced_on = day;
            ever_listed.extend(index.projects.keys());
            for project in PROJECTS {
                let latest = find_page(&backend, "latest", project, SimpleFormat::Json).await.unwrap();
                let expected = index.projects.get(project);
                let found = latest.map(|(page, ..)| files(&page));
                // A project without files may be listed.
                let is_same =
                    found.as_ref() == expected || (found.is_none() && expected.is_some_and(Files::is_empty));
                assert!(is_same, "{project} on day {day}, seed {seed}: {found:?} {expected:?}");
            }
            let project = PROJECTS[random.below(PROJECTS.len())];
            let latest = find_page(&backend, "latest", project, SimpleFormat::Json).await.unwrap();
            if let Some((latest, ..)) = latest {
                check_metadata(&backend, &latest).await;
                store_wheel(&backend, &latest).await;
            }
        }
        if random.one_in(4) {
            backend = backend.restart().await;
        }
        // What the index does now is not in `latest` before the next sync.
        let mut before = Vec::new();
        for project in PROJECTS {
            before.push(find_page(&backend, "latest", project, SimpleFormat::Json).await.unwrap());
        }
        for _ in 0..random.below(3) {
            index.change(&mut random, day);
        }
        for (project, before) in PROJECTS.into_iter().zip(before) {
            let after = find_page(&backend, "latest", project, SimpleFormat::Json).await.unwrap();
            let bytes = |page: Option<(_, Vec<u8>, bool)>| page.map(|(_, bytes, _)| bytes);
            assert!(bytes(before) == bytes(after), "latest of {project} on day {day}, seed {seed}");
        }
        for _ in 0..random.below(8) {
            let requested = 1 + u32::try_from(random.below(day as usize)).expect("small");
            let project = PROJECTS[random.below(PROJECTS.len())];
            let snapshot = format!("2024-03-{requested:02}");
            let end = snapshot.parse::<Day>().unwrap().end();
            let mut listed = Vec::new();
            for format in formats {
                let found = find_page(&backend, &snapshot, project, format).await.unwrap();
                let is_final = found.as_ref().map_or(requested < synced_on, |(_, _, is_final)| *is_final);
                if let Some((page, ..)) = &found {
                    let is_before =
                        page.files.iter().all(|file| file.upload_time.is_none_or(|time| time < end));
                    assert!(is_before, "{project} at {snapshot}, seed {seed}");
                }
                listed.push(found.as_ref().map(|(page, ..)| files(page)));
                let bytes = found.map(|(_, bytes, _)| bytes);
                let key = (requested, project, format == SimpleFormat::Json);
                match finals.get(&key) {
                    Some(known) => assert!(
                        *known == bytes,
                        "{project} at {snapshot} was final, day {day}, seed {seed}: {:?} {:?}",
                        known.as_deref().map(String::from_utf8_lossy),
                        bytes.as_deref().map(String::from_utf8_lossy)
                    ),
                    None if is_final => drop(finals.insert(key, bytes)),
                    None => {}
                }
            }
            assert_eq!(listed[0], listed[1], "{project} at {snapshot}, seed {seed}");
        }
        assert!(find_page(&backend, "latest", "private-name", SimpleFormat::Json).await.unwrap().is_none());
        let requests = index.pypi.take_requests();
        for path in requests.iter().filter(|path| !path.starts_with("/packages/")) {
            let name = path.trim_start_matches("/simple/").trim_end_matches('/').to_owned();
            assert!(name.is_empty() || ever_listed.contains(&*name), "{path}, seed {seed}");
        }
    }
    assert!(finals.values().filter(|page| page.is_some()).count() > 10, "seed {seed}");
    // A wheel that was not downloaded yet, and its METADATA.
    let package = Package::new("zero", "1.0");
    index.pypi.add("zero", &package.wheel_name(), &package.wheel(), "2024-02-01T08:00:00Z");
    for day in ["2024-03-29", "2024-03-30"] {
        backend.advance_to_noon(day);
        sync(&backend).await;
    }
    let (before, past, _) = page(&backend, "2024-03-29", "zero", SimpleFormat::Json).await;
    assert_eq!(before.files[0].core_metadata, MetadataFile::None);
    assert!(store_wheel(&backend, &before).await, "seed {seed}");
    backend.advance_to_noon("2024-03-31");
    sync(&backend).await;
    let (latest, ..) = page(&backend, "latest", "zero", SimpleFormat::Json).await;
    let digest = Sha256(sha2::Sha256::digest(package.metadata()).into());
    assert_eq!(latest.files[0].core_metadata, MetadataFile::Sha256(digest), "seed {seed}");
    check_metadata(&backend, &latest).await;
    assert!(page(&backend, "2024-03-29", "zero", SimpleFormat::Json).await.1 == past, "seed {seed}");
    let violations = backend.state.db.read(invariants::violations).await.unwrap();
    assert_eq!(violations, Vec::<String>::new(), "seed {seed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn final_pages_and_latest_are_stable_on_sqlite() {
    scenario(db::Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn final_pages_and_latest_are_stable_on_postgres() {
    scenario(db::Engine::Postgres).await;
}

/// An index without serials, whose pages are newer than the head because of a delay from which a project is exempt. Its page
/// changes once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wheel_of_a_project_without_delay_is_listed_once_with_its_metadata() {
    let index = Pypi::start();
    index.set_plain();
    let package = Package::new("one", "1.0");
    index.add("one", &package.wheel_name(), &package.wheel(), "2024-02-01T08:00:00Z");
    let gcfg = format!("[PyPI]\nURL = {}\nDelaySyncDuration = 72h\nDelayExcept = one", index.url());
    let backend = Backend::with_stores(StoresConfig { gcfg }).await;
    subscribe(&backend).await;
    backend.advance_to_noon("2024-03-02");
    sync(&backend).await;
    let (before, ..) = page(&backend, "latest", "one", SimpleFormat::Json).await;
    assert!(store_wheel(&backend, &before).await);
    let mut expected = files(&before);
    for day in 3..9 {
        backend.advance_to_noon(&format!("2024-03-{day:02}"));
        if day == 6 {
            index.add("one", "one-2.0.tar.gz", b"two", "2024-02-02T08:00:00Z");
            expected.insert("one-2.0.tar.gz".to_owned(), None);
        }
        sync(&backend).await;
        let (latest, ..) = page(&backend, "latest", "one", SimpleFormat::Json).await;
        assert_eq!(files(&latest), expected, "day {day}");
        assert_eq!(latest.files.len(), expected.len(), "day {day}");
        let declared = MetadataFile::Sha256(Sha256(sha2::Sha256::digest(package.metadata()).into()));
        assert_eq!(latest.files[0].core_metadata, declared, "day {day}");
        check_metadata(&backend, &latest).await;
        let violations = backend.state.db.read(invariants::violations).await.unwrap();
        assert_eq!(violations, Vec::<String>::new(), "day {day}");
    }
}
