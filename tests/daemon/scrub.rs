//! `rspm scrub` on a running server: bytes flipped in each kind of file, interruptions, and concurrent downloads.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::fixtures::until;
use crate::support::kills::points;
use crate::support::mirror_dir::MirrorDir;
use crate::support::server::Server;
use crate::support::tarball::Tarball;

const LOCAL: &str = "/team/latest/src/contrib/alpha_1.0.tar.gz";
const MIRRORED: &str = "/r/latest/src/contrib/gamma_1.0.tar.gz";

/// Flips one bit; the size stays.
fn flip(object: &Path) {
    let mut bytes = std::fs::read(object).expect("stored");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(object, bytes).expect("written");
}

/// The object of a package file of class `class`.
fn object(server: &Server, class: &str, address: &str) -> PathBuf {
    let sum = hex::encode(Sha256::digest(server.get(address).body));
    server.dir().join(format!("data/{class}/{class}/{}/{sum}", &sum[..2]))
}

/// True if the database owns every storage class.
fn owns_all_classes(server: &Server) -> bool {
    let listed = server.json("storage list");
    listed["classes"].as_array().expect("a list").iter().all(|class| class["owner"] == "own")
}

/// A local repository `team`, and a repository `r` of a mirror in a directory, with one package each.
fn server() -> Server {
    let server = Server::start();
    let mut mirror = MirrorDir::new(server.dir().join("no-mirror"));
    mirror.simple("gamma", "1.0", "2025-01-01");
    mirror.write();
    server.sync().expect("a valid mirror");
    server.repository("r", "cran");
    server.local_repository("team", &[Tarball::new("alpha", "1.0").with("README.md", "# alpha\n")]);
    until("the storage is claimed", || owns_all_classes(&server));
    until("the package is stored", || {
        server.get(MIRRORED);
        object(&server, "cran", MIRRORED).exists()
    });
    // The row is written after the object.
    until("the row of the package is written", || scrub(&server, "--quick").0["objects"] == 3);
    server
}

/// The result of a scrub and its exit code.
fn scrub(server: &Server, flags: &str) -> (Value, i32) {
    let output = server.rspm(&format!("scrub {flags} -o json"));
    let value = serde_json::from_str(&output.out).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    (value, output.code)
}

