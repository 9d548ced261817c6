//! The log after a restore, a migration and an upgrade, of a copy of a server, and its own copies in a directory and a bucket.

use std::process::Command;
use std::sync::Arc;

use rstudio_pm::backup::dump::reader::DumpReader;
use rstudio_pm::backup::dump::{DigestKey, Head};
use rstudio_pm::backup::migrate::{dump, restore};
use rstudio_pm::config::{self, Config, Provider};
use rstudio_pm::db::migrate::MIGRATIONS;
use rstudio_pm::db::schema::Schema;
use rstudio_pm::db::transfer::destination::{Destination, ExistingFiles};
use rstudio_pm::db::transfer::source::TransferSource;

use super::machines::{self, back_up, copy_folder, database, folder};
use super::servers::{PATHS, migrate};
use crate::support::fixtures::until;
use crate::support::history::{self, entries_of, value, witness_for_line, witness_line};
use crate::support::process::{ProcessOutput, run_to_end};
use crate::support::s3;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

const ORIGIN: &str = "pm1.example.org/__log__";

fn check_restored_server(from: &str, to: &str) {
    let witness = history::start("pm2.example.org/__log__", "");
    let server = history::start(ORIGIN, &format!("{}[History]\nExportPath = {{dir}}/copy", database(from)));
    server.signed();
    witness.configure(&witness_for_line(&server));
    let line = witness_line("office", &witness);
    server.configure(&line);
    server.add("prod", &Tarball::new("alpha", "1.0"));
    server.rspm_stdout("create repo --name=stable");
    server.rspm_stdout("edit repo --name=stable --changes=promotion");
    server.rspm_stdout("promote --from=prod --to=stable");
    server.cosigned();
    back_up(&server);
    for version in ["1.1", "1.2"] {
        server.add("prod", &Tarball::new("alpha", version));
    }
    let lost = server.json("promote --from=prod --to=stable");
    let lost = format!("/stable/{}/src/contrib/PACKAGES.proof", lost["promotion"]["transaction"]);
    let entries = server.cosigned();
    let copy = server.dir().join("copy");
    until("the copy is complete", || entries_of(&copy).len() as u64 == entries);

    // Another machine with the same configuration, but without the copy. Both run.
    let mut restored = history::builder().gcfg(&database(to)).gcfg(&line).prepare();
    restored.json(&format!("backup restore --from={}", folder(&server).display()));
    restored.launch();
    let reason = restored.paused();
    assert!(reason.contains("restored from a backup") || reason.contains("office cosigned"), "{reason}");
    assert_eq!(restored.log_alerts(), ["paused"]);
    // What is published waits, and is served.
    restored.add("prod", &Tarball::new("beta", "1.0"));
    assert_eq!(restored.get("/prod/latest/src/contrib/beta_1.0.tar.gz").status, 200);
    let paused = restored.history();
    assert!(paused["entries"].as_u64() < Some(entries) && paused["waiting"] != 0, "{paused}");
    for (command, reason) in [
        ("history recover", "the witness office cosigned"),
        ("history recover --from=/nonexistent/copy", "No such file or directory"),
        ("history rotate-key", "the log is paused"),
    ] {
        let refusal = restored.refused(command);
        assert!(refusal.contains(reason), "{command}: {refusal}");
    }
    assert!(server.refused("history recover").contains("not paused"));
    assert_eq!(server.cosigned(), entries, "the witness serves the first one");

    // The copy, on this machine.
    let moved = restored.dir().join("moved");
    copy_folder(&copy, &moved);
    let changed = moved.join("tile/entries").join(format!("000.p/{entries}"));
    let good = std::fs::read(&changed).expect("a bundle");
    let mut bad = good.clone();
    *bad.last_mut().expect("bytes") = b'x';
    std::fs::write(&changed, &bad).expect("written");
    let from = format!("history recover --from={}", moved.display());
    assert!(restored.refused(&from).contains("have the root"));
    std::fs::write(&changed, &good).expect("written");
    assert_eq!(restored.json(&from)["entries"], 6);
    let size = restored.cosigned();
    assert!(size > entries + 1, "{size}");
    restored.rspm_stdout(&format!("history export --to={}", restored.dir().join("export").display()));
    let all = entries_of(&restored.dir().join("export"));
    assert_eq!(all[..entries as usize], entries_of(&moved)[..], "nothing is lost");
    let restore = &all[entries as usize];
    assert!(restore.starts_with("rspm-log/1 restore\n"), "{restore}");
    assert_ne!(value(restore, "old-history"), value(restore, "history"));
    let next = &all[entries as usize + 1];
    assert_eq!(value(next, "history"), value(restore, "history"));
    let [from, to, transaction]: [i64; 3] =
        [value(restore, "from"), value(restore, "to"), value(next, "transaction")]
            .map(|n| n.parse().expect("a number"));
    assert_eq!((from - to, transaction - to), (3, 1));
    assert_eq!(server.get(&lost).status, 200);
    for version in ["1.1", "1.2"] {
        restored.add("prod", &Tarball::new("beta", version));
    }
    restored.cosigned();
    assert_eq!(restored.get(&lost.replace(".proof", "")).status, 200, "its number is given again");
    assert_eq!(restored.get(&lost).status, 404, "to another state");

    // Now the first one is the copy that the witness refuses.
    server.add("prod", &Tarball::new("alpha", "2.0"));
    let reason = server.paused();
    assert!(reason.contains("the witness office"), "{reason}");
    let kept = witness.get(&format!(
        "/__log__/witness/{}/checkpoint",
        hex::encode(<sha2::Sha256 as sha2::Digest>::digest(ORIGIN))
    ));
    assert_eq!(kept.text(), restored.history()["checkpoint"].as_str().expect("a text"));
}

