//! A long import during an administrator's `add`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rstudio_pm::db::{clock, import, source, tree};
use rstudio_pm::model::change::{Change, LifeState};
use rstudio_pm::model::ids::TreeId;
use rstudio_pm::model::kind::SourceKind;

use super::samples::{CRAN, NEW_YEAR, change, introduce, publish_of, release, target};
use crate::support::db::TestDb;

both! {
    an_add_does_not_wait_for_a_long_import
}

/// Changes per chunk.
const CHUNK: usize = 2000;

fn an_add_does_not_wait_for_a_long_import(db: &mut TestDb) {
    let (import, slowest) = import_beside_adds(db, 12_000, 1_725);
    assert!(slowest * 2 < import, "an add waited {slowest:?} during an import of {import:?}");
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

/// Imports, and adds packages meanwhile; returns the duration of the import and of the longest add.
fn import_beside_adds(db: &TestDb, releases: usize, packages: usize) -> (Duration, Duration) {
    let local: TreeId = db.write(|c| {
        let id = source::create(c, &"team".parse().expect("a name"), SourceKind::Local, NEW_YEAR)?;
        tree::create(c, id, "src/contrib", tree::Role::Source, tree::Axis::Step)
    });
    let done = AtomicBool::new(false);
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
        waits.into_iter().max().unwrap_or_default()
    };
    db.block(async { tokio::join!(import, add_repeatedly) })
}
