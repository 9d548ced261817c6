//! `rspm encrypt rotate`: another key, with a kill at every boundary.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{User, geteuid};

use super::{append, encrypt, encrypt_lines, fingerprint, key_path, replace, write_key};
use crate::support::db::{Engine, settings};
use crate::support::process::{ProcessOutput, run_to_end};
use crate::support::server::{Builder, Server};

/// A stopped server with a key, an encrypted value and another key in the file `next`.
fn prepare_server(engine: Engine) -> (Server, String) {
    let mut server = Builder::default().gcfg(&settings(engine)).prepare();
    let value = encrypt(&server, "s3cret");
    append(&server, &format!("[Proxy]\nURL = http://127.0.0.1:9\nPassword = {value}"));
    server.launch();
    server.stop();
    write_key(&next_key_path(&server));
    (server, value)
}

/// The file of the next key.
fn next_key_path(server: &Server) -> PathBuf {
    server.dir().join("next")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

fn rotate(server: &Server, flags: &[&str]) -> ProcessOutput {
    let mut command = server.command(env!("CARGO_BIN_EXE_rspm"));
    run_to_end(command.args(["encrypt", "rotate", "--new-key"]).arg(next_key_path(server)).args(flags))
}

fn has_logged(server: &Server, text: &str) -> bool {
    server.log_lines().iter().any(|line| line.contains(text))
}

#[test]
fn a_rotation_stores_the_old_key_for_the_configuration_and_lists_the_values_to_write_anew() {
    let (mut server, value) = prepare_server(Engine::Sqlite);
    let path = key_path(&server);
    let (old, new) = (fingerprint(&path), fingerprint(&next_key_path(&server)));
    let output = rotate(&server, &[]);
    assert_eq!(output.code, Some(0), "{}", output.err);
    let line = std::fs::read_to_string(server.config_file()).unwrap().lines().count();
    let place = format!("{}:{line}:12: [Proxy] Password", server.config_file().display());
    assert!(
        output.out.contains(&format!("is now {new}")) && output.out.contains(&format!("  {place}\n")),
        "{}",
        output.out
    );
    assert_eq!((fingerprint(&path), fingerprint(&with_suffix(&path, ".old"))), (new, old));
    assert!(!with_suffix(&path, ".new").exists());

    server.launch();
    assert!(
        has_logged(&server, &format!("{place}: is encrypted with the previous key")),
        "{:#?}",
        server.log_lines()
    );
    assert_eq!(server.json("status")["encryption_key"], format!("{} ({new})", path.display()));
    let trail = server.rspm_stdout("audit export --action=rotate~encryption~key");
    assert!(trail.contains("rspm encrypt rotate") && trail.contains(&new.to_string()), "{trail}");
    let (result, findings) = server.check_result("Encryption key");
    assert!(result == "info" && findings[1].starts_with(&place), "{findings:?}");
    // The value is needed until it is encrypted again: the next rotation would lose the key.
    server.stop();
    write_key(&next_key_path(&server));
    let refusal = rotate(&server, &[]);
    assert!(refusal.code == Some(1) && refusal.err.contains(&place), "{}", refusal.err);
    assert_eq!(fingerprint(&path), new);

    replace(&server, &value, &encrypt(&server, "s3cret"));
    server.launch();
    assert!(!has_logged(&server, "previous key"), "{:#?}", server.log_lines());
    let (_, findings) = server.check_result("Encryption key");
    let hint =
        format!("no value needs the previous key; remove it: rm '{}'", with_suffix(&path, ".old").display());
    assert_eq!(findings[1], hint);
    server.stop();
    assert_eq!(rotate(&server, &[]).code, Some(0));
}

#[test]
fn nothing_is_rotated_while_a_server_runs_and_without_another_key() {
    let (mut server, _) = prepare_server(Engine::Sqlite);
    let (path, old) = (key_path(&server), fingerprint(&key_path(&server)));
    server.launch();
    let refusal = rotate(&server, &[]);
    assert!(refusal.code == Some(1) && refusal.err.contains("a server is running"), "{}", refusal.err);
    server.stop();
    std::fs::copy(&path, next_key_path(&server)).unwrap();
    let refusal = rotate(&server, &[]);
    assert!(refusal.err.contains("is the key that is already in use"), "{}", refusal.err);
    std::fs::write(next_key_path(&server), "no key").unwrap();
    let refusal = rotate(&server, &[]);
    assert!(refusal.err.contains("is not an encryption key"), "{}", refusal.err);
    assert_eq!(fingerprint(&path), old);
    assert!(!with_suffix(&path, ".old").exists() && !with_suffix(&path, ".new").exists());
    let keyless_server = Builder::default().prepare();
    write_key(&next_key_path(&keyless_server));
    let refusal = rotate(&keyless_server, &[]);
    assert!(refusal.err.contains("there is no encryption key") && refusal.code == Some(1), "{}", refusal.err);
}

#[test]
fn a_key_of_the_environment_is_replaced_in_the_database_and_then_by_the_administrator() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("first");
    write_key(&file);
    let mut server = Builder::default()
        .env("PACKAGEMANAGER_ENCRYPTION_KEY", &std::fs::read_to_string(&file).unwrap())
        .start();
    server.stop();
    write_key(&next_key_path(&server));
    let output = rotate(&server, &[]);
    assert_eq!(output.code, Some(0), "{}", output.err);
    assert!(output.out.contains("Replace PACKAGEMANAGER_ENCRYPTION_KEY with it"), "{}", output.out);
    let output = server.start_refused();
    let (old, new) = (fingerprint(&file), fingerprint(&next_key_path(&server)));
    assert!(output.contains(&format!("({old}) is not the key of this database ({new})")), "{output}");
}

