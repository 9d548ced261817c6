//! `[Bioconductor]`: one test per property, which sets it and checks the sync.

use std::path::Path;

use crate::support::fixtures::{create_mirror, until};
use crate::support::recording_server::RecordingServer;
use crate::support::server::{Builder, Server};

/// Creates a mirror of Bioconductor 3.20 with one package, `alpha` 1.0.
pub(super) fn create_bioconductor_mirror(root: &Path) {
    create_mirror(&root.join("packages/3.20/bioc"));
    let config = "release_version: \"3.20\"\ndevel_version: \"3.21\"\nr_ver_for_bioc_ver:\n  \"3.19\": \"4.4\"\n  \
        \"3.20\": \"4.4\"\n  \"3.21\": \"4.5\"\n";
    std::fs::write(root.join("config.yaml"), config).expect("written");
}

/// Syncs and fetches the only package of the mirror.
fn sync_and_fetch(server: &Server) {
    let output = server.sync_of("Bioconductor").expect("a valid mirror");
    assert!(
        output.contains("Bioconductor 3.20 was synced") && output.contains("1 package added"),
        "{output}"
    );
    server.call("POST", "/repos", &serde_json::json!({ "name": "b", "type": "bioconductor" }));
    let package = server.get("/b/packages/3.20/bioc/src/contrib/alpha_1.0.tar.gz");
    assert_eq!((package.status, package.header("x-package-type")), (200, Some("source")));
    let stored = server.dir().join("data/bioconductor");
    assert!(
        stored.is_dir() && std::fs::read_dir(stored).expect("readable").next().is_some(),
        "Bioconductor has a storage class of its own"
    );
}

#[test]
pub(super) fn url_of_a_directory_is_read_from_the_disk() {
    let server = Builder::default().gcfg("[Bioconductor]\nURL = file://{dir}/bioc-mirror").start();
    let dir = server.dir().join("bioc-mirror");
    server.wait_for_log(&format!("Checking path '{}'.", dir.display()));
    create_bioconductor_mirror(&dir);
    sync_and_fetch(&server);
}

#[test]
pub(super) fn url_of_a_web_server_is_requested_over_http() {
    let folder = tempfile::tempdir().expect("a directory");
    create_bioconductor_mirror(&folder.path().join("bioc"));
    let recorder = RecordingServer::folder(folder.path());
    let url = format!("http://reader:w0rd@{}/bioc/", recorder.host());
    let server =
        Builder::default().gcfg(&format!("[Bioconductor]\nURL = {url}")).env("NO_PROXY", "*").start();
    sync_and_fetch(&server);
    let heads = recorder.heads();
    let is_requested = |path: &str| heads.iter().any(|head| head.starts_with(&format!("GET /bioc/{path} ")));
    assert!(
        is_requested("config.yaml") && is_requested("packages/3.20/bioc/src/contrib/alpha_1.0.tar.gz"),
        "{heads:?}"
    );
    assert!(server.log_lines().iter().all(|line| !line.contains("w0rd")));
}

#[test]
pub(super) fn sync_schedule_runs_a_sync_that_was_missed_while_the_server_was_down() {
    let gcfg = "[Bioconductor]\nURL = file://{dir}/bioc-mirror\nSyncSchedule = 0 0 30 2 *";
    let mut server = Builder::default().gcfg(gcfg).start();
    create_bioconductor_mirror(&server.dir().join("bioc-mirror"));
    sync_and_fetch(&server);
    server.stop();
    let database = server.dir().join("data/db/rstudio-pm.db");
    let gcfg = std::fs::read_to_string(server.config_file()).expect("readable");
    let last_sync = 1_583_020_800_000_000_i64;
    for (schedule, is_due) in [("0 0 30 2 *", false), ("* * * * *", true)] {
        let open = || rusqlite::Connection::open(&database).expect("a database");
        open().execute("UPDATE upstream SET fetched_at = ?1", [last_sync]).expect("written");
        std::fs::write(server.config_file(), gcfg.replace("0 0 30 2 *", schedule)).expect("written");
        server.launch();
        let is_logged = |server: &Server| {
            let is_message =
                |line: &String| line.contains("a scheduled sync was missed") && line.contains("bioconductor");
            server.log_lines().iter().any(is_message)
        };
        if is_due {
            until("the missed sync is logged", || is_logged(&server));
            let query = "SELECT fetched_at FROM upstream WHERE url = 'sync:2'";
            until("the sync succeeds", || {
                open().query_row(query, [], |row| row.get::<_, i64>(0)).unwrap() > last_sync
            });
        } else {
            server.wait_for_log("is ready");
            assert!(!is_logged(&server), "{:?}", server.log_lines());
        }
        server.stop();
    }
}
