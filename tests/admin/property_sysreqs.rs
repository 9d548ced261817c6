//! `[SystemRequirements]`: one test per property, which sets it and checks the rules in force.

use crate::support::fixtures::until;
use crate::support::rules::folder;
use crate::support::server::Builder;

#[test]
pub(super) fn url_is_the_location_of_the_rules() {
    let server = Builder::default().gcfg("[SystemRequirements]\nURL = file://{dir}/rules").start();
    folder(&server.dir().join("rules"), &["zlib", "gmp", "mpfr"]);
    assert!(server.sync_of("sysreqs").expect("rules").starts_with("3 rules"));
    // Over HTTP the URL must name an archive.
    let server = Builder::default().gcfg("[SystemRequirements]\nURL = http://127.0.0.1:9/rules").start();
    let output = server.sync_of("sysreqs").expect_err("no archive");
    assert!(output.contains(".tar.gz") && output.contains("file:///"), "{output}");
}

#[test]
pub(super) fn sync_schedule_runs_a_sync_that_was_missed_while_the_server_was_down() {
    let gcfg = "[SystemRequirements]\nURL = file://{dir}/rules\nSyncSchedule = 0 0 30 2 *";
    let mut server = Builder::default().gcfg(gcfg).start();
    folder(&server.dir().join("rules"), &["zlib"]);
    server.sync_of("sysreqs").expect("rules");
    server.stop();
    let database = server.dir().join("data/db/rstudio-pm.db");
    let gcfg = std::fs::read_to_string(server.config_file()).expect("readable");
    let last_sync = 1_583_020_800_000_000_i64;
    for (schedule, is_due) in [("0 0 30 2 *", false), ("* * * * *", true)] {
        let open = || rusqlite::Connection::open(&database).expect("a database");
        open().execute("UPDATE upstream SET fetched_at = ?1", [last_sync]).expect("written");
        std::fs::write(server.config_file(), gcfg.replace("0 0 30 2 *", schedule)).expect("written");
        server.launch();
        let is_logged = |server: &crate::support::server::Server| {
            let lines = server.log_lines();
            lines.iter().any(|line| line.contains("a scheduled sync was missed") && line.contains("sysreqs"))
        };
        if is_due {
            until("the missed sync is logged", || is_logged(&server));
            let query = "SELECT fetched_at FROM upstream WHERE url = 'sync:sysreqs'";
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
