//! Two servers and the downloader: what the second one takes from a day of the first one is proved by the log of the first.

use std::fs;
use std::path::Path;

use rstudio_pm::tlog::entry_proof::EntryProof;
use rstudio_pm::tlog::note::{Checkpoint, Note};
use rstudio_pm::tlog::tile::{Tile, decode_entries, tiles};
use rstudio_pm::tlog::tree::Root;

use crate::support::downloader::{assert_complete, get_cran, must_get_cran, tree};
use crate::support::fixtures::until;
use crate::support::mirror_dir::MirrorDir;
use crate::support::server::{Builder, Server};
use crate::support::today::stable_today;

/// A server with the packages of a mirror and with a log of yesterday's state. Returns the day, too.
fn server_with_log(dir: &Path) -> (Server, String) {
    let mut mirror = MirrorDir::new(dir.join("mirror"));
    mirror.simple("alpha", "1.0", "2020-01-01");
    mirror.simple("beta", "1.0", "2020-01-05");
    mirror.write();
    let gcfg = format!("[CRAN]\nURL = {}", mirror.url());
    let mut server =
        Builder::default().gcfg(&gcfg).env("PACKAGEMANAGER_ENCRYPTION_KEY", &"5a".repeat(512)).start();
    server.rspm_stdout("create repo --name=prod");
    server.rspm_stdout("subscribe --repo=prod --source=cran");
    server.sync().expect("a mirror");
    server.rspm_stdout("backfill --source=cran --since=2019-12-01");
    let yesterday = stable_today().yesterday().expect("a day");
    server.json("history init --origin=first.example/log");
    server.stop();
    // As if the log had begun a day earlier.
    let start = yesterday.to_zoned(jiff::tz::TimeZone::UTC).expect("a time").timestamp().as_microsecond();
    let database =
        rusqlite::Connection::open(server.dir().join("data/db/rstudio-pm.db")).expect("a database");
    database.execute("UPDATE tlog SET closed_until = ?1", [start]).expect("written");
    drop(database);
    server.launch();
    let proof = format!("/prod/{yesterday}/src/contrib/PACKAGES.proof");
    until("the state of yesterday is in the log", || server.get(&proof).status == 200);
    (server, yesterday.to_string())
}

fn policy(dir: &Path, server: &Server) -> String {
    let status = server.json("history status");
    let file = dir.join("policy");
    fs::write(&file, format!("log {}\nquorum none\n", status["key"].as_str().expect("a key"))).unwrap();
    file.display().to_string()
}

#[test]
fn a_server_takes_a_day_of_another_one_that_its_log_proves() {
    let dir = tempfile::tempdir().unwrap();
    let (first, day) = server_with_log(dir.path());
    let policy = policy(dir.path(), &first);
    let gcfg = |address: &str| {
        format!("[CRAN]\nURL = {}\nVerifyPolicy = {policy}", first.url(&format!("/{address}")))
    };
    let second = Builder::default().gcfg(&gcfg(&format!("prod/{day}"))).start();
    second.sync().expect("proved");
    second.repository("r", "cran");
    let index = |server: &Server, path: &str| server.get(path).text();
    let records = index(&second, "/r/latest/src/contrib/PACKAGES");
    assert_eq!(records, index(&first, &format!("/prod/{day}/src/contrib/PACKAGES")));
    assert!(records.contains("Package: alpha"));
    for address in ["prod/latest".to_owned(), format!("prod/{}", stable_today())] {
        let other = Builder::default().gcfg(&gcfg(&address)).start();
        let message = other.sync().expect_err("not proved");
        assert!(message.contains("a day that is over") || message.contains("there is no proof"), "{message}");
    }
}

#[test]
fn a_bundle_of_a_proved_day_has_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (first, day) = server_with_log(dir.path());
    let policy = policy(dir.path(), &first);
    let flags = ["--verify-policy", policy.as_str()];
    let (url, root) = (first.url(&format!("/prod/{day}")), dir.path().join("bundle"));
    let output = must_get_cran(&url, &root, &flags);
    // Who has no token may not read the log.
    assert!(output.contains("The log is not copied, only the proof"), "{output}");
    let proof = EntryProof::parse(&fs::read(root.join(format!("tlog/{day}.proof"))).unwrap()).unwrap();
    assert!(proof.entry.contains(&format!("snapshot {day}\n")));
    assert_complete(&root);
    let token = first.rspm_stdout("create token --quiet --description=x --scope=global:admin");
    let url = url.replace("://", &format!("://user:{}@", token.trim()));
    let root = dir.path().join("second");
    let output = must_get_cran(&url, &root, &flags);
    assert!(!output.contains("The log is not copied"), "{output}");
    let note = Note::parse(&fs::read(root.join("tlog/checkpoint")).unwrap()).unwrap();
    let checkpoint: Checkpoint = note.text().parse().unwrap();
    let size = checkpoint.root.count;
    for tile in tiles(0, size) {
        assert!(root.join(format!("tlog/{tile}")).is_file(), "{tile}");
    }
    let bundles = tree(&root).into_iter().filter(|(path, _)| path.starts_with("tlog/tile/entries/"));
    let entries: Vec<Vec<u8>> = bundles
        .flat_map(|(path, bytes)| {
            let tile = Tile::parse(path.trim_start_matches("tlog/")).expect("a path");
            let entries = decode_entries(&bytes, tile.width).expect("entries");
            entries.into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(Root::of(&entries), checkpoint.root);
    let output = get_cran(&first.url("/prod/latest"), &root, &flags);
    assert!(output.code == Some(2) && output.err.contains("a day that is over"), "{}", output.err);
    fs::write(&policy, "log other.example+00000000+AA==\nquorum none\n").unwrap();
    assert_eq!(get_cran(&url, &dir.path().join("third"), &flags).code, Some(2));
}
