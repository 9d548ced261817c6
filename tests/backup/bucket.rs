//! Backups in a bucket of a real S3 server, of servers whose storage classes are on a disk or in another bucket.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use rstudio_pm::config::S3Location;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::machines::{database, repositories};
use super::servers::answers;
use crate::support::faulty_s3::{Fault, FaultyProxy};
use crate::support::process::{ProcessOutput, run_to_end};
use crate::support::s3;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

const PLACE_PREFIX: &str = "some/backups";

/// Returns a server that backs up to the bucket `backups` and has its storage classes on a disk or in `classes`.
fn builder(provider: &str, backups: &S3Location, classes: Option<&S3Location>) -> Builder {
    let storage = match classes {
        // The connection properties apply to both buckets.
        Some(classes) => format!("[Storage]\nDefault = s3\n{}", s3::lines(classes)),
        None => s3::lines(backups),
    };
    let paths = format!("[Server]\nBackupPaths = {}\n", place(backups));
    s3::builder().gcfg(&(database(provider) + &storage + &paths))
}

fn place(location: &S3Location) -> String {
    format!("s3://{}/{PLACE_PREFIX}", location.bucket)
}

/// Runs `rspm` with the credentials of the server.
fn rspm(server: &Server, line: &str) -> ProcessOutput {
    let mut command: Command = server.command(env!("CARGO_BIN_EXE_rspm"));
    run_to_end(command.args(line.split(' ')))
}

/// Runs an `rspm` command that must succeed; returns its JSON output.
fn json(server: &Server, line: &str) -> Value {
    let output = rspm(server, &format!("{line} -o json"));
    assert_eq!((output.code, output.err.as_str()), (Some(0), ""), "{line}: {}", output.out);
    serde_json::from_str(&output.out).unwrap_or_else(|e| panic!("{e}: {}", output.out))
}

/// Returns the request paths of the backup objects whose keys begin with a prefix.
fn files(location: &S3Location, prefix: &str) -> Vec<String> {
    let keys = s3::keys(&location.bucket, &format!("{PLACE_PREFIX}/{prefix}"));
    keys.into_iter().map(|key| format!("/{}/{key}", location.bucket)).collect()
}

fn check_restore(from: &str, to: &str, on_s3: bool) {
    let backups = s3::bucket(s3::server());
    let classes = on_s3.then(|| s3::bucket(s3::server()));
    let server = builder(from, &backups, classes.as_ref()).start();
    repositories(&server);
    // Larger than one request: it is uploaded in parts.
    let mut state = 1_u32;
    let noise: String = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b' ' + (state >> 26) as u8)
    })
    .take(14_000_000)
    .collect();
    server.add("prod", &Tarball::new("large", "1.0").with("data/noise", &noise));
    let expected = answers(&server);
    let first = server.rspm_stdout("backup create");
    assert!(first.contains(&format!("in {}: ", place(&backups))), "{first}");
    server.add("prod", &Tarball::new("later", "1.0"));
    let second = server.rspm_stdout("backup create");
    assert!(second.contains("of which 1 were copied"), "{second}");
    assert_eq!(files(&backups, "locks/"), Vec::<String>::new(), "locks end with their command");
    let list = json(&server, "backup list");
    let time = list[0]["time"].as_str().expect("a time").to_owned();
    let count = list[0]["files"].as_u64().expect("a number");
    // Four packages, a README, and stored indexes.
    assert!(count >= 5 && list[1]["files"] == count + 1 && list[2].is_null(), "{list}");

    let other_classes = on_s3.then(|| s3::bucket(s3::server()));
    let mut other = builder(to, &backups, other_classes.as_ref()).prepare();
    let verification = json(&other, &format!("backup verify --full --at {time}"));
    assert_eq!(
        (&verification["undamaged"], &verification["read"]),
        (&true.into(), &count.into()),
        "{verification}"
    );
    assert_eq!(json(&other, "backup verify")["files"], count + 1);
    assert_eq!(json(&other, "backup test")["files"], count + 1);
    let restore = json(&other, &format!("backup restore --at {time}"));
    assert_eq!((&restore["copied"], &restore["present"]), (&count.into(), &0.into()), "{restore}");
    other.launch();
    assert_eq!(answers(&other), expected);
    let address = "/prod/latest/src/contrib/large_1.0.tar.gz";
    assert!(other.get(address).body == server.get(address).body);
    assert_eq!(other.get("/prod/latest/src/contrib/later_1.0.tar.gz").status, 404);

    // Files that only the first backup uses are removed with it.
    let dumps = files(&backups, "db/").len();
    let pruning = json(&server, "backup prune --keep-daily 1");
    assert_eq!((&pruning["files"], dumps), (&2.into(), 4), "{pruning}");
    assert_eq!(json(&server, "backup list").as_array().map(Vec::len), Some(1));
    assert_eq!(json(&server, "backup verify --full")["undamaged"], true);
}