#[test]
fn a_rotation_is_refused_while_other_servers_use_the_database() {
    let shared = crate::support::cluster::Shared::new();
    let mut pm1 = shared.builder("pm1").prepare();
    encrypt(&pm1, "s3cret");
    pm1.launch();
    let mut other = shared.start("pm2");
    pm1.stop();
    write_key(&next_key_path(&pm1));
    let before = fingerprint(&shared.data().join("rstudio-pm.key"));
    let ran = rotate(&pm1, &[]);
    assert!(ran.code == Some(1) && ran.err.contains("servers on this database are running: pm2"), "{ran:?}");
    assert_eq!(fingerprint(&shared.data().join("rstudio-pm.key")), before);
    other.stop();
    let ran = rotate(&pm1, &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    pm1.launch();
    other.launch();
}

fn a_lost_key_is_replaced(engine: Engine) {
    let (mut server, value) = prepare_server(engine);
    let path = key_path(&server);
    std::fs::remove_file(&path).unwrap();
    // Each message names all steps in their order, also that of a step that is done too early.
    let steps = |text: &str| {
        let (generate, write, rotate) = (
            "1. create a new one: rspm encrypt generate",
            "2. replace each encrypted value",
            "3. make it the key",
        );
        text.contains(generate) && text.contains(write) && text.contains(rotate)
    };
    let error = server.start_refused();
    assert!(error.contains("is encrypted, but there is no encryption key") && steps(&error), "{error}");
    let early = rotate(&server, &["--key-lost"]);
    assert!(early.code == Some(1) && steps(&early.err), "{early:?}");
    let created = encrypt_lines(&server, "s3cret\n");
    assert!(created.code == 1 && steps(&created.err), "{created:?}");
    // The steps of the runbook: a new key in its place, new values in the configuration, then the database.
    let output = run_to_end(
        Command::new(env!("CARGO_BIN_EXE_rspm")).args(["encrypt", "generate", "--file-out"]).arg(&path),
    );
    assert_eq!(output.code, Some(0), "{}", output.err);
    replace(&server, &value, &encrypt(&server, "s3cret"));
    assert!(server.start_refused().contains("is not the key of this database"));
    let mut command = server.command(env!("CARGO_BIN_EXE_rspm"));
    let output = run_to_end(command.args(["encrypt", "rotate", "--key-lost", "--new-key"]).arg(&path));
    assert_eq!(output.code, Some(0), "{}", output.err);
    assert!(output.out.contains("Values in the database that were deleted: 0"), "{}", output.out);
    server.launch();
    let (result, findings) = server.check_result("Encryption key");
    let expected = format!("{} ({}), the key of this database", path.display(), fingerprint(&path));
    assert_eq!((result.as_str(), findings), ("info", vec![expected]));
}

#[test]
fn a_lost_key_is_replaced_with_sqlite() {
    a_lost_key_is_replaced(Engine::Sqlite);
}

#[test]
fn a_lost_key_is_replaced_with_postgres() {
    a_lost_key_is_replaced(Engine::Postgres);
}

/// The owners of all files below a directory.
fn owners(directory: &Path, entries: &mut Vec<(PathBuf, u32)>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        entries.push((path.clone(), path.symlink_metadata().unwrap().uid()));
        if path.is_dir() {
            owners(&path, entries);
        }
    }
}

#[test]
fn keys_and_databases_that_root_writes_belong_to_the_user_of_the_server() {
    assert!(geteuid().is_root(), "this test needs root to create files of another user");
    let user = User::from_name("postgres").ok().flatten().expect("the user postgres: run tests/setup");
    let server = Builder::default().prepare();
    std::fs::set_permissions(server.dir(), Permissions::from_mode(0o755)).unwrap();
    for path in [server.dir().to_owned(), server.dir().join("tmp"), server.config_file()] {
        lchown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    }
    encrypt(&server, "s3cret");
    write_key(&next_key_path(&server));
    // The rotation creates the database.
    let output = rotate(&server, &[]);
    assert_eq!(output.code, Some(0), "{}", output.err);
    let mut owners_of_files = Vec::new();
    owners(&server.dir().join("data"), &mut owners_of_files);
    assert!(owners_of_files.iter().any(|(path, _)| path.ends_with("rstudio-pm.db")), "{owners_of_files:?}");
    assert!(
        owners_of_files.iter().any(|(path, _)| path.ends_with("rstudio-pm.key.old")),
        "{owners_of_files:?}"
    );
    assert!(owners_of_files.iter().all(|(_, uid)| *uid == user.uid.as_raw()), "{owners_of_files:?}");
    let mut server = server;
    server.launch();
    assert_eq!(server.get("/__ping__").status, 200);
}

