//! Unexpected backup folders: with backups of another database, on a disk that is not mounted, with symbolic links, with
//! backups from the future, in use.

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

/// Returns the names in a directory, in order.
fn names(directory: &Path) -> Vec<String> {
    let entries = read_dir(directory).expect("a directory");
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("readable").file_name();
    let mut names: Vec<String> =
        entries.map(|entry| name(entry).into_string().expect("a name of a test")).collect();
    names.sort();
    names
}

/// Returns the arguments of a backup command in the folder of the server: `--to FOLDER` for `create`, else `--from FOLDER`.
fn backup_command(server: &Server, command: &str) -> String {
    let flag = if command.starts_with("create") { "--to" } else { "--from" };
    format!("backup {command} {flag} {}", folder(server).display())
}

fn count(server: &Server) -> usize {
    server.json(&backup_command(server, "list")).as_array().expect("a list").len()
}

#[test]
fn a_folder_with_backups_of_another_database_is_not_added_to() {
    let (first, other) = (server("sqlite"), server("sqlite"));
    back_up(&first);
    let to = format!("backup create --to {}", folder(&first).display());
    let error = other.refused(&to);
    assert!(error.contains("contains backups of another database") && error.contains("--to"), "{error}");
    assert_eq!(count(&first), 1);

    // A folder that also contains copied backups of another database.
    back_up(&other);
    copy_folder(&folder(&other).join("."), &folder(&first));
    assert_eq!(count(&first), 2);
    for command in ["test", "verify"] {
        let error = first.refused(&backup_command(&first, command));
        assert!(error.contains("of several databases") && error.contains("--at"), "{error}");
    }
    let list = first.json(&backup_command(&first, "list"));
    assert_ne!(list[0]["database"], list[1]["database"]);
    let at = list[0]["time"].as_str().expect("a time");
    first.rspm_stdout(&backup_command(&first, &format!("verify --at {at}")));
    let pruning = first.json(&backup_command(&first, "prune --keep-daily 1"));
    assert_eq!(pruning["kept"].as_array().map(Vec::len), Some(2), "the newest of each: {pruning}");
}

#[test]
fn a_database_and_its_restored_copy_do_not_share_a_folder() {
    let first = server("sqlite");
    back_up(&first);
    let mut copy = blank("sqlite");
    let text = copy.rspm_stdout(&backup_command(&first, "restore"));
    assert!(text.contains("rspm backup create --adopt"), "{text}");
    copy.launch();
    let create = format!("backup create --to {}", folder(&first).display());
    let error = copy.refused(&create);
    assert!(error.contains("another copy of it") && error.contains("--adopt"), "{error}");
    back_up(&first);
    assert_eq!(count(&first), 2, "the database continues in its folder");

    copy.rspm_stdout(&format!("{create} --adopt"));
    copy.rspm_stdout(&create);
    assert_eq!(count(&first), 4);
    let error = first.refused(&backup_command(&first, "create"));
    assert!(error.contains("another copy of it"), "the folder continues with the copy: {error}");

    // `prune` counts the backups of each database separately.
    let list = first.json(&backup_command(&first, "list"));
    let history = |index: usize| list[index]["history"].clone();
    assert!(history(0) == history(1) && history(2) == history(3) && history(1) != history(2), "{list}");
    let pruning = copy.json(&backup_command(&first, "prune --keep-daily 1"));
    assert_eq!(pruning["kept"], serde_json::json!([list[1]["name"], list[3]["name"]]), "{pruning}");
    for time in [&list[1]["time"], &list[3]["time"]] {
        let verify = format!("verify --full --at {}", time.as_str().expect("a time"));
        assert_eq!(first.json(&backup_command(&first, &verify))["undamaged"], true);
    }
    first.rspm_stdout(&backup_command(&first, "create --adopt"));
}

