//! The cost of an add, counted as statements sent and rows read, in a small source and in a large one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::edit::uploads::PendingWrite;
use base::config::Config;
use base::model::digest::Md5;
use base::model::kind::SourceKind;
use store::db::{Db, Row, Value, WriteError};
use store::storage::StorageError;

/// Connection that counts statements and rows.
struct CountingConn<'a> {
    inner: &'a mut dyn Conn,
    cost: &'a Cost,
}

#[derive(Default)]
struct Cost {
    statements: AtomicU64,
    rows: AtomicU64,
    /// Whether lives were inserted, the last rows before a publish.
    has_lives: AtomicBool,
}

impl Cost {
    fn count(&self, statements: usize, rows: usize) {
        self.statements.fetch_add(statements as u64, Ordering::Relaxed);
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// Fails for a statement that scans a whole table: its cost grows with the table.
    fn check_plan(&self, inner: &mut dyn Conn, sql: &'static str, params: &[Value]) -> Result<(), DbError> {
        let explain: &'static str = Box::leak(format!("EXPLAIN QUERY PLAN {sql}").into_boxed_str());
        inner.each(explain, params, &mut |mut row| {
            let step = row.text(3)?;
            // A search by the language alone counts as a scan, because all packages have the same language.
            let is_scan = step.contains("SCAN ") || step.ends_with("(language=?)");
            assert!(!is_scan || step.contains("CONSTANT ROW"), "{sql}: {step}");
            Ok(())
        })
    }

    fn take(&self) -> (u64, u64) {
        self.has_lives.store(false, Ordering::Relaxed);
        (self.statements.swap(0, Ordering::Relaxed), self.rows.swap(0, Ordering::Relaxed))
    }
}

impl Conn for CountingConn<'_> {
    fn each(
        &mut self,
        sql: &'static str,
        params: &[Value],
        row: &mut dyn FnMut(Row) -> Result<(), DbError>,
    ) -> Result<(), DbError> {
        self.cost.check_plan(self.inner, sql, params)?;
        let mut rows = 0;
        let result = self.inner.each(sql, params, &mut |r| {
            rows += 1;
            row(r)
        });
        self.cost.count(1, rows);
        result
    }

    fn query_many(&mut self, sql: &'static str, params: &[Vec<Value>]) -> Result<Vec<Vec<Row>>, DbError> {
        if let Some(first) = params.first() {
            self.cost.check_plan(self.inner, sql, first)?;
        }
        let result = self.inner.query_many(sql, params)?;
        self.cost.count(params.len(), result.iter().map(Vec::len).sum());
        Ok(result)
    }

    fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, DbError> {
        self.cost.check_plan(self.inner, sql, params)?;
        let affected = self.inner.execute(sql, params)?;
        self.cost.count(1, affected as usize);
        self.cost.has_lives.fetch_or(sql.starts_with("INSERT INTO life"), Ordering::Relaxed);
        Ok(affected)
    }

    fn execute_many(&mut self, sql: &'static str, params: &[Vec<Value>]) -> Result<u64, DbError> {
        if let Some(first) = params.first() {
            self.cost.check_plan(self.inner, sql, first)?;
        }
        let affected = self.inner.execute_many(sql, params)?;
        self.cost.count(params.len(), affected as usize);
        self.cost.has_lives.fetch_or(sql.starts_with("INSERT INTO life"), Ordering::Relaxed);
        Ok(affected)
    }

    fn batch_insert(
        &mut self,
        table: &'static str,
        columns: &'static [&'static str],
        rows: &[Vec<Value>],
    ) -> Result<(), DbError> {
        self.cost.count(1, rows.len());
        self.cost.has_lives.fetch_or(table == "life", Ordering::Relaxed);
        self.inner.batch_insert(table, columns, rows)
    }

    fn host_time(&mut self) -> Result<Option<Timestamp>, DbError> {
        self.inner.host_time()
    }
}

fn staged(package: &str, version: &str, seed: u64) -> StagedUpload {
    let mut sha256 = Sha256([0; 32]);
    sha256.0[..8].copy_from_slice(&seed.to_be_bytes());
    let upload = Upload {
        id: seed,
        file: String::new(),
        package: package.to_owned(),
        version: version.to_owned(),
        original: sha256,
        sha256,
        size: 1000,
        notices: Vec::new(),
    };
    let stanza = format!("Package: {package}\nVersion: {version}\n").into_bytes();
    let (description, md5, received_at) = (stanza.clone(), Md5([0; 16]), Timestamp(0));
    StagedUpload {
        upload,
        stanza,
        description,
        md5,
        binary_target: None,
        readme: None,
        project_file: None,
        pending_writes: Vec::new(),
        received_at,
    }
}

struct CostFixture {
    db: Db,
    handle: runtime::catalog::CatalogHandle,
    cost: Arc<Cost>,
    _folder: tempfile::TempDir,
}