/// Runs a rotation that `strace` kills at the call with this number; false if the rotation ended before.
fn kill_at(server: &Server, calls: &str, number: usize) -> bool {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
    strace.args(["-e", &format!("inject={calls}:signal=KILL:when={number}")]);
    strace.arg(env!("CARGO_BIN_EXE_rstudio-pm")).arg("--config").arg(server.config_file());
    let output = run_to_end(strace.arg("--rotate-key").arg(next_key_path(server)));
    assert!(matches!(output.code, None | Some(0 | 137)), "{:?} {}", output.code, output.err);
    output.code != Some(0)
}

/// After a kill at any of these calls, every `step`th from `first` on, the server starts with one of the two keys, and a
/// repetition completes the rotation. Returns the numbers of kills and of rotations that the next start completed.
fn kill_at_any(engine: Engine, calls: &[&str], first: usize, step: usize) -> (usize, usize) {
    let (mut server, _) = prepare_server(engine);
    let path = key_path(&server);
    let (mut kills, mut completed_by_start) = (0, 0);
    // strace counts each call and each thread separately.
    for call in calls {
        for number in (first..).step_by(step) {
            let (old, new) = (fingerprint(&path), fingerprint(&next_key_path(&server)));
            let was_killed = kill_at(&server, call, number);
            server.launch();
            let status_key = server.json("status")["encryption_key"].as_str().expect("a key").to_owned();
            let current = fingerprint(&path);
            assert!([old, new].contains(&current), "{current} after {call} {number}");
            assert_eq!(status_key, format!("{} ({current})", path.display()));
            completed_by_start += usize::from(has_logged(&server, "completed an interrupted rotation"));
            server.stop();
            if current == new {
                assert!(!with_suffix(&path, ".new").exists());
                // The next kill needs a value in the configuration that is encrypted with the current key, and another
                // key.
                let value = encrypt(&server, "s3cret");
                let gcfg = std::fs::read_to_string(server.config_file()).unwrap();
                let line =
                    gcfg.lines().find(|line| line.starts_with("Password = ")).expect("there").to_owned();
                replace(&server, &line, &format!("Password = {value}"));
                write_key(&next_key_path(&server));
            }
            if !was_killed {
                assert_eq!(current, new, "{call}: it ended without an error");
                break;
            }
            kills += 1;
            assert!(number < 100, "there are more than 100 calls of {call}");
        }
    }
    println!("killed at {kills} of {calls:?}; the next start completed {completed_by_start} rotations");
    assert!(kills >= 1, "{calls:?}");
    (kills, completed_by_start)
}

#[test]
fn a_kill_at_any_new_name_leaves_one_of_the_keys_with_sqlite() {
    let (kills, completed) = kill_at_any(Engine::Sqlite, &["rename", "renameat2", "link"], 1, 1);
    assert!(kills >= 1 && completed >= 1, "{kills} kills, {completed} completed rotations");
}

#[test]
fn a_kill_at_any_sync_leaves_one_of_the_keys_with_sqlite() {
    kill_at_any(Engine::Sqlite, &["fsync", "fdatasync"], 1, 1);
}

#[test]
fn a_kill_at_any_odd_write_leaves_one_of_the_keys_with_sqlite() {
    kill_at_any(Engine::Sqlite, &["pwrite64"], 1, 2);
}

#[test]
fn a_kill_at_any_even_write_leaves_one_of_the_keys_with_sqlite() {
    kill_at_any(Engine::Sqlite, &["pwrite64"], 2, 2);
}

#[test]
fn a_kill_at_any_new_name_or_sync_leaves_one_of_the_keys_with_postgres() {
    let (kills, completed) = kill_at_any(Engine::Postgres, &["rename", "fsync"], 1, 1);
    assert!(kills >= 2 && completed >= 1, "{kills} kills, {completed} completed rotations");
}

#[test]
fn a_kill_at_any_odd_message_leaves_one_of_the_keys_with_postgres() {
    kill_at_any(Engine::Postgres, &["sendto"], 1, 2);
}

#[test]
fn a_kill_at_any_even_message_leaves_one_of_the_keys_with_postgres() {
    kill_at_any(Engine::Postgres, &["sendto"], 2, 2);
}
