//! The same scenario on every pair of stores: {SQLite, PostgreSQL} × {disk, S3}.

use std::fmt::Write;

use rstudio_pm::edit::{self, AddStatus, OnExisting, RemoveScope};
use rstudio_pm::model::kind::SourceKind;
use rstudio_pm::model::snapshot::Snapshot;
use rstudio_pm::r::layout::IndexFormat;
use rstudio_pm::serve::document::RenderedDocument;
use rstudio_pm::serve::located::FileBody;
use rstudio_pm::serve::r::document::RDocument;
use rstudio_pm::serve::{self, RepoError};
use rstudio_pm::upkeep;
use rstudio_pm::upkeep::sweep::SweepOptions;

use super::{archive_names, index, listing, point};
use crate::support::backend::{Backend, StoresConfig, actor, day};
use crate::support::tarball::Tarball;
use crate::support::{db, s3};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ObjectStore {
    Disk,
    S3,
}

macro_rules! scenarios {
    ($($name:ident: $engine:ident, $objects:ident;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if ObjectStore::$objects == ObjectStore::S3 && s3::rerun_with_credentials() {
                    return;
                }
                scenario(stores(db::Engine::$engine, ObjectStore::$objects).await).await;
            }
        )*
    };
}

scenarios! {
    on_sqlite_and_disk: Sqlite, Disk;
    on_sqlite_and_s3: Sqlite, S3;
    on_postgres_and_disk: Postgres, Disk;
    on_postgres_and_s3: Postgres, S3;
}

pub(super) async fn stores(engine: db::Engine, objects: ObjectStore) -> StoresConfig {
    let lines = tokio::task::spawn_blocking(move || {
        let mut gcfg = db::settings(engine);
        if objects == ObjectStore::S3 {
            let location = s3::bucket(s3::server());
            write!(
                gcfg,
                "[Storage]\nDefault = s3\n[S3Storage]\nBucket = {}\nPrefix = {}\nRegion = us-east-1\nEndpoint = {}\nS3ForcePathStyle = true\n",
                location.bucket,
                location.prefix,
                location.endpoint.expect("an endpoint")
            )
            .expect("writing to a String does not fail");
        }
        gcfg
    });
    StoresConfig { gcfg: lines.await.expect("no panic") }
}

async fn documents(backend: &Backend, snapshot: &str) -> Vec<RenderedDocument> {
    let mut documents = Vec::new();
    for document in [
        RDocument::Packages(IndexFormat::Text),
        RDocument::Packages(IndexFormat::Gz),
        RDocument::Packages(IndexFormat::Rds),
        RDocument::ArchiveRds,
    ] {
        documents.push(index(backend, "all", snapshot, document).await);
    }
    documents
}

/// Returns the bytes that a client gets for the file of a package; `None` if the repository does not serve it.
pub(super) async fn package_bytes(
    backend: &Backend,
    snapshot: &str,
    package: &str,
    version: &str,
) -> Option<Vec<u8>> {
    let point = point(backend, "all", snapshot).await;
    let file = format!("{package}_{version}.tar.gz");
    let location =
        serve::file::locate(&backend.repositories, &point, package, version, &file, false).await.ok()?;
    let open = serve::file::open(&backend.repositories, &location, None).await.expect("stored bytes");
    Some(match open.body {
        FileBody::Memory(bytes) => bytes.to_vec(),
        FileBody::Stream(mut stream) => {
            use futures_util::StreamExt;
            let mut bytes = Vec::new();
            while let Some(piece) = stream.next().await {
                bytes.extend_from_slice(&piece.expect("a piece"));
            }
            bytes
        }
    })
}