#[test]
fn a_restored_server_is_paused_until_its_log_is_complete() {
    check_restored_server("sqlite", "sqlite");
}

#[test]
fn a_server_that_is_restored_to_postgresql_is_paused_until_its_log_is_complete() {
    check_restored_server("postgres", "postgres");
}

#[test]
fn a_log_that_is_lost_is_followed_by_another_one() {
    let server = history::start(ORIGIN, "");
    server.add("prod", &Tarball::new("alpha", "1.0"));
    server.signed();
    back_up(&server);
    let mut restored = history::builder().prepare();
    restored.json(&format!("backup restore --from={}", folder(&server).display()));
    restored.launch();
    restored.paused();
    assert!(restored.refused("history recover").contains("rspm history init --new-log"));
    let old = restored.history();
    let new = restored.json("history init --new-log");
    assert_eq!(new["origin"], format!("{ORIGIN}/2"));
    assert_ne!(new["key"], old["key"]);
    let size = restored.signed();
    restored.configure("[History]\nPublic = true\n");
    let first = restored.get("/__log__/checkpoint").text();
    assert_eq!(first, old["checkpoint"].as_str().expect("a text"), "the old log stays");
    let second = restored.get("/__log__/2/checkpoint").text();
    assert!(second.starts_with(&format!("{ORIGIN}/2\n{size}\n")), "{second}");
    let bundle = restored.get(&format!("/__log__/2/tile/entries/000.p/{size}")).text();
    let [_, old_size, root] = first.lines().take(3).collect::<Vec<_>>()[..] else { panic!("{first}") };
    let root = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, root).expect("base64");
    assert!(bundle.contains(&format!("\nprevious {ORIGIN} {old_size} {}\n", hex::encode(root))), "{bundle}");
    for path in ["/__log__/1/checkpoint", "/__log__/3/checkpoint", "/__log__/02/checkpoint"] {
        assert_eq!(restored.get(path).status, 404, "{path}");
    }
    let export = restored.dir().join("export");
    restored.rspm_stdout(&format!("history export --to={}", export.display()));
    assert_eq!(entries_of(&export.join("2")).len() as u64, size);
    assert_eq!(entries_of(&export).len() as u64, old["signed"].as_u64().expect("a number"));
}

#[test]
fn a_copy_of_another_log_pauses_the_log_and_is_not_overwritten() {
    let mut server = history::start(ORIGIN, "[History]\nExportPath = {dir}/copy");
    server.signed();
    let copy = server.dir().join("copy");
    until("there is a copy", || !entries_of(&copy).is_empty());
    server.stop();
    let (data, saved) = (server.dir().join("data/db"), server.dir().join("saved"));
    copy_folder(&data, &saved);
    server.launch();
    server.add("prod", &Tarball::new("alpha", "1.0"));
    let entries = server.signed();
    until("the copy is complete", || entries_of(&copy).len() as u64 == entries);
    server.stop();
    let before = std::fs::read(copy.join("checkpoint")).expect("a checkpoint");
    std::fs::remove_dir_all(&data).expect("removed");
    std::fs::rename(&saved, &data).expect("renamed");
    server.launch();
    let reason = server.paused();
    assert!(
        reason.contains(&format!("has {entries} entries")) && reason.contains("copy/checkpoint"),
        "{reason}"
    );
    server.add("prod", &Tarball::new("beta", "1.0"));
    assert_eq!(std::fs::read(copy.join("checkpoint")).expect("a checkpoint"), before);
    // The default of --from.
    assert_eq!(server.json("history recover")["entries"], 2);
    let more = server.signed();
    until("the copy is complete", || entries_of(&copy).len() as u64 == more);
    assert!(entries_of(&copy)[entries as usize].starts_with("rspm-log/1 rewind\n"));
}

