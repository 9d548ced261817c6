//! A catalog that was read after a change equals one that is read from the beginning, on both databases, also after a
//! change by an earlier program or a repair, of which there is no record.

use rstudio_pm::catalog::{self, Catalog};
use rstudio_pm::db::clock::{self, Change};
use rstudio_pm::db::repo;
use rstudio_pm::db::tx::{Publish, TxKind};
use rstudio_pm::edit::{self, OnExisting, RepoEdit};
use rstudio_pm::model::ids::{RepoId, SourceId};
use rstudio_pm::model::kind::{ChangePolicy, RepoKind, SourceKind};
use rstudio_pm::model::name::Name;

use super::all_stores::{ObjectStore, stores};
use crate::support::backend::{Backend, actor};
use crate::support::db;

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

/// The parts of a catalog that changes are recorded of.
fn parts(catalog: &Catalog) -> String {
    let Catalog { version, sources, deleted_sources, trees, repos, has_withheld, .. } = catalog;
    let times = (&catalog.clock_at, &catalog.transactions, &catalog.serial_overrides, &catalog.bioconductor);
    format!("{:#?}", (version, sources, deleted_sources, trees, repos, has_withheld, times))
}

async fn assert_current(backend: &Backend, change: &str) {
    let read = backend.state.db.read(|c| catalog::read(c)).await.expect("a catalog");
    let current = backend.state.catalog.get();
    assert_eq!(parts(&current), parts(&read), "after {change}");
}

async fn every_change_is_read(engine: db::Engine) {
    let backend = Backend::with_stores(stores(engine, ObjectStore::Disk).await).await;
    let state = &backend.state;
    for source in ["team", "other", "third"] {
        backend.create_local_source(source).await;
    }
    assert_current(&backend, "new sources").await;
    backend.create_repository("dev", &["team", "other"]).await;
    backend.create_repository("prod", &["team"]).await;
    assert_current(&backend, "new repositories").await;
    backend.add("team", "alpha", "1.0").await;
    backend.add("team", "alpha", "1.1").await;
    backend.add("other", "beta", "1.0").await;
    assert_current(&backend, "new packages").await;
    edit::source::rename(state, "other", &name("renamed")).await.expect("a new name");
    assert_current(&backend, "another name of a source").await;
    let edit = RepoEdit { name: Some(name("live")), hidden: Some(true), ..RepoEdit::default() };
    edit::repo::edit(state, "prod", edit, &actor()).await.expect("an edit");
    assert_current(&backend, "an edit of a repository").await;
    let edit = RepoEdit { changes: Some(ChangePolicy::Promotion), ..RepoEdit::default() };
    edit::repo::edit(state, "live", edit, &actor()).await.expect("an edit");
    assert_current(&backend, "a fixed state").await;
    edit::subscription::unsubscribe(state, "dev", "renamed", None, &actor()).await.expect("unsubscribed");
    edit::source::delete(state, "renamed").await.expect("deleted");
    edit::source::create(state, &name("other"), SourceKind::LocalPython, OnExisting::Fail)
        .await
        .expect("a source");
    assert_current(&backend, "a deleted source").await;
    let new = edit::NewRepo::open(&name("bioc"), RepoKind::Bioconductor, "");
    edit::repo::create(state, new, OnExisting::Fail, &actor()).await.expect("a repository");
    edit::repo::delete(state, "dev").await.expect("deleted");
    assert_current(&backend, "a deleted repository").await;

    // A program without records: the number of the change is missing.
    let write = state.db.write(|c| {
        clock::bump_catalog(c, Change::Nothing)?;
        c.execute("DELETE FROM catalog_change WHERE revision = (SELECT catalog FROM clock)", &[])?;
        c.execute("UPDATE repo SET description = 'changed'", &[])
    });
    write.await.expect("a change");
    state.catalog.refresh(&state.db).await.expect("a catalog");
    assert!(backend.state.catalog.get().repos.iter().all(|repo| repo.description == "changed"));
    assert_current(&backend, "a change without a record").await;

    // More changes than records.
    let write = state.db.write(|c| {
        c.execute("UPDATE repo SET description = 'again'", &[])?;
        (0..2000).try_for_each(|_| clock::bump_catalog(c, Change::Nothing))
    });
    write.await.expect("many changes");
    state.catalog.refresh(&state.db).await.expect("a catalog");
    assert!(backend.state.catalog.get().repos.iter().all(|repo| repo.description == "again"));
    let count =
        state.db.read(|c| c.query("SELECT revision FROM catalog_change", &[])).await.expect("rows").len();
    assert!((1000..1100).contains(&count), "{count}");

    // Repositories that are changed together.
    let now = (state.clock)();
    let write = state.db.write(move |c| {
        let new = ["x", "y", "z"].map(|text| repo::NewRepo {
            name: name(text),
            kind: RepoKind::R,
            description: String::new(),
            hidden: false,
            authenticated: false,
            changes: ChangePolicy::Any,
        });
        let first = repo::create_all(c, &new, now)?;
        let ids = [0, 1, 2].map(|number| RepoId(first.0 + number));
        clock::bump_catalog_for(c, &ids.map(Change::Repo))?;
        let publish = |repo| {
            let subscriptions = vec![repo::Subscription { source: SourceId::CRAN, label: String::new() }];
            let step = repo::NewRepoStep { repo, subscriptions, pinned_at: None, withheld: Vec::new() };
            let new = Publish::new(TxKind::Subscribe, now, now, "test");
            Publish { repo: Some(repo), repo_steps: vec![step], ..new }
        };
        let published = clock::publish_all(c, &[publish(ids[0]), publish(ids[2])])?;
        assert!(published[0].tx.0 + 1 == published[1].tx.0 && published[0].at < published[1].at);
        Ok(ids)
    });
    let ids = write.await.expect("repositories");
    state.catalog.refresh(&state.db).await.expect("a catalog");
    assert_current(&backend, "new repositories together").await;
    let write = state.db.write(move |c| {
        repo::delete(c, &[ids[0], ids[2]].into())?;
        repo::edit(c, ids[1], &repo::Edit { hidden: Some(true), ..repo::Edit::default() })?;
        clock::bump_catalog_for(c, &ids.map(Change::Repo))
    });
    write.await.expect("changes");
    state.catalog.refresh(&state.db).await.expect("a catalog");
    assert_current(&backend, "other changes together").await;

    // More changes together than records.
    let write = state.db.write(|c| {
        c.execute("UPDATE repo SET description = 'together'", &[])?;
        clock::bump_catalog_for(c, &[Change::Nothing; 2000])
    });
    write.await.expect("many changes");
    state.catalog.refresh(&state.db).await.expect("a catalog");
    assert_current(&backend, "many changes together").await;
    let rows = state.db.read(|c| c.query("SELECT revision FROM catalog_change", &[])).await.expect("rows");
    assert_eq!(rows, []);

    // A repair of the clock of which this server reads only after later publishes.
    let write = state.db.write(|c| {
        c.execute("UPDATE tx SET at = at - 1000000", &[])?;
        c.execute("UPDATE step SET at = at - 1000000", &[])?;
        clock::bump_catalog(c, Change::Nothing)
    });
    write.await.expect("earlier times");
    state.catalog.refresh(&state.db).await.expect("a catalog");
    assert_current(&backend, "a repair of the clock").await;
}

#[tokio::test]
async fn every_change_is_read_from_sqlite() {
    every_change_is_read(db::Engine::Sqlite).await;
}

#[tokio::test]
async fn every_change_is_read_from_postgres() {
    every_change_is_read(db::Engine::Postgres).await;
}