/// A path, the function that damages the file, and a part of the error text.
type Damage<'a> = (String, &'a dyn Fn(&str), &'a str);

#[test]
fn a_server_with_storage_on_disk_is_restored() {
    check_restore("sqlite", "postgres", false);
}

#[test]
fn a_server_with_storage_in_another_bucket_is_restored() {
    check_restore("postgres", "sqlite", true);
}

#[test]
fn a_changed_backup_is_found_and_not_restored() {
    let backups = s3::bucket(s3::server());
    let server = builder("sqlite", &backups, None).start();
    repositories(&server);
    server.rspm_stdout("backup create");
    let flip = |path: &str| {
        let mut bytes = s3::request("GET", path).1;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        s3::put(path, &bytes);
    };
    let with_suffix =
        |suffix: &str| files(&backups, "").into_iter().find(|path| path.ends_with(suffix)).expect("a file");
    let blob = files(&backups, "blobs/").remove(0);
    let damages: [Damage<'_>; 6] = [
        (with_suffix(".dump"), &flip, "SHA-256"),
        (with_suffix(".objects"), &flip, "SHA-256"),
        (blob.clone(), &flip, "SHA-256"),
        (blob.clone(), &|path| s3::put(path, b"x"), "1 bytes instead of"),
        (blob, &|path| assert_eq!(s3::request("DELETE", path).0, 204), "is missing"),
        (
            with_suffix(".json"),
            &|path| {
                let text = String::from_utf8(s3::request("GET", path).1).expect("JSON");
                s3::put(path, text.replace("\"transaction\": ", "\"transaction\": 1").as_bytes());
            },
            "was changed",
        ),
    ];
    for (path, damage, expected) in damages {
        let original = s3::request("GET", &path).1;
        damage(&path);
        let output = rspm(&server, "backup verify --full");
        let text = output.out + &output.err;
        assert!(output.code == Some(1) && text.contains(expected), "{path}: {text}");
        let other = builder("sqlite", &backups, None).prepare();
        let restore = rspm(&other, "backup restore");
        assert!(restore.code == Some(1) && restore.err.contains(expected), "{path}: {}", restore.err);
        assert!(!other.dir().join("data/db/rstudio-pm.db").exists(), "{path}");
        assert!(!other.dir().join("data/packages").exists(), "{path}");
        s3::put(&path, &original);
    }
    assert_eq!(json(&server, "backup verify --full")["undamaged"], true);
}

#[test]
fn a_bucket_that_fails_leaves_no_backup_and_is_used_again() {
    let runtime = Runtime::new().expect("a runtime");
    let proxy = runtime.block_on(FaultyProxy::start(s3::server()));
    let backups = s3::bucket(proxy.address);
    let server = builder("sqlite", &backups, None).start();
    repositories(&server);
    let is_blob = |head: &str| head.starts_with("PUT ") && head.contains("/blobs/");
    // Two files are written, then none.
    let put_count = AtomicUsize::new(0);
    let after_two = move |head: &str| is_blob(head) && put_count.fetch_add(1, Ordering::SeqCst) >= 2;
    proxy.next(100, Fault::Answer(403, "AccessDenied"), after_two);
    let output = server.rspm("backup create");
    assert!(output.code == 1 && output.err.contains("AccessDenied"), "{}", output.err);
    assert!(files(&backups, "blobs/").len() <= 2);
    assert_eq!(files(&backups, "manifests/").len() + files(&backups, "locks/").len(), 0);
    assert!(rspm(&server, "backup list").out.contains("contains no backup"));
    proxy.clear_faults();
    // Requests that fail temporarily are repeated.
    proxy.next(1, Fault::Reset, is_blob);
    proxy.next(1, Fault::Answer(503, "SlowDown"), |head| head.contains("/manifests/"));
    let text = server.rspm_stdout("backup create");
    assert!(text.contains("4 files"), "{text}");
    proxy.next(1, Fault::Cut(50), |head| head.starts_with("GET ") && head.contains("/blobs/"));
    assert_eq!(json(&server, "backup verify --full")["undamaged"], true);
    // The manifest is not written: the backup before it is the newest.
    proxy.next(100, Fault::Answer(403, "AccessDenied"), |head| {
        head.starts_with("PUT ") && head.contains("/manifests/")
    });
    server.add("prod", &Tarball::new("later", "1.0"));
    assert_eq!(server.rspm("backup create").code, 1);
    assert_eq!(json(&server, "backup verify --full")["files"], 4);
    // Files that cannot be read at this moment are not lost: they are not left out.
    proxy.clear_faults();
    proxy.next(100, Fault::Answer(403, "AccessDenied"), |head| {
        head.starts_with("GET ") && head.contains("/blobs/")
    });
    let other = builder("sqlite", &backups, None).prepare();
    let restore = rspm(&other, "backup restore --allow-missing");
    assert!(restore.code == Some(1) && restore.err.contains("AccessDenied"), "{restore:?}");
    assert!(!other.dir().join("data/db/rstudio-pm.db").exists());
}

