//! The steps of a curated source on both databases: every transaction and day keeps its packages.

use rstudio_pm::db::curation::DefinitionFile;
use rstudio_pm::db::invariants;
use rstudio_pm::edit::curated::{self, RUpdate, RUpdateRequest, snapshot};
use rstudio_pm::edit::curation::Input;
use rstudio_pm::edit::{self, OnExisting, RemoveScope};
use rstudio_pm::index::PageReads;
use rstudio_pm::model::kind::SourceKind;
use rstudio_pm::r::layout::IndexFormat;
use rstudio_pm::serve::document::DocumentRequest;
use rstudio_pm::serve::r::document::RDocument;
use rstudio_pm::serve::{self, RepoError};
use rstudio_pm::sync::Sync;

use super::package;
use crate::support::backend::{Backend, StoresConfig, actor};
use crate::support::db;
use crate::support::mirror_dir::MirrorDir;

struct Server {
    backend: Backend,
    mirror: MirrorDir,
}

impl Server {
    async fn sync(&self) {
        self.mirror.write();
        let state = &self.backend.state;
        let sync = Sync::new(PageReads::new(state.clone()), state.clone());
        let start = sync.start(SourceKind::Cran).expect("cran is synced");
        start.job().wait_end().await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Publishes a definition, or the current one at another day; returns the transaction, or the problems.
    async fn update(&self, lines: Option<&str>, day: &str) -> Result<Option<String>, Vec<String>> {
        let update = self.request(lines, day, true).await.expect("an update");
        let transaction = update.transaction.map(|transaction| transaction.0.to_string());
        if update.problems.is_empty() { Ok(transaction) } else { Err(update.problems) }
    }

    /// Plans or publishes a definition, or the current one at another day.
    async fn request(&self, lines: Option<&str>, day: &str, commit: bool) -> Result<RUpdate, RepoError> {
        let file = |text: &str| DefinitionFile { name: "p.txt".to_owned(), content: text.into() };
        let request = RUpdateRequest {
            source: "subset".to_owned(),
            input: lines.map_or(Input::Keep, |text| Input::Replace(vec![file(text)])),
            snapshot: Some(day.parse().expect("a snapshot")),
            include: None,
            suggests: false,
            allow_missing: false,
            commit,
            comment: String::new(),
        };
        let Backend { repositories, state, .. } = &self.backend;
        curated::update(repositories, state, request, &actor()).await
    }

    /// The packages of a snapshot of a repository as one line: `name version, …`.
    async fn listed(&self, repo: &str, snapshot: &str) -> String {
        let repositories = &self.backend.repositories;
        let point = serve::point::resolve(repositories, repo, snapshot.parse().expect("a snapshot"));
        let point = point.await.expect("a point");
        let request = DocumentRequest::new(point, RDocument::Packages(IndexFormat::Text));
        let document = serve::index::document(repositories, &request).await.expect("a document");
        let text = String::from_utf8(document.bytes.to_vec()).expect("text");
        let values = |tag: &'static str| text.lines().filter_map(move |line| line.strip_prefix(tag));
        let packages = values("Package: ").zip(values("Version: "));
        packages.map(|(name, version)| format!("{name} {version}")).collect::<Vec<_>>().join(", ")
    }
}

/// Starts a server with the packages `app`, which imports `lib`, and `lib` of CRAN on the first day.
async fn start(engine: db::Engine, folder: &std::path::Path) -> Server {
    let mirror = MirrorDir::new(folder);
    let settings = tokio::task::spawn_blocking(move || db::settings(engine)).await.expect("no panic");
    let gcfg = format!("{settings}\n[CRAN]\nURL = {}", mirror.url());
    let backend = Backend::with_stores(StoresConfig { gcfg }).await;
    let mut server = Server { backend, mirror };
    let app = package("app", "1.0").field("Imports: lib");
    server.mirror.publish(&app, "2024-02-01");
    server.mirror.publish(&package("lib", "1.0"), "2024-02-01");
    server.sync().await;
    server
}

async fn old_plan(engine: db::Engine) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = start(engine, folder.path()).await;
    let (source, kind) = ("subset".parse().expect("a name"), SourceKind::CuratedCran);
    edit::source::create(&server.backend.state, &source, kind, OnExisting::Fail).await.expect("a source");
    let day = "2024-03-01";
    server.request(Some("app\n"), day, false).await.expect("a plan");
    server.mirror.publish(&package("lib", "2.0"), "2024-03-01");
    server.sync().await;
    for next in ["2024-03-02", "2024-03-03"] {
        let refused =
            server.request(Some("app\n"), day, true).await.expect_err("the plan is binding").to_string();
        assert!(refused.contains("changed since the plan: lib is 2.0, and was 1.0 in the plan"), "{refused}");
        server.backend.advance_to_noon(next);
    }
    let update = server.request(Some("app\n"), day, true).await.expect("an update");
    let notice = "the commit differs from its plan, which was not binding because it is older than 24 hours (it is of \
                  2024-03-01T12:00:00Z): lib is 2.0, and was 1.0 in the plan";
    assert_eq!((update.notices, update.transaction.is_some()), (vec![notice.to_owned()], true));
    server.request(Some("lib\n"), day, false).await.expect("a plan");
    server.backend.advance_to_noon("2024-03-05");
    let update = server.request(Some("lib\n"), day, true).await.expect("an update");
    assert_eq!(update.notices, Vec::<String>::new(), "the commit does not differ from the old plan");
}

