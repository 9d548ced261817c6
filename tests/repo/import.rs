//! Imports on both databases, with a clock that the test sets: what is served on which day, what is refused, what past days
//! become.

use futures_util::StreamExt;
use rstudio_pm::api::source::{AddedPackages, ImportOutcome, ImportedChange};
use rstudio_pm::config::Provider;
use rstudio_pm::db::{backup, file_period, invariants, tree};
use rstudio_pm::edit::promotion::{self, Opening, PromotionRequest};
use rstudio_pm::edit::{self, NewRepo, OnExisting, RemoveScope, UploadKind, block_rule, import};
use rstudio_pm::model::ids::Identity;
use rstudio_pm::model::import_list::{AddedFile, Event, Removal, Yank};
use rstudio_pm::model::kind::{ChangePolicy, Language, RepoKind, SourceKind};
use rstudio_pm::model::rule_effect::RuleEffect;
use rstudio_pm::model::snapshot::Snapshot;
use rstudio_pm::model::time::{SECOND, Timestamp};
use rstudio_pm::policy::{Criteria, Rule};
use rstudio_pm::r::layout::IndexFormat;
use rstudio_pm::r::rds::{RdsLimits, archive_meta::read_archive_meta};
use rstudio_pm::serve::r::document::RDocument;
use rstudio_pm::serve::{self, RepoError};

use super::all_stores::{ObjectStore, stores};
use super::{index, listing, point};
use crate::support::backend::{Backend, actor, person};
use crate::support::db;
use crate::support::python::package::Package;
use crate::support::tarball::Tarball;

