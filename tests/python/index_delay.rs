//! `PyPI.DelaySyncDuration` is switched on, lowered, switched off and raised: yanks and removals take effect with the next
//! sync, new files when they have the minimum age, and past days do not change.

use rstudio_pm::db::invariants;
use rstudio_pm::model::project_page::MetadataFile;
use rstudio_pm::python::accept::SimpleFormat;

use super::index_changes::store_wheel;
use super::index_history::{Files, files, find_page, page, subscribe, sync};
use crate::support::backend::{Backend, StoresConfig};
use crate::support::pypi::Pypi;
use crate::support::python::package::Package;

const OLD: &str = "2024-02-01T08:00:00Z";
const PAST_DAY: &str = "2024-02-20";

/// The configuration of an index with further properties.
fn stores(index: &Pypi, properties: &str) -> StoresConfig {
    StoresConfig { gcfg: format!("[PyPI]\nURL = {}\n{properties}", index.url()) }
}

fn file_name(project: &str, version: &str) -> String {
    format!("{project}-{version}.tar.gz")
}

fn add(index: &Pypi, project: &str, version: &str, uploaded: &str) {
    let name = file_name(project, version);
    index.add(project, &name, name.as_bytes(), uploaded);
}

fn yank(index: &Pypi, project: &str, version: &str, reason: Option<&str>) {
    let reason = reason.map(str::to_owned);
    index.edit(project, &file_name(project, version), |file| file.yanked = reason);
}

async fn latest(backend: &Backend, project: &str) -> Files {
    files(&page(backend, "latest", project, SimpleFormat::Json).await.0)
}

/// The versions of a project in `latest`.
async fn versions(backend: &Backend, project: &str) -> Vec<String> {
    let version = |name: &String| {
        let stem = name.strip_suffix(".tar.gz").expect("a source distribution");
        stem.strip_prefix(&format!("{project}-")).expect("a file of the project").to_owned()
    };
    latest(backend, project).await.keys().map(version).collect()
}

/// The reason for which a version is yanked in `latest`.
async fn yanked(backend: &Backend, project: &str, version: &str) -> Option<String> {
    latest(backend, project).await[&file_name(project, version)].clone()
}

