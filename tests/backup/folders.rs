//! Folders of backups that are not what a command expects: of another database, of a disk that is not mounted, with links,
//! with backups of the future, in use.

use std::collections::BTreeSet;
use std::fs::{File, create_dir, read_dir, remove_dir, rename, write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rstudio_pm::backup::manifest::Manifest;
use rstudio_pm::model::time::{SECOND, Timestamp};

use super::machines::{back_up, blank, copy_folder, folder, manifests, server};
use crate::support::fixtures::until;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

/// Names in a directory, in order.
fn names(directory: &Path) -> Vec<String> {
    let entries = read_dir(directory).expect("a directory");
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("readable").file_name();
    let mut names: Vec<String> =
        entries.map(|entry| name(entry).into_string().expect("a name of a test")).collect();
    names.sort();
    names
}

/// `command --to FOLDER` of `create`, or `--from FOLDER` of the others.
fn of(server: &Server, command: &str) -> String {
    let flag = if command.starts_with("create") { "--to" } else { "--from" };
    format!("backup {command} {flag} {}", folder(server).display())
}

fn count(server: &Server) -> usize {
    server.json(&of(server, "list")).as_array().expect("a list").len()
}

#[test]
fn a_folder_with_backups_of_another_database_is_not_added_to() {
    let (one, other) = (server("sqlite"), server("sqlite"));
    back_up(&one);
    let to = format!("backup create --to {}", folder(&one).display());
    let error = other.refused(&to);
    assert!(error.contains("contains backups of another database") && error.contains("--to"), "{error}");
    assert_eq!(count(&one), 1);

    // A folder into which somebody has copied those of another database.
    back_up(&other);
    copy_folder(&folder(&other).join("."), &folder(&one));
    assert_eq!(count(&one), 2);
    for command in ["test", "verify"] {
        let error = one.refused(&of(&one, command));
        assert!(error.contains("of several databases") && error.contains("--at"), "{error}");
    }
    let list = one.json(&of(&one, "list"));
    assert_ne!(list[0]["database"], list[1]["database"]);
    let at = list[0]["time"].as_str().expect("a time");
    one.rspm_stdout(&of(&one, &format!("verify --at {at}")));
    let pruned = one.json(&of(&one, "prune --keep-daily 1"));
    assert_eq!(pruned["kept"].as_array().map(Vec::len), Some(2), "the newest of each: {pruned}");
}

#[test]
fn a_database_and_its_restored_copy_do_not_share_a_folder() {
    let one = server("sqlite");
    back_up(&one);
    let mut copy = blank("sqlite");
    let restored = copy.rspm_stdout(&of(&one, "restore"));
    assert!(restored.contains("rspm backup create --adopt"), "{restored}");
    copy.launch();
    let create = format!("backup create --to {}", folder(&one).display());
    let error = copy.refused(&create);
    assert!(error.contains("another copy of it") && error.contains("--adopt"), "{error}");
    back_up(&one);
    assert_eq!(count(&one), 2, "the database continues in its folder");

    copy.rspm_stdout(&format!("{create} --adopt"));
    copy.rspm_stdout(&create);
    assert_eq!(count(&one), 4);
    let error = one.refused(&of(&one, "create"));
    assert!(error.contains("another copy of it"), "the folder continues with the copy: {error}");

    // Neither displaces the backups of the other.
    let list = one.json(&of(&one, "list"));
    let history = |index: usize| list[index]["history"].clone();
    assert!(history(0) == history(1) && history(2) == history(3) && history(1) != history(2), "{list}");
    let pruned = copy.json(&of(&one, "prune --keep-daily 1"));
    assert_eq!(pruned["kept"], serde_json::json!([list[1]["name"], list[3]["name"]]), "{pruned}");
    for time in [&list[1]["time"], &list[3]["time"]] {
        let verify = format!("verify --full --at {}", time.as_str().expect("a time"));
        assert_eq!(one.json(&of(&one, &verify))["undamaged"], true);
    }
    one.rspm_stdout(&of(&one, "create --adopt"));
}

#[test]
fn a_file_that_is_lost_prevents_neither_pruning_nor_a_restore_for_ever() {
    let server = server("sqlite");
    back_up(&server);
    let blobs = folder(&server).join("blobs");
    let list = std::fs::read_to_string(folder(&server).join(format!(
        "db/{}.objects",
        manifests(&server)[0]["manifest"]["objects"]["sha256"].as_str().expect("a digest")
    )));
    let list = list.expect("a list");
    let digest = list.lines().find_map(|line| line.strip_prefix("packages ")).expect("a package");
    let digest = digest.split(' ').next().expect("a digest");
    let blob = blobs.join(&digest[..2]).join(&digest[2..4]).join(digest);
    let content = std::fs::read(&blob).expect("readable");

    std::fs::remove_file(&blob).expect("removed");
    let error = server.refused(&of(&server, "prune --keep-daily 1"));
    assert!(
        error.contains("rspm backup create copies it again") && error.contains("prune --allow-missing"),
        "{error}"
    );
    let pruned = server.json(&of(&server, "prune --keep-daily 1 --allow-missing"));
    assert_eq!(
        (&pruned["missing"], pruned["kept"].as_array().map(Vec::len)),
        (&1.into(), Some(1)),
        "{pruned}"
    );
    let mut other = blank("sqlite");
    let error = other.refused(&of(&server, "restore"));
    assert!(error.contains("to restore it without these files: --allow-missing"), "{error}");
    // Damaged bytes are not restored either.
    std::fs::write(&blob, vec![b'x'; content.len()]).expect("written");
    let restored = other.rspm(&format!("{} -o json", of(&server, "restore --allow-missing")));
    assert_eq!(restored.code, 4, "{restored:?}");
    let result: serde_json::Value = serde_json::from_str(&restored.out).expect("JSON");
    assert_eq!((&result["bad"], result["copied"].as_u64() >= Some(3)), (&1.into(), true), "{result}");
    let object = format!("data/packages/packages/{}/{digest}", &digest[..2]);
    assert!(!other.dir().join(&object).exists() && server.dir().join(&object).exists());
    other.launch();
    let index = |server: &Server| server.get("/prod/latest/src/contrib/PACKAGES").body;
    assert_eq!(index(&other), index(&server));

    // The server has the file: the next backup stores it again, and the damaged one as soon as it is removed.
    std::fs::remove_file(&blob).expect("removed");
    back_up(&server);
    assert_eq!(std::fs::read(&blob).expect("stored again"), content);
    server.rspm_stdout(&of(&server, "prune --keep-daily 1"));
    assert_eq!(server.json(&of(&server, "verify --full"))["undamaged"], true);
    // A damaged dump is no file that could be left out.
    let dump = manifests(&server)[0]["manifest"]["dump"]["sha256"].as_str().expect("a digest").to_owned();
    std::fs::remove_file(folder(&server).join(format!("db/{dump}.dump"))).expect("removed");
    let error = server.refused(&of(&server, "prune --keep-daily 1 --allow-missing"));
    assert!(
        error.contains("cannot be restored without it: move ") && error.contains("manifests/"),
        "{error}"
    );
}

#[test]
fn a_folder_whose_disk_is_not_mounted_is_not_begun_anew() {
    let server = server("sqlite");
    back_up(&server);
    let aside = server.dir().join("aside");
    rename(folder(&server), &aside).expect("moved");
    for exists in [false, true] {
        if exists {
            create_dir(folder(&server)).expect("created");
        }
        let error = server.refused(&of(&server, "create"));
        assert!(error.contains("is the disk of the backups mounted?") && error.contains("--init"), "{error}");
    }
    assert_eq!(names(&folder(&server)), [""; 0]);
    remove_dir(folder(&server)).expect("empty");
    rename(&aside, folder(&server)).expect("moved back");
    back_up(&server);
    assert_eq!(count(&server), 2);

    rename(folder(&server), &aside).expect("moved");
    server.rspm_stdout(&of(&server, "create --init"));
    back_up(&server);
    assert_eq!(count(&server), 2);
}

#[test]
fn links_in_a_folder_are_refused_before_anything_is_written_or_removed() {
    let server = server("sqlite");
    back_up(&server);
    let victim = server.dir().join("victim");
    create_dir(&victim).expect("created");
    write(victim.join("file"), "kept").expect("written");
    for name in ["tmp", "manifests", "db", "blobs", "config"] {
        let (directory, aside) = (folder(&server).join(name), server.dir().join("aside"));
        rename(&directory, &aside).expect("moved");
        symlink(&victim, &directory).expect("a link");
        let error = server.refused(&of(&server, "create"));
        assert!(error.contains(&format!("/{name}: is a symbolic link")), "{name}: {error}");
        if name != "tmp" {
            let error = server.refused(&of(&server, "prune --keep-daily 1"));
            assert!(
                error.contains(&format!("/{name}")) && error.contains("symbolic link"),
                "{name}: {error}"
            );
        }
        assert_eq!(names(&victim), ["file"], "{name}");
        std::fs::remove_file(&directory).expect("a link");
        rename(&aside, &directory).expect("moved back");
    }
    assert_eq!(count(&server), 1);
    assert_eq!(server.json(&of(&server, "verify --full"))["undamaged"], true);
}

#[test]
fn pruning_removes_only_files_of_backups_and_nothing_where_there_are_none() {
    let server = server("sqlite");
    let data = server.dir().join("data");
    let error = server.refused(&format!("backup prune --keep-daily 1 --from {}", data.display()));
    assert!(error.contains("the server has its data in"), "{error}");
    back_up(&server);
    let foreign = folder(&server).join("db/notes.txt");
    write(&foreign, "of an administrator").expect("written");
    server.rspm_stdout(&of(&server, "prune --keep-daily 1"));
    assert!(foreign.exists());

    let aside = server.dir().join("aside");
    rename(folder(&server).join("manifests"), &aside).expect("moved");
    let blobs = names(&folder(&server).join("blobs"));
    let error = server.refused(&of(&server, "prune --keep-daily 1"));
    assert!(error.contains("contains no backup; nothing was removed"), "{error}");
    assert_eq!(names(&folder(&server).join("blobs")), blobs);
    rename(&aside, folder(&server).join("manifests")).expect("moved back");

    // A kept backup lacks a file: it is not the time to remove others.
    let dump = manifests(&server)[0]["manifest"]["dump"]["sha256"].clone();
    let dump = folder(&server).join(format!("db/{}.dump", dump.as_str().expect("a digest")));
    rename(&dump, server.dir().join("dump")).expect("moved");
    let error = server.refused(&of(&server, "prune --keep-daily 1"));
    assert!(
        error.contains("is missing, and the backup ") && error.contains("which is kept, needs it"),
        "{error}"
    );
}

/// Writes the only backup of a folder again, as one of another time.
fn copy_to_time(server: &Server, created: Timestamp) {
    let mut manifest: Manifest =
        serde_json::from_value(manifests(server)[0]["manifest"].clone()).expect("a manifest");
    manifest.created = created;
    let sealed = serde_json::json!({ "manifest": manifest, "sha256": manifest.sha256().to_string() });
    write(folder(server).join("manifests").join(manifest.name()), sealed.to_string()).expect("written");
}

#[test]
fn a_backup_of_the_future_is_not_taken_for_the_newest() {
    let server = server("sqlite");
    back_up(&server);
    let now = jiff::Timestamp::now().as_microsecond();
    copy_to_time(&server, Timestamp(now + 40 * 86_400 * SECOND));
    for command in ["test", "verify"] {
        let error = server.refused(&of(&server, command));
        assert!(error.contains("the clock of this machine shows") && error.contains("--at"), "{error}");
    }
    let list = server.json(&of(&server, "list"));
    let at = list[0]["time"].as_str().expect("a time");
    server.rspm_stdout(&of(&server, &format!("verify --at {at}")));
    back_up(&server);
    let pruned = server.json(&of(&server, "prune --keep-daily 1"));
    assert_eq!(pruned["removed"].as_array().map(Vec::len), Some(1), "{pruned}");
    let kept = pruned["kept"].as_array().expect("a list");
    assert_eq!(kept.len(), 2, "the newest by the clock, and that of the future: {pruned}");
    assert_eq!(kept[0], list_names(&server)[0]);
}

fn list_names(server: &Server) -> Vec<serde_json::Value> {
    let list = server.json(&of(server, "list"));
    list.as_array().expect("a list").iter().map(|row| row["name"].clone()).collect()
}

#[test]
fn a_damaged_manifest_does_not_hide_earlier_backups() {
    let server = server("sqlite");
    back_up(&server);
    let first = server.json(&of(&server, "list"))[0]["time"].as_str().expect("a time").to_owned();
    back_up(&server);
    let name = names(&folder(&server).join("manifests")).pop().expect("two");
    write(folder(&server).join("manifests").join(&name), "").expect("written");
    write(folder(&server).join("manifests/zzz.json"), "not one").expect("written");
    let error = server.refused(&of(&server, "verify"));
    assert!(error.contains(&name) && error.contains("choose another backup with --at"), "{error}");
    server.rspm_stdout(&of(&server, &format!("test --at {first}")));
    let error = server.refused(&of(&server, "prune --keep-daily 1"));
    assert!(error.contains("move the damaged manifest away"), "{error}");
    std::fs::remove_file(folder(&server).join("manifests").join(&name)).expect("removed");
    server.rspm_stdout(&of(&server, "prune --keep-daily 1"));
}

#[test]
fn commands_wait_for_a_folder_that_is_in_use() {
    let server = server("sqlite");
    back_up(&server);
    let open = || File::options().write(true).open(folder(&server).join("lock")).expect("the lock");
    // Readers do not exclude a backup, and a backup does not exclude readers.
    let reader = open();
    reader.lock_shared().expect("locked");
    back_up(&server);
    let error = server.refused(&of(&server, "prune --keep-daily 1"));
    assert!(error.contains("is in use") && error.contains("--lock-timeout=1h"), "{error}");
    drop(reader);

    let pruning = open();
    pruning.lock().expect("locked");
    for command in ["create", "test", "prune --keep-daily 1"] {
        let error = server.refused(&of(&server, command));
        assert!(error.contains("is in use"), "{command}: {error}");
    }
    assert_eq!(server.json("status")["backups"][0]["error"], serde_json::Value::Null, "it is no failure");
    let started = server.json(&of(&server, "create --no-wait --lock-timeout=10m"));
    let job = || server.admin("GET", &format!("/jobs/{}", started["id"]), &serde_json::Value::Null).json();
    until("it waits", || job()["message"].as_str().is_some_and(|text| text.contains("waiting for another")));
    drop(pruning);
    until("it is made", || job()["status"] == "done");
    assert_eq!(count(&server), 3);
}

#[test]
fn a_slow_backup_ends_when_the_server_goes_offline() {
    let server = server("sqlite");
    server.add("prod", &Tarball::new("large", "1.0").with("data/numbers", &"0123456789".repeat(50_000)));
    let started = server.json(&of(&server, "create --no-wait --rate=1"));
    let job = || server.admin("GET", &format!("/jobs/{}", started["id"]), &serde_json::Value::Null).json();
    until("it copies", || job()["message"].as_str().is_some_and(|text| text.contains("copying files")));
    server.rspm_stdout("offline --timeout=60s");
    server.rspm_stdout("online");
    for command in ["backup create --rate=0", "scrub --rate=0"] {
        let refusal = server.rspm(command);
        assert!(refusal.code == 2 && refusal.err.contains("give at least 1 byte"), "{refusal:?}");
    }
}

#[test]
fn an_incomplete_backup_is_made_on_request_and_does_not_displace_a_complete_one() {
    let server = server("sqlite");
    back_up(&server);
    let packages = server.dir().join("data/packages/packages");
    let objects = || -> BTreeSet<PathBuf> {
        let prefixes = names(&packages).into_iter().map(|prefix| packages.join(prefix));
        let of_prefix = |prefix: PathBuf| names(&prefix).into_iter().map(move |name| prefix.join(name));
        prefixes.flat_map(of_prefix).collect()
    };
    let before = objects();
    server.add("prod", &Tarball::new("lost", "1.0"));
    for object in objects().difference(&before) {
        std::fs::remove_file(object).expect("removed");
    }

    let failed = server.rspm(&of(&server, "create"));
    assert!(failed.code == 1 && failed.err.contains("is incomplete: 1 files"), "{failed:?}");
    assert!(
        failed.err.contains("rspm scrub --repair") && failed.err.contains("--allow-missing"),
        "{failed:?}"
    );
    let made = server.rspm(&of(&server, "create --allow-missing"));
    assert_eq!(made.code, 4, "{made:?}");
    assert!(made.out.contains("Warning: ") && made.err.contains("missing in the backup: 1"), "{made:?}");
    let status = server.json("status");
    assert_eq!((&status["backups"][0]["missing"], &status["backups"][0]["error"]), (&1.into(), &().into()));
    for command in ["verify", "test"] {
        let result = server.rspm(&of(&server, command));
        assert!(result.code == 4 && result.out.contains("Missing since the backup was made"), "{result:?}");
    }
    server.rspm_stdout(&of(&server, "prune --keep-daily 1"));
    let list = server.json(&of(&server, "list"));
    let missing: Vec<_> = list.as_array().expect("a list").iter().map(|row| row["missing"].clone()).collect();
    assert_eq!(missing, [0, 1]);
}

#[test]
fn an_object_that_cannot_be_read_is_listed_and_the_others_are_in_the_backup() {
    let mut server = server("sqlite");
    let packages = server.dir().join("data/packages/packages");
    let prefix = packages.join(&names(&packages)[0]);
    let object = prefix.join(&names(&prefix)[0]);
    std::fs::remove_file(&object).expect("removed");
    // Opening it is an error of the system.
    symlink(&object, &object).expect("a link");
    server.restart();
    let failed = server.rspm(&of(&server, "create"));
    assert!(failed.code == 1 && failed.err.contains("is incomplete: 1 files"), "{failed:?}");
    assert!(failed.err.contains("cannot read '"), "{failed:?}");
    let list = server.json(&of(&server, "list"));
    assert_eq!((&list[0]["missing"], list[0]["files"].as_u64() >= Some(3)), (&1.into(), true), "{list}");
}

#[test]
fn an_object_without_a_recorded_size_that_cannot_be_read_is_that_of_the_earlier_backup() {
    let rules = tempfile::tempdir().expect("a folder");
    crate::support::rules::folder(rules.path(), &["zlib"]);
    let gcfg = format!("[SystemRequirements]\nURL = file://{}\n", rules.path().display());
    let server = Builder::default().gcfg(&gcfg).start();
    server.rspm_stdout("sync --type=sysreqs --quiet");
    back_up(&server);
    let directory = server.dir().join("data/persistent/sysreqs");
    let prefix = directory.join(&names(&directory)[0]);
    let object = prefix.join(&names(&prefix)[0]);
    std::fs::remove_file(&object).expect("removed");
    // Reading its size is an error of the system.
    symlink(&object, &object).expect("a link");
    back_up(&server);
    assert_eq!(server.json(&of(&server, "verify --full"))["undamaged"], true);
    assert_eq!(count(&server), 2);
}
