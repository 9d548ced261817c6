//! Bioconductor: each version is published as a whole and independently of faults in the other versions.

use rstudio_pm::catalog::Tree;
use rstudio_pm::db::tree::Role;
use rstudio_pm::db::{life, release, tree, tx};
use rstudio_pm::edit::{self, Actor, OnExisting};
use rstudio_pm::fetch::Fetches;
use rstudio_pm::index::PageReads;
use rstudio_pm::model::ids::{Seq, SourceId, TreeId};
use rstudio_pm::model::kind::{RepoKind, SourceKind};
use rstudio_pm::model::snapshot::Snapshot;
use rstudio_pm::model::text::count_of;
use rstudio_pm::r::bioconductor::Part;
use rstudio_pm::serve::{self, Repositories};
use rstudio_pm::sync::task::Task;

use super::{gz, index, on_both_databases};
use crate::support::data;
use crate::support::db::Engine;
use crate::support::sync_backend::{SyncBackend, until};
use crate::support::upstream::{Fault, Upstream};

const CONFIG: &str = "release_version: \"3.20\"\ndevel_version: \"3.21\"\nr_ver_for_bioc_ver:\n  \"3.18\": \"4.3\"\n  \
    \"3.19\": \"4.4\"\n  \"3.20\": \"4.4\"\n  \"3.21\": \"4.5\"\nrelease_dates:\n  \"3.19\": \"5/1/2024\"\n  \
    \"3.20\": \"10/30/2024\"\n";

const PACKAGES: usize = 60;

fn index_path(part: &str) -> String {
    format!("packages/{part}/src/contrib/PACKAGES.gz")
}

/// A mirror of 3.19 and 3.20, with 60 software packages and a few data packages each.
fn mirror() -> Upstream {
    let mirror = Upstream::empty();
    mirror.put("config.yaml", CONFIG);
    for version in ["3.19", "3.20"] {
        mirror.put(&index_path(&format!("{version}/bioc")), gz(index(PACKAGES)));
        for (part, record) in [
            ("data/annotation", "Package: genome\nVersion: 1.0\nMD5sum: 00000000000000000000000000000aaa\n"),
            ("data/experiment", "Package: trial\nVersion: 2.0\nMD5sum: 00000000000000000000000000000bbb\n"),
            ("workflows", ""),
        ] {
            mirror.put(&index_path(&format!("{version}/{part}")), gz(record));
        }
    }
    mirror
}

async fn sync(server: &SyncBackend, version: Option<&str>) -> Result<String, String> {
    let version = version.map(|text| text.parse().expect("a version"));
    let job =
        server.sync.start_by(SourceKind::Bioconductor, version, "test").expect("Bioconductor can be synced");
    job.job().wait_end().await
}

fn head(server: &SyncBackend, label: &str) -> Option<(TreeId, Seq)> {
    let catalog = server.state.catalog.get();
    let part = Part::parse(label).expect("a part");
    let tree_of_part =
        catalog.source_package_trees(SourceId::BIOCONDUCTOR).find(|tree| tree.part() == Some(part))?;
    tree_of_part.steps.last().map(|step| (tree_of_part.id, step.seq))
}

/// `name_version` of each listed package; `None` before the first step.
async fn listed_packages(server: &SyncBackend, label: &str) -> Option<Vec<String>> {
    let (tree, seq) = head(server, label)?;
    let names = server.read(move |c| life::names(c, tree, seq)).await;
    Some(names.into_iter().map(|package| format!("{}_{}", package.name, package.version)).collect())
}

async fn count(server: &SyncBackend, label: &str) -> usize {
    listed_packages(server, label).await.map_or(0, |names| names.len())
}