#[test]
fn only_configured_buckets_are_written_to_and_one_program_at_a_time() {
    let (backups, classes) = (s3::bucket(s3::server()), s3::bucket(s3::server()));
    let server = builder("sqlite", &backups, Some(&classes)).start();
    for (to, expected) in [
        (format!("s3://{}/{PLACE_PREFIX}", classes.bucket), "Server.BackupPaths allows"),
        (format!("s3://{}/some", backups.bucket), "Server.BackupPaths allows"),
        (format!("s3://{}/{PLACE_PREFIX}x", backups.bucket), "Server.BackupPaths allows"),
        (format!("s3://{}/{PLACE_PREFIX}/../x", backups.bucket), "is not s3://bucket/prefix"),
        (server.dir().join("directory").display().to_string(), "Server.BackupPaths allows"),
    ] {
        let refusal = server.rspm(&format!("backup create --to {to}"));
        assert!(refusal.code == 1 && refusal.err.contains(expected), "{to}: {}", refusal.err);
    }
    server.rspm_stdout(&format!("backup create --to {}/below", place(&backups)));
    // Another program uses the bucket.
    let lock = format!("/{}/{PLACE_PREFIX}/locks/exclusive-0123", backups.bucket);
    s3::put(&lock, b"");
    for command in ["backup create", "backup verify", "backup prune --keep-daily 1"] {
        let refusal = rspm(&server, command);
        assert!(refusal.code == Some(1) && refusal.err.contains("is in use"), "{command}: {}", refusal.err);
        assert!(refusal.err.contains("locks/exclusive-0123"), "{command}: {}", refusal.err);
    }
    assert_eq!(s3::request("DELETE", &lock).0, 204);
    server.rspm_stdout("backup create");
    s3::put(&lock.replace("exclusive", "shared"), b"");
    assert_eq!(rspm(&server, "backup verify").code, Some(0), "readers share the lock");
    server.rspm_stdout("backup create");
    assert!(rspm(&server, "backup prune --keep-daily 1").err.contains("is in use"));
    let writer = lock.replace("exclusive", "writer");
    s3::put(&writer, b"");
    assert!(rspm(&server, "backup create").err.contains("is in use"));
    assert_eq!(rspm(&server, "backup verify").code, Some(0), "a program that adds files excludes no readers");

    let server_with_data = s3::builder().gcfg(&format!(
        "[Storage]\nDefault = s3\n{}[Server]\nBackupPaths = s3://{}\n",
        s3::lines(&classes),
        classes.bucket
    ));
    let refusal = server_with_data.start().rspm("backup create");
    assert!(refusal.err.contains("the server has its data in s3://"), "{}", refusal.err);
    let mut absent = backups.clone();
    absent.bucket += "-absent";
    let server = builder("sqlite", &absent, None).start();
    for command in ["backup create", "backup list"] {
        let error = rspm(&server, command).err;
        assert!(error.contains(&format!("there is no bucket {}", absent.bucket)), "{command}: {error}");
        assert!(error.contains("aws s3 mb s3://") && !error.contains("<Code>"), "{command}: {error}");
    }
    let server = s3::builder().gcfg(&s3::lines(&backups)).start();
    let refusal = server.rspm(&format!("backup create --to {}", place(&backups)));
    assert!(refusal.err.contains("set Server.BackupPaths = s3://"), "{}", refusal.err);
}
