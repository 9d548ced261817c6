//! An addition does the same work with and without a log, whose entries are written afterwards, by other transactions.

use std::path::Path;
use std::process::Command;

use rstudio_pm::edit::{AddStatus, OnExisting};
use rstudio_pm::history;

use crate::support::backend::{Backend, StoresConfig};
use crate::support::history::begin;
use crate::support::postgres::DedicatedServer;
use crate::support::rerun;
use crate::support::tarball::Tarball;

/// Adds packages to a new server, with or without a log, and calls `mark` before and after the last two additions, which its
/// connections are prepared for; afterwards writes the log.
fn add(gcfg: &str, has_log: bool, mark: impl Fn(&Path)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let stores = StoresConfig { gcfg: gcfg.to_owned() };
    let (backend, history) = runtime.block_on(async {
        let backend = Backend::with_stores(stores).await;
        backend.create_local_source("team").await;
        backend.create_repository("prod", &["team"]).await;
        let history = if has_log { Some(begin(&backend, "example.org/log").await) } else { None };
        if let Some(history) = &history {
            history::write_all(history).await.expect("written");
        }
        backend.add("team", "alpha", "1.0").await;
        backend.add("team", "alpha", "1.1").await;
        (backend, history)
    });
    mark(backend.folder());
    runtime.block_on(async {
        backend.add("team", "beta", "1.0").await;
        let next = Tarball::new("beta", "1.1").with("README.md", "# Beta\n");
        let added = backend.try_add("team", &[next], OnExisting::Fail).await;
        assert_eq!(added.expect("a package"), [AddStatus::New]);
    });
    mark(backend.folder());
    if let Some(history) = history {
        runtime.block_on(history::write_all(&history)).expect("written");
    }
}

#[test]
fn an_addition_has_the_same_statements_with_and_without_a_log() {
    let database = DedicatedServer::start();
    database.log_statements();
    let gcfg = format!("[Database]\nProvider = postgres\n[Postgres]\nURL = \"{}\"\n", database.url());
    let statements = [false, true].map(|has_log| {
        database.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
        let marks = std::cell::RefCell::new(Vec::new());
        add(&gcfg, has_log, |_| marks.borrow_mut().push(database.logged_statements().len()));
        let marks = marks.into_inner();
        let mut during = database.logged_statements().split_off(marks[0]);
        let after = during.split_off(marks[1] - marks[0]);
        let writes_log =
            |statements: &[String]| statements.iter().any(|sql| sql.starts_with("UPDATE tlog SET "));
        assert_eq!((writes_log(&during), writes_log(&after)), (false, has_log), "{during:#?}{after:#?}");
        during
    });
    let commits = statements[0].iter().filter(|sql| *sql == "COMMIT").count();
    println!("{} statements, {commits} commits:\n{}", statements[0].len(), statements[0].join("\n"));
    assert!(statements[0].iter().any(|sql| sql.starts_with("INSERT INTO tx ")), "{:#?}", statements[0]);
    assert_eq!(statements[1], statements[0]);
}

/// A file that does not exist: an attempt to rename it is a mark in the trace.
const MARK: &str = "no-such-file";

/// The calls before the first mark, and after each: the name, and the path below the folder of the server, or the folder of a
/// temporary file.
fn calls(trace: &str) -> Vec<Vec<String>> {
    let mut sections = vec![Vec::new()];
    for line in trace.lines().filter(|line| !line.contains(" resumed>")) {
        if line.contains(MARK) {
            sections.push(Vec::new());
        } else if let Some((call, arguments)) = line.split_once('(') {
            let name = call.rsplit(' ').next().unwrap_or_default();
            let path = arguments.rsplit("/data/").next().unwrap_or_default();
            let path = path.split(['>', '"']).next().unwrap_or_default();
            let path = path.split_once("/spool-").map_or(path, |(folder, _)| folder);
            sections.last_mut().expect("never empty").push(format!("{name} {path}"));
        }
    }
    // Files are stored at the same time.
    sections.iter_mut().for_each(|calls| calls.sort());
    sections
}

#[test]
fn an_addition_syncs_the_same_files_with_and_without_a_log() {
    let trace = tempfile::NamedTempFile::new().expect("a file");
    let is_first = rerun::with_command(|command| {
        *command = Command::new("strace");
        command.args([
            "-f",
            "-qq",
            "-y",
            "-e",
            "trace=fsync,fdatasync,syncfs,rename,renameat,renameat2,link",
        ]);
        command.arg("-o").arg(trace.path()).arg(std::env::current_exe().expect("known"));
    });
    if !is_first {
        let mark = |folder: &Path| {
            let path = folder.join(MARK);
            std::fs::rename(&path, &path).expect_err("it does not exist");
        };
        add("", false, mark);
        return add("", true, mark);
    }
    let sections = calls(&std::fs::read_to_string(trace.path()).expect("strace writes it"));
    let [_, without, _, with, after] = &sections[..] else { panic!("{sections:#?}") };
    println!("{} calls:\n{}", without.len(), without.join("\n"));
    let commits =
        |calls: &[String]| calls.iter().filter(|call| *call == "fdatasync db/rstudio-pm.db-wal").count();
    assert!(commits(without) > 0 && commits(after) > 0, "{sections:#?}");
    assert_eq!(with, without);
}