#[test]
fn a_file_that_is_lost_prevents_neither_pruning_nor_a_restore_permanently() {
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
    let error = server.refused(&backup_command(&server, "prune --keep-daily 1"));
    assert!(
        error.contains("rspm backup create copies it again") && error.contains("prune --allow-missing"),
        "{error}"
    );
    let pruning = server.json(&backup_command(&server, "prune --keep-daily 1 --allow-missing"));
    assert_eq!(
        (&pruning["missing"], pruning["kept"].as_array().map(Vec::len)),
        (&1.into(), Some(1)),
        "{pruning}"
    );
    let mut other = blank("sqlite");
    let error = other.refused(&backup_command(&server, "restore"));
    assert!(error.contains("to restore it without these files: --allow-missing"), "{error}");
    // Damaged bytes are not restored either.
    std::fs::write(&blob, vec![b'x'; content.len()]).expect("written");
    // The copy of the configuration is not restored in any case.
    let configurations = folder(&server).join("config");
    let configuration = configurations.join(&names(&configurations)[0]);
    let text = std::fs::read(&configuration).expect("readable");
    std::fs::remove_file(&configuration).expect("removed");
    let output = other.rspm(&format!("{} -o json", backup_command(&server, "restore --allow-missing")));
    assert_eq!(output.code, 4, "{output:?}");
    let result: serde_json::Value = serde_json::from_str(&output.out).expect("JSON");
    assert_eq!((&result["bad"], result["copied"].as_u64() >= Some(3)), (&2.into(), true), "{result}");
    std::fs::write(&configuration, text).expect("written");
    let object = format!("data/packages/packages/{}/{digest}", &digest[..2]);
    assert!(!other.dir().join(&object).exists() && server.dir().join(&object).exists());
    other.launch();
    let index = |server: &Server| server.get("/prod/latest/src/contrib/PACKAGES").body;
    assert_eq!(index(&other), index(&server));

    // The server has the file: the next backup copies it again, once the damaged one is removed.
    std::fs::remove_file(&blob).expect("removed");
    back_up(&server);
    assert_eq!(std::fs::read(&blob).expect("copied again"), content);
    server.rspm_stdout(&backup_command(&server, "prune --keep-daily 1"));
    assert_eq!(server.json(&backup_command(&server, "verify --full"))["undamaged"], true);
    // A dump that is missing cannot be left out.
    let dump = manifests(&server)[0]["manifest"]["dump"]["sha256"].as_str().expect("a digest").to_owned();
    std::fs::remove_file(folder(&server).join(format!("db/{dump}.dump"))).expect("removed");
    let error = server.refused(&backup_command(&server, "prune --keep-daily 1 --allow-missing"));
    assert!(
        error.contains("cannot be restored without it: move ") && error.contains("manifests/"),
        "{error}"
    );
}

#[test]
fn no_new_series_of_backups_begins_in_a_folder_whose_disk_is_not_mounted() {
    let server = server("sqlite");
    back_up(&server);
    let moved_folder = server.dir().join("aside");
    rename(folder(&server), &moved_folder).expect("moved");
    for exists in [false, true] {
        if exists {
            create_dir(folder(&server)).expect("created");
        }
        let error = server.refused(&backup_command(&server, "create"));
        assert!(error.contains("is the disk of the backups mounted?") && error.contains("--init"), "{error}");
    }
    assert_eq!(names(&folder(&server)), [""; 0]);
    remove_dir(folder(&server)).expect("empty");
    rename(&moved_folder, folder(&server)).expect("moved back");
    back_up(&server);
    assert_eq!(count(&server), 2);

    rename(folder(&server), &moved_folder).expect("moved");
    server.rspm_stdout(&backup_command(&server, "create --init"));
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
        let (directory, moved_directory) = (folder(&server).join(name), server.dir().join("aside"));
        rename(&directory, &moved_directory).expect("moved");
        symlink(&victim, &directory).expect("a link");
        let error = server.refused(&backup_command(&server, "create"));
        assert!(error.contains(&format!("/{name}: is a symbolic link")), "{name}: {error}");
        if name != "tmp" {
            let error = server.refused(&backup_command(&server, "prune --keep-daily 1"));
            assert!(
                error.contains(&format!("/{name}")) && error.contains("symbolic link"),
                "{name}: {error}"
            );
        }
        assert_eq!(names(&victim), ["file"], "{name}");
        std::fs::remove_file(&directory).expect("a link");
        rename(&moved_directory, &directory).expect("moved back");
    }
    assert_eq!(count(&server), 1);
    assert_eq!(server.json(&backup_command(&server, "verify --full"))["undamaged"], true);
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
    server.rspm_stdout(&backup_command(&server, "prune --keep-daily 1"));
    assert!(foreign.exists());

    let moved_manifests = server.dir().join("aside");
    rename(folder(&server).join("manifests"), &moved_manifests).expect("moved");
    let blobs = names(&folder(&server).join("blobs"));
    let error = server.refused(&backup_command(&server, "prune --keep-daily 1"));
    assert!(error.contains("contains no backup; nothing was removed"), "{error}");
    assert_eq!(names(&folder(&server).join("blobs")), blobs);
    rename(&moved_manifests, folder(&server).join("manifests")).expect("moved back");

    // A backup to keep lacks a file: nothing is removed.
    let dump = manifests(&server)[0]["manifest"]["dump"]["sha256"].clone();
    let dump = folder(&server).join(format!("db/{}.dump", dump.as_str().expect("a digest")));
    rename(&dump, server.dir().join("dump")).expect("moved");
    let error = server.refused(&backup_command(&server, "prune --keep-daily 1"));
    assert!(
        error.contains("is missing, and the backup ") && error.contains("which is kept, needs it"),
        "{error}"
    );
}

