//! A long import during an administrator's `add`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rstudio_pm::db::{clock, import, life, source, tree};
use rstudio_pm::model::change::{Change, LifeState};
use rstudio_pm::model::ids::TreeId;
use rstudio_pm::model::source::SourceKind;

use super::samples::{CRAN, NEW_YEAR, change, introduce, publish_of, release, target};
use crate::support::db::{Engine, TestDb};

both! {
    an_add_does_not_wait_for_a_long_import
}

/// Releases and packages of a full CRAN.
const FULL: (usize, usize) = (160_000, 23_000);
/// Changes per chunk.
const CHUNK: usize = 2000;

fn an_add_does_not_wait_for_a_long_import(db: &mut TestDb) {
    let (import, slowest) = import_beside_adds(db, 12_000, 1_725, true);
    assert!(slowest * 2 < import, "an add waited {slowest:?} during an import of {import:?}");
}

#[test]
#[ignore = "full size: run it with --release and --nocapture to see the numbers"]
fn full_size_import() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        for adds in [false, true] {
            let db = TestDb::new(engine);
            import_beside_adds(&db, FULL.0, FULL.1, adds);
            listing(&db);
        }
    }
}

/// One chunk of a first sync: the newest release of each package listed, the others archived.
fn chunk(from: usize, releases: usize, packages: usize) -> Vec<Change> {
    const FILLER: &str = "Depends: R (>= 3.5.0)\nImports: methods, stats, utils, graphics, Rcpp (>= 1.0.0)\n\
        Suggests: testthat, knitr, rmarkdown, covr\nLicense: GPL (>= 2)\n\
        MD5sum: 0123456789abcdef0123456789abcdef\nNeedsCompilation: no\n";
    let change = |n| {
        let (package, version) = (n % packages, n / packages);
        let mut new = release(&format!("package{package}"), &format!("1.{version}.0"));
        let listed = version == 0;
        let stanza = new.stanza.take().unwrap_or_default();
        new.stanza = listed.then(|| [&stanza, FILLER.as_bytes(), FILLER.as_bytes()].concat());
        let state = if listed { LifeState::Listed } else { LifeState::Archived };
        Change::Introduce { release: new, state, path: String::new() }
    };
    (from..releases.min(from + CHUNK)).map(change).collect()
}

/// Imports, and adds packages meanwhile if `adds` is true; returns the duration of the import and of the longest add.
fn import_beside_adds(db: &TestDb, releases: usize, packages: usize, adds: bool) -> (Duration, Duration) {
    let local: TreeId = db.write(|c| {
        let id = source::create(c, &"team".parse().expect("a name"), SourceKind::Local, NEW_YEAR)?;
        tree::create(c, id, "src/contrib", tree::Role::Source, tree::Axis::Step)
    });
    let done = AtomicBool::new(!adds);
    let import = async {
        let start = Instant::now();
        let pending = db.db.write(|c| tree::begin(c, CRAN, 1)).await.expect("no other job");
        for from in (0..releases).step_by(CHUNK) {
            let chunk = chunk(from, releases, packages);
            let apply = db.db.bulk(move |c| import::apply(c, &target(CRAN, pending), &chunk));
            apply.await.unwrap_or_else(|e| panic!("{e} {e:?}"));
        }
        db.db.analyze().await.unwrap_or_else(|e| panic!("{e} {e:?}"));
        db.db.write(|c| clock::publish(c, &publish_of(&[CRAN], NEW_YEAR))).await.expect("a publish");
        done.store(true, Ordering::Relaxed);
        start.elapsed()
    };
    let add_repeatedly = async {
        let mut waits = Vec::new();
        while !done.load(Ordering::Relaxed) {
            let (start, name) = (Instant::now(), format!("mine{}", waits.len()));
            let new = [introduce(&name, "1.0", LifeState::Listed)];
            db.db
                .write(move |c| change(c, local, NEW_YEAR, &new))
                .await
                .unwrap_or_else(|e| panic!("{e} {e:?}"));
            waits.push(start.elapsed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        waits.sort();
        waits
    };
    let (took, waits) = db.block(async { tokio::join!(import, add_repeatedly) });
    let at =
        |percent: usize| waits.get(waits.len() * percent / 100).or(waits.last()).copied().unwrap_or_default();
    println!(
        "{:?}: {releases} releases in {took:?}; {} adds, median {:?}, 99 % {:?}, longest {:?}; peak memory {}",
        db.engine,
        waits.len(),
        at(50),
        at(99),
        at(100),
        resource_usage(),
    );
    (took, waits.last().copied().unwrap_or_default())
}

/// Prints the durations of queries on a full database.
fn listing(db: &TestDb) {
    println!("{:?}: before five listings {}", db.engine, resource_usage());
    for round in 0..5 {
        let start = Instant::now();
        let (rows, inside) = db.read(|c| {
            let start = Instant::now();
            let head = tree::get(c, CRAN)?.and_then(|t| t.head).expect("it was published");
            Ok((life::listed(c, CRAN, head)?.len(), start.elapsed()))
        });
        println!(
            "{:?}: listed {rows} rows, round {round}: {inside:?} ({:?} with the call)",
            db.engine,
            start.elapsed()
        );
    }
    println!("{:?}: after five listings {}", db.engine, resource_usage());
    let start = Instant::now();
    let rows = db.read(|c| {
        let mut rows = 0;
        let head = tree::get(c, CRAN)?.and_then(|t| t.head).expect("it was published");
        life::current(c, CRAN, head, &mut |_| {
            rows += 1;
            Ok(())
        })?;
        Ok(rows)
    });
    println!(
        "{:?}: current {rows} rows in {:?}; peak memory {}",
        db.engine,
        start.elapsed(),
        resource_usage()
    );
    let start = Instant::now();
    let rows = db.read(|c| {
        let head = tree::get(c, CRAN)?.and_then(|t| t.head).expect("it was published");
        Ok(life::archived_files(c, CRAN, head)?.len())
    });
    println!(
        "{:?}: archived {rows} rows in {:?}; peak memory {}",
        db.engine,
        start.elapsed(),
        resource_usage()
    );
    let start = Instant::now();
    for n in 0..100 {
        let file = db.read(move |c| {
            let head = tree::get(c, CRAN)?.and_then(|t| t.head).expect("it was published");
            let name = format!("package{}", n * 7);
            life::find_file(c, CRAN, head, None, &name, &format!("{name}_1.1.0.tar.gz"))
        });
        assert!(file.is_some());
    }
    println!("{:?}: find_file {:?} each", db.engine, start.elapsed() / 100);
    let pending = db.write(|c| tree::begin(c, CRAN, 1));
    db.block(async {
        for from in (FULL.0..2 * FULL.0).step_by(CHUNK) {
            let chunk = chunk(from, 2 * FULL.0, FULL.1);
            db.db.bulk(move |c| import::apply(c, &target(CRAN, pending), &chunk)).await.expect("a chunk");
        }
    });
    let start = Instant::now();
    db.write(|c| tree::abandon(c, CRAN));
    println!("{:?}: abandon of {} releases {:?}", db.engine, FULL.0, start.elapsed());
}

/// Peak memory and processor time; the latter does not depend on the load of the machine.
fn resource_usage() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let memory = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or("unknown").trim();
    let usage =
        nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).expect("it is known");
    format!("{memory}, processor {} + {} s", usage.user_time(), usage.system_time())
}
