//! `[CRAN]`: one test per property, which sets it and checks the sync.

use std::path::Path;

use rstudio_pm::model::time::{SECOND, Timestamp};
use rstudio_pm::r::rds::archive_meta::{MetaRow, write_current_meta};

use crate::support::binary_server;
use crate::support::fixtures::{create_mirror, until};
use crate::support::http;
use crate::support::recording_server::RecordingServer;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;
use crate::support::tls::Pair;

/// Syncs and fetches the only package of the mirror.
fn sync_and_fetch(server: &Server) {
    assert_eq!(server.sync().map(|result| result.contains("1 package added")), Ok(true));
    server.repository("r", "cran");
    let package = server.get("/r/latest/src/contrib/alpha_1.0.tar.gz");
    assert_eq!((package.status, package.header("x-package-type")), (200, Some("source")));
}

#[test]
pub(super) fn url_of_a_directory_is_read_from_the_disk() {
    let server = Builder::default().gcfg("[CRAN]\nURL = file://{dir}/other-mirror").start();
    let dir = server.dir().join("other-mirror");
    server.wait_for_log(&format!("Checking path '{}'.", dir.display()));
    create_mirror(&dir);
    sync_and_fetch(&server);
}

#[test]
pub(super) fn url_of_a_web_server_is_requested_over_http() {
    let folder = tempfile::tempdir().expect("a directory");
    create_mirror(&folder.path().join("cran"));
    let recorder = RecordingServer::folder(folder.path());
    let url = format!("http://reader:w0rd@{}/cran/", recorder.host());
    let server = Builder::default().gcfg(&format!("[CRAN]\nURL = {url}")).env("NO_PROXY", "*").start();
    assert!(server.log_lines().iter().all(|line| !line.contains("Checking path") && !line.contains("w0rd")));
    sync_and_fetch(&server);
    let heads = recorder.heads();
    assert!(
        heads.iter().any(|head| head.starts_with("GET /cran/src/contrib/alpha_1.0.tar.gz ")),
        "{heads:?}"
    );
    let basic = "authorization: basic cmvhzgvyoncwcmq="; // reader:w0rd
    assert!(heads.iter().all(|head| head.to_ascii_lowercase().contains(basic)), "{heads:?}");
}

#[test]
pub(super) fn url_of_a_web_server_is_requested_over_https() {
    let folder = tempfile::tempdir().expect("a directory");
    create_mirror(folder.path());
    let pair = Pair::new();
    pair.write(folder.path());
    let recorder = RecordingServer::folder_over_tls(folder.path(), pair.server_config());
    let gcfg = format!("[CRAN]\nURL = https://localhost:{}", recorder.address.port());
    let certificate = folder.path().join("server.crt").display().to_string();
    let server =
        Builder::default().gcfg(&gcfg).env("SSL_CERT_FILE", &certificate).env("NO_PROXY", "*").start();
    sync_and_fetch(&server);
    let other_server = Builder::default().gcfg(&gcfg).env("NO_PROXY", "*").start();
    let output = other_server.sync().expect_err("a certificate without a trusted issuer");
    assert!(output.to_lowercase().contains("certificate"), "{output}");
}

/// Returns the package type that a client with R 4.5 on Ubuntu 24.04 gets.
fn package_type(server: &Server) -> Option<String> {
    let path = "/r/__linux__/noble/latest/src/contrib/alpha_1.0.tar.gz";
    let answer = http::request("GET", &server.url(path), &[("User-Agent", binary_server::AGENT)], b"");
    answer.header("x-package-type").map(str::to_owned)
}

#[test]
pub(super) fn binary_url_is_the_origin_of_binaries() {
    let first = binary_server::start(&[]);
    let second = binary_server::start(&["alpha"]);
    let urls =
        [&first, &second].map(|upstream| format!("BinaryURL = {}\n", binary_server::url(upstream))).concat();
    let server_with_binaries =
        Builder::default().gcfg(&format!("[CRAN]\n{urls}")).env("NO_PROXY", "*").start();
    let server_without_binaries = Server::start();
    for (server, expected) in [(&server_with_binaries, "binary"), (&server_without_binaries, "source")] {
        create_mirror(&server.dir().join("no-mirror"));
        sync_and_fetch(server);
        assert_eq!(package_type(server).as_deref(), Some(expected));
    }
    for server in [&first, &second] {
        assert!(
            server.take_requests().iter().any(|request| request.path.ends_with("/PACKAGES")),
            "each gets a request"
        );
    }
    let server = Builder::default().gcfg("[CRAN]\nBinaryURL = https://h/bin/linux/noble/4.5").prepare();
    let check_output = server.rspm("check-config");
    assert!(
        format!("{}{}", check_output.out, check_output.err).contains("is not the URL of a binary server"),
        "{check_output:?}"
    );
}

