//! Recovery of syncs that were killed: nothing of them remains, and the next sync is complete.

use rstudio_pm::db::{import, tree};
use rstudio_pm::model::change::{Change, LifeState, NewFile, NewRelease};
use rstudio_pm::model::ids::SourceId;
use rstudio_pm::model::kind::SourceKind;

use super::{INDEX, gz, index, on_both_databases, small_mirror};
use crate::support::db::Engine;
use crate::support::sync_backend::{SyncBackend, until, wait_for_phase};

/// Writes the rows of a sync that was killed between two chunks: a claimed tree, releases and invisible lives.
async fn partial_import(server: &SyncBackend, packages: usize) {
    let write = server.state.db.write(move |c| {
        let row = tree::of_source(c, SourceId::CRAN)?.remove(0);
        let pending = tree::begin(c, row.id, 7)?;
        let target = import::ImportTarget { tree: row.id, pending, origin: SourceId::CRAN };
        let introduce = |n: usize| Change::Introduce {
            release: NewRelease {
                package: format!("p{n}"),
                version: "1.0".to_owned(),
                revision: 0,
                published_at: None,
                stanza: Some(format!("Package: p{n}\nVersion: 1.0").into_bytes()),
                description: None,
                readme: None,
                files: vec![NewFile {
                    name: format!("p{n}_1.0.tar.gz"),
                    locator: format!("p{n}_1.0.tar.gz"),
                    size: None,
                    md5: None,
                    sha256: None,
                    stored: false,
                }],
            },
            state: LifeState::Listed,
            path: String::new(),
        };
        let changes: Vec<Change> = (0..packages).map(introduce).collect();
        import::apply(c, &target, &changes).map(drop)
    });
    write.await.unwrap_or_else(|e| panic!("{e} {e:?}"));
}

on_both_databases! {
    async fn a_sync_that_was_killed_between_two_chunks_is_undone_and_repeated(engine) {
        let mirror = small_mirror(50);
        let server = SyncBackend::new(engine, &mirror.url()).await;
        partial_import(&server, 30).await;
        assert_eq!(server.listed().await, [""; 0], "a partial import is invisible");
        let message = server.sync().await.expect("a valid mirror");
        assert!(message.contains("50 packages added"), "{message}");
        assert_eq!(server.listed().await.len(), 50);
        assert_eq!(server.transactions().await, 1);
    }

    async fn rows_of_a_killed_sync_are_removed_at_the_next_start(engine) {
        let mirror = small_mirror(50);
        let server = SyncBackend::new(engine, &mirror.url()).await;
        partial_import(&server, 30).await;
        let server = server.restart(&mirror.url()).await;
        server.sync.recover().await.expect("undone");
        let (pending, releases) = server
            .read(|c| {
                let pending = tree::of_source(c, SourceId::CRAN)?.remove(0).pending;
                Ok((pending, c.query("SELECT id FROM release", &[])?.len()))
            })
            .await;
        assert_eq!((pending, releases), (None, 0));
        server.sync.recover().await.expect("nothing to do");
    }

    async fn published_packages_remain_after_the_recovery(engine) {
        let mirror = small_mirror(50);
        let server = SyncBackend::new(engine, &mirror.url()).await;
        server.sync().await.expect("a valid mirror");
        let server = server.restart(&mirror.url()).await;
        let claim = server.state.db.write(|c| {
            let row = tree::of_source(c, SourceId::CRAN)?.remove(0);
            tree::begin(c, row.id, 7).map(drop)
        });
        claim.await.unwrap_or_else(|e| panic!("{e}"));
        mirror.put(INDEX, gz(index(51)));
        server.sync().await.expect("a valid mirror");
        assert_eq!(server.listed().await.len(), 51);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_whose_catalog_cannot_be_read_is_done_and_visible_later() {
    let mirror = small_mirror(5);
    let server = SyncBackend::new(Engine::Sqlite, &mirror.url()).await;
    let execute = async |text: &'static str| {
        let result = server.state.db.write(move |c| c.execute(text, &[]).map(drop)).await;
        result.unwrap_or_else(|e| panic!("{e}"));
    };
    // The publish also makes a row that no program can read.
    execute(
        "CREATE TRIGGER unreadable AFTER INSERT ON tx BEGIN UPDATE tx SET at = 'unreadable' WHERE id = NEW.id; END",
    )
    .await;
    let message = server.sync().await.expect("published");
    assert!(message.contains("5 packages added"), "{message}");
    assert_eq!(server.state.catalog.get().transactions.len(), 0);
    execute("DROP TRIGGER unreadable").await;
    execute("UPDATE tx SET at = (SELECT at FROM clock)").await;
    assert_eq!(server.transactions().await, 1);
    until("the publish is visible", async || server.state.catalog.get().transactions.len() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_dropped_at_any_moment_of_a_sync_recovers() {
    // Several chunks, so that the moments are before, during and after the writing.
    const PACKAGES: usize = 5_000;
    const READING: &str = "reading the index";
    const COMPARING: &str = "comparing with the database";
    const WRITING: &str = "writing releases";
    const PUBLISHING: &str = "publishing";
    let phases = [READING, COMPARING, WRITING, PUBLISHING];
    let moments = [
        None,
        Some((READING, 0)),
        Some((COMPARING, 0)),
        Some((WRITING, 0)),
        Some((WRITING, 2_000)),
        Some((WRITING, 4_000)),
        Some((PUBLISHING, 0)),
    ];
    let mut interrupted_count = 0;
    for moment in moments {
        let mirror = small_mirror(PACKAGES);
        let server = SyncBackend::new(Engine::Sqlite, &mirror.url()).await;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let job = {
            let _guard = runtime.enter();
            server.sync.start(SourceKind::Cran).expect("cran is synced").job().clone()
        };
        if let Some((phase, done)) = moment {
            wait_for_phase(&job, &phases, phase, done).await;
        }
        runtime.shutdown_background();
        let server = server.restart(&mirror.url()).await;
        server.sync.recover().await.expect("undone");
        let listed_count = server.listed().await.len();
        assert!(listed_count == 0 || listed_count == PACKAGES, "{listed_count} after {moment:?}");
        interrupted_count += usize::from(moment.is_some() && listed_count == 0);
        server.sync().await.expect("a valid mirror");
        assert_eq!(server.listed().await.len(), PACKAGES, "after {moment:?}");
        assert_eq!(server.transactions().await, 1, "after {moment:?}");
    }
    assert!(interrupted_count > 0, "every sync ended before it was dropped");
}