/// Writes a copy of the first manifest in a folder with another time.
fn copy_to_time(server: &Server, created: Timestamp) {
    let mut manifest: Manifest =
        serde_json::from_value(manifests(server)[0]["manifest"].clone()).expect("a manifest");
    manifest.created = created;
    let document = serde_json::json!({ "manifest": manifest, "sha256": manifest.sha256().to_string() });
    write(folder(server).join("manifests").join(manifest.name()), document.to_string()).expect("written");
}

#[test]
fn a_backup_from_the_future_is_not_used_as_the_newest() {
    let server = server("sqlite");
    back_up(&server);
    let now = jiff::Timestamp::now().as_microsecond();
    copy_to_time(&server, Timestamp(now + 40 * 86_400 * SECOND));
    for command in ["test", "verify"] {
        let error = server.refused(&backup_command(&server, command));
        assert!(error.contains("the clock of this machine shows") && error.contains("--at"), "{error}");
    }
    let list = server.json(&backup_command(&server, "list"));
    let at = list[0]["time"].as_str().expect("a time");
    server.rspm_stdout(&backup_command(&server, &format!("verify --at {at}")));
    back_up(&server);
    let pruning = server.json(&backup_command(&server, "prune --keep-daily 1"));
    assert_eq!(pruning["removed"].as_array().map(Vec::len), Some(1), "{pruning}");
    let backups = pruning["kept"].as_array().expect("a list");
    assert_eq!(backups.len(), 2, "the newest by the clock, and the one from the future: {pruning}");
    assert_eq!(backups[0], list_names(&server)[0]);
}

fn list_names(server: &Server) -> Vec<serde_json::Value> {
    let list = server.json(&backup_command(server, "list"));
    list.as_array().expect("a list").iter().map(|row| row["name"].clone()).collect()
}

#[test]
fn a_damaged_manifest_does_not_hide_earlier_backups() {
    let server = server("sqlite");
    back_up(&server);
    let first = server.json(&backup_command(&server, "list"))[0]["time"].as_str().expect("a time").to_owned();
    back_up(&server);
    let name = names(&folder(&server).join("manifests")).pop().expect("two");
    write(folder(&server).join("manifests").join(&name), "").expect("written");
    write(folder(&server).join("manifests/zzz.json"), "not one").expect("written");
    let error = server.refused(&backup_command(&server, "verify"));
    assert!(error.contains(&name) && error.contains("choose another backup with --at"), "{error}");
    server.rspm_stdout(&backup_command(&server, &format!("test --at {first}")));
    let error = server.refused(&backup_command(&server, "prune --keep-daily 1"));
    assert!(error.contains("move the damaged manifest away"), "{error}");
    std::fs::remove_file(folder(&server).join("manifests").join(&name)).expect("removed");
    server.rspm_stdout(&backup_command(&server, "prune --keep-daily 1"));
}