/// Sets the time of the last sync, in microseconds since the epoch, in the database of a stopped server.
fn set_last_sync(dir: &Path, time: i64) {
    let database = rusqlite::Connection::open(dir.join("data/db/rstudio-pm.db")).expect("a database");
    let row_count = database.execute("UPDATE upstream SET fetched_at = ?1", [time]).expect("written");
    assert!(row_count > 0);
}

#[test]
pub(super) fn sync_schedule_runs_a_sync_that_was_missed_while_the_server_was_down() {
    let mut server = Builder::default().gcfg("[CRAN]\nSyncSchedule = * * * * *").start();
    create_mirror(&server.dir().join("no-mirror"));
    server.sync().expect("the mirror exists");
    server.stop();
    // 2020-03-01: the time after it contains every minute and a 29th of February (2024), but no 30th of February.
    let last_sync = 1_583_020_800_000_000;
    let gcfg = std::fs::read_to_string(server.config_file()).expect("readable");
    for (schedule, is_due) in [("* * * * *", true), ("0 0 29 2 *", true), ("0 0 30 2 *", false)] {
        set_last_sync(server.dir(), last_sync);
        std::fs::write(server.config_file(), gcfg.replace("* * * * *", schedule)).expect("written");
        server.launch();
        let has_started =
            || server.log_lines().iter().any(|line| line.contains("a scheduled sync was missed"));
        if is_due {
            until("the missed sync runs", has_started);
            let has_succeeded = || {
                let database =
                    rusqlite::Connection::open(server.dir().join("data/db/rstudio-pm.db")).unwrap();
                let rows = "SELECT max(fetched_at) FROM upstream";
                database.query_row(rows, [], |row| row.get::<_, i64>(0)).unwrap() > last_sync
            };
            until("the sync succeeds", has_succeeded);
            server.wait_for_log("cran is up to date; nothing changed");
            let up_to_date = |line: &String| line.contains("INFO") && line.contains("cran is up to date");
            assert!(server.log_lines().iter().any(up_to_date), "a sync without changes is logged too");
        } else {
            server.wait_for_log("is ready");
            assert!(!has_started(), "{:?}", server.log_lines());
        }
        server.stop();
    }
}

/// Creates a mirror of two packages: `old` was published in 2017, `young` an hour ago.
fn create_dated_mirror(root: &Path) {
    let contrib = root.join("src/contrib");
    std::fs::create_dir_all(contrib.join("Meta")).expect("a directory");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let one_hour_ago = i64::try_from(now.as_secs()).expect("small") - 3600;
    let (mut index, mut rows) = (String::new(), Vec::new());
    for (package, time) in [("old", 1_500_000_000), ("young", one_hour_ago)] {
        let bytes = Tarball::new(package, "1.0").bytes();
        let file = format!("{package}_1.0.tar.gz");
        std::fs::write(contrib.join(&file), &bytes).expect("written");
        let (package, size) = (package.to_owned(), bytes.len() as u64);
        index.push_str(&format!("Package: {package}\nVersion: 1.0\nLicense: MIT\n\n"));
        rows.push(MetaRow { package, file, size, mtime: Timestamp(time * SECOND) });
    }
    std::fs::write(contrib.join("PACKAGES"), index).expect("written");
    let mut table = Vec::new();
    write_current_meta(&mut table, &rows).expect("writing to a Vec does not fail");
    std::fs::write(contrib.join("Meta/current.rds"), table).expect("written");
}

#[test]
pub(super) fn delay_sync_duration_delays_releases_that_are_younger() {
    let mut server = Builder::default().gcfg("[CRAN]\nDelaySyncDuration = 72h").start();
    create_dated_mirror(&server.dir().join("no-mirror"));
    let output = server.sync().expect("a valid mirror");
    assert!(
        output.contains("1 package added") && output.contains("1 package has releases younger"),
        "{output}"
    );
    server.repository("r", "cran");
    let status = |server: &Server, package: &str| {
        server.get(&format!("/r/latest/src/contrib/{package}_1.0.tar.gz")).status
    };
    assert_eq!((status(&server, "old"), status(&server, "young")), (200, 404));
    let output = server.sync().expect("a valid mirror");
    assert!(output.contains("nothing changed") && output.contains("1 package has"), "{output}");
    // A shorter delay has the same effect as the passage of time: the mirror does not change.
    server.stop();
    let gcfg = std::fs::read_to_string(server.config_file()).expect("readable");
    std::fs::write(server.config_file(), gcfg.replace("72h", "30m")).expect("written");
    server.launch();
    let output = server.sync().expect("a valid mirror");
    assert!(output.contains("1 package added") && !output.contains("younger"), "{output}");
    assert_eq!(status(&server, "young"), 200);
    assert!(server.sync().expect("a valid mirror").ends_with("nothing changed"));
}