async fn scenario(stores: StoresConfig) {
    let mut backend = Backend::with_stores(stores).await;
    backend.create_local_source("team").await;
    backend.create_local_source("outside").await;
    backend.create_repository("all", &["team", "outside"]).await;

    // An added package is listed at once; the earlier subscription has precedence everywhere.
    backend.add("team", "internalpkg", "1.0").await;
    backend.add("outside", "internalpkg", "99.0").await;
    backend.add("outside", "zoo", "1.0").await;
    assert_eq!(listing(&backend, "all", "latest").await, "internalpkg 1.0, zoo 1.0");
    assert!(archive_names(&backend, "all", "latest").await.is_empty());
    assert!(
        package_bytes(&backend, "latest", "internalpkg", "99.0").await.is_none(),
        "a hidden file has no address"
    );
    let bytes = package_bytes(&backend, "latest", "internalpkg", "1.0").await.expect("the package");

    // Several packages in one call: a replaced one, an older one, a newer one.
    let tarballs = [
        Tarball::new("internalpkg", "1.0").with("NEWS", "corrected"),
        Tarball::new("internalpkg", "0.9"),
        Tarball::new("internalpkg", "1.1").with("README.md", "# internal\n"),
    ];
    let statuses = backend.try_add("team", &tarballs, OnExisting::Replace).await.expect("added");
    assert_eq!(statuses, [AddStatus::Replaced, AddStatus::New, AddStatus::New]);
    assert_eq!(listing(&backend, "all", "latest").await, "internalpkg 1.1, zoo 1.0");
    let expected = ["internalpkg/internalpkg_0.9.tar.gz", "internalpkg/internalpkg_1.0.tar.gz"];
    assert_eq!(archive_names(&backend, "all", "latest").await, expected);
    assert_ne!(
        package_bytes(&backend, "latest", "internalpkg", "1.0").await.expect("the corrected package"),
        bytes
    );

    // A closed day: the same bytes after ten transactions and a restart without the memory cache.
    backend.advance_to_noon("2024-03-02");
    assert!(
        !serve::point::resolve(&backend.repositories, "all", Snapshot::Date(day("2024-03-01")))
            .await
            .expect("a point")
            .open
    );
    let old_documents = documents(&backend, "2024-03-01").await;
    for number in 0..9 {
        backend.add("team", "internalpkg", &format!("2.{number}")).await;
    }
    let versions =
        edit::remove::remove(&backend.state, "team", "internalpkg", RemoveScope::All, "", &actor())
            .await
            .expect("removed");
    assert_eq!(versions.len(), 12);
    assert_eq!(listing(&backend, "all", "latest").await, "internalpkg 99.0, zoo 1.0");
    backend = backend.restart().await;
    for (old, new) in old_documents.iter().zip(documents(&backend, "2024-03-01").await) {
        assert_eq!((old.content, &old.bytes), (new.content, &new.bytes));
    }
    assert!(package_bytes(&backend, "2024-03-01", "internalpkg", "1.1").await.is_some());
    let closed_point = point(&backend, "all", "2024-03-01").await;
    let detail = serve::info::package(&backend.repositories, &closed_point, "internalpkg", None)
        .await
        .expect("the package");
    assert_eq!(detail.readme.as_deref(), Some(&b"# internal\n"[..]));

    // Names are unique, and a sweep removes nothing that is referred to.
    let team = "team".parse().expect("a name");
    let second_creation = edit::source::create(&backend.state, &team, SourceKind::Local, OnExisting::Fail);
    assert!(matches!(second_creation.await, Err(RepoError::Conflict(_))));
    upkeep::sweep::sweep(&backend.upkeep, &SweepOptions::default()).await.expect("a sweep");
    assert!(package_bytes(&backend, "2024-03-01", "internalpkg", "1.0").await.is_some());

    // Concurrent edits lose nothing.
    for source in ["a", "b", "c", "d"] {
        backend.create_local_source(source).await;
    }
    let actor = actor();
    let all = ["a", "b", "c", "d"].map(|source| {
        edit::subscription::subscribe(&backend.state, "all", source, None, OnExisting::Fail, &actor)
    });
    assert!(futures_util::future::join_all(all).await.iter().all(Result::is_ok));
    let catalog = backend.state.catalog.get();
    assert_eq!(catalog.repo("all").expect("the repository").sources().len(), 6);
    let packages = [("a", "pkg.a"), ("b", "pkg.b"), ("c", "pkg.c"), ("d", "pkg.d")];
    let adds = packages.map(|(source, package)| backend.add(source, package, "1.0"));
    futures_util::future::join_all(adds).await;
    let adds = ["1.0", "1.1", "1.2", "1.3"].map(|version| backend.add("a", "together", version));
    futures_util::future::join_all(adds).await;
    let packages = listing(&backend, "all", "latest").await;
    assert_eq!(
        packages,
        "internalpkg 99.0, pkg.a 1.0, pkg.b 1.0, pkg.c 1.0, pkg.d 1.0, together 1.3, zoo 1.0"
    );
}