#[test]
fn commands_wait_for_a_folder_that_is_in_use() {
    let server = server("sqlite");
    back_up(&server);
    let open = || File::options().write(true).open(folder(&server).join("lock")).expect("the lock");
    // Readers do not exclude a backup, and a backup does not exclude readers.
    let shared_lock = open();
    shared_lock.lock_shared().expect("locked");
    back_up(&server);
    let error = server.refused(&backup_command(&server, "prune --keep-daily 1"));
    assert!(error.contains("is in use") && error.contains("--lock-timeout=1h"), "{error}");
    drop(shared_lock);

    let exclusive_lock = open();
    exclusive_lock.lock().expect("locked");
    for command in ["create", "test", "prune --keep-daily 1"] {
        let error = server.refused(&backup_command(&server, command));
        assert!(error.contains("is in use"), "{command}: {error}");
    }
    assert_eq!(server.json("status")["backups"][0]["error"], serde_json::Value::Null, "it is not a failure");
    let job = server.json(&backup_command(&server, "create --no-wait --lock-timeout=10m"));
    let job_state = || server.admin("GET", &format!("/jobs/{}", job["id"]), &serde_json::Value::Null).json();
    until("it waits", || {
        job_state()["message"].as_str().is_some_and(|text| text.contains("waiting for another"))
    });
    drop(exclusive_lock);
    until("it is made", || job_state()["status"] == "done");
    assert_eq!(count(&server), 3);
}

#[test]
fn a_slow_backup_ends_when_the_server_goes_offline() {
    let server = server("sqlite");
    server.add("prod", &Tarball::new("large", "1.0").with("data/numbers", &"0123456789".repeat(50_000)));
    let job = server.json(&backup_command(&server, "create --no-wait --rate=1"));
    let job_state = || server.admin("GET", &format!("/jobs/{}", job["id"]), &serde_json::Value::Null).json();
    until("it copies", || job_state()["message"].as_str().is_some_and(|text| text.contains("copying files")));
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
    let old_objects = objects();
    server.add("prod", &Tarball::new("lost", "1.0"));
    for object in objects().difference(&old_objects) {
        std::fs::remove_file(object).expect("removed");
    }

    let output = server.rspm(&backup_command(&server, "create"));
    assert!(output.code == 1 && output.err.contains("is incomplete: 1 file is"), "{output:?}");
    assert!(
        output.err.contains("rspm scrub --repair") && output.err.contains("--allow-missing"),
        "{output:?}"
    );
    let output = server.rspm(&backup_command(&server, "create --allow-missing"));
    assert_eq!(output.code, 4, "{output:?}");
    assert!(
        output.out.contains("Warning: ") && output.err.contains("missing in the backup: 1"),
        "{output:?}"
    );
    let status = server.json("status");
    assert_eq!((&status["backups"][0]["missing"], &status["backups"][0]["error"]), (&1.into(), &().into()));
    for command in ["verify", "test"] {
        let result = server.rspm(&backup_command(&server, command));
        assert!(result.code == 4 && result.out.contains("Missing since the backup was made"), "{result:?}");
    }
    server.rspm_stdout(&backup_command(&server, "prune --keep-daily 1"));
    let list = server.json(&backup_command(&server, "list"));
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
    // Opening a link to itself fails with ELOOP.
    symlink(&object, &object).expect("a link");
    server.restart();
    let output = server.rspm(&backup_command(&server, "create"));
    assert!(output.code == 1 && output.err.contains("is incomplete: 1 file is"), "{output:?}");
    assert!(output.err.contains("cannot read '"), "{output:?}");
    let list = server.json(&backup_command(&server, "list"));
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
    // Reading the size of a link to itself fails with ELOOP.
    symlink(&object, &object).expect("a link");
    back_up(&server);
    assert_eq!(server.json(&backup_command(&server, "verify --full"))["undamaged"], true);
    assert_eq!(count(&server), 2);
}