#[test]
fn a_package_of_a_mirror_is_repaired_and_a_local_one_is_reported() {
    let server = server();
    let (clean_result, code) = scrub(&server, "");
    assert_eq!((&clean_result["bad"], code), (&Value::from(0), 0), "{clean_result}");
    assert_eq!(clean_result["objects"], 3);
    let (mirrored, local) = (object(&server, "cran", MIRRORED), object(&server, "packages", LOCAL));
    let intact = std::fs::read(&mirrored).expect("stored");

    flip(&mirrored);
    let (damage_result, code) = scrub(&server, "");
    assert_eq!((&damage_result["bad"], code), (&Value::from(1), 1), "{damage_result}");
    let finding = &damage_result["findings"][0];
    assert_eq!(
        (&finding["fault"], &finding["outcome"]),
        (&Value::from("damaged"), &Value::from("obtainable"))
    );
    assert!(!mirrored.exists(), "moved to the directory damaged");
    assert!(server.get(MIRRORED).body == intact, "fetched again");
    until("it is stored again", || std::fs::read(&mirrored).is_ok_and(|bytes| bytes == intact));

    flip(&mirrored);
    let (repair_result, code) = scrub(&server, "--repair");
    assert_eq!(
        (&repair_result["repaired"], &repair_result["bad"], code),
        (&Value::from(1), &Value::from(0), 0)
    );
    assert_eq!(std::fs::read(&mirrored).expect("stored again"), intact);

    let package = server.get(LOCAL).body;
    flip(&local);
    let (loss_result, code) = scrub(&server, "--repair");
    assert_eq!((&loss_result["bad"], code), (&Value::from(1), 1), "{loss_result}");
    let finding = &loss_result["findings"][0];
    for (field, expected) in [
        ("fault", "damaged"),
        ("outcome", "lost"),
        ("class", "packages"),
        ("file", "alpha_1.0.tar.gz"),
        ("source", "team"),
        ("package", "alpha"),
        ("version", "1.0"),
    ] {
        assert_eq!(finding[field], expected, "{field}: {loss_result}");
    }
    assert!(finding["added_by"].as_str().is_some_and(|by| by.contains("uid")), "{finding}");
    assert!(finding["added_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{finding}");
    let aside = server.dir().join("data/packages/damaged/packages");
    assert_eq!(std::fs::read_dir(aside).expect("moved to the directory damaged").count(), 1);
    let refusal = server.get(LOCAL);
    assert_eq!(refusal.status, 503);
    assert!(refusal.header("retry-after").is_some());
    assert_eq!(server.series("ppm_scrub_bad_objects"), Some(1.0));
    assert!(server.series("ppm_scrubbed_bytes_total").is_some_and(|bytes| bytes > 0.0));

    let table = server.rspm("scrub");
    assert_eq!(table.code, 1);
    for text in ["Read 3 objects", "1 bad", "alpha_1.0.tar.gz", "team", "lost"] {
        assert!(table.out.contains(text), "{text}: {}", table.out);
    }
    assert!(table.err.contains("1 object or row is bad and was not repaired"), "{}", table.err);
    let file = server.dir().join("alpha_1.0.tar.gz");
    std::fs::write(&file, Tarball::new("alpha", "1.0").with("README.md", "# alpha\n").bytes())
        .expect("written");
    server.rspm_stdout(&format!("add --source=team --replace --path={}", file.display()));
    assert!(server.get(LOCAL).body == package);
    let (clean_result, code) = scrub(&server, "");
    assert_eq!((&clean_result["bad"], code), (&Value::from(0), 0), "{clean_result}");
    assert_eq!(server.series("ppm_scrub_bad_objects"), Some(0.0));
}

#[test]
fn a_file_that_the_mirror_has_replaced_is_not_stored_under_the_old_digest() {
    let server = server();
    let mirrored = object(&server, "cran", MIRRORED);
    let other = Tarball::new("gamma", "1.0").with("README.md", "# another\n").bytes();
    std::fs::write(server.dir().join("no-mirror/src/contrib/gamma_1.0.tar.gz"), other).expect("written");
    flip(&mirrored);
    let (result, code) = scrub(&server, "--repair");
    assert_eq!((&result["bad"], code), (&Value::from(1), 1), "{result}");
    let detail = result["findings"][0]["detail"].as_str().expect("a detail");
    assert!(detail.contains("is not the file of the index"), "{detail}");
    assert!(!mirrored.exists());
}

#[test]
fn a_flipped_byte_in_the_database_is_found() {
    let mut server = server();
    let sum = hex::encode(Sha256::digest(server.get(LOCAL).body));
    let clean_output = server.rspm("scrub --database");
    assert_eq!(clean_output.code, 0, "{clean_output:?}");
    assert!(
        clean_output.out.contains("nothing is wrong") && clean_output.out.contains("integrity_check"),
        "{clean_output:?}"
    );
    server.stop();
    // Tables and their indexes have copies of the text of a digest; the copies differ after this change.
    let database = server.dir().join("data/db/rstudio-pm.db");
    let mut bytes = std::fs::read(&database).expect("a file");
    let is_copy = |offset: &usize| bytes[*offset..].starts_with(sum.as_bytes());
    let copies: Vec<usize> = (0..bytes.len()).filter(is_copy).collect();
    assert!(copies.len() > 2, "{copies:?}");
    for (number, offset) in copies.into_iter().enumerate() {
        let digit = &mut bytes[offset + 9 + number];
        *digit = if *digit == b'0' { b'1' } else { b'0' };
    }
    std::fs::write(&database, bytes).expect("written");
    server.launch();
    let output = server.rspm("scrub --database");
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.out.contains("its checksum differs"), "{output:?}");
    assert!(output.err.contains("bad and"), "{output:?}");
}

#[test]
fn a_killed_scrub_continues_and_concurrent_downloads_are_answered() {
    let mut server = Server::start();
    // Bytes that do not compress.
    let mut state = 1_u64;
    let mut noise = || {
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b' ' + (state >> 58) as u8)
        })
        .take(300_000)
        .collect::<String>()
    };
    let packages: Vec<Tarball> =
        (0..30).map(|n| Tarball::new(&format!("alpha{n}"), "1.0").with("noise", &noise())).collect();
    server.local_repository("team", &packages);
    until("the storage is claimed", || owns_all_classes(&server));
    let address = "/team/latest/src/contrib/alpha7_1.0.tar.gz";
    let package = server.get(address).body;
    for _ in 0..3 {
        let started_job = server.json("scrub --rate=400kB --no-wait");
        assert_eq!(started_job["status"], "running", "{started_job}");
        let start = Instant::now();
        let has_progress = || {
            let job = server.admin("GET", &format!("/jobs/{}", started_job["id"]), &Value::Null).json();
            assert_eq!(job["status"], "running", "{job}");
            !job["message"].as_str().expect("a phase").contains(" 0 MB")
        };
        // The progress is recorded every two seconds.
        while start.elapsed() < Duration::from_millis(3500) || !has_progress() {
            let answer = server.get(address);
            assert!(answer.status == 200 && answer.body == package);
            std::thread::sleep(Duration::from_millis(50));
        }
        server.kill();
        server.launch();
        until("the storage is claimed", || owns_all_classes(&server));
    }
    let (remaining_result, code) = scrub(&server, "");
    assert_eq!(
        (&remaining_result["continued"], &remaining_result["bad"], code),
        (&Value::from(true), &Value::from(0), 0),
        "{remaining_result}"
    );
    assert!(remaining_result["objects"].as_u64().is_some_and(|objects| objects < 30), "{remaining_result}");
    let (full_result, _) = scrub(&server, "");
    assert_eq!(
        (&full_result["continued"], &full_result["objects"]),
        (&Value::from(false), &Value::from(30)),
        "{full_result}"
    );
    assert!(server.get(address).body == package);
}

