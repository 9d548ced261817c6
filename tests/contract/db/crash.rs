//! A process that is killed in the middle of an import.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use rstudio_pm::config::{Config, Secret};
use rstudio_pm::db::{Db, clock, import, release, tree};
use rstudio_pm::model::change::LifeState;
use rstudio_pm::model::ids::{Seq, SourceId};

use super::samples::{CRAN, NEW_YEAR, change, introduce, publish_of, step_content, target};
use crate::support::db::{Engine, TestDb};

both! {
    an_import_killed_between_chunks_leaves_no_trace_after_it_is_abandoned
}

/// Not a test: the process that is killed. It prints a line after each chunk.
#[test]
#[ignore = "run by the test that kills it"]
fn child() {
    let dir = std::env::var("RSPM_CRASH_DIR").expect("run by the other test");
    let url = std::env::var("RSPM_CRASH_URL").unwrap_or_default();
    let provider = if url.is_empty() { "sqlite" } else { "postgres\n[Postgres]\nURL = postgres://u@h/d" };
    let example = Config::example(dir.as_ref(), &format!("[Database]\nProvider = {provider}\n"));
    let mut config = (*example.unwrap_or_else(|e| panic!("{e}")).config).clone();
    config.postgres.url = Some(Secret(url));
    let db = Db::open(&config).unwrap_or_else(|e| panic!("{e}"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let pending = db.write(|c| tree::begin(c, CRAN, 1)).await.expect("no other job");
        for chunk in 0..10_000 {
            let apply = db.bulk(move |c| {
                let new: Vec<_> =
                    (0..50).map(|n| introduce(&format!("p{chunk}x{n}"), "1", LifeState::Listed)).collect();
                import::apply(c, &target(CRAN, pending), &new)
            });
            apply.await.expect("a chunk");
            println!("chunk");
        }
    });
}

fn an_import_killed_between_chunks_leaves_no_trace_after_it_is_abandoned(db: &mut TestDb) {
    db.write(|c| change(c, CRAN, NEW_YEAR, &[introduce("a", "1.0", LifeState::Listed)]));
    let before = db.read(|c| step_content(c, CRAN, Seq(1)));
    db.db.close();
    let url = match db.engine {
        Engine::Sqlite => String::new(),
        Engine::Postgres => db.config.postgres.url.as_ref().expect("a URL").0.clone(),
    };
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "contract::db::crash::child", "--ignored", "--nocapture"])
        .env("RSPM_CRASH_DIR", db.dir())
        .env("RSPM_CRASH_URL", url)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let chunks = lines.map_while(Result::ok).filter(|l| l.contains("chunk")).take(5).count();
    child.kill().expect("it runs");
    child.wait().expect("it ended");
    assert_eq!(chunks, 5, "the child imported");

    db.reopen();
    assert_eq!(db.read(|c| step_content(c, CRAN, Seq(1))), before, "before the import is abandoned");
    let count = |db: &TestDb, sql| db.read(move |c| c.query(sql, &[]))[0].int(0).expect("a number");
    assert!(count(db, "SELECT count(*) FROM life") > 200, "chunks are durable");
    db.write(|c| tree::abandon(c, CRAN));
    while db.write(|c| release::sweep(c, SourceId::CRAN, 1000)) > 0 {}
    for sql in [
        "SELECT count(*) FROM life",
        "SELECT count(*) FROM release",
        "SELECT count(*) FROM file",
        "SELECT count(*) FROM record",
    ] {
        assert_eq!(count(db, sql), 1, "{sql}");
    }
    let published = db.write(|c| {
        tree::begin(c, CRAN, 2)?;
        clock::publish(c, &publish_of(&[CRAN], NEW_YEAR))
    });
    assert_eq!(published.tx.0, 2, "the killed import used no transaction id");
    assert_eq!(db.read(|c| step_content(c, CRAN, Seq(1))), before);
}