macro_rules! scenarios {
    ($($scenario:ident)*) => {
        mod sqlite {
            use super::*;
            $(#[tokio::test] async fn $scenario() { super::$scenario(environment(db::Engine::Sqlite).await).await; })*
        }
        mod postgres {
            use super::*;
            $(#[tokio::test] async fn $scenario() { super::$scenario(environment(db::Engine::Postgres).await).await; })*
        }
    };
}

scenarios! {
    changes_are_served_from_their_times_on_and_an_import_can_be_repeated
    files_that_were_removed_and_added_again_are_recognized
    a_file_that_is_refused_does_not_stop_the_others
    a_change_does_not_concern_what_was_added_later
    files_of_projects_have_their_upload_times
    later_yanks_are_made
    a_change_that_is_older_than_the_newest_state_follows_it
    impossible_times_and_sources_are_refused
    past_days_change_only_with_permission_and_on_every_server
    a_promoted_state_does_not_change
    packages_with_their_times_are_old_enough_for_a_rule
    changes_since_the_plan_are_respected_by_the_import
}

/// A backend at noon of 2024-03-01, with the local source `team`, and with the repository `prod` of it.
async fn environment(engine: db::Engine) -> Backend {
    let backend = Backend::with_stores(stores(engine, ObjectStore::Disk).await).await;
    backend.create_local_source("team").await;
    backend.create_repository("prod", &["team"]).await;
    backend
}

fn time(text: &str) -> Option<Timestamp> {
    Some(text.parse().expect("a time"))
}

fn file(at: Option<Timestamp>) -> AddedFile {
    AddedFile { at, ..AddedFile::default() }
}

async fn upload(backend: &Backend, event: Event, package: &str, version: &str) -> ImportedChange {
    let upload = backend.upload(&Tarball::new(package, version)).await.expect("a package");
    ImportedChange { event, upload: Some(upload.id), kept: Vec::new() }
}

async fn add(backend: &Backend, at: &str, package: &str, version: &str) -> ImportedChange {
    upload(backend, Event::Add(file(time(at))), package, version).await
}

fn remove(at: &str, package: &str, version: &str) -> ImportedChange {
    let (name, version) = (Some(package.to_owned()), Some(version.to_owned()));
    let removal = Removal { at: time(at), name, version, ..Removal::default() };
    ImportedChange { event: Event::Remove(removal), upload: None, kept: Vec::new() }
}

async fn try_apply(backend: &Backend, changes: Vec<ImportedChange>) -> Result<AddedPackages, RepoError> {
    import::apply(&backend.uploads, "team", changes, false, &actor()).await
}

/// Applies changes, and returns their outcomes.
async fn apply(backend: &Backend, changes: Vec<ImportedChange>) -> Vec<ImportOutcome> {
    outcomes(&try_apply(backend, changes).await.expect("applied"))
}

fn outcomes(result: &AddedPackages) -> Vec<ImportOutcome> {
    result.changes.iter().map(|change| change.outcome).collect()
}

async fn assert_consistent(backend: &Backend) {
    let problems = backend.state.db.read(invariants::violations).await.expect("read");
    assert!(problems.is_empty(), "{problems:?}");
}

async fn changes_are_served_from_their_times_on_and_an_import_can_be_repeated(backend: Backend) {
    let changes = async |backend: &Backend| {
        vec![
            add(backend, "2020-01-02T10:00:00Z", "alpha", "1.0").await,
            add(backend, "2020-03-01T08:00:00Z", "alpha", "1.1").await,
            add(backend, "2020-03-01T08:00:00Z", "beta", "0.1").await,
            remove("2020-05-01T00:00:00Z", "alpha", "1.1"),
            ImportedChange {
                event: Event::Replace(file(time("2020-06-01T00:00:00Z"))),
                upload: None,
                kept: Vec::new(),
            },
        ]
    };
    let replacement = Tarball::new("beta", "0.1").field("Title: Other bytes");
    let mut first = changes(&backend).await;
    first[4].upload = Some(backend.upload(&replacement).await.expect("a package").id);
    let result = try_apply(&backend, first).await.expect("applied");
    let expected = [
        ImportOutcome::Added,
        ImportOutcome::Added,
        ImportOutcome::Added,
        ImportOutcome::Removed,
        ImportOutcome::Replaced,
    ];
    assert_eq!((outcomes(&result), result.late, result.past_days.len()), (expected.to_vec(), 0, 0));
    assert_consistent(&backend).await;
    let days = [
        ("2020-01-02", "alpha 1.0"),
        ("2020-02-29", "alpha 1.0"),
        ("2020-03-01", "alpha 1.1, beta 0.1"),
        ("2020-04-30", "alpha 1.1, beta 0.1"),
        ("2020-05-01", "alpha 1.0, beta 0.1"),
        ("2024-02-29", "alpha 1.0, beta 0.1"),
        ("latest", "alpha 1.0, beta 0.1"),
    ];
    for (day, expected) in days {
        assert_eq!(listing(&backend, "prod", day).await, expected, "{day}");
    }
    let snapshot: Snapshot = "2020-01-01".parse().expect("a day");
    let before = serve::point::resolve(&backend.repositories, "prod", snapshot).await;
    assert!(before.expect_err("nothing yet").to_string().contains("2020-01-02"), "the history starts");
    let replaced = async |day: &str| {
        let index = index(&backend, "prod", day, RDocument::Packages(IndexFormat::Text)).await;
        index.content
    };
    assert_ne!(replaced("2020-05-31").await, replaced("2020-06-01").await, "the digest of beta");

    // The table of the archive has the time of the other server.
    let archive = index(&backend, "prod", "2020-04-01", RDocument::ArchiveRds).await;
    let rows = read_archive_meta(archive.bytes.as_ref(), RdsLimits::META).expect("a table");
    let times: Vec<_> = rows.into_iter().map(|row| (row.file, Some(row.mtime))).collect();
    assert_eq!(times, [("alpha_1.0.tar.gz".to_owned(), time("2020-01-02T10:00:00Z"))]);

    // Again, on a server that read everything from the database.
    let backend = backend.restart().await;
    let mut again = changes(&backend).await;
    again[4].upload = Some(backend.upload(&replacement).await.expect("a package").id);
    let result = try_apply(&backend, again).await.expect("applied");
    assert_eq!((outcomes(&result), result.transaction), (vec![ImportOutcome::Existing; 5], None));
    for (day, expected) in days {
        assert_eq!(listing(&backend, "prod", day).await, expected, "{day}");
    }
    // An ordinary upload follows.
    backend.add("team", "alpha", "3.0").await;
    assert_eq!(listing(&backend, "prod", "latest").await, "alpha 3.0, beta 0.1");
    assert_eq!(listing(&backend, "prod", "2024-02-29").await, "alpha 1.0, beta 0.1");
    assert_consistent(&backend).await;
}

async fn files_that_were_removed_and_added_again_are_recognized(backend: Backend) {
    use ImportOutcome::{Added, Existing, Removed};
    // The changes of the others are late: the source has a newer state, which they follow.
    for package in ["alpha", "beta", "gamma"] {
        let changes = async |count: usize| {
            let mut all = vec![
                add(&backend, "2020-01-01T00:00:00Z", package, "1.0").await,
                remove("2020-02-01T00:00:00Z", package, "1.0"),
                add(&backend, "2020-03-01T00:00:00Z", package, "1.0").await,
                remove("2020-04-01T00:00:00Z", package, "1.0"),
                add(&backend, "2020-05-01T00:00:00Z", package, "1.0").await,
            ];
            all.truncate(count);
            all
        };
        // The import was interrupted after each change, or not at all.
        if package != "gamma" {
            for (count, last) in [(1, Added), (2, Removed), (3, Added), (4, Removed)] {
                let mut expected = vec![Existing; count - 1];
                expected.push(last);
                assert_eq!(apply(&backend, changes(count).await).await, expected, "{package} {count}");
            }
            let expected = [Existing, Existing, Existing, Existing, Added];
            assert_eq!(apply(&backend, changes(5).await).await, expected, "{package}");
        } else {
            let expected = [Added, Removed, Added, Removed, Added];
            assert_eq!(apply(&backend, changes(5).await).await, expected);
        }
        assert_eq!(apply(&backend, changes(5).await).await, [Existing; 5], "{package}");
        backend.add("team", &format!("x{package}"), "1.0").await;
    }
    for (day, expected) in [
        ("2020-01-31", "alpha 1.0"),
        ("2020-02-01", ""),
        ("2020-03-01", "alpha 1.0"),
        ("2020-04-01", ""),
        ("2020-05-01", "alpha 1.0"),
    ] {
        assert_eq!(listing(&backend, "prod", day).await, expected, "{day}");
    }
    let latest = "alpha 1.0, beta 1.0, gamma 1.0, xalpha 1.0, xbeta 1.0, xgamma 1.0";
    assert_eq!(listing(&backend, "prod", "latest").await, latest);
    // A file that was added and removed at one instant.
    let at_once = async || {
        let at = "2020-01-01T00:00:00Z";
        vec![add(&backend, at, "delta", "1.0").await, remove(at, "delta", "1.0")]
    };
    assert_eq!(apply(&backend, at_once().await).await, [Added, Removed]);
    assert_eq!(apply(&backend, at_once().await).await, [Existing; 2]);
    // A file that was removed here is not added again.
    edit::remove::remove(&backend.state, "team", "beta", RemoveScope::All, "", &actor())
        .await
        .expect("removed");
    let last = add(&backend, "2020-05-01T00:00:00Z", "beta", "1.0").await;
    assert_eq!(apply(&backend, vec![last]).await, [Existing]);
    assert_consistent(&backend).await;
}

async fn a_file_that_is_refused_does_not_stop_the_others(backend: Backend) {
    backend.add("team", "alpha", "1.0").await;
    backend.advance_to_noon("2024-03-02");
    let other = Tarball::new("alpha", "1.0").field("Title: Other bytes");
    let other = backend.upload(&other).await.expect("a package").id;
    let changes = vec![
        ImportedChange { event: Event::Add(file(None)), upload: Some(other), kept: Vec::new() },
        upload(&backend, Event::Add(file(None)), "beta", "1.0").await,
        upload(&backend, Event::Add(file(None)), "alpha", "1.0").await,
    ];
    let result = try_apply(&backend, changes).await.expect("applied");
    let expected = [ImportOutcome::Refused, ImportOutcome::Added, ImportOutcome::Existing];
    assert_eq!(outcomes(&result), expected);
    let reason = result.changes[0].reason.as_deref().unwrap_or_default();
    assert!(reason.contains("alpha 1.0 is in the source 'team' already"), "{reason}");
    let nothing = remove("2024-03-02T01:00:00Z", "gamma", "1.0");
    let result = try_apply(&backend, vec![nothing]).await.expect("applied");
    assert_eq!(outcomes(&result), [ImportOutcome::Refused], "{result:?}");
    assert_eq!(listing(&backend, "prod", "latest").await, "alpha 1.0, beta 1.0");
    assert_consistent(&backend).await;
}

/// Creates the source `py` for files of Python, and the repository `simple` of it.
async fn create_python_source(backend: &Backend) {
    let name = |text: &str| text.parse().expect("a name");
    edit::source::create(&backend.state, &name("py"), SourceKind::LocalPython, OnExisting::Fail)
        .await
        .expect("a source");
    let repository = NewRepo::open(&name("simple"), RepoKind::Python, "");
    edit::repo::create(&backend.state, repository, OnExisting::Fail, &actor()).await.expect("a repository");
    edit::subscription::subscribe(&backend.state, "simple", "py", None, OnExisting::Fail, &actor())
        .await
        .expect("subscribed");
}

/// Uploads a file of a Python project, which is added at a time.
async fn add_distribution(backend: &Backend, at: &str, name: &str, bytes: Vec<u8>) -> ImportedChange {
    let body = futures_util::stream::iter([Ok(bytes.into())]).boxed();
    let kind = UploadKind::Project(Language::Python);
    let upload = edit::package::receive(&backend.uploads, name, body, kind, &actor()).await;
    let upload = Some(upload.expect("a package").id);
    ImportedChange { event: Event::Add(file(time(at))), upload, kept: Vec::new() }
}

/// A change whose file was refused, or which came later than those after it, must not end what they began.
async fn a_change_does_not_concern_what_was_added_later(backend: Backend) {
    use ImportOutcome::{Added, Existing, Refused, Removed, Replaced, Yanked};
    for expected in [[Refused, Added], [Existing, Existing]] {
        let removal = remove("2024-02-01T00:00:00Z", "alpha", "1.0");
        let changes = vec![removal, add(&backend, "2024-03-01T00:00:00Z", "alpha", "1.0").await];
        assert_eq!(apply(&backend, changes).await, expected);
        assert_eq!(listing(&backend, "prod", "latest").await, "alpha 1.0");
    }
    let replace = async |at: &str, title: &str| {
        let other = Tarball::new("alpha", "1.0").field(&format!("Title: {title}"));
        let upload = Some(backend.upload(&other).await.expect("a package").id);
        ImportedChange { event: Event::Replace(file(time(at))), upload, kept: Vec::new() }
    };
    let newer = replace("2024-03-01T03:00:00Z", "Newer").await;
    assert_eq!(apply(&backend, vec![newer]).await, [Replaced]);
    let changes =
        vec![replace("2024-03-01T02:00:00Z", "Older").await, replace("2024-03-01T03:00:00Z", "Newer").await];
    let result = try_apply(&backend, changes).await.expect("applied");
    assert_eq!(outcomes(&result), [Refused, Existing]);
    let reason = result.changes[0].reason.as_deref().unwrap_or_default();
    assert!(reason.contains("alpha_1.0.tar.gz has other bytes since 2024-03-01T03:00:00Z"), "{reason}");
    assert_eq!(apply(&backend, vec![remove("2024-03-01T02:30:00Z", "alpha", "1.0")]).await, [Existing]);
    assert_eq!(listing(&backend, "prod", "latest").await, "alpha 1.0");
    // An addition of what is there is not recorded, and is made again after an older removal.
    let other_server = async || {
        vec![
            add(&backend, "2024-03-01T07:00:00Z", "beta", "1.0").await,
            add(&backend, "2024-03-01T08:00:00Z", "beta", "1.1").await,
        ]
    };
    assert_eq!(
        apply(&backend, vec![add(&backend, "2024-03-01T04:00:00Z", "beta", "1.0").await]).await,
        [Added]
    );
    assert_eq!(apply(&backend, other_server().await).await, [Existing, Added]);
    let removal = remove("2024-03-01T06:00:00Z", "beta", "1.0");
    for (removed, added) in [(Removed, Added), (Existing, Existing)] {
        assert_eq!(apply(&backend, vec![removal.clone()]).await, [removed]);
        assert_eq!(apply(&backend, other_server().await).await, [added, Existing]);
    }
    // A removal without a time leaves what later changes add.
    backend.add("team", "gamma", "1.1").await;
    backend.add("team", "gamma", "1.0").await;
    let event = Event::Remove(Removal { name: Some("gamma".to_owned()), ..Removal::default() });
    let kept = vec!["gamma_1.1.tar.gz".to_owned()];
    let removal = ImportedChange { event, upload: None, kept };
    assert_eq!(apply(&backend, vec![removal]).await, [Removed]);
    assert!(listing(&backend, "prod", "latest").await.contains("gamma 1.1"));

    create_python_source(&backend).await;
    let package = Package::new("acme", "1.0");
    let author = actor();
    let import = async |changes| {
        outcomes(&import::apply(&backend.uploads, "py", changes, false, &author).await.expect("applied"))
    };
    let added = async || {
        let (wheel, sdist) = (package.wheel_name(), package.sdist_name());
        vec![
            add_distribution(&backend, "2024-01-01T00:00:00Z", &wheel, package.wheel()).await,
            add_distribution(&backend, "2024-03-01T00:00:00Z", &sdist, package.sdist()).await,
        ]
    };
    assert_eq!(import(added().await).await, [Added, Added]);
    let late = remove("2024-02-01T00:00:00Z", "acme", "1.0");
    assert_eq!(import(vec![late.clone()]).await, [Removed]);
    let yank = Event::Yank(Yank {
        at: time("2024-02-01T00:00:00Z"),
        file: package.sdist_name(),
        reason: "broken".to_owned(),
        exact: None,
    });
    let yank = ImportedChange { event: yank, upload: None, kept: Vec::new() };
    assert_eq!(import(vec![late, yank]).await, [Existing, Existing]);
    assert_eq!(import(added().await).await, [Existing, Existing]);
    // So does a yank of a file that an older removal ended.
    let wheel = || Package::new("nine", "1.0");
    let added = async |at: &str| add_distribution(&backend, at, &wheel().wheel_name(), wheel().wheel()).await;
    let yank = Event::Yank(Yank {
        at: time("2024-03-01T08:00:00Z"),
        file: wheel().wheel_name(),
        reason: "broken".to_owned(),
        exact: None,
    });
    let yank = ImportedChange { event: yank, upload: None, kept: Vec::new() };
    let removal = remove("2024-03-01T06:00:00Z", "nine", "1.0");
    assert_eq!(import(vec![added("2024-03-01T04:00:00Z").await]).await, [Added]);
    let other_server = async || vec![added("2024-03-01T07:00:00Z").await, yank.clone()];
    assert_eq!(import(other_server().await).await, [Existing, Yanked]);
    for (removed, others) in [(Removed, [Added, Yanked]), (Existing, [Existing, Existing])] {
        assert_eq!(import(vec![removal.clone()]).await, [removed]);
        assert_eq!(import(other_server().await).await, others);
    }
    let point = point(&backend, "simple", "latest").await;
    let found = serve::project::detail::releases_within(&backend.repositories, &point, "acme", None).await;
    let found = found.expect("the project");
    let release = found.release("1.0").expect("the sdist");
    assert_eq!(release.uploaded_at(), time("2024-03-01T00:00:00Z"));
    assert_consistent(&backend).await;
}

async fn files_of_projects_have_their_upload_times(backend: Backend) {
    create_python_source(&backend).await;
    let mut changes = Vec::new();
    for (at, version) in [("2021-01-01T00:00:00Z", "1.0"), ("2021-02-01T00:00:00Z", "1.1")] {
        let package = Package::new("acme-tools", version);
        changes.push(add_distribution(&backend, at, &package.wheel_name(), package.wheel()).await);
    }
    let wheel = Package::new("acme-tools", "1.0").wheel_name();
    let yank = Yank {
        at: time("2021-03-01T00:00:00Z"),
        file: wheel.clone(),
        reason: "broken".to_owned(),
        exact: None,
    };
    changes.push(ImportedChange { event: Event::Yank(yank), upload: None, kept: Vec::new() });
    let removal = Removal { at: time("2021-04-01T00:00:00Z"), file: Some(wheel), ..Removal::default() };
    changes.push(ImportedChange { event: Event::Remove(removal), upload: None, kept: Vec::new() });
    let author = actor();
    let import = |changes| import::apply(&backend.uploads, "py", changes, false, &author);
    let result = import(changes.clone()).await.expect("applied");
    let expected =
        [ImportOutcome::Added, ImportOutcome::Added, ImportOutcome::Yanked, ImportOutcome::Removed];
    assert_eq!(outcomes(&result), expected);
    let releases = async |day: &str| {
        let point = point(&backend, "simple", day).await;
        let found =
            serve::project::detail::releases_within(&backend.repositories, &point, "acme_tools", None).await;
        let found = found.expect("the project");
        ["1.0", "1.1"].map(|version| found.release(version).map(|release| release.uploaded_at()))
    };
    let (first, second) = (Some(time("2021-01-01T00:00:00Z")), Some(time("2021-02-01T00:00:00Z")));
    assert_eq!(releases("2021-01-31").await, [first, None]);
    assert_eq!(releases("2021-02-01").await, [first, second]);
    assert_eq!(releases("2021-03-31").await, [first, second]);
    assert_eq!(releases("2021-04-01").await, [None, second]);
    changes.retain(|change| change.upload.is_none());
    assert_eq!(outcomes(&import(changes).await.expect("applied")), vec![ImportOutcome::Existing; 2]);
    // A file that was yanked here is not yanked for another reason.
    let file = Package::new("acme-tools", "1.1").wheel_name();
    let scope = RemoveScope::Version(file.clone());
    edit::project::yank::set(&backend.state, "py", "acme-tools", scope, Some("here"), &author)
        .await
        .expect("yanked");
    let yank = Yank { at: time("2021-05-01T00:00:00Z"), file, reason: "there".to_owned(), exact: None };
    let change = ImportedChange { event: Event::Yank(yank), upload: None, kept: Vec::new() };
    assert_eq!(outcomes(&import(vec![change]).await.expect("applied")), [ImportOutcome::Existing]);
    assert_consistent(&backend).await;
}

/// The yank of a wheel of acme.
fn yank(at: Option<&str>, version: &str, reason: &str) -> ImportedChange {
    let file = Package::new("acme", version).wheel_name();
    let yank = Yank { at: at.and_then(time), file, reason: reason.to_owned(), exact: None };
    ImportedChange { event: Event::Yank(yank), upload: None, kept: Vec::new() }
}

async fn later_yanks_are_made(backend: Backend) {
    use ImportOutcome::{Added, Existing, Yanked};
    create_python_source(&backend).await;
    let author = actor();
    let import = async |changes| {
        outcomes(&import::apply(&backend.uploads, "py", changes, true, &author).await.expect("applied"))
    };
    let set = async |reason: Option<&str>| {
        let scope = RemoveScope::Version("1.0".to_owned());
        edit::project::yank::set(&backend.state, "py", "acme", scope, reason, &author).await.expect("set")
    };
    let reason = async |version: &str| {
        let py = backend.state.catalog.get().source("py").expect("it exists").id;
        let file = Package::new("acme", version).wheel_name();
        let periods = backend.state.db.read(move |c| {
            let trees = tree::of_source(c, py)?;
            file_period::of_file(c, trees[0].id, &file)
        });
        let periods = periods.await.expect("read");
        periods.into_iter().find(|period| period.ended_at.is_none()).expect("listed").yanked
    };
    let add = async |version: &str| {
        let package = Package::new("acme", version);
        add_distribution(&backend, "2021-01-01T00:00:00Z", &package.wheel_name(), package.wheel()).await
    };
    let first = yank(Some("2021-02-01T00:00:00Z"), "1.0", "first");
    assert_eq!(import(vec![add("1.0").await, first.clone()]).await, [Added, Yanked]);
    // What was done here since the yank stays, until the other server yanks the file again.
    set(None).await;
    let between = yank(Some("2022-01-01T00:00:00Z"), "1.0", "between");
    assert_eq!(import(vec![first.clone(), between]).await, [Existing, Existing]);
    assert_eq!(reason("1.0").await, None);
    backend.advance_to_noon("2024-03-03");
    let second = yank(Some("2024-03-02T00:00:00Z"), "1.0", "second");
    let third = yank(Some("2024-03-02T10:00:00Z"), "1.0", "third");
    for expected in [[Existing, Yanked, Yanked], [Existing, Existing, Existing]] {
        assert_eq!(import(vec![first.clone(), second.clone(), third.clone()]).await, expected);
        assert_eq!(reason("1.0").await.as_deref(), Some("third"));
    }
    set(Some("here")).await;
    assert_eq!(import(vec![first, second, third]).await, [Existing; 3]);
    assert_eq!(reason("1.0").await.as_deref(), Some("here"));
    for outcome in [Yanked, Existing] {
        assert_eq!(import(vec![yank(None, "1.0", "undated")]).await, [outcome]);
    }
    // In one list.
    let one_list = async || {
        let (one, two) = ("2021-02-01T00:00:00Z", "2021-03-01T00:00:00Z");
        vec![add("1.1").await, yank(Some(one), "1.1", "one"), yank(Some(two), "1.1", "two")]
    };
    assert_eq!(import(one_list().await).await, [Added, Yanked, Yanked]);
    assert_eq!(import(one_list().await).await, [Existing; 3]);
    assert_eq!(reason("1.1").await.as_deref(), Some("two"));
    assert_consistent(&backend).await;
}

async fn a_change_that_is_older_than_the_newest_state_follows_it(backend: Backend) {
    backend.add("team", "alpha", "1.0").await;
    let old = add(&backend, "2020-01-01T00:00:00Z", "beta", "1.0").await;
    let result = try_apply(&backend, vec![old]).await.expect("applied");
    assert_eq!((outcomes(&result), result.late), (vec![ImportOutcome::Added], 1));
    let team = backend.state.catalog.get().source("team").expect("it exists").id;
    let steps = backend.state.db.read(move |c| {
        let trees = tree::of_source(c, team)?;
        tree::steps(c, trees[0].id)
    });
    let steps = steps.await.expect("read");
    assert_eq!(steps.len(), 2);
    assert_eq!(steps[1].at.0, steps[0].at.0 + 1, "{steps:?}");
    assert_consistent(&backend).await;
}

async fn impossible_times_and_sources_are_refused(backend: Backend) {
    let refusal = async |changes: Vec<ImportedChange>| {
        try_apply(&backend, changes).await.expect_err("refused").to_string()
    };
    let at = |at: &str| remove(at, "alpha", "1.0");
    let future = refusal(vec![at("2024-03-01T12:00:01Z")]).await;
    let expected = "change 1 is refused: its time 2024-03-01T12:00:01Z is in the future: the clock of this server shows \
                    2024-03-01T12:00:00Z";
    assert_eq!(future, expected);
    let early = refusal(vec![at("2020-01-01T00:00:00Z"), at("1994-12-31T23:59:59Z")]).await;
    assert!(
        early.starts_with("change 2 is refused: its time 1994-12-31T23:59:59Z is before 1995-01-01"),
        "{early}"
    );
    let order = refusal(vec![at("2020-01-02T00:00:00Z"), at("2020-01-01T00:00:00Z")]).await;
    assert!(order.contains("is before 2020-01-02T00:00:00Z, that of the change before it"), "{order}");
    let mut undated = at("2020-01-01T00:00:00Z");
    undated.event.set_at(None);
    let mixed = refusal(vec![undated, at("2020-01-01T00:00:00Z")]).await;
    assert!(mixed.contains("the change before it has none"), "{mixed}");
    let many = refusal(vec![at("2020-01-01T00:00:00Z"); 501]).await;
    assert_eq!(many, "there are 501 changes; a request has at most 500");
    let change = vec![at("2020-01-01T00:00:00Z")];
    let mirror = import::apply(&backend.uploads, "cran", change.clone(), false, &actor()).await;
    let mirror = mirror.expect_err("refused").to_string();
    assert!(mirror.contains("'cran' is built in and filled by rspm sync"), "{mirror}");
    let name = "builds".parse().expect("a name");
    edit::source::create(&backend.state, &name, SourceKind::Git, OnExisting::Fail).await.expect("a source");
    let git = import::apply(&backend.uploads, "builds", change, false, &actor()).await;
    let git = git.expect_err("refused").to_string();
    assert!(git.contains("the packages of 'builds' are built from git"), "{git}");
}

async fn past_days_change_only_with_permission_and_on_every_server(backend: Backend) {
    backend.add("team", "older", "1.0").await;
    backend.advance_to_noon("2024-03-05");
    let document = RDocument::Packages(IndexFormat::Text);
    // SQLite has one server.
    let is_shared = backend.state.config.load().database.provider == Provider::Postgres;
    let other = if is_shared { Some(backend.open_second().await) } else { None };
    let before = index(&backend, "prod", "2024-03-03", document.clone()).await;
    if let Some(other) = &other {
        other.state.catalog.refresh(&other.state.db).await.expect("read");
        assert_eq!(index(other, "prod", "2024-03-03", document.clone()).await.content, before.content);
    }
    assert!(!point(&backend, "prod", "2024-03-03").await.open, "the day is closed");
    let changes = async || vec![add(&backend, "2024-03-03T10:00:00Z", "alpha", "1.0").await];
    let planned = import::check(&backend.state, "team", changes().await).await.expect("checked");
    let days = &planned.past_days[0];
    assert_eq!(
        (days.repo.as_str(), days.first.as_str(), days.last.as_str()),
        ("prod", "2024-03-03", "2024-03-04")
    );
    let refusal = try_apply(&backend, changes().await).await.expect_err("refused").to_string();
    assert!(refusal.contains("prod (2024-03-03 to 2024-03-04)"), "{refusal}");
    assert!(refusal.contains("change_past_days"), "{refusal}");
    let unchanged = index(&backend, "prod", "2024-03-03", document.clone()).await;
    assert_eq!(
        (unchanged.content, listing(&backend, "prod", "latest").await),
        (before.content, "older 1.0".to_owned())
    );

    let permitted = import::apply(&backend.uploads, "team", changes().await, true, &actor()).await;
    assert_eq!(permitted.expect("applied").past_days, planned.past_days);
    for backend in std::iter::once(&backend).chain(&other) {
        backend.state.catalog.refresh(&backend.state.db).await.expect("read");
        let after = index(backend, "prod", "2024-03-03", document.clone()).await;
        assert_ne!(after.content, before.content);
        assert!(after.modified > before.modified, "{:?} {:?}", before.modified, after.modified);
        assert_eq!(listing(backend, "prod", "2024-03-03").await, "alpha 1.0, older 1.0");
        assert_eq!(listing(backend, "prod", "2024-03-02").await, "older 1.0", "the day before is unchanged");
    }
    // A change of today changes no past day.
    let today = vec![add(&backend, "2024-03-05T01:00:00Z", "beta", "1.0").await];
    assert_eq!(apply(&backend, today).await, [ImportOutcome::Added]);
    // Until another source of the repository has a transaction of today, with a number.
    backend.create_local_source("other").await;
    edit::subscription::subscribe(&backend.state, "prod", "other", None, OnExisting::Fail, &actor())
        .await
        .expect("subscribed");
    backend.add("other", "omega", "1.0").await;
    let today = async || vec![add(&backend, "2024-03-05T02:00:00Z", "delta", "1.0").await];
    let refusal = try_apply(&backend, today().await).await.expect_err("refused").to_string();
    assert!(refusal.contains("prod (2024-03-05 to 2024-03-05)"), "{refusal}");
    let permitted = import::apply(&backend.uploads, "team", today().await, true, &actor()).await;
    assert_eq!(outcomes(&permitted.expect("applied")), [ImportOutcome::Added]);
    // A repository of today shows its past days from now on.
    backend.create_local_source("new").await;
    backend.create_repository("fresh", &["new"]).await;
    let changes = vec![add(&backend, "2020-01-01T00:00:00Z", "gamma", "1.0").await];
    let result = import::apply(&backend.uploads, "new", changes, false, &actor()).await.expect("applied");
    assert!(result.past_days.is_empty(), "{result:?}");
    assert_eq!(listing(&backend, "fresh", "2020-01-01").await, "gamma 1.0");
    // The subscription is later, and was the time of the empty repository.
    assert_eq!(point(&backend, "fresh", "latest").await.modified, None);
    assert_consistent(&backend).await;
}

async fn a_promoted_state_does_not_change(backend: Backend) {
    backend.add("team", "alpha", "1.0").await;
    backend.create_local_source("more").await;
    edit::subscription::subscribe(&backend.state, "prod", "more", None, OnExisting::Fail, &actor())
        .await
        .expect("subscribed");
    let changes = ChangePolicy::TwoPersons;
    let frozen = NewRepo { changes, ..NewRepo::open(&"frozen".parse().expect("a name"), RepoKind::R, "") };
    edit::repo::create(&backend.state, frozen, OnExisting::Fail, &actor()).await.expect("a repository");
    let promote = async |snapshot: &str, id: i64| {
        let request = PromotionRequest {
            from: "prod".to_owned(),
            to: "frozen".to_owned(),
            snapshot: snapshot.parse().expect("a snapshot"),
            comment: String::new(),
            opening: Opening::Permitted,
        };
        let (repositories, state) = (&backend.repositories, &backend.state);
        promotion::request(repositories, state, request, &person("ann")).await.expect("requested");
        promotion::approve(state, id, "", &person("bob"), Opening::Permitted).await.expect("approved");
    };
    promote("latest", 1).await;
    assert_eq!(listing(&backend, "frozen", "latest").await, "alpha 1.0");
    let change = async || vec![add(&backend, "2020-01-01T00:00:00Z", "beta", "1.0").await];
    let refusal = import::apply(&backend.uploads, "more", change().await, true, &actor()).await;
    let refusal = refusal.expect_err("refused").to_string();
    assert!(refusal.starts_with("the repository 'frozen' serves or served the state of"), "{refusal}");
    let mut undated = change().await;
    undated[0].event.set_at(None);
    import::apply(&backend.uploads, "more", undated, false, &actor()).await.expect("applied");
    assert_eq!(listing(&backend, "frozen", "latest").await, "alpha 1.0");
    assert_eq!(listing(&backend, "prod", "latest").await, "alpha 1.0, beta 1.0");

    // After a return to an older state, the days of the state before it do not change either.
    backend.advance_to_noon("2024-03-05");
    backend.add("team", "omega", "1.0").await;
    promote("latest", 2).await;
    backend.advance_to_noon("2024-03-07");
    promote("2024-03-01", 3).await;
    let between = vec![add(&backend, "2024-03-03T00:00:00Z", "gamma", "1.0").await];
    let refusal = import::apply(&backend.uploads, "more", between, true, &actor()).await;
    let refusal = refusal.expect_err("refused").to_string();
    assert!(
        refusal.starts_with("the repository 'frozen' serves or served the state of 2024-03-05"),
        "{refusal}"
    );
    assert_eq!(listing(&backend, "frozen", "2024-03-06").await, "alpha 1.0, beta 1.0, omega 1.0");
}

async fn packages_with_their_times_are_old_enough_for_a_rule(backend: Backend) {
    // A rule without a source has no effect on own packages.
    let source = Some(backend.state.catalog.get().source("team").expect("it exists").id);
    let min_age = Some(7 * 86_400 * SECOND);
    let criteria = Criteria { source, min_age, fixes_pass: true, ..Criteria::default() };
    let rule = Rule { id: 0, priority: 100, effect: RuleEffect::Block, criteria, description: String::new() };
    block_rule::create(&backend.state, &[rule], &actor()).await.expect("a rule");
    let changes = vec![
        add(&backend, "2020-01-01T00:00:00Z", "alpha", "1.0").await,
        upload(&backend, Event::Add(file(None)), "beta", "1.0").await,
    ];
    assert_eq!(apply(&backend, changes).await, [ImportOutcome::Added, ImportOutcome::Added]);
    assert_eq!(listing(&backend, "prod", "latest").await, "alpha 1.0", "beta is too young");
    backend.advance_to_noon("2024-03-09");
    assert_eq!(listing(&backend, "prod", "latest").await, "alpha 1.0, beta 1.0");
}

async fn changes_since_the_plan_are_respected_by_the_import(backend: Backend) {
    use ImportOutcome::{Added, Existing, Refused, Removed};
    let changes = async || {
        vec![
            add(&backend, "2020-01-01T00:00:00Z", "alpha", "1.0").await,
            add(&backend, "2020-01-01T00:00:00Z", "beta", "1.0").await,
            add(&backend, "2020-01-01T00:00:00Z", "gamma", "1.0").await,
            remove("2020-02-01T00:00:00Z", "gamma", "1.0"),
        ]
    };
    let planned = import::check(&backend.state, "team", changes().await).await.expect("checked");
    assert_eq!((outcomes(&planned), planned.late), (vec![Added, Added, Added, Removed], 0));
    // Uploads: of one file with the same bytes, of another one with other bytes. A backup is being made.
    backend.add("team", "alpha", "1.0").await;
    let other = Tarball::new("beta", "1.0").field("Title: Other bytes");
    backend.try_add("team", &[other], OnExisting::Fail).await.expect("a package");
    let (state, hold) = (&backend.state, Identity([7; 16]));
    let now = (state.clock)();
    state.db.write(move |c| backup::take_hold(c, hold, now)).await.expect("taken");
    let result = try_apply(&backend, changes().await).await.expect("applied");
    assert_eq!((outcomes(&result), result.late), (vec![Existing, Refused, Added, Removed], 2));
    state.db.write(move |c| backup::release_hold(c, hold)).await.expect("released");
    assert_eq!(listing(&backend, "prod", "latest").await, "alpha 1.0, beta 1.0");

    // The same import twice at the same time.
    let again = async || {
        vec![
            add(&backend, "2020-03-01T00:00:00Z", "delta", "1.0").await,
            add(&backend, "2020-03-02T00:00:00Z", "omega", "1.0").await,
        ]
    };
    let (one, two) = (again().await, again().await);
    let (one, two) = tokio::join!(try_apply(&backend, one), try_apply(&backend, two));
    let mut both = [one, two].map(|result| outcomes(&result.expect("applied")));
    both.sort_by_key(|outcomes| outcomes[0]);
    assert_eq!(both, [vec![Added; 2], vec![Existing; 2]]);
    assert_eq!(listing(&backend, "prod", "latest").await, "alpha 1.0, beta 1.0, delta 1.0, omega 1.0");
    assert_consistent(&backend).await;
}