/// A scrub that is killed at any point loses nothing, and the next one repairs the objects that it had found.
#[test]
fn a_repairing_scrub_is_killed_at_any_point() {
    let mut server = server();
    let mirrored = object(&server, "cran", MIRRORED);
    let (intact, local) = (std::fs::read(&mirrored).expect("stored"), server.get(LOCAL).body);
    let start = Instant::now();
    flip(&mirrored);
    assert_eq!(scrub(&server, "--repair").1, 0);
    let duration = start.elapsed();
    let points = points(4);
    for point in 0..points {
        flip(&mirrored);
        let mut command = server.rspm_command("scrub --repair --quiet");
        let mut command = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        std::thread::sleep(duration * point / points);
        server.kill();
        command.wait().expect("it ended");
        server.launch();
        until("the storage is claimed", || owns_all_classes(&server));
        // Reads all objects: the interrupted scrub may have ended after the damaged object.
        let (result, code) = scrub(&server, "--repair");
        assert_eq!(code, 0, "{point}: {result}");
        if !mirrored.exists() || std::fs::read(&mirrored).expect("readable") != intact {
            assert_eq!(scrub(&server, "--repair").1, 0, "{point}");
        }
        assert!(std::fs::read(&mirrored).expect("stored again") == intact, "{point}");
        assert!(server.get(LOCAL).body == local && server.get(MIRRORED).body == intact, "{point}");
    }
    assert_eq!(scrub(&server, "--database").1, 0);
}

#[test]
fn a_class_that_is_not_mounted_is_reported_and_not_its_objects() {
    let server = server();
    let (storage_dir, away) = (server.dir().join("data/cran"), server.dir().join("away"));
    std::fs::rename(&storage_dir, &away).expect("unmounted");
    std::fs::create_dir(&storage_dir).expect("a mount point");
    for flags in ["--repair", "--quick --repair"] {
        let output = server.rspm(&format!("scrub {flags}"));
        assert!(output.code == 1 && output.out.is_empty(), "{flags}: {output:?}");
        assert!(
            output.err.contains("storage class cran") || output.err.contains("does not belong"),
            "{output:?}"
        );
        let entries: Vec<_> = std::fs::read_dir(&storage_dir).expect("a mount point").collect();
        assert!(entries.is_empty(), "{entries:?}");
        std::fs::remove_dir(&storage_dir).expect("removed");
        std::fs::rename(&away, &storage_dir).expect("mounted");
        until("the storage is claimed", || owns_all_classes(&server));
        assert_eq!(scrub(&server, "").1, 0);
        std::fs::rename(&storage_dir, &away).expect("unmounted");
        std::fs::create_dir(&storage_dir).expect("a mount point");
    }
}

#[test]
fn a_scrub_with_other_options_is_refused_while_one_runs() {
    let server = server();
    // One byte per second: it runs until the server stops.
    let first_job = server.json("scrub --rate=1 --no-wait");
    let second_job = server.json("scrub --rate=1 --no-wait");
    assert_eq!((&second_job["id"], &second_job["attached"]), (&first_job["id"], &Value::from(true)));
    for flags in ["--quick", "--repair", "--class=cran"] {
        let refusal = server.rspm(&format!("scrub {flags}"));
        assert_eq!(refusal.code, 1, "{flags}: {refusal:?}");
        let job = format!("job {} (scrub) runs with other options since ", first_job["id"]);
        assert!(refusal.err.contains(&job) && refusal.err.contains("repeat the command"), "{refusal:?}");
    }
    assert_eq!(scrub(&server, "--database").1, 0, "it reads no objects");
}

#[test]
fn wrong_usage_has_its_own_exit_code() {
    let server = Server::start();
    for flags in
        ["--subset=9/8", "--database --repair", "--quick --rate=1MB", "--class=metrics", "--rate=fast"]
    {
        assert_eq!(server.rspm(&format!("scrub {flags}")).code, 2, "{flags}");
    }
    let refusal = server.admin("POST", "/scrub", &serde_json::json!({ "part": { "number": 3, "of": 2 } }));
    assert_eq!(refusal.status, 400);
    let refusal = server.admin("POST", "/scrub", &serde_json::json!({ "classes": ["crun"] }));
    assert_eq!(refusal.status, 400);
    assert_eq!(server.admin("GET", "/scrub/77", &Value::Null).status, 404);
}
