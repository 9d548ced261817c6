//! `[Vulnerabilities]`: one test per property, which sets it and checks the advisories in force.

use crate::support::advisories::{archive, folder, record};
use crate::support::fixtures::until;
use crate::support::server::{Builder, Server};

#[test]
pub(super) fn url_lists_the_locations_of_the_advisories() {
    let gcfg = "[Vulnerabilities]\nURL = file://{dir}/own\nURL = file://{dir}/main.tar.gz";
    let server = Builder::default().gcfg(gcfg).start();
    folder(
        &server.dir().join("own"),
        &[record("x_OWN-1", "CRAN", "a", "1.0"), record("RSEC-1", "CRAN", "a", "1.0")],
    );
    let main = archive(&[record("RSEC-1", "CRAN", "a", "1.0"), record("RSEC-2", "CRAN", "a", "1.0")]);
    std::fs::write(server.dir().join("main.tar.gz"), main).expect("written");
    assert!(server.sync_of("vulns").expect("both").starts_with("3 advisories"));
}

#[test]
pub(super) fn sync_schedule_runs_a_sync_that_was_missed_while_the_server_was_down() {
    let gcfg = "[Vulnerabilities]\nURL = file://{dir}/own\nSyncSchedule = 0 0 31 2 *";
    let mut server = Builder::default().gcfg(gcfg).start();
    folder(&server.dir().join("own"), &[record("RSEC-1", "CRAN", "a", "1.0")]);
    server.sync_of("vulns").expect("advisories");
    server.stop();
    let database = server.dir().join("data/db/rstudio-pm.db");
    let gcfg = std::fs::read_to_string(server.config_file()).expect("readable");
    let last_sync = 1_583_020_800_000_000_i64;
    for (schedule, is_due) in [("0 0 31 2 *", false), ("* * * * *", true)] {
        let open = || rusqlite::Connection::open(&database).expect("a database");
        open().execute("UPDATE upstream SET fetched_at = ?1", [last_sync]).expect("written");
        std::fs::write(server.config_file(), gcfg.replace("0 0 31 2 *", schedule)).expect("written");
        server.launch();
        let is_logged = |server: &Server| {
            let lines = server.log_lines();
            lines.iter().any(|line| line.contains("a scheduled sync was missed") && line.contains("vulns"))
        };
        if is_due {
            until("the missed sync is logged", || is_logged(&server));
            let query = "SELECT fetched_at FROM upstream WHERE url = 'sync:vulns'";
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