#[test]
fn nothing_is_signed_while_the_copy_cannot_be_written() {
    let mut server = history::start(ORIGIN, "[History]\nExportPath = /proc/nowhere/copy");
    until("the failure is stated", || {
        server.history()["failure"].as_str().is_some_and(|failure| failure.contains("/proc/nowhere"))
    });
    assert_eq!(server.history()["signed"], 0);
    assert_eq!(server.log_alerts(), ["failed"]);
    let copy = server.dir().join("copy");
    server.configure(&format!("[History]\nExportPath = {}\n", copy.display()));
    server.restart();
    let entries = server.signed();
    until("the copy is complete", || entries_of(&copy).len() as u64 == entries);
    assert!(server.history()["failure"].is_null());
    // Data of the server: the sweep would remove the copy.
    let refusal =
        server.refused(&format!("history export --to={}", server.dir().join("data/packages/copy").display()));
    assert!(
        refusal.contains("the server has its data in") || refusal.contains("could not open"),
        "{refusal}"
    );
}

fn on_s3(builder: Builder) -> Server {
    let server = builder.start();
    server.local_repository("prod", &[]);
    server.json(&format!("history init --origin={ORIGIN}"));
    server
}

fn rspm(server: &Server, line: &str) -> ProcessOutput {
    let mut command: Command = server.command(env!("CARGO_BIN_EXE_rspm"));
    run_to_end(command.args(line.split(' ')))
}

#[test]
fn a_copy_in_a_bucket_completes_a_restored_log() {
    let bucket = s3::bucket(s3::server());
    let place = format!("s3://{}/log", bucket.bucket);
    let lines = format!("{}[History]\nExportPath = {place}\n", s3::lines(&bucket));
    let builder = || s3::builder().env("PACKAGEMANAGER_ENCRYPTION_KEY", &"5a".repeat(512));
    let server = on_s3(builder().gcfg(&lines));
    server.signed();
    back_up(&server);
    server.add("prod", &Tarball::new("alpha", "1.0"));
    let entries = server.signed();
    until("the bucket has the checkpoint", || {
        let (status, note) = s3::request("GET", &format!("/{}/log/checkpoint", bucket.bucket));
        status == 200 && String::from_utf8_lossy(&note).starts_with(&format!("{ORIGIN}\n{entries}\n"))
    });
    let keys = s3::keys(&bucket.bucket, "log/");
    for key in [format!("log/tile/0/000.p/{entries}"), format!("log/tile/entries/000.p/{entries}")] {
        assert!(keys.contains(&key), "{key}: {keys:?}");
    }
    let mut restored = builder().gcfg(&lines).prepare();
    let restore = rspm(&restored, &format!("backup restore --from={}", folder(&server).display()));
    assert_eq!(restore.code, Some(0), "{}", restore.err);
    restored.launch();
    restored.paused();
    let recovered = rspm(&restored, "history recover");
    assert!(
        recovered.code == Some(0) && recovered.out.contains("lacked 2 entries"),
        "{}{}",
        recovered.out,
        recovered.err
    );
    assert!(restored.signed() > entries);
    let examined = rspm(&restored, "scrub --database");
    assert_eq!(examined.code, Some(0), "{}{}", examined.out, examined.err);
    let other = format!("s3://{}/other", bucket.bucket);
    let refusal = rspm(&restored, &format!("history export --to={other}"));
    assert!(refusal.err.contains("a bucket must be named in the configuration"), "{}", refusal.err);
    let exported = rspm(&restored, &format!("history export --to={place}"));
    assert_eq!(exported.code, Some(0), "{}", exported.err);
}