on_both_databases! {
    async fn each_version_is_one_transaction_and_has_all_its_repositories(engine) {
        let server = SyncBackend::new(engine, &format!("file://{}", data::path("bioc-mirror").display())).await;
        let message = sync(&server, None).await.expect("a valid mirror");
        let [new, old] = ["3.20", "3.16"].map(data::bioconductor);
        let added = |names: &[String]| count_of(names.len(), "package", "packages") + " added";
        for words in ["Bioconductor 3.20 was synced", &added(&new), "Bioconductor 3.16 was synced",
            &added(&old), "not on this mirror: 3.21, 3.19, 3.18, 3.17, 3.15"] {
            assert!(message.contains(words), "{words}: {message}");
        }
        assert_eq!(server.transactions().await, 2);
        let software = listed_packages(&server, "3.16/bioc").await.expect("it was published");
        assert_eq!(software, old);
        for component in ["data/annotation", "data/experiment", "workflows", "books"] {
            assert_eq!(listed_packages(&server, &format!("3.20/{component}")).await, Some(Vec::new()), "{component}");
        }
        assert_eq!(listed_packages(&server, "3.20/extra").await, None, "3.20 has none");
        let catalog = server.state.catalog.get();
        let versions: Vec<String> = catalog.bioconductor_versions().iter().map(ToString::to_string).collect();
        assert_eq!(versions, ["3.20", "3.16"]);
        assert_eq!(catalog.bioconductor.as_ref().map(|c| c.release.to_string()).as_deref(), Some("3.20"));
        let newest = server.read(|c| tx::list(c, SourceId::BIOCONDUCTOR, 9)).await;
        let comments: Vec<&str> = newest.iter().map(|tx| tx.comment.as_str()).collect();
        assert_eq!(comments, ["Bioconductor 3.16", "Bioconductor 3.20"]);

        let message = sync(&server, None).await.expect("a valid mirror");
        assert!(message.starts_with("2 versions of Bioconductor are up to date"), "{message}");
        let message = sync(&server, Some("3.16")).await.expect("a valid mirror");
        assert_eq!(message, "Bioconductor 3.16 is up to date; nothing changed");
        assert_eq!(server.transactions().await, 2);
    }

    async fn a_version_that_fails_does_not_change_and_does_not_affect_the_others(engine) {
        let mirror = mirror();
        let server = SyncBackend::new(engine, &mirror.url()).await;
        sync(&server, None).await.expect("a valid mirror");
        let annotation = index_path("3.20/data/annotation");
        let mut package_count = PACKAGES;
        for (fault, words) in [
            (Fault::Html, "HTML page"),
            (Fault::Truncate(20), "truncated"),
            (Fault::Status(503, ""), "503"),
        ] {
            package_count += 1;
            mirror.always(&annotation, fault);
            // An unchanged index is answered with 304, so each time another one is put.
            mirror.put(&annotation, gz(format!("Package: genome\nVersion: 1.{package_count}\n\n{}", index(10))));
            mirror.put(&index_path("3.19/bioc"), gz(index(package_count)));
            mirror.put(&index_path("3.20/bioc"), gz(index(package_count)));
            let error = sync(&server, None).await.expect_err("the index is invalid");
            for word in [
                words,
                "Bioconductor 3.20 is unchanged",
                "packages/3.20/data/annotation",
                "PACKAGES.gz",
                "rspm sync --type=bioconductor --version=3.20",
                "Bioconductor 3.19 was synced",
            ] {
                assert!(error.contains(word), "{word}: {error}");
            }
            assert_eq!(count(&server, "3.19/bioc").await, package_count, "{words}");
            assert_eq!(count(&server, "3.20/bioc").await, PACKAGES, "{words}");
            let genome = listed_packages(&server, "3.20/data/annotation").await;
            assert_eq!(genome, Some(vec!["genome_1.0".to_owned()]), "{words}");
        }
        mirror.always(&annotation, Fault::ExtraHeader("X-Repaired: yes"));
        let message = sync(&server, Some("3.20")).await.expect("the mirror is repaired");
        assert!(message.contains("Bioconductor 3.20 was synced"), "{message}");
        assert_eq!(count(&server, "3.20/bioc").await, package_count);
        assert_eq!(count(&server, "3.20/data/annotation").await, 11);
    }

    async fn an_index_that_lost_a_fifth_is_refused_until_an_administrator_repeats_the_sync(engine) {
        let mirror = mirror();
        let server = SyncBackend::new(engine, &mirror.url()).await;
        sync(&server, None).await.expect("a valid mirror");
        mirror.put(&index_path("3.20/bioc"), gz(index(PACKAGES * 4 / 5)));
        mirror.put(&index_path("3.20/data/experiment"), gz("Package: trial\nVersion: 3.0\n"));
        let error = sync(&server, None).await.expect_err("it lost a fifth");
        for words in ["packages/3.20/bioc", "12 of 60 packages", "rspm sync --type=bioconductor --version=3.20"] {
            assert!(error.contains(words), "{words}: {error}");
        }
        assert_eq!(count(&server, "3.20/bioc").await, PACKAGES);
        assert_eq!(listed_packages(&server, "3.20/data/experiment").await, Some(vec!["trial_2.0".to_owned()]));
        sync(&server, Some("3.20")).await.expect("the same files, synced again by hand");
        assert_eq!(count(&server, "3.20/bioc").await, PACKAGES * 4 / 5);
        assert_eq!(listed_packages(&server, "3.20/data/experiment").await, Some(vec!["trial_3.0".to_owned()]));
        // The loss of all packages is refused although they are few.
        for empty in [gz(""), Vec::new()] {
            mirror.put(&index_path("3.20/data/experiment"), empty);
            let error = sync(&server, None).await.expect_err("all packages are missing");
            assert!(error.contains("1 of 1 packages are no longer in the index"), "{error}");
        }
        mirror.remove(&index_path("3.20/data/experiment"));
        let error = sync(&server, None).await.expect_err("all packages are missing");
        assert!(error.contains("packages/3.20/data/experiment has no index any more"), "{error}");
        mirror.remove(&index_path("3.20/bioc"));
        let error = sync(&server, None).await.expect_err("the software of a version is missing");
        assert!(error.contains("packages/3.20/bioc has no index any more"), "{error}");
        assert_eq!(count(&server, "3.20/bioc").await, PACKAGES * 4 / 5);
    }

    async fn equal_files_of_two_versions_are_one_release_and_different_files_are_two(engine) {
        let mirror = mirror();
        let record = |md5: &str, fields: &str| format!("Package: genome\nVersion: 1.0\n{fields}MD5sum: {md5:0>32}\n");
        mirror.put(&index_path("3.19/data/annotation"), gz(record("a", "")));
        mirror.put(&index_path("3.20/data/annotation"), gz(record("a", "Title: x\n") + "\nPackage: other\nVersion: 1.0\nMD5sum: 0000000000000000000000000000000c\n"));
        mirror.put(&index_path("3.19/data/experiment"), gz("Package: other\nVersion: 1.0\nMD5sum: 0000000000000000000000000000000d\n"));
        let server = SyncBackend::new(engine, &mirror.url()).await;
        sync(&server, None).await.expect("a valid mirror");
        let records = async |label: &str| {
            let (tree, seq) = head(&server, label).expect("published");
            let rows = server.read(move |c| life::listed(c, tree, seq)).await;
            let text = |row: &life::ListedRelease| String::from_utf8_lossy(&row.stanza).contains("Title");
            rows.iter().map(|row| (row.name.clone(), row.release, text(row))).collect::<Vec<_>>()
        };
        let (old, new) = (records("3.19/data/annotation").await, records("3.20/data/annotation").await);
        assert_eq!((old[0].1, old[0].2, new[0].2), (new[0].1, false, true), "one release, two records");
        let experiment = records("3.19/data/experiment").await;
        assert_ne!(experiment[0].1, new[1].1, "different bytes of one version");
        // A changed record in one version of Bioconductor does not change the record in the other version.
        mirror.put(&index_path("3.20/data/annotation"), gz(record("a", "License: new\n")));
        mirror.put(&index_path("3.19/data/annotation"), gz(record("a", "License: newer\n")));
        sync(&server, None).await.expect("a valid mirror");
        let license = async |label: &str| {
            let (tree, seq) = head(&server, label).expect("published");
            let rows = server.read(move |c| life::listed(c, tree, seq)).await;
            String::from_utf8_lossy(&rows[0].stanza).into_owned()
        };
        assert!(license("3.20/data/annotation").await.contains("License: new\n"));
        assert!(license("3.19/data/annotation").await.contains("License: newer\n"));
        let releases = server.read(|c| release::all(c, SourceId::BIOCONDUCTOR)).await;
        // 60 of software, genome, two of other, trial.
        assert_eq!(releases.len(), PACKAGES + 4);
    }

    async fn rows_of_a_killed_sync_are_removed(engine) {
        let mirror = mirror();
        let server = SyncBackend::new(engine, &mirror.url()).await;
        sync(&server, Some("3.19")).await.expect("a valid mirror");
        let (tree, _) = head(&server, "3.19/bioc").expect("published");
        server.state.db.write(move |c| tree::begin(c, tree, 7).map(drop)).await.expect("claimed");
        server.sync.recover().await.expect("undone");
        let pending = server.read(|c| tree::of_source(c, SourceId::BIOCONDUCTOR)).await;
        assert!(pending.iter().all(|tree| tree.pending.is_none() && tree.role == Role::Source));
        server.state.db.write(move |c| tree::begin(c, tree, 7).map(drop)).await.expect("claimed");
        mirror.put(&index_path("3.19/bioc"), gz(index(PACKAGES + 1)));
        sync(&server, Some("3.19")).await.expect("the sync is repeated");
        assert_eq!(count(&server, "3.19/bioc").await, PACKAGES + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_bioconductor_mirror_is_reported_with_the_remedy() {
    let mirror = mirror();
    let server = SyncBackend::new(Engine::Sqlite, &mirror.url()).await;
    let error = sync(&server, Some("9.99")).await.expect_err("there is no such version");
    let expected =
        format!("there is no Bioconductor 9.99: {}/config.yaml names 3.21, 3.20, 3.19, 3.18", mirror.url());
    assert_eq!(error, expected);
    let error = sync(&server, Some("3.18")).await.expect_err("the version is not on the mirror");
    assert!(error.contains("3.18") && error.contains("packages/3.18/bioc/src/contrib/PACKAGES"), "{error}");
    assert_eq!(server.transactions().await, 0);
    sync(&server, Some("3.20")).await.expect("a valid mirror");
    for (change, words) in [
        (Some("<!DOCTYPE html><title>Sign in</title>"), "is an HTML page"),
        (Some("name: x\n"), "has no line that begins with release_version"),
        (None, "is not there"),
    ] {
        match change {
            Some(text) => mirror.put("config.yaml", text),
            None => mirror.remove("config.yaml"),
        }
        let error = sync(&server, None).await.expect_err("no config.yaml");
        for words in [words, &format!("{}/config.yaml", mirror.url()), "Bioconductor.URL"] {
            assert!(error.contains(words), "{words}: {error}");
        }
    }
    mirror.put("config.yaml", CONFIG);
    mirror.always("config.yaml", Fault::Status(500, ""));
    let error = sync(&server, None).await.expect_err("config.yaml fails with 500");
    assert!(error.contains("500") && error.contains("config.yaml"), "{error}");
    assert_eq!(count(&server, "3.20/bioc").await, PACKAGES, "published packages remain");
    let server = SyncBackend::new(Engine::Sqlite, "file:///no/such/mirror").await;
    let error = sync(&server, None).await.expect_err("there is no mirror");
    assert!(error.contains("/no/such/mirror: there is no such directory"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_is_missing_from_the_mirror_is_empty_until_it_appears() {
    let mirror = mirror();
    let server = SyncBackend::new(Engine::Sqlite, &mirror.url()).await;
    sync(&server, Some("3.20")).await.expect("a valid mirror");
    assert_eq!(listed_packages(&server, "3.20/books").await, Some(Vec::new()), "the mirror has none yet");
    sync(&server, Some("3.20")).await.expect("a valid mirror");
    assert_eq!(server.transactions().await, 1);
    mirror.put(&index_path("3.20/books"), gz("Package: book\nVersion: 1.0\n"));
    sync(&server, Some("3.20")).await.expect("a valid mirror");
    assert_eq!(listed_packages(&server, "3.20/books").await, Some(vec!["book_1.0".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_superseded_version_is_archived_only_in_its_bioconductor_version() {
    let mirror = mirror();
    let server = SyncBackend::new(Engine::Sqlite, &mirror.url()).await;
    sync(&server, None).await.expect("a valid mirror");
    mirror.put(&index_path("3.20/data/experiment"), gz("Package: trial\nVersion: 2.1\n"));
    sync(&server, None).await.expect("a valid mirror");
    let archived = async |label: &str| {
        let (tree, seq) = head(&server, label).expect("published");
        let rows = server.read(move |c| life::archived_files(c, tree, seq)).await;
        rows.into_iter().map(|row| row.file).collect::<Vec<_>>()
    };
    assert_eq!(archived("3.20/data/experiment").await, ["trial_2.0.tar.gz"]);
    assert_eq!(archived("3.19/data/experiment").await, [""; 0]);
    assert_eq!(listed_packages(&server, "3.19/data/experiment").await, Some(vec!["trial_2.0".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schedule_sends_no_request_until_a_bioconductor_repository_exists() {
    let mirror = mirror();
    let server = SyncBackend::new(Engine::Sqlite, &mirror.url()).await;
    sync(&server, Some("3.20")).await.expect("a valid mirror");
    // Only a sync of all versions counts as the last one; a day later the schedule has missed a sync.
    sync(&server, None).await.expect("a valid mirror");
    mirror.take_requests();
    server.advance_clock(86_400);
    let start_schedule = |server: &SyncBackend| {
        let sync = server.sync.clone();
        tokio::spawn(async move { sync.run_schedule(Task::Bioconductor).await })
    };
    let task = start_schedule(&server);
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    task.abort();
    assert_eq!(mirror.take_requests(), []);
    let fetches = Fetches::new(server.state.clone());
    let repositories = Repositories::new(fetches, PageReads::new(server.state.clone()), server.state.clone());
    let name = "bioc".parse().expect("a name");
    let actor = Actor("test".to_owned());
    edit::repo::create(
        &server.state,
        edit::NewRepo::open(&name, RepoKind::Bioconductor, ""),
        OnExisting::Fail,
        &actor,
    )
    .await
    .expect("the repository is created");
    mirror.put(&index_path("3.20/bioc"), gz(index(PACKAGES + 1)));
    let task = start_schedule(&server);
    until("the missed sync has run", async || count(&server, "3.20/bioc").await != PACKAGES).await;
    task.abort();
    // 3.19 was read long after the release of 3.20, so it is not requested again.
    let paths: Vec<String> = mirror.take_requests().into_iter().map(|request| request.path).collect();
    assert!(paths.iter().any(|path| path.starts_with("packages/3.20/")), "{paths:?}");
    assert!(paths.iter().all(|path| !path.starts_with("packages/3.19/")), "{paths:?}");
    let newest = server.read(|c| tx::list(c, SourceId::BIOCONDUCTOR, 1)).await;
    assert_eq!(newest[0].actor, "schedule");
    let point = serve::point::resolve(&repositories, "bioc", Snapshot::Latest).await.expect("the release");
    let versions = point.trees.iter().filter_map(|tree| {
        let catalog = server.state.catalog.get();
        catalog.tree(tree.tree).and_then(Tree::part).map(|part| part.version.to_string())
    });
    assert!(versions.clone().count() == 5 && versions.into_iter().all(|version| version == "3.20"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_on_one_database_sync_in_turn_and_share_the_result() {
    let mirror = mirror();
    let server = SyncBackend::new(Engine::Postgres, &mirror.url()).await;
    let second_server = server.open_second(&mirror.url()).await;
    mirror.always(&index_path("3.20/workflows"), Fault::NoAnswer);
    let job =
        server.sync.start_by(SourceKind::Bioconductor, None, "test").expect("Bioconductor can be synced");
    until("3.20 is read", async || mirror.pending().contains(&index_path("3.20/workflows"))).await;
    let error = sync(&second_server, Some("3.19")).await.expect_err("the other server has the lease");
    assert!(error.contains("another server"), "{error}");
    mirror.release(&index_path("3.20/workflows"));
    job.job().wait_end().await.expect("a valid mirror");
    second_server.state.catalog.refresh(&second_server.state.db).await.expect("read");
    assert_eq!(count(&second_server, "3.20/bioc").await, PACKAGES);
    let message = sync(&second_server, None).await.expect("the lease is free again");
    assert!(message.starts_with("2 versions of Bioconductor are up to date"), "{message}");
    assert_eq!(server.transactions().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halted_sync_resumes_with_the_remaining_versions() {
    let mirror = mirror();
    let server = SyncBackend::new(Engine::Sqlite, &mirror.url()).await;
    mirror.always(&index_path("3.19/bioc"), Fault::NoAnswer);
    let job =
        server.sync.start_by(SourceKind::Bioconductor, None, "somebody").expect("Bioconductor can be synced");
    until("3.19 is read", async || mirror.pending().contains(&index_path("3.19/bioc"))).await;
    server.state.jobs.halt(true);
    let error = job.job().wait_end().await.expect_err("it was halted");
    assert!(error.contains("the server goes offline"), "{error}");
    assert_eq!((count(&server, "3.20/bioc").await, count(&server, "3.19/bioc").await), (PACKAGES, 0));
    server.state.jobs.halt(false);
    mirror.release(&index_path("3.19/bioc"));
    let halted = server.sync.take_halted();
    assert_eq!(halted.iter().map(|halted| halted.administrator()).collect::<Vec<_>>(), [Some("somebody")]);
    halted.into_iter().for_each(|halted| server.sync.resume(halted));
    server.state.jobs.wait_idle().await;
    assert_eq!(count(&server, "3.19/bioc").await, PACKAGES);
    assert_eq!(server.transactions().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_syncs_of_two_versions_wait_for_each_other() {
    let mirror = mirror();
    let server = SyncBackend::new(Engine::Postgres, &mirror.url()).await;
    let start = |version: &str| {
        let version = Some(version.parse().expect("a version"));
        server.sync.start_by(SourceKind::Bioconductor, version, "test").expect("it is synced")
    };
    let jobs = [start("3.19"), start("3.20")];
    for job in &jobs {
        job.job().wait_end().await.expect("a valid mirror");
    }
    // Most releases belong to both versions.
    assert_eq!((count(&server, "3.19/bioc").await, count(&server, "3.20/bioc").await), (PACKAGES, PACKAGES));
    let releases = server.read(|c| release::all(c, SourceId::BIOCONDUCTOR)).await;
    assert_eq!(releases.len(), PACKAGES + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_versions_have_extra_and_no_later_components() {
    let mirror = mirror();
    mirror.put(
        "config.yaml",
        CONFIG.replace("  \"3.18\"", "  \"3.5\": \"3.4\"\n  \"3.6\": \"3.4\"\n  \"3.18\""),
    );
    let shared = "Package: genome\nVersion: 1.0\nMD5sum: 00000000000000000000000000000aaa\n";
    for version in ["3.5", "3.6"] {
        mirror.put(&index_path(&format!("{version}/bioc")), gz(index(3)));
        mirror.put(&index_path(&format!("{version}/data/annotation")), gz(shared));
    }
    let extra = "Package: iSNetwork\nVersion: 1.11.1\nMD5sum: 00000000000000000000000000000ccc\n";
    mirror.put(&index_path("3.5/extra"), gz(extra));
    // A folder of that name in a later version is not one of its repositories.
    mirror.put(&index_path("3.6/extra"), gz(extra));
    let server = SyncBackend::new(Engine::Sqlite, &mirror.url()).await;
    mirror.take_requests();
    let message = sync(&server, None).await.expect("a valid mirror");
    assert!(
        message.contains("Bioconductor 3.5 was synced") && message.contains(": 5 packages added"),
        "{message}"
    );
    assert_eq!(listed_packages(&server, "3.5/extra").await, Some(vec!["iSNetwork_1.11.1".to_owned()]));
    assert_eq!(
        listed_packages(&server, "3.5/data/experiment").await,
        Some(Vec::new()),
        "the mirror has none"
    );
    for label in ["3.5/workflows", "3.5/books", "3.6/extra", "3.6/workflows", "3.20/extra"] {
        assert_eq!(listed_packages(&server, label).await, None, "{label}");
    }
    let paths: Vec<String> = mirror.take_requests().into_iter().map(|request| request.path).collect();
    let is_requested =
        |folder: &str| paths.iter().any(|path| path.starts_with(&format!("packages/{folder}/")));
    assert!(is_requested("3.5/extra") && is_requested("3.6/data/experiment"), "{paths:?}");
    for folder in ["3.5/workflows", "3.5/books", "3.6/extra", "3.6/workflows", "3.20/extra"] {
        assert!(!is_requested(folder), "{folder}: {paths:?}");
    }
    // `extra` is handled like the other parts: it changes with its version, in one transaction, and its loss is
    // refused.
    mirror.put(&index_path("3.5/extra"), gz(extra.replace("1.11.1", "1.12")));
    let message = sync(&server, Some("3.5")).await.expect("a valid mirror");
    assert!(message.contains("0 packages added, 1 updated, 0 removed"), "{message}");
    mirror.remove(&index_path("3.5/extra"));
    let error = sync(&server, Some("3.5")).await.expect_err("all packages are missing");
    assert!(error.contains("packages/3.5/extra has no index any more"), "{error}");
    assert_eq!(listed_packages(&server, "3.5/extra").await, Some(vec!["iSNetwork_1.12".to_owned()]));
}