impl CostFixture {
    async fn new() -> CostFixture {
        let folder = tempfile::tempdir().expect("a folder");
        let config = Config::example(folder.path(), "").expect("a configuration").config;
        let db = tokio::task::spawn_blocking(move || Db::open(&config))
            .await
            .expect("no panic")
            .expect("a database");
        let creation = db.write(|c| {
            let name = "team".parse().expect("a name");
            let source = db::source::create(c, &name, SourceKind::Local, Timestamp(0))?;
            db::tree::create(c, source, "src/contrib", db::tree::Role::Source, db::tree::Axis::Step)?;
            db::clock::bump_catalog(c, db::clock::Change::Source(source))
        });
        creation.await.expect("a source");
        let handle = runtime::catalog::CatalogHandle::open(&db).await.expect("a catalog");
        CostFixture { db, handle, cost: Arc::default(), _folder: folder }
    }

    /// Writes the rows of uploads in one transaction.
    async fn write(&self, uploads: Vec<StagedUpload>) -> Result<AddResult, WriteError<RepoError>> {
        let catalog = self.handle.get();
        let source = catalog.source("team").expect("the source");
        let source = EditedSource::new(&catalog, source).expect("a tree");
        let actor = Actor("test".to_owned());
        let publish = publish(TxKind::Add, Timestamp(1), &actor);
        let addition = Addition { source, existing: OnExisting::Fail, replaces_versions: false, publish };
        let cost = self.cost.clone();
        let write = self.db.write_unless_refused(move |c| {
            addition.write(&mut CountingConn { inner: c, cost: &cost }, &uploads, |_, result| Ok(result))
        });
        write.await
    }

    /// Adds uploads; returns the number of statements and rows.
    async fn add(&self, uploads: Vec<StagedUpload>) -> (u64, u64) {
        let catalog = self.handle.get();
        self.write(uploads).await.expect("added");
        let (cost, last_transaction) =
            (self.cost.clone(), catalog.transactions.last().map_or(TxId(0), |(id, _)| *id));
        // The part of a catalog refresh that grows with the history.
        let instants = self.db.read(move |c| {
            let mut c = CountingConn { inner: c, cost: &cost };
            db::tree::steps_after(&mut c, last_transaction)?;
            db::tx::instants(&mut c, last_transaction)
        });
        assert_eq!(instants.await.expect("a read").len(), 1);
        self.handle.refresh(&self.db).await.expect("refreshed");
        self.cost.take()
    }
}

#[tokio::test]
async fn an_add_costs_the_same_in_a_large_source() {
    let fixture = CostFixture::new().await;
    fixture.add(vec![staged("first", "1.0", 1)]).await;
    fixture.add(vec![staged("second", "1.0", 2)]).await;
    let small_source_costs =
        (fixture.add(vec![staged("new", "1.0", 3)]).await, fixture.add(vec![staged("new", "1.1", 4)]).await);
    let large_source_uploads = (0..3000).map(|i| staged(&format!("pkg{i}"), "1.0", 100 + i)).collect();
    fixture.add(large_source_uploads).await;
    let large_source_costs = (
        fixture.add(vec![staged("other", "1.0", 5)]).await,
        fixture.add(vec![staged("other", "1.1", 6)]).await,
    );
    assert_eq!(
        small_source_costs, large_source_costs,
        "statements and rows of a new package, and of a new version"
    );
    assert!(small_source_costs.1.0 <= 31, "{} statements", small_source_costs.1.0);
}

#[tokio::test]
async fn rows_are_written_while_the_object_becomes_durable() {
    let fixture = CostFixture::new().await;
    fixture.add(vec![staged("first", "1.0", 1)]).await;
    let (pending_write, guard) = PendingWrite::begin();
    let mut upload = staged("third", "1.0", 3);
    upload.pending_writes.push(pending_write);
    let cost = fixture.cost.clone();
    let writer = std::thread::spawn(move || {
        let start = Instant::now();
        while !cost.has_lives.load(Ordering::Relaxed) {
            if start.elapsed() > Duration::from_secs(60) {
                return guard.complete(Err(StorageError::Other("the rows wait for the object".to_owned())));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        guard.complete(Ok(()));
    });
    fixture.add(vec![upload]).await;
    writer.join().expect("no panic");
}

#[tokio::test]
async fn without_the_object_no_row_is_left() {
    let fixture = CostFixture::new().await;
    fixture.add(vec![staged("first", "1.0", 1)]).await;
    let (pending_write, guard) = PendingWrite::begin();
    guard.complete(Err(StorageError::Full("packages".to_owned())));
    let mut upload = staged("second", "1.0", 2);
    upload.pending_writes.push(pending_write);
    let error = fixture.write(vec![upload]).await.expect_err("no space");
    assert!(matches!(error, WriteError::Refused(RepoError::Storage(StorageError::Full(_)))));
    let source = fixture.handle.get().source("team").expect("the source").id;
    let package = fixture.db.read(move |c| db::package::by_name(c, source, "second")).await;
    assert_eq!(package.expect("a read"), None);
}