#[test]
fn a_log_is_the_same_after_a_migration_and_back() {
    let mut server = history::start(ORIGIN, &database("sqlite"));
    for (migrations, (from, to)) in [("sqlite", "postgres"), ("postgres", "sqlite")].into_iter().enumerate() {
        server.add("prod", &Tarball::new("alpha", &format!("1.{migrations}")));
        server.signed();
        let (status, entries) = (server.history(), server.log_entries());
        assert_eq!(server.audited(), 2 * migrations as u64);
        // The database of the first provider is kept; that of the next migration must be blank.
        if to == "sqlite" {
            let files = server.dir().join("data/db");
            std::fs::rename(files, server.dir().join("old")).expect("renamed");
        }
        migrate(&mut server, from, to);
        assert_eq!(server.history(), status);
        assert_eq!(server.log_entries(), entries);
        let scrub = server.rspm("scrub --database");
        assert_eq!(scrub.code, 0, "{}{}", scrub.out, scrub.err);
        server.add("prod", &Tarball::new("beta", &format!("1.{migrations}")));
        server.signed();
        // Later checkpoints than that of the first database follow it.
        assert_eq!(server.audited(), 2 * migrations as u64 + 1);
        let later = server.log_entries();
        assert!(later.len() > entries.len() && later.starts_with(&entries), "{later:#?}");
    }
}

fn configuration(server: &Server) -> Arc<Config> {
    let text = std::fs::read(server.config_file()).expect("readable");
    config::parse("test.gcfg", &text, []).unwrap_or_else(|e| panic!("{e}")).config
}

/// Restores a dump that a version without the log made, and begins the log.
fn check_older_dump(word: &str, provider: Provider) {
    let mut old = machines::server("sqlite");
    let index = old.get(PATHS[0]).text();
    old.stop();
    let mut source =
        TransferSource::open(&configuration(&old), Provider::Sqlite, provider).expect("a database");
    let migration = MIGRATIONS.iter().find(|migration| migration.name == "tlog").expect("a migration");
    let key = DigestKey::of(source.conn().expect("packages")).expect("an identity");
    let levels = vec![(Schema::Core, migration.number - 1), (Schema::Usage, 1)];
    let (head, mut bytes) = (Head { key, levels }, Vec::new());
    let tables = dump(&mut source, &mut bytes, &head, &|_| {}).expect("a dump");
    assert!(tables.iter().all(|summary| !summary.table.name.starts_with("tlog")), "of an older version");

    let mut server = history::builder().gcfg(&database(word)).prepare();
    copy_folder(&old.dir().join("data"), &server.dir().join("data"));
    std::fs::remove_dir_all(server.dir().join("data/db")).expect("removed");
    let config = configuration(&server);
    let mut destination =
        Destination::create(&config, provider, &head.levels, ExistingFiles::Refused).expect("blank");
    restore(DumpReader::open(bytes.as_slice()), &mut destination).expect("restored");
    let later = MIGRATIONS.iter().filter(|later| later.number >= migration.number).count();
    let first = migration.number.into();
    for (rows, parameters, count) in [
        ("DELETE FROM migration WHERE number >= $1", &[first][..], later),
        ("DELETE FROM sequence WHERE name = 'tlog_event'", &[], 1),
    ] {
        let deleted = destination.conn().and_then(|c| c.execute(rows, parameters)).expect("written");
        assert_eq!(deleted, count as u64, "rows that migrations added to tables of before");
    }
    destination.finish_tables().expect("indexes");
    destination.commit().expect("committed");
    server.launch();
    assert_eq!(server.get(PATHS[0]).text(), index);
    let without = server.refused("history status");
    assert!(without.contains("rspm history init"), "{without}");
    server.json(&format!("history init --origin={ORIGIN}"));
    server.signed();
    server.add("prod", &Tarball::new("greeting", "1.2"));
    server.signed();
    server.audited();
    let entries = server.log_entries();
    let publishes = entries.iter().filter(|entry| entry.starts_with("rspm-log/1 publish\n"));
    let transactions: Vec<&str> = publishes.map(|entry| value(entry, "transaction")).collect();
    // The subscription, three packages of before, and the new one.
    assert_eq!(transactions, ["1", "2", "3", "4", "5"]);
}

#[test]
fn a_dump_of_a_version_without_the_log_is_restored_to_sqlite_and_gets_a_log() {
    check_older_dump("sqlite", Provider::Sqlite);
}

#[test]
fn a_dump_of_a_version_without_the_log_is_restored_to_postgresql_and_gets_a_log() {
    check_older_dump("postgres", Provider::Postgres);
}