async fn scenario(engine: db::Engine) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = start(engine, folder.path()).await;
    for (name, kind) in [("subset", SourceKind::CuratedCran), ("pin", SourceKind::CranSnapshot)] {
        let source = name.parse().expect("a name");
        edit::source::create(&server.backend.state, &source, kind, OnExisting::Fail).await.expect("a source");
    }
    server.backend.create_repository("prod", &["subset"]).await;
    server.backend.create_repository("pinned", &["pin"]).await;
    let mut steps = Vec::new();
    let mut step = async |server: &Server, lines: Option<&str>, day: &str, expected: &'static str| {
        let transaction = server.update(lines, day).await.expect("no problems").expect("a change");
        steps.push((transaction, expected));
    };

    step(&server, Some("app\n"), "2024-03-01", "app 1.0, lib 1.0").await;
    server.backend.advance_to_noon("2024-03-02");
    server.mirror.publish(&package("lib", "2.0"), "2024-03-01");
    server.sync().await;
    step(&server, Some("app\nlib\n"), "2024-03-02", "app 1.0, lib 2.0").await;
    server.backend.advance_to_noon("2024-03-03");
    step(&server, None, "2024-03-01", "app 1.0, lib 1.0").await;
    assert_eq!(server.update(None, "2024-03-01").await, Ok(None), "nothing changed");
    server.backend.advance_to_noon("2024-03-04");
    server.mirror.archive("app", "2024-03-03");
    server.mirror.publish(&package("other", "1.0"), "2024-03-03");
    server.sync().await;
    assert_eq!(
        server.update(Some("app\n"), "2024-03-04").await,
        Err(vec![
            "p.txt, line 1: 'app' is not listed, only archived: 1.0 at 2024-03-04; change the line, or choose another --snapshot"
                .to_owned()
        ])
    );
    step(&server, Some("app ==1.0\nother\n"), "2024-03-04", "app 1.0, lib 2.0, other 1.0").await;
    let Backend { repositories, state, .. } = &server.backend;
    let removed =
        curated::remove(repositories, state, "subset", "other", RemoveScope::All, "", &actor()).await;
    assert_eq!(removed.expect("removed"), ["1.0"]);
    let day = "2024-03-02".parse().expect("a day");
    let pin = snapshot::SnapshotChange { source: "pin", snapshot: day, include: None };
    let pinned = snapshot::set(repositories, state, pin, true, "", &actor()).await;
    assert!(pinned.expect("a snapshot").transaction.is_some());

    let Server { backend, mirror } = server;
    let server = Server { backend: backend.restart().await, mirror };
    let newest = "app 1.0, lib 2.0";
    for (transaction, expected) in steps {
        assert_eq!(server.listed("prod", &transaction).await, expected, "transaction {transaction}");
    }
    for (snapshot, expected) in [
        ("2024-03-01", "app 1.0, lib 1.0"),
        ("2024-03-02", "app 1.0, lib 2.0"),
        ("2024-03-03", "app 1.0, lib 1.0"),
        ("latest", newest),
    ] {
        assert_eq!(server.listed("prod", snapshot).await, expected, "{snapshot}");
    }
    assert_eq!(server.listed("pinned", "latest").await, newest);
    let violations = server.backend.state.db.read(invariants::violations).await.expect("read");
    assert_eq!(violations, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_and_days_keep_their_packages_on_sqlite() {
    scenario(db::Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_and_days_keep_their_packages_on_postgres() {
    scenario(db::Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_differs_from_a_plan_of_more_than_a_day_ago_states_the_difference_on_sqlite() {
    old_plan(db::Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_differs_from_a_plan_of_more_than_a_day_ago_states_the_difference_on_postgres() {
    old_plan(db::Engine::Postgres).await;
}