/// The page of a past day, and whether it is final.
async fn past_page(backend: &Backend, project: &str) -> (Vec<u8>, bool) {
    let (_, bytes, is_final) = page(backend, PAST_DAY, project, SimpleFormat::Json).await;
    (bytes, is_final)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn yanks_and_removals_take_effect_after_a_change_of_the_delay() {
    let index = Pypi::start();
    // A list that loses more than a twentieth of its projects is refused.
    for number in 0..60 {
        add(&index, &format!("p{number}"), "1.0", OLD);
    }
    let projects = ["yanked", "removed", "gone", "fresh", "exempt"];
    for project in projects {
        add(&index, project, "1.0", OLD);
        add(&index, project, "1.1", OLD);
    }
    let wheel = Package::new("packed", "1.0");
    index.add("packed", &wheel.wheel_name(), &wheel.wheel(), OLD);
    let backend = Backend::with_stores(stores(&index, "")).await;
    subscribe(&backend).await;
    sync(&backend).await;
    let mut past_pages = Vec::new();
    for project in projects {
        assert_eq!(versions(&backend, project).await, ["1.0", "1.1"], "{project}");
        past_pages.push((project, past_page(&backend, project).await.0));
    }
    let (packed, ..) = page(&backend, "latest", "packed", SimpleFormat::Json).await;
    assert!(store_wheel(&backend, &packed).await);

    let properties = "DelaySyncDuration = 72h\nDelayExcept = exempt";
    let backend = backend.restart_with_stores(stores(&index, properties)).await;
    yank(&index, "yanked", "1.1", Some("CVE"));
    index.remove("removed", &file_name("removed", "1.1"));
    index.remove_project("gone");
    add(&index, "fresh", "2.0", "2024-03-02T08:00:00Z");
    add(&index, "exempt", "2.0", "2024-03-02T08:00:00Z");
    index.edit("packed", &wheel.wheel_name(), |file| file.yanked = Some("broken".to_owned()));
    backend.advance_to_noon("2024-03-02");
    sync(&backend).await;
    assert_eq!(yanked(&backend, "yanked", "1.1").await.as_deref(), Some("CVE"));
    assert_eq!(versions(&backend, "removed").await, ["1.0"]);
    let gone = find_page(&backend, "latest", "gone", SimpleFormat::Json).await.unwrap();
    assert!(gone.is_none());
    assert_eq!(versions(&backend, "fresh").await, ["1.0", "1.1"], "younger than the delay");
    assert_eq!(versions(&backend, "exempt").await, ["1.0", "1.1", "2.0"]);
    let (packed, ..) = page(&backend, "latest", "packed", SimpleFormat::Json).await;
    assert_eq!(packed.files.len(), 1);
    assert!(matches!(packed.files[0].core_metadata, MetadataFile::Sha256(_)), "declared from this sync on");
    assert_eq!(files(&packed)[&wheel.wheel_name()].as_deref(), Some("broken"));

    // Further syncs during the delay.
    yank(&index, "yanked", "1.1", None);
    add(&index, "removed", "1.1", OLD);
    backend.advance_to_noon("2024-03-03");
    sync(&backend).await;
    assert_eq!(yanked(&backend, "yanked", "1.1").await, None);
    assert_eq!(versions(&backend, "removed").await, ["1.0", "1.1"]);
    assert_eq!(versions(&backend, "fresh").await, ["1.0", "1.1"]);
    backend.advance_to_noon("2024-03-06");
    sync(&backend).await;
    assert_eq!(versions(&backend, "fresh").await, ["1.0", "1.1", "2.0"], "older than the delay");

    // Lowered, and switched off.
    add(&index, "fresh", "3.0", "2024-03-06T08:00:00Z");
    let backend = backend.restart_with_stores(stores(&index, "DelaySyncDuration = 24h")).await;
    backend.advance_to_noon("2024-03-07");
    yank(&index, "yanked", "1.1", Some("again"));
    sync(&backend).await;
    assert_eq!(versions(&backend, "fresh").await, ["1.0", "1.1", "2.0", "3.0"]);
    assert_eq!(yanked(&backend, "yanked", "1.1").await.as_deref(), Some("again"));
    add(&index, "fresh", "4.0", "2024-03-08T08:00:00Z");
    let backend = backend.restart_with_stores(stores(&index, "")).await;
    backend.advance_to_noon("2024-03-08");
    sync(&backend).await;
    assert_eq!(versions(&backend, "fresh").await, ["1.0", "1.1", "2.0", "3.0", "4.0"]);

    // Raised.
    let backend = backend.restart_with_stores(stores(&index, "DelaySyncDuration = 240h")).await;
    yank(&index, "yanked", "1.0", Some("worse"));
    add(&index, "fresh", "5.0", "2024-03-09T08:00:00Z");
    backend.advance_to_noon("2024-03-09");
    sync(&backend).await;
    assert_eq!(yanked(&backend, "yanked", "1.0").await.as_deref(), Some("worse"));
    assert_eq!(versions(&backend, "fresh").await, ["1.0", "1.1", "2.0", "3.0", "4.0"]);
    backend.advance_to_noon("2024-03-20");
    sync(&backend).await;
    assert_eq!(versions(&backend, "fresh").await, ["1.0", "1.1", "2.0", "3.0", "4.0", "5.0"]);
    for (project, before) in &past_pages {
        let (now, is_final) = past_page(&backend, project).await;
        assert!(is_final && now == *before, "{project}: a past day does not change");
    }
    let violations = backend.state.db.read(invariants::violations).await.unwrap();
    assert_eq!(violations, [""; 0]);
}

/// The pages of such an index are read again after each sync, also while the state of `latest` is older than they are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_yank_takes_effect_in_spite_of_a_delay_without_serials() {
    let index = Pypi::start();
    index.set_plain();
    add(&index, "one", "1.0", OLD);
    add(&index, "one", "1.1", OLD);
    let backend = Backend::with_stores(stores(&index, "DelaySyncDuration = 72h")).await;
    subscribe(&backend).await;
    sync(&backend).await;
    assert_eq!(versions(&backend, "one").await, ["1.0", "1.1"]);
    yank(&index, "one", "1.1", Some("CVE"));
    backend.advance_to_noon("2024-03-02");
    assert_eq!(yanked(&backend, "one", "1.1").await, None, "before the sync");
    sync(&backend).await;
    assert_eq!(yanked(&backend, "one", "1.1").await.as_deref(), Some("CVE"));
    let violations = backend.state.db.read(invariants::violations).await.unwrap();
    assert_eq!(violations, [""; 0]);
}
